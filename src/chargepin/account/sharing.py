"""Access for others: who has it, inviting, accepting, removing."""

import hashlib
import secrets
from dataclasses import replace
from typing import Final

from chargepin.account.names import normal_person
from chargepin.account.ports import (
    MANAGING,
    Caller,
    Change,
    Charger,
    Clock,
    Membership,
    Notice,
    Offer,
    Record,
    Refused,
    Store,
    settled,
)
from chargepin.core.messages import (
    Acceptance,
    AccessRole,
    ChargerView,
    Done,
    EventKind,
    Invitation,
    InvitationRequest,
    Member,
    Members,
    ProblemCode,
)

MOST_MEMBERS: Final = 250
"""Members and open invitations of one charger."""

GUEST_S: Final = 7 * 24 * 3600
"""How long a guest has access if nothing else is said."""


class Sharing:
    """Members and invitations. base_url: what links begin with."""

    def __init__(self, store: Store, clock: Clock, base_url: str) -> None:
        self._store = store
        self._clock = clock
        self._base_url = base_url.rstrip("/")

    async def members(self, caller: Caller, charger_id: str) -> Members:
        now_s = self._clock.unix_s()
        charger, _ = caller.into(await self._store.charger(charger_id), now_s)
        return Members(
            [
                Member(member.person, member.role, member.until_unix_s)
                for member in charger.members
                if member.holds(now_s)
            ]
        )

    async def invite(
        self, caller: Caller, charger_id: str, request: InvitationRequest
    ) -> Invitation:
        """Make a link for one person, good once. An older one for the same person ends."""
        person = normal_person(request.person)
        now_s = self._clock.unix_s()
        until_unix_s = request.until_unix_s
        if until_unix_s is None and request.role is AccessRole.GUEST:
            until_unix_s = now_s + GUEST_S
        secret = secrets.token_urlsafe(32)
        offer = Offer(
            secret_hash=_hash(secret),
            person=person,
            role=request.role,
            made_by=caller.account_id,
            until_unix_s=until_unix_s,
            expires_unix_s=now_s + request.expires_s,
        )
        self._expect_sensible(offer)

        async def attempt() -> None:
            now = self._clock.now()
            charger, member = caller.into(await self._store.charger(charger_id), now.unix_s)
            _expect_above(member, offer.role, "invite")
            current = _current(charger, now.unix_s)
            if any(m.person == person for m in current.members):
                raise Refused(
                    ProblemCode.CHANGED, "This person has access already. Remove it first."
                )
            others = tuple(o for o in current.offers if o.person != person)
            if len(current.members) + len(others) >= MOST_MEMBERS:
                raise Refused(
                    ProblemCode.TOO_MANY, f"A charger is shared with {MOST_MEMBERS} at most."
                )
            await self._commit(
                charger,
                replace(current, offers=(*others, offer)),
                _record("person_invited", charger, caller, person, offer.role),
            )

        await settled(attempt)
        # The fragment of a link is sent to nobody: no log of any server gets to see it.
        return Invitation(f"{self._base_url}/invite#{secret}", offer.expires_unix_s)

    async def accept(self, caller: Caller, acceptance: Acceptance) -> ChargerView:
        secret_hash = _hash(acceptance.secret)

        async def attempt() -> ChargerView:
            now = self._clock.now()
            charger = await self._store.charger_offering(secret_hash)
            offer = _offer_for(charger, secret_hash, now.unix_s)
            if charger is None or offer is None:
                raise Refused(
                    ProblemCode.INVITATION_INVALID,
                    "This invitation does not exist, was used already, or has expired. "
                    "Ask for a new one.",
                )
            if offer.person != caller.person:
                raise Refused(
                    ProblemCode.INVITATION_INVALID,
                    "This invitation was made for somebody else. Sign in as the person it was "
                    "made for; it can still be used.",
                )
            member = Membership(caller.account_id, caller.person, offer.role, offer.until_unix_s)
            others = tuple(m for m in charger.members if m.account_id != caller.account_id)
            after = replace(
                charger,
                members=(*others, member),
                offers=tuple(o for o in charger.offers if o != offer),
            )
            await self._commit(
                charger,
                after,
                _record("invitation_accepted", charger, caller, caller.person, offer.role),
                _told(after, member, EventKind.ACCESS_GRANTED),
            )
            return after.seen_by(member)

        return await settled(attempt)

    async def remove(self, caller: Caller, charger_id: str, name: str) -> Done:
        """Take somebody's access, or one's own, from this moment on.

        Whoever had access may remember the passcode, so a rotation is needed from now on.
        """
        person = normal_person(name)

        async def attempt() -> None:
            now = self._clock.now()
            charger, member = caller.into(await self._store.charger(charger_id), now.unix_s)
            gone = next((m for m in charger.members if m.person == person), None)
            invited = next((o for o in charger.offers if o.person == person), None)
            if gone is not None and gone.role is AccessRole.OWNER:
                raise Refused(
                    ProblemCode.ROLE_TOO_LOW,
                    "The owner cannot be removed. To give the charger away, erase it: by"
                    " `chargepin reset`, or hold its button for 10 seconds within two minutes of"
                    " switching it on. Whoever claims it then is its owner.",
                )
            role = gone.role if gone else invited.role if invited else AccessRole.USER
            if member != gone:
                _expect_above(member, role, "remove")
            if gone is None and invited is None:
                raise Refused(ProblemCode.NOT_FOUND, "This person has no access to the charger.")
            known = max((p.generation for p in charger.passcodes), default=0)
            makers = {gone.account_id} if gone else set()
            after = replace(
                charger,
                members=tuple(m for m in charger.members if m != gone),
                # Nor do the invitations last that the one removed has made.
                offers=tuple(
                    o for o in charger.offers if o.person != person and o.made_by not in makers
                ),
                rotate_past=known if gone else charger.rotate_past,
            )
            await self._commit(
                charger,
                after,
                _record("access_removed", charger, caller, person, role),
                _told(after, gone, EventKind.ACCESS_REMOVED) if gone else (),
            )

        await settled(attempt)
        return Done()

    async def _commit(
        self,
        before: Charger,
        after: Charger,
        record: Record,
        notices: tuple[Notice, ...] = (),
    ) -> None:
        await self._store.commit(
            Change(
                self._clock.now(), before=before, after=after, records=(record,), notices=notices
            )
        )

    def _expect_sensible(self, offer: Offer) -> None:
        if offer.role is AccessRole.OWNER:
            raise Refused(ProblemCode.MALFORMED, "A charger has one owner; invite another role.")
        if offer.until_unix_s is not None and offer.until_unix_s <= self._clock.unix_s():
            raise Refused(ProblemCode.MALFORMED, "This access would have ended already.")


def _expect_above(member: Membership, role: AccessRole, what: str) -> None:
    """The owner is above all, an admin above those who manage nothing."""
    if member.role is AccessRole.OWNER:
        return
    if member.role is AccessRole.ADMIN and role not in MANAGING:
        return
    raise Refused(
        ProblemCode.ROLE_TOO_LOW,
        f"Your role for this charger is {member.role}: you may not {what}"
        f" {'an' if role is AccessRole.ADMIN else 'a'} {role}.",
    )


def _current(charger: Charger, now_s: int) -> Charger:
    """Without the access and the invitations that have ended by themselves."""
    return replace(
        charger,
        members=tuple(m for m in charger.members if m.holds(now_s)),
        offers=tuple(o for o in charger.offers if now_s < o.expires_unix_s),
    )


def _offer_for(charger: Charger | None, secret_hash: bytes, now_s: int) -> Offer | None:
    offers = charger.offers if charger else ()
    return next(
        (o for o in offers if o.secret_hash == secret_hash and now_s < o.expires_unix_s), None
    )


def _told(charger: Charger, whom: Membership, kind: EventKind) -> tuple[Notice, ...]:
    """An event for the one concerned and for those who manage the charger."""
    others = (n for n in charger.notices(kind, MANAGING, person=whom.person))
    own = Notice(whom.account_id, kind, charger.charger_id, person=whom.person)
    return (own, *(n for n in others if n.account_id != whom.account_id))


def _record(event: str, charger: Charger, caller: Caller, person: str, role: AccessRole) -> Record:
    return Record(
        charger.account_id,
        event,
        {
            "charger": charger.charger_id,
            "by": caller.person,
            "person": person,
            "role": role,
        },
    )


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
