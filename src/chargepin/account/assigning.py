"""A passcode's life in the account: drawn, pending, active by the charger's receipt, dropped."""

import os
import secrets
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from msgspec import UNSET

from chargepin.account.passwords import SlowWork
from chargepin.account.ports import (
    MAY_READ_PASSCODE,
    Caller,
    Change,
    Charger,
    Clock,
    Custody,
    Record,
    Refused,
    SealedPasscode,
    Store,
    settled,
)
from chargepin.core.handshake import PROFILE, SALT_BYTES, passcode_witness, verifier_of
from chargepin.core.identity import IdentityError, Receipt, verifier_hash
from chargepin.core.messages import (
    AssignRequest,
    ChargerView,
    EventKind,
    KeptPasscode,
    Passcodes,
    PasscodeState,
    ProblemCode,
    ReceiptDelivery,
)
from chargepin.core.passcode import Passcode, draw

_OWNER_TOKEN_BYTES: Final = 32
_GENERATION_MAX: Final = 2**32 - 1


class Assigning:
    """Draws passcodes and follows them until the charger has them. randbelow: as secrets has it."""

    def __init__(
        self,
        store: Store,
        custody: Custody,
        slow: SlowWork,
        clock: Clock,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._store = store
        self._custody = custody
        self._slow = slow
        self._clock = clock
        self._randbelow = randbelow

    async def read(self, caller: Caller, charger_id: str) -> Passcodes:
        return Passcodes(list(await self._custody.reveal(caller, charger_id, "shown")))

    async def assign(self, caller: Caller, charger_id: str, request: AssignRequest) -> KeptPasscode:
        """Draw the passcode that follows the charger's, or give the one that is pending already.

        It stays pending, beside the active one, until the charger's receipt is delivered. Asking
        again is safe after any failure.
        """
        if request.passcode is not UNSET:
            raise Refused(
                ProblemCode.ASSIGNED_FOR_YOU,
                "A passcode cannot be chosen: it is assigned for you. Leave it out.",
            )
        if request.identity not in {None, charger_id}:
            raise Refused(
                ProblemCode.MALFORMED, "The identity in the request is not this charger's."
            )

        async def attempt() -> None:
            charger, _ = caller.into(await self._store.charger(charger_id), self._clock.unix_s())
            _expect_generation(charger, request.expected_generation)
            if _kept(charger, charger.generation + 1) is None:
                await self._draw(caller, charger)

        await settled(attempt)
        wanted = request.expected_generation + 1
        for kept in await self._custody.reveal(caller, charger_id, "assigned", wanted):
            return kept
        raise Refused(
            ProblemCode.CHANGED, "The charger was claimed anew meanwhile. Look at it again."
        )

    async def receive(
        self, caller: Caller, charger_id: str, delivery: ReceiptDelivery
    ) -> ChargerView:
        """Make the passcode active that the charger says it has; older ones are dropped.

        Whoever brings it, the receipt is the charger's own word. Bringing it again is no error.
        """
        receipt = _receipt_of(charger_id, delivery)

        async def attempt() -> ChargerView:
            charger, member = caller.into(
                await self._store.charger(charger_id), self._clock.unix_s()
            )
            kept = self._received(charger, receipt)
            if kept.state is PasscodeState.ACTIVE:
                return charger.seen_by(member)
            newer = tuple(p for p in charger.passcodes if p.generation > kept.generation)
            after = replace(
                charger,
                generation=kept.generation,
                passcodes=(replace(kept, state=PasscodeState.ACTIVE), *newer),
            )
            record = _record(
                "passcode_active",
                charger,
                caller,
                kept.generation,
                bonds=receipt.bonds,
                charger_log=receipt.log_head.hex(),
            )
            await self._commit(charger, after, record, kept.generation, PasscodeState.ACTIVE)
            return after.seen_by(member)

        return await settled(attempt)

    async def _draw(self, caller: Caller, charger: Charger) -> None:
        """Store a new pending passcode. Raises Outdated if the account has it elsewhere already."""
        passcode = draw(self._randbelow)
        generation = charger.generation + 1
        salt = os.urandom(SALT_BYTES)
        hashed = await self._slow.run(_verifier_hash, passcode, charger.identity, salt)
        pending = SealedPasscode(
            generation=generation,
            state=PasscodeState.PENDING,
            salt=salt,
            profile=PROFILE,
            sealed=self._custody.seal(
                charger, generation, passcode.digits, os.urandom(_OWNER_TOKEN_BYTES)
            ),
            passcode_tag=self._custody.passcode_tag(charger.account_id, passcode.digits),
            verifier_tag=self._custody.verifier_tag(charger, hashed),
        )
        after = replace(charger, passcodes=(*charger.passcodes, pending))
        record = _record("passcode_assigned", charger, caller, generation)
        await self._commit(charger, after, record, generation, PasscodeState.PENDING)

    def _received(self, charger: Charger, receipt: Receipt) -> SealedPasscode:
        """The passcode that the receipt is about. Raises Refused."""
        if receipt.incarnation != charger.incarnation:
            raise Refused(
                ProblemCode.CHANGED,
                "The charger was reset since it was claimed. Claim it again.",
            )
        kept = _kept(charger, receipt.generation)
        if kept is None:
            raise Refused(
                ProblemCode.CHANGED,
                f"The account has no passcode of generation {receipt.generation} for this "
                "charger. If somebody set one without the account, claim the charger again.",
            )
        if self._custody.verifier_tag(charger, receipt.verifier_hash) != kept.verifier_tag:
            raise Refused(
                ProblemCode.CHANGED,
                "The charger has another passcode than the account assigned: somebody set it "
                "without the account. Claim the charger again, then assign a new one.",
            )
        return kept

    async def _commit(
        self,
        before: Charger,
        after: Charger,
        record: Record,
        generation: int,
        state: PasscodeState,
    ) -> None:
        notices = after.notices(
            EventKind.PASSCODE_CHANGED, MAY_READ_PASSCODE, generation=generation, state=state
        )
        await self._store.commit(
            Change(
                self._clock.now(), before=before, after=after, records=(record,), notices=notices
            )
        )


def _expect_generation(charger: Charger, expected: int) -> None:
    if expected == charger.generation and expected < _GENERATION_MAX:
        return
    message = f"The account knows generation {charger.generation} of this charger's passcode, "
    if _kept(charger, expected) is not None:
        message += "and awaits the charger's receipt for the next. Deliver it first."
    else:
        message += f"not {expected}. Look again; if the charger says so, claim it again."
    raise Refused(ProblemCode.CHANGED, message)


def _kept(charger: Charger, generation: int) -> SealedPasscode | None:
    return next((p for p in charger.passcodes if p.generation == generation), None)


def _receipt_of(charger_id: str, delivery: ReceiptDelivery) -> Receipt:
    receipt: Receipt | None
    try:
        receipt = Receipt.decode(bytes.fromhex(delivery.receipt))
        receipt.verify(bytes.fromhex(delivery.signature))
    except IdentityError:
        receipt = None
    if receipt is None or receipt.identity.hex() != charger_id:
        raise Refused(
            ProblemCode.RECEIPT_INVALID, "This is no receipt that the charger has signed."
        )
    return receipt


def _verifier_hash(passcode: Passcode, identity: bytes, salt: bytes) -> bytes:
    """What a receipt will name; as slow as the slow hash."""
    verifier = verifier_of(passcode_witness(passcode, identity, salt, PROFILE))
    return verifier_hash(verifier, salt, PROFILE)


def _record(
    event: str, charger: Charger, caller: Caller, generation: int, **more: str | int
) -> Record:
    return Record(
        charger.account_id,
        event,
        {
            "charger": charger.charger_id,
            "person": caller.person,
            "generation": generation,
            **more,
        },
    )
