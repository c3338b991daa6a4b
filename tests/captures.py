"""A reader of btsnoop monitor files that shares nothing with the writer."""

import struct
from typing import NamedTuple


class Record(NamedTuple):
    adapter: int
    opcode: int
    data: bytes
    since_year_0_us: int


def read_capture(content: bytes) -> list[Record]:
    """Every record of a file. Fails where a record is cut off or a header is not as specified."""
    assert content[:8] == b"btsnoop\0"
    assert struct.unpack_from(">II", content, 8) == (1, 2001)
    found, at = [], 16
    while at < len(content):
        original, included, flags, dropped, when = struct.unpack_from(">IIIIQ", content, at)
        data = content[at + 24 : at + 24 + included]
        assert (original, dropped) == (included, 0)
        assert len(data) == included
        found.append(Record(flags >> 16, flags & 0xFFFF, data, when))
        at += 24 + included
    return found
