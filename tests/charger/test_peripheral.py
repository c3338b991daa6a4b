"""The charger on the air, met by stock Bumble phones on a virtual link."""

import asyncio
import secrets
import struct
from collections.abc import AsyncIterator

import pytest
from bumble import hci
from bumble.att import ATT_CID, ATT_Error
from bumble.device import Connection, Peer
from bumble.ll import ConnectInd

from chargepin.charger.air import (
    Appearance,
    AttError,
    Door,
    LinkClosed,
    LinkEnd,
    LinkOpened,
    Secured,
    Written,
)
from chargepin.charger.bluetooth.host import ChargerHost
from chargepin.charger.bluetooth.on_air import FLUSH_MAX_S, STALLED_S
from chargepin.charger.bluetooth.pairing import BluetoothBond
from chargepin.charger.bluetooth.peripheral import Peripheral
from chargepin.charger.ports import StoreFailed
from chargepin.core import gatt
from chargepin.core.gatt import Layout
from chargepin.machine.controller import ControllerError
from charger.rig import (
    CHARGER,
    HINT,
    OPEN_BGX,
    PATIENCE_S,
    BondsInMemory,
    Inbox,
    Rig,
    Wire,
    charger_and_phones,
    error_of,
    explored,
    found,
    subscribed,
)
from manual_loop import manual_loop

STOCK = Layout.BGX.stock
OWN_WRITE, OWN_NOTIFY = gatt.PASSCODE_WRITE.uuid, gatt.PASSCODE_NOTIFY.uuid


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with charger_and_phones() as rig:
        await rig.start()
        yield rig


async def gone(connection: Connection) -> int:
    """Wait until a link is over at the phone; gives the reason."""
    over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    connection.on("disconnection", over.set_result)
    if connection.handle not in connection.device.connections:
        return 0
    async with asyncio.timeout(PATIENCE_S):
        return await over


def as_written(events: list[Written]) -> list[bytes]:
    return [event.value for event in events]


# ---- what is there ----------------------------------------------------------------------------


@pytest.mark.parametrize("layout", Layout)
@pytest.mark.parametrize("passcode", [True, False])
async def test_the_services_are_those_of_the_radio_module(
    layout: Layout, *, passcode: bool
) -> None:
    async with charger_and_phones() as rig:
        await rig.start(Appearance("WB123456", layout, passcode=passcode))
        peer = await explored(await rig.connected())
        by_uuid = {str(each.uuid).lower(): each for each in peer.services}
        stock = by_uuid[layout.stock.uuid]
        assert [
            (str(each.uuid).lower(), int(each.properties)) for each in stock.characteristics
        ] == [(each.uuid, int(each.properties)) for each in layout.stock.characteristics]
        assert (gatt.PASSCODE_SERVICE in by_uuid) == passcode
        if passcode:
            own = by_uuid[gatt.PASSCODE_SERVICE].characteristics
            assert [(str(each.uuid).lower(), int(each.properties)) for each in own] == [
                (each.uuid, int(each.properties)) for each in gatt.PASSCODE_CHARACTERISTICS
            ]
        uuids = [str(each.uuid) for s in peer.services for each in s.characteristics]
        assert gatt.layout_of(uuids) is layout


async def test_the_advertising_is_that_of_the_catalogue(rig: Rig) -> None:
    phone = await rig.phone()
    seen: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    phone.once("advertisement", lambda each: seen.set_result(each.data_bytes))
    await phone.start_scanning()
    async with asyncio.timeout(PATIENCE_S):
        advert = await seen
    await phone.stop_scanning()
    expected = gatt.advertising(Layout.BGX, "WB123456", passcode=True)
    assert (advert, rig.controller.le_legacy_advertiser.scan_response_data) == expected


async def test_the_name_and_the_declarations_stay_as_they_are(rig: Rig) -> None:
    peer = await explored(await rig.connected())
    assert await error_of(found(peer, "2A00"), b"WB666666") == 0x03
    for service in peer.services:
        with pytest.raises(ATT_Error) as caught:
            await peer.write_value(service.handle, b"\xff\xff", with_response=True)
        assert caught.value.error_code == 0x03
        await peer.write_value(service.handle, b"\xff\xff")
    again = await explored(await rig.connected())
    assert [each.uuid for each in again.services] == [each.uuid for each in peer.services]


async def test_a_notified_value_can_be_neither_read_nor_written(rig: Rig) -> None:
    peer = await explored(await rig.connected())
    assert await error_of(found(peer, OWN_NOTIFY)) == 0x02
    assert await error_of(found(peer, OWN_NOTIFY), b"x") == 0x03
    assert await error_of(found(peer, STOCK.notify.uuid), b"x") == 0x03


# ---- rights on the stock service --------------------------------------------------------------


async def test_an_open_charger_wants_an_encrypted_link_where_the_rules_do(rig: Rig) -> None:
    rig.rules.encrypted_only = True
    connection = await rig.connected()
    write = found(await explored(connection), STOCK.write.uuid)
    assert await error_of(write, b"frame") == 0x0F
    await connection.pair()
    await write.write_value(b"frame", with_response=True)
    assert (await rig.told(Written))[0] == Written(1, Door.STOCK, b"frame")


async def test_an_open_charger_without_pairing_is_open(rig: Rig) -> None:
    write = found(await explored(await rig.connected()), STOCK.write.uuid)
    await write.write_value(b"frame", with_response=True)
    assert rig.rules.asked == [(1, Secured(encrypted=False, authenticated=False))]


@pytest.mark.parametrize("error", AttError)
async def test_the_rules_hold_for_every_stock_value_and_descriptor(
    rig: Rig, error: AttError
) -> None:
    rig.rules.refuse = error
    peer = await explored(await rig.connected())
    assert STOCK.mode is not None
    assert await error_of(found(peer, STOCK.mode.uuid)) == error.value
    assert await error_of(found(peer, STOCK.write.uuid), b"frame") == error.value
    await found(peer, STOCK.write.uuid).write_value(b"frame")  # a command gets no answer
    for characteristic in STOCK.characteristics:
        for descriptor in found(peer, characteristic.uuid).descriptors:
            with pytest.raises(ATT_Error) as caught:
                await peer.write_value(descriptor.handle, b"\x01\x00", with_response=True)
            assert caught.value.error_code == error.value
            with pytest.raises(ATT_Error) as caught:
                await peer.read_value(descriptor.handle)
            assert caught.value.error_code == error.value
    # The passcode service is for everybody: its handshake is its protection.
    await found(peer, OWN_WRITE).write_value(b"hello", with_response=True)
    await subscribed(peer, OWN_NOTIFY)
    assert await rig.told(Written) == [Written(1, Door.OWN, b"hello")]


async def test_nothing_is_notified_past_a_refused_subscription(rig: Rig) -> None:
    peer = await explored(await rig.connected())
    notify, own = found(peer, STOCK.notify.uuid), await subscribed(peer, OWN_NOTIFY)
    rig.rules.refuse = AttError.INSUFFICIENT_AUTHORIZATION
    inbox = Inbox()
    with pytest.raises(ATT_Error):
        await inbox.subscribe(notify)
    rig.charger.send(1, Door.STOCK, b"secret")
    rig.charger.send(1, Door.OWN, b"later")
    assert await own.pieces(5) == [b"later"]
    assert inbox.empty


async def test_a_right_that_was_lost_ends_a_subscription_that_was_made(rig: Rig) -> None:
    peer = await explored(await rig.connected())
    stock = await subscribed(peer, STOCK.notify.uuid)
    own = await subscribed(peer, OWN_NOTIFY)
    rig.charger.send(1, Door.STOCK, b"before")
    assert await stock.pieces(6) == [b"before"]
    rig.rules.refuse = AttError.INSUFFICIENT_AUTHORIZATION
    rig.charger.send(1, Door.STOCK, b"secret")
    rig.charger.send(1, Door.OWN, b"later")
    assert await own.pieces(5) == [b"later"]
    assert stock.empty


async def test_read_multiple_is_answered(rig: Rig) -> None:
    connection = await rig.connected()
    peer = await explored(connection)
    assert STOCK.mode is not None
    mode, name = found(peer, STOCK.mode.uuid).handle, found(peer, "2A00").handle
    wire = Wire(connection, ATT_CID)
    request = b"\x0e" + struct.pack("<HH", name, mode)
    assert await wire.ask(request) == b"\x0fWB123456\x01"
    rig.rules.refuse = AttError.INSUFFICIENT_AUTHORIZATION
    assert await wire.ask(request) == b"\x01\x0e" + struct.pack("<H", mode) + b"\x08"


async def test_writes_keep_their_order(rig: Rig) -> None:
    write = found(await explored(await rig.connected()), OWN_WRITE)
    values = [bytes([number]) * 4 for number in range(20)]
    for value in values:
        await write.write_value(value)
    assert as_written(await rig.told(Written, 20)) == values


# ---- what the charger sends -------------------------------------------------------------------


async def test_messages_are_cut_for_the_link(rig: Rig) -> None:
    connection = await rig.connected()
    peer = await explored(connection)
    own, stock = await subscribed(peer, OWN_NOTIFY), await subscribed(peer, STOCK.notify.uuid)
    message = bytes(range(250)) * 2
    rig.charger.send(1, Door.OWN, message)
    assert [len(piece) for piece in await own.pieces(500)] == [20] * 25
    assert await peer.request_mtu(517) == 247
    rig.charger.send(1, Door.OWN, message)
    pieces = await own.pieces(500)
    assert [len(piece) for piece in pieces] == [244, 244, 12]
    assert b"".join(pieces) == message
    rig.charger.send(1, Door.STOCK, message)
    pieces = await stock.pieces(500)
    assert {len(piece) for piece in pieces[:-1]} == {16, 18, 20}
    assert b"".join(pieces) == message


async def test_a_client_that_prefers_indications_gets_them_in_order(rig: Rig) -> None:
    peer = await explored(await rig.connected())
    inbox = Inbox()
    await inbox.subscribe(found(peer, STOCK.notify.uuid), indications=True)
    message = secrets.token_bytes(100)
    rig.charger.send(1, Door.STOCK, message)
    rig.charger.drop(1, flush=True)
    assert b"".join(await inbox.pieces(100)) == message
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.DROPPED)]


async def test_who_is_not_subscribed_gets_nothing(rig: Rig) -> None:
    connection = await rig.connected()
    wire = Wire(connection, ATT_CID)
    rig.charger.send(1, Door.OWN, b"unheard")
    rig.charger.send(1, Door.STOCK, b"unheard")
    rig.charger.send(99, Door.OWN, b"nobody")
    assert (await wire.ask(b"\x0a\x0b\x00"))[0] == 0x0B
    assert wire.silent


# ---- links ------------------------------------------------------------------------------------


async def test_each_connection_has_a_number_and_a_nonce_of_its_own(rig: Rig) -> None:
    phone = await rig.phone()
    hints = []
    for _ in range(3):
        connection = await rig.connected(phone)
        peer = await explored(connection)
        hints.append(await found(peer, gatt.PASSCODE_HINT.uuid).read_value())
        await connection.disconnect()
    opened = await rig.told(LinkOpened, 3)
    assert [event.link for event in opened] == [1, 2, 3]
    assert hints == [HINT + event.nonce for event in opened]
    assert len({event.nonce for event in opened}) == 3
    assert {len(event.nonce) for event in opened} == {8}
    assert opened[0].address == str(phone.random_address)
    assert await rig.told(LinkClosed, 3) == [
        LinkClosed(number, LinkEnd.HUNG_UP) for number in (1, 2, 3)
    ]


async def test_two_phones_at_once_hear_only_their_own(rig: Rig) -> None:
    first, second = await rig.connected(), await rig.connected()
    peers = [await explored(first), await explored(second)]
    inboxes = [await subscribed(peer, OWN_NOTIFY) for peer in peers]
    assert tuple(rig.charger.links) == (1, 2)
    for number, peer in enumerate(peers, 1):
        await found(peer, OWN_WRITE).write_value(bytes([number]), with_response=True)
    assert await rig.told(Written, 2) == [Written(n, Door.OWN, bytes([n])) for n in (1, 2)]
    rig.charger.send(2, Door.OWN, b"two")
    rig.charger.send(1, Door.OWN, b"one")
    assert [await inbox.pieces(3) for inbox in inboxes] == [[b"one"], [b"two"]]
    rig.charger.drop(1, flush=False)
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.DROPPED)]
    rig.charger.send(2, Door.OWN, b"still")
    assert await inboxes[1].pieces(5) == [b"still"]


async def test_the_charger_advertises_only_while_it_is_wanted(rig: Rig) -> None:
    await rig.connected()
    second = await rig.connected()  # it has advertised again after the first
    rig.charger.advertise(wanted=False)
    rig.charger.advertise(wanted=True)
    rig.charger.advertise(wanted=False)
    peer = await explored(second)  # meanwhile the controller was told
    assert not rig.controller.le_legacy_advertiser.enabled
    rig.charger.advertise(wanted=True)
    await rig.connected()
    await peer.request_mtu(100)
    assert tuple(rig.charger.links) == (1, 2, 3)
    assert rig.controller.le_legacy_advertiser.enabled


async def test_a_phone_that_connects_hides_it_until_whoever_is_told_wants_more(rig: Rig) -> None:
    rig.goes_on = False  # as a radio module that carries one phone
    peer = await explored(await rig.connected())
    assert not rig.controller.le_legacy_advertiser.enabled
    rig.charger.advertise(wanted=True)
    await peer.request_mtu(100)
    assert rig.controller.le_legacy_advertiser.enabled


async def test_a_flushed_drop_delivers_everything_first(rig: Rig) -> None:
    connection = await rig.connected()
    own = await subscribed(await explored(connection), OWN_NOTIFY)
    message = secrets.token_bytes(4096)
    over = asyncio.create_task(gone(connection))
    rig.charger.send(1, Door.OWN, message)
    rig.charger.drop(1, flush=True)
    rig.charger.send(1, Door.OWN, b"too late")
    rig.charger.drop(1, flush=True)
    await over
    assert b"".join(await own.pieces(4096)) == message
    assert own.empty
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.DROPPED)]


async def test_nothing_is_taken_any_more_of_whom_the_last_words_are_for(rig: Rig) -> None:
    connection = await rig.connected()
    peer = await explored(connection)
    await subscribed(peer, OWN_NOTIFY)
    rig.controller.withheld.add(1)
    rig.charger.send(1, Door.OWN, bytes(4096))
    rig.charger.drop(1, flush=True)
    for uuid in (STOCK.write.uuid, OWN_WRITE):
        await found(peer, uuid).write_value(b"still here")
    await connection.disconnect()
    await rig.told(LinkClosed)
    assert not [event for event in rig.events if isinstance(event, Written)]


async def test_a_drop_without_flush_does_not_wait(rig: Rig) -> None:
    connection = await rig.connected()
    await subscribed(await explored(connection), OWN_NOTIFY)
    rig.controller.withheld.add(1)
    rig.charger.send(1, Door.OWN, bytes(4096))
    rig.charger.drop(1, flush=True)
    rig.charger.drop(1, flush=False)
    await rig.told(LinkClosed)


async def test_a_phone_that_takes_nothing_is_waited_for_a_second_and_blocks_nobody(
    rig: Rig,
) -> None:
    stuck, lively = await rig.connected(), await rig.connected()
    await subscribed(await explored(stuck), OWN_NOTIFY)
    inbox = await subscribed(await explored(lively), OWN_NOTIFY)
    rig.controller.withheld.add(1)
    rig.charger.send(1, Door.OWN, bytes(8192))
    rig.charger.send(2, Door.OWN, bytes(8192))
    assert len(await inbox.pieces(8192)) == 410
    rig.charger.drop(1, flush=True)
    rig.charger.drop(2, flush=True)
    assert await rig.told(LinkClosed) == [LinkClosed(2, LinkEnd.DROPPED)]
    manual_loop().advance(FLUSH_MAX_S)
    closed = LinkClosed(1, LinkEnd.DROPPED, heard_all=False)
    assert (await rig.told(LinkClosed, 2))[1] == closed


async def test_a_phone_that_takes_nothing_for_long_loses_its_link(rig: Rig) -> None:
    connection = await rig.connected()
    await subscribed(await explored(connection), OWN_NOTIFY)
    rig.controller.withheld.add(1)
    rig.charger.send(1, Door.OWN, b"hello")
    manual_loop().advance(STALLED_S)
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.LOST, heard_all=False)]


async def test_a_phone_that_asks_and_never_listens_loses_its_link(rig: Rig) -> None:
    connection = await rig.connected()
    peer = await explored(connection)
    await peer.request_mtu(247)
    rig.controller.withheld.add(1)
    wire = Wire(connection, ATT_CID)
    for _ in range(9000):
        wire.send(b"\x10\x01\x00\xff\xff\x00\x28")
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.LOST, heard_all=False)]


async def test_orders_for_a_link_that_is_gone_do_nothing(rig: Rig) -> None:
    connection = await rig.connected()
    await connection.disconnect()
    await rig.told(LinkClosed)
    rig.charger.send(1, Door.OWN, b"x")
    rig.charger.drop(1, flush=True)
    rig.charger.drop(1, flush=False)
    rig.charger.drop(77, flush=False)
    assert rig.charger.links == ()


async def test_no_channel_is_opened_and_the_phone_is_told(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await rig.connected()
    connection.send_l2cap_pdu(0x0005, struct.pack("<BBH", 0x14, 9, 10) + bytes(10))
    await Peer(connection).request_mtu(100)
    assert "Command rejected" in caplog.text  # says the phone


async def test_nonsense_on_every_channel_is_survived(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await rig.connected()
    peer = await explored(connection)
    for channel in (0x0001, 0x0004, 0x0005, 0x0006, 0x0040, 0xFFFF):
        for pdu in (b"", b"\x00", b"\x12", b"\x52\x01", b"\xff" * 40, bytes(300)):
            connection.send_l2cap_pdu(channel, pdu)
    for data in (b"", b"\x01", b"\xff\xff\x04\x00", b"\x09\x00\x04\x00short"):
        for boundary in range(4):
            rig.controller.send_hci_packet(
                hci.HCI_AclDataPacket(connection.handle, boundary, 0, len(data), data)
            )
    await found(peer, OWN_WRITE).write_value(b"alive")
    assert as_written(await rig.told(Written)) == [b"alive"]
    assert not [each for each in caplog.records if each.name.startswith(("chargepin", "asyncio"))]


# ---- starting, stopping, losing ---------------------------------------------------------------


async def test_a_charger_starts_again_with_other_services(rig: Rig) -> None:
    connection = await rig.connected()
    over = asyncio.create_task(gone(connection))
    await asyncio.sleep(0)
    await rig.charger.stop()
    await over
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.DROPPED)]
    assert not rig.controller.le_legacy_advertiser.enabled
    rig.charger.advertise(wanted=True)  # of no effect while stopped, as is all else
    rig.charger.send(1, Door.OWN, b"x")
    rig.charger.drop(1, flush=True)
    await rig.charger.stop()
    await rig.start(Appearance("WB123456", Layout.BGX, passcode=False))
    peer = await explored(await rig.connected())
    assert gatt.PASSCODE_SERVICE not in [str(each.uuid).lower() for each in peer.services]
    assert tuple(rig.charger.links) == (2,)


async def test_a_bonded_phone_is_told_of_other_services_until_it_has_heard() -> None:
    async with charger_and_phones() as rig:
        await rig.start(Appearance("WB123456", Layout.BGX, passcode=False))
        phone = await rig.phone()
        connection = await rig.connected(phone)
        await connection.pair()
        await rig.charger.stop()
        await rig.start()
        for confirmed in (False, True):
            connection = await rig.connected(phone)
            wire = Wire(connection, ATT_CID)
            await connection.encrypt()
            assert await wire.hear() == b"\x1d\x03\x00\x01\x00\xff\xff"
            if confirmed:
                wire.send(b"\x1e")
            await connection.disconnect()
        await rig.told(LinkClosed, 3)
        connection = await rig.connected(phone)
        wire = Wire(connection, ATT_CID)
        await connection.encrypt()
        assert (await wire.ask(b"\x0a\x0b\x00"))[0] == 0x0B  # and nothing before it


class ReadOnlyBonds(BondsInMemory):
    """A store whose medium takes nothing more."""

    full = False

    def put(self, bond: BluetoothBond) -> None:
        if self.full:
            raise StoreFailed("read-only")
        super().put(bond)


async def test_a_store_that_fails_means_that_the_phone_is_told_again() -> None:
    bonds = ReadOnlyBonds()
    async with charger_and_phones(bonds) as rig:
        await rig.start(Appearance("WB123456", Layout.BGX, passcode=False))
        phone = await rig.phone()
        connection = await rig.connected(phone)
        await connection.pair()
        await rig.charger.stop()
        bonds.full = True
        await rig.start()
        for _ in range(2):
            connection = await rig.connected(phone)
            wire = Wire(connection, ATT_CID)
            await connection.encrypt()
            assert (await wire.hear())[0] == 0x1D
            wire.send(b"\x1e")
            assert (await wire.ask(b"\x0a\x0b\x00"))[0] == 0x0B
            await connection.disconnect()


async def test_a_stranger_or_an_unchanged_table_brings_no_indication(rig: Rig) -> None:
    phone = await rig.phone()
    connection = await rig.connected(phone)
    await connection.pair()
    wire = Wire(connection, ATT_CID)
    await connection.encrypt()
    assert (await wire.ask(b"\x0a\x0b\x00"))[0] == 0x0B


async def test_starting_twice_is_a_mistake(rig: Rig) -> None:
    with pytest.raises(RuntimeError, match="already"):
        await rig.start()


async def test_a_lost_controller_is_noticed_and_ends_every_link(rig: Rig) -> None:
    await rig.connected()
    await rig.connected()
    rig.controller.terminated.set_result(None)
    async with asyncio.timeout(PATIENCE_S):
        await rig.charger.lost
    assert await rig.told(LinkClosed, 2) == [LinkClosed(n, LinkEnd.LOST) for n in (1, 2)]
    assert rig.charger.links == ()
    rig.charger.drop(1, flush=True)
    with pytest.raises(ControllerError, match="gone"):
        await rig.start()


async def test_a_controller_that_failed_inside_is_lost(rig: Rig) -> None:
    await rig.connected()
    assert rig.controller.hci_sink is not None
    rig.controller.hci_sink.on_packet(bytes([0x04, 0x10, 0x01, 0x42]))  # Hardware Error
    async with asyncio.timeout(PATIENCE_S):
        await rig.charger.lost
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.LOST)]


async def test_a_controller_that_stops_answering_is_lost(rig: Rig) -> None:
    await rig.connected()
    rig.controller.mute = True
    await asyncio.sleep(0)  # now it is asked to advertise again
    manual_loop().advance(6)
    async with asyncio.timeout(PATIENCE_S):
        await rig.charger.lost
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.LOST)]


async def test_a_controller_that_never_answers_cannot_be_started() -> None:
    async with charger_and_phones() as rig:
        rig.controller.mute = True
        starting = asyncio.create_task(rig.start())
        await asyncio.sleep(0)
        manual_loop().advance(11)
        with pytest.raises(ControllerError, match="does not answer"):
            await starting


async def test_a_controller_lost_in_the_middle_of_a_start_is_noticed_at_once() -> None:
    async with charger_and_phones() as rig:
        rig.controller.mute = True
        starting = asyncio.create_task(rig.start())
        await asyncio.sleep(0)
        assert isinstance(rig.controller.hci_sink, ChargerHost)
        rig.controller.hci_sink.on_transport_lost()
        with pytest.raises(ControllerError):
            await starting
        assert rig.charger.lost.done()


async def test_a_controller_that_refuses_to_be_set_up_cannot_be_started() -> None:
    async with charger_and_phones() as rig:
        rig.controller.refused.add(hci.HCI_LE_SET_RANDOM_ADDRESS_COMMAND)
        with pytest.raises(ControllerError, match="refused"):
            await rig.start()
        rig.controller.refused.clear()
        await rig.start()


async def test_a_controller_that_will_not_advertise_cannot_be_started() -> None:
    async with charger_and_phones() as rig:
        rig.controller.refused.add(hci.HCI_LE_SET_ADVERTISING_ENABLE_COMMAND)
        with pytest.raises(ControllerError):
            await rig.start()


async def test_a_controller_with_no_link_to_spare_advertises_when_one_ends(rig: Rig) -> None:
    phone = await rig.phone()
    rig.controller.refused.add(hci.HCI_LE_SET_ADVERTISING_ENABLE_COMMAND)
    connection = await rig.connected(phone)
    await Peer(connection).request_mtu(100)
    assert not rig.charger.lost.done()
    assert rig.charger.full
    rig.controller.refused.clear()
    await connection.disconnect()
    await rig.connected(phone)
    assert not rig.charger.full


async def test_a_phone_that_connects_while_the_charger_stops_is_hung_up_on(rig: Rig) -> None:
    phone = await rig.phone()
    stopping = asyncio.create_task(rig.charger.stop())
    await asyncio.sleep(0)
    rig.controller.on_le_connect_ind(
        ConnectInd(phone.random_address, hci.Address(CHARGER), interval=10, latency=0, timeout=10)
    )
    await stopping
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.DROPPED)]
    assert rig.controller.le_connections == {}


async def test_a_link_that_will_not_end_does_not_keep_the_charger_from_stopping(rig: Rig) -> None:
    await rig.connected()
    rig.controller.refused.add(hci.HCI_LE_SET_ADVERTISING_ENABLE_COMMAND)
    stopping = asyncio.create_task(rig.charger.stop())
    rig.controller.le_connections.clear()  # it will find nothing to disconnect
    while not stopping.done():
        manual_loop().advance(1)
        await asyncio.sleep(0)
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.DROPPED)]


async def test_a_handle_that_comes_again_ends_the_link_that_had_it(rig: Rig) -> None:
    await rig.connected()
    rig.controller.le_connections.clear()  # its end is never reported
    await rig.connected()
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.LOST)]
    assert rig.charger.links == (2,)


async def test_a_phone_out_of_range_is_lost(rig: Rig) -> None:
    connection = await rig.connected()
    await connection.disconnect(hci.HCI_CONNECTION_TIMEOUT_ERROR)
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.LOST)]


async def test_only_a_static_random_address_and_a_short_name_will_do(rig: Rig) -> None:
    for address in ("40:00:00:00:00:01", "F0:00:00:00:00:01/P"):
        with pytest.raises(ValueError, match="static"):
            Peripheral(rig.transport, address, BondsInMemory())
    await rig.charger.stop()
    with pytest.raises(ValueError, match="too many"):
        await rig.start(Appearance("WB" + "1" * 30, Layout.BGX, passcode=True))
    await rig.start(OPEN_BGX)


async def test_bonds_outlive_a_restart_and_end_by_order(rig: Rig) -> None:
    rig.bonds.put(BluetoothBond(CHARGER, bytes(16), None, False, bytes(16)))
    await rig.charger.stop()
    await rig.start()
    assert len(rig.bonds.all()) == 1
    rig.charger.forget_bonds()
    assert rig.bonds.all() == ()
