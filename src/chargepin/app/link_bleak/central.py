"""The computer's own Bluetooth: who advertises, and connecting to one of them."""

import asyncio
import contextlib
import platform
from collections.abc import AsyncGenerator, Callable
from types import MappingProxyType
from typing import Final

import bleak
from bleak import BleakAdapter
from bleak.args.bluez import BlueZAdapterArgs, BlueZScannerArgs
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData
from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakBluetoothNotAvailableReason,
    BleakError,
)

from chargepin.app.errors import Busy, LinkLost, NoRadio
from chargepin.app.hearing import is_charger, unanswered, worth_telling
from chargepin.app.link_bleak.hosted import Hosted, is_hosted
from chargepin.app.link_bleak.link import BleakLink
from chargepin.app.link_bleak.systems import AskCode, Dropped, Elsewhere, System
from chargepin.app.ports import NOT_TOLD_DBM, Found
from chargepin.core.gatt import PASSCODE_SERVICE, Layout

_BLEAK_WAS_NOT_TOLD_DBM: Final = -127
_CHARGER_SERVICES: Final = [PASSCODE_SERVICE, *(layout.stock.uuid for layout in Layout)]
_ATTEMPTS: Final = 4
_SETTLES_IN_S: Final = 0.5
_DROPS_MEAN_STALE: Final = 2

_WHY_NOT: Final = MappingProxyType(
    {
        BleakBluetoothNotAvailableReason.NO_BLUETOOTH: "This computer has no Bluetooth.",
        BleakBluetoothNotAvailableReason.NO_BLE_CENTRAL_ROLE: (
            "This computer's Bluetooth does not know Bluetooth Low Energy."
        ),
        BleakBluetoothNotAvailableReason.POWERED_OFF: (
            "Bluetooth is switched off on this computer."
        ),
        BleakBluetoothNotAvailableReason.DENIED_BY_USER: (
            "This program may not use Bluetooth. Allow it in the system's privacy settings."
        ),
        BleakBluetoothNotAvailableReason.DENIED_BY_SYSTEM: (
            "This program may not use Bluetooth; the computer's administrator can allow it."
        ),
    }
)


async def open_radio(
    *,
    ask_code: AskCode | None = None,
    tell: Callable[[str], None] = lambda _: None,
    seen: object = None,
) -> "BleakRadio":
    """Open the computer's own Bluetooth, or what another program of this process makes of it.

    ask_code: for the number that a charger wants typed to pair, None if nobody can be asked.
    tell: takes a sentence about what the operating system will do. seen: the charger, if it was
    found already, as a BLEDevice; anything else is found again. Raises NoRadio.
    """
    device = seen if isinstance(seen, BLEDevice) else None
    system: System
    if is_hosted(device):
        system = Hosted(ask_code)
    elif platform.system() == "Linux":
        from chargepin.app.link_bleak.linux import open_linux  # noqa: PLC0415 -- only there

        system = await open_linux(ask_code)
    else:
        system = Elsewhere(tell, pairs=platform.system() == "Windows")
    return BleakRadio(system, tell, device)


class BleakRadio:
    """Implements chargepin.app.ports.Radio."""

    def __init__(
        self, system: System, tell: Callable[[str], None], seen: BLEDevice | None = None
    ) -> None:
        self._system = system
        self._tell = tell
        named = system.adapter
        self._asks: BlueZAdapterArgs = {"adapter": named} if named else {}
        self._scans: BlueZScannerArgs = {"adapter": named} if named else {}
        self._links: dict[str, BleakLink] = {}
        self._ended: set[BleakLink] = set()
        self._devices = {} if seen is None else {seen.address: seen}
        self._seen: dict[str, Found] = {}
        self._listeners: set[asyncio.Queue[Found | None]] = set()
        self._scanner: bleak.BleakScanner | None = None
        self._turn = asyncio.Lock()  # to start and stop scanning
        self._dialing = asyncio.Lock()  # systems connect to one device at a time
        system.lost.add_done_callback(self._lost)

    @property
    def description(self) -> str:
        """Which adapter, where the system names it."""
        named = self._system.adapter
        return f"this computer's own Bluetooth, {named}" if named else "this computer's own"

    # Scanning

    async def scan(self) -> AsyncGenerator[Found, None]:
        """Yield chargers as they are heard, and again when something about them changes."""
        queue: asyncio.Queue[Found | None] = asyncio.Queue()
        told: dict[str, Found] = {}
        self._listeners.add(queue)
        try:
            await self._start_scanning()
            while (found := await queue.get()) is not None:
                if worth_telling(told.get(found.address), found):
                    told[found.address] = found
                    yield found
            raise _gone()
        finally:
            self._listeners.discard(queue)
            await asyncio.shield(self._stop_scanning())

    async def _start_scanning(self) -> None:
        async with self._turn:
            if self._system.lost.done():
                raise _gone()
            if self._scanner is not None:
                return
            self._seen.clear()
            scanner = bleak.BleakScanner(
                detection_callback=self._heard, scanning_mode="active", bluez=self._scans
            )
            try:
                await scanner.start()
            except BleakBluetoothNotAvailableError as error:
                raise NoRadio(_WHY_NOT.get(error.reason, str(error))) from error
            except (BleakError, OSError, EOFError) as error:
                raise LinkLost(
                    f"This computer's Bluetooth does not scan now ({error}).", retry_after_s=1.0
                ) from error
            self._scanner = scanner
            if not isinstance(self._system, Hosted):
                await self._hear_connected()

    async def _hear_connected(self) -> None:
        """A charger that this computer holds a connection to need not advertise, yet it is there.

        Without a program that owns it, such a connection is what a killed one left behind.
        """
        try:
            adapter = await BleakAdapter.get(bluez=self._asks)
            devices = await adapter.get_connected_devices(_CHARGER_SERVICES)
        except (BleakError, NotImplementedError, OSError, EOFError):
            return  # then it is found where it advertises
        for device in devices:
            if device.address not in self._seen and is_charger(device.name or ""):
                self._note(device, Found(device.address, str(device.name), NOT_TOLD_DBM))

    async def _stop_scanning(self) -> None:
        async with self._turn:
            if self._scanner is not None and not self._listeners:
                scanner, self._scanner = self._scanner, None
                with contextlib.suppress(BleakError, OSError, EOFError):
                    await scanner.stop()

    def _heard(self, device: BLEDevice, advertised: AdvertisementData) -> None:
        before = self._seen.get(device.address)
        name = advertised.local_name or (before.name if before else "")
        if not is_charger(name):
            return
        services = {uuid.lower() for uuid in advertised.service_uuids}
        # Some systems tell of the two packets one by one: what the other said still holds.
        if before is not None and before.name == name:
            services.update(before.services)
        told = advertised.rssi != _BLEAK_WAS_NOT_TOLD_DBM
        rssi_dbm = advertised.rssi if told else NOT_TOLD_DBM
        self._note(device, Found(device.address, name, rssi_dbm, tuple(sorted(services))))

    def _note(self, device: BLEDevice, found: Found) -> None:
        self._seen[device.address] = found
        self._devices[device.address] = device
        for queue in self._listeners:
            queue.put_nowait(found)

    def _lost(self, _: asyncio.Future[None]) -> None:
        for queue in self._listeners:
            queue.put_nowait(None)
        for link in list(self._links.values()):
            link.lost("This computer's Bluetooth is gone.")

    # Connecting

    async def connect(self, found: Found, *, timeout_s: float) -> BleakLink:
        """Connect and discover, within the time given for both."""
        if found.address in self._links:
            raise Busy(f"This app is connected already to {found.name}.", retry_after_s=1.0)
        if self._system.lost.done():
            raise _gone()
        try:
            async with asyncio.timeout(timeout_s) as limit, self._dialing:
                return await self._dial(
                    found, lambda: limit.reschedule(asyncio.get_running_loop().time() + timeout_s)
                )
        except TimeoutError:
            last = self._seen.get(found.address, found)
            raise unanswered(last, timeout_s) from None

    async def bonded(self, found: Found) -> bool | None:
        """As the system says."""
        device = self._devices.get(found.address)
        return None if device is None else await self._system.bonded(device)

    async def _dial(self, found: Found, begin_anew: Callable[[], None]) -> BleakLink:
        """Connect, again with what a new scan says: systems forget devices, and air is air.

        A charger that has forgotten the Bluetooth bond with this computer makes the system drop
        each connection at once, without a word why. To see that takes time which connecting does
        not need; begin_anew gives it back.
        """
        dropped = 0
        device = self._devices.get(found.address) or await self._sought(found)
        for left in reversed(range(_ATTEMPTS)):
            try:
                return await self._opened(device, found)
            except (BleakError, OSError, EOFError) as error:
                if not left:
                    raise LinkLost(
                        f"The connection to {found.name} could not be made ({error}).",
                        retry_after_s=0.0,
                    ) from error
                if isinstance(error, Dropped):
                    dropped += 1
                    await asyncio.sleep(_SETTLES_IN_S)
            if dropped == _DROPS_MEAN_STALE and await self._system.forget_bond(device):
                self._tell(
                    f"{found.name} no longer knows this computer; their Bluetooth bond is"
                    " forgotten here too."
                )
                begin_anew()
            device = await self._sought(found)
        raise AssertionError

    async def _opened(self, device: BLEDevice, found: Found) -> BleakLink:
        await self._system.begin(device)
        link = BleakLink(device, found.name, self._system.pair)
        self._links[found.address] = link
        link.on_close(lambda: self._closed(found.address))
        try:
            await link.open(self._system.dial)
        except BaseException as error:
            dropped = link.closed
            link.lost("It was not made.")
            if dropped and isinstance(error, BleakError):
                raise Dropped(str(error)) from error
            raise
        return link

    async def _sought(self, found: Found) -> BLEDevice:
        async with contextlib.aclosing(self.scan()) as seen:
            async for heard in seen:
                if heard.address == found.address:
                    return self._devices[found.address]
        raise _gone()

    def _closed(self, address: str) -> None:
        self._ended.add(self._links.pop(address))

    async def close(self) -> None:
        """Hang up on every charger and give Bluetooth back."""
        await asyncio.gather(*(link.close() for link in list(self._links.values())))
        await asyncio.gather(*(link.settle() for link in self._ended))
        await self._system.close()


def _gone() -> LinkLost:
    return LinkLost("This computer's Bluetooth is gone.")
