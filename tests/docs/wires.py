"""A charger's rules without a radio: what apps write goes to them by wire, and back."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from chargepin.charger.air import (
    AirEvent,
    Appearance,
    BluetoothPhone,
    Door,
    LinkClosed,
    LinkEnd,
    LinkOpened,
    Rules,
    Written,
)
from chargepin.charger.hardware import SimulatedHardware
from chargepin.charger.ports import Unit
from chargepin.charger.service import Clocks, Service
from chargepin.charger.setup import first_state
from chargepin.charger.stock import StockMethods, TypePlate, kept_hardware, kept_settings
from chargepin.charger.store import SQLiteStore
from chargepin.charger.update import ShippedImages, Updater
from chargepin.core import guard
from chargepin.core.catalogue import Version, family_of
from chargepin.core.pairing_window import Draw
from chargepin.core.slots import CAPACITY
from chargepin.machine.clock import running_s, unix_s
from docs.mini_client import cut

SOFTWARE = Version(6, 7, 17)
PATIENCE_S = 20.0


class LinkEnded(Exception):
    """The charger hung up."""


class Wire:
    """One link without a radio: chunks go straight to the charger's rules, and back."""

    def __init__(self, air: "Wires", number: int, att_mtu: int) -> None:
        self.number = number
        self.att_mtu = att_mtu
        self.nonce = secrets.token_bytes(8)
        self._air = air
        self._heard: asyncio.Queue[bytes | None] = asyncio.Queue()

    def hint(self) -> bytes:
        return self._air.charger.rights.hint(self.nonce)

    async def write(self, chunk: bytes, *, response: bool) -> None:
        assert len(chunk) <= self.att_mtu - 3
        self._air.charger.tell(Written(self.number, Door.OWN, chunk))
        if response:
            await asyncio.sleep(0)  # the time that an answer takes is time for the charger

    async def heard(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            chunk = await self._heard.get()
        if chunk is None:
            raise LinkEnded
        return chunk

    def deliver(self, chunk: bytes | None) -> None:
        self._heard.put_nowait(chunk)

    def hang_up(self) -> None:
        self._air.drop(self.number, flush=False)


class Wires:
    """The port Air, over wires."""

    def __init__(self) -> None:
        self.wires: dict[int, Wire] = {}
        self._count = 0
        self._charger: Service | None = None

    @property
    def charger(self) -> Service:
        assert self._charger is not None
        return self._charger

    def plug(self, charger: Service) -> None:
        self._charger = charger

    def connected(self, att_mtu: int = 23) -> Wire:
        self._count += 1
        wire = Wire(self, self._count, att_mtu)
        self.wires[wire.number] = wire
        self.charger.tell(LinkOpened(wire.number, "F0:00:00:00:00:02", wire.nonce))
        return wire

    async def start(
        self, appearance: Appearance, rules: Rules, tell: Callable[[AirEvent], None]
    ) -> None:
        raise NotImplementedError

    async def stop(self) -> None:
        raise NotImplementedError

    def send(self, link: int, door: Door, message: bytes) -> None:
        wire = self.wires.get(link)
        if wire is not None and door is Door.OWN:
            for chunk in cut(message, wire.att_mtu):
                wire.deliver(chunk)

    def drop(self, link: int, *, flush: bool) -> None:
        _ = flush  # a wire has no queue in which anything could wait
        wire = self.wires.pop(link, None)
        if wire is not None:
            wire.deliver(None)
            self.charger.tell(LinkClosed(link, LinkEnd.DROPPED))

    def advertise(self, *, wanted: bool) -> None: ...

    def forget_bonds(self) -> None: ...

    def forget_phone(self, bond_id: str) -> Sequence[int]:
        raise NotImplementedError(bond_id)

    def end_pairing(self) -> None: ...

    @property
    def phones(self) -> Sequence[BluetoothPhone]:
        return ()

    @property
    def links(self) -> Sequence[int]:
        return tuple(self.wires)

    @property
    def full(self) -> bool:
        return False


@asynccontextmanager
async def charger_at(
    directory: Path, *, capacity: int = CAPACITY, draw: Draw = secrets.randbelow
) -> AsyncIterator[Wires]:
    """A charger that runs 6.7.17, on wires."""
    store = SQLiteStore(directory)
    key = store.identity
    unit = Unit(key, key.public_key().public_bytes_raw(), "123456", secrets.token_bytes)
    family, images = family_of("pulsar-plus"), ShippedImages()
    updater = Updater(directory, family, SOFTWARE, images, images.maker_key)
    start = guard.powered_up(first_state(store, unit, None), SOFTWARE, updater.oldest_app)
    hardware = SimulatedHardware(family, kept_hardware(store), start.guard.started_s)
    plate = TypePlate("123456", family, SOFTWARE, family.layout)
    stock = StockMethods(plate, hardware, updater, kept_settings(store))
    wires = Wires()
    clocks = Clocks(running_s, unix_s)
    charger = Service(
        *(unit, store, wires, stock, updater, start, clocks, lambda _: None),
        draw=draw,
        capacity=capacity,
    )
    wires.plug(charger)
    running = asyncio.create_task(charger.run())
    try:
        yield wires
    finally:
        charger.stop()
        await running
        store.close()
