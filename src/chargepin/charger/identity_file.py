"""The charger's identity in a file of its own: no reset and no damaged database may replace it."""

from pathlib import Path
from typing import Annotated

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargepin.charger.ports import StoreFailed
from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.durable import Durable, Factory, Profile
from chargepin.machine.files import read_private, write_private

SEED_BYTES = 32
_NAME = "identity.json"


class IdentityFile(msgspec.Struct, frozen=True):
    """The identity key's seed, and what must outlive the loss of the database.

    incarnation, generation: the highest known. factory: the passcode of the factory file.
    profile: which rules the unit left the factory with.
    """

    seed: Annotated[bytes, msgspec.Meta(min_length=SEED_BYTES, max_length=SEED_BYTES)]
    incarnation: int = 1
    generation: int = 0
    factory: Factory | None = None
    profile: Profile = Profile.NONE

    def __repr__(self) -> str:
        return "IdentityFile()"

    @property
    def key(self) -> Ed25519PrivateKey:
        """The charger's key."""
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def knowing(self, durable: Durable) -> "IdentityFile":
        """The same identity, with what a newer state says."""
        return IdentityFile(
            self.seed, durable.incarnation, durable.generation, durable.factory, durable.profile
        )


def read_identity(directory: Path) -> IdentityFile:
    """Read the file. Raises OSError or Undecodable."""
    return decoded(read_private(directory / _NAME), IdentityFile)


def write_identity(directory: Path, identity: IdentityFile) -> None:
    """Replace the file. Raises OSError."""
    write_private(directory / _NAME, msgspec.json.encode(identity))


def open_identity(directory: Path) -> IdentityFile:
    """Read the file, or draw an identity at the first start. Raises OSError or StoreFailed."""
    try:
        return read_identity(directory)
    except FileNotFoundError:
        identity = IdentityFile(Ed25519PrivateKey.generate().private_bytes_raw())
        write_identity(directory, identity)
        return identity
    except Undecodable as error:
        raise StoreFailed(
            f"{directory / _NAME} is damaged. It holds the charger's identity, which apps have"
            " pinned: restore it from a backup, or move it away to begin as another charger."
        ) from error
