"""Software versions, charger families, and the names that chargers go by."""

import re
import struct
from dataclasses import dataclass
from typing import Self

_PART_MAX = 0xFFFF
_VERSION = re.compile(r"(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})")
_SERIAL = re.compile(r"(?:WB)?([0-9]{1,9})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A software version, ordered part by part as numbers: 6.7.9 < 6.7.17 < 6.11.0.

    Each part is 0..65535, since it travels as an unsigned 16-bit number. Raises ValueError.
    """

    major: int
    minor: int
    patch: int

    def __post_init__(self) -> None:
        if not all(0 <= part <= _PART_MAX for part in (self.major, self.minor, self.patch)):
            raise ValueError(f"each part of a version is 0..{_PART_MAX}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read three numbers with dots, "6.7.17". Raises ValueError for anything else."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise ValueError("a software version is three numbers with dots, such as 6.7.17")
        return cls(*(int(part) for part in match.groups()))

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read the 6 bytes that PARAMS and HELLO carry. Raises ValueError for another length."""
        if len(raw) != struct.calcsize(">3H"):
            raise ValueError("a version is 6 bytes on the air")
        return cls(*struct.unpack(">3H", raw))

    def encode(self) -> bytes:
        """Three big-endian unsigned 16-bit numbers."""
        return struct.pack(">3H", self.major, self.minor, self.patch)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


PASSCODE_SINCE = Version(6, 7, 17)
"""The first software that knows the Bluetooth passcode, on every family."""


def supports_passcode(version: Version) -> bool:
    """Whether a charger with this software has the passcode. The family never decides."""
    return version >= PASSCODE_SINCE


def serial_of(text: str) -> str:
    """Give "123456" for "WB123456", "wb123456" and "123456".

    A serial has 1..9 digits: more would not fit the advertised name. Leading zeros are kept.
    Raises ValueError for anything else.
    """
    match = _SERIAL.fullmatch(text.strip())
    if match is None:
        raise ValueError("a charger is named by its serial number, such as WB123456 or 123456")
    return match[1]


def name_of(serial: str) -> str:
    """Give the name a charger advertises, "WB123456" for "123456". Raises ValueError."""
    return "WB" + serial_of(serial)
