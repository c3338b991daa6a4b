"""How chargers differ by family, radio module and software; and that none of them ever chokes."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargepin.charger.ports import NotPossible
from chargepin.charger.stock.dialect import Stop, dialect_of
from chargepin.charger.stock.reads import READS
from chargepin.charger.stock.schedules import SCHEDULES_MAX, unpacked
from chargepin.charger.stock.writes import WRITES
from chargepin.core.bapi import METHODS, Refused, Request
from chargepin.core.catalogue import FAMILIES, Version
from chargepin.core.gatt import Layout
from charger.desk import MAX, NEW, NO_METHOD, PLUS, UNIX_S, Charger

OLD, LISTS, GREEN = Version(6, 1, 12), Version(6, 11, 16), Version(6, 13, 6)
NIGHT = {"sid": 3, "start": 2330, "stop": 605, "days": [1, 1, 0, 0, 0, 0, 1]}


@pytest.fixture
def plus(tmp_path: Path) -> Charger:
    made = Charger(tmp_path, PLUS)
    made.hardware.plug_in(0.0)
    return made


@pytest.fixture
def zentri(tmp_path: Path) -> Charger:
    made = Charger(tmp_path, PLUS, layout=Layout.ZENTRI)
    made.hardware.plug_in(0.0)
    return made


def test_radio_modules_differ(tmp_path: Path, plus: Charger) -> None:
    charger = Charger(tmp_path)
    assert charger.value("ping") == 0
    assert plus.error("ping") == NO_METHOD
    assert (charger.value("r_wel"), plus.value("r_wel")) == (0, 1)
    assert charger.stock.layout is MAX.layout


def test_a_plus_ignores_the_stop_of_others(plus: Charger) -> None:
    assert plus.value("w_cha", 2) is None
    assert plus.value("r_dat")["st"] == 1
    assert plus.value("w_cha", 0) is None
    assert plus.value("r_dat")["st"] == 4


def test_newer_software_shows_green_energy_in_the_place_of_the_flag(tmp_path: Path) -> None:
    for software, flag in ((NEW, 1), (GREEN, 0)):
        charger = Charger(tmp_path, MAX, software)
        charger.hardware.plug_in(0.0)
        charger.value("w_cha", 1)
        assert charger.value("r_dat")["gen"] == flag
        assert charger.value("r_lse")["control_mode"] == 1


def test_power_boost_has_another_name_on_newer_software(tmp_path: Path) -> None:
    newer, older = Charger(tmp_path, MAX, LISTS), Charger(tmp_path, MAX)
    assert newer.value("w_power_boost", 25) == 0
    assert newer.value("r_power_boost") == newer.value("r_hsh") == 25
    assert older.error("w_power_boost", 25) == older.error("r_power_boost") == NO_METHOD


def test_the_back_office_is_told_in_two_ways(tmp_path: Path, plus: Charger) -> None:
    charger = Charger(tmp_path)
    for each, at_rest, charging in ((charger, 2, 3), (plus, 4, 4)):
        assert each.value("r_sta")["ocpp_status"] == each.value("r_dat")["ocpp"] == 1
        each.value("s_ocpp", {"u": "wss://example.org", "chid": "1", "pw": "", "e": 1})
        each.value("w_lck", 1)
        assert each.value("r_sta")["ocpp_status"] == each.value("r_dat")["ocpp"] == at_rest
        each.value("w_lck", 0)
        if each is charger:
            each.hardware.plug_in(0.0)
        assert each.value("r_sta")["ocpp_status"] == each.value("r_dat")["ocpp"] == charging


def test_schedules_of_an_older_plus_are_digits(plus: Charger) -> None:
    for method in ("s_sch", "clr_sch", "r_sch"):
        assert plus.error(method, {"schedules": [NIGHT]}) == NO_METHOD
    assert plus.value("r_schs") == {"schedules": []}
    assert plus.value("w_sch", "0006000700002") == 0  # Monday
    assert plus.value("w_sch", "0323300605067") == 0  # Saturday, Sunday, Monday
    first, second = plus.value("r_schs")["schedules"]
    assert (first["sid"], first["start"], first["stop"]) == (0, "0600", "0700")
    assert (first["days"], second["days"]) == (0b0000010, 0b1000011)
    assert plus.stock.settings.schedules[1].days == (1, 0, 0, 0, 0, 1, 1)
    assert plus.value("r_dat")["st"] == 3
    assert plus.value("w_sch", "0300000000000") == 0
    assert plus.value("w_sch", "0000000000000") == 0
    assert plus.value("r_schs") == {"schedules": []}
    assert plus.value("r_dat")["st"] == 1


@pytest.mark.parametrize("digits", ["006000700002", "0060070000020", "0006000700128", "x" * 13, ""])
def test_digits_that_are_no_schedule(plus: Charger, digits: str) -> None:
    assert plus.value("w_sch", digits) == {"code": 7}
    assert plus.value("r_schs") == {"schedules": []}


def test_digits_are_a_text(plus: Charger) -> None:
    assert plus.error("w_sch", 6000700002).code == 2


def test_there_is_room_for_so_many_schedules_of_digits(plus: Charger) -> None:
    for sid in range(SCHEDULES_MAX):
        assert plus.value("w_sch", f"{sid:02d}06000700002") == 0
    assert plus.value("w_sch", "9906000700002") == {"code": 7}
    assert plus.value("w_sch", "0008000900002") == 0


def test_a_newer_plus_has_lists(tmp_path: Path) -> None:
    plus = Charger(tmp_path, PLUS, LISTS)
    assert plus.value("s_sch", {"schedules": [NIGHT]}) == 0
    assert [each["days"] for each in plus.value("r_schs")] == [0b1000011]
    assert plus.error("w_sch", "0006000700002") == NO_METHOD


def test_zentri_has_four_slots(zentri: Charger) -> None:
    assert zentri.value("w_sch", "323300605067") == 0
    assert zentri.value("r_sch", 3) == {
        "sid": 3, "start": "2330", "stop": "0605", "days": 67, "mcr": 32, "nrg": 0,
    }  # fmt: skip
    assert zentri.value("r_sch", 0)["days"] == 0
    assert zentri.value("w_sch", "423300605067") == {"code": 7}
    assert zentri.error("r_sch", 4).code == 2
    assert zentri.error("s_sch", {"schedules": [NIGHT]}) == NO_METHOD
    assert zentri.value("w_sch", "300000000000") == 0
    assert zentri.value("r_sch", 3)["start"] == "0000"


def test_zentri_names_the_value_first(zentri: Charger, plus: Charger) -> None:
    for charger, reply in ((zentri, b'{"r":0,"id":1}'), (plus, b'{"id":1,"r":0}')):
        assert charger.stock.answer(Request("r_lck", None, 1), 0.0, UNIX_S) == (reply, None)


def test_zentri_tells_less(zentri: Charger) -> None:
    assert zentri.value("r_dat") == {
        "L1": 320, "L2": 0, "L3": 0, "cur": 32, "en": 0, "ps": 0, "s": UNIX_S, "st": 1, "usid": 1,
    }  # fmt: skip
    for method in ("r_sta", "r_dca", "g_ecos", "read_pin", "r_schs"):
        assert zentri.error(method).code == 4
    assert zentri.error("w_cha", 2).code == 5
    assert zentri.value("w_cha", 0) is None
    assert zentri.value("r_dat")["st"] == 2  # 4 means something else there
    assert zentri.value("w_mxI", 16) is None


DIALECTS = [
    dialect_of(family, layout, software)
    for family in FAMILIES.values()
    for layout in Layout
    for software in (OLD, NEW, LISTS, GREEN)
]


def test_every_dialect_is_of_methods_that_there_are() -> None:
    for dialect in DIALECTS:
        assert dialect.unknown | dialect.unsupported <= {*READS, *WRITES}
        assert not dialect.unknown & dialect.unsupported
        assert set(dialect.stops) == {0, 2}
        assert dialect.stops[0] is Stop.PAUSE  # so that 0 pauses every charger
    assert {dialect.stops[2] for dialect in DIALECTS} == set(Stop) - {Stop.PAUSE}
    assert len({dialect.timetable for dialect in DIALECTS}) == 3


any_json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)
    | st.text(max_size=15) | st.text("0123456789", max_size=14),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["sid", "mode", "schedules", "ese", "esp", "timezone", "dyps", "pw"]), inner
    ),
    max_leaves=6,
)  # fmt: skip

requests = st.one_of(
    st.tuples(st.sampled_from(sorted(METHODS)), any_json),
    st.tuples(st.just("w_cha"), st.integers(0, 2)),
    st.tuples(st.just("w_mxI"), st.integers(5, 33)),
    st.tuples(st.just("w_lck"), st.integers(0, 1)),
    st.tuples(st.just("s_alo"), st.integers(0, 3000)),
    st.tuples(st.just("w_hsh"), st.integers(0, 63)),
    st.tuples(st.just("s_cmode"), st.just({"mode": 0})),
    st.tuples(st.just("clr_sch"), st.just({"sid": [3]})),
    st.tuples(st.just("s_phsw"), st.builds(lambda on: {"enabled": on}, st.integers(0, 1))),
    st.tuples(st.just("w_sch"), st.from_regex(r"[0-3][0-3][01][0-9][0-5]0[01][0-9]000[0-9]{2}")),
    st.tuples(
        st.just("s_sch"),
        st.builds(
            lambda start, stop, wh: {
                "schedules": [
                    NIGHT | {"start": start, "stop": stop, "target": {"type": 1, "value": wh}}
                ]
            },
            st.sampled_from([0, 800, 830, 1200]),
            st.sampled_from([0, 900, 1215]),
            st.integers(0, 20_000),
        ),
    ),
    st.tuples(
        st.just("s_ecos"),
        st.builds(lambda esm: {"ese": 1, "esm": esm, "esp": 100}, st.integers(0, 1)),
    ),
    st.tuples(st.sampled_from(["plug", "unplug"]), st.none()),
)
histories = st.lists(st.tuples(requests, st.sampled_from([0.0, 1.0, 600.0, 7200.0])), max_size=25)


def told(charger: Charger, method: str, par: object = None) -> object:
    """A value, or None where this charger does not have the method."""
    reply = charger.ask(method, par)
    assert reply.error in {None, NO_METHOD, Refused(4, "This charger does not have that.")}
    return reply.value


def accounts_agree(charger: Charger) -> None:
    """Every method tells the same figures in its own unit."""
    status, live, meter = (told(charger, method) for method in ("r_dat", "r_lse", "r_dca"))
    index = charger.value("r_ses")
    assert isinstance(status, dict)
    session_wh = charger.hardware.reading(charger.now_s).session_wh
    assert status["en"] == session_wh // 10
    if isinstance(live, dict):
        assert round((live["grid_energy"] + live["green_energy"]) * 1000) == session_wh
    sessions = [
        charger.value("r_log", at)
        for at in range(index["last"] - index["size"] + 1, index["last"] + 1)
    ]
    assert [each["start"] for each in sessions] == sorted(each["start"] for each in sessions)
    if isinstance(meter, dict):
        assert meter["e"] == sum(each["en"] for each in sessions) + session_wh
        for phase in "123":
            assert meter["c" + phase] == status["L" + phase]
            assert meter["p" + phase] * 10 == meter["v" + phase] * meter["c" + phase]
        assert status["cp"] * 1000 == sum(meter["p" + phase] for phase in "123")
    assert status["cur"] <= charger.value("r_fsI")
    assert max(status["L" + phase] for phase in "123") <= status["cur"] * 10
    lock = told(charger, "r_sta")
    if isinstance(lock, dict):
        assert lock["charger_status"] == status["st"]
        assert lock["lock_status"] == charger.value("r_lck")


@settings(max_examples=100, deadline=None)
@given(
    st.sampled_from(sorted(FAMILIES)),
    st.sampled_from(Layout),
    st.sampled_from([OLD, NEW, LISTS, GREEN]),
    histories,
)
def test_after_any_history_all_accounts_agree(
    tmp_path_factory: pytest.TempPathFactory,
    family: str,
    layout: Layout,
    software: Version,
    history: list[tuple[tuple[str, object], float]],
) -> None:
    charger = Charger(tmp_path_factory.getbasetemp(), FAMILIES[family], software, layout=layout)
    for (method, par), seconds in history:
        charger.now_s += seconds
        try:
            if method == "plug":
                charger.hardware.plug_in(charger.now_s, 9000)
            elif method == "unplug":
                charger.hardware.plug_out(charger.now_s)
            elif method != "Wtime":  # which dates sessions, before one another too
                charger.ask(method, par)
        except NotPossible:
            continue
    accounts_agree(charger)


@given(st.text("0123456789", min_size=11, max_size=14), st.sampled_from([1, 2]))
def test_digits_are_read_or_refused(digits: str, sid_digits: int) -> None:
    try:
        sid, schedule = unpacked(digits, sid_digits)
    except ValueError:
        return
    assert len(digits) == sid_digits + 11
    assert sid == int(digits[:sid_digits])
    if schedule is None:
        assert set(digits[sid_digits:]) == {"0"}
        return
    shown = schedule.shown(sunday_first=True)
    assert f"{shown['start']}{shown['stop']}{shown['days']:03d}" == digits[sid_digits:]
    assert set(itertools.chain(schedule.days)) <= {0, 1}
