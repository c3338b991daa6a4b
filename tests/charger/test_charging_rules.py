"""What settings do to a charge: schedules, Eco-Smart, power sharing, Power Boost, phase switch."""

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from chargepin.charger.hardware import SimulatedHardware
from chargepin.charger.ports import (
    MIN_CURRENT_A,
    ChargeStatus,
    ChargingRules,
    HardwareState,
    NotPossible,
    Sharing,
    Solar,
    Surroundings,
    Window,
)
from chargepin.core.catalogue import FAMILIES
from charger.desk import MAX, UNIX_S, Charger

HOUR = 3600.0
NOON_TO_TWO = {"sid": 1, "start": 1200, "stop": 1400, "days": [1] * 7, "mcr": 16}


@pytest.fixture
def charger(tmp_path: Path) -> Charger:
    """At eight in the morning, with a car."""
    made = Charger(tmp_path)
    made.hardware.plug_in(0.0)
    return made


def seen(charger: Charger, hours: float) -> tuple[int, int, int]:
    """Status, L1 in tenths of A, and Wh of the session, so many hours after eight."""
    charger.now_s = hours * HOUR
    status = charger.value("r_dat")
    assert isinstance(status, dict)
    live = charger.value("r_lse")
    energy = round((live["grid_energy"] + live["green_energy"]) * 1000)
    assert energy // 10 == status["en"]
    return status["st"], status["L1"], energy


def test_a_schedule_begins_and_ends_a_charge(charger: Charger) -> None:
    assert charger.value("s_sch", {"schedules": [NOON_TO_TWO]}) == 0
    assert seen(charger, 3.9) == (3, 0, 0)
    assert seen(charger, 4.5) == (1, 160, 5_520)
    assert seen(charger, 6.0) == (5, 0, 22_080)
    assert seen(charger, 20.0) == (5, 0, 22_080)
    assert seen(charger, 28.5) == (1, 160, 22_080 + 5_520)


def test_looking_is_not_needed_for_a_schedule(charger: Charger) -> None:
    charger.value("s_sch", {"schedules": [NOON_TO_TWO]})
    assert seen(charger, 20.0) == (5, 0, 22_080)


def test_a_schedule_ends_when_the_car_has_what_was_asked(charger: Charger) -> None:
    enough = NOON_TO_TWO | {"target": {"type": 1, "value": 11_040}}
    charger.value("s_sch", {"schedules": [enough]})
    assert seen(charger, 5.5) == (5, 0, 11_040)
    assert seen(charger, 30.0) == (5, 0, 22_080)


def test_replaced_disabled_and_cleared_schedules(charger: Charger) -> None:
    charger.value("s_sch", {"schedules": [NOON_TO_TWO]})
    charger.value("s_sch", {"schedules": [NOON_TO_TWO | {"start": 900, "stop": 1000}]})
    assert seen(charger, 1.5) == (1, 160, 5_520)
    charger.value("s_sch", {"schedules": [NOON_TO_TWO | {"enabled": 0}]})
    assert seen(charger, 1.5)[:2] == (1, 320)
    charger.value("s_sch", {"schedules": [NOON_TO_TWO]})
    assert seen(charger, 1.5)[0] == 5
    charger.value("clr_sch", {"sid": [1]})
    assert seen(charger, 1.5)[0] == 1


def test_a_start_by_hand_goes_before_a_schedule_until_it_is_cleared(charger: Charger) -> None:
    charger.value("s_sch", {"schedules": [NOON_TO_TWO]})
    charger.value("w_cha", 1)
    assert seen(charger, 0.5) == (1, 320, 11_040)
    charger.value("w_cha", 0)
    assert seen(charger, 5.0)[0] == 4
    charger.value("s_cmode", {"mode": 0})
    assert seen(charger, 5.0)[0] == 1
    assert charger.value("r_lse")["control_mode"] == 0
    assert seen(charger, 6.5)[0] == 5


def test_a_pause_stays_where_no_rule_would_end_it(charger: Charger) -> None:
    charger.value("w_cha", 0)
    charger.value("s_cmode", {"mode": 0})
    assert seen(charger, 1.0) == (4, 0, 0)


def test_the_next_car_comes_without_what_was_done_by_hand(charger: Charger) -> None:
    charger.value("s_sch", {"schedules": [NOON_TO_TWO]})
    charger.value("w_cha", 1)
    charger.hardware.plug_out(HOUR)
    charger.hardware.plug_in(HOUR)
    assert seen(charger, 1.0) == (3, 0, 0)


def test_a_schedule_goes_by_the_clock_that_was_set(charger: Charger) -> None:
    charger.value("s_sch", {"schedules": [NOON_TO_TWO]})
    charger.value("Wtime", "00301315050127")  # 13:30 of the same day
    assert seen(charger, 0.25) == (1, 160, 2_760)
    assert seen(charger, 0.5)[0] == 5


def test_power_boost_leaves_the_house_what_it_uses(charger: Charger) -> None:
    charger.value("w_hsh", 40)
    charger.hardware.surround(0.0, Surroundings(house_a=20))
    assert seen(charger, 1.0) == (1, 200, 13_800)
    charger.hardware.surround(HOUR, Surroundings(house_a=35))
    assert seen(charger, 2.0) == (10, 0, 13_800)
    charger.value("w_hsh", 0)
    assert seen(charger, 2.0)[:2] == (1, 320)


def test_what_is_left_out_of_power_sharing_is_missed(charger: Charger) -> None:
    charger.value("s_psh", {"dyps": 1, "mcpp": 20, "minI": 6, "nchg": 2})
    assert seen(charger, 0.0)[:2] == (1, 200)
    assert charger.value("r_dat")["ps"] == charger.value("r_sta")["power_sharing_status"] == 3
    charger.value("s_psh", {"dyps": 1, "mcpp": 20, "minI": 25})
    assert seen(charger, 0.0)[:2] == (8, 0)
    charger.value("s_psh", {"dyps": 1})
    assert seen(charger, 0.0)[:2] == (9, 0)
    charger.value("clr_psh")
    assert seen(charger, 0.0)[:2] == (1, 320)


def test_sun_and_house_have_their_limits(charger: Charger) -> None:
    charger.hardware.shine(0.0, 5000)
    charger.hardware.draw(0.0, 12)
    assert charger.hardware.state(0.0).surroundings == Surroundings(solar_w=5000, house_a=12)
    with pytest.raises(ValueError, match="0 to 100000 W"):
        charger.hardware.shine(0.0, 100_001)
    with pytest.raises(ValueError, match="0 to 1000 A"):
        charger.hardware.draw(0.0, 1_001)


def test_only_on_the_sun(charger: Charger) -> None:
    charger.value("s_ecos", {"ese": 1, "esm": 1, "esp": 50})
    assert seen(charger, 0.0)[:2] == (18, 0)
    charger.hardware.surround(0.0, Surroundings(solar_w=14_000))
    assert charger.value("r_dat")["L1"] == 100
    assert charger.value("r_lse")["surplus_power"] == 7000 - 6900
    charger.now_s = HOUR
    assert charger.value("r_lse")["green_energy"] == 6.9
    assert charger.value("r_lse")["grid_energy"] == 0
    charger.hardware.plug_out(HOUR)
    assert charger.value("r_log", 1) == {"start": UNIX_S, "sec": 3600, "en": 6900, "gen": 6900}


def test_with_what_sun_there_is(charger: Charger) -> None:
    charger.value("s_ecos", {"ese": 1, "esm": 0, "esp": 100})
    charger.hardware.surround(0.0, Surroundings(solar_w=1380))
    assert seen(charger, 1.0) == (1, 60, 4140)
    assert charger.value("r_lse")["green_energy"] == 1.38
    assert charger.value("r_dat")["grid"] == 4140 - 1380
    charger.value("s_ecos", {"ese": 0, "esm": 0, "esp": 100})
    assert seen(charger, 1.0)[:2] == (1, 320)


def test_a_little_sun_is_enough_for_one_phase(charger: Charger) -> None:
    charger.value("s_ecos", {"ese": 1, "esm": 1, "esp": 100})
    charger.hardware.surround(0.0, Surroundings(solar_w=2300))
    assert seen(charger, 0.0)[0] == 18
    charger.value("s_phsw", {"enabled": 1})
    assert seen(charger, 1.0) == (1, 100, 2300)
    assert charger.value("r_dat")["L2"] == 0
    assert charger.value("r_dca")["v2"] == 230


windows = st.lists(
    st.builds(
        Window,
        st.integers(0, 1439),
        st.integers(0, 1439),
        st.integers(0, 127),
        st.integers(6, 40),
        st.none() | st.integers(0, 20_000),
    ),
    max_size=3,
).map(tuple)
rules = st.builds(
    ChargingRules,
    windows=windows,
    house_limit_a=st.sampled_from([0, 5, 20, 63]),
    sharing=st.none() | st.builds(Sharing, st.sampled_from([0, 5, 10, 40]), st.integers(0, 12)),
    solar=st.none() | st.builds(Solar, only=st.booleans(), percent=st.integers(0, 100)),
    one_phase=st.booleans(),
)


class AnyRules(RuleBasedStateMachine):
    """A charger that is looked at often, and its twin that is looked at now and then."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.often = SimulatedHardware(MAX, HardwareState(), 0.0, UNIX_S)
        self.seldom = SimulatedHardware(MAX, HardwareState(), 0.0, UNIX_S)

    @property
    def both(self) -> tuple[SimulatedHardware, SimulatedHardware]:
        return self.often, self.seldom

    @rule(seconds=st.floats(0, 100_000), looks=st.integers(1, 5))
    def wait(self, seconds: float, looks: int) -> None:
        before = self.often.reading(self.now_s).meter_wh
        for look in range(1, looks + 1):
            self.often.reading(self.now_s + seconds * look / looks)
        self.now_s += seconds
        delivered = self.often.reading(self.now_s).meter_wh - before
        most_w = 230 * 3 * MAX.max_current_a
        assert 0 <= delivered <= most_w * seconds / 3600 + 1

    @rule(demand_wh=st.floats(1, 80_000))
    def plug(self, demand_wh: float) -> None:
        for each in self.both:
            try:
                each.plug_in(self.now_s, demand_wh)
            except NotPossible:
                each.plug_out(self.now_s)

    @rule(drawn=rules)
    def obey(self, drawn: ChargingRules) -> None:
        for each in self.both:
            each.obey(self.now_s, drawn)

    @rule(solar_w=st.integers(0, 20_000), house_a=st.integers(0, 80))
    def surround(self, solar_w: int, house_a: int) -> None:
        for each in self.both:
            each.surround(self.now_s, Surroundings(solar_w, house_a))

    @rule(what=st.sampled_from(["start", "pause", "by_rules", "lock", "unlock", "auto_lock"]))
    def do(self, what: str) -> None:
        for each in self.both:
            orders: dict[str, Callable[[float], None]] = {
                "start": each.start,
                "pause": each.pause,
                "by_rules": each.by_rules,
                "lock": partial(each.set_locked, locked=True),
                "unlock": partial(each.set_locked, locked=False),
                "auto_lock": partial(each.set_auto_lock, seconds=600),
            }
            with contextlib.suppress(NotPossible):
                orders[what](self.now_s)

    @rule(unix_s=st.integers(UNIX_S - 10**6, UNIX_S + 10**6))
    def set_clock(self, unix_s: int) -> None:
        for each in self.both:
            each.set_clock(self.now_s, unix_s)

    @rule()
    def restart(self) -> None:
        kept = msgspec.json.encode(self.often.state(self.now_s))
        self.often = SimulatedHardware(
            MAX, msgspec.json.decode(kept, type=HardwareState), self.now_s, UNIX_S
        )
        self.seldom = SimulatedHardware(MAX, self.seldom.state(self.now_s), self.now_s, UNIX_S)

    @invariant()
    def looking_changes_nothing(self) -> None:
        assert self.seldom.reading(self.now_s) == self.often.reading(self.now_s)

    @invariant()
    def sums_agree(self) -> None:
        reading = self.often.reading(self.now_s)
        done = sum(session.energy_wh for session in self.often.sessions())
        assert reading.meter_wh == done + reading.session_wh
        assert 0 <= reading.session_green_wh <= reading.session_wh
        flowing = reading.status is ChargeStatus.CHARGING
        assert (sum(reading.watts) > 0) == flowing
        for volts, tenths, watts in zip(
            reading.volts, reading.deciamperes, reading.watts, strict=True
        ):
            assert watts == volts * tenths / 10
            assert tenths == 0 or MIN_CURRENT_A <= tenths / 10 <= reading.max_current_a


TestAnyRules = AnyRules.TestCase
TestAnyRules.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_one_phase_families_have_one_phase() -> None:
    plus = SimulatedHardware(FAMILIES["pulsar-plus"], HardwareState(), 0.0, UNIX_S)
    plus.plug_in(0.0)
    plus.obey(0.0, ChargingRules(one_phase=True, solar=Solar(only=True, percent=100)))
    plus.surround(0.0, Surroundings(solar_w=2300))
    assert plus.reading(0.0).deciamperes == (100, 0, 0)
