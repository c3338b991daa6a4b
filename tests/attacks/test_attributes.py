"""The trespasser: it has a link without any key, and knows the Attribute Protocol.

It wants to read, write or hear anything of a protected charger's stock service, or to change what
the charger says it has: by every request there is, about every handle, at every MTU.
"""

import asyncio
import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bumble.att import ATT_CID
from bumble.core import UUID
from bumble.gatt import Characteristic

from attacks.dialog import (
    STOCK,
    STOCK_CHARGER,
    Display,
    let_in,
    of,
    phones,
    stock_charger,
    values,
    window,
)
from attacks.report import Row, Tell
from attacks.stage import victim
from attacks.test_middle import limit
from attacks.test_pairing_mirror import paired
from chargepin.charger.air import Appearance, AttError, Written
from chargepin.charger.bluetooth.att import Client
from chargepin.charger.bluetooth.attributes import Attributes
from chargepin.core import bapi
from chargepin.core.gatt import Layout, StockService
from charger.rig import ScriptedRules, Wire
from ends import both_ends

READ, BLOB, MULTIPLE, VARIABLE, BY_TYPE, BY_VALUE = 0x0A, 0x0C, 0x0E, 0x20, 0x08, 0x06
WRITE, COMMAND, PREPARE, EXECUTE, SIGNED, MTU, INFORM = 0x12, 0x52, 0x16, 0x18, 0xD2, 0x02, 0x04
ERROR, NOTIFIED, INDICATED = 0x01, 0x1B, 0x1D
CCCD = b"\x02\x29"
OWN_FEATURES = b"\x29\x2b"  # what each link says of itself (Vol 3, Part G, 7.2)
EVERYTHING = (0x0001, 0xFFFF)
FENCE = b"\x04\xff\xff\xff\xff"  # answered with an error, always, and in its turn
WANTED = 6
FRAME = bapi.encode_request("w_mxI", WANTED, 1)
SEED = 20_240_417
RAVINGS = 200


def pdu(opcode: int, *handles: int, then: bytes = b"") -> bytes:
    return bytes([opcode]) + struct.pack(f"<{len(handles)}H", *handles) + then


@dataclass
class Trespasser:
    """kinds: every attribute's type by its handle. closed: handles that it may not touch.

    fences: one where PDUs are taken in turn; Bumble's charger takes each in a task of its own.
    """

    wire: Wire
    kinds: dict[int, bytes]
    closed: set[int]
    fences: int = 1
    mtu: int = 23
    attempts: int = 0
    events: int = 0
    gained: set[str] = field(default_factory=set)

    @classmethod
    async def on(cls, wire: Wire, stock: StockService) -> "Trespasser":
        kinds: dict[int, bytes] = {}
        while True:
            answer = await wire.ask(pdu(INFORM, max(kinds, default=0) + 1, 0xFFFF))
            if answer[0] == ERROR:
                break
            size = 4 if answer[1] == 1 else 18
            for at in range(2, len(answer), size):
                (handle,) = struct.unpack_from("<H", answer, at)
                kinds[handle] = answer[at + 2 : at + size]
        asked = (*stock.characteristics, *(stock.ota.characteristics if stock.ota else ()))
        uuids = {UUID(each.uuid) for each in asked}
        held = {handle for uuid, handle in (await values(wire)).items() if uuid in uuids}
        cccds = {at + 1 for at in held if kinds.get(at + 1) == CCCD}
        return cls(wire, kinds, held | cccds)

    async def ask(self, question: bytes) -> list[bytes]:
        """Every answer, of which there may be none."""
        self.attempts += 1
        answers = []
        self.wire.send(question)
        for _ in range(self.fences):
            answer = await self.wire.ask(FENCE)
            while answer[:2] != bytes([ERROR, INFORM]):
                answers.append(answer)
                answer = await self.wire.hear()
        self.events += sum(each[0] in {NOTIFIED, INDICATED} for each in answers)
        return [each for each in answers if each[0] not in {NOTIFIED, INDICATED}]

    async def declarations(self) -> list[list[bytes]]:
        """What everybody may read of what the charger has."""
        declared = [at for at, kind in self.kinds.items() if kind in {b"\x00\x28", b"\x03\x28"}]
        return [await self.ask(pdu(READ, handle)) for handle in declared]

    async def tries(self, how: str, question: bytes) -> None:
        for answer in await self.ask(question):
            if answer[0] != ERROR and (how != "by type" or self.names_closed(answer)):
                self.gained.add(how)

    def names_closed(self, answer: bytes) -> bool:
        """Whether a list of values has one of what it may not touch."""
        size = answer[1] if answer[0] == BY_TYPE + 1 else 4
        starts = range(2 if answer[0] == BY_TYPE + 1 else 1, len(answer), size)
        return any(struct.unpack_from("<H", answer, at)[0] in self.closed for at in starts)

    async def goes_round(self) -> None:
        for handle in sorted(self.closed):
            for how, question in (*self.reads(handle), *self.writes(handle)):
                await self.tries(how, question)
        for handle in sorted(set(self.kinds) - self.closed):
            if len(self.kinds[handle]) == 2 and self.kinds[handle] not in {CCCD, OWN_FEATURES}:
                for opcode in (WRITE, COMMAND):
                    await self.tries("overwrites", pdu(opcode, handle, then=b"\xff\xff"))
                await self.tries("prepares", pdu(PREPARE, handle, 0, then=b"\xff\xff"))
                await self.tries("executes", bytes([EXECUTE, 1]))

    def reads(self, handle: int) -> Iterator[tuple[str, bytes]]:
        kind, other = self.kinds[handle], min(self.kinds)
        yield "reads", pdu(READ, handle)
        for offset in (0, 1, 600):
            yield "reads in parts", pdu(BLOB, handle, offset)
        for opcode in (MULTIPLE, VARIABLE):
            for both in ((handle, handle), (other, handle), (handle, other), (other,) * 9):
                yield "reads with others", pdu(opcode, *both, handle)
        for span in ((handle, handle), EVERYTHING, (other, handle), (handle, 0xFFFF)):
            yield "by type", pdu(BY_TYPE, *span, then=kind)
            if len(kind) == 2:
                for value in (b"\0\0", b"\1\0"):
                    yield "by type", pdu(BY_VALUE, *span, then=kind + value)

    def writes(self, handle: int) -> Iterator[tuple[str, bytes]]:
        room = self.mtu - 3
        subscribing = b"\1\0" if self.kinds[handle] == CCCD else b""
        how = "subscribes" if subscribing else "writes"
        for value in (subscribing or FRAME[:room], b"", b"\2", b"\xff" * (room + 9)):
            yield how, pdu(WRITE, handle, then=value)
            yield how, pdu(COMMAND, handle, then=value)
            yield how, pdu(SIGNED, handle, then=value + bytes(12))
        for part in range(0, len(FRAME), room - 2):
            yield "prepares", pdu(PREPARE, handle, part, then=FRAME[part : part + room - 2])
        for flag in (1, 0, 7):
            yield "executes", bytes([EXECUTE, flag])

    async def raves(self) -> None:
        dice = random.Random(SEED)  # noqa: S311 - the same in every run
        opcodes = (READ, BLOB, MULTIPLE, VARIABLE, WRITE, PREPARE, EXECUTE, SIGNED, MTU)
        for _ in range(RAVINGS):
            opcode = dice.choice(opcodes)
            handle = dice.choice(sorted(self.closed))
            rest = dice.randbytes(dice.randrange(24))
            how = "changes the MTU" if opcode == MTU else "raves"
            question = rest if opcode == MTU else struct.pack("<H", handle) + rest
            answers = await self.ask(bytes([opcode]) + question)
            if how == "raves" and any(each[0] != ERROR for each in answers):
                self.gained.add(how)


class Table(Wire):
    """The attributes of one radio module, without the radio. written: what reached the charger."""

    def __init__(self, layout: Layout) -> None:
        self.written: list[Written] = []
        rules = ScriptedRules(refuse=AttError.INSUFFICIENT_AUTHORIZATION)
        appearance = Appearance("WB123456", layout, passcode=True)
        self._attributes = Attributes(appearance, rules, self.written.append)
        self._client = Client(1, bytes(8))
        self._heard = asyncio.Queue()

    def send(self, pdu: bytes) -> None:
        answer = self._attributes.answer(self._client, pdu)
        for each in (answer, *self._attributes.consequences(self._client)):
            if each is not None:
                self._heard.put_nowait(each)


async def trespassed(
    wire: Wire, service: StockService = STOCK, *, stock: bool = False
) -> Trespasser:
    it = await Trespasser.on(wire, service)
    it.fences += stock
    assert len(it.closed) >= 2
    before = await it.declarations()
    for mtu in (0xFFFF,) if stock else (23, 0xFFFF):
        (answer,) = await it.ask(pdu(MTU, mtu))
        it.mtu = min(mtu, struct.unpack("<H", answer[1:])[0])
        await it.goes_round()
    if not stock:  # where a PDU that is too short raises out of everything
        await it.raves()
    if await it.declarations() != before:
        it.gained.add("changes what there is")
    return it


async def test_trespasser(tmp_path: Path, tell: Tell) -> None:
    async with victim(tmp_path / "held", draw=lambda _: 1) as on:
        owner = await on.owner_in()
        await owner.call("w_mxI", 16)
        async with phones(on.ends.room.address, of(on)) as attacker:
            it = await trespassed(Wire(await attacker.link(), ATT_CID))
            assert it.gained == set()
            assert limit(on) == 16
            async with window(owner):  # a paired phone asks and is told; nobody else hears it
                phone = await paired(attacker, 1)
                assert phone is not None
                assert await let_in(phone)
                await owner.call("w_mxI", 20)
                await it.ask(pdu(READ, 1))
            assert it.events == 0
        await owner.close()

    attempts = it.attempts
    for layout in Layout:
        table = Table(layout)
        each = await trespassed(table, layout.stock)
        assert (each.gained, each.events, table.written) == (set(), 0, []), layout
        attempts += each.attempts

    async with (
        both_ends(tmp_path / "stock") as ends,
        stock_charger(ends.room.address, Display(1)) as charger,
        phones(ends.room.address, STOCK_CHARGER) as attacker,
    ):
        other = await trespassed(Wire(await attacker.link(), ATT_CID), stock=True)
        for value in charger.gatt_server.attributes:
            if isinstance(value, Characteristic) and value.uuid == UUID(STOCK.notify.uuid):
                await charger.notify_subscribers(value, b"secret")
        await other.ask(pdu(READ, 1))
        assert {"subscribes", "overwrites", "changes what there is"} <= other.gained
        assert other.events
    tell(
        Row(
            "15 trespasser",
            attempts,
            "nothing read, written or heard; every request is answered",
            f"of a stock Bumble charger: {', '.join(sorted(other.gained))}; and it hears what is"
            " notified",
            "every value and CCCD asks for rights, by whichever request; declarations are fixed",
        )
    )
