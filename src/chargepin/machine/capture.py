"""Files of Bluetooth traffic that btmon and Wireshark open: btsnoop in its monitor format.

The monitor format (datalink 2001) names the adapter in each record, so that several programs
go into one file without their connection handles being mixed up. Source: BlueZ,
doc/btsnoop.txt.
"""

import logging
import os
import struct
import sys
import time
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

_log = logging.getLogger(__name__)
if sys.platform == "win32":
    _AS_IT_IS = os.O_BINARY  # or a byte is put before each 10
else:
    _AS_IT_IS = 0
_HEADER = b"btsnoop\0" + struct.pack(">II", 1, 2001)
_EPOCH_US = 0x00DCDDB30F2F8000  # 1970-01-01 in microseconds since the year 0


class _Record(IntEnum):
    NEW_INDEX = 0
    DELETE_INDEX = 1
    COMMAND = 2
    EVENT = 3
    ACL_SENT = 4
    ACL_RECEIVED = 5
    OPEN_INDEX = 8
    CLOSE_INDEX = 9


_FROM_HOST = {1: _Record.COMMAND, 2: _Record.ACL_SENT}
_TO_HOST = {4: _Record.EVENT, 2: _Record.ACL_RECEIVED}


def _now_us() -> int:
    return time.time_ns() // 1000


class Capture:
    """One file; each record is written at once, so that a killed program leaves it readable.

    It is private: pairing's keys pass through it. A file that cannot be written to any more
    (a full disk) ends with its last whole record, and the program goes on without it.
    Raises OSError when it cannot be made.
    """

    def __init__(self, path: Path, *, now_us: Callable[[], int] = _now_us) -> None:
        self._path = path
        self._now_us = now_us
        self._descriptor: int | None = os.open(
            path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _AS_IT_IS, 0o600
        )
        if sys.platform != "win32":
            os.fchmod(self._descriptor, 0o600)
        self._size = 0
        self._append(_HEADER)

    def begin(self, adapter: int, address: bytes) -> None:
        """An adapter appears. address: six bytes, lowest first."""
        name = f"hci{adapter}".encode()
        self._record(adapter, _Record.NEW_INDEX, struct.pack("<BB6s8s", 0, 0, address, name))
        self._record(adapter, _Record.OPEN_INDEX, b"")

    def end(self, adapter: int) -> None:
        self._record(adapter, _Record.CLOSE_INDEX, b"")
        self._record(adapter, _Record.DELETE_INDEX, b"")

    def from_host(self, adapter: int, packet: bytes) -> None:
        """packet: as on a UART, its type first."""
        self._record(adapter, _FROM_HOST[packet[0]], packet[1:])

    def to_host(self, adapter: int, packet: bytes) -> None:
        """packet: as on a UART, its type first."""
        self._record(adapter, _TO_HOST[packet[0]], packet[1:])

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _record(self, adapter: int, kind: _Record, data: bytes) -> None:
        flags = (adapter & 0xFFFF) << 16 | kind
        head = struct.pack(">IIIIQ", len(data), len(data), flags, 0, self._now_us() + _EPOCH_US)
        self._append(head + data)

    def _append(self, record: bytes) -> None:
        if self._descriptor is None:
            return
        try:
            if os.write(self._descriptor, record) == len(record):
                self._size += len(record)
                return
            reason = "no space"
        except OSError as error:
            reason = str(error.strerror)
        _log.warning("%s ends here: %s", self._path, reason)
        os.ftruncate(self._descriptor, self._size)
        self.close()
