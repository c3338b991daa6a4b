"""An imitated charger on a virtual radio, in this process, and stock phones for it."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bumble.att import ATT_Error
from bumble.gatt import GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR

from bluetooth_phone import BluetoothLink, BluetoothPhone, bluetooth_phone
from chargepin.charger.imitation import Imitator, imitated_setup
from chargepin.core import bapi
from chargepin.core.gatt import Mode
from chargepin.radio import Room, serve_radio

SERIAL = "123456"
SUBSCRIBE = b"\x01\x00"
PING = bapi.encode_request("r_dat", None, 1)


@dataclass
class Bench:
    """A radio with one imitated charger at a time. said: what it reported."""

    room: Room
    directory: Path
    said: list[str] = field(default_factory=list)
    charger: Imitator | None = None
    _running: asyncio.Task[None] | None = None

    async def switch_on(self, version: str, passcode: str | None = None, **more: Any) -> Imitator:
        file = self.directory / "passcode"
        file.write_text(passcode or "")
        setup = imitated_setup(
            version=version,
            serial=SERIAL,
            directory=self.directory / "charger",
            factory_passcode_file=file if passcode else None,
            **more,
        )
        self.charger = await Imitator.start(setup, self.room.address, self.said.append)
        self._running = asyncio.create_task(self.charger.run())
        return self.charger

    async def switch_off(self) -> None:
        if self.charger is not None and self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            await self.charger.close()
        self.charger = self._running = None

    @asynccontextmanager
    async def phone(self, *, keyboard: bool = True) -> AsyncIterator[BluetoothPhone]:
        assert self.charger is not None
        address, stock = self.charger.address, self.charger.layout.stock
        async with bluetooth_phone(self.room.address, address, stock, keyboard=keyboard) as phone:
            yield phone


@asynccontextmanager
async def bench(directory: Path, *, capture: Path | None = None) -> AsyncIterator[Bench]:
    on = Bench(await serve_radio("127.0.0.1", 0, capture=capture), directory)
    try:
        yield on
    finally:
        await on.switch_off()
        await on.room.close()


async def subscribing(link: BluetoothLink) -> int | None:
    """The ATT error of subscribing, None if it is let."""
    notify = link.characteristic(link.stock.notify.uuid)
    cccd = notify.get_descriptor(GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR)
    assert cccd is not None
    return await _error(cccd.write_value(SUBSCRIBE, with_response=True))


async def switching(link: BluetoothLink) -> int | None:
    """The ATT error of setting the mode."""
    assert link.stock.mode is not None
    mode = link.characteristic(link.stock.mode.uuid)
    return await _error(mode.write_value(bytes([Mode.STREAM]), with_response=True))


async def writing(link: BluetoothLink) -> int | None:
    """The ATT error of writing a request."""
    return await _error(link.write(PING))


async def _error(request: Coroutine[None, None, None]) -> int | None:
    try:
        await request
    except ATT_Error as error:
        return int(error.error_code)
    return None
