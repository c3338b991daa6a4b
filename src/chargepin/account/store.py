"""The account service's records in one SQLite file, for one process.

Reads are points by key and run where they are asked, on the event loop: each takes microseconds.
Writes go to one thread that commits whatever has gathered as one transaction, each change in a
savepoint of its own: many changes share one sync of the disk, and each is answered only after it.
"""

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from chargepin.account.changes import write_change
from chargepin.account.opening import locked, opened
from chargepin.account.ports import (
    Account,
    Change,
    Charger,
    IssuedClaim,
    Membership,
    Moment,
    Offer,
    Outdated,
    SealedPasscode,
    Session,
    StorageFailed,
)
from chargepin.core import log
from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.messages import AccessRole, Event, PasscodeState
from chargepin.machine.database import writing

_BATCH: Final = 256
_Row: TypeAlias = tuple[Any, ...]
_Listener: TypeAlias = Callable[[frozenset[str]], None]


@dataclass(frozen=True, slots=True)
class _Job:
    change: Change
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class SQLiteStore:
    """Implements the port Store."""

    def __init__(self, path: Path, listener: _Listener) -> None:
        """Open or make the file. listener is told, on the loop, whose events or sessions changed.

        Raises ServiceCannotStart, saying what to do.
        """
        self._path = path
        self._listener = listener
        self._lock = locked(path)
        try:
            self._writer = opened(path)
            self._reader = opened(path)
        except BaseException:
            os.close(self._lock)
            raise
        self._closed = False
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        # A daemon: a program that fails before `close` must end; what is not answered may be lost.
        self._thread = threading.Thread(
            target=self._write_forever, name="account-writer", daemon=True
        )
        self._thread.start()

    def close(self) -> None:
        """Write what is queued, then close; afterwards everything raises StorageFailed."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join()
        self._reader.close()
        self._writer.close()
        os.close(self._lock)

    async def check(self) -> None:
        """Go once through both threads. Raises StorageFailed."""
        await self.newest_event("")
        await self.commit(Change(Moment(0, 0.0)))

    # ---- settings, at start only ---------------------------------------------------------------

    def setting(self, name: str) -> bytes | None:
        row = self._row("SELECT value FROM setting WHERE name = ?", name)
        return bytes(row[0]) if row else None

    def keep_setting(self, name: str, value: bytes) -> None:
        with writing(self._writer) as connection:
            connection.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", (name, value))

    # ---- reads ---------------------------------------------------------------------------------

    async def account(self, person: str) -> Account | None:
        row = self._row(
            "SELECT account_id, person, created_unix_s, password FROM account WHERE person = ?",
            person,
        )
        return Account(*row) if row else None

    async def session(self, token_hash: bytes) -> Session | None:
        row = self._row(
            "SELECT account_id, person, session_id, app, s.created_unix_s, expires_unix_s, "
            "token_hash FROM session s JOIN account USING (account_id) WHERE token_hash = ?",
            token_hash,
        )
        return Session(*row) if row else None

    async def sessions(self, account_id: str) -> tuple[Session, ...]:
        rows = self._rows(
            "SELECT account_id, person, session_id, app, s.created_unix_s, expires_unix_s, "
            "token_hash FROM session s JOIN account USING (account_id) WHERE account_id = ? "
            "ORDER BY s.created_unix_s, session_id",
            account_id,
        )
        return tuple(Session(*row) for row in rows)

    async def claim(self, account_id: str, charger_id: str) -> IssuedClaim | None:
        row = self._row(
            "SELECT account_id, charger_id, nonce, expires_unix_s FROM claim "
            "WHERE account_id = ? AND charger_id = ?",
            account_id,
            charger_id,
        )
        return IssuedClaim(*row) if row else None

    async def charger(self, charger_id: str) -> Charger | None:
        with self._snapshot():
            return self._charger(charger_id)

    async def chargers_of(self, account_id: str) -> tuple[Charger, ...]:
        with self._snapshot():
            rows = self._rows("SELECT charger_id FROM member WHERE account_id = ?", account_id)
            found = [self._charger(row[0]) for row in rows]
        return tuple(charger for charger in found if charger is not None)

    async def charger_offering(self, secret_hash: bytes) -> Charger | None:
        with self._snapshot():
            row = self._row("SELECT charger_id FROM offer WHERE secret_hash = ?", secret_hash)
            return self._charger(row[0]) if row else None

    async def newest_event(self, account_id: str) -> int:
        row = self._row("SELECT newest_event FROM account WHERE account_id = ?", account_id)
        return int(row[0]) if row else 0

    async def events(self, account_id: str, after: int, limit: int) -> tuple[Event, ...]:
        rows = self._rows(
            "SELECT event_id, kind, charger_id, generation, state, person FROM event "
            "WHERE account_id = ? AND event_id > ? ORDER BY event_id LIMIT ?",
            account_id,
            after,
            limit,
        )
        return tuple(Event(*row) for row in rows)

    async def audit(self, account_id: str) -> tuple[tuple[log.Entry, ...], log.Head]:
        # As long as the account is old: off the loop, and on a connection of its own.
        return await asyncio.to_thread(_read_audit, self._path, account_id)

    # ---- writes --------------------------------------------------------------------------------

    async def commit(self, change: Change) -> None:
        if self._closed:
            raise StorageFailed("the store is closed")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._jobs.put(_Job(change, loop, done))
        await done

    def _write_forever(self) -> None:
        open_ = True
        while open_:
            batch: list[_Job] = []
            job = self._jobs.get()
            while job is not None:
                batch.append(job)
                if len(batch) == _BATCH or self._jobs.empty():
                    break
                job = self._jobs.get()
            open_ = job is not None
            if batch:
                self._write(batch)

    def _write(self, batch: list[_Job]) -> None:
        begun = False
        try:
            with writing(self._writer):
                begun = True
                outcomes = [self._try(job.change) for job in batch]
        except sqlite3.Error as error:
            if begun and len(batch) > 1:  # one may be the cause: the others must not suffer
                for job in batch:
                    self._write([job])
                return
            outcomes = [StorageFailed(f"the database cannot be written ({_why(error)})")]
        for job, outcome in zip(batch, outcomes, strict=True):
            with contextlib.suppress(RuntimeError):  # its loop may have ended
                job.loop.call_soon_threadsafe(self._answer, job, outcome)

    def _try(self, change: Change) -> Exception | None:
        """Write one change in its savepoint; what it cannot do is undone and returned."""
        self._writer.execute("SAVEPOINT one")
        outcome: Exception | None = None
        try:
            write_change(self._writer, change)
        except (Outdated, sqlite3.IntegrityError):
            outcome = Outdated()
        except StorageFailed as error:
            outcome = error
        except (ValueError, TypeError, OverflowError) as error:
            outcome = error
        if outcome is not None:
            self._writer.execute("ROLLBACK TO one")
        self._writer.execute("RELEASE one")
        return outcome

    def _answer(self, job: _Job, outcome: Exception | None) -> None:
        if outcome is None:
            self._listener(_concerned(job.change))
        if job.done.cancelled():
            return
        if outcome is None:
            job.done.set_result(None)
        else:
            job.done.set_exception(outcome)

    # ---- rows ----------------------------------------------------------------------------------

    def _rows(self, sql: str, *values: object) -> list[_Row]:
        try:
            return self._reader.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StorageFailed(f"the database cannot be read ({_why(error)})") from None

    def _row(self, sql: str, *values: object) -> _Row | None:
        rows = self._rows(sql, *values)
        return rows[0] if rows else None

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """All reads of the block see the same state."""
        self._rows("BEGIN")
        try:
            yield
        finally:
            self._rows("COMMIT")

    def _charger(self, charger_id: str) -> Charger | None:
        row = self._row(
            "SELECT account_id, serial, name, incarnation, generation, rotate_past, "
            "wrapped_key, version FROM charger WHERE charger_id = ?",
            charger_id,
        )
        if row is None:
            return None
        members = self._rows(
            "SELECT account_id, person, role, until_unix_s FROM member JOIN account "
            "USING (account_id) WHERE charger_id = ? ORDER BY person",
            charger_id,
        )
        offers = self._rows(
            "SELECT secret_hash, person, role, made_by, until_unix_s, expires_unix_s FROM offer "
            "WHERE charger_id = ? ORDER BY expires_unix_s, secret_hash",
            charger_id,
        )
        passcodes = self._rows(
            "SELECT generation, state, salt, profile, sealed, passcode_tag, verifier_tag "
            "FROM passcode WHERE charger_id = ? ORDER BY generation",
            charger_id,
        )
        (owner_id, serial, name, incarnation, generation, rotate_past, wrapped_key, version) = row
        return Charger(
            charger_id=charger_id,
            account_id=owner_id,
            serial=serial,
            name=name,
            incarnation=incarnation,
            generation=generation,
            rotate_past=rotate_past,
            wrapped_key=wrapped_key,
            members=tuple(Membership(a, p, AccessRole(r), until) for a, p, r, until in members),
            offers=tuple(Offer(h, p, AccessRole(r), *rest) for h, p, r, *rest in offers),
            passcodes=tuple(
                SealedPasscode(generation, PasscodeState(state), *rest)
                for generation, state, *rest in passcodes
            ),
            version=version,
        )


def _concerned(change: Change) -> frozenset[str]:
    ended = {change.ended_session.account_id} if change.ended_session else set()
    return frozenset({notice.account_id for notice in change.notices} | ended)


def _why(error: sqlite3.Error) -> str:
    """What SQLite says; Python's own messages quote the value that they could not decode."""
    return str(error) if hasattr(error, "sqlite_errorname") else "a value in it is damaged"


def _read_audit(path: Path, account_id: str) -> tuple[tuple[log.Entry, ...], log.Head]:
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(connection):
            connection.execute("BEGIN")
            head = connection.execute(
                "SELECT audit_sequence, audit_hash FROM account WHERE account_id = ?",
                (account_id,),
            ).fetchone()
            rows = connection.execute(
                "SELECT sequence, unix_s, running_s, event, detail, previous, hash FROM audit "
                "WHERE account_id = ? ORDER BY sequence",
                (account_id,),
            ).fetchall()
    except sqlite3.Error as error:
        raise StorageFailed(f"the database cannot be read ({_why(error)})") from None
    return tuple(map(_entry, rows)), log.Head(*head) if head else log.EMPTY


def _entry(row: _Row) -> log.Entry:
    sequence, unix_s, running_s, event, detail, previous, digest = row
    try:
        content = decoded(detail, log.Detail)
    except Undecodable:
        content = {"unreadable": True}  # the chain then shows that it was changed
    return log.Entry(sequence, unix_s, running_s, event, content, previous, digest)
