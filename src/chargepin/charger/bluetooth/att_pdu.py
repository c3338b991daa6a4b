"""The pieces that PDUs of the Attribute Protocol are made of (Core Vol 3, Part F)."""

import struct
from collections.abc import Sequence
from enum import IntEnum
from typing import Final

HANDLE: Final = struct.Struct("<H")
RANGE: Final = struct.Struct("<HH")
_BASE_UUID: Final = bytes.fromhex("fb349b5f8000008000100000")  # what is before the short UUID
_SHORT_BYTES: Final = 2


class Code(IntEnum):
    """Errors of the protocol itself (3.4.1.1)."""

    INVALID_HANDLE = 0x01
    READ_NOT_PERMITTED = 0x02
    WRITE_NOT_PERMITTED = 0x03
    INVALID_PDU = 0x04
    REQUEST_NOT_SUPPORTED = 0x06
    INVALID_OFFSET = 0x07
    ATTRIBUTE_NOT_FOUND = 0x0A
    INVALID_ATTRIBUTE_LENGTH = 0x0D
    UNLIKELY_ERROR = 0x0E
    UNSUPPORTED_GROUP_TYPE = 0x10
    VALUE_NOT_ALLOWED = 0x13


class Denied(Exception):
    """Why a request fails: the code of the Error Response, and the handle it is about."""

    def __init__(self, code: int, handle: int = 0) -> None:
        super().__init__(f"ATT error 0x{code:02x} about handle {handle}")
        self.code = code
        self.handle = handle


def handle_range(body: bytes) -> tuple[int, int]:
    """Read the first and the last handle that a request is about. Raises Denied."""
    first, last = RANGE.unpack(body)
    if not 0 < first <= last:
        raise Denied(Code.INVALID_HANDLE, first)
    return first, last


def handles(body: bytes) -> Sequence[int]:
    """Read a list of handles. Raises Denied."""
    if not body or len(body) % HANDLE.size:
        raise Denied(Code.INVALID_PDU)
    return [handle for (handle,) in HANDLE.iter_unpack(body)]


def of_equal_length(values: Sequence[tuple[bytes, bytes]], mtu: int) -> bytes:
    """List values, each after its handles: those of the first one's length, as many as fit."""
    head, first = values[0]
    entry_max = min(mtu - 2, 255)
    size = min(len(head) + len(first), entry_max)
    data = b""
    for handles, value in values:
        if len(value) != len(first) or len(data) + size > mtu - 2:
            break
        data += (handles + value)[:size]
    return bytes([size]) + data


def uuid_kind(uuid: bytes) -> bytes:
    """Bring a UUID of a request to the form of the table. Raises Denied for another length."""
    if len(uuid) == _SHORT_BYTES:
        return uuid
    if len(uuid) != len(_BASE_UUID) + 4:
        raise Denied(Code.INVALID_PDU)
    short = uuid.startswith(_BASE_UUID) and uuid.endswith(b"\0\0")
    return uuid[len(_BASE_UUID) : -2] if short else uuid


def on_air(uuid: str) -> bytes:
    """Give the bytes of a UUID as the table keeps it."""
    return uuid_kind(bytes.fromhex(uuid.replace("-", ""))[::-1])
