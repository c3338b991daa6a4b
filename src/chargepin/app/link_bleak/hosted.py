"""Bluetooth that another program manages and lends: Home Assistant, with adapters and proxies."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import bleak
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError

from chargepin.app.errors import ChargerRefused, NoRadio, PasscodeNeeded
from chargepin.app.link_bleak.link import BleakLink
from chargepin.app.link_bleak.systems import AskCode

if TYPE_CHECKING:
    from chargepin.app.link_bleak.linux import Linux

_OWN: Final = "bleak"  # the module that bleak's own classes are of
_NEEDS_PASSCODE: Final = (
    "{name} wants to be paired with its 6-digit passcode, and a Bluetooth proxy has no way to ask"
    " for it. Put the passcode on the ESP32: `chargepin export esphome {name}` prints what to"
    " paste. Nothing was changed."
)


def is_hosted(device: BLEDevice | None) -> bool:
    """Whether bleak's classes are another program's, or a device is none of this computer's own.

    Home Assistant replaces them at its start, so they are looked up whenever they are used.
    """
    if bleak.BleakClient.__module__ != _OWN:
        return True
    return device is not None and isinstance(device.details, dict) and not path_of(device)


def path_of(device: BLEDevice) -> str | None:
    """BlueZ's path of a device; None if it is a proxy's, or another system's."""
    details = device.details
    path = details.get("path") if isinstance(details, dict) else None
    return path if isinstance(path, str) else None


class Hosted:
    """Implements chargepin.app.link_bleak.systems.System.

    Which adapter or proxy connects is the other program's choice. Only where it chose an adapter
    of this computer's own, BlueZ is asked beside it: to pair, and to forget a bond.
    """

    def __init__(self, ask_code: AskCode | None) -> None:
        self.adapter: str | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ask_code = ask_code

    async def begin(self, _device: BLEDevice) -> None:
        """Nothing: whoever manages Bluetooth counts its connections."""

    async def dial(self, link: BleakLink) -> None:
        """Connect as Home Assistant wants it: with bleak-retry-connector, where it is installed."""
        try:
            connector: Any = import_module("bleak_retry_connector")
        except ImportError:
            await link.client.connect()
            return

        def client(device: BLEDevice, **options: Any) -> bleak.BleakClient:  # noqa: ANN401 - passed on
            link.client = bleak.BleakClient(device, **options)
            return link.client

        await connector.establish_connection(client, link.device, link.name, link.hung_up)

    async def pair(self, link: BleakLink, again: bool) -> None:  # noqa: FBT001 - a callback
        """Have a proxy pair by itself; through BlueZ, by this app's own agent."""
        async with self._on_bluez(link.device, connected=True) as bluez:
            if bluez is not None:
                await bluez.pair(link, again)
                return
        needed = PasscodeNeeded(_NEEDS_PASSCODE.format(name=link.name))
        if again:
            raise needed
        try:
            await link.client.pair()
        except (BleakError, OSError, NotImplementedError) as error:
            if await link.ends():
                raise needed from error
            raise ChargerRefused(
                f"{link.name} could not be paired with the proxy ({error}).",
                refusal="pairing_refused",
            ) from error

    async def bonded(self, device: BLEDevice) -> bool | None:
        """As BlueZ says; proxies do not."""
        async with self._on_bluez(device) as bluez:
            return None if bluez is None else await bluez.bonded(device)

    async def forget_bond(self, device: BLEDevice) -> bool:
        """Have BlueZ forget it; bonds of proxies are out of reach."""
        async with self._on_bluez(device) as bluez:
            return bluez is not None and await bluez.forget_bond(device)

    async def close(self) -> None:
        """Nothing is held."""

    @asynccontextmanager
    async def _on_bluez(
        self, device: BLEDevice, *, connected: bool = False
    ) -> "AsyncIterator[Linux | None]":
        """BlueZ's way with its own devices; connected: only while it is connected to this one."""
        path = path_of(device)
        if path is None:
            yield None
            return
        from chargepin.app.link_bleak.bluez import BlueZ  # noqa: PLC0415 - only on Linux
        from chargepin.app.link_bleak.linux import Linux  # noqa: PLC0415 - as above

        try:
            bluez = await BlueZ.open()
        except NoRadio:
            yield None
            return
        try:
            usable = not connected or (await bluez.device(path)).get("Connected")
            adapter = path.split("/")[3]
            yield Linux(bluez, adapter, self._ask_code) if usable else None
        finally:
            await bluez.close()
