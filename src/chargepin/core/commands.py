"""What a session may ask the guard to change, and why it may be denied.

Each command knows the role it needs. Answers carry no secret; the texts are for people.
"""

from dataclasses import dataclass
from typing import TypeAlias

from chargepin.core.bonds import Bond, Role
from chargepin.core.durable import ClaimKept, PasscodeCredential, Policy


@dataclass(frozen=True, slots=True)
class SetPasscode:
    """A first passcode, or a rotation when keep says which bonds live on (None: all of them).

    generation: the one the app expects to follow. owner_token_hash: SHA-256 of a token, or None.
    """

    credential: PasscodeCredential
    generation: int
    owner_token_hash: bytes | None = None
    rotation: bool = False
    keep: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class AddBond:
    """Keep a bond just drawn; its role is a wish. token_hash: claims the owner's role."""

    bond: Bond
    token_hash: bytes | None = None


@dataclass(frozen=True, slots=True)
class ForgetBond:
    bond_id: str


@dataclass(frozen=True, slots=True)
class EndPause:
    pass


@dataclass(frozen=True, slots=True)
class SetPolicy:
    policy: Policy


@dataclass(frozen=True, slots=True)
class TakeClaim:
    claim: ClaimKept


@dataclass(frozen=True, slots=True)
class Release:
    pass


@dataclass(frozen=True, slots=True)
class Reset:
    pass


@dataclass(frozen=True, slots=True)
class SeeTamper:
    """Put away that the housing was opened."""


@dataclass(frozen=True, slots=True)
class PasscodeViewed:
    """Have it written down that an app showed the passcode so many times."""

    times: int


Command: TypeAlias = (
    SetPasscode
    | AddBond
    | ForgetBond
    | EndPause
    | SetPolicy
    | TakeClaim
    | Release
    | Reset
    | SeeTamper
    | PasscodeViewed
)

ROLE_NEEDED: dict[type[Command], Role] = {
    SetPasscode: Role.OWNER,
    AddBond: Role.USER,
    ForgetBond: Role.USER,  # its own; any other needs an admin, and an owner's an owner
    EndPause: Role.ADMIN,
    SetPolicy: Role.OWNER,
    TakeClaim: Role.OWNER,
    Release: Role.OWNER,
    Reset: Role.OWNER,
    SeeTamper: Role.ADMIN,
    PasscodeViewed: Role.USER,
}


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a request was not carried out. code: stable, for programs; message: for a person."""

    code: str
    message: str


ROLE_TOO_LOW = Denial("role_too_low", "This app may not do that; an owner or admin can.")
UPDATE_NEEDED = Denial(
    "update_needed",
    "The charger runs software older than 6.7.17. It must be updated first.",
)
CHANGED = Denial(
    "changed_elsewhere", "Somebody else changed the passcode meanwhile. Nothing was changed now."
)
PRESENCE_NEEDED = Denial(
    "presence_needed",
    "Press the charger's button, or switch it off and on, then try again within two minutes.",
)
PROFILE_DECIDES = Denial(
    "profile_decides",
    "This charger was made for rules that ask for somebody at its button before a first passcode."
    " That cannot be switched off.",
)
TABLE_FULL = Denial("bonds_full", "The charger knows as many phones as it can. Forget one first.")
NO_SUCH_BOND = Denial("no_such_bond", "The charger does not know that phone.")
ALREADY_SET = Denial(
    "already_set", "A passcode is already set. It can be rotated, not set a second time."
)
NOT_SET = Denial("not_set", "No passcode is set yet. Set one first.")
WINDOW_OPEN = Denial(
    "busy", "A pairing window is open already. It closes by itself after two minutes at most."
)
NEVER_PAIRS = Denial(
    "never_pairs",
    "This charger's radio module (Zentri) must not be paired with: a phone that tries gets no"
    " answer any more. So there is no pairing window, and only apps get in, by the passcode.",
)
ALREADY_CLAIMED = Denial(
    "already_claimed", "The charger belongs to another account. It must be released or reset first."
)
STORAGE_FAILED = Denial(
    "storage_failed", "The charger could not store the change. Nothing was changed; try again."
)
