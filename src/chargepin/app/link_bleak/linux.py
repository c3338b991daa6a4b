"""Linux: BlueZ's pairing, and what it leaves behind."""

import asyncio
import contextlib

from bleak.backends.bluezdbus.defs import DEVICE_INTERFACE
from bleak.backends.bluezdbus.manager import BlueZManager, get_global_bluez_manager
from bleak.backends.device import BLEDevice

from chargepin.app.errors import Busy, ChargerRefused, LinkLost, PasscodeWrong
from chargepin.app.link_bleak.bluez import BlueZ, Pairing
from chargepin.app.link_bleak.link import BleakLink
from chargepin.app.link_bleak.systems import AskCode, System


async def open_linux(ask_code: AskCode | None) -> System:
    """Open BlueZ. Raises NoRadio with a sentence about what is missing."""
    bluez = await BlueZ.open()
    try:
        return Linux(bluez, await bluez.adapter(), ask_code)
    except BaseException:
        await bluez.close()
        raise


class Linux:
    """Implements chargepin.app.link_bleak.systems.System."""

    def __init__(self, bluez: BlueZ, adapter: str, ask_code: AskCode | None) -> None:
        self._bluez = bluez
        self._ask_code = ask_code
        self.adapter: str | None = adapter
        self.lost: asyncio.Future[None] = bluez.lost

    async def begin(self, device: BLEDevice) -> None:
        """Connect already; bleak then goes on with the connection that it finds.

        bleak would connect again where Linux drops a connection, and hang up, at the wrong moment.
        What a program that was killed left connected is hung up first: nobody can go on with it.
        """
        path = _path(device)
        if (await self._bluez.device(path)).get("Connected"):
            await self._bluez.disconnect(path)
        await self._bluez.connect(path)
        if (await self._bluez.device(path)).get("Connected"):
            tell_connected(await get_global_bluez_manager(), path)

    async def dial(self, link: BleakLink) -> None:
        """As bleak does."""
        await link.client.connect()

    async def pair(self, link: BleakLink, again: bool) -> None:  # noqa: FBT001 - a callback
        """Pair through an agent of this app's own."""
        path = _path(link.device)
        if again:
            await self._unpair(link, path)
        if (await self._bluez.device(path)).get("Paired"):
            return
        ask_code = self._ask_code
        ask = None if ask_code is None else lambda: ask_code(link.name)
        outcome = await self._bluez.pair(path, ask)
        if outcome is Pairing.DONE:
            return
        if outcome is Pairing.CODE_REFUSED:
            # BlueZ keeps what it half learned of the device, and would go on from there.
            await link.close()
            await self._bluez.forget(path)
        elif outcome is Pairing.REFUSED:
            await link.ends()  # Linux hangs up on who would not pair
        raise _said(outcome, link.name)

    async def _unpair(self, link: BleakLink, path: str) -> None:
        """BlueZ pairs nobody twice: forget it, which ends the link; the next one pairs anew."""
        if self._ask_code is None:
            raise ChargerRefused(
                f"{link.name} wants another pairing, and nobody has a code for one.",
                refusal="pairing_refused",
            )
        await link.close()
        await self._bluez.forget(path)
        raise LinkLost(
            f"The old pairing with {link.name} is forgotten; connect again to pair anew.",
            retry_after_s=0.0,
        )

    async def bonded(self, device: BLEDevice) -> bool | None:
        """As BlueZ says."""
        return bool((await self._bluez.device(_path(device))).get("Paired"))

    async def forget_bond(self, device: BLEDevice) -> bool:
        """Forget it, and with it everything that BlueZ knows of the device."""
        path = _path(device)
        if not (await self._bluez.device(path)).get("Paired"):
            return False
        await self._bluez.forget(path)
        return True

    async def close(self) -> None:
        """Give BlueZ back."""
        await self._bluez.close()


def tell_connected(manager: BlueZManager, path: str) -> None:
    """Have bleak know that BlueZ is connected to a device.

    BlueZ says so when it is asked, but tells nobody where it hears of the connection's data channel
    before it hears of the connection, as it may on a busy computer (seen with 5.66). bleak goes by
    what it was told: it would take the device for gone, and hang up.
    """
    with contextlib.suppress(AttributeError, KeyError):  # it is kept elsewhere, or forgotten again
        manager._properties[path][DEVICE_INTERFACE]["Connected"] = True  # noqa: SLF001 - no other way


def _path(device: BLEDevice) -> str:
    return str(device.details["path"])


def _said(outcome: Pairing, name: str) -> Exception:
    match outcome:
        case Pairing.CODE_REFUSED:
            return PasscodeWrong(
                f"{name} did not take that code, or does not pair now. Nothing was changed. Try the"
                " one that the maker's app shows now.",
                tries_left=None,
            )
        case Pairing.REFUSED:
            return ChargerRefused(
                f"{name} does not pair now, or wants a code that nobody gave. Nothing was changed.",
                refusal="pairing_refused",
            )
        case Pairing.BUSY:
            return Busy(f"Another program is pairing with {name} now.", retry_after_s=5.0)
        case _:
            return LinkLost(
                f"The connection to {name} broke off while pairing. Try again.", retry_after_s=0.0
            )
