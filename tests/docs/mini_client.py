"""The bytes of docs/protocol.md, written from that document alone: the sections named are its own.

Nothing of chargepin is imported. Of `cryptography` it uses the primitives; the arithmetic of P-256
is the oracle's, slow and different from chargepin's. Not for secrets: nothing takes constant time.
"""

import hashlib
import hmac
import struct
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from core import spake2plus_oracle as curve

HELLO, PARAMS, REFUSAL, SHARE_P, SHARE_V, CONFIRM_P, RECORD = 1, 2, 3, 4, 5, 6, 0x10
OPEN, PASSCODE, BOND = 0, 1, 2
PAUSED, EXHAUSTED = 1, 2
APP = (0, 1, 0)
ID_PROVER = b"chargepin app"


class Broken(Exception):
    """The other side does what the document does not allow: end the link."""


class WrongSecret(Exception):
    """The charger did not confirm the secret: CONFIRM_P is never sent."""


# ---- 4 and 6: framing ---------------------------------------------------------------------------


def stock_frame(text: bytes) -> bytes:
    length = bytes([len(text)]) if len(text) < 256 else b"\0" + str(len(text)).encode() + b"\0"
    frame = b"EaE" + length + text
    return frame + bytes([sum(frame) % 256])


def framed(message: bytes) -> bytes:
    return struct.pack(">H", len(message)) + message


def cut(frame: bytes, att_mtu: int) -> list[bytes]:
    size = min(att_mtu - 3, 512)
    return [frame[at : at + size] for at in range(0, len(frame), size)]


class Stream:
    """One direction's chunks, put together again."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[bytes]:
        self._rest += chunk
        messages = []
        while len(self._rest) >= 2:
            (length,) = struct.unpack(">H", self._rest[:2])
            if not 1 <= length <= 4096:
                raise Broken("a length that must not be")
            if len(self._rest) < 2 + length:
                break
            messages.append(self._rest[2 : 2 + length])
            self._rest = self._rest[2 + length :]
        return messages


# ---- 5 and 7: messages --------------------------------------------------------------------------

Version = tuple[int, int, int]


class Fields:
    """Takes fields off the front."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    def octets(self, size: int) -> bytes:
        taken, self._raw = self._raw[:size], self._raw[size:]
        if len(taken) != size:
            raise Broken("a message ends too early")
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.octets(size), "big")

    def version(self) -> Version:
        return (self.number(2), self.number(2), self.number(2))

    def text(self) -> str:
        return self.octets(self.number(1)).decode()

    def end(self) -> None:
        if self._raw:
            raise Broken("a message is too long")


@dataclass(frozen=True)
class Hint:
    version: int
    state: int
    generation: int
    nonce: bytes


def read_hint(raw: bytes) -> Hint:
    fields = Fields(raw)
    hint = Hint(fields.number(1), fields.number(1), fields.number(4), fields.octets(8))
    fields.end()
    return hint


def hello(credential: int, nonce: bytes, tag: bytes = bytes(16)) -> bytes:
    return struct.pack(">4B3H16s16s", HELLO, 1, 1, credential, *APP, nonce, tag)


@dataclass(frozen=True)
class Params:
    """raw: the whole message, for the context."""

    raw: bytes
    credential: int
    state: int
    flags: int
    identity: bytes
    incarnation: int
    generation: int
    profile: int
    salt: bytes
    retry_after_s: int
    tries_left: int
    software: Version
    oldest_app: Version
    serial: str


@dataclass(frozen=True)
class Refusal:
    code: int
    identity: bytes
    incarnation: int
    generation: int
    retry_after_s: int
    oldest_app: Version


def read_answer(said: bytes, raw: bytes) -> Params | Refusal:
    """Read the answer to the HELLO that was said; its signature holds under what it names."""
    fields = Fields(raw)
    kind = fields.number(1)
    answer: Params | Refusal
    if kind == PARAMS:
        if (fields.number(1), fields.number(1)) != (1, 1):
            raise Broken("another protocol or suite")
        answer = Params(
            raw,
            fields.number(1),
            fields.number(1),
            fields.number(2),
            fields.octets(32),
            fields.number(4),
            fields.number(4),
            fields.number(1),
            fields.octets(16),
            fields.number(4),
            fields.number(1),
            fields.version(),
            fields.version(),
            fields.text(),
        )
        fields.octets(16)  # the charger's nonce
    elif kind == REFUSAL:
        fields.number(1)
        answer = Refusal(
            fields.number(1),
            fields.octets(32),
            fields.number(4),
            fields.number(4),
            fields.number(4),
            fields.version(),
        )
    else:
        raise Broken("an answer of another type")
    signature = fields.octets(64)
    fields.end()
    check(answer.identity, signature, b"chargepin params 1" + said + raw[:-64])
    return answer


def check(identity: bytes, signature: bytes, signed: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise Broken("the signature is not the charger's") from None


# ---- 8: credentials -----------------------------------------------------------------------------


def hkdf(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def with_length(part: bytes) -> bytes:
    return struct.pack("<Q", len(part)) + part


def passcode_password(digits: bytes, identity: bytes) -> bytes:
    return with_length(digits) + with_length(ID_PROVER) + with_length(identity)


def passcode_seed(digits: bytes, identity: bytes, salt: bytes, profile: int) -> bytes:
    if profile != 1:
        raise Broken("the app must be updated: it cannot hash passcodes in that way")
    argon = Argon2id(salt=salt, length=80, iterations=2, lanes=1, memory_cost=19_456)
    return argon.derive(passcode_password(digits, identity))


def bond_seed(secret: bytes, identity: bytes) -> bytes:
    return hkdf(secret, identity, b"chargepin bond 1", 80)


def bond_tag_key(secret: bytes, identity: bytes) -> bytes:
    return hkdf(secret, identity, b"chargepin bond tag 1", 32)


def bond_tag(tag_key: bytes, connection_nonce: bytes, app_nonce: bytes) -> bytes:
    said = b"chargepin tag 1" + connection_nonce + app_nonce
    return hmac.digest(tag_key, said, "sha256")[:16]


def open_seed(identity: bytes) -> bytes:
    return hkdf(b"", identity, b"chargepin open 1", 80)


def witness(seed: bytes) -> tuple[int, int]:
    """w0 and w1."""
    halves = (int.from_bytes(half, "big") % curve.ORDER for half in (seed[:40], seed[40:]))
    w0, w1 = halves
    return w0, w1


def verifier(w0: int, w1: int) -> bytes:
    return w0.to_bytes(32, "big") + curve.written(curve.multiple(w1, curve.G))


# ---- 9: handshake -------------------------------------------------------------------------------


def scalar(random: bytes) -> int:
    return 1 + int.from_bytes(random, "big") % (curve.ORDER - 2)


def context(said: bytes, params: bytes) -> bytes:
    lengths = (struct.pack(">H", len(message)) for message in (said, params))
    return b"chargepin handshake 1" + next(lengths) + said + next(lengths) + params


def share_p(w0: int, x: int) -> bytes:
    return curve.written(curve.plus(curve.multiple(x, curve.G), curve.multiple(w0, curve.M)))


def unblinded(share: bytes, w0: int, constant: curve.Triple) -> curve.Triple:
    """The other side's share without its blinding; refuses what no honest side sends."""
    try:
        point = curve.read(share)
    except ValueError:
        raise Broken("a share is no point of the curve") from None
    if share[1:33] in {curve.written(curve.M)[1:33], curve.written(curve.N)[1:33]}:
        raise Broken("a share is a constant")
    bare = curve.plus(point, curve.minus(curve.multiple(w0, constant)))
    if bare[2] % curve.P == 0:
        raise Broken("a share cancels the secret out")
    return bare


@dataclass(frozen=True)
class Schedule:
    """Everything that comes of a transcript (9.3)."""

    transcript: bytes
    k_main: bytes
    k_confirm: bytes
    k_shared: bytes
    confirm_p: bytes
    confirm_v: bytes
    salt: bytes
    app_to_charger: bytes
    charger_to_app: bytes
    exporter: bytes


def schedule(
    bound: bytes, identity: bytes, shares: tuple[bytes, bytes], z: bytes, v: bytes, w0: int
) -> Schedule:
    names = (bound, ID_PROVER, identity, curve.written(curve.M), curve.written(curve.N))
    parts = (*names, *shares, z, v, w0.to_bytes(32, "big"))
    transcript = b"".join(map(with_length, parts))
    k_main = hashlib.sha256(transcript).digest()
    k_confirm = hkdf(k_main, b"", b"ConfirmationKeys", 64)
    k_shared = hkdf(k_main, b"", b"SharedKey", 32)
    salt = hashlib.sha256(bound + shares[0] + shares[1]).digest()
    return Schedule(
        transcript,
        k_main,
        k_confirm,
        k_shared,
        hmac.digest(k_confirm[:32], shares[1], "sha256"),
        hmac.digest(k_confirm[32:], shares[0], "sha256"),
        salt,
        hkdf(k_shared, salt, b"chargepin app to charger", 44),
        hkdf(k_shared, salt, b"chargepin charger to app", 44),
        hkdf(k_shared, salt, b"chargepin exporter", 32),
    )


def prove(
    bound: bytes, identity: bytes, secret: tuple[int, int], x: int, answer: bytes
) -> Schedule:
    """The app's half after SHARE_V, type and body. Raises WrongSecret."""
    fields = Fields(answer)
    if fields.number(1) != SHARE_V:
        raise Broken("SHARE_V was expected")
    share_v, confirm_v = fields.octets(65), fields.octets(32)
    fields.end()
    w0, w1 = secret
    own = share_p(w0, x)
    if own == share_v:
        raise Broken("the own share came back")
    bare = unblinded(share_v, w0, curve.N)
    z, v = (curve.written(curve.multiple(factor, bare)) for factor in (x, w1))
    outcome = schedule(bound, identity, (own, share_v), z, v, w0)
    if outcome.confirm_v != confirm_v:
        raise WrongSecret
    return outcome


# ---- 10: records --------------------------------------------------------------------------------


class Records:
    """One direction of a session. direction: 0 app to charger, 1 charger to app."""

    def __init__(self, key44: bytes, direction: int) -> None:
        self._cipher = ChaCha20Poly1305(key44[:32])
        self._iv = key44[32:]
        self._direction = direction
        self.count = 0

    def nonce(self) -> bytes:
        counter = bytes(4) + struct.pack(">Q", self.count)
        return bytes(a ^ b for a, b in zip(self._iv, counter, strict=True))

    def associated(self) -> bytes:
        return struct.pack(">BBQ", RECORD, self._direction, self.count)

    def seal(self, text: bytes) -> bytes:
        sealed = self._cipher.encrypt(self.nonce(), text, self.associated())
        self.count += 1
        return bytes([RECORD]) + sealed

    def open(self, message: bytes) -> bytes:
        if message[0] != RECORD:
            raise Broken("a record was expected")
        try:
            text = self._cipher.decrypt(self.nonce(), message[1:], self.associated())
        except InvalidTag:
            raise Broken("a record does not open") from None
        self.count += 1
        return text
