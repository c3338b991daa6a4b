"""The charger's identity in a file of its own: no reset and no damaged database may replace it.

Nor may damage to the file: with one byte of the seed changed it would be another identity, whose
keys fit nothing that is kept. A charger whose file is damaged, or gone, does not start.
"""

import hashlib
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
_BEGINS = b'{"sha256":'


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


class _Checked(msgspec.Struct, frozen=True):
    """The file. sha256: of the identity as it stands there, lower case hex."""

    sha256: str
    identity: msgspec.Raw


def encoded_identity(identity: IdentityFile) -> bytes:
    """What the file holds."""
    body = msgspec.json.encode(identity)
    return msgspec.json.encode(_Checked(hashlib.sha256(body).hexdigest(), msgspec.Raw(body)))


def decoded_identity(raw: bytes) -> IdentityFile:
    """Read what the file holds. Raises Undecodable, also where the checksum does not fit.

    Before files had checksums, there was the identity alone.
    """
    if not raw.startswith(_BEGINS):
        return decoded(raw, IdentityFile)
    checked = decoded(raw, _Checked)
    body = bytes(checked.identity)
    if hashlib.sha256(body).hexdigest() != checked.sha256:
        raise Undecodable("a checksum does not fit")
    return decoded(body, IdentityFile)


def read_identity(directory: Path) -> IdentityFile:
    """Read the file. Raises OSError, or StoreFailed where it is damaged."""
    try:
        return decoded_identity(read_private(directory / _NAME))
    except Undecodable as error:
        raise _lost(directory, "damaged") from error


def write_identity(directory: Path, identity: IdentityFile) -> None:
    """Replace the file. Raises OSError."""
    write_private(directory / _NAME, encoded_identity(identity))


def open_identity(directory: Path, *, new: bool) -> IdentityFile:
    """Read the file, or draw an identity. Raises OSError or StoreFailed.

    new: whether nothing is there yet that was kept under an identity. A file without a checksum
    gets one.
    """
    try:
        identity = read_identity(directory)
    except FileNotFoundError as error:
        if not new:
            raise _lost(directory, "missing") from error
        identity = IdentityFile(Ed25519PrivateKey.generate().private_bytes_raw())
    else:
        if read_private(directory / _NAME).startswith(_BEGINS):
            return identity
    write_identity(directory, identity)
    return identity


def _lost(directory: Path, how: str) -> StoreFailed:
    return StoreFailed(
        f"{directory / _NAME} is {how}. It holds the charger's identity, which apps have pinned, so"
        " no other is drawn: put a copy of it back, or move everything out of this directory to"
        " begin as another charger, which every phone has to meet anew."
    )
