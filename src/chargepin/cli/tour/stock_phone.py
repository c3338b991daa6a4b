"""A phone without the app: Bluetooth as it comes, and clients of real chargers as they are.

Nothing of this project speaks or listens here, not even its table of UUIDs: what this phone can do
or cannot, any other can or cannot.
"""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from bumble import core, hci
from bumble.core import AdvertisingData
from bumble.device import Advertisement, Connection, Device, DeviceConfiguration, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.host import Host
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport
from bumble.transport.common import Transport

# The radio module BGX13P: requests, replies, and the mode that joins the two to the charger.
_REQUESTS: Final = core.UUID("a9da6040-0823-4995-94ec-9ce41ca28833")
_REPLIES: Final = core.UUID("a73e9a10-628f-4494-a099-12efaf72258f")
_MODE: Final = core.UUID("75a9f022-af03-4e41-b4bc-9de90a47d50b")
_STREAM: Final = b"\x01"
_CHUNK_BYTES: Final = 20
_ANSWERS_WITHIN_S: Final = 10.0

_T = TypeVar("_T")


class TurnedAway(Exception):
    """The charger said no; the text is its reason, as Bluetooth names it."""


@dataclass(frozen=True, slots=True)
class Advert:
    """What a charger advertises. services: lower case UUIDs of both packets."""

    address: hci.Address
    services: frozenset[str]


class StockPhone:
    """A phone that is switched on. Made by `switched_on`."""

    def __init__(self, transport: Transport) -> None:
        address = hci.Address.generate_static_address()
        config = DeviceConfiguration(name="phone", address=address, irk=secrets.token_bytes(16))
        self.address = str(address).partition("/")[0]
        self._device = Device(config=config, host=Host(transport.source, transport.sink))
        self.accept_with(PairingDelegate(PairingDelegate.NO_OUTPUT_NO_INPUT))

    def accept_with(self, person: PairingDelegate, *, mitm: bool = False) -> None:
        """Let this person answer the pairing dialogs that come."""
        self._device.pairing_config_factory = lambda _: PairingConfig(
            sc=True,
            mitm=mitm,
            bonding=True,
            delegate=person,
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )

    async def power_on(self) -> None:
        """Begin; needed once."""
        await self._device.power_on()

    async def advert(self, name: str) -> Advert:
        """Hear both advertising packets of one charger, as they are from now on."""
        heard: asyncio.Future[Advert] = asyncio.get_running_loop().create_future()

        def on_advertisement(advertisement: Advertisement) -> None:
            both = advertisement.is_scan_response  # Bumble joins it to the packet before
            if both and not heard.done() and _name_in(advertisement.data) == name:
                heard.set_result(Advert(advertisement.address, _services_in(advertisement.data)))

        self._device.on(Device.EVENT_ADVERTISEMENT, on_advertisement)
        await self._device.start_scanning(active=True)
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                return await heard
        except TimeoutError:
            raise TurnedAway(f"{name} does not advertise") from None
        finally:
            self._device.remove_listener(Device.EVENT_ADVERTISEMENT, on_advertisement)
            await self._device.stop_scanning()

    async def connect(self, name: str) -> "StockLink":
        """Connect to a charger and look at its services. Raises TurnedAway."""
        advert = await self.advert(name)
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                connection = await self._device.connect(
                    advert.address, own_address_type=hci.OwnAddressType.RANDOM
                )
                link = StockLink(connection)
                await _within(connection, link.explore())
        except (core.BaseBumbleError, TimeoutError) as error:
            raise TurnedAway(f"{name} does not take the connection ({error})") from error
        return link


@asynccontextmanager
async def switched_on(radio: str) -> AsyncIterator[StockPhone]:
    """A phone with its own Bluetooth adapter on a virtual radio ("tcp:HOST:PORT")."""
    transport = await open_transport(radio.replace("tcp:", "tcp-client:", 1))
    try:
        phone = StockPhone(transport)
        await phone.power_on()
        yield phone
    finally:
        await transport.close()


class StockLink:
    """A connection of this phone. closed is set once it is gone."""

    def __init__(self, connection: Connection) -> None:
        self.closed = asyncio.Event()
        self._connection = connection
        self._peer = Peer(connection)
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._numbers = 0
        connection.on(Connection.EVENT_DISCONNECTION, lambda _: self.closed.set())

    async def explore(self) -> None:
        """Discover everything there is."""
        await self._peer.request_mtu(247)
        for service in await self._peer.discover_services():
            await service.discover_characteristics()

    async def pair(self) -> None:
        """Answer the pairing request, or make it. Raises TurnedAway."""
        await self._try(self._connection.pair())

    async def encrypt(self) -> None:
        """Use the bond of an earlier pairing, as phones do by themselves. Raises TurnedAway."""
        await self._try(self._connection.encrypt())

    async def read(self) -> bytes:
        """Read a value of the charger's own service. Raises TurnedAway."""
        value = await self._try(self._characteristic(_MODE).read_value())
        return bytes(value)

    async def write(self) -> None:
        """Write a request to the charger. Raises TurnedAway."""
        await self._send(b"EaE")

    async def subscribe(self) -> None:
        """Have replies notified. Raises TurnedAway."""
        await self._try(self._characteristic(_REPLIES).subscribe(self._heard.put_nowait))

    async def ask(self, method: str) -> dict[str, Any]:
        """Call a method as clients of real chargers do; gives the reply. Raises TurnedAway."""
        await self._try(self._characteristic(_MODE).write_value(_STREAM, with_response=True))
        self._numbers += 1
        wish = json.dumps({"met": method, "par": None, "id": self._numbers}, separators=(",", ":"))
        frame = b"EaE" + bytes([len(wish)]) + wish.encode()
        await self._send(frame + bytes([sum(frame) % 256]))
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                return await self._answer()
        except TimeoutError:
            raise TurnedAway(f"no answer to {method}") from None

    async def _answer(self) -> dict[str, Any]:
        text = b""
        while True:
            text += await self._heard.get()
            try:
                return dict(json.loads(text))
            except ValueError:
                continue  # more is to come

    async def _send(self, frame: bytes) -> None:
        requests = self._characteristic(_REQUESTS)
        for at in range(0, len(frame), _CHUNK_BYTES):
            chunk = frame[at : at + _CHUNK_BYTES]
            await self._try(requests.write_value(chunk, with_response=True))

    async def close(self) -> None:
        """Hang up, unless the charger has done so."""
        if not self.closed.is_set():
            with suppress(TurnedAway):  # it does so at this moment
                await self._try(self._connection.disconnect())

    def _characteristic(self, uuid: core.UUID) -> CharacteristicProxy[bytes]:
        found = self._peer.get_characteristics_by_uuid(uuid)
        if not found:
            raise TurnedAway("the charger has not the service of one")
        return found[0]

    async def _try(self, work: Awaitable[_T]) -> _T:
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                return await _within(self._connection, work)
        except core.ProtocolError as error:
            named = error.error_name.lower() or f"error 0x{error.error_code or 0:02X}"
            raise TurnedAway(named) from error
        except (core.BaseBumbleError, TimeoutError) as error:
            raise TurnedAway(str(error) or "no answer") from error


class Typist(PairingDelegate):
    """A person with a keyboard who types one passkey into the phone's own dialog.

    asked: how often the dialog came.
    """

    def __init__(self, passkey: int) -> None:
        super().__init__(PairingDelegate.KEYBOARD_INPUT_ONLY)
        self.asked = 0
        self._passkey = _Typed(passkey)

    async def get_number(self) -> int:
        """What is typed."""
        self.asked += 1
        return self._passkey


class _Typed(int):
    """A number that was typed: 000000 too, which Bumble takes for none."""

    def __bool__(self) -> bool:
        return True


async def _within(connection: Connection, work: Awaitable[_T]) -> _T:
    """Wait for something, but not beyond the end of the connection: Bumble would wait on."""
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def end(_: int) -> None:
        if not ended.done():
            ended.set_result(None)

    connection.on(Connection.EVENT_DISCONNECTION, end)
    task = asyncio.ensure_future(work)
    try:
        either: list[asyncio.Future[Any]] = [task, ended]
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise core.InvalidStateError("the charger hung up")
        return task.result()
    finally:
        task.cancel()
        connection.remove_listener(Connection.EVENT_DISCONNECTION, end)


def _name_in(data: AdvertisingData) -> str:
    raw = data.get(AdvertisingData.COMPLETE_LOCAL_NAME, raw=True)
    return raw.decode(errors="replace") if isinstance(raw, bytes) else ""


def _services_in(data: AdvertisingData) -> frozenset[str]:
    kind = AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
    found = set()
    for raw in data.get_all(kind, raw=True):
        for at in range(0, len(raw), 16):
            found.add(core.UUID.from_bytes(raw[at : at + 16]).to_hex_str("-").lower())
    return frozenset(found)
