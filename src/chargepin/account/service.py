"""Chargers: claiming them for an account, listing and releasing them, and their audit."""

import asyncio
import os
from dataclasses import replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chargepin.account.ports import (
    Caller,
    Change,
    Charger,
    Clock,
    Custody,
    IssuedClaim,
    Membership,
    Notice,
    Record,
    Refused,
    Store,
    settled,
)
from chargepin.core import log
from chargepin.core.identity import Claim, IdentityError
from chargepin.core.messages import (
    AccessRole,
    Audit,
    AuditEntry,
    ChargerView,
    ClaimChallenge,
    ClaimRequest,
    Done,
    EventKind,
    ProblemCode,
    Registration,
)
from chargepin.core.messages import Chargers as ChargersView

CLAIM_S: Final = 3600
"""How long a charger's signature can be brought after it was asked for."""

_AUDIT_ENTRIES = 500


class Chargers:
    """The chargers of all accounts. root: the service's public key, which chargers pin."""

    def __init__(
        self, store: Store, custody: Custody, root: Ed25519PublicKey, clock: Clock
    ) -> None:
        self._store = store
        self._custody = custody
        self._root = root.public_bytes_raw()
        self._clock = clock

    async def mine(self, caller: Caller) -> ChargersView:
        now_s = self._clock.unix_s()
        views = []
        for charger in await self._store.chargers_of(caller.account_id):
            member = charger.member(caller.account_id)
            if member is not None and member.holds(now_s):
                views.append(charger.seen_by(member))
        return ChargersView(sorted(views, key=lambda view: (view.serial, view.id)))

    async def challenge(self, caller: Caller, request: ClaimRequest) -> ClaimChallenge:
        claim = IssuedClaim(
            account_id=caller.account_id,
            charger_id=request.identity,
            nonce=os.urandom(32),
            expires_unix_s=self._clock.unix_s() + CLAIM_S,
        )
        await self._store.commit(Change(self._clock.now(), new_claim=claim))
        return ClaimChallenge(claim.account_id, self._root.hex(), claim.nonce.hex())

    async def register(self, caller: Caller, registration: Registration) -> ChargerView:
        """Take a charger's signed claim. Bringing the same one again changes nothing."""
        claim = _claim_of(registration)
        if (claim.account, claim.root_key) != (caller.account_id, self._root):
            raise _invalid("was made for another account or another account service")

        async def attempt() -> ChargerView:
            before = await self._store.charger(registration.identity)
            if before is not None:
                if _is_the_same(before, claim):
                    return before.seen_by(before.owner)
                _expect_free(before, claim)
            issued = await self._store.claim(caller.account_id, registration.identity)
            now = self._clock.now()
            if issued is None or issued.nonce != claim.nonce or issued.expires_unix_s <= now.unix_s:
                raise _invalid("is too old or was used already")
            after = self._claimed(before, claim, caller, registration.name)
            record = Record(
                caller.account_id,
                "charger_claimed",
                {
                    "charger": after.charger_id,
                    "serial": after.serial,
                    "person": caller.person,
                    "incarnation": after.incarnation,
                    "generation": after.generation,
                },
            )
            await self._store.commit(
                Change(
                    now,
                    used_claim=issued,
                    before=before,
                    after=after,
                    records=(record, *_records_of_loss(before, after)),
                    notices=_notices_of_claim(before, after),
                )
            )
            return after.seen_by(after.owner)

        return await settled(attempt)

    async def release(self, caller: Caller, charger_id: str) -> Done:
        """End the claim: all access, and the passcodes in custody, are gone."""

        async def attempt() -> None:
            charger, _ = caller.into(await self._store.charger(charger_id), self._clock.unix_s())
            record = Record(
                charger.account_id,
                "charger_released",
                {"charger": charger_id, "serial": charger.serial, "person": caller.person},
            )
            await self._store.commit(
                Change(
                    self._clock.now(),
                    before=charger,
                    records=(record,),
                    notices=charger.notices(EventKind.CHARGER_RELEASED),
                )
            )

        await settled(attempt)
        return Done()

    async def audit(self, caller: Caller, charger_id: str) -> Audit:
        charger, _ = caller.into(await self._store.charger(charger_id), self._clock.unix_s())
        entries, head = await self._store.audit(charger.account_id)
        try:
            await asyncio.to_thread(_verify, entries, head)
        except log.LogBroken as broken:
            raise Refused(
                ProblemCode.STORAGE_FAILED,
                f"The audit was tampered with or damaged: {broken}. Tell whoever runs the service.",
            ) from broken
        about = [e for e in entries if e.detail.get("charger") == charger_id][-_AUDIT_ENTRIES:]
        return Audit(
            [AuditEntry(e.sequence, e.unix_s, e.event, e.detail) for e in about],
            head.sequence,
            head.hash.hex(),
        )

    def _claimed(self, before: Charger | None, claim: Claim, caller: Caller, name: str) -> Charger:
        """The charger as it is after the claim.

        A reset, seen by its higher incarnation, ended every passcode. Without one, a passcode
        older than what the charger says it has is of no use, and a newer one is still awaited.
        """
        owner = Membership(caller.account_id, caller.person, AccessRole.OWNER)
        if before is None or before.account_id != caller.account_id:
            return Charger(
                charger_id=claim.identity.hex(),
                account_id=caller.account_id,
                serial=claim.serial,
                name=name,
                incarnation=claim.incarnation,
                generation=claim.generation,
                rotate_past=0,
                wrapped_key=self._custody.new_key(),
                members=(owner,),
            )
        reset = claim.incarnation > before.incarnation
        kept = () if reset else before.passcodes
        return replace(
            before,
            serial=claim.serial,
            name=name or before.name,
            incarnation=claim.incarnation,
            generation=claim.generation,
            passcodes=tuple(p for p in kept if p.generation >= claim.generation),
        )


def _verify(entries: tuple[log.Entry, ...], head: log.Head) -> None:
    if log.verify(entries) != head:
        raise log.LogBroken(head.sequence, "the chain does not end where it was noted to end")


def _claim_of(registration: Registration) -> Claim:
    claim = Claim(
        identity=bytes.fromhex(registration.identity),
        serial=registration.serial,
        incarnation=registration.incarnation,
        generation=registration.generation,
        account=registration.account,
        root_key=bytes.fromhex(registration.root_key),
        nonce=bytes.fromhex(registration.nonce),
    )
    try:
        claim.verify(bytes.fromhex(registration.signature))
    except IdentityError as error:
        raise _invalid("was not signed by this charger") from error
    return claim


def _invalid(what: str) -> Refused:
    return Refused(
        ProblemCode.CLAIM_INVALID,
        f"The charger's claim {what}. Ask for a new claim and let the charger sign it.",
    )


def _is_the_same(charger: Charger, claim: Claim) -> bool:
    return (charger.account_id, charger.incarnation, charger.generation, charger.serial) == (
        claim.account,
        claim.incarnation,
        claim.generation,
        claim.serial,
    )


def _expect_free(charger: Charger, claim: Claim) -> None:
    """One claim at a time, ended by release or by a reset, which raises the incarnation."""
    if claim.incarnation > charger.incarnation:
        return
    if claim.account != charger.account_id:
        raise Refused(
            ProblemCode.CLAIMED_ELSEWHERE,
            "This charger belongs to another account. Its owner can erase it by `chargepin reset`;"
            " or hold its button for 10 seconds within two minutes of switching it on. Then claim"
            " it again.",
        )
    if claim.incarnation < charger.incarnation or claim.generation < charger.generation:
        raise _invalid("is older than what is known of this charger")


def _records_of_loss(before: Charger | None, after: Charger) -> tuple[Record, ...]:
    if before is None or before.account_id == after.account_id:
        return ()
    detail = {"charger": before.charger_id, "serial": before.serial, "person": None}
    return (Record(before.account_id, "charger_lost_by_reset", dict(detail)),)


def _notices_of_claim(before: Charger | None, after: Charger) -> tuple[Notice, ...]:
    granted = after.notices(EventKind.ACCESS_GRANTED, person=after.owner.person)
    if before is None:
        return granted
    if before.account_id != after.account_id:
        return (*before.notices(EventKind.CHARGER_RELEASED), *granted)
    return after.notices(EventKind.PASSCODE_CHANGED, generation=after.generation, state=after.state)
