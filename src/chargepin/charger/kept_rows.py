"""What a charger keeps beside its log: named rows and Bluetooth bonds, under one row of checksums.

All of it is read once, at start, and compared with the checksums: a changed byte that SQLite does
not notice is noticed before anything rests on it. The checksums also name the log's head, so that a
log that lost its newest entries is noticed, and a state that is older than its log.

They stand against damage, such as a worn-out flash. Whoever can write to the disk can write them.

    "checks" in table kept: SHA-256 of what follows || JSON of Checks
    of a named row: SHA-256 over "chargepin row 1" || u32 length of its name || name || value
    of the bonds: SHA-256 over the same of each, in the order of their addresses
"""

import hashlib
import sqlite3
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.log import Head

STATE = "durable"
"""The guard's state: who gets in, and how often was tried."""

SCHEMA = (
    "CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS bluetooth_bonds (address TEXT PRIMARY KEY, value BLOB NOT NULL)",
)

_VERSION = 1
_CHECKS = "checks"
_FORMER = "log_summary"  # of version 0; the log itself says it
_DOMAIN = b"chargepin row 1"
_DIGEST_BYTES = 32
_PUT = "INSERT OR REPLACE INTO kept VALUES (?, ?)"


class Checks(msgspec.Struct, frozen=True):
    """rows: the checksum of each named row. bonds: of all Bluetooth bonds. log: the log's head."""

    rows: dict[str, bytes]
    bonds: bytes
    log: Head


class StateDamaged(Exception):
    """What decides who gets in was changed. intact: named rows that were not, without the state."""

    def __init__(self, finding: str, intact: Mapping[str, bytes] = MappingProxyType({})) -> None:
        super().__init__(finding)
        self.intact = intact


class KeptRows:
    """The rows as they were last stored. Changing them takes effect with `settle`."""

    def __init__(self) -> None:
        self.named: dict[str, bytes] = {}
        self.bonds: dict[str, bytes] = {}
        self._of_named: dict[str, bytes] = {}
        self._of_bonds: dict[str, bytes] = {}
        self._version = _VERSION
        self._unread: tuple[str, ...] = ()

    def copy(self) -> "KeptRows":
        """For a transaction that may fail."""
        copied = KeptRows()
        copied.named, copied.bonds = dict(self.named), dict(self.bonds)
        copied._of_named, copied._of_bonds = dict(self._of_named), dict(self._of_bonds)
        return copied

    def read(self, connection: sqlite3.Connection) -> Head | None:
        """Read and compare everything; gives the log's head, None where there are no checksums yet.

        Changes nothing. What `settle` must still do is in `unsettled`. Raises StateDamaged, or
        sqlite3.Error.
        """
        self._version = version(connection)
        for table in ("kept", "bluetooth_bonds"):  # rows that are read, but not found again
            if connection.execute(f"PRAGMA integrity_check({table})").fetchall() != [(b"ok",)]:
                raise StateDamaged(f"the table {table} is out of order")
        self.named = _texts(connection.execute("SELECT name, value FROM kept").fetchall())
        self.bonds = _texts(
            connection.execute("SELECT address, value FROM bluetooth_bonds").fetchall()
        )
        self._of_bonds = {name: _digest(name, value) for name, value in self.bonds.items()}
        checked = self.named.pop(_CHECKS, None)
        if self._version == 0 and checked is None:  # new, or of the time before there were any
            self.named.pop(_FORMER, None)
            self._of_named = {name: _digest(name, value) for name, value in self.named.items()}
            return None
        if self._version != _VERSION or checked is None:
            raise StateDamaged("its checksums are missing")
        return self._compared(_checks_in(checked))

    @property
    def proved(self) -> dict[str, bytes]:
        """The named rows that their checksums fit."""
        return {name: self.named[name] for name in self._of_named}

    @property
    def unsettled(self) -> bool:
        """Whether `read` found something that is to be stored otherwise than it is."""
        return self._version != _VERSION or bool(self._unread)

    def put(self, connection: sqlite3.Connection, name: str, value: bytes) -> None:
        """Keep a named row."""
        connection.execute(_PUT, (name, value))
        self.named[name], self._of_named[name] = value, _digest(name, value)

    def put_bond(self, connection: sqlite3.Connection, address: str, value: bytes) -> None:
        """Keep a Bluetooth bond."""
        connection.execute("INSERT OR REPLACE INTO bluetooth_bonds VALUES (?, ?)", (address, value))
        self.bonds[address], self._of_bonds[address] = value, _digest(address, value)

    def delete_bond(self, connection: sqlite3.Connection, address: str) -> None:
        """Forget a Bluetooth bond, if it is kept."""
        connection.execute("DELETE FROM bluetooth_bonds WHERE address = ?", (address,))
        self.bonds.pop(address, None)
        self._of_bonds.pop(address, None)

    def delete_bonds(self, connection: sqlite3.Connection) -> None:
        """Forget every Bluetooth bond."""
        connection.execute("DELETE FROM bluetooth_bonds")
        self.bonds, self._of_bonds = {}, {}

    def settle(self, connection: sqlite3.Connection, log: Head) -> None:
        """Write the checksums of what there is now; the last thing in each transaction."""
        if self._version != _VERSION:
            connection.execute("DELETE FROM kept WHERE name = ?", (_FORMER,))
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            self._version = _VERSION
        for name in self._unread:
            connection.execute("DELETE FROM kept WHERE name = ?", (name,))
            self.put(connection, f"{name} that could not be read", self.named.pop(name))
        self._unread = ()
        body = msgspec.json.encode(Checks(self._of_named, self._bonds_digest, log))
        connection.execute(_PUT, (_CHECKS, hashlib.sha256(body).digest() + body))

    def _compared(self, checks: Checks) -> Head:
        self._of_named = {
            name: digest
            for name, value in self.named.items()
            if (digest := _digest(name, value)) == checks.rows.get(name)
        }
        stateless = STATE not in self.named and STATE not in checks.rows
        if not (stateless or STATE in self._of_named) or checks.bonds != self._bonds_digest:
            intact = {name: value for name, value in self.proved.items() if name != STATE}
            raise StateDamaged("a checksum does not fit", intact)
        self._unread = tuple(name for name in self.named if name not in self._of_named)
        return checks.log

    @property
    def _bonds_digest(self) -> bytes:
        return hashlib.sha256(
            b"".join(map(self._of_bonds.__getitem__, sorted(self._of_bonds)))
        ).digest()


def version(connection: sqlite3.Connection) -> int:
    """Of the tables in a database: 0 for none at all, and for those without checksums."""
    ((found,),) = connection.execute("PRAGMA user_version").fetchall()
    return int(found)


def _checks_in(value: bytes) -> Checks:
    body = value[_DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != value[:_DIGEST_BYTES]:
        raise StateDamaged("its checksums are damaged")
    try:
        return decoded(body, Checks)
    except Undecodable as error:
        raise StateDamaged("its checksums are damaged") from error


def _digest(name: str, value: bytes) -> bytes:
    encoded = name.encode()
    return hashlib.sha256(b"".join((_DOMAIN, len(encoded).to_bytes(4), encoded, value))).digest()


def _texts(rows: list[tuple[object, object]]) -> dict[str, bytes]:
    return {octets(name).decode(errors="replace"): octets(value) for name, value in rows}


def octets(value: object) -> bytes:
    """What was put in; nothing, where a damaged file has something else in its place."""
    return value if isinstance(value, bytes) else b""
