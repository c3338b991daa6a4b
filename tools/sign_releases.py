#!/usr/bin/env python3
"""Write releases.json: the simulated maker's releases, signed with a key that is then forgotten.

Run it when a release is added or changed. Each run draws a new key and signs all releases anew:
nobody, its author included, can sign another one for the public key that ships.
"""

import hashlib
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargepin.charger import update
from chargepin.core.catalogue import FAMILIES, Version
from chargepin.core.release import Manifest, signed

IMAGE_BYTES = 256 * 1024
EVERY_FAMILY = tuple(FAMILIES)
PULSARS = tuple(key for key in FAMILIES if key.startswith("pulsar-"))
NEWEST_PULSARS = ("pulsar-max", "pulsar-pro")

# Versions that were seen on real chargers.
RELEASES = (
    ("6.1.12", EVERY_FAMILY, "Before the Bluetooth passcode."),
    ("6.7.10", EVERY_FAMILY, "The last one before the Bluetooth passcode."),
    ("6.7.17", EVERY_FAMILY, "The Bluetooth passcode can be set."),
    ("6.7.38", EVERY_FAMILY, "Corrections."),
    ("6.11.16", PULSARS, "New units of some families come with a passcode."),
    ("6.13.3", NEWEST_PULSARS, "Corrections."),
)


def main() -> None:
    """Draw a key, sign, write."""
    key = Ed25519PrivateKey.generate()
    releases = [signed(manifest(*release), key) for release in RELEASES]
    document = {"maker_key": key.public_key().public_bytes_raw().hex(), "releases": releases}
    path = Path(update.__file__).with_name("releases.json")
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n")


def manifest(version: str, families: tuple[str, ...], notes: str) -> Manifest:
    """Describe one release."""
    image = hashlib.sha256()
    for piece in update.simulated_image(Version.parse(version), IMAGE_BYTES):
        image.update(piece)
    return Manifest(
        version=version,
        families=families,
        size_bytes=IMAGE_BYTES,
        sha256=image.hexdigest(),
        oldest_app=str(update.OLDEST_APP),
        notes=notes,
    )


if __name__ == "__main__":
    main()
