"""What a charger must not forget: everything the guard keeps through power cuts."""

import hmac
from dataclasses import dataclass, field
from enum import Enum

from chargepin.core.bonds import Table
from chargepin.core.handshake import Verifier, passcode_witness, verifier_of
from chargepin.core.lockout import Lockout
from chargepin.core.passcode import Passcode


class Mode(Enum):
    """Whether a passcode is set. Sealed: the state was lost, so nobody is let in."""

    OPEN = "open"
    PROTECTED = "protected"
    SEALED = "sealed"


class Profile(Enum):
    """Which rules a unit left the factory with. EU: nothing is set up without presence."""

    NONE = "none"
    EU = "eu"


@dataclass(frozen=True, slots=True)
class PasscodeCredential:
    """What the charger keeps instead of the passcode. salt: 16 bytes. profile: 1 = Argon2id."""

    verifier: Verifier
    salt: bytes
    profile: int

    def __repr__(self) -> str:
        return f"PasscodeCredential(profile={self.profile})"

    def is_of(self, passcode: Passcode, identity: bytes) -> bool:
        """Whether that is the passcode of the charger with this identity. As slow as its hash."""
        witness = passcode_witness(passcode, identity, self.salt, self.profile)
        return hmac.compare_digest(verifier_of(witness).encode(), self.verifier.encode())


@dataclass(frozen=True, slots=True)
class Policy:
    """The owner's rules. first_set_needs_presence: a first set needs a press or a power-up."""

    first_set_needs_presence: bool = False


def usual_policy(profile: Profile) -> Policy:
    """What a unit begins with, and what a reset returns to."""
    return Policy(first_set_needs_presence=profile is Profile.EU)


@dataclass(frozen=True, slots=True)
class ClaimKept:
    """The account that claimed this charger, and the root key its commands are signed under."""

    account: str
    root_key: bytes


@dataclass(frozen=True, slots=True)
class Factory:
    """A passcode from the factory file, which a reset returns to.

    charged: attempts held against it, never forgiven by a reset.
    """

    credential: PasscodeCredential
    charged: int = 0


@dataclass(frozen=True, slots=True)
class Durable:
    """The guard's lasting part.

    incarnation: rises with each reset. generation: of the newest passcode, never reused; 0 before
    the first. owner_token_hash: SHA-256 of the token that makes the setter's bond an owner's.
    running_s: running seconds when this was stored. starts: power-ups so far. profile: given at
    the first start, for good. tampered: the housing was opened, and no admin has put that away.
    """

    mode: Mode = Mode.OPEN
    incarnation: int = 1
    generation: int = 0
    credential: PasscodeCredential | None = None
    lockout: Lockout = field(default_factory=Lockout)
    bonds: Table = ()
    policy: Policy = field(default_factory=Policy)
    claim: ClaimKept | None = None
    factory: Factory | None = None
    owner_token_hash: bytes | None = None
    running_s: float = 0.0
    starts: int = 0
    profile: Profile = Profile.NONE
    tampered: bool = False
