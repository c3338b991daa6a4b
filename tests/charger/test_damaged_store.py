"""A charger's files, damaged or put back: what is lost is sealed, and never taken for new."""

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from chargepin.charger.kept import StoredBonds, address_of
from chargepin.charger.ports import StoreFailed
from chargepin.charger.store import SQLiteStore, look_into
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Entry
from chargepin.core.lockout import Lockout
from chargepin.machine.database import set_database_aside
from core.guard_bench import OWNER, passcode

OPEN = Durable()
PROTECTED = Durable(mode=Mode.PROTECTED, generation=1, credential=passcode(1))
ROTATED = Durable(mode=Mode.PROTECTED, generation=2, credential=passcode(2))


def kept(directory: Path, *states: Durable) -> None:
    store = SQLiteStore(directory)
    for durable in states:
        store.commit(durable, [Entry("changed")], 1)
    store.close()


def found(directory: Path) -> Durable | None:
    """What a charger starts with."""
    store = SQLiteStore(directory)
    durable = store.load()
    store.close()
    return durable


def damage(directory: Path, query: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / "charger.sqlite")) as connection:
        connection.execute(query, values)
        connection.commit()


def test_a_state_whose_row_lost_its_name_is_lost_and_not_new(tmp_path: Path) -> None:
    kept(tmp_path, PROTECTED)
    damage(tmp_path, "UPDATE kept SET name = 'durablf' WHERE name = 'durable'")
    durable = found(tmp_path)
    assert durable is not None
    assert (durable.mode, durable.generation) == (Mode.SEALED, 2)


def test_a_database_that_is_gone_is_lost_and_not_new(tmp_path: Path) -> None:
    kept(tmp_path, PROTECTED)
    for path in tmp_path.glob("charger.sqlite*"):
        path.unlink()
    durable = found(tmp_path)
    assert durable is not None
    assert durable.mode is Mode.SEALED


def test_an_old_copy_of_the_database_does_not_bring_its_passcode_back(tmp_path: Path) -> None:
    kept(tmp_path, PROTECTED)
    old = (tmp_path / "charger.sqlite").read_bytes()
    kept(tmp_path, ROTATED)
    (tmp_path / "charger.sqlite").write_bytes(old)
    durable = found(tmp_path)
    assert durable is not None
    assert (durable.mode, durable.generation) == (Mode.SEALED, 3)


@pytest.mark.parametrize("damaged", ["mnde", "credentiam"])
def test_half_a_passcode_is_none_and_opens_nothing(tmp_path: Path, damaged: str) -> None:
    kept(tmp_path, PROTECTED)
    right = damaged.replace("mnde", "mode").replace("credentiam", "credential")
    damage(tmp_path, "UPDATE kept SET value = CAST(replace(value, ?, ?) AS BLOB)", right, damaged)
    durable = found(tmp_path)
    assert durable is not None
    assert durable.mode is Mode.SEALED


def test_a_charger_that_never_had_a_passcode_does_not_begin_anew_either(tmp_path: Path) -> None:
    kept(tmp_path, OPEN)
    damage(tmp_path, "DELETE FROM kept")
    durable = found(tmp_path)
    assert durable is not None
    assert (durable.mode, durable.incarnation) == (Mode.SEALED, 2)


def test_a_sealing_that_was_cut_off_is_made_up_for(tmp_path: Path) -> None:
    """An open charger has no counters in its identity's file that would tell."""
    kept(tmp_path, OPEN)
    set_database_aside(tmp_path / "charger.sqlite")
    store = SQLiteStore(tmp_path)
    durable = store.load()
    assert durable is not None
    assert durable.mode is Mode.SEALED
    assert store.set_aside == tmp_path / "charger.sqlite.corrupt-1"
    store.close()
    assert found(tmp_path) == durable


@pytest.mark.parametrize(
    ("was", "became"),
    [
        ('"charged":0', '"charged":9'),
        ('"generation":1,"credential"', '"generation":7,"credential"'),
        ('"role":3', '"role":2'),
        ('"tampered":false', '"tampered":true'),
    ],
)
def test_a_changed_number_that_makes_sense_is_noticed(
    tmp_path: Path, was: str, became: str
) -> None:
    kept(tmp_path, replace(PROTECTED, bonds=(OWNER,)))
    damage(
        tmp_path,
        "UPDATE kept SET value = CAST(replace(value, ?, ?) AS BLOB) WHERE name = 'durable'",
        was,
        became,
    )
    with pytest.raises(StoreFailed, match="does not fit"):
        look_into(tmp_path)
    durable = found(tmp_path)
    assert durable is not None
    assert durable.mode is Mode.SEALED


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE bluetooth_bonds SET value = CAST('{2}' AS BLOB)",
        "UPDATE bluetooth_bonds SET address = 'b'",
        "DELETE FROM bluetooth_bonds",
        "INSERT INTO bluetooth_bonds VALUES ('b', CAST('{}' AS BLOB))",
        "DELETE FROM kept WHERE name = 'checks'",
        "UPDATE kept SET value = CAST('no checksum' AS BLOB) WHERE name = 'checks'",
        "PRAGMA user_version = 0",
        "PRAGMA user_version = 2",
        "ALTER TABLE bluetooth_bonds RENAME COLUMN address TO adress",
    ],
)
def test_no_row_that_decides_who_gets_in_is_changed_lost_or_added(
    tmp_path: Path, change: str
) -> None:
    kept(tmp_path, PROTECTED)
    store = SQLiteStore(tmp_path)
    store.put_bluetooth_bond("a", b"{}")
    store.close()
    damage(tmp_path, change)
    store = SQLiteStore(tmp_path)
    durable = store.load()
    assert durable is not None
    assert durable.mode is Mode.SEALED
    assert store.bluetooth_bonds() == {}
    store.close()


def test_what_was_not_damaged_of_the_power_side_stays_with_a_sealed_charger(
    tmp_path: Path,
) -> None:
    kept(tmp_path, PROTECTED)
    store = SQLiteStore(tmp_path)
    store.put("settings", b'{"house_limit_a":16}')
    store.put("hardware", b'{"meter_wh":1.5}')
    store.close()
    damage(tmp_path, "UPDATE kept SET value = CAST('{' AS BLOB) WHERE name = 'durable'")
    damage(tmp_path, "UPDATE kept SET value = CAST('{' AS BLOB) WHERE name = 'hardware'")
    store = SQLiteStore(tmp_path)
    assert store.get("settings") == b'{"house_limit_a":16}'
    assert store.get("hardware") is None
    store.close()


def test_a_damaged_meter_reading_seals_nothing_and_is_kept(tmp_path: Path) -> None:
    kept(tmp_path, PROTECTED)
    store = SQLiteStore(tmp_path)
    store.put("hardware", b'{"meter_wh":1.5}')
    store.close()
    damage(tmp_path, "UPDATE kept SET value = CAST('{7}' AS BLOB) WHERE name = 'hardware'")
    for _ in range(2):
        store = SQLiteStore(tmp_path)
        assert store.load() == PROTECTED
        assert store.get("hardware") is None
        assert store.get("hardware that could not be read") == b"{7}"
        store.close()


def test_a_state_that_is_older_than_its_log_is_sealed(tmp_path: Path) -> None:
    kept(tmp_path, PROTECTED)
    with closing(sqlite3.connect(tmp_path / "charger.sqlite")) as connection:
        old = connection.execute("SELECT name, value FROM kept").fetchall()
    kept(tmp_path, replace(PROTECTED, lockout=Lockout(charged=1)))
    for name, value in old:
        damage(tmp_path, "UPDATE kept SET value = ? WHERE name = ?", value, name)
    durable = found(tmp_path)
    assert durable is not None
    assert durable.mode is Mode.SEALED


@pytest.mark.parametrize("back", [1, 30_000, 60_000])
def test_commits_that_a_power_cut_left_in_the_write_ahead_log_do_not_vanish(
    tmp_path: Path, back: int
) -> None:
    store = SQLiteStore(tmp_path / "on")
    for charged in range(8):
        at = replace(PROTECTED, lockout=Lockout(charged=charged))
        store.commit(at, [Entry("attempt", {"charged": charged})], 1)
    shutil.copytree(tmp_path / "on", tmp_path / "cut")
    store.close()
    beside = tmp_path / "cut" / "charger.sqlite-wal"
    changed = bytearray(beside.read_bytes())
    changed[-back] ^= 1
    beside.write_bytes(changed)
    durable = found(tmp_path / "cut")
    assert durable is not None
    if back == 1:  # as if the cut had come a moment earlier
        assert (durable.mode, durable.lockout.charged) == (Mode.PROTECTED, 6)
    else:
        assert durable.mode is Mode.SEALED
        assert (tmp_path / "cut" / "charger.sqlite.corrupt-1-wal").read_bytes() == changed


def test_files_from_before_there_were_checksums_are_taken_over_once(tmp_path: Path) -> None:
    kept(tmp_path, PROTECTED, PROTECTED)
    store = SQLiteStore(tmp_path)
    store.put_bluetooth_bond("a", b"{}")
    store.close()
    damage(tmp_path, "DELETE FROM kept WHERE name = 'checks'")
    damage(tmp_path, "INSERT INTO kept VALUES ('log_summary', CAST('2' AS BLOB))")
    damage(tmp_path, "PRAGMA user_version = 0")
    assert look_into(tmp_path).durable == PROTECTED
    for _ in range(2):
        store = SQLiteStore(tmp_path)
        assert (store.load(), store.set_aside) == (PROTECTED, None)
        assert store.bluetooth_bonds() == {"a": b"{}"}
        assert (store.get("log_summary"), store.head.sequence) == (None, 2)
        store.close()
    damage(tmp_path, "DELETE FROM kept WHERE name = 'checks'")
    durable = found(tmp_path)
    assert durable is not None
    assert durable.mode is Mode.SEALED


@pytest.mark.parametrize("value", [7, 2**40, "text", 1.5, None, b"{", b"\xff"])
def test_other_values_than_were_put_are_damage(tmp_path: Path, value: object) -> None:
    kept(tmp_path, PROTECTED)
    damage(tmp_path, "CREATE TABLE other (name TEXT PRIMARY KEY, value)")
    damage(tmp_path, "INSERT INTO other SELECT * FROM kept")
    damage(tmp_path, "DROP TABLE kept")
    damage(tmp_path, "ALTER TABLE other RENAME TO kept")
    damage(tmp_path, "UPDATE kept SET value = ? WHERE name = 'durable'", value)
    durable = found(tmp_path)
    assert durable is not None
    assert durable.mode is Mode.SEALED


def test_a_bluetooth_bond_of_another_version_counts_for_nothing(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path)
    store.put_bluetooth_bond("F0:00:00:00:01:02", b"{}")
    assert StoredBonds(store).all() == ()
    store.close()


def test_an_address_that_is_none_is_drawn_anew(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path)
    address = address_of(store)
    assert address_of(store) == address
    store.put("address", b"00:00:00:00:00:00")
    drawn = address_of(store)
    assert drawn != "00:00:00:00:00:00"
    assert address_of(store) == drawn
    store.close()
