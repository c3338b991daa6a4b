"""A host of a few lines that speaks HCI by hand, to see exactly what a controller says."""

import asyncio
import contextlib
import struct
from collections import defaultdict
from typing import ClassVar, Self

_WITHIN_S = 5
COMPLETE, STATUS = "complete", "status"
CONNECTED, REPORT, UPDATED, FEATURES, KEY_ASKED, LENGTHS = (f"meta {n}" for n in (1, 2, 3, 4, 5, 7))
DISCONNECTED, ENCRYPTED, REKEYED, VERSION, SENT = (f"event {n}" for n in (5, 8, 0x30, 0x0C, 0x13))
DATA = "data"

RESET = 0x0C03
READ_ADDRESS = 0x1009
SET_ADDRESS = 0x2005
ADVERTISING_PARAMETERS = 0x2006
ADVERTISING_DATA = 0x2008
SCAN_RESPONSE_DATA = 0x2009
ADVERTISE = 0x200A
SCAN_PARAMETERS = 0x200B
SCAN = 0x200C
CONNECT = 0x200D
CANCEL = 0x200E
DISCONNECT = 0x0406


class Host:
    """A program on the radio. What its controller sends is sorted into queues by kind."""

    everyone: ClassVar[list["Host"]] = []

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.everyone.append(self)
        self.writer = writer
        self.address = b""
        self.ended = asyncio.Event()
        self._heard: defaultdict[str, asyncio.Queue[bytes]] = defaultdict(asyncio.Queue)
        self._listening = asyncio.create_task(self._listen(reader))

    @classmethod
    async def join(cls, port: int, address: str = "") -> Self:
        """address: random static, as "C0:00:00:00:00:01"; without one the public is used."""
        host = cls(*await asyncio.open_connection("127.0.0.1", port))
        await host.done(0x2001, struct.pack("<Q", 0x7F))
        if address:
            raw = bytes.fromhex(address.replace(":", ""))[::-1]
            await host.done(SET_ADDRESS, raw)
            host.address = b"\1" + raw
        else:
            host.address = b"\0" + await host.done(READ_ADDRESS)
        return host

    @classmethod
    async def end_all(cls) -> None:
        """Kill every program that is left."""
        while cls.everyone:
            host = cls.everyone.pop()
            host.kill()
            await host._listening

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                kind = (await reader.readexactly(1))[0]
                if kind == 2:
                    head = await reader.readexactly(4)
                    size = int.from_bytes(head[2:], "little")
                    self._put(DATA, head + await reader.readexactly(size))
                    continue
                assert kind == 4
                code, size = await reader.readexactly(2)
                body = await reader.readexactly(size)
                if code == 0x0E:
                    self._put(COMPLETE, body[1:])
                elif code == 0x0F:
                    self._put(STATUS, body)
                elif code == 0x3E:
                    self._put(f"meta {body[0]}", body[1:])
                else:
                    self._put(f"event {code}", body)
        self.writer.close()
        self.ended.set()

    def _put(self, kind: str, body: bytes) -> None:
        self._heard[kind].put_nowait(body)

    async def next(self, kind: str) -> bytes:
        async with asyncio.timeout(_WITHIN_S):
            return await self._heard[kind].get()

    async def silent(self, kind: str) -> bool:
        """Whether nothing of this kind came before the answer to a question asked now."""
        await self.done(READ_ADDRESS)
        return self._heard[kind].empty()

    def forget(self, kind: str) -> None:
        self._heard.pop(kind, None)

    def send(self, opcode: int, parameters: bytes = b"") -> None:
        self.writer.write(struct.pack("<BHB", 1, opcode, len(parameters)) + parameters)

    async def status(self, opcode: int, parameters: bytes = b"", *, later: bool = False) -> int:
        """Send a command; the status of its answer. later: it is answered by Command Status."""
        self.send(opcode, parameters)
        body = await self.next(STATUS if later else COMPLETE)
        assert int.from_bytes(body[2:4] if later else body[:2], "little") == opcode
        return body[0] if later else body[2]

    async def done(self, opcode: int, parameters: bytes = b"") -> bytes:
        """Send a command that must succeed; what it returns."""
        self.send(opcode, parameters)
        body = await self.next(COMPLETE)
        assert body[:3] == struct.pack("<HB", opcode, 0)
        return body[3:]

    async def begun(self, opcode: int, parameters: bytes = b"") -> None:
        """Send a command whose result comes as an event."""
        assert await self.status(opcode, parameters, later=True) == 0

    def kill(self) -> None:
        """End as a program that is killed does."""
        self.writer.transport.abort()

    # Everyday

    async def set_up_advertising(
        self,
        data: bytes = b"",
        response: bytes = b"",
        *,
        kind: int = 0,
        target: bytes = bytes(7),
        only: int = 0,
        interval: int = 0x0800,
    ) -> None:
        own = self.address[0]
        parameters = struct.pack("<HHBB7sBB", interval, interval, kind, own, target, 7, only)
        await self.done(ADVERTISING_PARAMETERS, parameters)
        await self.done(ADVERTISING_DATA, struct.pack("<B31s", len(data), data))
        await self.done(SCAN_RESPONSE_DATA, struct.pack("<B31s", len(response), response))

    async def advertise(
        self, data: bytes = b"", response: bytes = b"", *, kind: int = 0, only: int = 0
    ) -> None:
        await self.set_up_advertising(data, response, kind=kind, only=only)
        await self.done(ADVERTISE, b"\1")

    async def scan(self, *, active: bool = True, once: bool = True, only: int = 0) -> None:
        own = self.address[0]
        await self.done(SCAN_PARAMETERS, struct.pack("<BHHBB", active, 16, 16, own, only))
        await self.done(SCAN, struct.pack("<BB", 1, once))

    def connecting(
        self, peer: bytes, *, any_of_list: bool = False, interval: int = 24, timeout: int = 72
    ) -> bytes:
        """Parameters of a connection command."""
        return struct.pack(
            "<HHB7sBHHHHHH",
            *(96, 96, any_of_list, peer, self.address[0]),
            *(interval, interval + 8, 0, timeout, 0, 0),
        )

    async def connected(self) -> tuple[int, bytes]:
        """Handle and peer of the next connection, which must have succeeded."""
        status, handle, _, peer = struct.unpack_from("<BHB7s", await self.next(CONNECTED))
        assert status == 0
        return handle, peer

    def send_data(self, handle: int, data: bytes, flags: int = 0) -> None:
        self.writer.write(struct.pack("<BHH", 2, handle | flags << 12, len(data)) + data)
