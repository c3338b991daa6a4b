"""The security log's rows in the charger's database: appended, and trimmed when there are too many.

All of it happens inside the transaction that stores the state.
"""

import sqlite3
from collections.abc import Sequence

import msgspec

from chargepin.core import log, log_summary
from chargepin.core.decoding import decoded
from chargepin.core.guard_state import Entry
from chargepin.core.log_events import CLEARED, TRIMMED
from chargepin.core.log_summary import Summary

_CARRIER = "log_summary"
"""Names the sequence of the entry that carries the last summary."""


class LogRows:
    """What is known of the rows without reading them.

    entries_kept: how long the unbroken chain may be. trimmed_at_once: how many of its entries go
    when it is longer. head: the newest entry. summary: the last one; see core.log_summary.
    """

    def __init__(self, entries_kept: int, trimmed_at_once: int) -> None:
        self._entries_kept = entries_kept
        self._trimmed_at_once = trimmed_at_once
        self.head = log.EMPTY
        self.summary = Summary()

    def copy(self) -> "LogRows":
        """For a transaction that may fail."""
        copied = LogRows(self._entries_kept, self._trimmed_at_once)
        copied.head, copied.summary = self.head, self.summary
        return copied

    def read(self, connection: sqlite3.Connection) -> None:
        """Look at what is there. Raises sqlite3.Error, Undecodable or LogBroken for nonsense."""
        newest = _decoded(
            connection.execute("SELECT entry FROM log ORDER BY sequence DESC LIMIT 1").fetchall()
        )
        self.head = newest[0].head if newest else log.EMPTY
        carrier = connection.execute(
            "SELECT entry FROM log JOIN kept ON sequence = CAST(value AS INTEGER) WHERE name = ?",
            (_CARRIER,),
        ).fetchall()
        self.summary = log_summary.summary_in(_decoded(carrier)[0]) if carrier else Summary()

    def write(
        self,
        connection: sqlite3.Connection,
        entries: Sequence[Entry],
        unix_s: int,
        running_s: float,
        *,
        clear: bool = False,
    ) -> None:
        """Append entries. clear: what is there goes first, but for evidence that names nobody."""
        lines = list(entries)
        carrier = None
        if clear and self.head.sequence:
            self._take_out(connection, self.head.sequence, reset=True)
            lines.insert(0, carrier := Entry(CLEARED, self.summary.detail()))
        elif self._length + len(lines) > self._entries_kept:
            self._take_out(connection, self.summary.begins.sequence + self._trimmed_at_once)
            lines.append(carrier := Entry(TRIMMED, self.summary.detail()))
        for entry in lines:
            line = log.append(
                self.head,
                unix_s=unix_s,
                running_s=running_s,
                event=entry.event,
                detail=entry.detail,
            )
            row = (line.sequence, msgspec.json.encode(line))
            connection.execute("INSERT INTO log VALUES (?, ?)", row)
            self.head = line.head
            if entry is carrier:
                known = (_CARRIER, str(line.sequence).encode())
                connection.execute("INSERT OR REPLACE INTO kept VALUES (?, ?)", known)

    @property
    def _length(self) -> int:
        return self.head.sequence - self.summary.begins.sequence

    def _take_out(self, connection: sqlite3.Connection, last: int, *, reset: bool = False) -> None:
        """Take the chain out up to an entry, leaving the evidence."""
        begins = self.summary.begins.sequence
        old = _decoded(
            connection.execute(
                "SELECT entry FROM log WHERE sequence <= ? ORDER BY sequence", (last,)
            ).fetchall()
        )
        evidence = [entry for entry in old if entry.sequence <= begins]
        leaving = old[len(evidence) :]
        self.summary, kept = log_summary.summarized(self.summary, evidence, leaving, reset=reset)
        staying = {entry.sequence for entry in kept}
        gone = [(entry.sequence,) for entry in old if entry.sequence not in staying]
        connection.executemany("DELETE FROM log WHERE sequence = ?", gone)


def _decoded(rows: Sequence[tuple[bytes]]) -> list[log.Entry]:
    return [decoded(row[0], log.Entry) for row in rows]
