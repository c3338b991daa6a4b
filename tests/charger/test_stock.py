from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from chargepin.charger.ports import HardwareState, Store, StoreFailed
from chargepin.charger.stock import (
    Action,
    StockMethods,
    StockSettings,
    TypePlate,
    kept_hardware,
    kept_settings,
)
from chargepin.charger.stock.methods import KEEP_EVERY_S
from chargepin.charger.stock.reads import READS
from chargepin.charger.stock.writes import WRITES
from chargepin.charger.store import SQLiteStore
from chargepin.core.bapi import METHODS, Kind, Refused, Reply, Request
from chargepin.core.catalogue import Version, family_of_project
from chargepin.core.gatt import Layout
from charger.desk import MAX, NEW, NO_METHOD, PLUS, UNIX_S, Charger


@pytest.fixture
def charger(tmp_path: Path) -> Charger:
    return Charger(tmp_path)


@pytest.fixture
def busy(charger: Charger) -> Charger:
    """An hour into a charge."""
    charger.hardware.plug_in(0.0)
    charger.now_s = 3600.0
    return charger


# Reads


def test_status_of_a_charge(busy: Charger) -> None:
    assert busy.value("r_dat") == {
        "L1": 320, "L2": 320, "L3": 320, "cp": 22.08, "cur": 32, "den": 0, "en": 2208, "gen": 0,
        "grid": 22080, "mid": 0, "ocpp": 1, "ps": 0, "s": UNIX_S, "st": 1, "usid": 1,
    }  # fmt: skip
    assert busy.value("r_sta")["charger_status"] == 1
    assert busy.value("r_lse")["grid_energy"] == 22.08


def test_status_without_a_car(charger: Charger) -> None:
    status = charger.value("r_dat")
    assert (status["st"], status["cp"], status["s"], status["en"]) == (0, 0, 0, 0)


def test_the_meter_adds_up(busy: Charger) -> None:
    meter = busy.value("r_dca")
    assert meter["e"] == 22_080
    for phase in "123":
        assert meter["p" + phase] == meter["v" + phase] * meter["c" + phase] / 10


def test_past_sessions(busy: Charger) -> None:
    assert busy.value("r_ses") == {"last": 0, "size": 0}
    busy.hardware.plug_out(3600.0)
    assert busy.value("r_ses") == {"last": 1, "size": 1}
    assert busy.value("r_log", 1) == {"start": UNIX_S, "sec": 3600, "en": 22_080, "gen": 0}
    assert "no session 2" in busy.error("r_log", 2).message
    assert busy.error("r_log", "1").code == 2


def test_who_it_is(charger: Charger) -> None:
    assert charger.value("r_sn_") == "123456"
    versions = charger.value("fw_v_")
    assert (versions["p"], versions["s"]) == ("prj15-pulsar-max", "6.7.17")
    assert set(versions) == {"c", "db", "fw", "p", "r", "s"}
    assert family_of_project(versions["p"]) is MAX
    assert charger.value("g_mac") == {
        "eth_mac": "02:57:42:01:e2:40",
        "wlan_mac": "06:57:42:01:e2:40",
    }


def test_the_radio_module_can_be_another_one(tmp_path: Path) -> None:
    charger = Charger(tmp_path, PLUS, layout=Layout.UBLOX)
    assert charger.stock.layout is Layout.UBLOX
    assert charger.value("ping") == 0


def test_a_method_can_be_answered_in_another_way(tmp_path: Path) -> None:
    charger = Charger(tmp_path)
    other = StockMethods(
        TypePlate("123456", MAX, NEW, MAX.layout),
        charger.hardware,
        charger.updates,
        StockSettings(),
        instead={"r_lck": lambda _: 7},
    )
    for method, value in (("r_lck", 7), ("g_alo", 0)):
        reply, _ = other.answer(Request(method, None, 1), 0.0, UNIX_S)
        assert msgspec.json.decode(reply) == {"id": 1, "r": value}


def test_the_passcode_is_never_handed_out(charger: Charger, tmp_path: Path) -> None:
    assert charger.value("read_pin") == {"pin": "", "version": 3}
    assert Charger(tmp_path, PLUS, Version(6, 1, 12)).error("read_pin") == NO_METHOD


def test_a_passcode_is_never_taken(charger: Charger) -> None:
    refused = charger.error("set_pin", {"pin": "482913", "version": 3})
    assert refused.code == 4
    assert "assigned" in refused.message
    assert "482913" not in refused.message


@pytest.mark.parametrize("method", ["r_gcd", "s_hup", "gulck", "R_DAT", "passcode.set", "r_dat "])
def test_methods_that_are_not_there(charger: Charger, method: str) -> None:
    assert charger.error(method) == NO_METHOD


@pytest.mark.parametrize(
    "method", sorted(name for name, m in METHODS.items() if m.kind is Kind.READ)
)
def test_reads_change_nothing(busy: Charger, method: str) -> None:
    before = busy.hardware.state(busy.now_s), busy.stock.settings
    busy.ask(method)
    assert busy.action is None
    assert (busy.hardware.state(busy.now_s), busy.stock.settings) == before


def test_every_method_answered_is_in_the_table_of_roles() -> None:
    answered = {*READS, *WRITES}
    assert answered <= {name for name, method in METHODS.items() if not method.in_records_only}
    assert {name for name in answered if METHODS[name].kind is Kind.READ} == set(READS)


# Charging


def test_pause_and_go_on(busy: Charger) -> None:
    assert busy.value("w_cha", 2) is None
    assert busy.value("r_dat")["st"] == 4
    assert busy.error("w_cha", 2).code == 114
    assert busy.value("r_dat")["st"] == 4
    assert busy.value("w_cha", 1) is None
    assert busy.value("r_dat")["st"] == 1
    assert busy.value("w_cha", 0) is None
    assert busy.value("w_cha", 0) is None
    assert busy.value("r_dat")["st"] == 4


def test_what_is_not_possible_now(charger: Charger) -> None:
    assert charger.error("w_cha", 1) == Refused(5, "No car is plugged in.")
    charger.hardware.plug_in(0.0)
    charger.value("w_lck", 1)
    assert charger.error("w_cha", 1).code == 5


def test_lock_and_unlock(busy: Charger) -> None:
    assert busy.value("w_lck", 1) is None
    assert busy.value("r_lck") == 1
    assert busy.value("r_dat")["st"] == 6
    assert busy.value("r_sta")["lock_status"] == 1
    busy.value("w_lck", 0)
    assert busy.value("r_dat")["st"] == 1


def test_the_current(busy: Charger) -> None:
    assert busy.value("r_fsI") == 32
    assert busy.value("w_mxI", 16) is None
    assert busy.value("r_dat")["cur"] == 16
    assert busy.value("r_dat")["L1"] == 160
    assert "6 to 32" in busy.error("w_mxI", 5).message
    assert "6 to 32" in busy.error("w_mxI", 33).message


def test_auto_lock(charger: Charger) -> None:
    assert charger.value("s_alo", 60) == 0
    assert charger.value("g_alo") == 60
    charger.now_s = 61.0
    assert charger.value("r_lck") == 1
    assert charger.error("s_alo", {"enabled": 1, "time": 60}).code == 2
    assert charger.error("s_alo", 10**6).code == 2


def test_a_manual_start_overrides_until_it_is_cleared(busy: Charger) -> None:
    busy.value("w_cha", 1)
    assert busy.value("r_dat")["gen"] == 1
    assert busy.value("r_lse")["control_mode"] == 1
    assert busy.error("s_cmode", {"mode": 0}).code == 6
    busy.value("w_cha", 0)
    assert busy.value("s_cmode", {"mode": 0}) == 0
    assert busy.value("r_dat")["gen"] == 0


# Settings

NIGHT = {"sid": 3, "start": 2330, "stop": 605, "days": [1, 1, 0, 0, 0, 0, 1], "mcr": 16}


def test_schedules(charger: Charger) -> None:
    assert charger.value("r_schs") == []
    assert charger.value("s_sch", {"schedules": [NIGHT, NIGHT | {"sid": 1}]}) == 0
    assert charger.value("r_schs")[1] == {
        "sid": 3, "start": "2330", "stop": "0605", "days": 0b1000011, "mcr": 16, "type": 0,
        "enabled": 1, "target": {"type": 0, "value": 0}, "repeat": 1,
    }  # fmt: skip
    charger.value("s_sch", {"schedules": [NIGHT | {"mcr": 6}]})
    assert [(each["sid"], each["mcr"]) for each in charger.value("r_schs")] == [(1, 16), (3, 6)]
    assert charger.value("clr_sch", {"sid": [1, 50]}) == 0
    assert [each["sid"] for each in charger.value("r_schs")] == [3]


def test_there_is_room_for_so_many_schedules(charger: Charger) -> None:
    for first in (0, 10):
        entries = [NIGHT | {"sid": sid} for sid in range(first, first + 10)]
        assert charger.value("s_sch", {"schedules": entries}) == 0
    assert "room for 20" in charger.error("s_sch", {"schedules": [NIGHT | {"sid": 20}]}).message
    assert charger.value("s_sch", {"schedules": [NIGHT]}) == 0
    assert len(charger.value("r_schs")) == 20


SETTINGS: Sequence[tuple[str, str, object]] = [
    ("s_tzn", "g_tzn", {"timezone": "Europe/Madrid"}),
    ("s_tzn", "g_tzn", {"timezone": "America/Argentina/Buenos_Aires"}),
    ("s_ecos", "g_ecos", {"ese": 1, "esm": 1, "esp": 50}),
    ("s_psh", "g_psh", {"dyps": 1, "mcpp": 40, "minI": 6, "nchg": 2}),
    ("s_psh", "g_psh", {"dyps": True, "mcpp": 40, "minI": 6, "nchg": 50}),
    ("s_phsw", "g_phsw", {"enabled": 1}),
    ("s_halocfg", "g_halocfg", {"bright": 20, "mode": 1, "time_s": 30}),
    ("w_hsh", "r_hsh", 63),
]


@pytest.mark.parametrize(("write", "read", "value"), SETTINGS)
def test_a_setting_is_read_back(charger: Charger, write: str, read: str, value: object) -> None:
    assert charger.value(write, value) == 0
    assert charger.value(read) == value


def test_power_sharing_is_written_whole(charger: Charger) -> None:
    charger.value("s_psh", {"dyps": 1, "mcpp": 40, "minI": 6, "nchg": 2})
    charger.value("s_psh", {"nchg": 3})
    assert charger.value("g_psh") == {"dyps": 0, "mcpp": 0, "minI": 0, "nchg": 3}
    charger.value("clr_psh")
    assert charger.value("g_psh")["nchg"] == 0


def test_the_user(charger: Charger) -> None:
    assert charger.value("suser", 30361) == 0
    assert charger.value("r_dat")["usid"] == 30361
    assert charger.value("r_lse")["user_id"] == 30361


def test_the_clock_dates_what_comes_next(charger: Charger) -> None:
    assert charger.ask("Wtime", "45301421000625") == Reply(7, None)
    charger.now_s = 10.0
    charger.hardware.plug_in(10.0)
    assert charger.value("r_dat")["s"] == 1750516255  # 2025-06-21 14:30:55 UTC


def test_a_back_office_is_kept_without_its_password(charger: Charger) -> None:
    there = {"u": "wss://example.org/ocpp", "chid": "WB123456", "pw": "secret", "e": 1}
    assert charger.value("g_ocpp") == {"u": "", "chid": "", "pw": "", "e": 0}
    assert charger.value("s_ocpp", there) == 0
    assert charger.value("g_ocpp") == there | {"pw": ""}
    assert charger.value("r_sta")["ocpp_status"] == charger.value("r_dat")["ocpp"] == 2
    assert "secret" not in repr(charger.stock.settings)


WRONG: Sequence[tuple[str, object]] = [
    ("w_cha", None), ("w_cha", 3), ("w_cha", -1), ("w_cha", "1"), ("w_cha", True), ("w_cha", 1.0),
    ("w_lck", 2), ("w_lck", False), ("w_mxI", "16"), ("w_mxI", 10**30 // 10**12), ("s_alo", -1),
    ("s_sch", None), ("s_sch", []), ("s_sch", {"schedules": [{}]}), ("s_sch", {"schedules": NIGHT}),
    ("s_sch", {"schedules": [NIGHT | {"start": "2330"}]}),
    ("s_sch", {"schedules": [NIGHT | {"start": 2400}]}),
    ("s_sch", {"schedules": [NIGHT | {"stop": 1260}]}),
    ("s_sch", {"schedules": [NIGHT | {"stop": -1}]}),
    ("s_sch", {"schedules": [NIGHT | {"days": [1, 1]}]}),
    ("s_sch", {"schedules": [NIGHT | {"days": [2, 0, 0, 0, 0, 0, 0]}]}),
    ("s_sch", {"schedules": [NIGHT | {"mcr": 5}]}), ("s_sch", {"schedules": [NIGHT] * 21}),
    ("s_sch", {"schedules": [NIGHT | {"sid": 100}]}),
    ("clr_sch", 3), ("clr_sch", {"sid": 3}), ("s_cmode", {"mode": 1}), ("s_cmode", 0),
    ("Wtime", None), ("Wtime", "4530142100062"), ("Wtime", "45301421070625"),
    ("Wtime", "45301432001325"), ("Wtime", "99301421000625"), ("Wtime", "45 30142100062"),
    ("s_ocpp", None), ("s_ocpp", {"u": "", "chid": "", "e": 1}),
    ("s_tzn", "Europe/Madrid"), ("s_tzn", {"timezone": ""}), ("s_tzn", {"timezone": "../etc"}),
    ("s_tzn", {"timezone": "A" * 65}), ("s_ecos", {"ese": 1}),
    ("s_ecos", {"ese": 1, "esm": 2, "esp": 50}), ("s_ecos", {"ese": 1, "esm": 1, "esp": 101}),
    ("s_psh", None), ("s_psh", {"nchg": 51}), ("s_phsw", {"enabled": 2}),
    ("s_halocfg", {"bright": 101, "mode": 0, "time_s": 0}), ("w_hsh", 251), ("suser", 2**31),
    ("suser", "x"), ("supds", 6), ("supds", "6.7"), ("supds", "9.9.9"), ("supds", "6.13.3x"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "par"), WRONG)
def test_wrong_parameters_change_nothing(charger: Charger, method: str, par: object) -> None:
    before = charger.hardware.state(0.0), charger.stock.settings
    refused = charger.error(method, par)
    assert refused.code == 2
    assert refused.message.startswith("Unexpected Error: ")
    assert charger.action is None
    assert (charger.hardware.state(0.0), charger.stock.settings) == before


# Updates and restarts


def test_a_restart_is_left_to_the_caller(charger: Charger) -> None:
    assert charger.ask("rebot") == Reply(7, None)
    assert charger.action is Action.REBOOT


async def test_an_update_on_the_stock_methods(charger: Charger) -> None:
    assert charger.value("gupdc") == {"update": True, "version": "6.13.3"}
    assert charger.value("supdp") == {"st": "idle", "pct": 0, "err": None}
    assert charger.value("supds", "6.7.38") == 0
    assert charger.action is Action.UPDATE
    assert charger.stock.update_wish == "6.7.38"
    await charger.updates.run(Version(6, 7, 38), lambda _: None)
    assert charger.value("supdp") == {"st": "installed", "pct": 100, "err": None}


def test_the_newest_update(charger: Charger, tmp_path: Path) -> None:
    assert charger.value("supds") == 0
    assert (charger.action, charger.stock.update_wish) == (Action.UPDATE, None)
    newest = Charger(tmp_path, MAX, Version(6, 13, 3))
    assert newest.value("gupdc") == {"update": False, "version": "6.13.3"}
    assert newest.error("supds") == Refused(5, "There is no newer software than 6.13.3.")
    assert newest.action is None


# What is kept


def test_settings_survive_a_restart(tmp_path: Path, busy: Charger) -> None:
    store: Store = SQLiteStore(tmp_path)
    assert kept_settings(store) == StockSettings()
    assert kept_hardware(store) == HardwareState()
    for write, _, value in SETTINGS:
        busy.value(write, value)
    busy.value("s_sch", {"schedules": [NIGHT]})
    busy.value("w_mxI", 10)
    busy.stock.keep(store, busy.now_s)
    assert kept_settings(store) == busy.stock.settings
    assert kept_hardware(store) == busy.hardware.state(busy.now_s)


def test_only_changes_are_written_and_metering_now_and_then(tmp_path: Path, busy: Charger) -> None:
    store = SQLiteStore(tmp_path)
    busy.stock.keep(store, busy.now_s)
    first = kept_hardware(store)
    busy.value("r_dat")
    busy.stock.keep(store, busy.now_s + KEEP_EVERY_S - 1)
    assert kept_hardware(store) == first
    busy.stock.keep(store, busy.now_s + KEEP_EVERY_S)
    second = kept_hardware(store)
    assert second.meter_wh > first.meter_wh
    busy.stock.keep(store, busy.now_s + KEEP_EVERY_S + 1, at_once=True)
    assert kept_hardware(store).meter_wh > second.meter_wh


def test_a_store_that_fails_is_tried_again(tmp_path: Path, charger: Charger) -> None:
    store = SQLiteStore(tmp_path)
    charger.stock.keep(store, 0.0)
    charger.value("w_lck", 1)
    store.close()
    with pytest.raises(StoreFailed):
        charger.stock.keep(store, 1.0)
    store = SQLiteStore(tmp_path)
    charger.stock.keep(store, 2.0)
    assert kept_hardware(store).locked


@pytest.mark.parametrize("raw", [b"", b"[]", b'{"locked":1}', b'{"locked":"\xff"}', b"[" * 9999])
def test_what_cannot_be_read_is_kept_aside(tmp_path: Path, raw: bytes) -> None:
    store = SQLiteStore(tmp_path)
    store.put("hardware", raw)
    assert kept_hardware(store) == HardwareState()
    assert store.get("hardware that could not be read") == raw


def test_requests_may_be_given_without_a_frame(charger: Charger) -> None:
    reply, action = charger.stock.answer(Request("r_lck", None, 1), 0.0, UNIX_S)
    assert (msgspec.json.decode(reply), action) == ({"id": 1, "r": 0}, None)
