"""A charger and its phones that are all Bumble as it comes; nothing of ours is in them."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bumble import hci, pairing
from bumble.att import Attribute
from bumble.controller import Controller
from bumble.core import UUID
from bumble.device import Connection, Device, DeviceConfiguration, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink

from chargepin.core import gatt
from charger.rig import CHARGER, PATIENCE_S, new_link


class Display(pairing.PairingDelegate):
    """A charger that shows a code."""

    def __init__(self, code: int) -> None:
        super().__init__(pairing.PairingDelegate.DISPLAY_OUTPUT_ONLY)
        self.code = code

    async def generate_passkey(self) -> int:
        return self.code


class Keyboard(pairing.PairingDelegate):
    """A phone into which a code is typed."""

    def __init__(self, code: int) -> None:
        super().__init__(pairing.PairingDelegate.KEYBOARD_INPUT_ONLY)
        self.code = code

    async def get_number(self) -> int:
        return self.code


def configured(device: Device, delegate: pairing.PairingDelegate | None) -> None:
    device.pairing_config_factory = lambda _: pairing.PairingConfig(
        mitm=delegate is not None,
        delegate=delegate,
        identity_address_type=pairing.PairingConfig.AddressType.RANDOM,
    )


@dataclass
class Stock:
    """A charger and a phone, both all Bumble. written: in the order in which the charger saw it."""

    link: LocalLink
    charger: Device
    phone: Device
    written: "asyncio.Queue[bytes]"

    async def connected(self) -> Connection:
        """A link that both ends know of."""
        known = asyncio.Event()
        self.charger.once(Device.EVENT_CONNECTION, lambda _: known.set())
        async with asyncio.timeout(PATIENCE_S):
            connection = await self.phone.connect(hci.Address(CHARGER))
            await known.wait()
        return connection

    async def advertise(self) -> None:
        """Be found again: it was until somebody connected."""
        await self.charger.start_advertising(
            advertising_interval_min=20, advertising_interval_max=20
        )

    async def another(self) -> Device:
        """One more phone."""
        return await switched_on("another phone", "F0:00:00:00:00:03", self.link)


async def switched_on(name: str, address: str, link: LocalLink) -> Device:
    controller = Controller(name, link=link)
    config = DeviceConfiguration(
        name=name, address=hci.Address(address), irk=secrets.token_bytes(16)
    )
    device = Device(config=config, host=Host(controller, AsyncPipeSink(controller)))
    configured(device, None)
    await device.power_on()
    return device


@asynccontextmanager
async def all_stock() -> AsyncIterator[Stock]:
    link = new_link()
    charger = await switched_on("charger", CHARGER, link)
    phone = await switched_on("phone", "F0:00:00:00:00:02", link)
    stock = Stock(link, charger, phone, asyncio.Queue())

    async def write(_connection: Connection, value: bytes) -> None:
        for _ in range(4 - value[0]):  # a handler that waits for something
            await asyncio.sleep(0)
        stock.written.put_nowait(value)

    rights = Attribute.Permissions
    charger.add_service(
        Service(
            gatt.PASSCODE_SERVICE,
            [
                Characteristic(
                    gatt.PASSCODE_WRITE.uuid,
                    Characteristic.Properties(gatt.PASSCODE_WRITE.properties),
                    rights.WRITEABLE,
                    CharacteristicValue(write=write),
                ),
                Characteristic(
                    gatt.PASSCODE_NOTIFY.uuid,
                    Characteristic.Properties.NOTIFY | Characteristic.Properties.READ,
                    rights.READABLE | rights.READ_REQUIRES_AUTHENTICATION,
                    b"protected",
                ),
            ],
        )
    )
    await stock.advertise()
    yield stock
    for device in (charger, phone):
        await device.power_off()


async def explored(connection: Connection) -> Peer:
    peer = Peer(connection)
    await peer.discover_service(UUID(gatt.PASSCODE_SERVICE))
    await peer.services[0].discover_characteristics()
    return peer
