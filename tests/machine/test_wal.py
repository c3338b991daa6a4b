"""A write-ahead log after a power cut, and one that was damaged."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargepin.machine.database import open_database
from chargepin.machine.wal import is_damaged, lost_commits

FRAME = 4096 + 24
COMMITS = 6


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    """A database whose log holds a table's making and six commits of a row each."""
    opened = open_database(path)
    opened.execute("CREATE TABLE phone (name TEXT)")
    more(opened)
    yield opened
    opened.close()


def more(connection: sqlite3.Connection, commits: int = COMMITS) -> None:
    for number in range(commits):
        connection.execute("INSERT INTO phone VALUES (?)", (f"phone {number}",))


def log(path: Path) -> bytes:
    return path.with_name("state.db-wal").read_bytes()


def test_a_log_that_holds_lost_nothing(connection: sqlite3.Connection, path: Path) -> None:
    assert len(log(path)) > COMMITS * FRAME
    assert lost_commits(log(path)) == 0
    assert not is_damaged(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert log(path) == b""
    assert not is_damaged(path)
    connection.close()
    assert not is_damaged(path)


def test_what_a_power_cut_tears_is_the_last_commit(
    connection: sqlite3.Connection, path: Path
) -> None:
    _ = connection
    whole = log(path)
    for end in range(32, len(whole), 512):
        assert lost_commits(whole[:end]) == 0
        assert lost_commits(whole[:end] + bytes(len(whole) - end)) <= 1
    for at in range(len(whole) - FRAME, len(whole), 64):
        assert lost_commits(whole[:at] + b"torn" + whole[at + 4 :]) <= 1


def test_damage_before_that_is_noticed(connection: sqlite3.Connection, path: Path) -> None:
    _ = connection
    whole = log(path)
    beside = path.with_name("state.db-wal")
    for at in (*range(32), *range(32, len(whole) - 2 * FRAME, 251)):
        changed = bytearray(whole)
        changed[at] ^= 1 << at % 8
        beside.write_bytes(changed)
        assert is_damaged(path), at
    beside.write_bytes(whole)


def test_an_older_round_of_the_log_counts_for_nothing(
    connection: sqlite3.Connection, path: Path
) -> None:
    connection.execute("PRAGMA wal_checkpoint(FULL)").fetchall()
    for _ in range(3):
        more(connection, 1)
        assert lost_commits(log(path)) == 0
    assert len(log(path)) > COMMITS * FRAME


@pytest.mark.parametrize("junk", [b"x" * 31, b"x" * 32, b"x" * 5000, bytes(20_000)])
def test_what_is_no_log_is_left_to_sqlite(path: Path, junk: bytes) -> None:
    path.with_name("state.db-wal").write_bytes(junk)
    assert not is_damaged(path)
