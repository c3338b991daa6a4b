"""Custody of passcodes: sealed at rest, and opened by one function only, `Custody.reveal`.

A passcode has too few digits to be hashed and must be shown again, so it is encrypted. Each
charger has a data key (AES-256), wrapped (RFC 3394) by a key that is derived from the master key
in a file outside the database. A copy of the database alone tells nothing: not a passcode, not
whether two are equal, and not by guessing either, since every tag kept beside is keyed too.
"""

import hmac
import os
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes, keywrap
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chargepin.account.limits import Limiter
from chargepin.account.ports import (
    MAY_READ_PASSCODE,
    Caller,
    Change,
    Charger,
    Clock,
    Record,
    SealedPasscode,
    ServiceCannotStart,
    StorageFailed,
    Store,
    settled,
)
from chargepin.core.messages import AccessRole, KeptPasscode
from chargepin.machine.files import private_directory, read_private, write_private

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_DIGITS: Final = 6
_TOKEN_BYTES: Final = 32
_HOUR_S: Final = 3600.0


@dataclass(frozen=True, slots=True, repr=False)
class MasterKey:
    """The one secret of the service, from which its other keys are derived. 32 bytes."""

    secret: bytes

    @property
    def key_id(self) -> bytes:
        """Tells whether a database belongs to this key, and nothing else."""
        return self._derived(b"chargepin account key id 1")[:16]

    @property
    def wrapping_key(self) -> bytes:
        return self._derived(b"chargepin account wrapping 1")

    @property
    def tag_key(self) -> bytes:
        return self._derived(b"chargepin account tags 1")

    @property
    def root(self) -> Ed25519PrivateKey:
        """The key that chargers pin when they are claimed."""
        return Ed25519PrivateKey.from_private_bytes(self._derived(b"chargepin account root 1"))

    def _derived(self, info: bytes) -> bytes:
        return HKDF(hashes.SHA256(), _KEY_BYTES, None, info).derive(self.secret)


def load_master_key(path: Path, expected_id: bytes | None) -> MasterKey:
    """Read the master key, 64 hex digits; draw it if there is neither a file nor a database.

    expected_id: noted in the database, None in a new one. A lost key is never replaced silently:
    with a new one no stored passcode could be opened, and no charger would trust the root.
    Raises ServiceCannotStart.
    """
    try:
        raw = read_private(path)
    except FileNotFoundError:
        if expected_id is not None:
            raise ServiceCannotStart(
                f"The master key {path} is missing. Restore it from its backup: without it the "
                "stored passcodes cannot be opened."
            ) from None
        return _draw_master_key(path)
    except OSError as error:
        raise ServiceCannotStart(f"Cannot read the master key {path}: {error.strerror}.") from error
    try:
        key = MasterKey(bytes.fromhex(raw.decode("ascii")))
    except ValueError:
        key = MasterKey(b"")
    if len(key.secret) != _KEY_BYTES:
        raise ServiceCannotStart(
            f"The master key {path} is damaged: it should hold 64 hex digits. "
            "Restore it from its backup."
        )
    if expected_id not in {None, key.key_id}:
        raise ServiceCannotStart(
            f"The master key {path} belongs to another database. "
            "Restore the key that was backed up with this one."
        )
    return key


def _draw_master_key(path: Path) -> MasterKey:
    key = MasterKey(os.urandom(_KEY_BYTES))
    try:
        private_directory(path.parent)
        write_private(path, key.secret.hex().encode() + b"\n")
    except OSError as error:
        raise ServiceCannotStart(
            f"Cannot write the master key {path}: {error.strerror}."
        ) from error
    return key


@dataclass(frozen=True, slots=True)
class RevealLimits:
    """How many reveals are answered within an hour of running time."""

    per_person: int = 30
    per_charger: int = 120


class Custody:
    """Seals passcodes, and reveals them to who may see them now."""

    def __init__(
        self, master: MasterKey, store: Store, clock: Clock, limits: RevealLimits | None = None
    ) -> None:
        limits = limits or RevealLimits()
        self._wrapping_key = master.wrapping_key
        self._tag_key = master.tag_key
        self._store = store
        self._clock = clock
        self._by_person = Limiter(
            "requests for passcodes by you",
            times=limits.per_person,
            window_s=_HOUR_S,
            running_s=clock.running_s,
        )
        self._by_charger = Limiter(
            "requests for this charger's passcode",
            times=limits.per_charger,
            window_s=_HOUR_S,
            running_s=clock.running_s,
        )

    def new_key(self) -> bytes:
        return keywrap.aes_key_wrap(self._wrapping_key, os.urandom(_KEY_BYTES))

    def seal(self, charger: Charger, generation: int, passcode: str, owner_token: bytes) -> bytes:
        # Always the same length, so that nothing shows in it.
        plaintext = passcode.encode("ascii") + owner_token
        if len(plaintext) != _DIGITS + _TOKEN_BYTES:
            raise ValueError("a passcode has 6 digits and an owner token 32 bytes")
        nonce = os.urandom(_NONCE_BYTES)
        cipher = AESGCM(keywrap.aes_key_unwrap(self._wrapping_key, charger.wrapped_key))
        return nonce + cipher.encrypt(nonce, plaintext, _bound_to(charger, generation))

    def passcode_tag(self, account_id: str, passcode: str) -> bytes:
        return self._tag(b"passcode", account_id.encode(), passcode.encode())

    def verifier_tag(self, charger: Charger, verifier_hash: bytes) -> bytes:
        return self._tag(b"verifier", charger.identity, verifier_hash)

    async def reveal(
        self, caller: Caller, charger_id: str, purpose: str, generation: int | None = None
    ) -> tuple[KeptPasscode, ...]:
        """Give the charger's passcodes, newest first, once the audit of it is on disk.

        Access is checked as it is in the transaction that writes the audit: somebody removed at
        the same moment either is in the audit or gets nothing. Raises Refused, StorageFailed.
        """
        # Whatever the operation allows, guests and installers stay out here.
        caller = replace(caller, may=caller.may & MAY_READ_PASSCODE)
        found = await self._store.charger(charger_id)
        if not caller.into(found, self._clock.unix_s())[0].passcodes:
            return ()
        self._count(caller.account_id, charger_id)

        async def attempt() -> tuple[KeptPasscode, ...]:
            nonlocal found
            found = found or await self._store.charger(charger_id)
            charger, member = caller.into(found, self._clock.unix_s())
            found = None  # if that turns out to be outdated, it is read again
            asked = [p for p in charger.passcodes if generation in {None, p.generation}]
            record = Record(
                charger.account_id,
                "passcode_revealed",
                {
                    "charger": charger_id,
                    "person": caller.person,
                    "purpose": purpose,
                    "generations": ",".join(str(p.generation) for p in asked),
                },
            )
            await self._store.commit(Change(self._clock.now(), seen=charger, records=(record,)))
            owner = member.role is AccessRole.OWNER
            return tuple(self._opened(charger, kept, owner=owner) for kept in reversed(asked))

        return await settled(attempt)

    def _count(self, account_id: str, charger_id: str) -> None:
        self._by_person.count(account_id)
        try:
            self._by_charger.count(charger_id)
        except BaseException:
            self._by_person.give_back(account_id)
            raise

    def _opened(self, charger: Charger, kept: SealedPasscode, *, owner: bool) -> KeptPasscode:
        try:
            cipher = AESGCM(keywrap.aes_key_unwrap(self._wrapping_key, charger.wrapped_key))
            plaintext = cipher.decrypt(
                kept.sealed[:_NONCE_BYTES],
                kept.sealed[_NONCE_BYTES:],
                _bound_to(charger, kept.generation),
            )
        except (InvalidTag, keywrap.InvalidUnwrap, ValueError) as error:
            raise StorageFailed("a stored passcode cannot be opened: it was damaged") from error
        return KeptPasscode(
            generation=kept.generation,
            salt=kept.salt.hex(),
            profile=kept.profile,
            passcode=plaintext[:_DIGITS].decode("ascii"),
            state=kept.state,
            owner_token=plaintext[_DIGITS:].hex() if owner else None,
        )

    def _tag(self, purpose: bytes, *parts: bytes) -> bytes:
        message = purpose + b"".join(struct.pack(">H", len(part)) + part for part in parts)
        return hmac.digest(self._tag_key, message, "sha256")


def _bound_to(charger: Charger, generation: int) -> bytes:
    """What a ciphertext cannot be moved away from."""
    return b"chargepin custody 1" + charger.identity + struct.pack(">I", generation)
