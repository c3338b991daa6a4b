"""A charger's power side that is simulated: a car, a contactor, a meter, a lock, a button.

Everything is computed from the state at the last change and the time since then, so looking never
changes anything, and looking often gives the same meter as looking once.
"""

from collections.abc import Callable, Sequence

from msgspec.structs import replace

from chargepin.charger.ports import (
    ChargeSession,
    ChargeStatus,
    HardwareState,
    NotPossible,
    OpenSession,
    Reading,
)
from chargepin.core.catalogue import Family

VOLTS = 230
MIN_CURRENT_A = 6  # IEC 61851-1: below it a car may not draw at all
SESSIONS_KEPT = 200
LONGEST_AUTO_LOCK_S = 24 * 3600
USUAL_DEMAND_WH = 40_000.0

_PHASES = 3


class SimulatedHardware:
    """The Hardware port, simulated.

    A car charges as soon as it is plugged in, at the set current on every phase of the family,
    until it has what it wanted. Locking interrupts it, unlocking lets it go on. A restart is a new
    object with the old one's state: the car is still there.
    """

    def __init__(self, family: Family, state: HardwareState, now_s: float) -> None:
        self._family = family
        wanted = state.max_current_a or family.max_current_a
        self._state = replace(state, max_current_a=min(wanted, family.max_current_a))
        self._since_s = now_s
        self._button_callbacks: list[Callable[[bool], None]] = []

    def state(self, now_s: float) -> HardwareState:
        """What must survive a restart, as of now."""
        elapsed_s = max(0.0, now_s - self._since_s)
        state = self._state
        if state.current is None:
            auto_locked = 0 < state.auto_lock_s <= elapsed_s
            return replace(state, locked=state.locked or auto_locked)
        if self._status(state) is not ChargeStatus.CHARGING:
            return state
        return self._charged(state, state.current, elapsed_s)

    def reading(self, now_s: float) -> Reading:
        """One look at everything."""
        state = self.state(now_s)
        status = self._status(state)
        amperes = self._limit_a if status is ChargeStatus.CHARGING else 0
        current = state.current
        return Reading(
            status=status,
            locked=state.locked,
            volts=self._on_each_phase(VOLTS),
            deciamperes=self._on_each_phase(amperes * 10),
            watts=self._on_each_phase(amperes * VOLTS),
            meter_wh=int(state.meter_wh),
            max_current_a=self._limit_a,
            available_current_a=self._family.max_current_a,
            auto_lock_s=state.auto_lock_s,
            session_start_unix_s=current.start_unix_s if current else None,
            session_s=int(current.charging_s) if current else 0,
            session_wh=_session_wh(state, current) if current else 0,
        )

    def sessions(self) -> Sequence[ChargeSession]:
        """Finished sessions, oldest first; the newest SESSIONS_KEPT of them."""
        return self._state.sessions

    def start(self, now_s: float) -> None:
        """Charge, or go on charging. Raises NotPossible without a car and when locked."""
        state, _ = self._with_car(now_s)
        if state.locked:
            raise NotPossible("The charger is locked: unlock it first.")
        self._change(replace(state, paused=False), now_s)

    def pause(self, now_s: float) -> None:
        """Stop charging until started again. Raises NotPossible without a car."""
        state, _ = self._with_car(now_s)
        self._change(replace(state, paused=True), now_s)

    def set_locked(self, now_s: float, *, locked: bool) -> None:
        """Lock, which interrupts a charge, or unlock, which lets it go on."""
        self._change(replace(self.state(now_s), locked=locked), now_s)

    def set_max_current(self, now_s: float, amperes: int) -> None:
        """Limit the current per phase, 6 A to the family's most. Raises ValueError."""
        highest = self._family.max_current_a
        if not MIN_CURRENT_A <= amperes <= highest:
            raise ValueError(f"The current can be {MIN_CURRENT_A} to {highest} A.")
        self._change(replace(self.state(now_s), max_current_a=amperes), now_s)

    def set_auto_lock(self, now_s: float, seconds: int) -> None:
        """Lock by itself that long after the car has gone; 0 never. Raises ValueError."""
        if not 0 <= seconds <= LONGEST_AUTO_LOCK_S:
            raise ValueError(f"The time can be 0 to {LONGEST_AUTO_LOCK_S} seconds.")
        self._change(replace(self.state(now_s), auto_lock_s=seconds), now_s)

    def on_button(self, callback: Callable[[bool], None]) -> None:
        """Call back with True when the button goes down, with False when it comes up."""
        self._button_callbacks.append(callback)

    # What the simulated world does; no part of the port.

    def plug_in(self, now_s: float, unix_s: int, demand_wh: float = USUAL_DEMAND_WH) -> None:
        """A car comes that wants this much energy. Raises NotPossible if one is there."""
        state = self.state(now_s)
        if state.current is not None:
            raise NotPossible("A car is plugged in already.")
        current = OpenSession(unix_s, meter_start_wh=state.meter_wh, demand_wh=demand_wh)
        self._change(replace(state, current=current, paused=False), now_s)

    def plug_out(self, now_s: float) -> ChargeSession:
        """The car goes; its session is finished. Raises NotPossible if there is none."""
        state, current = self._with_car(now_s)
        session = ChargeSession(
            session_id=state.next_session_id,
            start_unix_s=current.start_unix_s,
            charging_s=int(current.charging_s),
            energy_wh=_session_wh(state, current),
        )
        after = replace(
            state,
            current=None,
            paused=False,
            sessions=(*state.sessions, session)[-SESSIONS_KEPT:],
            next_session_id=session.session_id + 1,
        )
        self._change(after, now_s)
        return session

    def press_button(self, *, down: bool) -> None:
        """A finger goes down on the button, or comes up."""
        for callback in tuple(self._button_callbacks):
            callback(down)

    @property
    def _limit_a(self) -> int:
        return self._state.max_current_a or self._family.max_current_a

    @property
    def _power_w(self) -> int:
        return VOLTS * self._limit_a * self._family.phases

    def _change(self, state: HardwareState, now_s: float) -> None:
        self._state = state
        self._since_s = max(self._since_s, now_s)

    def _with_car(self, now_s: float) -> tuple[HardwareState, OpenSession]:
        state = self.state(now_s)
        if state.current is None:
            raise NotPossible("No car is plugged in.")
        return state, state.current

    def _status(self, state: HardwareState) -> ChargeStatus:
        if state.locked:
            return ChargeStatus.LOCKED
        if state.current is None:
            return ChargeStatus.READY
        if state.paused:
            return ChargeStatus.PAUSED
        if _missing_wh(state, state.current) <= 0:
            return ChargeStatus.WAITING_FOR_CAR
        return ChargeStatus.CHARGING

    def _charged(
        self, state: HardwareState, current: OpenSession, elapsed_s: float
    ) -> HardwareState:
        until_full_s = _missing_wh(state, current) * 3600 / self._power_w
        if elapsed_s >= until_full_s:
            meter_wh = current.meter_start_wh + current.demand_wh
        else:
            meter_wh = state.meter_wh + self._power_w * elapsed_s / 3600
        charging_s = current.charging_s + min(elapsed_s, until_full_s)
        return replace(state, meter_wh=meter_wh, current=replace(current, charging_s=charging_s))

    def _on_each_phase(self, value: int) -> tuple[int, int, int]:
        one, two, three = (value if at < self._family.phases else 0 for at in range(_PHASES))
        return one, two, three


def _missing_wh(state: HardwareState, current: OpenSession) -> float:
    return current.meter_start_wh + current.demand_wh - state.meter_wh


def _session_wh(state: HardwareState, current: OpenSession) -> int:
    """The difference of two readings of the meter, which shows whole watt-hours."""
    return int(state.meter_wh) - int(current.meter_start_wh)
