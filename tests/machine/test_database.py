import os
import sqlite3
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargepin.machine.database import (
    DatabaseCorrupt,
    finding_damage,
    open_database,
    set_database_aside,
    writing,
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def connection(path: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(path)
    yield opened
    opened.close()


def names(connection: sqlite3.Connection) -> list[str]:
    return [row[0] for row in connection.execute("SELECT name FROM phone ORDER BY name")]


def test_every_file_is_private_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        connection = open_database(path)
        connection.execute("CREATE TABLE phone (name TEXT)")
        files = list(path.parent.iterdir())
        assert {file.name for file in files} == {"state.db", "state.db-wal", "state.db-shm"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
        connection.close()
    finally:
        os.umask(before)


def test_a_file_that_was_readable_is_made_private(path: Path) -> None:
    open_database(path).close()
    path.chmod(0o644)
    open_database(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_commits_are_synced_to_a_log(connection: sqlite3.Connection) -> None:
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
    assert connection.execute("PRAGMA foreign_keys").fetchone() == (1,)


def test_a_block_happens_as_a_whole(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute("CREATE TABLE phone (name TEXT PRIMARY KEY)")
    with writing(connection):
        connection.execute("INSERT INTO phone VALUES ('a')")
        connection.execute("INSERT INTO phone VALUES ('b')")
    other = open_database(path)
    assert names(other) == ["a", "b"]
    other.close()


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_block_that_fails_does_nothing(
    connection: sqlite3.Connection, failure: type[BaseException]
) -> None:
    def fail() -> None:
        with writing(connection):
            connection.execute("INSERT INTO phone VALUES ('a')")
            raise failure

    connection.execute("CREATE TABLE phone (name TEXT PRIMARY KEY)")
    with pytest.raises(failure):
        fail()
    assert names(connection) == []
    with writing(connection):
        connection.execute("INSERT INTO phone VALUES ('later')")
    assert names(connection) == ["later"]


def test_a_statement_that_breaks_a_rule_undoes_the_block(connection: sqlite3.Connection) -> None:
    def break_a_rule() -> None:
        with writing(connection):
            connection.execute("INSERT INTO phone VALUES ('a')")
            connection.execute("INSERT INTO phone VALUES ('a')")

    connection.execute("CREATE TABLE phone (name TEXT PRIMARY KEY)")
    with pytest.raises(sqlite3.IntegrityError):
        break_a_rule()
    assert names(connection) == []


def test_a_commit_that_is_refused_undoes_the_block(connection: sqlite3.Connection) -> None:
    def orphan() -> None:
        with writing(connection):
            connection.execute("INSERT INTO bond VALUES ('nobody')")

    connection.execute("CREATE TABLE phone (name TEXT PRIMARY KEY)")
    connection.execute(
        "CREATE TABLE bond (phone TEXT REFERENCES phone DEFERRABLE INITIALLY DEFERRED)"
    )
    with pytest.raises(sqlite3.IntegrityError):
        orphan()
    assert not connection.in_transaction
    assert connection.execute("SELECT count(*) FROM bond").fetchone() == (0,)


def test_any_thread_may_use_it(connection: sqlite3.Connection) -> None:
    def work() -> None:
        with writing(connection):
            connection.execute("CREATE TABLE phone (name TEXT)")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert names(connection) == []


@pytest.mark.parametrize("content", [b"no database", bytes(range(256)) * 64])
def test_another_kind_of_file_is_called_corrupt_and_left_alone(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(DatabaseCorrupt) as caught:
        open_database(path)
    assert caught.value.path == path
    assert str(path) in str(caught.value)
    assert path.read_bytes() == content


def test_a_damaged_database_is_found_at_once_and_can_be_set_aside(path: Path) -> None:
    connection = open_database(path)
    connection.execute("CREATE TABLE phone (name TEXT PRIMARY KEY)")
    with writing(connection):
        for number in range(2000):
            connection.execute("INSERT INTO phone VALUES (?)", (f"phone {number}",))
    connection.close()
    content = bytearray(path.read_bytes())
    content[8192:16384] = os.urandom(8192)
    path.write_bytes(content)

    with pytest.raises(DatabaseCorrupt):
        open_database(path)
    aside = set_database_aside(path)

    assert aside.read_bytes() == content
    fresh = open_database(path)
    assert fresh.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    fresh.close()


def test_a_log_left_behind_is_never_taken_for_the_next_databases(path: Path) -> None:
    connection = open_database(path)
    connection.execute("CREATE TABLE phone (name TEXT)")
    wal = path.with_name("state.db-wal").read_bytes()
    connection.close()
    path.with_name("state.db-wal").write_bytes(wal)

    set_database_aside(path)

    fresh = open_database(path)
    assert fresh.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    fresh.close()


def test_a_log_without_its_database_is_kept_and_not_taken_for_the_next_ones(path: Path) -> None:
    """As a power cut leaves it between two renames."""
    connection = open_database(path)
    connection.execute("CREATE TABLE phone (name TEXT)")
    wal = path.with_name("state.db-wal")
    written = wal.read_bytes()
    connection.close()
    path.unlink()
    wal.write_bytes(written)
    fresh = open_database(path)
    assert fresh.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    assert path.with_name("state.db-wal.corrupt-1").read_bytes() == written
    fresh.close()


@pytest.mark.parametrize(
    ("at", "value"),
    [(18, 9), (19, 9), (47, 9), (63, 1), (0, 0)],
    ids=["may not be written", "may not be read", "unknown schema", "another version", "no magic"],
)
def test_a_damaged_header_is_damage_and_no_trouble_of_the_disk(
    path: Path, at: int, value: int
) -> None:
    open_database(path).execute("CREATE TABLE phone (name TEXT)").connection.close()
    content = bytearray(path.read_bytes())
    content[at] = value
    path.write_bytes(content)

    def write() -> int:
        connection = open_database(path)
        try:
            with finding_damage(path):
                connection.execute("INSERT INTO phone VALUES ('a')")
                return int(connection.execute("PRAGMA user_version").fetchone()[0])
        finally:
            connection.close()

    if at == 63:
        assert write() == 1  # for its user to judge
    else:
        with pytest.raises(DatabaseCorrupt):
            write()


def test_another_schema_than_was_made_is_damage(connection: sqlite3.Connection, path: Path) -> None:
    with pytest.raises(DatabaseCorrupt, match="no such table"), finding_damage(path):
        connection.execute("SELECT name FROM phone")
    connection.execute("CREATE TABLE phone (name TEXT PRIMARY KEY)")
    with pytest.raises(sqlite3.IntegrityError), finding_damage(path):
        connection.execute("INSERT INTO phone VALUES ('a'), ('a')")


def test_a_missing_directory_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        open_database(tmp_path / "missing" / "state.db")


def test_a_directory_in_its_place_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(OSError, match="cannot open the database"):
        open_database(tmp_path / "state.db")
