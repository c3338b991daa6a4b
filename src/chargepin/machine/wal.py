"""A write-ahead log of SQLite, looked at before SQLite reads it.

After a power cut SQLite takes what holds of the log, up to the first frame that does not, and is
silent about the rest. That is right for the last commit, which the cut may have torn. But each was
synced before the next one began: where more than one stands behind that place, the log was damaged,
and SQLite would go back to an older state.

The format is section 4 of https://sqlite.org/fileformat2.html.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_HEADER: Final = struct.Struct(">8I")  # magic, version, page size, sequence, salts, checksum
_FRAME: Final = struct.Struct(">6I")  # page, pages after a commit or 0, salts, checksum
_MAGIC: Final = 0x377F0682  # with its lowest bit, checksums are over big-endian words
_PAGE_BYTES: Final = range(512, 65536 + 1)
_MASK: Final = 0xFFFFFFFF


def is_damaged(path: Path) -> bool:
    """Whether the log beside the database at this path lost commits that were synced.

    Raises OSError. No log is none that is damaged.
    """
    try:
        data = path.with_name(f"{path.name}-wal").read_bytes()
    except FileNotFoundError:
        return False
    return len(data) >= _HEADER.size and lost_commits(data) > 1


def lost_commits(data: bytes) -> int:
    """How many commits stand behind the place where a log stops to hold.

    After a power cut that is one at most. What is left of an older round of the log, with other
    salts, counts for nothing.
    """
    magic, _, page_bytes, _, *salts, sum_0, sum_1 = _HEADER.unpack_from(data)
    order = ">" if magic & 1 else "<"
    sums = _summed(data[: _HEADER.size - 8], order, (0, 0))
    holds = magic & ~1 == _MAGIC and page_bytes in _PAGE_BYTES and sums == (sum_0, sum_1)
    if not holds:  # it was synced before the first frame, so the frames must tell
        page_bytes = 4096
        salts = list(_FRAME.unpack_from(data.ljust(_HEADER.size + _FRAME.size), _HEADER.size)[2:4])
    lost = 0
    for at in _frames(data, page_bytes):
        _, commits, *its_salts, its_0, its_1 = _FRAME.unpack_from(data, at)
        if holds:
            sums = _summed(data[at : at + 8], order, sums)
            sums = _summed(data[at + _FRAME.size : at + _FRAME.size + page_bytes], order, sums)
            holds = its_salts == salts and sums == (its_0, its_1)
        if not holds and commits and its_salts == salts:
            lost += 1
    return lost


def _frames(data: bytes, page_bytes: int) -> Iterator[int]:
    """Where each whole frame begins."""
    step = _FRAME.size + page_bytes
    return iter(range(_HEADER.size, len(data) - step + 1, step))


def _summed(data: bytes, order: str, sums: tuple[int, int]) -> tuple[int, int]:
    """Go on with the format's own checksum, over pairs of 32-bit words."""
    first, second = sums
    for even, odd in struct.iter_unpack(f"{order}II", data):
        first = (first + even + second) & _MASK
        second = (second + odd + first) & _MASK
    return first, second
