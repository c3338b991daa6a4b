"""Where attackers stand at a phone's own pairing dialog: a charger's window, or Bumble as it comes.

Behind both is the same: the stock service, for who has paired by a code. An attacker is the same
program at both, and its gain too: whether it then reads what only paired phones may.
"""

import asyncio
import itertools
import secrets
import struct
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field

from bumble import hci, pairing
from bumble.att import ATT_CID, Attribute
from bumble.core import UUID
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, Service
from bumble.keys import MemoryKeyStore
from bumble.transport import open_transport

from attacks.stage import Victim
from chargepin.app.client import Charger
from chargepin.app.link_bumble.central import LosableHost
from chargepin.app.pairing import PairingCode, PairingNotice
from chargepin.charger.kept import address_of
from chargepin.core.gatt import Layout
from charger.rig import Wire
from ends import PATIENCE_S

STOCK = Layout.BGX.stock
STOCK_CHARGER = "F0:00:00:00:00:77"
DECLARED, ANSWER, ERROR = b"\x03\x28", 0x09, 0x01


async def device(stack: AsyncExitStack, radio: str, address: str) -> Device:
    """A Bluetooth of its own on the radio, Bumble as it comes."""
    opened = open_transport(radio.replace("tcp:", "tcp-client:", 1))
    transport = await stack.enter_async_context(await opened)
    config = DeviceConfiguration(
        name="phone", address=hci.Address(address), irk=secrets.token_bytes(16)
    )
    made = Device(config=config, host=LosableHost(transport.source, transport.sink))
    made.keystore = MemoryKeyStore()
    await made.power_on()
    return made


@dataclass
class Phones:
    """An attacker's Bluetooth stacks, as many as it likes, and the charger that they go for."""

    radio: str
    charger: str
    stack: AsyncExitStack
    _numbers: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))

    async def phone(self, address: str | None = None) -> Device:
        """One that nobody has seen before, or that says it is somebody."""
        number = next(self._numbers)
        own = address or f"F2:00:00:00:{number >> 8:02X}:{number & 255:02X}"
        made = await device(self.stack, self.radio, own)
        made.pairing_config_factory = lambda _: pairing.PairingConfig(
            identity_address_type=pairing.PairingConfig.AddressType.RANDOM
        )
        return made

    async def link(self, phone: Device | None = None) -> Connection:
        phone = phone or await self.phone()
        async with asyncio.timeout(PATIENCE_S):
            return await phone.connect(hci.Address(self.charger))


@asynccontextmanager
async def phones(radio: str, charger: str) -> AsyncIterator[Phones]:
    async with AsyncExitStack() as stack:
        yield Phones(radio, charger, stack)


def of(on: Victim) -> str:
    """The address of a charger of ours."""
    return address_of(on.daemon._store)


# ---- a window -----------------------------------------------------------------------------------


@dataclass
class Shown:
    """What an owner's app shows of its window: the codes, and how it ended."""

    notices: list[PairingNotice] = field(default_factory=list)
    more: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def codes(self) -> list[PairingCode]:
        return [each for each in self.notices if isinstance(each, PairingCode)]

    @property
    def spent(self) -> int:
        """How many codes attempts have used up."""
        return len(self.codes) - 1

    async def until(self, kind: type[PairingNotice], count: int = 1) -> None:
        """Wait until so many notices of a kind have come."""
        async with asyncio.timeout(PATIENCE_S):
            while sum(isinstance(each, kind) for each in self.notices) < count:
                self.more.clear()
                await self.more.wait()

    async def listen(self, charger: Charger) -> None:
        async with aclosing(charger.open_pairing("Anna's phone")) as notices:
            async for notice in notices:
                self.notices.append(notice)
                self.more.set()


@asynccontextmanager
async def window(owner: Charger) -> AsyncIterator[Shown]:
    """An owner has opened a pairing window and looks at the first code."""
    shown = Shown()
    listening = asyncio.create_task(shown.listen(owner))
    try:
        await shown.until(PairingCode)
        yield shown
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


# ---- the same, with Bumble's protocols ----------------------------------------------------------


class Display(pairing.PairingDelegate):
    """A charger that shows a code, always the same one. shown: how often."""

    def __init__(self, code: int) -> None:
        super().__init__(pairing.PairingDelegate.DISPLAY_OUTPUT_ONLY)
        self.code = code
        self.shown = 0

    async def generate_passkey(self) -> int:
        self.shown += 1
        return self.code


@asynccontextmanager
async def stock_charger(radio: str, display: Display) -> AsyncIterator[Device]:
    """A charger that asks everything of Bumble: a code that is typed, and rights on each value."""
    rights = Attribute.Permissions
    protected = (
        rights.READABLE
        | rights.WRITEABLE
        | rights.READ_REQUIRES_AUTHENTICATION
        | rights.WRITE_REQUIRES_AUTHENTICATION
    )
    async with AsyncExitStack() as stack:
        charger = await device(stack, radio, STOCK_CHARGER)
        charger.pairing_config_factory = lambda _: pairing.PairingConfig(
            sc=True,
            mitm=True,
            bonding=True,
            delegate=display,
            identity_address_type=pairing.PairingConfig.AddressType.RANDOM,
        )
        values = [
            Characteristic(
                each.uuid, Characteristic.Properties(each.properties), protected, b"\x01"
            )
            for each in STOCK.characteristics
        ]
        charger.add_service(Service(STOCK.uuid, values))
        again = asyncio.Event()
        charger.on("connection", lambda link: link.on("disconnection", lambda _: again.set()))

        async def advertise() -> None:
            while True:
                again.clear()
                await charger.start_advertising(
                    advertising_interval_min=20, advertising_interval_max=20
                )
                await again.wait()

        advertising = asyncio.create_task(advertise())
        try:
            yield charger
        finally:
            advertising.cancel()
            await asyncio.gather(advertising, return_exceptions=True)


# ---- what an attacker can see for itself --------------------------------------------------------


async def values(wire: Wire) -> dict[UUID, int]:
    """The handles of all characteristics' values, by asking for every declaration."""
    found: dict[UUID, int] = {}
    first = 1
    while True:
        answer = await wire.ask(b"\x08" + struct.pack("<HH", first, 0xFFFF) + DECLARED)
        if answer[0] != ANSWER:
            return found
        size = answer[1]
        for at in range(2, len(answer), size):
            declaration = answer[at : at + size]
            (value,) = struct.unpack_from("<H", declaration, 3)
            found[UUID.from_bytes(declaration[5:])] = value
            first = value


async def let_in(connection: Connection) -> bool:
    """Whether a link reads what only paired phones may."""
    assert STOCK.mode is not None
    wire = Wire(connection, ATT_CID)
    handle = (await values(wire))[UUID(STOCK.mode.uuid)]
    return (await wire.ask(b"\x0a" + struct.pack("<H", handle)))[0] != ERROR
