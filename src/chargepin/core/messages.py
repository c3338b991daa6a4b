"""What app, charger and account service send each other by HTTP and events.

JSON; unknown fields are ignored, so that either side may be newer. Bytes travel as lower case
hex text. What a request may hold is checked while it is decoded; what an answer says is read
leniently: a role, state or kind that this version does not know is a plain text.
"""

from enum import StrEnum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

APP_HEADER = "Chargepin-App"
"""Each request's header with the app's version, "0.1.0"."""

SHORTEST_PASSWORD = 8
USUAL_INVITATION_S = 2 * 24 * 3600
LONGEST_INVITATION_S = 30 * 24 * 3600


def _hex(octets: int) -> Meta:
    digits = octets * 2
    return Meta(pattern=f"^[0-9a-f]{{{digits}}}$", min_length=digits, max_length=digits)


Identity: TypeAlias = Annotated[str, _hex(32)]
"""A charger's Ed25519 public key; in the account service also the charger's id."""

Octets16: TypeAlias = Annotated[str, _hex(16)]
Octets32: TypeAlias = Annotated[str, _hex(32)]
Signature: TypeAlias = Annotated[str, _hex(64)]
SixDigits: TypeAlias = Annotated[str, Meta(pattern=r"^[0-9]{6}\Z")]
Token: TypeAlias = Annotated[str, Meta(pattern=r"^[!-~]{1,512}\Z")]
"""What a header can carry."""

Body: TypeAlias = Annotated[str, Meta(pattern="^([0-9a-f]{2})+$", max_length=1024)]
U32: TypeAlias = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
UnixSeconds: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
PersonName: TypeAlias = Annotated[str, Meta(min_length=2, max_length=254)]
Password: TypeAlias = Annotated[str, Meta(min_length=SHORTEST_PASSWORD, max_length=1024)]


class AccessRole(StrEnum):
    """What a person may do with a charger.

    Owner: everything. Admin: invite and remove users, read the audit. User: the passcode.
    Guest (until an end time) and installer: the charger, but never its passcode.
    """

    OWNER = "owner"
    ADMIN = "admin"
    USER = "user"
    GUEST = "guest"
    INSTALLER = "installer"


class PasscodeState(StrEnum):
    """none: the account has assigned none. pending: the charger's receipt is awaited."""

    NONE = "none"
    PENDING = "pending"
    ACTIVE = "active"


class ProblemCode(StrEnum):
    """Why the account service said no."""

    MALFORMED = "malformed"
    ASSIGNED_FOR_YOU = "assigned_for_you"
    NOT_SIGNED_IN = "not_signed_in"
    WRONG_PASSWORD = "wrong_password"  # noqa: S105 -- the name of an error
    ROLE_TOO_LOW = "role_too_low"
    NOT_FOUND = "not_found"
    WRONG_METHOD = "wrong_method"
    NAME_TAKEN = "name_taken"
    CHANGED = "changed"
    CLAIMED_ELSEWHERE = "claimed_elsewhere"
    CLAIM_INVALID = "claim_invalid"
    RECEIPT_INVALID = "receipt_invalid"
    INVITATION_INVALID = "invitation_invalid"
    TOO_LARGE = "too_large"
    UPDATE_NEEDED = "update_needed"
    TOO_MANY = "too_many"
    STORAGE_FAILED = "storage_failed"
    BUSY = "busy"
    INTERNAL = "internal"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """code: a ProblemCode. needed: the oldest app that will do, for update_needed."""

    code: str
    message: str
    retry_after_s: float | None = None
    needed: str | None = None


class ProblemReply(msgspec.Struct, frozen=True):
    error: Problem


class Done(msgspec.Struct, frozen=True):
    """It was done, and there is nothing more to say."""


# ---- people ------------------------------------------------------------------------------------


class Credentials(msgspec.Struct, frozen=True):
    """person: an e-mail address or a name, normalised by the service. Signs up or in."""

    person: PersonName
    password: Password

    def __repr__(self) -> str:
        return f"Credentials(person={self.person!r})"


class SignedIn(msgspec.Struct, frozen=True):
    """token: opaque, for `Authorization: Bearer`; whoever has it is this person until sign-out."""

    token: Token
    person: str
    account: str
    session: str

    def __repr__(self) -> str:
        return f"SignedIn(person={self.person!r}, session={self.session!r})"


class Me(msgspec.Struct, frozen=True):
    person: str
    account: str
    created_unix_s: int


class SessionView(msgspec.Struct, frozen=True):
    """One place where the person is signed in. app: the version that signed in, "" if unknown."""

    id: str
    created_unix_s: int
    expires_unix_s: int
    app: str
    current: bool


class Sessions(msgspec.Struct, frozen=True):
    sessions: list[SessionView]


# ---- chargers ----------------------------------------------------------------------------------


class ChargerView(msgspec.Struct, frozen=True, omit_defaults=True):
    """A charger as one person sees it.

    id: its identity. generation: of the passcode that the charger is known to have, 0 for none.
    passcode_state: a PasscodeState. reached: False while a receipt is awaited. rotation_needed:
    somebody who may know the passcode has lost access. until_unix_s: when this access ends.
    """

    id: str
    serial: str
    name: str
    role: str
    owner: str
    incarnation: int
    generation: int
    passcode_state: str
    reached: bool
    rotation_needed: bool
    until_unix_s: int | None = None


class Chargers(msgspec.Struct, frozen=True):
    chargers: list[ChargerView]


class ClaimRequest(msgspec.Struct, frozen=True):
    identity: Identity


class ClaimChallenge(msgspec.Struct, frozen=True):
    """What the charger has to sign for an owner's session. root_key: the service's Ed25519 key."""

    account: str
    root_key: str
    nonce: str


class Registration(msgspec.Struct, frozen=True):
    """A claim as the charger signed it. name: what the household calls the charger."""

    identity: Identity
    serial: Annotated[str, Meta(pattern="^[0-9]{1,9}$")]
    incarnation: U32
    generation: U32
    account: Octets16
    root_key: Octets32
    nonce: Octets32
    signature: Signature
    name: Annotated[str, Meta(max_length=80)] = ""


# ---- sharing -----------------------------------------------------------------------------------


class Member(msgspec.Struct, frozen=True, omit_defaults=True):
    """until_unix_s: when the access ends by itself, None for never."""

    person: str
    role: str
    until_unix_s: int | None = None


class Members(msgspec.Struct, frozen=True):
    members: list[Member]


class InvitationRequest(msgspec.Struct, frozen=True):
    """expires_s: how long the link can be used. until_unix_s: when the access itself ends.

    A guest's access ends a week from now unless something else is said.
    """

    person: PersonName
    role: AccessRole = AccessRole.USER
    expires_s: Annotated[int, Meta(ge=60, le=LONGEST_INVITATION_S)] = USUAL_INVITATION_S
    until_unix_s: UnixSeconds | None = None


class Invitation(msgspec.Struct, frozen=True):
    """link: holds the secret in its fragment, which browsers send to nobody."""

    link: str
    expires_unix_s: int

    def __repr__(self) -> str:
        return f"Invitation(expires_unix_s={self.expires_unix_s})"


class Acceptance(msgspec.Struct, frozen=True):
    secret: Annotated[str, Meta(min_length=1, max_length=128)]

    def __repr__(self) -> str:
        return "Acceptance()"


def invitation_secret(link: str) -> str:
    """The secret of an invitation: what follows the last "#" of a link, or the text itself."""
    return link.strip().rpartition("#")[2]


# ---- the passcode ------------------------------------------------------------------------------


class AssignRequest(msgspec.Struct, frozen=True):
    """expected_generation: the charger's, as the app sees it; 0 for an open charger.

    passcode: there to be refused: nobody chooses a passcode.
    """

    expected_generation: U32
    identity: Identity | None = None
    passcode: Raw | UnsetType = UNSET

    def __repr__(self) -> str:
        return f"AssignRequest(expected_generation={self.expected_generation})"


class KeptPasscode(msgspec.Struct, frozen=True, omit_defaults=True):
    """A passcode in custody. salt: hex, 16 bytes. owner_token: hex, 32 bytes, for owners only."""

    generation: U32
    salt: Octets16
    profile: int
    passcode: SixDigits
    state: str
    owner_token: Octets32 | None = None

    def __repr__(self) -> str:
        return f"KeptPasscode(generation={self.generation}, state={self.state!r})"


class Passcodes(msgspec.Struct, frozen=True):
    """Both, while a change has not reached the charger; newest first."""

    passcodes: list[KeptPasscode]


class ReceiptDelivery(msgspec.Struct, frozen=True):
    """A charger's signed receipt, hex, by whichever app met the charger."""

    receipt: Body
    signature: Signature


# ---- events and audit --------------------------------------------------------------------------


class EventKind(StrEnum):
    """READY opens each stream; MISSED: more happened than was kept, so read everything anew."""

    READY = "ready"
    MISSED = "missed"
    PASSCODE_CHANGED = "passcode_changed"
    ACCESS_GRANTED = "access_granted"
    ACCESS_REMOVED = "access_removed"
    CHARGER_RELEASED = "charger_released"


class Event(msgspec.Struct, frozen=True, omit_defaults=True):
    """What happened, for one person. id: rises per person. Never holds a passcode."""

    id: int
    kind: str
    charger: str | None = None
    generation: int | None = None
    state: str | None = None
    person: str | None = None


class AuditEntry(msgspec.Struct, frozen=True):
    sequence: int
    unix_s: int
    event: str
    detail: dict[str, str | int | bool | None]


class Audit(msgspec.Struct, frozen=True):
    """The newest entries about one charger, oldest first, from a chain that was verified.

    head_sequence, head: the whole chain's, to compare with one that was noted earlier.
    """

    entries: list[AuditEntry]
    head_sequence: int
    head: str
