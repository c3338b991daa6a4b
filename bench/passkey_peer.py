"""The peer: a charger and a phone of stock Bumble that use a fixed Bluetooth passkey instead.

What most products do, and what chargepin is measured against on the same radio.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bumble.att import Attribute
from bumble.core import UUID, AdvertisingData
from bumble.device import Connection, Device, DeviceConfiguration, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address, OwnAddressType
from bumble.keys import MemoryKeyStore
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport import open_transport

SERVICE = "331a36f5-2459-45ea-9d95-6142f0c4b307"
WRITE = "a9da6040-0823-4995-94ec-9ce41ca28833"
NOTIFY = "a73e9a10-628f-4494-a099-12efaf72258f"
CHARGER = "F0:00:00:00:00:AA"
PASSKEY = 482913
RIGHTS = Attribute.Permissions


class Shows(PairingDelegate):
    """The charger: always the same passkey."""

    def __init__(self) -> None:
        super().__init__(PairingDelegate.DISPLAY_OUTPUT_ONLY)

    async def generate_passkey(self) -> int:
        return PASSKEY


class Types(PairingDelegate):
    """The phone: types it."""

    def __init__(self) -> None:
        super().__init__(PairingDelegate.KEYBOARD_INPUT_ONLY)

    async def get_number(self) -> int:
        return PASSKEY


@asynccontextmanager
async def device(radio: str, address: str, delegate: PairingDelegate) -> AsyncIterator[Device]:
    """A stock Bumble host on the virtual radio."""
    transport = await open_transport(radio.replace("tcp:", "tcp-client:"))
    made = Device.from_config_with_hci(
        DeviceConfiguration(name="peer", address=Address(address)),
        transport.source,
        transport.sink,
    )
    forget(made)
    made.pairing_config_factory = lambda _: PairingConfig(
        sc=True,
        mitm=True,
        bonding=True,
        delegate=delegate,
        identity_address_type=PairingConfig.AddressType.RANDOM,
    )
    try:
        yield made
    finally:
        await made.power_off()
        await transport.close()


def forget(made: Device) -> None:
    """Begin without bonds."""
    made.keystore = MemoryKeyStore()


def serve(charger: Device) -> None:
    """A service that echoes, for links whose passkey was right."""
    notify = Characteristic[bytes](
        NOTIFY,
        Characteristic.Properties.NOTIFY | Characteristic.Properties.READ,
        RIGHTS.READABLE | RIGHTS.READ_REQUIRES_AUTHENTICATION,
        b"",
    )

    async def echo(connection: Connection | None, value: bytes) -> None:
        _ = connection
        await charger.notify_subscribers(notify, value)

    write = Characteristic[bytes](
        WRITE,
        Characteristic.Properties.WRITE,
        RIGHTS.WRITEABLE | RIGHTS.WRITE_REQUIRES_AUTHENTICATION,
        CharacteristicValue(write=echo),
    )
    charger.add_service(Service(SERVICE, [write, notify]))


async def advertise(charger: Device) -> None:
    """Be found, again after each connection."""
    data = bytes(AdvertisingData([(AdvertisingData.FLAGS, bytes([6]))]))
    await charger.start_advertising(
        own_address_type=OwnAddressType.RANDOM,
        advertising_data=data,
        auto_restart=True,
        advertising_interval_min=25,
        advertising_interval_max=25,
    )


async def first_answer(connection: Connection, *, bonded: bool) -> None:
    """From connected to the first answer: pair or encrypt, discover, subscribe, ask."""
    await (connection.encrypt() if bonded else connection.pair())
    peer = Peer(connection)
    await peer.request_mtu(247)
    await peer.discover_services([UUID(SERVICE)])
    await peer.discover_characteristics()
    (write,) = peer.get_characteristics_by_uuid(UUID(WRITE))
    (notify,) = peer.get_characteristics_by_uuid(UUID(NOTIFY))
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await notify.subscribe(heard.put_nowait)
    await write.write_value(bytes(60), with_response=True)
    await heard.get()


async def reach(phone: Device) -> Connection:
    """Connect to the charger."""
    return await phone.connect(CHARGER, own_address_type=OwnAddressType.RANDOM, timeout=10)
