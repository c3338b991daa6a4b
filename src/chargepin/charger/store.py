"""What a charger keeps through power cuts: one SQLite file, and the identity beside it.

The guard's state and the entries of the security log are stored in one transaction. The identity
key lives in a file of its own, because no reset and no damaged database may replace it.
"""

import sqlite3
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargepin.charger.log_rows import LogRows
from chargepin.charger.ports import StoreFailed
from chargepin.core import log, log_summary
from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.durable import Durable, Factory, Mode, Profile
from chargepin.core.guard_state import Entry
from chargepin.machine.database import (
    DatabaseCorrupt,
    open_database,
    set_database_aside,
    writing,
)
from chargepin.machine.files import private_directory, read_private, write_private

SEED_BYTES = 32
ENTRIES_KEPT = 5000
TRIMMED_AT_ONCE = 1000

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS log (sequence INTEGER PRIMARY KEY, entry BLOB NOT NULL)",
    "CREATE TABLE IF NOT EXISTS bluetooth_bonds (address TEXT PRIMARY KEY, value BLOB NOT NULL)",
)


class IdentityFile(msgspec.Struct, frozen=True):
    """The identity key's seed, and what must outlive the loss of the database.

    incarnation, generation: the highest known. factory: the passcode of the factory file.
    profile: which rules the unit left the factory with.
    """

    seed: Annotated[bytes, msgspec.Meta(min_length=SEED_BYTES, max_length=SEED_BYTES)]
    incarnation: int = 1
    generation: int = 0
    factory: Factory | None = None
    profile: Profile = Profile.NONE

    def __repr__(self) -> str:
        return "IdentityFile()"


class SQLiteStore:
    """The `Store` port on a file; also keeps Bluetooth bonds.

    set_aside: where a damaged database was put, for telling somebody; the state then begins
    sealed, with counters that were never used.
    """

    def __init__(
        self,
        directory: Path,
        *,
        entries_kept: int = ENTRIES_KEPT,
        trimmed_at_once: int = TRIMMED_AT_ONCE,
    ) -> None:
        """Open or make the files in a private directory. Raises StoreFailed."""
        self._directory = directory
        self._log = LogRows(entries_kept, trimmed_at_once)
        self._lock = threading.Lock()
        self.set_aside: Path | None = None
        path = directory / "charger.sqlite"
        try:
            private_directory(directory)
            self._identity = self._open_identity()
            try:
                self._connection = self._open(path, check=self._check)
            except (DatabaseCorrupt, Undecodable, log.LogBroken):
                self.set_aside = set_database_aside(path)
                self._connection = self._open(path)
                self._seal()
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"cannot use {directory}: {error}") from error

    @property
    def identity(self) -> Ed25519PrivateKey:
        """The charger's key, drawn at its first start."""
        return Ed25519PrivateKey.from_private_bytes(self._identity.seed)

    def load(self) -> Durable | None:
        value = self.get("durable")
        return None if value is None else decoded(value, Durable)

    def commit(
        self,
        durable: Durable,
        entries: Sequence[Entry],
        unix_s: int,
        *,
        forget_bluetooth_bonds: bool = False,
        forget_bluetooth_bond: str | None = None,
        clear_log: bool = False,
        also: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        before = self.load() if clear_log else None
        try:
            with self._lock:
                rows = self._log.copy()
                with writing(self._connection) as connection:
                    self._put(connection, "durable", msgspec.json.encode(durable))
                    for name, value in also.items():
                        self._put(connection, name, value)
                    rows.write(connection, entries, unix_s, durable.running_s, clear=clear_log)
                    if forget_bluetooth_bonds:
                        connection.execute("DELETE FROM bluetooth_bonds")
                    elif forget_bluetooth_bond is not None:
                        self._delete_bond(connection, forget_bluetooth_bond)
                self._log = rows
        except (OSError, sqlite3.Error, Undecodable) as error:  # the last for old log entries
            raise StoreFailed(f"the state could not be stored: {error}") from error
        self._keep_counters(durable)
        if clear_log:
            self._wipe(copies=before is None or before.mode is not Mode.SEALED)

    @property
    def head(self) -> log.Head:
        return self._log.head

    @property
    def log_begins(self) -> log.Head:
        return self._log.summary.begins

    def entries(self, after: int, limit: int) -> Sequence[log.Entry]:
        rows = self._read(
            "SELECT entry FROM log WHERE sequence > ? ORDER BY sequence LIMIT ?", (after, limit)
        )
        try:
            return [decoded(row[0], log.Entry) for row in rows]
        except Undecodable as error:
            raise StoreFailed("an entry of the security log is damaged") from error

    def put(self, name: str, value: bytes) -> None:
        try:
            with self._lock, writing(self._connection) as connection:
                self._put(connection, name, value)
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"{name} could not be stored: {error}") from error

    def get(self, name: str) -> bytes | None:
        rows = self._read("SELECT value FROM kept WHERE name = ?", (name,))
        return _octets(rows[0][0]) if rows else None

    def bluetooth_bonds(self) -> dict[str, bytes]:
        """Every Bluetooth bond, by the peer's address. Raises StoreFailed."""
        rows = self._read("SELECT address, value FROM bluetooth_bonds", ())
        return {_text(address): _octets(value) for address, value in rows}

    def put_bluetooth_bond(
        self,
        address: str,
        value: bytes | None,
        entry: Entry | None = None,
        unix_s: int = 0,
        running_s: float = 0.0,
        *,
        renewed: bool = False,
    ) -> None:
        """Keep a Bluetooth bond, or with None delete it. Raises StoreFailed.

        entry: for the security log, in the same transaction: no bond comes without it. renewed: it
        is kept already, or has just been deleted, and then stays so.
        """
        try:
            with self._lock:
                rows = self._log.copy()
                with writing(self._connection) as connection:
                    if value is None:
                        self._delete_bond(connection, address)
                    elif renewed:
                        connection.execute(
                            "UPDATE bluetooth_bonds SET value = ? WHERE address = ?",
                            (value, address),
                        )
                    else:
                        connection.execute(
                            "INSERT OR REPLACE INTO bluetooth_bonds VALUES (?, ?)",
                            (address, value),
                        )
                    if entry is not None:
                        rows.write(connection, (entry,), unix_s, running_s)
                self._log = rows
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"a Bluetooth bond could not be stored: {error}") from error

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    # ---- opening --------------------------------------------------------------------------

    def _open(
        self, path: Path, check: Callable[[Durable | None], None] = lambda _: None
    ) -> sqlite3.Connection:
        connection = open_database(path)
        try:
            connection.text_factory = bytes  # what is damaged need not be UTF-8
            connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
            with writing(connection):
                for statement in _SCHEMA:
                    connection.execute(statement)
            self._connection = connection
            check(self.load())  # a state that cannot be read is as bad as a damaged file
            self._log.read(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, durable: Durable | None) -> None:
        """Raise Undecodable for a state that is not the newest, or none that a guard makes.

        The identity file names counters that were stored before: with lower ones, or with none at
        all, this is an old copy, or a row was lost; and what is lost must not be taken for new.
        """
        found, known = durable or Durable(), self._identity
        if found.incarnation < known.incarnation or found.generation < known.generation:
            raise Undecodable("the state is older than the identity file knows it")
        if (found.mode is Mode.PROTECTED) is not (found.credential is not None):
            raise Undecodable("the state has half a passcode")

    def _seal(self) -> None:
        """The state was lost: nobody is let in until a reset, which goes on with fresh counters."""
        sealed = Durable(
            mode=Mode.SEALED,
            incarnation=self._identity.incarnation + 1,
            generation=self._identity.generation + 1,
            factory=self._identity.factory,
            profile=self._identity.profile,
        )
        aside = self.set_aside.name if self.set_aside else ""
        self.commit(sealed, [Entry("state_lost", {"kept_aside_as": aside})], 0)

    def _wipe(self, *, copies: bool) -> None:
        """What was erased goes from the write-ahead log, too; if not now, then at a later write.

        copies: and from damaged databases that were set aside.
        """
        with self._lock, suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        for copy in self._directory.glob("charger.sqlite.corrupt-*") if copies else ():
            with suppress(OSError):
                copy.unlink()

    def _open_identity(self) -> IdentityFile:
        path = self._directory / "identity.json"
        try:
            return decoded(read_private(path), IdentityFile)
        except FileNotFoundError:
            seed = Ed25519PrivateKey.generate().private_bytes_raw()
            identity = IdentityFile(seed)
            write_private(path, msgspec.json.encode(identity))
            return identity
        except Undecodable as error:
            raise StoreFailed(
                f"{path} is damaged. It holds the charger's identity, which apps have pinned:"
                " restore it from a backup, or move it away to begin as another charger."
            ) from error

    def _keep_counters(self, durable: Durable) -> None:
        kept = self._identity
        now = IdentityFile(
            kept.seed, durable.incarnation, durable.generation, durable.factory, durable.profile
        )
        if kept == now:
            return
        self._identity = now
        try:
            path = self._directory / "identity.json"
            write_private(path, msgspec.json.encode(self._identity))
        except OSError:
            # The database is the authority; after its loss one more is added to what is here.
            self._identity = kept

    def _delete_bond(self, connection: sqlite3.Connection, address: str) -> None:
        connection.execute("DELETE FROM bluetooth_bonds WHERE address = ?", (address,))

    def _put(self, connection: sqlite3.Connection, name: str, value: bytes) -> None:
        connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", (name, value))

    def _read(self, query: str, values: tuple[object, ...]) -> list[tuple[bytes, ...]]:
        try:
            with self._lock:
                return self._connection.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter in SQLite's own messages
            raise StoreFailed(f"the state could not be read: {error}") from error


def _text(value: object) -> str:
    return _octets(value).decode(errors="replace")


def _octets(value: object) -> bytes:
    """What was put in; nothing, where a damaged file has something else in its place."""
    return value if isinstance(value, bytes) else b""


# ---- from the outside ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kept:
    """What a charger's files say at one moment.

    entries: of the security log, oldest first. bluetooth_bonds: addresses of the peers.
    """

    identity: bytes
    durable: Durable
    entries: tuple[log.Entry, ...]
    bluetooth_bonds: tuple[str, ...]


def look_into(directory: Path) -> Kept:
    """Read a charger's files beside the program that serves it; changes nothing.

    Verifies the log's chain. Raises StoreFailed, also when there is nothing yet, and LogBroken.
    """
    try:
        identity = decoded(read_private(directory / "identity.json"), IdentityFile)
        address = f"{(directory / 'charger.sqlite').absolute().as_uri()}?mode=ro"
        with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
            connection.text_factory = bytes
            connection.execute("BEGIN")  # all of it as of one moment
            state = connection.execute("SELECT value FROM kept WHERE name = 'durable'").fetchone()
            lines = connection.execute("SELECT entry FROM log ORDER BY sequence").fetchall()
            peers = connection.execute("SELECT address FROM bluetooth_bonds").fetchall()
        entries = tuple(decoded(line[0], log.Entry) for line in lines)
        durable = Durable() if state is None else decoded(state[0], Durable)
    except (OSError, sqlite3.Error, UnicodeDecodeError, Undecodable) as error:
        raise StoreFailed(f"cannot read {directory}: {error}") from error
    log_summary.check(entries)
    key = Ed25519PrivateKey.from_private_bytes(identity.seed)
    return Kept(
        identity=key.public_key().public_bytes_raw(),
        durable=durable,
        entries=entries,
        bluetooth_bonds=tuple(_text(peer[0]) for peer in peers),
    )
