"""The stock protocol: requests in frames, bare JSON replies, and who may call which method.

A request frame is "EaE", a length, JSON, and the sum of all bytes before it modulo 256. The length
is one byte below 256 and 00, decimal ASCII digits, 00 from there on. A reply is JSON alone, cut
into notifications anywhere; it ends where its braces balance. The same JSON travels in the records
of the passcode service, without frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Annotated, Any

import msgspec

from chargepin.core.bonds import Role

REQUEST_MAX_BYTES = 8192
"""The longest JSON of a request; known requests stay below 2 KiB, a full set of schedules."""

REPLY_MAX_BYTES = 16384
"""The longest reply; known ones stay below 4 KiB. More is noise that never closes its brace."""

_PREAMBLE = b"EaE"
_SHORT_MAX = 0xFF
_LENGTH_AT = len(_PREAMBLE)
_LONG_LENGTH_MAX = len(str(REQUEST_MAX_BYTES)) + 2
_OPEN, _CLOSE, _QUOTE, _BACKSLASH = b'{}"\\'
_AFTER_BRACE = b'"} \t\r\n'

_Id = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]


class BapiError(ValueError):
    """Bytes that are no message of this protocol, or a message too long for it."""


@dataclass(frozen=True, slots=True)
class Request:
    """A method call. par is whatever JSON the caller sent, None for none: validate it."""

    met: str
    par: object
    id: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The charger's error object: code is a number from stock methods, a text from ours."""

    code: int | str
    message: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request of that id: a value, or an error and no value.

    A flat reply (its members stand next to id) has them as a dict in value. A value of None is
    both "done" and the stock way of ignoring a write: read back what matters.
    """

    id: int
    value: object = None
    error: Refused | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """What a charger says without being asked, in a record of the passcode service."""

    name: str
    members: Mapping[str, object]


class _Call(msgspec.Struct, frozen=True):
    met: _Name
    id: _Id
    par: Any = None


class _Error(msgspec.Struct, frozen=True):
    code: _Id | str
    message: str = ""


_JSON = msgspec.json.Decoder(dict[str, Any])
_CALL = msgspec.json.Decoder(_Call)
# msgspec lets the last two through for text that is not UTF-8 and for thousands of brackets.
_NOT_JSON = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def request_json(method: str, par: object, request_id: int) -> bytes:
    """A request without its frame, as records carry it. Raises BapiError when too long."""
    raw = msgspec.json.encode({"met": method, "par": par, "id": request_id})
    if len(raw) > REQUEST_MAX_BYTES:
        raise BapiError(f"a request is at most {REQUEST_MAX_BYTES} bytes")
    return raw


def encode_request(method: str, par: object, request_id: int) -> bytes:
    """A request in its frame. Raises BapiError when it is too long."""
    raw = request_json(method, par, request_id)
    length = bytes([len(raw)]) if len(raw) <= _SHORT_MAX else b"\0%d\0" % len(raw)
    frame = _PREAMBLE + length + raw
    return frame + _checksum(frame)


def decode_request(raw: bytes) -> Request:
    """Read a request's JSON; par may be missing. Raises BapiError."""
    try:
        call = _CALL.decode(raw)
    except _NOT_JSON:
        raise BapiError("not a request") from None  # the cause may quote a secret
    return Request(call.met, call.par, call.id)


class RequestAssembler:
    """Finds requests in what a client writes, however it is cut.

    A frame with a wrong length or checksum is dropped, and the search goes on behind its first
    byte: a good frame inside or after a broken one is still found.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take bytes, give the JSON of each request that is complete by now."""
        self._buffer += chunk
        found = []
        while self._seek_preamble():
            measured = self._measure()
            if measured is None or sum(measured) >= len(self._buffer):
                break
            start, length = measured
            end = start + length
            if length and self._buffer[end : end + 1] == _checksum(self._buffer[:end]):
                found.append(bytes(self._buffer[start:end]))
                del self._buffer[: end + 1]
            else:
                del self._buffer[0]
        return found

    def clear(self) -> None:
        """Forget an unfinished frame."""
        self._buffer.clear()

    def _seek_preamble(self) -> bool:
        """Drop what comes before the next preamble; False if there is none yet."""
        at = self._buffer.find(_PREAMBLE)
        if at < 0:
            begun = (size for size in (2, 1) if self._buffer.endswith(_PREAMBLE[:size]))
            at = len(self._buffer) - next(begun, 0)
        del self._buffer[:at]
        return len(self._buffer) >= len(_PREAMBLE)

    def _measure(self) -> tuple[int, int] | None:
        """Where the JSON starts and how long it is, 0 if that is wrong; None while unknown."""
        head = bytes(self._buffer[_LENGTH_AT : _LENGTH_AT + _LONG_LENGTH_MAX])
        if not head:
            return None
        if head[0]:
            return _LENGTH_AT + 1, head[0]
        digits, closing, _ = head[1:].partition(b"\0")
        if closing:
            length = int(digits) if digits.isdigit() else 0
            start = _LENGTH_AT + 1 + len(digits) + 1
            return start, length if length <= REQUEST_MAX_BYTES else 0
        complete = len(head) == _LONG_LENGTH_MAX
        return None if not complete and (digits.isdigit() or not digits) else (0, 0)


def encode_reply(request_id: int, value: object, *, value_first: bool = False) -> bytes:
    """A usual reply. value_first: before the id, as some chargers have it."""
    members = {"id": request_id, "r": value}
    return msgspec.json.encode(dict(reversed(members.items())) if value_first else members)


def encode_flat(request_id: int, members: Mapping[str, object]) -> bytes:
    """A reply whose members stand next to the id, as a few stock methods answer."""
    return msgspec.json.encode({"id": request_id, **members})


def encode_error(request_id: int, code: int | str, message: str) -> bytes:
    """A refusal. The message is for a person and names no secret."""
    return msgspec.json.encode({"error": {"code": code, "message": message}, "id": request_id})


def encode_event(name: str, members: Mapping[str, object]) -> bytes:
    """What the charger says unasked; only records carry it."""
    return msgspec.json.encode({"ev": name, **members})


def decode_reply(raw: bytes) -> Reply:
    """Read the answer to a request, in any of its shapes. Raises BapiError."""
    return _reply_of(_members_of(raw))


def decode_reply_or_event(raw: bytes) -> Reply | Event:
    """Read what a record from the charger holds. Raises BapiError."""
    members = _members_of(raw)
    name = members.get("ev")
    if isinstance(name, str) and "id" not in members:
        del members["ev"]
        return Event(name, members)
    return _reply_of(members)


def _members_of(raw: bytes) -> dict[str, Any]:
    try:
        return _JSON.decode(raw)
    except _NOT_JSON:
        raise BapiError("not a reply") from None


def _reply_of(members: dict[str, Any]) -> Reply:
    try:
        request_id = msgspec.convert(members.pop("id", None), _Id)
        if "error" in members:
            error = msgspec.convert(members["error"], _Error)
            return Reply(request_id, error=Refused(error.code, error.message))
    except msgspec.ValidationError:
        raise BapiError("a reply without an id, or with an error that says nothing") from None
    # The flat version reply has a member "r" of its own, among others.
    return Reply(request_id, members["r"] if members.keys() == {"r"} else members)


class ReplyAssembler:
    """Finds replies in a charger's notifications, however they are cut.

    Skips whatever stands before a reply: text of a module in command mode, a frame's head or
    checksum. Raises BapiError at REPLY_MAX_BYTES and then starts anew.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._depth = 0
        self._in_text = False
        self._escaped = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take bytes, give each JSON object that is complete by now. Raises BapiError."""
        found = []
        for byte in chunk:
            self._take(byte)
            if self._buffer and not self._depth:
                found.append(bytes(self._buffer))
                self.clear()
        return found

    def clear(self) -> None:
        """Forget an unfinished reply, as after a request that timed out."""
        self._buffer.clear()
        self._depth = 0
        self._in_text = self._escaped = False

    def _take(self, byte: int) -> None:
        if self._buffer == b"{" and byte not in _AFTER_BRACE:
            self.clear()  # that brace was noise, such as the checksum of a framed reply
        if not self._buffer and byte != _OPEN:
            return
        self._buffer.append(byte)
        if len(self._buffer) > REPLY_MAX_BYTES:
            self.clear()
            raise BapiError(f"a reply is at most {REPLY_MAX_BYTES} bytes")
        if self._escaped:
            self._escaped = False
        elif self._in_text:
            self._escaped = byte == _BACKSLASH
            self._in_text = byte != _QUOTE
        else:
            self._in_text = byte == _QUOTE
            self._depth += (byte == _OPEN) - (byte == _CLOSE)


class Kind(Enum):
    """Whether a method may change something: after a lost link a write may have happened."""

    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True)
class Method:
    """Who may call a method. in_records_only: it is ours, and the stock service has none such."""

    role: Role
    kind: Kind
    in_records_only: bool = False


_UNKNOWN = Method(Role.OWNER, Kind.WRITE)


def _stock(role: Role, kind: Kind, names: str) -> dict[str, Method]:
    return dict.fromkeys(names.split(), Method(role, kind))


def _ours(role: Role, kind: Kind, names: str) -> dict[str, Method]:
    return dict.fromkeys(names.split(), Method(role, kind, in_records_only=True))


METHODS = MappingProxyType(
    # Status, and the charging itself. set_pin is here to be refused with a reason by the method.
    _stock(
        Role.USER,
        Kind.READ,
        "ping r_dat r_sta r_dca r_lse r_ses r_log r_schs r_sch r_lck gulck g_alo r_fsI g_ecos "
        "g_psh r_hsh r_power_boost g_phsw g_tzn g_halocfg gnsta gwsta g_mac r_sn_ fw_v_ r_wel "
        "r_not gupdc supdp r_hup read_pin",
    )
    | _stock(
        Role.USER,
        Kind.WRITE,
        "w_cha w_mxI w_lck s_sch clr_sch w_sch s_cmode Wtime suser set_pin",
    )
    # Settings that outlast the session.
    | _stock(
        Role.ADMIN,
        Kind.WRITE,
        "s_alo s_tzn s_ecos s_psh clr_psh s_phsw s_halocfg sulck rebot",
    )
    # w_hsh and its other name are the limit of the house's connection; the rest hands out or
    # changes secrets.
    | _stock(Role.OWNER, Kind.READ, "g_ocpp gwnet")
    | _stock(
        Role.OWNER, Kind.WRITE, "w_hsh w_power_boost s_ocpp swcon swsta supds s_hup c_hup s_deb"
    )
    | _ours(Role.USER, Kind.READ, "passcode.receipt policy.get")
    | _ours(Role.USER, Kind.WRITE, "bond.create bonds.forget passcode.viewed")
    | _ours(Role.ADMIN, Kind.READ, "bonds.list log.read pairing.last")
    | _ours(Role.ADMIN, Kind.WRITE, "pause.end pairing.open pairing.close tamper.seen")
    | _ours(Role.OWNER, Kind.READ, "update.check update.progress")
    | _ours(
        Role.OWNER,
        Kind.WRITE,
        "passcode.set passcode.rotate policy.set claim release reset update.start",
    )
)
"""Every method that is known, stock and ours. A user may forget only the own bond."""


def method_of(name: str) -> Method:
    """Look a method up; one that is not known needs the owner and may change something."""
    return METHODS.get(name, _UNKNOWN)


def _checksum(frame: bytes | bytearray) -> bytes:
    return bytes([sum(frame) & 0xFF])
