"""The part of HCI that the radio's controllers speak, as numbers and packed bytes.

Source: Core Specification 5.4, Vol 4, Part E; status codes: Vol 1, Part F.
"""

import struct
from enum import IntEnum

COMMAND, ACL, EVENT = 1, 2, 4
ACL_MAX_BYTES = 251
ADVERTISING_MAX_BYTES = 31
FIRST_FRAGMENTS = (0, 2)  # packet boundary flags; 1 is a continuation


class Status(IntEnum):
    SUCCESS = 0x00
    UNKNOWN_COMMAND = 0x01
    UNKNOWN_CONNECTION = 0x02
    KEY_MISSING = 0x06
    MEMORY_EXCEEDED = 0x07
    CONNECTION_TIMEOUT = 0x08
    CONNECTION_EXISTS = 0x0B
    COMMAND_DISALLOWED = 0x0C
    INVALID_PARAMETERS = 0x12
    ENDED_HERE = 0x16
    MIC_FAILURE = 0x3D


class Refused(Exception):
    """A command is answered with this status and has no effect."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.name)
        self.status = status


class Malformed(Exception):
    """These bytes cannot be HCI; nothing after them can be trusted either."""


def event(code: int, parameters: bytes) -> bytes:
    """Pack an event: its code, then at most 255 bytes."""
    return bytes((EVENT, code, len(parameters))) + parameters


def command_complete(opcode: int, returned: bytes) -> bytes:
    """Answer a command that is done; returned begins with the status."""
    return event(0x0E, struct.pack("<BH", 1, opcode) + returned)


def command_status(opcode: int, status: Status) -> bytes:
    """Answer a command that has been begun, or refused."""
    return event(0x0F, struct.pack("<BBH", status, 1, opcode))


def disconnection_complete(handle: int, reason: int) -> bytes:
    """A link is gone."""
    return event(0x05, struct.pack("<BHB", Status.SUCCESS, handle, reason))


def encryption_change(handle: int, status: Status) -> bytes:
    """A link is encrypted from now on, or could not be."""
    return event(0x08, struct.pack("<BHB", status, handle, status is Status.SUCCESS))


def encryption_key_refresh_complete(handle: int) -> bytes:
    """A link that was encrypted already has a new key."""
    return event(0x30, struct.pack("<BH", Status.SUCCESS, handle))


def remote_version_complete(handle: int, version: int, company: int) -> bytes:
    """What the other controller is."""
    return event(0x0C, struct.pack("<BHBHH", Status.SUCCESS, handle, version, company, 0))


def completed_packets(counts: dict[int, int]) -> bytes:
    """By connection handle, how many data packets have left the buffers."""
    pairs = b"".join(struct.pack("<HH", handle, count) for handle, count in counts.items())
    return event(0x13, bytes((len(counts),)) + pairs)


class Meta(IntEnum):
    """LE meta events by subevent code; bit code - 1 of the LE event mask lets them through."""

    CONNECTION_COMPLETE = 0x01
    ADVERTISING_REPORT = 0x02
    CONNECTION_UPDATE_COMPLETE = 0x03
    REMOTE_FEATURES_COMPLETE = 0x04
    LONG_TERM_KEY_REQUEST = 0x05
    DATA_LENGTH_CHANGE = 0x07


def meta_event(code: Meta, parameters: bytes) -> bytes:
    """Pack an LE event."""
    return event(0x3E, bytes((code,)) + parameters)


def split(buffer: bytearray) -> list[bytes]:
    """Take the whole packets off the front of what came over a stream.

    Raises Malformed where no packet of a host can begin.
    """
    packets = []
    while buffer:
        if buffer[0] == COMMAND:
            header, length_at, form = 4, 3, "<B"
        elif buffer[0] == ACL:
            header, length_at, form = 5, 3, "<H"
        else:
            raise Malformed(f"packet type {buffer[0]}")
        if len(buffer) < header:
            break
        size = header + int(struct.unpack_from(form, buffer, length_at)[0])
        if buffer[0] == ACL and size > header + ACL_MAX_BYTES:
            raise Malformed(f"{size - header} bytes of data in one packet")
        if len(buffer) < size:
            break
        packets.append(bytes(buffer[:size]))
        del buffer[:size]
    return packets
