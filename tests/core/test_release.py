import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec.structs import replace

from chargepin.core.catalogue import Version
from chargepin.core.release import (
    LARGEST_IMAGE_BYTES,
    Manifest,
    ManifestError,
    SignedManifest,
    signed,
    signed_bytes,
    verified,
)

MAKER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
STRANGER = Ed25519PrivateKey.from_private_bytes(bytes(32))
MANIFEST = Manifest("6.7.17", ("pulsar-plus",), 1000, "ab" * 32, "0.1.0", "First with a passcode")


def test_a_signed_release_is_verified() -> None:
    assert verified(signed(MANIFEST, MAKER), MAKER.public_key()) == MANIFEST
    assert MANIFEST.software == Version(6, 7, 17)


def test_what_is_signed() -> None:
    assert signed_bytes(MANIFEST) == (
        b'chargepin manifest 1{"version":"6.7.17","families":["pulsar-plus"],"size_bytes":1000,'
        b'"sha256":"' + b"ab" * 32 + b'","oldest_app":"0.1.0","notes":"First with a passcode"}'
    )


def test_a_release_survives_its_file() -> None:
    release = signed(MANIFEST, MAKER)
    read = msgspec.json.decode(msgspec.json.encode(release), type=SignedManifest)
    assert verified(read, MAKER.public_key()) == MANIFEST


@pytest.mark.parametrize(
    "changed",
    [
        replace(MANIFEST, version="6.7.18"),
        replace(MANIFEST, families=("pulsar-max",)),
        replace(MANIFEST, size_bytes=1001),
        replace(MANIFEST, sha256="ac" * 32),
        replace(MANIFEST, oldest_app="0.0.1"),
        replace(MANIFEST, notes=""),
    ],
)
def test_every_field_is_signed(changed: Manifest) -> None:
    release = SignedManifest(changed, signed(MANIFEST, MAKER).signature)
    with pytest.raises(ManifestError, match="maker"):
        verified(release, MAKER.public_key())


def test_a_strangers_signature_is_refused() -> None:
    with pytest.raises(ManifestError):
        verified(signed(MANIFEST, STRANGER), MAKER.public_key())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", "6.7"),
        ("oldest_app", "new"),
        ("families", []),
        ("size_bytes", 0),
        ("size_bytes", LARGEST_IMAGE_BYTES + 1),
        ("sha256", "AB" * 32),
        ("sha256", "ab" * 32 + "\n"),
        ("notes", "x" * 1001),
        ("surprise", 1),
    ],
)
def test_malformed_manifests(field: str, value: object) -> None:
    members = msgspec.to_builtins(MANIFEST) | {field: value}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(members, Manifest)


@pytest.mark.parametrize("signature", ["", "ab" * 63, "xy" * 64])
def test_malformed_signatures(signature: str) -> None:
    members = {"manifest": msgspec.to_builtins(MANIFEST), "signature": signature}
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(members, SignedManifest)
