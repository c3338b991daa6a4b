"""Targets below the protocols: packets on a link to the charger, and programs on a radio."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Final

from chargepin.radio import hci
from chargepin.radio.air import Air
from chargepin.radio.commands import execute
from chargepin.radio.controller import Controller
from charger.rig import charger_and_phones
from fuzz.driver import AsyncTake, Target, hold, no_faults_logged, on_a_loop, piece, pieces

COMMAND, ACL, EVENT = hci.COMMAND, hci.ACL, hci.EVENT


# ---- the charger's end of a link -----------------------------------------------------------------


@asynccontextmanager
async def _acl() -> AsyncIterator[AsyncTake]:
    """Packets of any cut, for any channel, between a phone's controller and the charger's."""
    with no_faults_logged("chargepin.charger"):
        async with charger_and_phones() as rig:
            await rig.start()
            phone = await rig.phone()

            async def take(data: bytes) -> None:
                if not rig.charger.links:
                    rig.events.clear()
                    await rig.connected(phone)
                on_air = rig.charger._on_air
                assert on_air is not None
                (link,) = on_air.links.values()
                for boundary, packet in pieces(data):
                    on_air.arrived(link.handle, boundary & 3, packet)
                await asyncio.sleep(0)
                hold("no key is made", held=not link.client.secured.encrypted)
                hold("no bond is kept", held=not rig.bonds.all())
                hold("little waits", held=link.outbox.waiting_bytes < 1 << 17)
                link.outbox.done(link.outbox.held)  # a phone that takes what it is sent

            yield take


def frame(channel: int, payload: bytes) -> bytes:
    """One PDU in one packet."""
    return piece(2, len(payload).to_bytes(2, "little") + bytes([channel, 0]) + payload)


# ---- programs on a radio -------------------------------------------------------------------------


def _check_event(packet: bytes) -> None:
    """What a controller gives its host must be HCI."""
    head = {EVENT: 3, ACL: 5}[packet[0]]
    size = packet[2] if packet[0] == EVENT else int.from_bytes(packet[3:5], "little")
    hold("a packet has the length it says", held=len(packet) == head + size)


@asynccontextmanager
async def _radio() -> AsyncIterator[AsyncTake]:
    """Two programs in a room, one of which or both send what they like."""

    async def take(data: bytes) -> None:
        air = Air(0)
        programs = [Controller(air, bytes([n, 0, 0, 0, 0, 0]), _check_event) for n in (1, 2)]
        buffers = [bytearray(), bytearray()]
        for which, chunk in pieces(data):
            program, buffer = programs[which & 1], buffers[which & 1]
            buffer += chunk
            with suppress(hci.Malformed):
                for packet in hci.split(buffer):
                    if packet[0] == COMMAND:
                        execute(program, packet)
                    else:
                        program.send_data(packet)
            program.acknowledge_data()
            hold("bounded", held=len(buffer) <= 5 + 0xFFFF)
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        for program in programs:
            program.reset()

    yield take


def command(opcode: int, parameters: bytes = b"") -> bytes:
    return bytes([COMMAND]) + opcode.to_bytes(2, "little") + bytes([len(parameters)]) + parameters


_say = partial(piece, 0)
ADVERTISING: Final = (
    command(0x2005, bytes.fromhex("0100000000f0")),
    command(0x2006, bytes.fromhex("20002000000100000000000000000700")[:15]),
    command(0x2008, b"\x03\x02\x01\x06" + bytes(28)),
    command(0x200A, b"\x01"),
)
CONNECTING: Final = (
    command(0x200B, bytes.fromhex("01100010000000")),
    command(0x200C, b"\x01\x00"),
    command(0x200D, bytes.fromhex("10001000000101000000 00f0 01 18002800000048000000 0000")),
)
RADIO_WORDS: Final = tuple(
    piece(which, command(0x2000 | number)) for which in (0, 1) for number in range(0x30)
)

TARGETS: Final[tuple[Target, ...]] = (
    Target("acl", on_a_loop(_acl), words=(frame(4, b"\x0a\x03\x00"), frame(6, b"\x0b\x01"))),
    Target("radio", on_a_loop(_radio, hurrying=True), words=RADIO_WORDS),
)
