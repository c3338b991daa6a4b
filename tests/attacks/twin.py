"""A charger of the attacker's: it looks as it likes, and says what it likes to whoever comes."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Self

from attacks.stage import seen
from chargepin.app import client
from chargepin.app.client import Charger
from chargepin.app.ports import Found
from chargepin.charger.air import (
    AirEvent,
    Appearance,
    AttError,
    Door,
    LinkClosed,
    LinkOpened,
    Pairing,
    Secured,
    Written,
)
from chargepin.charger.bluetooth.pairing import BluetoothBond
from chargepin.charger.bluetooth.peripheral import Peripheral
from chargepin.core.catalogue import name_of
from chargepin.core.gatt import Layout
from chargepin.machine.controller import Controller, open_controller
from docs import mini_client as mini
from ends import PATIENCE_S, SERIAL, Answers, Ends, Phone

Talk = Callable[["Twin", int, bytes], Awaitable[None]]
"""What it does with a message of the app on a link."""


class _NoBonds:
    def get(self, _: str) -> BluetoothBond | None:
        return None

    def put(self, bond: BluetoothBond) -> None: ...

    def delete(self, identity: str) -> None: ...

    def all(self) -> Sequence[BluetoothBond]:
        return ()


class Twin:
    """On the air under the victim's name. heard: every message that apps sent it."""

    def __init__(self, controller: Controller, talk: Talk, *, service: bool = True) -> None:
        self.heard: list[bytes] = []
        self.stock_bytes = 0
        self.hint_shown: bytes | None = None
        self.links: set[int] = set()
        self.greeted: asyncio.Queue[int] = asyncio.Queue()
        self.gone: asyncio.Queue[int] = asyncio.Queue()
        self._controller = controller
        self._talk = talk
        self._service = service
        self._streams: dict[int, mini.Stream] = {}
        self._messages: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue()
        address = bytes([secrets.randbelow(64) | 0xC0]) + secrets.token_bytes(5)
        self.address = address.hex(":").upper()
        self.air = Peripheral(controller.transport, self.address, _NoBonds())
        self._talking: asyncio.Task[None] | None = None

    async def appear(self) -> Self:
        appearance = Appearance(name_of(SERIAL), Layout.BGX, self._service)
        await self.air.start(appearance, self, self._told)
        self._talking = asyncio.create_task(self._go_on())
        return self

    async def vanish(self) -> None:
        if self._talking is not None:
            self._talking.cancel()
            with suppress(asyncio.CancelledError):
                await self._talking
        await self.air.stop()
        await self._controller.close()

    def is_me(self, found: Found) -> bool:
        return found.address.upper().startswith(self.address)

    def say(self, link: int, message: bytes) -> None:
        self.air.send(link, Door.OWN, mini.framed(message))

    @property
    def shares(self) -> list[bytes]:
        return [message for message in self.heard if message[0] == mini.SHARE_P]

    async def lure(self, phone: Phone, prompt: Answers | None = None) -> Charger:
        """The app takes it for its charger."""
        around = replace(phone.surroundings, prompt=prompt)
        found = await seen(phone, self.is_me)
        async with asyncio.timeout(PATIENCE_S):
            return await client.enter(around, found)

    # ---- asked by its adapter

    def stock(self, link: int, secured: Secured) -> AttError | None:
        _ = link, secured
        return None

    def hint(self, nonce: bytes) -> bytes:
        return self.hint_shown or bytes([1, 2, 0, 0, 0, 1]) + nonce

    def pairing(self, link: int) -> Pairing:
        _ = link
        return Pairing.JUST_WORKS

    def code(self, link: int) -> int | None:
        _ = link
        return None

    def phone_name(self) -> str:
        return ""

    def bond_counts(self) -> bool:
        return True

    def _told(self, event: AirEvent) -> None:
        match event:
            case LinkOpened(link):
                self.links.add(link)
                self._streams[link] = mini.Stream()
                self.air.advertise(wanted=True)
            case LinkClosed(link):
                self.links.discard(link)
                self.gone.put_nowait(link)
            case Written(link, Door.OWN, value):
                for message in self._streams[link].feed(value):
                    self._messages.put_nowait((link, message))
            case Written(_, _, value):
                self.stock_bytes += len(value)
            case _:
                pass

    async def _go_on(self) -> None:
        while True:
            link, message = await self._messages.get()
            self.heard.append(message)
            if message[0] == mini.HELLO:
                self.greeted.put_nowait(link)
            await self._talk(self, link, message)


@asynccontextmanager
async def twin(ends: Ends, talk: Talk, *, service: bool = True) -> AsyncIterator[Twin]:
    """A fake charger on the radio of the victims."""
    it = await Twin(await open_controller(ends.room.address), talk, service=service).appear()
    try:
        yield it
    finally:
        await it.vanish()
