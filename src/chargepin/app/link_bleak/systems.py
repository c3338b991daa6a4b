"""How operating systems differ beside bleak: what is asked before, and how they pair."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, Protocol

from bleak.backends.device import BLEDevice
from bleak.exc import BleakError

from chargepin.app.errors import ChargerRefused
from chargepin.app.link_bleak.link import BleakLink
from chargepin.app.ports import PAIR_IN_SETTINGS

AskCode = Callable[[str], Coroutine[Any, Any, int]]
"""Asks a person for the number that the charger of this name wants typed; raises Cancelled."""

MACOS_ASKS: Final = (
    "If the charger wants to pair, macOS asks in a dialog of its own; the app waits for that."
)
WINDOWS_PAIRS: Final = (
    "Windows pairs by itself, without a code. A charger that wants one is paired first in Settings,"
    " Bluetooth & devices."
)
MACOS_SETTINGS: Final = (
    "remove it in the system's Bluetooth settings if it is there, then try again and type the"
    " passcode into the dialog of macOS"
)
WINDOWS_SETTINGS: Final = (
    "pair it in Settings, Bluetooth & devices, and type the passcode there; if it is paired there"
    " already, remove it first"
)


class Dropped(BleakError):
    """The connection was there, and went before it could be used."""


class System(Protocol):
    """An operating system's Bluetooth.

    adapter: the one to use, None for the system's choice. lost: done once Bluetooth is gone.
    """

    adapter: str | None
    lost: asyncio.Future[None]

    async def begin(self, device: BLEDevice) -> None:
        """Make ready to connect. Raises BleakError; Dropped if a connection was there and went."""

    async def dial(self, link: BleakLink) -> None:
        """Connect and discover. Raises what bleak raises."""

    async def pair(self, link: BleakLink, again: bool) -> None:  # noqa: FBT001 - a callback
        """Pair over a link, unless it is paired; again: anew. Raises what Link.pair raises."""

    async def bonded(self, device: BLEDevice) -> bool | None:
        """Whether there is a Bluetooth bond with a device; None where nobody says."""

    async def forget_bond(self, device: BLEDevice) -> bool:
        """Forget the Bluetooth bond with a device. False if there is none, or no way to do so."""

    async def close(self) -> None: ...


class Elsewhere:
    """macOS and Windows, by what their documentation and bleak's say; not tested on either.

    pairs: whether programs can pair. On macOS the system does so by itself, when a charger first
    refuses something, and asks the person.
    """

    def __init__(self, tell: Callable[[str], None], *, pairs: bool) -> None:
        self.adapter: str | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tell = tell
        self._pairs = pairs

    async def begin(self, _device: BLEDevice) -> None:
        """Nothing: connections end with their program."""

    async def dial(self, link: BleakLink) -> None:
        """As bleak does."""
        await link.client.connect()

    async def pair(self, link: BleakLink, again: bool) -> None:  # noqa: FBT001 - a callback
        """Have the system pair, or say that it will."""
        if again:
            raise ChargerRefused(
                WINDOWS_SETTINGS if self._pairs else MACOS_SETTINGS, refusal=PAIR_IN_SETTINGS
            )
        self._tell(WINDOWS_PAIRS if self._pairs else MACOS_ASKS)
        if not self._pairs:
            return
        try:
            await link.client.pair()
        except BleakError as error:
            raise ChargerRefused(
                f"{link.name} could not be paired with this computer ({error}).",
                refusal="pairing_refused",
            ) from error

    async def bonded(self, _device: BLEDevice) -> bool | None:
        """Not told."""
        return None

    async def forget_bond(self, _device: BLEDevice) -> bool:
        """Nothing: the person forgets devices in the system's settings."""
        return False

    async def close(self) -> None:
        """Nothing is held."""
