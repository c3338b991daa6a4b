"""SQLite files that keep what was committed, through power cuts too, and stay private."""

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from chargepin.machine.files import set_aside

_OTHER_FILES = ("-wal", "-shm")
_CORRUPT = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,  # no such column, an unknown format: not the schema that was made
    sqlite3.SQLITE_READONLY,  # by its header: a file that may not be written is refused before
)

_SYNCHRONOUS_FULL = 2
_BUSY_TIMEOUT_MS = 5000


class DatabaseCorrupt(Exception):
    """The file at path is no database, or a damaged one. It was not changed."""

    def __init__(self, path: Path, finding: str) -> None:
        super().__init__(f"{path} is damaged or not a database ({finding})")
        self.path = path


def open_database(path: Path) -> sqlite3.Connection:
    """Open or make a database, mode 0600, for one writer at a time from any thread.

    Statements commit by themselves; several go together in `writing`. The journal is a
    write-ahead log synced at each commit: a rollback journal does not sync the deletion of
    itself and can so lose the last commit in a power cut. The settings are read back because
    SQLite keeps silent about those it cannot apply.

    Raises DatabaseCorrupt, or OSError when the file cannot be opened or made safe.
    """
    _make_private(path)
    connection: sqlite3.Connection | None = None
    try:
        with finding_damage(path):
            connection = sqlite3.connect(
                path, isolation_level=None, check_same_thread=False, timeout=_BUSY_TIMEOUT_MS / 1000
            )
            _apply_settings(connection, path)
            _check(connection, path)
    except sqlite3.DatabaseError as error:
        _close(connection)
        raise OSError(f"cannot open the database {path}: {error}") from error
    except BaseException:
        _close(connection)
        raise
    return connection


@contextlib.contextmanager
def finding_damage(path: Path) -> Iterator[None]:
    """Tell damage from a full disk and the like, for reading what should be there.

    Raises DatabaseCorrupt, and sqlite3.Error for all else.
    """
    try:
        yield
    except sqlite3.DatabaseError as error:
        # The extended code carries the primary one in its lowest byte.
        if getattr(error, "sqlite_errorcode", 0) & 0xFF in _CORRUPT:
            raise DatabaseCorrupt(path, str(error)) from error
        raise
    except UnicodeDecodeError as error:  # SQLite's message names what is in the file
        raise DatabaseCorrupt(path, "its schema is no text") from error


@contextlib.contextmanager
def writing(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """All statements of the block take effect, or none; on disk when the block has ended.

    Raises what the block raises, or sqlite3.Error when the transaction could not be begun or
    committed: then nothing of it happened.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def set_database_aside(path: Path) -> Path:
    """Rename a damaged database and the files that belong to it; returns its new path.

    The log goes along under the matching name, so that tools that rescue data can still open
    the whole. Raises OSError.
    """
    return set_aside(path, *_OTHER_FILES)


def _make_private(path: Path) -> None:
    """SQLite makes files by the umask, but gives the log and its index the main file's mode."""
    if not path.exists():  # a log without its database must not become part of the next one
        for suffix in _OTHER_FILES:
            with contextlib.suppress(FileNotFoundError):
                set_aside(path.with_name(path.name + suffix))
    try:
        # Only a new file may be opened here: closing another descriptor of a database drops
        # every lock that this process holds on it (POSIX advisory locks).
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        for suffix in ("", *_OTHER_FILES):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + suffix).chmod(0o600)


def _apply_settings(connection: sqlite3.Connection, path: Path) -> None:
    settings = (
        ("journal_mode", "WAL", "wal"),
        ("synchronous", "FULL", _SYNCHRONOUS_FULL),
        ("foreign_keys", "ON", 1),
    )
    for name, value, expected in settings:
        connection.execute(f"PRAGMA {name}={value}")
        found = connection.execute(f"PRAGMA {name}").fetchone()
        if found is None or found[0] != expected:
            raise OSError(f"{path}: SQLite cannot use {name}={value} here (found {found})")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    findings = [str(row[0]) for row in connection.execute("PRAGMA quick_check")]
    if findings != ["ok"]:
        raise DatabaseCorrupt(path, "; ".join(findings[:3]))


def _close(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        connection.close()
