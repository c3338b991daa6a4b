"""SPAKE2+ (RFC 9383), by which an app proves a secret without showing anything about it.

Suite P256-SHA256-HKDF-SHA256-HMAC-SHA256. The app is the prover, the charger the verifier. Who
listens learns nothing; who takes part in one exchange learns whether one guess was right. The
charger keeps a verifier from which the secret can only be guessed, each guess costing one run of
the slow hash.

Pure: random bytes are passed in, 48 for each scalar, fresh for each exchange.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from chargepin.core import p256
from chargepin.core.p256 import Point
from chargepin.core.passcode import Passcode

SUITE: Final = 1
PROFILE: Final = 1
"""Argon2id v1.3, 19,456 KiB, 2 passes, 1 lane, 80 bytes: about 30 ms on a desktop computer."""

IDENTITY_BYTES: Final = 32
SALT_BYTES: Final = 16
SECRET_BYTES: Final = 32
SCALAR_BYTES: Final = 48
SHARE_BYTES: Final = p256.POINT_BYTES
CONFIRM_BYTES: Final = 32
CONNECTION_NONCE_BYTES: Final = 8
APP_NONCE_BYTES: Final = 16
TAG_BYTES: Final = 16
RECORD_KEY_BYTES: Final = 44
_W_BYTES: Final = 32
_SEED_BYTES: Final = 80

_PROVER_ID: Final = b"chargepin app"


class HandshakeError(ValueError):
    """An exchange that cannot go on: a share, a verifier or a length that must not be."""


class WrongSecret(HandshakeError):
    """The other side does not know the same secret. Nothing was confirmed to it."""


class _Hidden:
    """Keeps secrets out of logs, tracebacks and debuggers' one-liners."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(hidden)"


# RFC 9383 section 4: two points whose discrete logarithms nobody knows.
_M: Final = Point(
    0x886E2F97ACE46E55BA9DD7242579F2993B64E16EF3DCAB95AFD497333D8FA12F,
    0x5FF355163E43CE224E0B0E65FF02AC8E5C7BE09419C785E0CA547D55A12E2D20,
)
_N: Final = Point(
    0xD8BBD6C639C62937B04D997F38C3770719C629D7014D49A24B4F98BAA1292B49,
    0x07D60AA6BFADE45008A636337F5168C64D9BD36034808CD564490B1E656EDBE7,
)


def _decoded(raw: bytes) -> Point:
    point = p256.decoded(raw)
    if point is None:
        raise HandshakeError("65 bytes, an uncompressed point of P-256, were expected")
    return point


def _decoded_share(raw: bytes) -> Point:
    """Read the other side's share. M, N and their opposites come from nobody honest."""
    point = _decoded(raw)
    if point.x in {_M.x, _N.x}:
        raise HandshakeError("a share is a constant of the protocol")
    return point


def _sum(one: Point, other: Point) -> Point:
    point = p256.added(one, other)
    if point is None:
        raise HandshakeError("a share cancels the secret out")
    return point


def _fresh_scalar(random: bytes) -> int:
    """Map 48 random bytes to 1..order-2, even to within 2^-128."""
    number = int.from_bytes(_exactly(random, SCALAR_BYTES, "a scalar's randomness"))
    return 1 + number % (p256.ORDER - 2)


def _stored_scalar(raw: bytes) -> int:
    scalar = int.from_bytes(_exactly(raw, _W_BYTES, "w0 or w1"))
    if not 0 < scalar < p256.ORDER:
        raise HandshakeError("w0 or w1 is out of range")
    return scalar


def _exactly(raw: bytes, length: int, what: str) -> bytes:
    if len(raw) != length:
        raise HandshakeError(f"{what}: {length} bytes expected, {len(raw)} given")
    return raw


# ---- credentials -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Witness(_Hidden):
    """What the app proves with: w0 and w1, 32 bytes each. As good as the secret itself.

    Raises HandshakeError unless both are 1..order-1.
    """

    w0: bytes
    w1: bytes

    def __post_init__(self) -> None:
        _stored_scalar(self.w0)
        _stored_scalar(self.w1)


@dataclass(frozen=True, slots=True, repr=False)
class Verifier(_Hidden):
    """What the charger keeps: w0, 32 bytes, and L = w1 times the base point, 65 bytes.

    Enough to check a proof, not to give one. Hidden all the same: a passcode can be guessed from
    it offline.
    """

    w0: bytes
    L: bytes

    def check(self) -> None:
        """Raise HandshakeError unless w0 is 1..order-1 and L a point of the curve."""
        _stored_scalar(self.w0)
        _decoded(self.L)

    def encode(self) -> bytes:
        """w0 || L, 97 bytes."""
        return self.w0 + self.L

    @classmethod
    def decode(cls, raw: bytes) -> "Verifier":
        """Read w0 || L and check them. Raises HandshakeError."""
        verifier = cls(raw[:_W_BYTES], raw[_W_BYTES:])
        verifier.check()
        return verifier


def check_profile(profile: int) -> None:
    """Raise HandshakeError for a way of hashing passcodes that this program does not know."""
    if profile != PROFILE:
        raise HandshakeError("a way of hashing passcodes that this program does not know")


def passcode_witness(passcode: Passcode, identity: bytes, salt: bytes, profile: int) -> Witness:
    """Stretch a passcode for one charger and one salt (RFC 9383 section 3.2).

    Takes tens of milliseconds and 19 MiB: keep it off the event loop. Raises HandshakeError for an
    unknown profile.
    """
    check_profile(profile)
    password = b"".join(
        _with_length(part)
        for part in (
            passcode.digits.encode(),
            _PROVER_ID,
            _exactly(identity, IDENTITY_BYTES, "identity"),
        )
    )
    hashed = Argon2id(
        salt=_exactly(salt, SALT_BYTES, "salt"),
        length=_SEED_BYTES,
        iterations=2,
        lanes=1,
        memory_cost=19_456,
    )
    return _witness(hashed.derive(password))


def bond_witness(secret: bytes, identity: bytes) -> Witness:
    """Give the witness of a bond's 32-byte secret."""
    _exactly(secret, SECRET_BYTES, "a bond's secret")
    return _witness(_derived(secret, identity, b"chargepin bond 1", _SEED_BYTES))


def open_witness(identity: bytes) -> Witness:
    """Give the witness that everybody knows: it keeps listeners out of an open charger's link."""
    return _witness(_derived(b"", identity, b"chargepin open 1", _SEED_BYTES))


def verifier_of(witness: Witness) -> Verifier:
    """Give what the charger keeps to check this witness."""
    return Verifier(witness.w0, p256.encoded(p256.times_base(_stored_scalar(witness.w1))))


def bond_tag_key(secret: bytes, identity: bytes) -> bytes:
    """Give the 32-byte key under which a bond is named."""
    _exactly(secret, SECRET_BYTES, "a bond's secret")
    return _derived(secret, identity, b"chargepin bond tag 1", 32)


def bond_tag(tag_key: bytes, connection_nonce: bytes, app_nonce: bytes) -> bytes:
    """Name a bond to one connection only: 16 bytes that listeners can neither link nor reuse."""
    _exactly(connection_nonce, CONNECTION_NONCE_BYTES, "the connection's nonce")
    _exactly(app_nonce, APP_NONCE_BYTES, "the app's nonce")
    message = b"chargepin tag 1" + connection_nonce + app_nonce
    return hmac.digest(tag_key, message, "sha256")[:TAG_BYTES]


def _derived(secret: bytes, identity: bytes, info: bytes, length: int) -> bytes:
    return _hkdf(secret, _exactly(identity, IDENTITY_BYTES, "identity"), info, length)


def _witness(seed: bytes) -> Witness:
    """Reduce w0s || w1s. Each is 64 bits longer than the order, so the bias is below 2^-64."""
    half = _SEED_BYTES // 2
    w0, w1 = (int.from_bytes(part) % p256.ORDER for part in (seed[:half], seed[half:]))
    return Witness(w0.to_bytes(_W_BYTES), w1.to_bytes(_W_BYTES))


# ---- key schedule (RFC 9383 sections 3.3 and 3.4) ----------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class SessionKeys(_Hidden):
    """One key of 44 bytes for each direction's records, and 32 bytes to bind other things to."""

    app_to_charger: bytes
    charger_to_app: bytes
    exporter: bytes


@dataclass(frozen=True, slots=True, repr=False)
class _Outcome(_Hidden):
    confirm_p: bytes
    confirm_v: bytes
    shared: bytes


@dataclass(frozen=True, slots=True)
class _Seen:
    """What both sides have seen of one exchange."""

    context: bytes
    prover_id: bytes
    verifier_id: bytes
    share_p: bytes
    share_v: bytes

    def outcome(self, z: Point, v: Point, w0: bytes) -> _Outcome:
        """Hash the transcript into confirmations and a shared key."""
        constants = (p256.encoded(_M), p256.encoded(_N))
        seen = (self.context, self.prover_id, self.verifier_id, *constants)
        parts = (*seen, self.share_p, self.share_v, p256.encoded(z), p256.encoded(v), w0)
        main = hashlib.sha256(b"".join(map(_with_length, parts))).digest()
        confirming = _hkdf(main, None, b"ConfirmationKeys", 64)
        return _Outcome(
            confirm_p=hmac.digest(confirming[:32], self.share_v, "sha256"),
            confirm_v=hmac.digest(confirming[32:], self.share_p, "sha256"),
            shared=_hkdf(main, None, b"SharedKey", 32),
        )

    def session_keys(self, outcome: _Outcome) -> SessionKeys:
        """Split the shared key by use."""
        salt = hashlib.sha256(self.context + self.share_p + self.share_v).digest()
        return SessionKeys(
            _hkdf(outcome.shared, salt, b"chargepin app to charger", RECORD_KEY_BYTES),
            _hkdf(outcome.shared, salt, b"chargepin charger to app", RECORD_KEY_BYTES),
            _hkdf(outcome.shared, salt, b"chargepin exporter", 32),
        )


def _hkdf(key: bytes, salt: bytes | None, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(key)


def _with_length(part: bytes) -> bytes:
    return struct.pack("<Q", len(part)) + part


def context(hello: bytes, params: bytes) -> bytes:
    """Bind an exchange to the messages before it, each whole: type, body, and the signature.

    Raises HandshakeError for a message that cannot have been on the air.
    """
    try:
        lengths = [struct.pack(">H", len(message)) for message in (hello, params)]
    except struct.error:
        raise HandshakeError("a message is longer than any on the air") from None
    return b"chargepin handshake 1" + lengths[0] + hello + lengths[1] + params


# ---- the exchange (RFC 9383 section 3.3) -------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Proof(_Hidden):
    """What the app has after the charger's confirmation held: its own, to be sent, and the keys."""

    confirm_p: bytes
    keys: SessionKeys


@dataclass(frozen=True, slots=True, repr=False)
class Response(_Hidden):
    """The charger's answer. The keys must not be used before `confirmed_by` has said yes."""

    share_v: bytes
    confirm_v: bytes
    expected_confirm_p: bytes
    keys: SessionKeys

    def confirmed_by(self, confirm_p: bytes) -> bool:
        """Whether the app has proved the secret. Takes as long for any wrong answer."""
        return hmac.compare_digest(self.expected_confirm_p, confirm_p)


class Prover(_Hidden):
    """The app's side of one exchange.

    scalar48: 48 fresh random bytes. Raises HandshakeError for wrong lengths.
    """

    __slots__ = ("_identity", "_scalar", "_share_p", "_witness")

    def __init__(self, witness: Witness, identity: bytes, scalar48: bytes) -> None:
        self._witness = witness
        self._identity = _exactly(identity, IDENTITY_BYTES, "identity")
        self._scalar: int | None = _fresh_scalar(scalar48)
        self._share_p = _prover_share(witness, self._scalar)

    def start(self) -> bytes:
        """Give shareP, 65 bytes."""
        return self._share_p

    def finish(self, context: bytes, share_v: bytes, confirm_v: bytes) -> Proof:
        """Check the charger's answer; only then is there anything that proves our secret.

        Once only: a second answer to the same share would be a second guess for one exchange.
        Raises WrongSecret if the charger knows another secret or none, HandshakeError if its
        answer is malformed.
        """
        if self._scalar is None:
            raise HandshakeError("this exchange is over")
        scalar, self._scalar = self._scalar, None
        _exactly(confirm_v, CONFIRM_BYTES, "confirmV")
        seen = _Seen(context, _PROVER_ID, self._identity, self._share_p, share_v)
        outcome = _prover_outcome(seen, self._witness, scalar)
        if not hmac.compare_digest(outcome.confirm_v, confirm_v):
            raise WrongSecret("the charger did not confirm this secret")
        return Proof(outcome.confirm_p, seen.session_keys(outcome))


def respond(
    verifier: Verifier, identity: bytes, context: bytes, share_p: bytes, scalar48: bytes
) -> Response:
    """Answer an app's share as the charger.

    The answer lets whoever sent the share check one guess: an attempt must have been counted
    before. scalar48: 48 fresh random bytes. Raises HandshakeError for a share no honest app sends.
    """
    _exactly(identity, IDENTITY_BYTES, "identity")
    scalar = _fresh_scalar(scalar48)
    share_v = _verifier_share(verifier, scalar)
    seen = _Seen(context, _PROVER_ID, identity, share_p, share_v)
    outcome = _verifier_outcome(seen, verifier, scalar)
    return Response(share_v, outcome.confirm_v, outcome.confirm_p, seen.session_keys(outcome))


def _prover_share(witness: Witness, x: int) -> bytes:
    return p256.encoded(_sum(p256.times_base(x), p256.times(_stored_scalar(witness.w0), _M)))


def _verifier_share(verifier: Verifier, y: int) -> bytes:
    return p256.encoded(_sum(p256.times_base(y), p256.times(_stored_scalar(verifier.w0), _N)))


def _prover_outcome(seen: _Seen, witness: Witness, x: int) -> _Outcome:
    if seen.share_v == seen.share_p:
        raise HandshakeError("a share came back as its own answer")
    w0, w1 = _stored_scalar(witness.w0), _stored_scalar(witness.w1)
    blinded = _sum(_decoded_share(seen.share_v), p256.opposite(p256.times(w0, _N)))
    return seen.outcome(p256.times(x, blinded), p256.times(w1, blinded), witness.w0)


def _verifier_outcome(seen: _Seen, verifier: Verifier, y: int) -> _Outcome:
    w0 = _stored_scalar(verifier.w0)
    unmasked = _sum(_decoded_share(seen.share_p), p256.opposite(p256.times(w0, _M)))
    return seen.outcome(p256.times(y, unmasked), p256.times(y, _decoded(verifier.L)), verifier.w0)
