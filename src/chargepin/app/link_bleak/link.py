"""One connection to one charger through the operating system: requests, and how it ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import bleak
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDBusError, BleakError, BleakGATTProtocolError

from chargepin.app.errors import LinkLost, ProtocolError
from chargepin.app.ports import AttRefused
from chargepin.app.unattended import as_given, call, look_at

_T = TypeVar("_T")

_LEAST_MTU: Final = 23  # Core Vol 3, Part G, 5.2.1
_MOST_MTU: Final = 512 + 3  # no value is longer than 512 bytes: Part F, 3.2.9
_WRITE_HEADER_BYTES: Final = 3
_ENDS_WITHIN_S: Final = 2.0
_HANGS_UP_WITHIN_S: Final = 5.0  # BlueZ waits for 2 s before it does
_INSUFFICIENT_AUTHENTICATION: Final = 0x05
_UNLIKELY: Final = 0x0E
_PROXYS_OWN: Final = 0x80  # from here on, what an ESP32 says of itself
_HUNG_UP: Final = "The charger hung up, or it is out of range."
_WE_HUNG_UP: Final = "This app hung up."


class BleakLink:
    """Implements chargepin.app.ports.Link. Made by BleakRadio.connect.

    secure: how this system pairs with the charger behind a link.
    """

    def __init__(
        self, device: BLEDevice, name: str, secure: Callable[["BleakLink", bool], Awaitable[None]]
    ) -> None:
        self.device = device
        self.name = name
        self._secure = secure
        self.client = bleak.BleakClient(device, self.hung_up)
        self._found: dict[str, BleakGATTCharacteristic] = {}
        self._subscribers: dict[str, list[Callable[[bytes], None]]] = {}
        self._writing = asyncio.Lock()
        self._running: set[asyncio.Task[Any]] = set()
        self._on_close: list[Callable[[], None]] = []
        self._opened = False
        self._ending: str | None = None
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # What the port promises

    @property
    def att_mtu(self) -> int:
        """As the system tells, header of 3 included; 23 where it does not."""
        told = [each.max_write_without_response_size for each in self._found.values()]
        return min(max(_LEAST_MTU, max(told, default=0) + _WRITE_HEADER_BYTES), _MOST_MTU)

    @property
    def characteristics(self) -> frozenset[str]:
        """Lower case UUIDs of every characteristic found."""
        return frozenset(self._found)

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._gone.done()

    async def read(self, uuid: str) -> bytes:
        """Read a whole value, however long."""
        found = self._characteristic(uuid)
        return bytes(await self._request(self.client.read_gatt_char(found)))

    async def write(self, uuid: str, value: bytes, *, response: bool) -> None:
        """Write one chunk. Raises ValueError for one that is too long for this link."""
        found = self._characteristic(uuid)
        if len(value) > self.att_mtu - _WRITE_HEADER_BYTES:
            raise ValueError(f"{len(value)} bytes do not fit an ATT MTU of {self.att_mtu}")
        response = response or "write-without-response" not in found.properties
        async with self._writing:
            self._check()
            await self._request(
                self.client.write_gatt_char(found, value, response=response), changes=True
            )

    async def subscribe(self, uuid: str, callback: Callable[[bytes], None]) -> None:
        """Call back for each notification, in order, until the link closes."""
        found = self._characteristic(uuid)
        if not {"notify", "indicate"} & set(found.properties):
            raise ProtocolError(f"{self.name} offers no notifications where they are needed.")
        subscribers = self._subscribers.setdefault(uuid, [])
        subscribers.append(as_given(callback))
        if len(subscribers) > 1:
            return

        def heard(_: BleakGATTCharacteristic, value: bytearray) -> None:
            for each in subscribers:
                if not self.closed:
                    call(each, bytes(value))

        try:
            await self._request(self.client.start_notify(found, heard), changes=True)
        except BaseException:
            subscribers.clear()
            raise

    async def pair(self, *, again: bool = False) -> None:
        """Pair; the system may ask the person. Nothing on a link that is paired already."""
        self._check()
        await self._secure(self, again)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once when the link is gone, at once if it is already."""
        if self.closed:
            call(callback)
        else:
            self._on_close.append(as_given(callback))

    async def close(self) -> None:
        """Hang up; the charger is told."""
        if self.closed:
            return
        if self._ending is None:
            self._ending = _WE_HUNG_UP
            self._start(self.client.disconnect())
        await asyncio.wait([self._gone], timeout=_HANGS_UP_WITHIN_S)
        self.lost(_WE_HUNG_UP)

    # Setting up and clearing up

    async def open(self, dial: Callable[["BleakLink"], Awaitable[None]]) -> None:
        """Connect and discover, as long as it takes. Raises what bleak raises."""
        dialing = self._start(dial(self))
        try:
            await asyncio.shield(dialing)
        except asyncio.CancelledError:
            dialing.cancel()  # bleak then tells the system to stop trying
            await asyncio.wait([dialing], timeout=_HANGS_UP_WITHIN_S)
            raise
        self._opened = True
        for characteristic in self.client.services.characteristics.values():
            self._found.setdefault(characteristic.uuid.lower(), characteristic)

    def hung_up(self, _client: bleak.BleakClient) -> None:
        """Take note of bleak's word that the link is gone."""
        self.lost(_HUNG_UP)

    def lost(self, ending: str) -> None:
        """Take note that the link is gone, and why."""
        if self.closed:
            return
        self._ending = self._ending or ending
        self._gone.set_result(None)
        if self._opened:
            self._start(self.client.disconnect())  # gives back what bleak holds for the link
        callbacks, self._on_close = self._on_close, []
        for callback in callbacks:
            call(callback)

    async def ends(self) -> bool:
        """Wait a little for an end that is to be expected; whether it came."""
        await asyncio.wait([self._gone], timeout=_ENDS_WITHIN_S)
        return self.closed

    async def settle(self) -> None:
        """Wait until nothing of a closed link is under way; what does not end is given up."""
        if self._running:
            _, left = await asyncio.wait(self._running, timeout=_ENDS_WITHIN_S)
            for task in left:
                task.cancel()

    # Requests and their end

    def _characteristic(self, uuid: str) -> BleakGATTCharacteristic:
        self._check()
        try:
            return self._found[uuid]
        except KeyError:
            raise ProtocolError(f"{self.name} has no characteristic {uuid}.") from None

    def _check(self) -> None:
        if self._ending is not None:
            raise LinkLost(f"Not connected to {self.name}: {self._ending}", retry_after_s=0.0)

    async def _request(self, work: Awaitable[_T], *, changes: bool = False) -> _T:
        """Wait for something of bleak's, but not beyond the end of the link.

        It runs in its own task: the system goes on with a request that a caller gave up, and no
        other may take its place meanwhile.
        """
        task = self._start(work)
        either: list[asyncio.Future[Any]] = [task, self._gone]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise self._broke_off(None, changes=changes)
        try:
            return task.result()
        except asyncio.CancelledError:
            raise self._broke_off(None, changes=changes) from None
        except (BleakError, OSError, EOFError) as error:
            refused = await self._refusal(error)
            if refused is None:
                raise self._broke_off(error, changes=changes) from error
            raise refused from error

    async def _refusal(self, error: Exception) -> AttRefused | None:
        """The ATT error behind an exception, None if it only tells that the link is gone."""
        code = _att_error(error)
        if code in (None, _UNLIKELY):
            # BlueZ calls what a lost link cuts off "unlikely", a moment before the loss itself.
            await self.ends()
        if code is None or self.closed:
            return None
        return AttRefused(code)

    def _broke_off(self, error: Exception | None, *, changes: bool) -> LinkLost:
        why = self._ending or f"{error}."
        return LinkLost(
            f"The connection to {self.name} broke off: {why}",
            may_have_happened=changes,
            retry_after_s=0.0,
        )

    def _start(self, work: Awaitable[_T]) -> "asyncio.Task[_T]":
        async def run() -> _T:
            return await work

        task = asyncio.create_task(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(look_at)
        return task


def _att_error(error: Exception) -> int | None:
    if isinstance(error, BleakGATTProtocolError):
        return int(error.code)
    if isinstance(error, BleakDBusError) and error.dbus_error == "org.bluez.Error.NotPermitted":
        # "Not paired": BlueZ's one name for three errors that want another key.
        return _INSUFFICIENT_AUTHENTICATION
    # What an ESPHome proxy was told is behind bleak-esphome's sentence about it.
    told = getattr(getattr(error.__cause__, "error", None), "error", None)
    return told if isinstance(told, int) and 0 < told < _PROXYS_OWN else None
