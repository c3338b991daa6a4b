"""The security log's rows in the charger's database: appended, and trimmed when there are too many.

All of it happens inside the transaction that stores the state. A log that is found damaged, at
start or when it is trimmed, stops nothing: the next entry puts it into a file as it is, and a new
chain goes on behind the head that was known.
"""

import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from chargepin.charger.kept_rows import StateDamaged, octets
from chargepin.core import log, log_summary
from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.guard_state import Entry
from chargepin.core.log import LogBroken
from chargepin.core.log_events import CLEARED, DAMAGED, TRIMMED
from chargepin.core.log_summary import Summary

SCHEMA = "CREATE TABLE IF NOT EXISTS log (sequence INTEGER PRIMARY KEY, entry BLOB NOT NULL)"

_NONE_KNOWN = bytes(32)


class LogRows:
    """What is known of the rows without reading them.

    entries_kept: how long the unbroken chain may be. trimmed_at_once: how many of its entries go
    when it is longer. keep_aside: puts a damaged log into a file, and gives the file's name; it may
    be told the same twice. head: the newest entry. summary: the last one; see core.log_summary.
    damage: what was found wrong, until it is mended. kept_as: where it is kept already, if it is.
    """

    def __init__(
        self, entries_kept: int, trimmed_at_once: int, keep_aside: Callable[[bytes], str]
    ) -> None:
        self._entries_kept = entries_kept
        self._trimmed_at_once = trimmed_at_once
        self._keep_aside = keep_aside
        self.head = log.EMPTY
        self.summary = Summary()
        self.damage: str | None = None
        self.kept_as: str | None = None

    def copy(self) -> "LogRows":
        """For a transaction that may fail."""
        copied = LogRows(self._entries_kept, self._trimmed_at_once, self._keep_aside)
        copied.head, copied.summary = self.head, self.summary
        copied.damage, copied.kept_as = self.damage, self.kept_as
        return copied

    def read(self, connection: sqlite3.Connection, known: log.Head | None) -> None:
        """Look at what is there; known: the head that the state names, if it names one.

        Raises StateDamaged for a state that is older than its log, or sqlite3.Error.
        """
        rows = _rows(connection)
        try:
            checked = log_summary.check([entry_in(*row) for row in rows])
        except LogBroken as broken:
            self.damage = str(broken)
            self.head = known or _newest(rows)
            return
        self.head, self.summary = checked.head, checked.summary
        if known is None or known == checked.head:
            return
        if checked.head.sequence > known.sequence:
            raise StateDamaged("it is older than its log")
        self.damage = str(LogBroken(checked.head.sequence + 1, "what follows is not there"))
        self.head = known

    def write(
        self,
        connection: sqlite3.Connection,
        entries: Sequence[Entry],
        unix_s: int,
        running_s: float,
        *,
        clear: bool = False,
    ) -> None:
        """Append entries. clear: what is there goes first, but for evidence that names nobody.

        Raises LogBroken if what would be summed up is damaged, or where the next entry belongs;
        OSError if a damaged log cannot be kept aside.
        """

        def append(entry: Entry) -> None:
            line = log.append(
                self.head,
                unix_s=unix_s,
                running_s=running_s,
                event=entry.event,
                detail=entry.detail,
            )
            row = (line.sequence, msgspec.json.encode(line))
            try:
                connection.execute("INSERT INTO log VALUES (?, ?)", row)
            except sqlite3.IntegrityError as error:
                raise LogBroken(line.sequence, "something stands in its place") from error
            self.head = line.head

        if self.damage is not None:
            append(self._begun_anew(connection, self.damage))
        full = False
        if clear and self.head.sequence:
            self._take_out(connection, self.head.sequence, reset=True)
            append(Entry(CLEARED, self.summary.detail()))
        elif full := self._length + len(entries) > self._entries_kept:
            self._take_out(connection, self.summary.begins.sequence + self._trimmed_at_once)
        for entry in entries:
            append(entry)
        if full:
            append(Entry(TRIMMED, self.summary.detail()))

    @property
    def _length(self) -> int:
        return self.head.sequence - self.summary.begins.sequence

    def _begun_anew(self, connection: sqlite3.Connection, damage: str) -> Entry:
        """Put everything aside; gives the entry that says so."""
        lines = (b"%d %s\n" % (sequence, entry) for sequence, entry in _rows(connection))
        aside = self.kept_as or self._keep_aside(b"".join(lines))
        connection.execute("DELETE FROM log")
        self.summary, self.damage, self.kept_as = Summary(begins=self.head), None, None
        return Entry(DAMAGED, {**self.summary.detail(), "kept_aside_as": aside, "found": damage})

    def _take_out(self, connection: sqlite3.Connection, last: int, *, reset: bool = False) -> None:
        """Take the chain out up to an entry, leaving the evidence."""
        begins = self.summary.begins.sequence
        old = [entry_in(*row) for row in _rows(connection, last)]
        evidence = [entry for entry in old if entry.sequence <= begins]
        leaving = old[len(evidence) :]
        self.summary, kept = log_summary.summarized(self.summary, evidence, leaving, reset=reset)
        if self.summary.begins.sequence != last:
            raise LogBroken(self.summary.begins.sequence + 1, "what follows is not there")
        staying = {entry.sequence for entry in kept}
        gone = [(entry.sequence,) for entry in old if entry.sequence not in staying]
        connection.executemany("DELETE FROM log WHERE sequence = ?", gone)


def entry_in(sequence: int, raw: bytes) -> log.Entry:
    """Read the row at a sequence. Raises LogBroken."""
    try:
        entry = decoded(raw, log.Entry)
    except Undecodable as error:
        raise LogBroken(sequence, "it cannot be read") from error
    if entry.sequence != sequence:
        raise LogBroken(sequence, f"entry {entry.sequence} stands in its place")
    return entry


def _rows(connection: sqlite3.Connection, last: int = 2**63 - 1) -> list[tuple[int, bytes]]:
    rows = connection.execute(
        "SELECT sequence, entry FROM log WHERE sequence <= ? ORDER BY sequence", (last,)
    )
    return [(sequence, octets(entry)) for sequence, entry in rows.fetchall()]


def _newest(rows: Sequence[tuple[int, bytes]]) -> log.Head:
    """Where a damaged log ended, as far as it says so itself."""
    if not rows:
        return log.EMPTY
    sequence, raw = rows[-1]
    try:
        return entry_in(sequence, raw).head
    except LogBroken:
        return log.Head(max(0, sequence), _NONE_KNOWN)
