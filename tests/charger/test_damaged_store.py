"""A charger's files, damaged or put back: what is lost is sealed, and never taken for new."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chargepin.charger.kept import StoredBonds, address_of
from chargepin.charger.ports import StoreFailed
from chargepin.charger.store import SQLiteStore, look_into
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Entry
from core.guard_bench import passcode

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


def test_a_charger_that_never_had_a_passcode_begins_anew(tmp_path: Path) -> None:
    kept(tmp_path, OPEN)
    damage(tmp_path, "DELETE FROM kept")
    assert found(tmp_path) is None


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


@pytest.mark.parametrize("seed", [b'{"seed":"AA=="}', b'{"seed":7}', b"{", b"\xff", b""])
def test_a_damaged_identity_is_told_and_not_replaced(tmp_path: Path, seed: bytes) -> None:
    kept(tmp_path, PROTECTED)
    (tmp_path / "identity.json").write_bytes(seed)
    with pytest.raises(StoreFailed, match=r"restore it from a backup"):
        SQLiteStore(tmp_path)
    with pytest.raises(StoreFailed, match="cannot read"):
        look_into(tmp_path)
    assert (tmp_path / "identity.json").read_bytes() == seed


def test_a_damaged_bluetooth_bond_counts_for_nothing(tmp_path: Path) -> None:
    kept(tmp_path, PROTECTED)
    damage(tmp_path, "INSERT INTO bluetooth_bonds VALUES ('F0:00:00:00:01:02', ?)", b"{}")
    store = SQLiteStore(tmp_path)
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


def test_a_damaged_entry_of_the_log_is_told(tmp_path: Path) -> None:
    kept(tmp_path, PROTECTED, PROTECTED)
    damage(tmp_path, "UPDATE log SET entry = ? WHERE sequence = 1", b"{")
    store = SQLiteStore(tmp_path)
    with pytest.raises(StoreFailed, match="damaged"):
        store.entries(0, 10)
    store.close()
