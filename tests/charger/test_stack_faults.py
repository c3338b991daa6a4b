"""Why the charger has protocols of its own: what Bumble's do in the same place.

Each test drives a stock Bumble charger to a fault that test_att.py, test_pairing.py,
test_passkey.py or test_peripheral.py hold ours free of. When one fails after an upgrade, Bumble has
been cured of it.
"""

import asyncio
import secrets
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from bumble import hci, pairing
from bumble.att import ATT_CID, Attribute
from bumble.controller import Controller
from bumble.core import UUID
from bumble.device import Connection, Device, DeviceConfiguration, Peer
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import DataPacketQueue, Host
from bumble.keys import MemoryKeyStore
from bumble.smp import SMP_CID, ErrorCode, SMP_Command
from bumble.transport.common import AsyncPipeSink

from chargepin.core import gatt
from charger.initiator import ROUNDS, Typing
from charger.rig import CHARGER, PATIENCE_S, Wire, found, new_link

REQUEST = bytes([0x01, 0x03, 0x00, 0x09, 16, 0x02, 0x00])


@dataclass
class Stock:
    """A charger and a phone, both all Bumble. written: in the order in which the charger saw it."""

    charger: Device
    phone: Device
    written: "asyncio.Queue[bytes]"

    async def connected(self) -> Connection:
        async with asyncio.timeout(PATIENCE_S):
            return await self.phone.connect(hci.Address(CHARGER))


@pytest.fixture
async def stock() -> AsyncIterator[Stock]:
    link = new_link()
    devices = []
    for name, address in (("charger", CHARGER), ("phone", "F0:00:00:00:00:02")):
        controller = Controller(name, link=link)
        config = DeviceConfiguration(
            name=name, address=hci.Address(address), irk=secrets.token_bytes(16)
        )
        device = Device(config=config, host=Host(controller, AsyncPipeSink(controller)))
        device.pairing_config_factory = lambda _: pairing.PairingConfig(
            mitm=False, identity_address_type=pairing.PairingConfig.AddressType.RANDOM
        )
        devices.append(device)
    charger, phone = devices
    stock = Stock(charger, phone, asyncio.Queue())

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
    for device in devices:
        await device.power_on()
    await charger.start_advertising(advertising_interval_min=20, advertising_interval_max=20)
    yield stock
    for device in devices:
        await device.power_off()


async def explored(connection: Connection) -> Peer:
    peer = Peer(connection)
    await peer.discover_service(UUID(gatt.PASSCODE_SERVICE))
    await peer.services[0].discover_characteristics()
    return peer


async def test_writes_overtake_each_other(stock: Stock) -> None:
    write = found(await explored(await stock.connected()), gatt.PASSCODE_WRITE.uuid)
    for number in range(4):
        await write.write_value(bytes([number]))
    async with asyncio.timeout(PATIENCE_S):
        written = [await stock.written.get() for _ in range(4)]
    assert written != sorted(written)


async def test_a_service_declaration_is_overwritten_by_a_stranger(stock: Stock) -> None:
    peer = await explored(await stock.connected())
    handle = peer.services[0].handle
    await peer.write_value(handle, b"\xff\xff", with_response=True)
    assert await peer.read_value(handle) == b"\xff\xff"


async def test_a_stranger_subscribes_to_what_it_may_not_read(stock: Stock) -> None:
    notify = found(await explored(await stock.connected()), gatt.PASSCODE_NOTIFY.uuid)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await notify.discover_descriptors()
    await notify.subscribe(heard.put_nowait)
    (value,) = [
        each
        for each in stock.charger.gatt_server.attributes
        if isinstance(each, Characteristic) and each.uuid == UUID(gatt.PASSCODE_NOTIFY.uuid)
    ]
    await stock.charger.notify_subscribers(value, b"secret")
    async with asyncio.timeout(PATIENCE_S):
        assert await heard.get() == b"secret"


async def test_read_multiple_of_a_protected_value_is_never_answered(
    stock: Stock, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await stock.connected()
    notify = found(await explored(connection), gatt.PASSCODE_NOTIFY.uuid)
    wire = Wire(connection, ATT_CID)
    wire.send(b"\x0e" + struct.pack("<HH", notify.handle, notify.handle))
    assert (await wire.ask(b"\x0a\x03\x00"))[0] == 0x0B  # the answer to the request after it
    assert wire.silent
    assert "Exception in wrapper" in caplog.text


async def test_just_works_counts_as_authenticated(stock: Stock) -> None:
    connection = await stock.connected()
    await connection.pair()
    notify = found(await explored(connection), gatt.PASSCODE_NOTIFY.uuid)
    assert await notify.read_value() == b"protected"


async def test_legacy_pairing_is_accepted(stock: Stock) -> None:
    stock.phone.pairing_config_factory = lambda _: pairing.PairingConfig(sc=False, mitm=False)
    connection = await stock.connected()
    await connection.pair()
    assert connection.is_encrypted


async def test_a_short_key_is_agreed_to(stock: Stock) -> None:
    wire = Wire(await stock.connected(), SMP_CID)
    assert (await wire.ask(REQUEST[:4] + b"\x07" + REQUEST[5:]))[0] == 0x02


async def test_its_own_public_key_is_taken_and_stays_the_same(stock: Stock) -> None:
    shown = []
    for _ in range(2):
        connection = await stock.connected()
        wire = Wire(connection, SMP_CID)
        assert (await wire.ask(REQUEST))[0] == 0x02
        own = stock.charger.smp_manager.ecc_key
        shown.append(await wire.ask(b"\x0c" + own.x[::-1] + own.y[::-1]))
        await connection.disconnect()
        await stock.charger.start_advertising(
            advertising_interval_min=20, advertising_interval_max=20
        )
    assert shown[0][0] == 0x0C
    assert shown[0] == shown[1]


async def test_a_failed_pairing_goes_on(stock: Stock) -> None:
    wire = Wire(await stock.connected(), SMP_CID)
    assert (await wire.ask(REQUEST))[0] == 0x02
    assert await wire.ask(b"\x0c" + bytes(64)) == bytes([0x05, ErrorCode.UNSPECIFIED_REASON])
    own = stock.charger.smp_manager.ecc_key
    assert (await wire.ask(b"\x0c" + own.x[::-1] + own.y[::-1]))[0] == 0x0C


@pytest.mark.parametrize("pdu", [b"", b"\x01"])
def test_a_short_pairing_pdu_raises(pdu: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - which one is Bumble's affair
        SMP_Command.from_bytes(pdu)


# ---- a code that is typed ---------------------------------------------------------------------


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


async def test_a_phone_without_a_keyboard_is_let_off_the_code(stock: Stock) -> None:
    configured(stock.charger, Display(271828))
    configured(stock.phone, None)
    connection = await stock.connected()
    await connection.pair()
    notify = found(await explored(connection), gatt.PASSCODE_NOTIFY.uuid)
    assert await notify.read_value() == b"protected"


async def test_the_code_000000_never_pairs(stock: Stock) -> None:
    stumbled: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: stumbled.set_result(context.get("exception"))
    )
    configured(stock.charger, Display(0))
    phone = Typing(await stock.connected())
    await phone.begin()
    phone.wire.send(b"\x03" + bytes(16))
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await stumbled, AssertionError)
    assert phone.wire.silent


async def test_a_constant_code_is_guessed_in_one_session(stock: Stock) -> None:
    configured(stock.charger, Display(271828))
    phone = Typing(await stock.connected())
    await phone.begin()
    guessed = 0
    for step in range(ROUNDS):
        await phone.commit(1)
        bit = 1
        if (await phone.reveal())[0] == 0x05:  # then it is the other one, and the session goes on
            bit = 0
            await phone.commit(bit)
            assert (await phone.reveal())[0] == 0x04
        guessed |= bit << step
    assert guessed == 271828


async def test_just_works_replaces_a_bond_by_code(stock: Stock) -> None:
    kept = stock.charger.keystore = MemoryKeyStore()
    for display, keyboard, authenticated in (
        (Display(271828), Keyboard(271828), True),
        (None, None, False),
    ):
        configured(stock.charger, display)
        configured(stock.phone, keyboard)
        connection = await stock.connected()
        await connection.pair()
        await connection.disconnect()
        ((_, keys),) = await kept.get_all()
        assert keys.ltk is not None
        assert keys.ltk.authenticated is authenticated
        await stock.charger.start_advertising(
            advertising_interval_min=20, advertising_interval_max=20
        )


async def test_drain_returns_while_packets_wait() -> None:
    handed: list[hci.HCI_Packet] = []
    queue = DataPacketQueue(max_packet_size=27, max_in_flight=1, send=handed.append)
    for handle, data in ((1, b"a"), (2, b"b"), (1, b"last")):
        queue.enqueue(hci.HCI_AclDataPacket(handle, 0, 0, len(data), data), handle)
    queue.on_packets_completed(1, 1)
    async with asyncio.timeout(PATIENCE_S):
        await queue.drain(1)
    assert len(handed) == 2  # not the last one
