"""A charger's power side that is simulated: a car, a contactor, a meter, a lock, a button.

Everything is computed from the state at the last change and the time since then, so looking never
changes anything, and looking often gives the same meter as looking once.
"""

import math
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from chargepin.charger.flow import VOLTS, Flow, flow, usable_solar_w
from chargepin.charger.ports import (
    MIN_CURRENT_A,
    ChargeSession,
    ChargingRules,
    HardwareState,
    NotPossible,
    OpenSession,
    Reading,
    Surroundings,
)
from chargepin.charger.timetable import next_change
from chargepin.core.catalogue import Family

SESSIONS_KEPT = 200
LONGEST_AUTO_LOCK_S = 24 * 3600
USUAL_DEMAND_WH = 40_000.0
MOST_SOLAR_W = 100_000
MOST_HOUSE_A = 1_000

_PHASES = 3


class SimulatedHardware:
    """The Hardware port, simulated.

    A car charges as soon as it is plugged in, where no rule says otherwise, until it has what it
    wanted. Locking interrupts it, unlocking lets it go on. A restart is a new object with the old
    one's state: the car is still there. unix_s: what the charger's own clock shows at now_s.
    """

    def __init__(self, family: Family, state: HardwareState, now_s: float, unix_s: int = 0) -> None:
        self._family = family
        wanted = state.max_current_a or family.max_current_a
        self._state = replace(state, max_current_a=min(wanted, family.max_current_a))
        self._since_s = now_s
        self._since_unix_s = float(unix_s)
        self._free_since_s = now_s
        self._button_callbacks: list[Callable[[bool], None]] = []
        self._tamper_callbacks: list[Callable[[bool], None]] = []

    def state(self, now_s: float) -> HardwareState:
        """What must survive a restart, as of now."""
        self._pass(now_s)
        return self._flowed(self._flow, now_s)

    def reading(self, now_s: float) -> Reading:
        """One look at everything."""
        state = self.state(now_s)
        now = self._flow
        current, solar_w = state.current, state.surroundings.solar_w
        return Reading(
            status=now.status,
            locked=state.locked,
            volts=_on_each(self._family.phases, VOLTS),
            deciamperes=_on_each(now.phases, now.amperes * 10),
            watts=_on_each(now.phases, now.amperes * VOLTS),
            meter_wh=int(state.meter_wh),
            max_current_a=state.max_current_a or self._family.max_current_a,
            available_current_a=self._family.max_current_a,
            auto_lock_s=state.auto_lock_s,
            session_start_unix_s=current.start_unix_s if current else None,
            session_s=int(current.charging_s) if current else 0,
            session_wh=_session_wh(state, current) if current else 0,
            session_green_wh=_green_wh(state, current) if current else 0,
            by_hand=state.by_hand,
            surplus_w=int(usable_solar_w(state.rules, solar_w) - now.green_w),
        )

    def sessions(self) -> Sequence[ChargeSession]:
        """Finished sessions, oldest first; the newest SESSIONS_KEPT of them."""
        return self._state.sessions

    def forget_sessions(self, now_s: float) -> None:
        """Forget the finished ones; the meter stays as it is."""
        self._change(replace(self.state(now_s), sessions=()), now_s)

    def start(self, now_s: float) -> None:
        """Charge, or go on charging. Raises NotPossible without a car and when locked."""
        state, _ = self._with_car(now_s)
        if state.locked:
            raise NotPossible("The charger is locked: unlock it first.")
        self._change(replace(state, paused=False, by_hand=True), now_s)

    def pause(self, now_s: float) -> None:
        """Stop charging until started again. Raises NotPossible without a car."""
        state, _ = self._with_car(now_s)
        self._change(replace(state, paused=True, by_hand=True), now_s)

    def by_rules(self, now_s: float) -> None:
        """Forget what was started or stopped by hand; with no rules, a pause stays."""
        state = self.state(now_s)
        ruled = bool(state.rules.windows) or state.rules.solar is not None
        self._change(replace(state, by_hand=False, paused=state.paused and not ruled), now_s)

    def set_locked(self, now_s: float, *, locked: bool) -> None:
        """Lock, which interrupts a charge, or unlock, which lets it go on."""
        self._change(replace(self.state(now_s), locked=locked), now_s)
        self._free_since_s = now_s

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
        self._free_since_s = now_s

    def set_clock(self, now_s: float, unix_s: int) -> None:
        """Set the charger's own clock; sessions keep the date that they have."""
        self._change(self.state(now_s), now_s)
        self._since_unix_s = float(unix_s)

    def obey(self, now_s: float, rules: ChargingRules) -> None:
        """Charge by these rules from now on."""
        if rules != self._state.rules:
            self._change(replace(self.state(now_s), rules=rules), now_s)

    def on_button(self, callback: Callable[[bool], None]) -> None:
        """Call back with True when the button goes down, with False when it comes up."""
        self._button_callbacks.append(callback)

    def on_tamper(self, callback: Callable[[bool], None]) -> None:
        """Call back with True when the housing is opened, with False when it is closed again."""
        self._tamper_callbacks.append(callback)

    # What the simulated world does; no part of the port.

    def plug_in(self, now_s: float, demand_wh: float = USUAL_DEMAND_WH) -> None:
        """A car comes that wants this much energy. Raises NotPossible if one is there."""
        state = self.state(now_s)
        if state.current is not None:
            raise NotPossible("A car is plugged in already.")
        unix_s = int(self._unix_s(now_s))
        current = OpenSession(unix_s, meter_start_wh=state.meter_wh, demand_wh=demand_wh)
        self._change(replace(state, current=current, paused=False, by_hand=False), now_s)

    def plug_out(self, now_s: float) -> ChargeSession:
        """The car goes; its session is finished. Raises NotPossible if there is none."""
        state, current = self._with_car(now_s)
        session = ChargeSession(
            session_id=state.next_session_id,
            start_unix_s=current.start_unix_s,
            charging_s=int(current.charging_s),
            energy_wh=_session_wh(state, current),
            green_wh=_green_wh(state, current),
        )
        after = replace(
            state,
            current=None,
            paused=False,
            by_hand=False,
            sessions=(*state.sessions, session)[-SESSIONS_KEPT:],
            next_session_id=session.session_id + 1,
        )
        self._change(after, now_s)
        self._free_since_s = now_s
        return session

    def surround(self, now_s: float, surroundings: Surroundings) -> None:
        """The sun comes out, somebody cooks."""
        self._change(replace(self.state(now_s), surroundings=surroundings), now_s)

    def shine(self, now_s: float, watts: int) -> None:
        """The sun gives so much power. Raises ValueError."""
        if watts > MOST_SOLAR_W:
            raise ValueError(f"The sun can give 0 to {MOST_SOLAR_W} W.")
        self.surround(now_s, replace(self._state.surroundings, solar_w=watts))

    def draw(self, now_s: float, amperes: int) -> None:
        """The rest of the house draws so much current. Raises ValueError."""
        if amperes > MOST_HOUSE_A:
            raise ValueError(f"The house can draw 0 to {MOST_HOUSE_A} A.")
        self.surround(now_s, replace(self._state.surroundings, house_a=amperes))

    def press_button(self, *, down: bool) -> None:
        """A finger goes down on the button, or comes up."""
        for callback in tuple(self._button_callbacks):
            callback(down)

    def open_housing(self, *, opened: bool) -> None:
        """Somebody takes the cover off, or puts it back: the tamper switch moves."""
        for callback in tuple(self._tamper_callbacks):
            callback(opened)

    # Time. What flows changes only at moments that are known beforehand: a window opens or closes,
    # car or window have had enough, the charger locks itself. The state is kept as of the last of
    # them, which does not depend on when somebody looks.

    @property
    def _flow(self) -> Flow:
        return flow(self._family, self._state, self._since_unix_s)

    def _unix_s(self, now_s: float) -> float:
        return self._since_unix_s + max(0.0, now_s - self._since_s)

    def _change(self, state: HardwareState, now_s: float) -> None:
        self._since_unix_s = self._unix_s(now_s)
        self._since_s = max(self._since_s, now_s)
        self._state = state

    def _pass(self, now_s: float) -> None:
        """Take every known moment up to now, one after another."""
        while True:
            now = self._flow
            self._note_window(now)
            locks_s, enough_s = self._locks_s(), self._enough_s(now)
            change_unix_s = self._window_changes()
            change_s = self._since_s + change_unix_s - self._since_unix_s
            then_s = min(locks_s, enough_s, change_s)
            if then_s > now_s:
                return
            state = self._flowed(now, then_s)
            if then_s == enough_s:
                state = replace(state, meter_wh=now.until_meter_wh)  # not a rounding error less
            if then_s == locks_s:
                state = replace(state, locked=True)
            self._change(state, then_s)
            if then_s == change_s:
                self._since_unix_s = change_unix_s

    def _flowed(self, now: Flow, then_s: float) -> HardwareState:
        """The state after this has flowed until then."""
        state, current = self._state, self._state.current
        elapsed_s = max(0.0, then_s - self._since_s)
        if current is None or not now.watts:
            return state
        return replace(
            state,
            meter_wh=min(state.meter_wh + now.watts * elapsed_s / 3600, now.until_meter_wh),
            current=replace(
                current,
                charging_s=current.charging_s + elapsed_s,
                green_wh=current.green_wh + now.green_w * elapsed_s / 3600,
            ),
        )

    def _note_window(self, now: Flow) -> None:
        """A window has begun for the car, or the car has come in the middle of one."""
        current, opened = self._state.current, now.opening
        if current and opened and current.window_unix_s != opened.begin_unix_s:
            noted = replace(
                current, window_unix_s=opened.begin_unix_s, window_meter_wh=self._state.meter_wh
            )
            self._state = replace(self._state, current=noted)

    def _locks_s(self) -> float:
        state = self._state
        if state.locked or state.current is not None or not state.auto_lock_s:
            return math.inf
        return max(self._free_since_s + state.auto_lock_s, self._since_s)

    def _enough_s(self, now: Flow) -> float:
        if not now.watts:
            return math.inf
        return self._since_s + (now.until_meter_wh - self._state.meter_wh) * 3600 / now.watts

    def _window_changes(self) -> float:
        if self._state.current is None:
            return math.inf
        change_unix_s = next_change(self._state.rules.windows, self._since_unix_s)
        return math.inf if change_unix_s is None else float(change_unix_s)

    def _with_car(self, now_s: float) -> tuple[HardwareState, OpenSession]:
        state = self.state(now_s)
        if state.current is None:
            raise NotPossible("No car is plugged in.")
        return state, state.current


def _on_each(phases: int, value: int) -> tuple[int, int, int]:
    one, two, three = (value if at < phases else 0 for at in range(_PHASES))
    return one, two, three


def _session_wh(state: HardwareState, current: OpenSession) -> int:
    """The difference of two readings of the meter, which shows whole watt-hours."""
    return int(state.meter_wh) - int(current.meter_start_wh)


def _green_wh(state: HardwareState, current: OpenSession) -> int:
    return min(int(current.green_wh), _session_wh(state, current))
