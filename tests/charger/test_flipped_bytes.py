"""One byte of a charger's database is changed: noticed at start, and it opens nothing.

A sample of all bytes; with CHARGEPIN_EVERY_BYTE in the environment, every one of them.
"""

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from chargepin.charger.ports import StoreFailed
from chargepin.charger.store import SQLiteStore, look_into
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Entry
from chargepin.core.log import LogBroken
from chargepin.core.log_events import DAMAGED
from core.guard_bench import CLAIM, OPEN, PROTECTED, USER

STEP = 1 if os.environ.get("CHARGEPIN_EVERY_BYTE") else 97
NAME = "charger.sqlite"
BLUETOOTH = {"F1:00:00:00:00:01": b'{"bond":1}', "F1:00:00:00:00:02": b'{"bond":2}'}
POWER_SIDE = {"hardware": b'{"meter_wh":1.5}', "settings": b"{}", "address": b"F0:00:00:00:00:01"}
STATES = {"open": OPEN, "protected": replace(PROTECTED, bonds=(USER,), claim=CLAIM)}


def opened(directory: Path) -> SQLiteStore:
    return SQLiteStore(directory, entries_kept=6, trimmed_at_once=3)


def written(directory: Path, durable: Durable) -> bytes:
    """Make a charger's files; gives those of its database."""
    store = opened(directory)
    for name, value in POWER_SIDE.items():
        store.put(name, value)
    for address, value in BLUETOOTH.items():
        store.put_bluetooth_bond(address, value)
    for number in range(10):
        event = "policy_set" if number < 2 else "attempt"
        store.commit(durable, [Entry(event, {"charged": number})], number)
    store.close()
    return (directory / NAME).read_bytes()


def in_rows(directory: Path) -> Iterator[tuple[str, str, object, bytes]]:
    """Every value of every table, each with one byte changed at a time."""
    tables = (("kept", "name"), ("bluetooth_bonds", "address"), ("log", "sequence"))
    with closing(sqlite3.connect(directory / NAME)) as connection:
        for table, key in tables:
            column = "entry" if table == "log" else "value"
            for row, value in connection.execute(f"SELECT {key}, {column} FROM {table}").fetchall():  # noqa: S608 - constants
                for at in range(STEP // 2 % len(value), len(value), STEP):
                    changed = bytearray(value)
                    changed[at] ^= 1 << at % 8
                    query = f"UPDATE {table} SET {column} = ? WHERE {key} = ?"  # noqa: S608 - constants
                    yield table, query, row, bytes(changed)


def became(directory: Path, durable: Durable) -> str:
    """Start the charger and let it go on; what it made of the damage."""
    with suppress(StoreFailed, LogBroken):
        look_into(directory)
    store = opened(directory)
    try:
        found = store.load()
        assert found is not None
        for number in range(3):
            store.commit(found, [Entry("attempt", {"again": number})], number)
        whole = look_into(directory)
        if store.set_aside is not None:
            assert found.mode is Mode.SEALED
            return "sealed"
        assert found == durable
        assert store.bluetooth_bonds() == BLUETOOTH
        if any(entry.event == DAMAGED for entry in whole.entries):
            return "log begun anew"
        same = all(store.get(name) == value for name, value in POWER_SIDE.items())
        return "unchanged" if same else "power side kept aside"
    finally:
        store.close()


def afresh(directory: Path, files: dict[str, bytes]) -> None:
    for path in directory.iterdir():
        path.unlink()
    for name, content in files.items():
        (directory / name).write_bytes(content)


@pytest.mark.parametrize("state", STATES.values(), ids=STATES.keys())
def test_a_byte_of_a_value(tmp_path: Path, state: Durable) -> None:
    written(tmp_path, state)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    outcomes = Counter[tuple[str, str]]()
    for table, query, row, changed in list(in_rows(tmp_path)):
        afresh(tmp_path, files)
        with closing(sqlite3.connect(tmp_path / NAME)) as connection:
            connection.execute(query, (changed, row))
            connection.commit()
        of_state = "state" if row in {"durable", "checks"} else "power side"
        what = of_state if table == "kept" else table
        outcomes[what, became(tmp_path, state)] += 1
    assert outcomes.keys() - {("log", "unchanged")} == {  # of base64, the last bits say nothing
        ("state", "sealed"),
        ("bluetooth_bonds", "sealed"),
        ("power side", "power side kept aside"),
        ("log", "log begun anew"),
    }
    assert outcomes["log", "unchanged"] <= outcomes["log", "log begun anew"] / 20


def test_a_byte_of_the_file(tmp_path: Path) -> None:
    state = STATES["protected"]
    content = written(tmp_path, state)
    files = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    outcomes = Counter[str]()
    for at in (18, 63, *range(100, len(content), 5 * STEP if STEP > 1 else 1)):
        afresh(tmp_path, files)
        changed = bytearray(content)
        changed[at] ^= 1 << at % 8
        (tmp_path / NAME).write_bytes(changed)
        outcomes[became(tmp_path, state)] += 1
    assert outcomes["sealed"]
    assert outcomes["log begun anew"]


def test_a_row_that_is_read_but_not_found_again(tmp_path: Path) -> None:
    """What says that its name is text says that it is a blob: the next commit would put another."""
    content = bytearray(written(tmp_path, STATES["protected"]))
    content[content.index(b"durable{") - 3] ^= 1
    (tmp_path / NAME).write_bytes(content)
    assert became(tmp_path, STATES["protected"]) == "sealed"
