"""What the parts of the account service say to each other.

A use case reads records, decides, and commits one `Change`: data that says what to write, under
which condition. A store writes all of it in one transaction or nothing, so that the audit and
the events always agree with what happened. If a condition no longer holds the store raises
`Outdated`, and the use case reads and decides again: access is checked against what is committed.
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from chargepin.core.log import Detail, Entry, Head
from chargepin.core.messages import (
    AccessRole,
    ChargerView,
    Event,
    EventKind,
    KeptPasscode,
    PasscodeState,
    ProblemCode,
)

MAY_READ_PASSCODE: Final = frozenset({AccessRole.OWNER, AccessRole.ADMIN, AccessRole.USER})
"""Guests and installers get bonds of their own, never the passcode."""

MANAGING: Final = frozenset({AccessRole.OWNER, AccessRole.ADMIN})
"""Who may invite and remove others and is told about it."""

_ATTEMPTS = 8
_T = TypeVar("_T")


class Refused(Exception):
    """The request is answered with an error. Nothing was changed, unless the message says so."""

    def __init__(
        self,
        code: ProblemCode,
        message: str,
        *,
        retry_after_s: float | None = None,
        needed: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.retry_after_s = retry_after_s
        self.needed = needed


class Outdated(Exception):
    """Something that a change was decided on has changed meanwhile. Nothing was written."""


class StorageFailed(Exception):
    """The database cannot be read or written. Nothing of the change was written."""


class ServiceCannotStart(OSError):
    """What the service needs is missing or damaged; the message says what to do."""


# ---- records -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Account:
    """A person. account_id: 32 hex digits. person: normalised. password: a PHC string."""

    account_id: str
    person: str
    created_unix_s: int
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """A person signed in somewhere. Its token is known only by its SHA-256."""

    account_id: str
    person: str
    session_id: str
    app: str
    created_unix_s: int
    expires_unix_s: int
    token_hash: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class IssuedClaim:
    """A challenge that a charger was asked to sign for an account."""

    account_id: str
    charger_id: str
    nonce: bytes
    expires_unix_s: int


@dataclass(frozen=True, slots=True)
class Membership:
    """One person's access to one charger. until_unix_s: None for no end."""

    account_id: str
    person: str
    role: AccessRole
    until_unix_s: int | None = None

    def holds(self, unix_s: int) -> bool:
        """Whether the access has not ended yet."""
        return self.until_unix_s is None or unix_s < self.until_unix_s


@dataclass(frozen=True, slots=True)
class Offer:
    """An invitation that nobody has accepted yet. Its secret is known only by its SHA-256.

    made_by: the account that invited.
    """

    secret_hash: bytes = field(repr=False)
    person: str
    role: AccessRole
    made_by: str
    until_unix_s: int | None
    expires_unix_s: int


@dataclass(frozen=True, slots=True)
class SealedPasscode:
    """A passcode in custody.

    sealed: nonce and AES-256-GCM ciphertext. passcode_tag, verifier_tag: keyed by the master key,
    to find equal passcodes of an account and to check a receipt without opening anything.
    """

    generation: int
    state: PasscodeState
    salt: bytes
    profile: int
    sealed: bytes = field(repr=False)
    passcode_tag: bytes = field(repr=False)
    verifier_tag: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Charger:
    """A claimed charger with all that belongs to it.

    charger_id: its identity in hex. account_id: the owner's. version: rises with each change.
    generation: the newest that the charger is known to have had. rotate_past: the newest
    generation that somebody without access may know. wrapped_key: its data key, wrapped.
    """

    charger_id: str
    account_id: str
    serial: str
    name: str
    incarnation: int
    generation: int
    rotate_past: int
    wrapped_key: bytes = field(repr=False)
    members: tuple[Membership, ...]
    offers: tuple[Offer, ...] = ()
    passcodes: tuple[SealedPasscode, ...] = ()
    version: int = 0

    @property
    def identity(self) -> bytes:
        return bytes.fromhex(self.charger_id)

    @property
    def owner(self) -> Membership:
        return next(m for m in self.members if m.role is AccessRole.OWNER)

    @property
    def state(self) -> PasscodeState:
        """PENDING while any receipt is awaited, whatever else is kept."""
        states = {kept.state for kept in self.passcodes}
        for state in (PasscodeState.PENDING, PasscodeState.ACTIVE):
            if state in states:
                return state
        return PasscodeState.NONE

    @property
    def rotation_needed(self) -> bool:
        """Whether somebody without access may know the passcode that the charger has."""
        return any(
            kept.state is PasscodeState.ACTIVE and kept.generation <= self.rotate_past
            for kept in self.passcodes
        )

    def member(self, account_id: str) -> Membership | None:
        return next((m for m in self.members if m.account_id == account_id), None)

    def seen_by(self, member: Membership) -> ChargerView:
        state = self.state
        return ChargerView(
            id=self.charger_id,
            serial=self.serial,
            name=self.name,
            role=member.role,
            owner=self.owner.person,
            incarnation=self.incarnation,
            generation=self.generation,
            passcode_state=state,
            reached=state is not PasscodeState.PENDING,
            rotation_needed=self.rotation_needed,
            until_unix_s=member.until_unix_s,
        )

    def notices(
        self,
        kind: EventKind,
        roles: Iterable[AccessRole] = AccessRole,
        *,
        generation: int | None = None,
        state: PasscodeState | None = None,
        person: str | None = None,
    ) -> tuple["Notice", ...]:
        """An event for each member that has one of the roles."""
        return tuple(
            Notice(member.account_id, kind, self.charger_id, generation, state, person)
            for member in self.members
            if member.role in roles
        )


@dataclass(frozen=True, slots=True)
class Clock:
    """unix_s: wall clock, for people and for ends of access. running_s: for waits and limits."""

    unix_s: Callable[[], int]
    running_s: Callable[[], float]

    def now(self) -> "Moment":
        return Moment(self.unix_s(), self.running_s())


@dataclass(frozen=True, slots=True)
class Moment:
    """Both clocks at once."""

    unix_s: int
    running_s: float


# ---- who asks ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Caller:
    """The signed-in person behind a request. may: the roles that the operation is open to."""

    session: Session
    may: frozenset[AccessRole] = frozenset()

    @property
    def account_id(self) -> str:
        return self.session.account_id

    @property
    def person(self) -> str:
        return self.session.person

    def into(self, charger: Charger | None, unix_s: int) -> tuple[Charger, Membership]:
        """Check the access that holds now. A charger of others looks like none at all.

        Raises Refused.
        """
        member = charger.member(self.account_id) if charger else None
        if charger is None or member is None or not member.holds(unix_s):
            raise Refused(
                ProblemCode.NOT_FOUND, "There is no such charger, or you have no access to it."
            )
        if member.role not in self.may:
            raise Refused(
                ProblemCode.ROLE_TOO_LOW,
                f"Your role for this charger is {member.role}; "
                f"this needs {' or '.join(r for r in AccessRole if r in self.may)}.",
            )
        return charger, member


# ---- changes -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Record:
    """A line for the audit of one account. detail never holds a secret."""

    account_id: str
    event: str
    detail: Detail


@dataclass(frozen=True, slots=True)
class Notice:
    """An event for one person's apps."""

    account_id: str
    kind: EventKind
    charger_id: str
    generation: int | None = None
    state: PasscodeState | None = None
    person: str | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """What one transaction writes.

    at: stamps every record. before, after: a charger as it was read and as it
    shall be; None for one that was not there or shall go. seen: a charger that must still be as
    it was read, though it is not changed. used_claim: must still be there, and goes.
    """

    at: Moment
    new_account: Account | None = None
    new_session: Session | None = None
    ended_session: Session | None = None
    new_claim: IssuedClaim | None = None
    used_claim: IssuedClaim | None = None
    before: Charger | None = None
    after: Charger | None = None
    seen: Charger | None = None
    records: tuple[Record, ...] = ()
    notices: tuple[Notice, ...] = ()


class Store(Protocol):
    """What outlives the service. Every method raises StorageFailed."""

    async def check(self) -> None:
        """Return if reading and writing work."""

    async def account(self, person: str) -> Account | None: ...

    async def session(self, token_hash: bytes) -> Session | None: ...

    async def sessions(self, account_id: str) -> tuple[Session, ...]: ...

    async def claim(self, account_id: str, charger_id: str) -> IssuedClaim | None: ...

    async def charger(self, charger_id: str) -> Charger | None: ...

    async def chargers_of(self, account_id: str) -> tuple[Charger, ...]:
        """Every charger that the account is a member of, whatever the time."""

    async def charger_offering(self, secret_hash: bytes) -> Charger | None:
        """The charger whose invitation this is."""

    async def newest_event(self, account_id: str) -> int:
        """The id of the person's newest event, 0 before the first."""

    async def events(self, account_id: str, after: int, limit: int) -> tuple[Event, ...]:
        """Events with a higher id, oldest first; those no longer kept are left out."""

    async def audit(self, account_id: str) -> tuple[tuple[Entry, ...], Head]:
        """The account's whole chain and the head that was noted with it, unverified."""

    async def commit(self, change: Change) -> None:
        """Write the change durably, or nothing. Raises Outdated when a condition fails."""


class Custody(Protocol):
    """Keeps passcodes sealed."""

    def new_key(self) -> bytes:
        """Draw a data key for a charger and wrap it."""

    def seal(self, charger: Charger, generation: int, passcode: str, owner_token: bytes) -> bytes:
        """Seal for one charger and generation."""

    def passcode_tag(self, account_id: str, passcode: str) -> bytes:
        """The same for equal passcodes of one account; tells nothing without the master key."""

    def verifier_tag(self, charger: Charger, verifier_hash: bytes) -> bytes:
        """The same for equal verifiers of one charger; tells nothing without the master key."""

    async def reveal(
        self, caller: Caller, charger_id: str, purpose: str, generation: int | None = None
    ) -> tuple[KeptPasscode, ...]:
        """The only way to open anything: access, rate and audit first. Raises Refused."""


async def settled(attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Decide anew while others keep changing what was read. Raises Refused if they never stop."""
    for _ in range(_ATTEMPTS):
        try:
            return await attempt()
        except Outdated:
            continue
    raise Refused(
        ProblemCode.BUSY,
        "Others keep changing this at the same moment; nothing was changed. Try again.",
        retry_after_s=1.0,
    )
