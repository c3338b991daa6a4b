import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from chargepin.charger.hardware import LONGEST_AUTO_LOCK_S, SESSIONS_KEPT, SimulatedHardware
from chargepin.charger.ports import ChargeStatus, Hardware, HardwareState, NotPossible
from chargepin.core.catalogue import FAMILIES, Family

MAX = FAMILIES["pulsar-max"]
PLUS = FAMILIES["pulsar-plus"]
UNIX_S = 1_800_000_000


def charger(family: Family = MAX, state: HardwareState | None = None) -> SimulatedHardware:
    return SimulatedHardware(family, state or HardwareState(), now_s=0.0, unix_s=UNIX_S)


def charging(family: Family = MAX) -> SimulatedHardware:
    hardware = charger(family)
    hardware.plug_in(0.0)
    return hardware


def test_it_is_the_port() -> None:
    hardware: Hardware = charger()
    assert hardware.reading(0.0).status is ChargeStatus.READY


def test_a_car_charges_once_plugged_in() -> None:
    reading = charging().reading(3600.0)
    assert reading.status is ChargeStatus.CHARGING
    assert reading.deciamperes == (320, 320, 320)
    assert reading.watts == (7360, 7360, 7360)
    assert reading.volts == (230, 230, 230)
    assert reading.meter_wh == reading.session_wh == 22_080
    assert reading.session_s == 3600
    assert reading.session_start_unix_s == UNIX_S


def test_one_phase_families_use_one_phase() -> None:
    reading = charging(PLUS).reading(3600.0)
    assert reading.watts == (7360, 0, 0)
    assert reading.meter_wh == 7360


def test_nothing_flows_without_a_car() -> None:
    reading = charger().reading(3600.0)
    assert reading.watts == (0, 0, 0)
    assert reading.meter_wh == reading.session_wh == reading.session_s == 0
    assert reading.session_start_unix_s is None


def test_looking_often_is_looking_once() -> None:
    often, once = charging(), charging()
    for second in range(3600):
        often.reading(second + 0.1)
    assert often.reading(3600.0) == once.reading(3600.0)


def test_a_full_car_stops_by_itself() -> None:
    hardware = charger()
    hardware.plug_in(0.0, demand_wh=22_080)
    reading = hardware.reading(7200.0)
    assert reading.status is ChargeStatus.WAITING_FOR_CAR
    assert (reading.session_wh, reading.session_s) == (22_080, 3600)
    assert reading.watts == (0, 0, 0)


def test_pause_and_start() -> None:
    hardware = charging()
    hardware.pause(1800.0)
    hardware.pause(1900.0)
    paused = hardware.reading(9000.0)
    assert paused.status is ChargeStatus.PAUSED
    assert (paused.session_wh, paused.session_s) == (11_040, 1800)
    hardware.start(9000.0)
    assert hardware.reading(10_800.0).session_wh == 22_080


def test_locking_interrupts_and_unlocking_resumes() -> None:
    hardware = charging()
    hardware.set_locked(1800.0, locked=True)
    reading = hardware.reading(3600.0)
    assert reading.status is ChargeStatus.LOCKED
    assert reading.locked
    assert reading.session_wh == 11_040
    with pytest.raises(NotPossible, match="unlock"):
        hardware.start(3600.0)
    hardware.set_locked(3600.0, locked=False)
    assert hardware.reading(5400.0).session_wh == 22_080


def test_the_current_can_be_changed_while_charging() -> None:
    hardware = charging()
    hardware.set_max_current(3600.0, 16)
    reading = hardware.reading(7200.0)
    assert reading.deciamperes == (160, 160, 160)
    assert reading.max_current_a == 16
    assert reading.available_current_a == 32
    assert reading.meter_wh == 22_080 + 11_040


@pytest.mark.parametrize("amperes", [-1, 0, 5, 33, 10**9])
def test_currents_out_of_range(amperes: int) -> None:
    with pytest.raises(ValueError, match="6 to 32"):
        charger().set_max_current(0.0, amperes)


def test_sessions_are_listed_when_the_car_goes() -> None:
    hardware = charging()
    assert list(hardware.sessions()) == []
    first = hardware.plug_out(1801.5)
    hardware.plug_in(2000.0, demand_wh=100)
    hardware.plug_out(9000.0)
    assert [s.session_id for s in hardware.sessions()] == [1, 2]
    assert hardware.sessions()[0] == first
    assert first.charging_s == 1801
    assert hardware.sessions()[1].start_unix_s == UNIX_S + 2000
    assert hardware.reading(9000.0).meter_wh == sum(s.energy_wh for s in hardware.sessions())


def test_only_the_newest_sessions_are_kept() -> None:
    hardware = charger()
    for at in range(SESSIONS_KEPT + 3):
        hardware.plug_in(at)
        hardware.plug_out(at + 0.5)
    assert [s.session_id for s in hardware.sessions()] == list(range(4, SESSIONS_KEPT + 4))


def test_what_needs_a_car_says_so() -> None:
    hardware = charger()
    for action in (hardware.start, hardware.pause, hardware.plug_out):
        with pytest.raises(NotPossible, match="No car"):
            action(1.0)
    with pytest.raises(NotPossible, match="already"):
        charging().plug_in(1.0)


def test_auto_lock_after_the_car_has_gone() -> None:
    hardware = charging()
    hardware.set_auto_lock(0.0, 60)
    assert not hardware.reading(3000.0).locked
    hardware.plug_out(3000.0)
    assert hardware.reading(3059.9).status is ChargeStatus.READY
    assert hardware.reading(3060.0).status is ChargeStatus.LOCKED
    hardware.plug_in(3100.0)
    assert hardware.reading(3100.0).status is ChargeStatus.LOCKED
    assert hardware.reading(3100.0).auto_lock_s == 60


@pytest.mark.parametrize("seconds", [-1, LONGEST_AUTO_LOCK_S + 1])
def test_auto_lock_out_of_range(seconds: int) -> None:
    with pytest.raises(ValueError, match="seconds"):
        charger().set_auto_lock(0.0, seconds)


def test_a_restart_in_the_middle_of_a_charge_goes_on() -> None:
    before = charging()
    before.set_max_current(0.0, 16)
    before.set_auto_lock(0.0, 30)
    kept = msgspec.json.encode(before.state(1800.0))
    after = SimulatedHardware(MAX, msgspec.json.decode(kept, type=HardwareState), now_s=5.0)
    assert after.reading(5.0) == before.reading(1800.0)
    assert after.reading(1805.0).session_wh == 11_040
    assert after.plug_out(1805.0).charging_s == 3600


def test_a_limit_too_high_for_the_family_is_lowered() -> None:
    assert charger(state=HardwareState(max_current_a=48)).reading(0.0).max_current_a == 32


def test_the_button_reaches_everyone_who_asked() -> None:
    hardware, heard = charger(), list[bool]()
    hardware.on_button(heard.append)
    hardware.on_button(heard.append)
    hardware.press_button(down=True)
    hardware.press_button(down=False)
    assert heard == [True, True, False, False]


def test_time_that_goes_backwards_charges_nothing() -> None:
    hardware = charging()
    hardware.pause(100.0)
    meter_wh = hardware.reading(100.0).meter_wh
    hardware.start(50.0)
    assert hardware.reading(100.0).meter_wh == meter_wh


@given(st.floats(0, 1e6), st.integers(6, 32))
def test_energy_is_power_times_time(elapsed_s: float, amperes: int) -> None:
    hardware = charger()
    hardware.set_max_current(0.0, amperes)
    hardware.plug_in(0.0, demand_wh=math.inf)
    reading = hardware.reading(elapsed_s)
    assert abs(reading.session_wh - sum(reading.watts) * elapsed_s / 3600) <= 1


class AnyUse(RuleBasedStateMachine):
    """Whatever is done to it, and whenever it restarts, the sums agree."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.plugged = False
        self.energy_wh = 0
        self.hardware = charger(PLUS)
        self.last_meter_wh = 0

    @rule(seconds=st.floats(0, 20_000))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @precondition(lambda self: not self.plugged)
    @rule(demand_wh=st.floats(1, 50_000))
    def plug_in(self, demand_wh: float) -> None:
        self.hardware.plug_in(self.now_s, demand_wh)
        self.plugged = True

    @precondition(lambda self: self.plugged)
    @rule()
    def plug_out(self) -> None:
        self.energy_wh += self.hardware.plug_out(self.now_s).energy_wh
        self.plugged = False

    @precondition(lambda self: self.plugged)
    @rule()
    def pause(self) -> None:
        self.hardware.pause(self.now_s)

    @rule(locked=st.booleans())
    def lock(self, locked: bool) -> None:  # noqa: FBT001  # drawn by Hypothesis
        self.hardware.set_locked(self.now_s, locked=locked)

    @rule(amperes=st.integers(6, 32))
    def limit(self, amperes: int) -> None:
        self.hardware.set_max_current(self.now_s, amperes)

    @rule()
    def restart(self) -> None:
        kept = msgspec.json.encode(self.hardware.state(self.now_s))
        state = msgspec.json.decode(kept, type=HardwareState)
        self.now_s = 0.0
        self.hardware = SimulatedHardware(PLUS, state, self.now_s)

    @invariant()
    def sums_agree(self) -> None:
        reading = self.hardware.reading(self.now_s)
        assert reading.meter_wh == self.energy_wh + reading.session_wh
        assert reading.meter_wh >= self.last_meter_wh
        self.last_meter_wh = reading.meter_wh
        flowing = reading.status is ChargeStatus.CHARGING
        assert (sum(reading.watts) > 0) == flowing
        for volts, tenths, watts in zip(
            reading.volts, reading.deciamperes, reading.watts, strict=True
        ):
            assert watts == volts * tenths / 10


TestAnyUse = AnyUse.TestCase
TestAnyUse.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
