"""Giving a charger its passcode without ever losing it: draw, keep as pending, set, receipt.

Only the charger's signed receipt makes a pending passcode active. When the answer is lost, the
next way in finds out by what the charger names (generation and salt) whether it took it.
"""

import asyncio
import hashlib
from collections.abc import Sequence

import msgspec

from chargepin.app.entering import Surroundings
from chargepin.app.errors import (
    AccountRefused,
    AccountUnreachable,
    ChangedElsewhere,
    ChargerRefused,
    IdentityMismatch,
    ProtocolError,
    UpdateNeeded,
)
from chargepin.app.ports import Candidate, Known
from chargepin.app.session import Session
from chargepin.core import handshake, identity
from chargepin.core.identity import Params
from chargepin.core.passcode import draw

PROFILE = 1


class Receipted(msgspec.Struct, frozen=True):
    """What the charger answers to a set: its receipt and the signature, in hex."""

    receipt: str
    signature: str


async def assign(
    serial: str,
    session: Session,
    params: Params,
    surroundings: Surroundings,
    *,
    keep: Sequence[str] | None = None,
    first: bool,
) -> Candidate:
    """Set the first passcode or, with first False, rotate it; returns it once it is active.

    keep: with a rotation, the bonds that live on; None keeps all. Raises ChangedElsewhere when
    another app was quicker, LinkLost with may_have_happened when the answer was lost: the pending
    passcode is kept, and the next connection finds out.
    """
    wanted = params.generation + 1
    pending = await _pending(serial, params, surroundings, wanted)
    witness = await asyncio.to_thread(
        handshake.passcode_witness, pending.code, params.identity, pending.salt, pending.profile
    )
    verifier = handshake.verifier_of(witness)
    token = pending.owner_token
    wish: dict[str, object] = {
        "generation": wanted,
        "verifier": verifier.encode().hex(),
        "salt": pending.salt.hex(),
        "profile": pending.profile,
        "owner_token_hash": hashlib.sha256(token).hexdigest() if token else None,
    }
    if not first:
        wish["keep"] = None if keep is None else list(keep)
    try:
        value = await session.request("passcode.set" if first else "passcode.rotate", wish)
        given = msgspec.convert(value, Receipted)
    except ChargerRefused as refused:
        if refused.refusal in ("changed_elsewhere", "already_set"):
            raise ChangedElsewhere(
                "Somebody else set the passcode a moment ago. It is unchanged; connect again."
            ) from refused
        raise
    except msgspec.ValidationError as error:
        raise ProtocolError("The charger's receipt is malformed.") from error
    _check(given, params, pending, verifier)
    return await activated(serial, params, pending, given, surroundings)


async def activated(
    serial: str,
    params: Params,
    pending: Candidate,
    given: Receipted,
    surroundings: Surroundings,
) -> Candidate:
    """Keep a passcode as active and hand its receipt to the account; the receipt was checked."""
    active = msgspec.structs.replace(pending, state="active")
    receipt = identity.Receipt.decode(bytes.fromhex(given.receipt))

    def kept(known: Known) -> Known:
        return msgspec.structs.replace(
            known,
            identity=params.identity,
            incarnation=params.incarnation,
            generation=active.generation,
            protected=True,
            candidates=(active,),
            undelivered=(given.receipt, given.signature),
            tries={},
            log_receipt=receipt.log_head,
        )

    surroundings.vault.update(serial, kept)
    await deliver(serial, surroundings)
    return active


async def deliver(serial: str, surroundings: Surroundings) -> None:
    """Hand over a receipt that the account has yet to get; it is kept until that succeeds."""
    known = surroundings.vault.get(serial)
    if known is None or known.undelivered is None or surroundings.account is None:
        return
    if known.identity is None:
        return
    try:
        await surroundings.account.deliver(known.identity.hex(), *known.undelivered)
    except (AccountUnreachable, UpdateNeeded) as error:
        if surroundings.prompt is not None:
            surroundings.prompt.tell(f"{error} The receipt is kept and delivered later.")
        return
    except AccountRefused as error:
        if surroundings.prompt is not None:
            surroundings.prompt.tell(f"The account did not take the charger's receipt: {error}")
        if error.refusal == "not_signed_in":
            return  # it will take it after the next sign-in
    surroundings.vault.update(
        serial, lambda known: msgspec.structs.replace(known, undelivered=None)
    )


async def settle(serial: str, session: Session, params: Params, surroundings: Surroundings) -> None:
    """After a lost answer: if a pending passcode turned out to be the charger's, finish its set."""
    known = surroundings.vault.get(serial)
    if known is None:
        return
    pending = next(
        (
            c
            for c in known.candidates
            if c.state == "pending" and (c.generation, c.salt) == (params.generation, params.salt)
        ),
        None,
    )
    if pending is None:
        await deliver(serial, surroundings)
        return
    given = msgspec.convert(await session.request("passcode.receipt"), Receipted)
    witness = await asyncio.to_thread(
        handshake.passcode_witness, pending.code, params.identity, pending.salt, pending.profile
    )
    _check(given, params, pending, handshake.verifier_of(witness))
    await activated(serial, params, pending, given, surroundings)


async def _pending(
    serial: str,
    params: Params,
    surroundings: Surroundings,
    wanted: int,
) -> Candidate:
    """The passcode to set, safely kept before anything is sent."""
    pending = None
    if surroundings.account is not None:
        charger_id = params.identity.hex()
        pending = await surroundings.account.assign(charger_id, params.generation)
    if pending is None:
        known = surroundings.vault.get(serial) or Known(serial)
        pending = next(
            (c for c in known.candidates if c.state == "pending" and c.generation == wanted), None
        )
    if pending is None:
        code = draw(surroundings.randbelow)
        pending = Candidate(wanted, surroundings.random(16), code.digits, "pending", PROFILE)
    if pending.owner_token is None:
        pending = msgspec.structs.replace(pending, owner_token=surroundings.random(32))
    chosen = pending

    def kept(known: Known) -> Known:
        others = tuple(c for c in known.candidates if c.generation != wanted)
        return msgspec.structs.replace(known, candidates=(*others, chosen))

    surroundings.vault.update(serial, kept)
    return chosen


def _check(
    given: Receipted, params: Params, pending: Candidate, verifier: handshake.Verifier
) -> None:
    """The receipt must be this charger's, for this passcode."""
    try:
        receipt = identity.Receipt.decode(bytes.fromhex(given.receipt))
        receipt.verify(bytes.fromhex(given.signature))
    except (identity.IdentityError, ValueError) as error:
        raise IdentityMismatch(
            "The charger's receipt is not signed by it. The new passcode is kept as pending.",
            may_have_happened=True,
        ) from error
    expected = identity.verifier_hash(verifier, pending.salt, pending.profile)
    if (
        receipt.identity != params.identity
        or receipt.incarnation != params.incarnation
        or receipt.generation != pending.generation
        or receipt.verifier_hash != expected
    ):
        raise IdentityMismatch(
            "The charger's receipt is for something else. The new passcode is kept as pending.",
            may_have_happened=True,
        )
