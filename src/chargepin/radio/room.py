"""The room as a server: one TCP connection is one program with its own controller."""

import asyncio
import itertools
import logging
from pathlib import Path
from typing import cast

from chargepin.machine.capture import Capture
from chargepin.radio import hci
from chargepin.radio.air import Air
from chargepin.radio.commands import execute
from chargepin.radio.controller import Controller

_log = logging.getLogger(__name__)
# A program that takes nothing off its socket for this long a queue has hung.
_UNREAD_MAX_BYTES = 1 << 20
_ADDRESS_END = bytes.fromhex("12ca")  # CA:12:…: locally administered, lowest byte first


class Room:
    """A radio that is being served. Made by `serve_radio`."""

    def __init__(self, *, seed: int, capture: Capture | None) -> None:
        self._air = Air(seed)
        self._capture = capture
        self._numbers = itertools.count()
        self._programs: set[_Program] = set()
        self._server: asyncio.Server | None = None
        self.host = ""
        self.port = 0

    @property
    def address(self) -> str:
        """What programs are given as their radio."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"tcp:{host}:{self.port}"

    def set_rssi(self, a: str, b: str, dbm: int) -> None:
        """How well two addresses ("F0:…", random or public) hear each other from now on.

        Below -100 dBm they do not; from there to -90 they hear, but cannot connect.
        """
        for one in _spellings(a):
            for other in _spellings(b):
                self._air.set_rssi(one, other, dbm)

    async def close(self) -> None:
        """Hang up on every program and stop listening."""
        if self._server is not None:
            self._server.close()
        leaving = [program.leave() for program in self._programs]
        if leaving:
            await asyncio.wait(leaving)
        if self._server is not None:
            await self._server.wait_closed()
        if self._capture is not None:
            self._capture.close()

    async def _listen(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Program(self), host, port)
        self.host, self.port = self._server.sockets[0].getsockname()[:2]

    def _enter(self, program: "_Program") -> tuple[int, Controller]:
        number = next(self._numbers)
        public = number.to_bytes(4, "little") + _ADDRESS_END
        self._programs.add(program)
        if self._capture is not None:
            self._capture.begin(number, public)
        return number, Controller(self._air, public, program.to_host)

    def _left(self, program: "_Program", number: int) -> None:
        self._programs.discard(program)
        if self._capture is not None:
            self._capture.end(number)


class _Program(asyncio.Protocol):
    """The host's end of a controller: takes whole packets off the stream and answers."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._capture = room._capture  # noqa: SLF001 -- one class in two halves
        self._buffer = bytearray()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._number, self._controller = self._room._enter(self)  # noqa: SLF001 -- as above

    def connection_lost(self, _: Exception | None) -> None:
        self._controller.reset()
        self._room._left(self, self._number)  # noqa: SLF001 -- as above
        self._gone.set_result(None)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        try:
            for packet in hci.split(self._buffer):
                if self._capture is not None:
                    self._capture.from_host(self._number, packet)
                if packet[0] == hci.COMMAND:
                    execute(self._controller, packet)
                else:
                    self._controller.send_data(packet)
        except hci.Malformed as error:
            _log.warning("program %d sends no HCI (%s): dropped", self._number, error)
            self.leave()
        else:
            self._controller.acknowledge_data()

    def to_host(self, packet: bytes) -> None:
        if self._transport.is_closing():
            return
        if self._capture is not None:
            self._capture.to_host(self._number, packet)
        self._transport.write(packet)
        if self._transport.get_write_buffer_size() > _UNREAD_MAX_BYTES:
            _log.warning("program %d does not read: dropped", self._number)
            self.leave()

    def leave(self) -> asyncio.Future[None]:
        """Hang up; what is returned is done once the controller is off the air."""
        self._buffer.clear()
        self._transport.abort()
        return self._gone


async def serve_radio(host: str, port: int, *, capture: Path | None = None, seed: int = 0) -> Room:
    """Open a room on a TCP port; 0 is any free one.

    capture: a file for everything between the programs and their controllers, to be opened by
    btmon or Wireshark. It is made private: it contains the keys of Bluetooth bonds.
    seed: of the draws between programs that want the same thing at the same moment.
    Raises OSError when the port or the file cannot be opened.
    """
    room = Room(seed=seed, capture=None if capture is None else Capture(capture))
    try:
        await room._listen(host, port)  # noqa: SLF001 -- a constructor that has to wait
    except BaseException:
        await room.close()
        raise
    return room


def _spellings(address: str) -> tuple[bytes, bytes]:
    """Both address types: who sets a signal thinks of devices, not of types."""
    raw = bytes.fromhex(address.partition("/")[0].replace(":", ""))[::-1]
    return b"\0" + raw, b"\1" + raw
