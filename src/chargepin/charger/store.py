"""What a charger keeps through power cuts: one SQLite file, and the identity beside it.

The guard's state and the entries of the security log are stored in one transaction, with checksums
of all that is kept. Damage to the state seals the charger; damage to the log is told in a new one.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargepin.charger import kept_rows, log_rows
from chargepin.charger.identity_file import open_identity, read_identity, write_identity
from chargepin.charger.kept_rows import STATE, KeptRows, StateDamaged
from chargepin.charger.log_rows import LogRows, entry_in
from chargepin.charger.ports import StoreFailed
from chargepin.core import log, log_summary
from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Entry
from chargepin.core.log import LogBroken
from chargepin.machine import wal
from chargepin.machine.database import (
    DatabaseCorrupt,
    finding_damage,
    open_database,
    set_database_aside,
    writing,
)
from chargepin.machine.files import keep_aside, private_directory

ENTRIES_KEPT = 5000
TRIMMED_AT_ONCE = 1000

_DATABASE = "charger.sqlite"
_LOG_ASIDE = "security-log"

_Change: TypeAlias = Callable[[sqlite3.Connection, KeptRows, LogRows], None]


class SQLiteStore:
    """The `Store` port on a file; also keeps Bluetooth bonds.

    set_aside: where a damaged database was put, for telling somebody; the state then begins
    sealed, with counters that were never used. report: is told a sentence, in any thread, when a
    damaged log was put aside.
    """

    def __init__(
        self,
        directory: Path,
        *,
        entries_kept: int = ENTRIES_KEPT,
        trimmed_at_once: int = TRIMMED_AT_ONCE,
        report: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Open or make the files in a private directory. Raises StoreFailed."""
        self._directory = directory
        self._report = report
        aside = directory / _LOG_ASIDE
        self._new_log = partial(
            LogRows, entries_kept, trimmed_at_once, lambda data: keep_aside(aside, data).name
        )
        self._lock = threading.Lock()
        self.set_aside: Path | None = None
        path = directory / _DATABASE
        try:
            private_directory(directory)
            self._identity = open_identity(directory, new=not any(directory.glob(f"{_DATABASE}*")))
            try:
                self._open(path, check=self._check)
            except (DatabaseCorrupt, StateDamaged) as damaged:
                self._begin_again(path, damaged)
            if STATE not in self._rows.named and (copies := self._copies()):
                self._seal(copies[-1], {})  # the power was cut in the midst of it
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"cannot use {directory}: {error}") from error

    @property
    def identity(self) -> Ed25519PrivateKey:
        """The charger's key, drawn at its first start."""
        return self._identity.key

    def load(self) -> Durable | None:
        value = self.get(STATE)
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
        state = msgspec.json.encode(durable)

        def change(connection: sqlite3.Connection, rows: KeptRows, lines: LogRows) -> None:
            for name, value in {STATE: state, **also}.items():
                rows.put(connection, name, value)
            if forget_bluetooth_bonds:
                rows.delete_bonds(connection)
            elif forget_bluetooth_bond is not None:
                rows.delete_bond(connection, forget_bluetooth_bond)
            lines.write(connection, entries, unix_s, durable.running_s, clear=clear_log)

        self._change("the state", change)
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
        query = "SELECT sequence, entry FROM log WHERE sequence > ? ORDER BY sequence LIMIT ?"
        with self._lock:
            try:
                rows = self._connection.execute(query, (after, limit)).fetchall()
                return [entry_in(*row) for row in rows]
            except LogBroken as broken:
                self._log.damage = str(broken)  # the next commit mends it
                raise StoreFailed("an entry of the security log is damaged") from broken
            except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter in its own messages
                raise StoreFailed(f"the log could not be read: {error}") from error

    def put(self, name: str, value: bytes) -> None:
        def change(connection: sqlite3.Connection, rows: KeptRows, _: LogRows) -> None:
            rows.put(connection, name, value)

        self._change(name, change)

    def get(self, name: str) -> bytes | None:
        return self._rows.named.get(name)

    def bluetooth_bonds(self) -> dict[str, bytes]:
        """Every Bluetooth bond, by the peer's address."""
        return dict(self._rows.bonds)

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

        def change(connection: sqlite3.Connection, rows: KeptRows, lines: LogRows) -> None:
            if value is None:
                rows.delete_bond(connection, address)
            elif not renewed or address in rows.bonds:
                rows.put_bond(connection, address, value)
            if entry is not None:
                lines.write(connection, (entry,), unix_s, running_s)

        self._change("a Bluetooth bond", change)

    def close(self) -> None:
        """Close the database."""
        with self._lock:
            self._connection.close()

    # ---- opening --------------------------------------------------------------------------

    def _open(self, path: Path, check: Callable[[KeptRows], None] = lambda _: None) -> None:
        if wal.is_damaged(path):
            raise StateDamaged("its newest commits are lost")
        connection = open_database(path)
        rows, lines = KeptRows(), self._new_log()
        try:
            connection.text_factory = bytes  # what is damaged need not be UTF-8
            connection.execute("PRAGMA secure_delete = ON")  # what is deleted is overwritten
            with finding_damage(path), writing(connection):
                if kept_rows.version(connection) == 0:
                    for statement in (*kept_rows.SCHEMA, log_rows.SCHEMA):
                        connection.execute(statement)
                connection.execute("DELETE FROM kept WHERE name IS NULL")  # it can be written to
                head = rows.read(connection)
                check(rows)
                lines.read(connection, head)
                if rows.unsettled:
                    rows.settle(connection, lines.head)
            _emptied(connection)  # a torn commit must not be taken for damage at the next start
        except BaseException:
            connection.close()
            raise
        self._connection, self._rows, self._log = connection, rows, lines

    def _check(self, rows: KeptRows) -> None:
        """Raise StateDamaged for a state that is not the newest, or none that a guard makes.

        The identity file names counters that were stored before: with lower ones, or with none at
        all, this is an old copy, or a row was lost; and what is lost must not be taken for new.
        """
        known, stored = self._identity, rows.named.get(STATE)
        try:
            found = Durable() if stored is None else decoded(stored, Durable)
        except Undecodable as error:
            raise StateDamaged("it cannot be read") from error
        if found.incarnation < known.incarnation or found.generation < known.generation:
            raise StateDamaged("it is older than the identity file knows it")
        if (found.mode is Mode.PROTECTED) is not (found.credential is not None):
            raise StateDamaged("it has half a passcode")

    def _begin_again(self, path: Path, damaged: DatabaseCorrupt | StateDamaged) -> None:
        """Put a damaged database aside. Its state goes on if the checksums prove it."""
        proved = self._proved(path) if isinstance(damaged, DatabaseCorrupt) else None
        aside = set_database_aside(path)
        self._open(path)
        if proved is None:
            self._seal(aside, damaged.intact if isinstance(damaged, StateDamaged) else {})
            return
        found, head, state = proved
        self._log.head, self._log.damage = head, "its part of the database cannot be read"
        self._log.kept_as = aside.name

        def change(connection: sqlite3.Connection, rows: KeptRows, lines: LogRows) -> None:
            for name, value in found.proved.items():
                rows.put(connection, name, value)
            for address, value in found.bonds.items():
                rows.put_bond(connection, address, value)
            lines.write(connection, (), 0, state.running_s)

        self._change("what was not damaged", change)

    def _proved(self, path: Path) -> tuple[KeptRows, log.Head, Durable] | None:
        """What checksums prove of a database that is damaged elsewhere, such as in its log."""
        rows = KeptRows()
        try:
            with _only_read(path) as connection:
                head = rows.read(connection)
            self._check(rows)
        except (sqlite3.Error, UnicodeDecodeError, StateDamaged):
            return None
        if head is None or STATE not in rows.named:
            return None
        return rows, head, decoded(rows.named[STATE], Durable)

    def _seal(self, aside: Path, intact: Mapping[str, bytes]) -> None:
        """The state was lost: nobody is let in until a reset, which goes on with fresh counters.

        intact: rows of the power side that were not damaged, such as the meter and an installer's
        limits.
        """
        known = self._identity
        sealed = Durable(
            mode=Mode.SEALED,
            incarnation=known.incarnation + 1,
            generation=known.generation + 1,
            factory=known.factory,
            profile=known.profile,
        )
        self.set_aside = aside
        self.commit(sealed, [Entry("state_lost", {"kept_aside_as": aside.name})], 0, also=intact)

    def _copies(self) -> list[Path]:
        """Damaged databases that were set aside, the newest last."""
        found = self._directory.glob(f"{_DATABASE}.corrupt-*[0-9]")
        return sorted(found, key=lambda path: (len(path.name), path.name))

    # ---- changing -------------------------------------------------------------------------

    def _change(self, what: str, change: _Change) -> None:
        """Store a change, or nothing of it; a log that proves damaged in it is begun anew first."""
        try:
            with self._lock:
                before = self._log
                try:
                    self._transact(change)
                except LogBroken as broken:  # in what was to be summed up
                    before.damage = str(broken)
                    self._transact(change)
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"{what} could not be stored: {error}") from error
        if before.damage is not None and self._log.damage is None:
            self._report(
                f"The charger's security log was damaged: {before.damage}. It is kept aside in"
                f" {self._directory}, and a new one has begun, which says so."
            )

    def _transact(self, change: _Change) -> None:
        rows, lines = self._rows.copy(), self._log.copy()
        with writing(self._connection) as connection:
            change(connection, rows, lines)
            rows.settle(connection, lines.head)
        self._rows, self._log = rows, lines

    def _wipe(self, *, copies: bool) -> None:
        """What was erased goes from the write-ahead log, too; if not now, then at a later write.

        copies: and from damaged databases and logs that were set aside.
        """
        with self._lock:
            _emptied(self._connection)
        for copy in self._directory.glob("*.corrupt-*") if copies else ():
            if _DATABASE in copy.name or _LOG_ASIDE in copy.name:
                with suppress(OSError):
                    copy.unlink()

    def _keep_counters(self, durable: Durable) -> None:
        now = self._identity.knowing(durable)
        if now == self._identity:
            return
        with suppress(OSError):
            # The database is the authority; after its loss one more is added to what is here.
            write_identity(self._directory, now)
            self._identity = now


@contextmanager
def _only_read(path: Path) -> Iterator[sqlite3.Connection]:
    address = f"{path.absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True, isolation_level=None)) as connection:
        connection.text_factory = bytes
        connection.execute("BEGIN")  # all of it as of one moment
        yield connection


def _emptied(connection: sqlite3.Connection) -> None:
    """Take the write-ahead log into the database, if there is room, so that it begins anew."""
    with suppress(sqlite3.Error):
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


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

    Verifies the checksums and the log's chain. Raises StoreFailed, also when there is nothing yet,
    and LogBroken.
    """
    rows = KeptRows()
    try:
        identity = read_identity(directory)
        with _only_read(directory / _DATABASE) as connection:
            head = rows.read(connection)
            lines = connection.execute("SELECT sequence, entry FROM log ORDER BY sequence")
            entries = tuple(entry_in(*line) for line in lines.fetchall())
        state = rows.named.get(STATE)
        durable = Durable() if state is None else decoded(state, Durable)
    except (OSError, sqlite3.Error, UnicodeDecodeError, Undecodable, StateDamaged) as error:
        raise StoreFailed(f"cannot read {directory}: {error}") from error
    checked = log_summary.check(entries)
    if head not in {None, checked.head}:
        raise LogBroken(checked.head.sequence + 1, "it ends elsewhere than the state knows it")
    return Kept(
        identity=identity.key.public_key().public_bytes_raw(),
        durable=durable,
        entries=entries,
        bluetooth_bonds=tuple(rows.bonds),
    )
