"""A log that cannot be changed in the middle: each entry's hash covers the one before it.

The charger's security log and the account service's audit are both such chains. Whoever holds a
head (the sequence and hash of the newest entry) can later prove that what came before is still
what it was. A chain does not show that its newest entries were cut off: for that, a head must
have been kept elsewhere; the charger puts its head into every receipt.

Canonical encoding of an entry, all integers big-endian; the hash is SHA-256 over

    "chargepin log 1"          15 bytes of ASCII
    previous                   32 bytes, the hash of the entry before, zeros for the first
    sequence                   u64, 1 for the first entry, then without a gap
    unix_s                     i64
    running_s                  IEEE 754 binary64
    event                      u16 length, then UTF-8
    detail                     u32 length, then JSON: keys sorted by code point, no white space
"""

import hashlib
import math
import struct
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec

_DOMAIN = b"chargepin log 1"
_LONGEST_EVENT_BYTES = 64
_LONGEST_DETAIL_BYTES = 4096
_INTEGER_MAX = 2**63 - 1  # what a database can hold
_HASH_BYTES = 32

Detail: TypeAlias = dict[str, str | int | bool | None]
"""What an entry says beside its event: flat; whole numbers of 64 bits, no floats (which have no
single spelling)."""


class LogBroken(Exception):
    """The chain does not hold at this sequence: an entry was changed, lost or put in."""

    def __init__(self, sequence: int, finding: str) -> None:
        super().__init__(f"the log is broken at entry {sequence}: {finding}")
        self.sequence = sequence
        self.finding = finding


class Head(msgspec.Struct, frozen=True):
    """The newest entry of a chain: its sequence and its hash of 32 bytes."""

    sequence: int
    hash: bytes


EMPTY = Head(0, bytes(32))
"""The head of a log that has no entries yet."""


class Entry(msgspec.Struct, frozen=True):
    """One line of a log.

    sequence: from 1. unix_s: wall clock, for people; it may be wrong. running_s: the program's
    running time. event: a short name. previous, hash: 32 bytes each.
    """

    sequence: int
    unix_s: int
    running_s: float
    event: str
    detail: Detail
    previous: bytes
    hash: bytes

    @property
    def head(self) -> Head:
        """The chain's head when this is its newest entry."""
        return Head(self.sequence, self.hash)


def append(
    head: Head,
    *,
    unix_s: int,
    running_s: float,
    event: str,
    detail: Mapping[str, str | int | bool | None] | None = None,
) -> Entry:
    """Make the entry that follows head. Nothing is stored.

    Raises ValueError for what has no canonical encoding: an event that is empty or longer than
    64 bytes, a detail over 4096 bytes, with other values than text, whole numbers (64 bits),
    truth values and None, or with text that is no Unicode (lone surrogates).
    """
    content = dict(detail or {})
    sequence = head.sequence + 1
    try:
        digest = _digest(head.hash, sequence, unix_s, running_s, event, content)
    except (TypeError, OverflowError, struct.error, UnicodeEncodeError) as error:
        raise ValueError("the log entry cannot be encoded") from error
    return Entry(sequence, unix_s, running_s, event, content, head.hash, digest)


def verify(entries: Iterable[Entry], from_head: Head = EMPTY) -> Head:
    """Check a stretch of the log that follows from_head; returns the head after it.

    Raises LogBroken, naming the first sequence at which the chain does not hold.
    """
    head = from_head
    for entry in entries:
        expected = head.sequence + 1
        if entry.sequence != expected:
            raise LogBroken(expected, f"entry {entry.sequence} stands in its place")
        if entry.previous != head.hash:
            raise LogBroken(expected, "it does not follow the entry before it")
        try:
            digest = _digest(
                entry.previous,
                entry.sequence,
                entry.unix_s,
                entry.running_s,
                entry.event,
                entry.detail,
            )
        except (ValueError, TypeError, OverflowError, struct.error) as error:
            raise LogBroken(expected, "it cannot be encoded") from error
        if digest != entry.hash:
            raise LogBroken(expected, "its content was changed")
        head = entry.head
    return head


def _digest(
    previous: bytes, sequence: int, unix_s: int, running_s: float, event: str, detail: Detail
) -> bytes:
    name = event.encode()
    if not 1 <= len(name) <= _LONGEST_EVENT_BYTES:
        raise ValueError(f"an event's name has 1 to {_LONGEST_EVENT_BYTES} bytes")
    if len(previous) != _HASH_BYTES or not 0 < sequence <= _INTEGER_MAX:
        raise ValueError("no such place in a log")
    if not math.isfinite(running_s):
        raise ValueError("no such time")
    if not all(_plain(value) for value in detail.values()):
        raise ValueError("a detail's values are text, whole numbers, truth values or nothing")
    content = msgspec.json.encode(detail, order="sorted")
    if len(content) > _LONGEST_DETAIL_BYTES:
        raise ValueError(f"a detail has at most {_LONGEST_DETAIL_BYTES} bytes")
    return hashlib.sha256(
        b"".join(
            (
                _DOMAIN,
                previous,
                struct.pack(">Qqd", sequence, unix_s, running_s),
                struct.pack(">H", len(name)),
                name,
                struct.pack(">I", len(content)),
                content,
            )
        )
    ).digest()


def _plain(value: object) -> bool:
    if isinstance(value, int):
        return -_INTEGER_MAX <= value <= _INTEGER_MAX
    return value is None or isinstance(value, str)
