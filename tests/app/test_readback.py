"""What counts as done: every write that can be read back, with answers as chargers shape them."""

import pytest

from chargepin.app.readback import READ_BACK
from chargepin.core import bapi

DATA = {"st": 1, "cur": 16, "usid": 4711, "L1": 0}
ROW = {"sid": 1, "start": 2330, "stop": 600, "days": [1, 1, 1, 1, 1, 0, 0], "mcr": 16}
SHOWN = {"sid": 1, "start": "2330", "stop": "0600", "days": 31, "mcr": 16}

NONSENSE: list[object] = [None, 7, "text", [], [1], {}, {"schedules": 1}, [{"sid": []}]]

# write, parameter, read, answer that shows it, answer that shows that it was ignored
CASES: list[tuple[str, object, str, object, object]] = [
    ("w_lck", 1, "r_lck", 1, 0),
    ("w_lck", 0, "r_lck", 0, 1),
    ("w_lck", 1, "r_sta", {"lock_status": 1}, {"lock_status": 0}),
    ("w_lck", 1, "r_dat", {"st": 6}, {"st": 0}),
    ("w_lck", 0, "r_dat", {"st": 0}, {"st": 6}),
    ("w_mxI", 16, "r_dat", DATA, {**DATA, "cur": 32}),
    ("w_mxI", 16, "r_sta", {"max_charging_current": 16}, {"max_charging_current": 6}),
    ("w_cha", 1, "r_dat", DATA, {**DATA, "st": 4}),
    ("w_cha", 1, "r_dat", {"st": 2}, {"st": 0}),
    ("w_cha", 0, "r_dat", {"st": 4}, DATA),
    ("w_cha", 2, "r_dat", {"st": 4}, DATA),
    ("w_hsh", 40, "r_hsh", 40, 32),
    ("s_alo", 60, "g_alo", 60, 0),
    ("s_alo", 60, "g_alo", {"enabled": 1, "time": 60}, {"enabled": 0, "time": 0}),
    ("s_ecos", {"ese": 1, "esm": 0, "esp": 100}, "g_ecos", {"ese": 1, "esm": 0, "esp": 100}, {}),
    ("s_psh", {"dyps": True}, "g_psh", {"dyps": 1, "nchg": 0}, {"dyps": 0}),
    ("s_phsw", {"enabled": 1}, "g_phsw", {"enabled": True}, {"enabled": 0}),
    ("s_tzn", {"timezone": "Etc/UTC"}, "g_tzn", {"timezone": "Etc/UTC"}, {"timezone": ""}),
    ("s_halocfg", {"bright": 5}, "g_halocfg", {"bright": 5, "mode": 0}, {"bright": 6}),
    ("s_sch", {"schedules": [ROW]}, "r_schs", [SHOWN], []),
    ("s_sch", {"schedules": [ROW]}, "r_schs", {"schedules": [SHOWN]}, [{**SHOWN, "stop": "0700"}]),
    ("clr_sch", {"sid": [1]}, "r_schs", [{**SHOWN, "sid": 2}], [SHOWN]),
    ("w_sch", "0123300600031", "r_schs", {"schedules": [SHOWN]}, {"schedules": []}),
    ("w_sch", "123300600031", "r_schs", [SHOWN], [{**SHOWN, "stop": "0700"}]),
    ("w_sch", "0123300600031", "r_schs", [SHOWN], [{**SHOWN, "sid": 2}]),
    ("w_sch", "0100000000000", "r_schs", [{**SHOWN, "sid": 2}], [SHOWN]),
    ("w_sch", "100000000000", "r_schs", [{**SHOWN, "start": "0000", "stop": 0}], [SHOWN]),
    ("clr_psh", None, "g_psh", {"dyps": False}, {"dyps": 1}),
    ("w_power_boost", 40, "r_power_boost", 40, 32),
    ("w_power_boost", 40, "r_hsh", 40, 32),
    ("suser", 4711, "r_dat", DATA, {**DATA, "usid": 1}),
]


@pytest.mark.parametrize(("write", "par", "read", "done", "ignored"), CASES)
def test_what_was_read_tells_done_from_ignored(
    write: str, par: object, read: str, done: object, ignored: object
) -> None:
    shows = dict(READ_BACK[write].reads)[read]
    assert shows(par, done)
    assert not shows(par, ignored)


@pytest.mark.parametrize(("write", "back"), READ_BACK.items())
def test_each_write_is_told_by_reads_only_and_never_by_a_secret(write: str, back: object) -> None:
    assert bapi.method_of(write).kind is bapi.Kind.WRITE
    assert back is READ_BACK[write]
    for read, shows in READ_BACK[write].reads:
        assert bapi.METHODS[read].kind is bapi.Kind.READ
        assert read != "read_pin"
        for nonsense in NONSENSE:
            for written in (object(), None, "", {}, {"sid": [1, []]}, {"schedules": [ROW, {}]}):
                assert shows(written, nonsense) in (True, False)


def test_every_case_is_in_the_table_and_none_of_it_is_left_out() -> None:
    reads = {(write, read) for write, back in READ_BACK.items() for read, _ in back.reads}
    assert reads == {(write, read) for write, _, read, _, _ in CASES}


def test_digits_that_are_no_schedule_never_show() -> None:
    ((_, shows),) = READ_BACK["w_sch"].reads
    assert not any(shows(digits, []) for digits in ("0000000", "01000000000000", "x" * 13, 10))


def test_a_start_or_stop_is_not_sent_in_vain() -> None:
    already = READ_BACK["w_cha"].already
    assert already is not None
    assert already(1, {"st": 1})
    assert not already(1, {"st": 4})
    assert already(0, {"st": 4})
    assert already(2, {"st": 0})
    assert not already(2, {"st": 3})
    assert not already(2, {"st": 1})
