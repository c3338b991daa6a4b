"""Opening the account service's SQLite file: for one process, and brought up to date."""

import fcntl
import os
import sqlite3
from pathlib import Path

from chargepin.account import schema
from chargepin.account.ports import ServiceCannotStart
from chargepin.machine.database import DatabaseCorrupt, open_database, writing
from chargepin.machine.files import private_directory


def locked(path: Path) -> int:
    """Keep other processes out: events and limits are counted in this one.

    Gives the descriptor that holds the lock until it is closed. Raises ServiceCannotStart.
    """
    beside = path.with_name(path.name + ".lock")
    try:
        private_directory(path.parent)
        descriptor = os.open(beside, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ServiceCannotStart(
            f"Cannot open the database {path}: {error.strerror or error}."
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ServiceCannotStart(
            f"The database {path} is in use by another account service. Stop that one first."
        ) from error
    return descriptor


def opened(path: Path) -> sqlite3.Connection:
    """Open or make the file, with the newest schema. Raises ServiceCannotStart."""
    try:
        connection = open_database(path)
    except DatabaseCorrupt as error:
        raise ServiceCannotStart(
            f"{error}. It was left as it is. Restore it from a backup, together with its master "
            "key, then start again."
        ) from error
    except OSError as error:
        raise ServiceCannotStart(f"Cannot open the database {path}: {error}.") from error
    try:
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the schema up to date, step by step, each in a transaction of its own."""
    try:
        mark = _pragma(connection, "application_id")
        step = _pragma(connection, "user_version")
        tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
        if mark != schema.APPLICATION_ID and tables:
            raise ServiceCannotStart(
                f"{path} is a database, but not an account service's. Name another file."
            )
        if step > len(schema.STEPS):
            raise ServiceCannotStart(
                f"The database {path} was written by a newer chargepin. Update this one."
            )
        for number, statements in enumerate(schema.STEPS[step:], start=step + 1):
            with writing(connection):
                for statement in statements.split(";"):
                    connection.execute(statement)
                connection.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {number}")
    except sqlite3.Error as error:
        raise ServiceCannotStart(
            f"The database {path} cannot be brought up to date: {error}."
        ) from error


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
