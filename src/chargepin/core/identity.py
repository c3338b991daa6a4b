"""What the charger says under its identity, and the messages that it answers.

Each struct has one layout, big-endian, field after field, from which it is both written and read.
Reading is strict: whatever decodes encodes to the same bytes again.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum, IntFlag
from typing import Annotated, Any, ClassVar, Final, Self, get_type_hints

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from chargepin.core import channel, handshake
from chargepin.core.catalogue import Version
from chargepin.core.handshake import CONFIRM_BYTES, SHARE_BYTES, Verifier

PROTOCOL: Final = 1
SUITE: Final = handshake.SUITE

SIGNATURE_BYTES: Final = 64
_LONGEST_TEXT: Final = 255


class IdentityError(ValueError):
    """A message that must not be: malformed, out of range, or not signed as it should be."""


class MessageType(IntEnum):
    """The first byte of every message."""

    HELLO = 0x01
    PARAMS = 0x02
    REFUSAL = 0x03
    SHARE_P = 0x04
    SHARE_V = 0x05
    CONFIRM_P = 0x06
    RECORD = channel.RECORD


class Credential(IntEnum):
    """By what an app proves itself."""

    OPEN = 0
    PASSCODE = 1
    BOND = 2


class State(IntEnum):
    """Whether a passcode is set."""

    UNSUPPORTED = 0
    OPEN = 1
    PROTECTED = 2


class Flag(IntFlag):
    """What else PARAMS tell. Unknown bits are kept and mean nothing."""

    PAUSED = 1
    EXHAUSTED = 2
    BOND_KNOWN = 4
    DOWNGRADED = 8
    PRESENCE_NEEDED = 16
    UPDATE_AVAILABLE = 32


class RefusalCode(IntEnum):
    """Why the charger does not go on."""

    APP_TOO_OLD = 1
    UNSUPPORTED = 2
    BOND_UNKNOWN = 3
    NOT_SET = 4
    PASSCODE_NEEDED = 5
    PAUSED = 6
    EXHAUSTED = 7
    STORAGE_FAILED = 8
    MALFORMED = 9
    WRONG = 10
    CHANGED = 11
    BUSY = 12


# ---- fields ------------------------------------------------------------------------------------


class _Reader:
    """Takes fields off the front of a message."""

    def __init__(self, raw: bytes) -> None:
        self._rest = raw

    def take(self, size: int) -> bytes:
        taken, self._rest = self._rest[:size], self._rest[size:]
        if len(taken) != size:
            raise IdentityError("a message ends too early")
        return taken

    def end(self) -> None:
        if self._rest:
            raise IdentityError("a message is longer than its fields")


@dataclass(frozen=True, slots=True)
class _Field:
    """How one value is written and read. Both raise IdentityError."""

    write: Callable[[Any], bytes]
    read: Callable[[_Reader], Any]


def _number(size: int) -> _Field:
    def write(value: int) -> bytes:
        try:
            return value.to_bytes(size)
        except OverflowError:
            raise IdentityError(f"a number does not fit {size} bytes without a sign") from None

    return _Field(write, lambda reader: int.from_bytes(reader.take(size)))


def _choice(kind: type[IntEnum]) -> _Field:
    def read(reader: _Reader) -> IntEnum:
        try:
            return kind(reader.take(1)[0])
        except ValueError:
            raise IdentityError(f"an unknown {kind.__name__}") from None

    return _Field(_number(1).write, read)


def _fixed(size: int) -> _Field:
    def write(value: bytes) -> bytes:
        if len(value) != size:
            raise IdentityError(f"a field has {size} bytes, not {len(value)}")
        return value

    return _Field(write, lambda reader: reader.take(size))


def _shown(text: str) -> str:
    # Terminals and pages show these texts: nothing may move a cursor or turn writing round.
    if not text.isprintable():
        raise IdentityError("a text has characters that cannot be shown")
    return text


def _write_text(value: str) -> bytes:
    raw = _shown(value).encode()
    if len(raw) > _LONGEST_TEXT:
        raise IdentityError(f"a text has at most {_LONGEST_TEXT} bytes, not {len(raw)}")
    return bytes([len(raw)]) + raw


def _read_text(reader: _Reader) -> str:
    raw = reader.take(reader.take(1)[0])
    try:
        return _shown(raw.decode())
    except UnicodeDecodeError:
        raise IdentityError("a text is not UTF-8") from None


_SIGNED = _fixed(SIGNATURE_BYTES)
U8 = Annotated[int, _number(1)]
U16 = Annotated[int, _number(2)]
U32 = Annotated[int, _number(4)]
Bytes8 = Annotated[bytes, _fixed(8)]
Bytes16 = Annotated[bytes, _fixed(16)]
Bytes32 = Annotated[bytes, _fixed(32)]
Text = Annotated[str, _Field(_write_text, _read_text)]
Triple = Annotated[Version, _Field(Version.encode, lambda r: Version.decode(r.take(6)))]
Flags = Annotated[Flag, _Field(_number(2).write, lambda r: Flag(int.from_bytes(r.take(2))))]
Signature = Annotated[bytes, _Field(lambda value: value and _SIGNED.write(value), _SIGNED.read)]


def _layout(struct: type["_Struct"]) -> Mapping[str, _Field]:
    hints = get_type_hints(struct, include_extras=True)
    return {each.name: hints[each.name].__metadata__[0] for each in fields(struct)}


@dataclass(frozen=True, slots=True)
class _Struct:
    """Writes and reads itself: its fields stand in the order of the air."""

    lead: ClassVar[bytes] = b""

    def encode(self) -> bytes:
        """Give the whole message, type and body. Raises IdentityError for what does not fit."""
        layout = _layout(type(self)).items()
        return self.lead + b"".join(how.write(getattr(self, name)) for name, how in layout)

    @classmethod
    def decode(cls, message: bytes) -> Self:
        """Read a whole message. Checks no signature. Raises IdentityError."""
        reader = _Reader(message)
        if reader.take(len(cls.lead)) != cls.lead:
            raise IdentityError(f"not a message of the type {cls.__name__}")
        values = {name: how.read(reader) for name, how in _layout(cls).items()}
        reader.end()
        return cls(**values)


# ---- messages ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hint(_Struct):
    """What anybody may read before a handshake, 14 bytes: never a reason to decide anything.

    nonce: 8 bytes, drawn for each connection. version: of the protocol.
    """

    version: U8 = field(default=PROTOCOL, kw_only=True)
    state: Annotated[State, _choice(State)]
    generation: U32
    nonce: Bytes8


@dataclass(frozen=True, slots=True)
class Hello(_Struct):
    """The app's first message.

    nonce: 16 random bytes. tag: names a bond (`handshake.bond_tag`), zeros for other credentials.
    protocol, suite: an unknown one decodes too, so that it can be refused by name.
    """

    protocol: U8 = field(default=PROTOCOL, kw_only=True)
    suite: U8 = field(default=SUITE, kw_only=True)
    credential: Annotated[Credential, _choice(Credential)]
    app: Triple
    nonce: Bytes16
    tag: Bytes16 = bytes(handshake.TAG_BYTES)

    lead = bytes([MessageType.HELLO])


@dataclass(frozen=True, slots=True)
class Params(_Struct):
    """The charger's answer to HELLO: who it is, in what state, and how to prove the credential.

    profile: of the passcode's hash, 0 without a passcode. salt, nonce: 16 bytes. retry_after_s:
    whole seconds. tries_left: before a pause or the end of this generation's budget. signature:
    empty until `sign_answer` has put it there.
    """

    protocol: U8 = field(default=PROTOCOL, kw_only=True)
    suite: U8 = field(default=SUITE, kw_only=True)
    credential: Annotated[Credential, _choice(Credential)]
    state: Annotated[State, _choice(State)]
    flags: Flags
    identity: Bytes32
    incarnation: U32
    generation: U32
    profile: U8
    salt: Bytes16
    retry_after_s: U32
    tries_left: U8
    software: Triple
    oldest_app: Triple
    serial: Text
    nonce: Bytes16
    signature: Signature = b""

    lead = bytes([MessageType.PARAMS])


@dataclass(frozen=True, slots=True)
class Refusal(_Struct):
    """The charger's answer when it does not go on.

    retry_after_s: whole seconds, 0 where waiting does not help. signature: as in Params.
    """

    protocol: U8 = field(default=PROTOCOL, kw_only=True)
    code: Annotated[RefusalCode, _choice(RefusalCode)]
    identity: Bytes32
    incarnation: U32
    generation: U32
    retry_after_s: U32
    oldest_app: Triple
    signature: Signature = b""

    lead = bytes([MessageType.REFUSAL])


def decode_share_v(message: bytes) -> tuple[bytes, bytes]:
    """Read SHARE_V, type and body; gives shareV and confirmV. Raises IdentityError."""
    reader = _Reader(message)
    if reader.take(1)[0] != MessageType.SHARE_V:
        raise IdentityError("not a message of the type SHARE_V")
    share_v, confirm_v = reader.take(SHARE_BYTES), reader.take(CONFIRM_BYTES)
    reader.end()
    return share_v, confirm_v


# ---- signatures --------------------------------------------------------------------------------

_ANSWER: Final = b"chargepin params 1"
_OPEN: Final = b"chargepin open 1"


def sign_answer(key: Ed25519PrivateKey, hello: bytes, unsigned: bytes) -> bytes:
    """Sign PARAMS or a REFUSAL as the answer to this HELLO; gives the whole answer.

    hello, unsigned: type and body.
    """
    return unsigned + key.sign(_ANSWER + hello + unsigned)


def verify_answer(identity: bytes, hello: bytes, answer: bytes) -> Params | Refusal:
    """Read an answer that must be signed by this identity, name it, and answer this HELLO.

    Raises IdentityError.
    """
    refused = answer.startswith(Refusal.lead)
    decoded = Refusal.decode(answer) if refused else Params.decode(answer)
    if decoded.identity != identity:
        raise IdentityError("another identity is named than the one expected")
    _verify(identity, decoded.signature, _ANSWER + hello + answer[:-SIGNATURE_BYTES])
    return decoded


def sign_open(key: Ed25519PrivateKey, exporter: bytes) -> bytes:
    """Sign a session with an open charger, which no secret ties to who signed its PARAMS."""
    return key.sign(_OPEN + exporter)


def verify_open(identity: bytes, exporter: bytes, signature: bytes) -> None:
    """See that no third one stands in an open session. Raises IdentityError."""
    _verify(identity, signature, _OPEN + exporter)


def _verify(identity: bytes, signature: bytes, signed: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, signed)
    except (InvalidSignature, ValueError):
        raise IdentityError("the signature is not that of the identity") from None


def verifier_hash(verifier: Verifier, salt: bytes, profile: int) -> bytes:
    """Name a passcode's verifier in a receipt: 32 bytes. Raises IdentityError."""
    named = verifier.encode() + _fixed(16).write(salt) + _number(1).write(profile)
    return hashlib.sha256(named).digest()


@dataclass(frozen=True, slots=True)
class _Statement(_Struct):
    """The charger's word, which says under which identity, to be shown to others."""

    purpose: ClassVar[bytes]

    identity: Bytes32

    def sign(self, key: Ed25519PrivateKey) -> bytes:
        """Give the signature, 64 bytes."""
        return key.sign(self.purpose + self.encode())

    def verify(self, signature: bytes) -> None:
        """Raise IdentityError unless the identity that is named here signed this.

        Whether that is the identity one expects, the caller has to compare.
        """
        _verify(self.identity, signature, self.purpose + self.encode())


@dataclass(frozen=True, slots=True)
class Receipt(_Statement):
    """The charger's word that a passcode is in force: only this makes a pending one active.

    bonds: how many were kept. log_head: of the security log, 32 bytes.
    """

    incarnation: U32
    generation: U32
    verifier_hash: Bytes32
    bonds: U16
    log_head: Bytes32

    purpose = b"chargepin receipt 1"


@dataclass(frozen=True, slots=True)
class Claim(_Statement):
    """The charger's word that it belongs to an account.

    account: its id. root_key: under which the account's commands will be signed. nonce: 32 bytes,
    the account service's, so that a claim serves once.
    """

    serial: Text
    incarnation: U32
    generation: U32
    account: Text
    root_key: Bytes32
    nonce: Bytes32

    purpose = b"chargepin claim 1"
