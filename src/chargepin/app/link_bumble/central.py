"""The app's Bluetooth adapter: who advertises, and connecting to one of them."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from bumble import core, hci
from bumble.device import Advertisement, Connection, Device, DeviceConfiguration
from bumble.host import Host
from bumble.pairing import PairingConfig

from chargepin.app.errors import Busy, LinkLost
from chargepin.app.hearing import is_charger, unanswered, worth_telling
from chargepin.app.link_bumble.asking import AskCode, Asking
from chargepin.app.link_bumble.bonds import KeptKeys
from chargepin.app.link_bumble.link import BumbleLink
from chargepin.app.link_bumble.smp import CarefulSession
from chargepin.app.ports import AttRefused, Found
from chargepin.app.unattended import look_at
from chargepin.core.gatt import parse_advertising
from chargepin.machine.controller import Controller, ControllerError, open_controller

_T = TypeVar("_T")
_ANSWERS_WITHIN_S = 5.0
_PATIENCE_S = 2.0


async def open_radio(
    name: str,
    *,
    address: str | None = None,
    bonds: Path | None = None,
    ask_code: AskCode | None = None,
) -> "BumbleRadio":
    """Open an adapter for the app.

    name: as for machine.controller.open_controller. address: the random static address
    ("C0:…" to "FF:…") that chargers see; drawn if None. bonds: a private file for the keys of
    Bluetooth bonds; in memory if None. ask_code: for the number
    that a charger of this name wants typed to pair; None if nobody has one. Raises
    ControllerError.
    """
    controller = await open_controller(name)
    try:
        static = (
            hci.Address.generate_static_address()
            if address is None
            else hci.Address(address, hci.Address.RANDOM_DEVICE_ADDRESS)
        )
        keys = _keys(bonds)
        device = _device(controller, static, keys)
        await _power_on(controller, device)
    except BaseException:
        await controller.close()
        raise
    return BumbleRadio(controller, device, keys, ask_code)


def _keys(path: Path | None) -> KeptKeys:
    try:
        return KeptKeys(path)
    except OSError as error:
        raise ControllerError(f"The Bluetooth bonds in {path} cannot be read: {error}") from error


def _device(controller: Controller, address: hci.Address, keys: KeptKeys) -> Device:
    configuration = DeviceConfiguration(
        name="chargepin",
        address=address,
        # The app offers nothing to a charger.
        gap_service_enabled=False,
        gatt_service_enabled=False,
    )
    transport = controller.transport
    device = Device(config=configuration, host=LosableHost(transport.source, transport.sink))
    device.keystore = keys
    device.smp_session_proxy = CarefulSession
    return device


class LosableHost(Host):
    """Bumble's host; it may lose its controller in the moment in which a command is given up."""

    def on_transport_lost(self) -> None:
        if self.pending_response is not None and self.pending_response.done():
            self.pending_response = None  # Bumble would answer it a second time
        super().on_transport_lost()  # type: ignore[no-untyped-call] # Bumble's own


async def _power_on(controller: Controller, device: Device) -> None:
    work = asyncio.ensure_future(device.power_on())
    await asyncio.wait(
        [work, controller.lost], timeout=_ANSWERS_WITHIN_S, return_when=asyncio.FIRST_COMPLETED
    )
    if not work.done():
        work.cancel()
        raise ControllerError(f"{controller.name} does not answer as a Bluetooth controller does")
    if (error := work.exception()) is not None:
        raise ControllerError(f"{controller.name} cannot be used ({error})") from error


class BumbleRadio:
    """Implements chargepin.app.ports.Radio."""

    def __init__(
        self,
        controller: Controller,
        device: Device,
        keys: KeptKeys,
        ask_code: AskCode | None = None,
    ) -> None:
        self._controller = controller
        self._device = device
        self._keys = keys
        self._ask_code = ask_code
        self._links: set[BumbleLink] = set()
        self._listeners: set[asyncio.Queue[Found | None]] = set()
        self._seen: dict[str, Found] = {}
        self._scanning = False
        self._turn = asyncio.Lock()  # to start and stop scanning
        self._dialing = asyncio.Lock()  # an adapter waits for one connection at a time
        self._running: set[asyncio.Task[Any]] = set()
        device.on(device.EVENT_ADVERTISEMENT, self._heard)
        device.pairing_config_factory = self._pairing_config
        controller.lost.add_done_callback(self._lost)

    @property
    def description(self) -> str:
        """Which one, as it was named."""
        return f"the radio {self._controller.name}"

    @property
    def address(self) -> str:
        """What chargers see this app as."""
        return str(self._device.random_address)

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
            raise self._gone()
        finally:
            self._listeners.discard(queue)
            await asyncio.shield(self._stop_scanning())

    async def _start_scanning(self) -> None:
        async with self._turn:
            if self._scanning:
                return
            self._seen.clear()
            self._scanning = True  # from now on: the command is carried out in any case
            try:
                await self._command(self._device.start_scanning(active=True))
            except hci.HCI_Error as error:
                self._scanning = False
                raise LinkLost(f"The adapter does not scan now ({error}).") from error

    async def _stop_scanning(self) -> None:
        async with self._turn:
            if self._scanning and not self._listeners:
                self._scanning = False
                with contextlib.suppress(LinkLost, hci.HCI_Error):
                    await self._command(self._device.stop_scanning())

    def _heard(self, advertisement: Advertisement) -> None:
        address = str(advertisement.address)
        before = self._seen.get(address)
        advertised = parse_advertising(bytes(advertisement.data))
        name = advertised.name or (before.name if before else "")
        if not is_charger(name):
            return
        # One of the two packets may be missed: what the other said still holds.
        services = set(advertised.services)
        if before is not None and before.name == name:
            services.update(before.services)
        found = Found(
            address=address,
            name=name,
            rssi_dbm=advertisement.rssi,
            services=tuple(sorted(services)),
            connectable=advertisement.is_connectable,
        )
        self._seen[address] = found
        for queue in self._listeners:
            queue.put_nowait(found)

    def _lost(self, _: asyncio.Future[None]) -> None:
        for queue in self._listeners:
            queue.put_nowait(None)

    # Connecting

    async def connect(self, found: Found, *, timeout_s: float) -> BumbleLink:
        """Connect and discover, within the time given for both."""
        try:
            async with asyncio.timeout(timeout_s):
                async with self._dialing:
                    connection = await self._dial(_address(found.address))
                return await self._set_up(connection, found)
        except TimeoutError:
            last = self._seen.get(found.address, found)
            raise unanswered(last, timeout_s) from None

    async def bonded(self, found: Found) -> bool | None:
        """Whether a key is kept for it."""
        return await self._keys.get(found.address) is not None

    async def _set_up(self, connection: Connection, found: Found) -> BumbleLink:
        asking = Asking(found.name, self._ask_code)
        link = BumbleLink(connection, found.name, asking)
        self._links.add(link)
        link.on_close(lambda: self._links.discard(link))
        try:
            await self._encrypt_again(link, str(connection.peer_address))
            await link.prepare()
        except AttRefused as refusal:
            await link.close()
            raise LinkLost(f"{found.name} does not tell its services ({refusal}).") from refusal
        except BaseException:
            await link.close()
            raise
        return link

    def _pairing_config(self, connection: Connection) -> PairingConfig:
        """How to pair on this connection. Bumble asks for those that nobody uses any more, too."""
        for link in self._links:
            if link.is_on(connection):
                return link.asking.config
        return Asking("", None).config

    async def _encrypt_again(self, link: BumbleLink, peer: str) -> None:
        """Use the Bluetooth bond with this charger, if any; forget one that it does not share."""
        if await self._keys.get(peer) is None:
            return
        try:
            if not await link.encrypt():
                await self._keys.delete(peer)
        except LinkLost:
            if link.key_differs:
                await self._keys.delete(peer)
            raise

    async def _dial(self, address: hci.Address) -> Connection:
        work = self._device.connect(
            address, own_address_type=hci.OwnAddressType.RANDOM, timeout=None
        )
        dialing = asyncio.create_task(work)
        dialing.add_done_callback(look_at)
        try:
            await self._first_of(dialing)
        except asyncio.CancelledError:
            await asyncio.shield(self._give_up(dialing))
            raise
        if not dialing.done() or dialing.cancelled():
            dialing.cancel()
            raise self._gone()
        try:
            return dialing.result()
        except core.ConnectionError as error:
            raise LinkLost(
                f"The connection could not be made ({error.error_name}).", retry_after_s=0.0
            ) from error
        except core.BaseBumbleError as error:
            raise Busy(
                f"The adapter cannot connect now ({error}); perhaps this app is connected already.",
                retry_after_s=1.0,
            ) from error

    async def _give_up(self, dialing: asyncio.Task[Connection]) -> None:
        """Leave neither an adapter that waits nor a connection that nobody knows of."""
        if not dialing.done():
            cancel = self._device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
            with contextlib.suppress(LinkLost, hci.HCI_Error):  # made or failed meanwhile
                await self._command(cancel)
            await asyncio.wait([dialing], timeout=_PATIENCE_S)
            dialing.cancel()
        if dialing.done() and not dialing.cancelled() and dialing.exception() is None:
            with contextlib.suppress(LinkLost, hci.HCI_Error):
                await self._command(dialing.result().disconnect())

    async def close(self) -> None:
        """Hang up on every charger and give the adapter back."""
        await asyncio.gather(*(link.close() for link in list(self._links)))
        await self._controller.close()

    async def _command(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Have the adapter do something. Raises LinkLost once the adapter is gone.

        It runs on when the caller gives up: Bumble takes the answer to a command that nobody
        waits for any more as the answer to the next one.
        """
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(look_at)
        await self._first_of(task)
        if task.done() and not task.cancelled() and not self._controller.lost.done():
            return task.result()
        task.cancel()
        raise self._gone()

    async def _first_of(self, task: asyncio.Task[Any]) -> None:
        """Wait for a task or the loss of the adapter, whichever is first."""
        either: list[asyncio.Future[Any]] = [task, self._controller.lost]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)

    def _gone(self) -> LinkLost:
        return LinkLost(f"The Bluetooth adapter {self._controller.name} is gone.")


def _address(text: str) -> hci.Address:
    return hci.Address.from_string_for_transport(text, core.PhysicalTransport.LE)
