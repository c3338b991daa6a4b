"""Signed descriptions of charger software: what an image is, and that its maker made it."""

from typing import Annotated

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chargepin.core.catalogue import Version

_PURPOSE = b"chargepin manifest 1"
LARGEST_IMAGE_BYTES = 64 * 1024 * 1024

_Size = Annotated[int, msgspec.Meta(ge=1, le=LARGEST_IMAGE_BYTES)]
_Families = Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=64)]
_Notes = Annotated[str, msgspec.Meta(max_length=1000)]
_Sha256 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class ManifestError(ValueError):
    """A manifest that is malformed, or not signed by the maker. Nothing of it can be trusted."""


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one release of charger software is.

    version and oldest_app are three numbers with dots: oldest_app is the oldest app that may talk
    to a charger with this software. families are keys of the catalogue. size_bytes is
    1..LARGEST_IMAGE_BYTES. sha256 is of the whole image, in lower case hex. notes are for people.
    """

    version: str
    families: _Families
    size_bytes: _Size
    sha256: _Sha256
    oldest_app: str
    notes: _Notes = ""

    def __post_init__(self) -> None:
        for text in (self.version, self.oldest_app):
            Version.parse(text)

    @property
    def software(self) -> Version:
        """The version, to compare."""
        return Version.parse(self.version)


class SignedManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A manifest and its maker's Ed25519 signature over "chargepin manifest 1" || JSON.

    The JSON signed is the compact encoding of the manifest, its fields in the order above.
    """

    manifest: Manifest
    signature: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]


def signed(manifest: Manifest, maker_key: Ed25519PrivateKey) -> SignedManifest:
    """Sign a manifest as its maker."""
    return SignedManifest(manifest, maker_key.sign(signed_bytes(manifest)).hex())


def verified(release: SignedManifest, maker_key: Ed25519PublicKey) -> Manifest:
    """Give the manifest if the maker signed it. Raises ManifestError."""
    try:
        maker_key.verify(bytes.fromhex(release.signature), signed_bytes(release.manifest))
    except InvalidSignature:
        raise ManifestError("the release is not signed by the charger's maker") from None
    return release.manifest


def signed_bytes(manifest: Manifest) -> bytes:
    """What the signature is over."""
    return _PURPOSE + msgspec.json.encode(manifest)
