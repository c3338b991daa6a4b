"""How a `Change` becomes rows: the SQL that writes, for one transaction that its caller opened."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, Protocol, TypeVar

import msgspec

from chargepin.account.ports import (
    Account,
    Change,
    Charger,
    IssuedClaim,
    Membership,
    Moment,
    Notice,
    Offer,
    Outdated,
    Record,
    SealedPasscode,
    Session,
    StorageFailed,
)
from chargepin.core import log

KEPT_EVENTS: Final = 1000
"""Per person; an app that was away for longer reads everything anew."""

_KEPT_CLAIMS = 16  # per account; the oldest challenge gives way

_Part = TypeVar("_Part", Membership, Offer, SealedPasscode)


class _Cursor(Protocol):
    @property
    def rowcount(self) -> int: ...

    def fetchone(self) -> Any: ...  # noqa: ANN401 -- as the database's driver has it


class Connection(Protocol):
    """The one method that is needed of a database connection."""

    def execute(self, sql: str, values: Sequence[Any] = ..., /) -> _Cursor: ...


def write_change(connection: Connection, change: Change) -> None:
    """Write every part. Raises Outdated if a condition fails; the caller undoes what was done."""
    now_s = change.at.unix_s
    if change.seen is not None:
        _expect_unchanged(connection, change.seen)
    if change.new_account is not None:
        _add_account(connection, change.new_account)
    if change.new_session is not None:
        _add_session(connection, change.new_session, now_s)
    if change.ended_session is not None:
        connection.execute(
            "DELETE FROM session WHERE token_hash = ?", (change.ended_session.token_hash,)
        )
    if change.new_claim is not None:
        _add_claim(connection, change.new_claim, now_s)
    if change.used_claim is not None:
        _use_claim(connection, change.used_claim)
    _write_charger(connection, change.before, change.after)
    for record in change.records:
        _append(connection, record, change.at)
    for notice in change.notices:
        _notify(connection, notice)


def _expect_unchanged(connection: Connection, charger: Charger) -> None:
    row = connection.execute(
        "SELECT version FROM charger WHERE charger_id = ?", (charger.charger_id,)
    ).fetchone()
    if row is None or row[0] != charger.version:
        raise Outdated


# ---- people ------------------------------------------------------------------------------------


def _add_account(connection: Connection, account: Account) -> None:
    connection.execute(
        "INSERT INTO account (account_id, person, created_unix_s, password) VALUES (?, ?, ?, ?)",
        (account.account_id, account.person, account.created_unix_s, account.password),
    )


def _add_session(connection: Connection, session: Session, now_s: int) -> None:
    connection.execute(
        "DELETE FROM session WHERE account_id = ? AND expires_unix_s <= ?",
        (session.account_id, now_s),
    )
    connection.execute(
        "INSERT INTO session (account_id, session_id, app, created_unix_s, expires_unix_s, "
        "token_hash) VALUES (?, ?, ?, ?, ?, ?)",
        (
            session.account_id,
            session.session_id,
            session.app,
            session.created_unix_s,
            session.expires_unix_s,
            session.token_hash,
        ),
    )


def _add_claim(connection: Connection, claim: IssuedClaim, now_s: int) -> None:
    connection.execute(
        "DELETE FROM claim WHERE account_id = ? AND expires_unix_s <= ?", (claim.account_id, now_s)
    )
    connection.execute(
        "INSERT OR REPLACE INTO claim (account_id, charger_id, nonce, expires_unix_s) "
        "VALUES (?, ?, ?, ?)",
        (claim.account_id, claim.charger_id, claim.nonce, claim.expires_unix_s),
    )
    connection.execute(
        "DELETE FROM claim WHERE account_id = ?1 AND charger_id NOT IN (SELECT charger_id "
        "FROM claim WHERE account_id = ?1 ORDER BY expires_unix_s DESC LIMIT ?2)",
        (claim.account_id, _KEPT_CLAIMS),
    )


def _use_claim(connection: Connection, claim: IssuedClaim) -> None:
    used = connection.execute(
        "DELETE FROM claim WHERE account_id = ? AND charger_id = ? AND nonce = ?",
        (claim.account_id, claim.charger_id, claim.nonce),
    )
    if used.rowcount != 1:
        raise Outdated


# ---- chargers ----------------------------------------------------------------------------------


def _write_charger(connection: Connection, before: Charger | None, after: Charger | None) -> None:
    if before is not None:
        _expect_unchanged(connection, before)
        # Rows that go, go first: a unique index counts what is there, not what shall be.
        _delete_parts(connection, before, after)
        if after is None:
            connection.execute("DELETE FROM charger WHERE charger_id = ?", (before.charger_id,))
    if after is not None:
        if before is None:
            _insert_charger(connection, after)
        else:
            _update_charger(connection, after)
        _insert_parts(connection, before, after)


def _insert_charger(connection: Connection, charger: Charger) -> None:
    connection.execute(
        "INSERT INTO charger (charger_id, account_id, serial, name, incarnation, generation, "
        "rotate_past, wrapped_key, version) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)",
        (
            charger.charger_id,
            charger.account_id,
            charger.serial,
            charger.name,
            charger.incarnation,
            charger.generation,
            charger.rotate_past,
            charger.wrapped_key,
        ),
    )


def _update_charger(connection: Connection, charger: Charger) -> None:
    connection.execute(
        "UPDATE charger SET account_id = ?, serial = ?, name = ?, incarnation = ?, "
        "generation = ?, rotate_past = ?, wrapped_key = ?, version = version + 1 "
        "WHERE charger_id = ?",
        (
            charger.account_id,
            charger.serial,
            charger.name,
            charger.incarnation,
            charger.generation,
            charger.rotate_past,
            charger.wrapped_key,
            charger.charger_id,
        ),
    )


def _delete_parts(connection: Connection, before: Charger, after: Charger | None) -> None:
    charger_id = before.charger_id
    for member in _lost(before.members, after.members if after else ()):
        connection.execute(
            "DELETE FROM member WHERE charger_id = ? AND account_id = ?",
            (charger_id, member.account_id),
        )
    for offer in _lost(before.offers, after.offers if after else ()):
        connection.execute(
            "DELETE FROM offer WHERE charger_id = ? AND secret_hash = ?",
            (charger_id, offer.secret_hash),
        )
    for passcode in _lost(before.passcodes, after.passcodes if after else ()):
        connection.execute(
            "DELETE FROM passcode WHERE charger_id = ? AND generation = ?",
            (charger_id, passcode.generation),
        )


def _insert_parts(connection: Connection, before: Charger | None, after: Charger) -> None:
    for member in _lost(after.members, before.members if before else ()):
        connection.execute(
            "INSERT INTO member (charger_id, account_id, role, until_unix_s) VALUES (?, ?, ?, ?)",
            (after.charger_id, member.account_id, member.role, member.until_unix_s),
        )
    for offer in _lost(after.offers, before.offers if before else ()):
        _insert_offer(connection, after.charger_id, offer)
    for passcode in _lost(after.passcodes, before.passcodes if before else ()):
        _insert_passcode(connection, after, passcode)


def _insert_offer(connection: Connection, charger_id: str, offer: Offer) -> None:
    connection.execute(
        "INSERT INTO offer (charger_id, secret_hash, person, role, made_by, until_unix_s, "
        "expires_unix_s) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            charger_id,
            offer.secret_hash,
            offer.person,
            offer.role,
            offer.made_by,
            offer.until_unix_s,
            offer.expires_unix_s,
        ),
    )


def _insert_passcode(connection: Connection, charger: Charger, passcode: SealedPasscode) -> None:
    connection.execute(
        "INSERT INTO passcode (charger_id, generation, account_id, state, salt, profile, sealed, "
        "passcode_tag, verifier_tag) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            charger.charger_id,
            passcode.generation,
            charger.account_id,
            passcode.state,
            passcode.salt,
            passcode.profile,
            passcode.sealed,
            passcode.passcode_tag,
            passcode.verifier_tag,
        ),
    )


def _lost(these: Iterable[_Part], those: Iterable[_Part]) -> list[_Part]:
    """What is in these and not in those, in the order of these."""
    kept = set(those)
    return [part for part in these if part not in kept]


# ---- audit and events --------------------------------------------------------------------------


def _audit_head(connection: Connection, account_id: str) -> log.Head:
    """Where an account's chain ends; what a damaged file has in its place is none."""
    match connection.execute(
        "SELECT audit_sequence, audit_hash FROM account WHERE account_id = ?", (account_id,)
    ).fetchone():
        case (int(sequence), bytes(digest)) if sequence >= 0 and len(digest) == len(log.EMPTY.hash):
            return log.Head(sequence, digest)
    raise StorageFailed("the head of an account's audit is damaged")


def _append(connection: Connection, record: Record, at: Moment) -> None:
    entry = log.append(
        _audit_head(connection, record.account_id),
        unix_s=at.unix_s,
        running_s=at.running_s,
        event=record.event,
        detail=record.detail,
    )
    connection.execute(
        "INSERT INTO audit (account_id, sequence, unix_s, running_s, event, detail, previous, "
        "hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            record.account_id,
            entry.sequence,
            entry.unix_s,
            entry.running_s,
            entry.event,
            msgspec.json.encode(entry.detail).decode(),
            entry.previous,
            entry.hash,
        ),
    )
    connection.execute(
        "UPDATE account SET audit_sequence = ?, audit_hash = ? WHERE account_id = ?",
        (entry.sequence, entry.hash, record.account_id),
    )


def _notify(connection: Connection, notice: Notice) -> None:
    connection.execute(
        "UPDATE account SET newest_event = newest_event + 1 WHERE account_id = ?",
        (notice.account_id,),
    )
    (event_id,) = connection.execute(
        "SELECT newest_event FROM account WHERE account_id = ?", (notice.account_id,)
    ).fetchone()
    connection.execute(
        "INSERT INTO event (account_id, event_id, kind, charger_id, generation, state, person) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            notice.account_id,
            event_id,
            notice.kind,
            notice.charger_id,
            notice.generation,
            notice.state,
            notice.person,
        ),
    )
    connection.execute(
        "DELETE FROM event WHERE account_id = ? AND event_id <= ?",
        (notice.account_id, event_id - KEPT_EVENTS),
    )
