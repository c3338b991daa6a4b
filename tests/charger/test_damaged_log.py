"""A security log that was damaged: kept aside, told in a new one, and nothing is stopped by it."""

import sqlite3
import stat
from contextlib import closing, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargepin.charger.ports import StoreFailed
from chargepin.charger.store import SQLiteStore, look_into
from chargepin.core import log_summary
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Entry
from chargepin.core.log import Head, LogBroken
from chargepin.core.log_events import DAMAGED
from core.guard_bench import PROTECTED

KEPT, AT_ONCE = 20, 8
ASIDE = "security-log.corrupt-1"


def opened(directory: Path, reports: list[str] | None = None) -> SQLiteStore:
    report = (lambda _: None) if reports is None else reports.append
    return SQLiteStore(directory, entries_kept=KEPT, trimmed_at_once=AT_ONCE, report=report)


def write(store: SQLiteStore, count: int) -> None:
    for number in range(count):
        store.commit(charged(number), [Entry("attempt", {"charged": number})], 7)


def charged(number: int) -> Durable:
    return replace(PROTECTED, running_s=float(number))


def damage(directory: Path, query: str, *values: object) -> None:
    with closing(sqlite3.connect(directory / "charger.sqlite")) as connection:
        connection.execute(query, values)
        connection.commit()


DAMAGES = {
    "an entry that is nonsense": "UPDATE log SET entry = CAST('{' AS BLOB) WHERE sequence = 3",
    "one that is no text": "UPDATE log SET entry = x'00ff' WHERE sequence = 3",
    "a changed word": "UPDATE log SET entry = CAST(replace(entry, 'attempt', 'attemps') AS BLOB)"
    " WHERE sequence = 3",
    "a changed place": "UPDATE log SET sequence = 1000 WHERE sequence = 3",
    "a place below": "UPDATE log SET sequence = -3 WHERE sequence = 3",
    "the newest lost": "DELETE FROM log WHERE sequence > 9",
    "the oldest lost": "DELETE FROM log WHERE sequence < 3",
    "one lost": "DELETE FROM log WHERE sequence = 3",
    "all lost": "DELETE FROM log",
}


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES.keys())
def test_damage_is_noticed_at_start_and_a_new_log_says_so(tmp_path: Path, change: str) -> None:
    store = opened(tmp_path)
    write(store, 12)
    known = store.head
    store.close()
    damage(tmp_path, change)
    with closing(sqlite3.connect(tmp_path / "charger.sqlite")) as connection:
        left = connection.execute("SELECT sequence, entry FROM log ORDER BY sequence").fetchall()
    with pytest.raises(LogBroken):
        look_into(tmp_path)

    reports: list[str] = []
    store = opened(tmp_path, reports)
    assert store.load() == charged(11)
    assert store.head == known
    store.put("hardware", b"{}")  # what is no entry does not wait for it
    assert not (tmp_path / ASIDE).exists()
    write(store, 1)
    aside = tmp_path / ASIDE
    assert aside.read_bytes() == b"".join(b"%d %s\n" % line for line in left)
    assert stat.S_IMODE(aside.stat().st_mode) == 0o600
    first, second = look_into(tmp_path).entries
    assert (first.event, second.event) == (DAMAGED, "attempt")
    assert (first.sequence, first.previous) == (13, known.hash)
    assert first.detail["kept_aside_as"] == ASIDE
    assert "the log is broken at entry" in str(first.detail["found"])
    assert store.log_begins == known
    assert len(reports) == 1
    assert "security log was damaged" in reports[0]
    write(store, 3 * KEPT)
    assert log_summary.broken_off(look_into(tmp_path).entries) == first  # evidence
    store.close()
    opened(tmp_path).close()
    assert len(list(tmp_path.glob("security-log*"))) == 1


@pytest.mark.parametrize(
    "change",
    [
        *DAMAGES.values(),
        "INSERT INTO log VALUES (13, CAST('{}' AS BLOB))",  # where the next entry belongs
    ],
)
def test_damage_at_run_time_stops_no_attempt_from_being_stored(tmp_path: Path, change: str) -> None:
    store = opened(tmp_path)
    write(store, 12)
    damage(tmp_path, change)
    write(store, KEPT)  # none raises
    assert store.load() == charged(KEPT - 1)
    store.close()
    store = opened(tmp_path)
    write(store, 1)
    assert store.load() == charged(0)
    entries = look_into(tmp_path).entries
    assert [entry.event for entry in entries].count(DAMAGED) == 1
    store.close()


def test_damaged_evidence_is_noticed_when_the_next_is_summed_up(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(PROTECTED, [Entry("passcode_set", {"generation": 1})], 7)
    write(store, KEPT + 5)
    damage(
        tmp_path,
        "UPDATE log SET entry = CAST(replace(entry, '\"generation\":1', '\"generation\":3')"
        " AS BLOB) WHERE sequence = 1",
    )
    write(store, KEPT)
    assert log_summary.broken_off(look_into(tmp_path).entries) is not None
    store.close()


def test_who_reads_a_damaged_entry_is_told_and_the_next_commit_mends_it(tmp_path: Path) -> None:
    store = opened(tmp_path)
    write(store, 3)
    damage(tmp_path, "UPDATE log SET entry = ? WHERE sequence = 1", b"{")
    with pytest.raises(StoreFailed, match="damaged"):
        store.entries(0, 10)
    write(store, 1)
    assert [entry.event for entry in store.entries(0, 10)] == [DAMAGED, "attempt"]
    store.close()


def test_a_reset_erases_what_was_kept_aside(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(PROTECTED, [Entry("bond_added", {"name": "Anna's"})], 7)
    write(store, 3)
    damage(tmp_path, "DELETE FROM log WHERE sequence = 3")
    store.close()
    store = opened(tmp_path)
    store.commit(PROTECTED, [Entry("reset")], 8, clear_log=True)
    events = [entry.event for entry in look_into(tmp_path).entries]
    assert events == [DAMAGED, "log_cleared", "reset"]
    assert not any(b"Anna" in path.read_bytes() for path in tmp_path.iterdir())
    store.close()


@pytest.mark.parametrize("change", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_damaged_log_from_before_there_were_checksums(tmp_path: Path, change: str) -> None:
    store = opened(tmp_path)
    write(store, 12)
    store.close()
    damage(tmp_path, change)
    damage(tmp_path, "DELETE FROM kept WHERE name = 'checks'")
    damage(tmp_path, "PRAGMA user_version = 0")
    store = opened(tmp_path)
    write(store, KEPT)
    assert store.load() == charged(KEPT - 1)
    assert log_summary.check(look_into(tmp_path).entries).head == store.head
    store.close()


@pytest.mark.parametrize("newest", [b"{", b"\xff"])
def test_a_head_that_nobody_knows_any_more_is_not_made_up(tmp_path: Path, newest: bytes) -> None:
    store = opened(tmp_path)
    write(store, 12)
    store.close()
    damage(tmp_path, "UPDATE log SET entry = ? WHERE sequence = 12", newest)
    damage(tmp_path, "DELETE FROM kept WHERE name = 'checks'")
    damage(tmp_path, "PRAGMA user_version = 0")
    store = opened(tmp_path)
    assert store.head == Head(12, bytes(32))
    write(store, 1)
    assert look_into(tmp_path).entries[0].sequence == 13
    store.close()


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.dictionaries(st.text(), st.text() | st.integers(), max_size=3), max_size=4))
def test_nothing_that_somebody_says_damages_the_log(
    tmp_path: Path, said: list[dict[str, str | int]]
) -> None:
    store = opened(tmp_path)
    for detail in said:
        with suppress(ValueError):  # what has no encoding is not written at all
            store.commit(PROTECTED, [Entry("pairing_failed", detail)], 7)
    store.close()
    store = opened(tmp_path)
    write(store, 1)
    assert store.load() == charged(0)
    assert log_summary.broken_off(look_into(tmp_path).entries) is None
    store.close()


def test_damage_to_both_seals_and_the_file_that_is_kept_aside_has_the_log(tmp_path: Path) -> None:
    store = opened(tmp_path)
    write(store, 12)
    store.close()
    damage(tmp_path, "DELETE FROM log WHERE sequence = 3")
    damage(tmp_path, "DELETE FROM kept WHERE name = 'durable'")
    store = opened(tmp_path)
    durable = store.load()
    assert durable is not None
    assert durable.mode is Mode.SEALED
    assert [entry.event for entry in look_into(tmp_path).entries] == ["state_lost"]
    assert not (tmp_path / ASIDE).exists()
    store.close()


@pytest.mark.parametrize("page", [0, 1, -1, None])
def test_a_page_of_the_log_that_is_no_page_seals_nothing(tmp_path: Path, page: int | None) -> None:
    store = SQLiteStore(tmp_path)
    store.put("settings", b"{}")
    store.put_bluetooth_bond("a", b"{}")
    write(store, 60)
    known = store.head
    store.close()
    path = tmp_path / "charger.sqlite"
    content = bytearray(path.read_bytes())
    pages = [at for at in range(0, len(content), 4096) if b'"attempt"' in content[at : at + 4096]]
    if page is None:
        damage(tmp_path, "ALTER TABLE log RENAME TO lof")
        content[:] = path.read_bytes()
    else:
        content[pages[page]] ^= 0xFF
        path.write_bytes(content)

    reports: list[str] = []
    store = opened(tmp_path, reports)
    assert store.set_aside is None
    assert store.load() == charged(59)
    assert (store.bluetooth_bonds(), store.get("settings")) == ({"a": b"{}"}, b"{}")
    (first,) = look_into(tmp_path).entries
    assert (first.event, first.previous) == (DAMAGED, known.hash)
    assert first.detail["kept_aside_as"] == "charger.sqlite.corrupt-1"
    assert (tmp_path / "charger.sqlite.corrupt-1").read_bytes() == content
    assert len(reports) == 1
    store.commit(PROTECTED, [Entry("reset")], 8, clear_log=True)
    assert not list(tmp_path.glob("*corrupt*"))
    store.close()


def test_what_is_not_proved_does_not_go_on_with_the_state(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path)
    store.put("hardware", b'{"meter_wh":1.5}')
    write(store, 3)
    store.close()
    damage(tmp_path, "UPDATE kept SET value = CAST('{}' AS BLOB) WHERE name = 'hardware'")
    damage(tmp_path, "ALTER TABLE log RENAME TO lof")
    store = opened(tmp_path)
    assert store.load() == charged(2)
    assert store.get("hardware") is None
    store.close()


def test_a_page_of_the_log_and_a_byte_of_the_state_seal(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path)
    write(store, 60)
    store.close()
    damage(tmp_path, "UPDATE kept SET value = CAST('{}' AS BLOB) WHERE name = 'durable'")
    path = tmp_path / "charger.sqlite"
    content = bytearray(path.read_bytes())
    content[content.rindex(b'"attempt"') // 4096 * 4096] ^= 0xFF
    path.write_bytes(content)
    store = opened(tmp_path)
    durable = store.load()
    assert durable is not None
    assert durable.mode is Mode.SEALED
    store.close()
