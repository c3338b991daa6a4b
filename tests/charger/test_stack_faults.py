"""Why the charger has protocols of its own: what Bumble's do in the same place.

Each test drives a stock Bumble charger to a fault that ours is held free of; docs/security.md names
the test of that for each fault. When one fails here after an upgrade, Bumble has been cured of it.
"""

import asyncio
import os
import stat
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bumble import hci
from bumble.att import ATT_CID, ATT_Error, Attribute, ErrorCode
from bumble.core import UUID
from bumble.gatt import GATT_DEVICE_NAME_CHARACTERISTIC, Characteristic
from bumble.host import DataPacketQueue
from bumble.keys import JsonKeyStore, PairingKeys

from chargepin.core import gatt
from charger.all_stock import Stock, all_stock, explored
from charger.rig import PATIENCE_S, Wire, found


@pytest.fixture
async def stock() -> AsyncIterator[Stock]:
    async with all_stock() as stock:
        yield stock


def protected(stock: Stock) -> "Characteristic[bytes]":
    """The value that only a link with an authenticated key may read."""
    (value,) = [
        each
        for each in stock.charger.gatt_server.attributes
        if isinstance(each, Characteristic) and each.uuid == UUID(gatt.PASSCODE_NOTIFY.uuid)
    ]
    return value


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


async def test_the_name_is_overwritten_by_a_stranger(stock: Stock) -> None:
    peer = await explored(await stock.connected())
    await peer.discover_services()
    for service in peer.services:
        await service.discover_characteristics()
    (name,) = peer.get_characteristics_by_uuid(GATT_DEVICE_NAME_CHARACTERISTIC)
    await name.write_value(b"mine", with_response=True)
    assert await name.read_value() == b"mine"


async def test_a_stranger_is_told_to_use_a_key_that_it_has_not_got(stock: Stock) -> None:
    """By 0x0F, on which phones do not ask their person; 0x05 is for that."""
    protected(stock).permissions = Attribute.READABLE | Attribute.READ_REQUIRES_ENCRYPTION
    notify = found(await explored(await stock.connected()), gatt.PASSCODE_NOTIFY.uuid)
    with pytest.raises(ATT_Error) as refused:
        await notify.read_value()
    assert refused.value.error_code == ErrorCode.INSUFFICIENT_ENCRYPTION


async def test_a_stranger_subscribes_to_what_it_may_not_read(stock: Stock) -> None:
    notify = found(await explored(await stock.connected()), gatt.PASSCODE_NOTIFY.uuid)
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await notify.discover_descriptors()
    await notify.subscribe(heard.put_nowait)
    await stock.charger.notify_subscribers(protected(stock), b"secret")
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


async def test_a_write_whose_handler_fails_is_never_answered(
    stock: Stock, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await stock.connected()
    write = found(await explored(connection), gatt.PASSCODE_WRITE.uuid)
    wire = Wire(connection, ATT_CID)
    wire.send(b"\x12" + struct.pack("<H", write.handle))  # the handler expects one byte
    assert (await wire.ask(b"\x0a\x03\x00"))[0] == 0x0B  # the answer to the request after it
    assert wire.silent
    assert "IndexError" in caplog.text


# ---- links ------------------------------------------------------------------------------------


async def test_it_is_not_found_while_somebody_is_connected(stock: Stock) -> None:
    await stock.connected()
    assert not stock.charger.is_advertising


async def test_a_new_private_address_is_not_the_one_that_is_told(stock: Stock) -> None:
    told = stock.phone.random_address
    assert await stock.phone.update_rpa()
    assert stock.phone.random_address != told
    (controller,) = (each for each in stock.link.controllers if each.name == "phone")
    assert controller.random_address == told


async def test_a_controller_lost_while_a_command_is_given_up_raises(stock: Stock) -> None:
    host = stock.phone.host
    host.pending_response = asyncio.get_running_loop().create_future()
    host.pending_response.cancel()
    with pytest.raises(asyncio.InvalidStateError):
        host.on_transport_lost()  # type: ignore[no-untyped-call] # Bumble's own
    host.pending_response = None


async def test_drain_returns_while_packets_wait() -> None:
    handed: list[hci.HCI_Packet] = []
    queue = DataPacketQueue(max_packet_size=27, max_in_flight=1, send=handed.append)
    for handle, data in ((1, b"a"), (2, b"b"), (1, b"last")):
        queue.enqueue(hci.HCI_AclDataPacket(handle, 0, 0, len(data), data), handle)
    queue.on_packets_completed(1, 1)
    async with asyncio.timeout(PATIENCE_S):
        await queue.drain(1)
    assert len(handed) == 2  # not the last one


# ---- keys -------------------------------------------------------------------------------------


async def test_its_file_of_keys_can_be_read_by_everybody(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    whoevers = os.umask(0o022)
    await JsonKeyStore("charger", str(file)).update("phone", PairingKeys())
    os.umask(whoevers)
    assert stat.S_IMODE(file.stat().st_mode) & 0o044


async def test_its_keys_are_lost_to_a_store_without_a_name(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    await JsonKeyStore("charger", str(file)).update("phone", PairingKeys())
    await JsonKeyStore(None, str(file)).update("other", PairingKeys())
    with pytest.raises(TypeError):  # all that the file holds is a text
        await JsonKeyStore("charger", str(file)).get("phone")


async def test_a_key_that_is_not_there_cannot_be_forgotten(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        await JsonKeyStore("charger", str(tmp_path / "keys.json")).delete("phone")
