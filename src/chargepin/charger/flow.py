"""Whether and how strongly a simulated charger lets current flow, by its state and its clock."""

from dataclasses import dataclass

from chargepin.charger.ports import (
    MIN_CURRENT_A,
    ChargeStatus,
    ChargingRules,
    HardwareState,
    OpenSession,
)
from chargepin.charger.timetable import Opening, opening
from chargepin.core.catalogue import Family

VOLTS = 230


@dataclass(frozen=True, slots=True)
class Flow:
    """What flows, from now until something changes.

    amperes: on each of so many phases. green_w: the sun's part of the power. opening: of the window
    that lets it flow, if it takes one. until_meter_wh: where the meter will stand when car or
    window have had enough.
    """

    status: ChargeStatus
    amperes: int = 0
    phases: int = 0
    green_w: float = 0.0
    opening: Opening | None = None
    until_meter_wh: float = 0.0

    @property
    def watts(self) -> int:
        """Power on all phases together."""
        return self.amperes * self.phases * VOLTS


def flow(family: Family, state: HardwareState, unix_s: float) -> Flow:
    """Decide what flows at this moment."""
    current = state.current
    if state.locked:
        return Flow(ChargeStatus.LOCKED)
    if current is None:
        return Flow(ChargeStatus.READY)
    if state.paused:
        return Flow(ChargeStatus.PAUSED)
    opened: Opening | None = None
    until_meter_wh = current.meter_start_wh + current.demand_wh
    windows = () if state.by_hand else state.rules.windows
    if windows:
        opened = opening(windows, unix_s)
        if opened is None:
            waited = current.window_unix_s is None
            return Flow(
                ChargeStatus.WAITING_FOR_SCHEDULE if waited else ChargeStatus.SCHEDULE_ENDED
            )
        if opened.window.target_wh is not None:
            until_meter_wh = min(
                until_meter_wh, _window_meter_wh(state, current, opened) + opened.window.target_wh
            )
    if state.meter_wh >= current.meter_start_wh + current.demand_wh:
        return Flow(ChargeStatus.WAITING_FOR_CAR, opening=opened)
    if state.meter_wh >= until_meter_wh:
        return Flow(ChargeStatus.SCHEDULE_ENDED, opening=opened)
    return _within_limits(family, state, opened, until_meter_wh)


def usable_solar_w(rules: ChargingRules, solar_w: int) -> float:
    """Give the sun's power that may be charged with."""
    return solar_w * rules.solar.percent / 100 if rules.solar is not None else 0.0


def _window_meter_wh(state: HardwareState, current: OpenSession, opened: Opening) -> float:
    same = current.window_unix_s == opened.begin_unix_s
    return current.window_meter_wh if same else state.meter_wh


def _within_limits(
    family: Family, state: HardwareState, opened: Opening | None, until_meter_wh: float
) -> Flow:
    rules = state.rules
    amperes = min(state.max_current_a or family.max_current_a, family.max_current_a)
    phases = family.phases
    green_w = 0.0
    if opened is not None:
        amperes = min(amperes, opened.window.max_current_a)
    if rules.sharing is not None:
        if not rules.sharing.all_a:
            return Flow(ChargeStatus.SHARING_NOT_CONFIGURED, opening=opened)
        amperes = min(amperes, rules.sharing.all_a)
        if amperes < max(MIN_CURRENT_A, rules.sharing.least_a):
            return Flow(ChargeStatus.WAITING_FOR_CURRENT, opening=opened)
    if rules.house_limit_a:
        amperes = min(amperes, rules.house_limit_a - state.surroundings.house_a)
        if amperes < MIN_CURRENT_A:
            return Flow(ChargeStatus.QUEUED_BY_POWER_BOOST, opening=opened)
    if rules.solar is not None and not state.by_hand:
        solar_w = usable_solar_w(rules, state.surroundings.solar_w)
        if rules.one_phase and solar_w < MIN_CURRENT_A * VOLTS * phases:
            phases = 1
        sunny_a = int(solar_w // (VOLTS * phases))
        if rules.solar.only and sunny_a < MIN_CURRENT_A:
            return Flow(ChargeStatus.QUEUED_BY_ECO_SMART, opening=opened)
        amperes = min(amperes, max(sunny_a, MIN_CURRENT_A))
        green_w = min(solar_w, amperes * VOLTS * phases)
    return Flow(ChargeStatus.CHARGING, amperes, phases, green_w, opened, until_meter_wh)
