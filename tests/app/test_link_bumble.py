import asyncio
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path

import pytest
from bumble.att import ATT_Error
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address, OwnAddressType
from bumble.keys import MemoryKeyStore
from bumble.pairing import PairingConfig, PairingDelegate

from chargepin.app.errors import (
    Busy,
    ChargerRefused,
    LinkLost,
    NotFound,
    ProtocolError,
    WeakSignal,
)
from chargepin.app.link_bumble import BumbleRadio, open_radio
from chargepin.app.link_bumble.central import LosableHost
from chargepin.app.link_bumble.link import BumbleLink
from chargepin.app.ports import AttRefused, Found
from chargepin.core import gatt
from chargepin.machine.controller import Controller, ControllerError, open_controller
from chargepin.radio import Room, serve_radio
from hci_host import CONNECTED, DATA, DISCONNECT, DISCONNECTED, Host
from manual_loop import manual_loop

PHONE, CHARGER = "C0:00:00:00:00:01", "F0:00:00:00:00:01"
ECHO, HINT, TOLD = (
    each.uuid for each in (gatt.PASSCODE_WRITE, gatt.PASSCODE_HINT, gatt.PASSCODE_NOTIFY)
)
GUARDED = "0000fff1-0000-1000-8000-00805f9b34fb"
SILENT = "0000fff2-0000-1000-8000-00805f9b34fb"
MEANWHILE = "0000fff3-0000-1000-8000-00805f9b34fb"
FOUND = Found(CHARGER, "WB123456", -55)
P = Characteristic.Properties
RW = Characteristic.READABLE | Characteristic.WRITEABLE


def pass_time(seconds: float) -> None:
    loop = manual_loop()
    loop.advance(seconds)


class Accept(PairingDelegate):
    """Says yes or no to pairing."""

    def __init__(self) -> None:
        super().__init__(PairingDelegate.NO_OUTPUT_NO_INPUT)
        self.willing = True

    async def accept(self) -> bool:
        return self.willing


class Peripheral:
    """A peripheral of a few characteristics, at the other end of the link under test."""

    def __init__(self, controller: Controller) -> None:
        self.controller = controller
        self.written: list[bytes] = []
        self.telling: list[asyncio.Future[None]] = []
        self.hint = bytes(14)
        self.asked = asyncio.Event()
        self.links: asyncio.Queue[Connection] = asyncio.Queue()
        self.pairing = Accept()
        transport = controller.transport
        self.device = Device(
            config=DeviceConfiguration(name="WB123456", address=Address(CHARGER)),
            host=LosableHost(transport.source, transport.sink),
        )
        self.device.keystore = MemoryKeyStore()
        self.device.pairing_config_factory = lambda _: PairingConfig(
            mitm=False,
            delegate=self.pairing,
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )
        self.told = Characteristic[bytes](
            TOLD, P.NOTIFY, RW, CharacteristicValue(read=lambda _: b"")
        )
        self.device.on(Device.EVENT_CONNECTION, self.links.put_nowait)
        self._add_services()

    def _add_services(self) -> None:
        def refuse(_: Connection) -> bytes:
            raise ATT_Error(0x08)

        async def never(_: Connection) -> bytes:
            self.asked.set()
            await asyncio.Event().wait()
            return b""

        characteristics = [
            Characteristic[bytes](
                ECHO, P.WRITE | P.WRITE_WITHOUT_RESPONSE, RW, CharacteristicValue(write=self.echo)
            ),
            self.told,
            Characteristic[bytes](HINT, P.READ, RW, CharacteristicValue(read=lambda _: self.hint)),
        ]
        self.device.add_service(Service(gatt.PASSCODE_SERVICE, characteristics))
        others = [
            Characteristic[bytes](GUARDED, P.READ, RW, CharacteristicValue(read=refuse)),
            Characteristic[bytes](SILENT, P.READ, RW, CharacteristicValue(read=never)),
        ]
        self.device.add_service(Service("0000fff0-0000-1000-8000-00805f9b34fb", others))

    def echo(self, connection: Connection, value: bytes) -> None:
        self.written.append(bytes(value))
        self.tell(connection, bytes(value))

    def tell(self, connection: Connection, value: bytes) -> None:
        telling = self.device.notify_subscriber(connection, self.told, value)
        self.telling.append(asyncio.ensure_future(telling))

    async def advertise(self, name: str = "WB123456", interval_ms: float = 100) -> None:
        packets = gatt.advertising(gatt.Layout.BGX, name, passcode=True)
        await self.device.start_advertising(
            own_address_type=OwnAddressType.RANDOM,
            advertising_data=packets[0],
            scan_response_data=packets[1],
            advertising_interval_min=interval_ms,
            advertising_interval_max=interval_ms,
        )


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    served = await serve_radio("127.0.0.1", 0)
    yield served
    await Host.end_all()
    await served.close()


@pytest.fixture
async def charger(room: Room) -> AsyncIterator[Peripheral]:
    controller = await open_controller(room.address)
    peripheral = Peripheral(controller)
    await peripheral.device.power_on()
    await peripheral.advertise()
    yield peripheral
    await controller.close()


@pytest.fixture
async def radio(room: Room) -> AsyncIterator[BumbleRadio]:
    opened = await open_radio(room.address, address=PHONE)
    yield opened
    await opened.close()


@pytest.fixture
async def link(radio: BumbleRadio, charger: Peripheral) -> BumbleLink:
    del charger  # has to be there first
    return await radio.connect(FOUND, timeout_s=5)


async def first(radio: BumbleRadio, wanted: Callable[[Found], bool] = lambda _: True) -> Found:
    async with asyncio.timeout(5), aclosing(radio.scan()) as seen:
        async for found in seen:
            if wanted(found):
                return found
    raise AssertionError


# Opening


async def test_an_address_is_drawn_or_taken(room: Room, radio: BumbleRadio) -> None:
    assert radio.address == PHONE
    drawn = [await open_radio(room.address) for _ in range(2)]
    addresses = {each.address for each in drawn}
    assert len(addresses) == 2
    assert {int(address[:2], 16) >> 6 for address in addresses} == {3}
    for each in drawn:
        await each.close()


async def test_no_radio_is_a_sentence(room: Room) -> None:
    await room.close()
    with pytest.raises(ControllerError, match="no radio answers"):
        await open_radio(room.address)


class AnotherProtocol(asyncio.Protocol):
    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(b"SSH-2.0\r\n")

    def connection_lost(self, _: Exception | None) -> None:
        self.ended.set()


async def test_something_else_on_the_port_is_a_sentence() -> None:
    spoken = AnotherProtocol()
    server = await asyncio.get_running_loop().create_server(lambda: spoken, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    opening = asyncio.create_task(open_radio(f"tcp:127.0.0.1:{port}"))
    while not opening.done():
        pass_time(1)
        await asyncio.sleep(0)
    with pytest.raises(ControllerError, match="does not answer as a Bluetooth controller"):
        await opening
    await spoken.ended.wait()
    server.close()


# Scanning


async def test_a_charger_is_found_with_what_both_packets_say(
    radio: BumbleRadio, charger: Peripheral
) -> None:
    del charger
    found = await first(radio)
    assert found.address == CHARGER
    assert found.name == "WB123456"
    assert found.connectable
    assert -60 <= found.rssi_dbm <= -50
    assert set(found.services) == {gatt.Layout.BGX.stock.uuid, gatt.PASSCODE_SERVICE}


async def test_two_chargers_are_found_and_nothing_else(
    room: Room, radio: BumbleRadio, charger: Peripheral
) -> None:
    del charger
    names = [b"WB654321", b"WB", b"Headset", b"WBx", b"WB1\x1b[2J", b""]
    for number, name in enumerate(names):
        host = await Host.join(room.port, f"F0:00:00:00:00:A{number}")
        await host.advertise(bytes((len(name) + 1, 9)) + name)
    seen = set()
    async with asyncio.timeout(5), aclosing(radio.scan()) as scan:
        async for found in scan:
            seen.add(found.name)
            if len(seen) == 2:
                break
    pass_time(2)  # everyone advertises again
    assert (await first(radio)).name in seen
    assert seen == {"WB123456", "WB654321"}


async def test_only_changes_are_told_again(room: Room, radio: BumbleRadio) -> None:
    host = await Host.join(room.port, CHARGER)
    name = b"\x09\x09WB123456"
    await host.advertise(name)
    async with asyncio.timeout(60), aclosing(radio.scan()) as scan:
        before = await anext(scan)
        upcoming = asyncio.ensure_future(anext(scan))
        for dbm in (before.rssi_dbm + 2, before.rssi_dbm - 2, -80):
            room.set_rssi(PHONE, CHARGER, dbm)
            pass_time(2)
            await host.done(0x1009)
        assert (await upcoming).rssi_dbm == -80


async def test_a_charger_that_is_taken_shows_it(room: Room, radio: BumbleRadio) -> None:
    host = await Host.join(room.port, CHARGER)
    await host.advertise(b"\x09\x09WB123456", kind=3)
    found = await first(radio)
    assert not found.connectable
    trying = asyncio.create_task(radio.connect(found, timeout_s=10))
    await asyncio.sleep(0)
    pass_time(10)
    with pytest.raises(Busy, match="another phone"):
        await trying


async def test_two_scans_at_once(radio: BumbleRadio, charger: Peripheral) -> None:
    del charger
    async with asyncio.timeout(5), aclosing(radio.scan()) as one, aclosing(radio.scan()) as two:
        assert (await anext(one)).name == (await anext(two)).name
        await one.aclose()
        assert (await first(radio)).address == CHARGER
    assert (await first(radio)).address == CHARGER


async def test_scanning_goes_on_while_connecting(radio: BumbleRadio, charger: Peripheral) -> None:
    del charger
    async with asyncio.timeout(5), aclosing(radio.scan()) as scan:
        link = await radio.connect(await anext(scan), timeout_s=5)
    assert not link.closed


async def test_a_scan_ends_with_the_adapter(room: Room, radio: BumbleRadio) -> None:
    async with aclosing(radio.scan()) as scan:
        upcoming = asyncio.ensure_future(anext(scan))
        await asyncio.sleep(0)
        await room.close()
        with pytest.raises(LinkLost, match=r"adapter .* is gone"):
            await upcoming


# Connecting


async def test_an_adapter_lost_while_a_command_is_given_up(radio: BumbleRadio) -> None:
    host = radio._device.host
    host.pending_response = asyncio.get_running_loop().create_future()
    host.pending_response.cancel()
    host.on_transport_lost()  # type: ignore[no-untyped-call] # Bumble's own
    assert host.pending_response is None


async def test_a_connection_knows_its_characteristics(link: BumbleLink) -> None:
    assert {ECHO, HINT, TOLD, GUARDED, SILENT} <= link.characteristics
    assert link.att_mtu == 247
    assert not link.closed


async def test_who_does_not_answer_is_not_found(radio: BumbleRadio) -> None:
    trying = asyncio.create_task(radio.connect(FOUND, timeout_s=30))
    await asyncio.sleep(0)
    pass_time(30)
    with pytest.raises(NotFound, match="did not answer within 30 s") as caught:
        await trying
    assert caught.value.retry_after_s == 0.0


async def test_too_faint_a_charger_is_named_as_such(
    room: Room, radio: BumbleRadio, charger: Peripheral
) -> None:
    del charger
    room.set_rssi(PHONE, CHARGER, -95)
    found = await first(radio)
    trying = asyncio.create_task(radio.connect(found, timeout_s=30))
    await asyncio.sleep(0)
    pass_time(30)
    with pytest.raises(WeakSignal, match="-95 dBm") as caught:
        await trying
    assert caught.value.rssi_dbm == -95


async def test_giving_up_leaves_the_adapter_ready(
    room: Room, radio: BumbleRadio, charger: Peripheral
) -> None:
    absent = Found("F0:00:00:00:00:99", "WB999999", -55)
    for _ in range(3):
        trying = asyncio.create_task(radio.connect(absent, timeout_s=30))
        other = asyncio.create_task(radio.connect(absent, timeout_s=30))
        for _ in range(20):
            await asyncio.sleep(0)
        trying.cancel()
        other.cancel()
        await asyncio.wait([trying, other])
        assert trying.cancelled()
        assert other.cancelled()
    late = await Host.join(room.port, absent.address)
    await late.advertise(b"\x09\x09WB999999")
    assert await late.silent(CONNECTED)
    link = await radio.connect(FOUND, timeout_s=5)
    assert await link.read(HINT) == charger.hint


async def test_giving_up_at_any_moment_leaves_nothing_behind(
    radio: BumbleRadio, charger: Peripheral
) -> None:
    for turns in range(90):
        trying = asyncio.create_task(radio.connect(FOUND, timeout_s=30))
        for _ in range(turns):
            await asyncio.sleep(0)
        trying.cancel()
        await asyncio.wait([trying])
        if not trying.cancelled():
            await (trying.result()).close()
        while charger.device.connections:
            pass_time(0.01)
            await asyncio.sleep(0)
        await charger.advertise()
    link = await radio.connect(FOUND, timeout_s=5)
    assert await link.read(HINT) == charger.hint


async def test_one_radio_holds_several_links(
    room: Room, radio: BumbleRadio, link: BumbleLink
) -> None:
    host = await Host.join(room.port, "F0:00:00:00:00:02")
    await host.advertise(b"\x09\x09WB000002")
    connecting = asyncio.create_task(
        radio.connect(Found("F0:00:00:00:00:02", "WB000002", -55), timeout_s=5)
    )
    handle, _ = await host.connected()
    await answer_by_hand(host, handle)
    second = await connecting
    assert await link.read(HINT) == bytes(14)
    await second.close()
    assert not link.closed


def say(host: Host, handle: int, answer: str) -> None:
    body = bytes.fromhex(answer)
    host.send_data(handle, len(body).to_bytes(2, "little") + b"\4\0" + body)


async def answer_by_hand(host: Host, handle: int, *, properties: str = "02") -> None:
    """Refuse the longer MTU, and declare one characteristic: 2a00, its value at handle 3."""
    for answer in ("0102000006", f"09070200{properties}0300002a", "010803000a"):
        await host.next(DATA)
        say(host, handle, answer)


async def test_a_charger_without_long_packets_keeps_an_mtu_of_23(
    room: Room, radio: BumbleRadio
) -> None:
    host = await Host.join(room.port, CHARGER)
    await host.advertise()
    connecting = asyncio.create_task(radio.connect(FOUND, timeout_s=5))
    handle, _ = await host.connected()
    await answer_by_hand(host, handle)
    link = await connecting
    assert link.att_mtu == 23
    assert link.characteristics == {"00002a00-0000-1000-8000-00805f9b34fb"}
    with pytest.raises(ValueError, match="21 bytes"):
        await link.write("00002a00-0000-1000-8000-00805f9b34fb", bytes(21), response=True)


@pytest.mark.parametrize(
    "answer",
    ["09070200020300002a09", "0906020002030000", "0907000002030000" + "2a", "0907", "0b01", "13"],
    ids=["cut off", "no UUID", "backwards", "nothing", "to another question", "of another kind"],
)
async def test_nonsense_instead_of_services_ends_in_a_sentence(
    room: Room, radio: BumbleRadio, answer: str
) -> None:
    host = await Host.join(room.port, CHARGER)
    await host.advertise()
    connecting = asyncio.create_task(radio.connect(FOUND, timeout_s=20))
    handle, _ = await host.connected()
    await host.next(DATA)
    say(host, handle, "0102000006")
    await host.next(DATA)
    say(host, handle, answer)
    for _ in range(50):
        await host.done(0x1009)
        if connecting.done():
            break
    else:
        pass_time(20)
    with pytest.raises((ProtocolError, NotFound)):
        await connecting


# Talking


async def test_values_longer_than_an_answer_are_read_whole(
    link: BumbleLink, charger: Peripheral
) -> None:
    for size in (0, 1, 245, 246, 247, 492, 500):
        charger.hint = bytes(range(250)) * 2
        charger.hint = charger.hint[:size]
        assert await link.read(HINT) == charger.hint


async def test_writes_and_notifications_keep_their_order(
    link: BumbleLink, charger: Peripheral
) -> None:
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    await link.subscribe(TOLD, heard.put_nowait)
    sent = [bytes((number,)) * 244 for number in range(100)]
    for number, value in enumerate(sent):
        await link.write(ECHO, value, response=number % 10 == 0)
    async with asyncio.timeout(10):
        assert [await heard.get() for _ in sent] == sent
    assert charger.written == sent


async def test_an_error_of_the_charger_is_told_and_the_link_goes_on(link: BumbleLink) -> None:
    with pytest.raises(AttRefused) as caught:
        await link.read(GUARDED)
    assert caught.value.error == 0x08
    assert await link.read(HINT) == bytes(14)


async def test_what_is_not_there_is_named(link: BumbleLink) -> None:
    with pytest.raises(ProtocolError, match=MEANWHILE):
        await link.read(MEANWHILE)
    with pytest.raises(ProtocolError, match="no notifications"):
        await link.subscribe(HINT, lambda _: None)
    with pytest.raises(ValueError, match="do not fit"):
        await link.write(ECHO, bytes(245), response=False)


async def test_a_callback_that_fails_disturbs_nobody(link: BumbleLink, charger: Peripheral) -> None:
    reported: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: reported.append(context["exception"])
    )
    heard = asyncio.Event()

    def fail(_: bytes) -> None:
        heard.set()
        raise KeyError

    await link.subscribe(TOLD, fail)
    await link.write(ECHO, b"x", response=False)
    async with asyncio.timeout(5):
        await heard.wait()
    assert await link.read(HINT) == charger.hint
    assert [type(error) for error in reported] == [KeyError]


async def test_a_request_given_up_does_not_spoil_the_next(
    link: BumbleLink, charger: Peripheral
) -> None:
    charger.hint = b"first"
    given_up = asyncio.create_task(link.read(HINT))
    for _ in range(3):
        await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    charger.hint = b"second"
    assert await link.read(HINT) in (b"second", b"first")
    assert await link.read(HINT) == b"second"


# The end


async def test_hanging_up_is_told_to_both_sides(link: BumbleLink, charger: Peripheral) -> None:
    connection = await charger.links.get()
    gone = asyncio.Event()
    connection.on(connection.EVENT_DISCONNECTION, lambda _: gone.set())
    closed: list[str] = []
    link.on_close(lambda: closed.append("before"))
    await link.close()
    link.on_close(lambda: closed.append("after"))
    await link.close()
    async with asyncio.timeout(5):
        await gone.wait()
    assert closed == ["before", "after"]
    assert link.closed
    with pytest.raises(LinkLost, match="This app hung up"):
        await link.read(HINT)


async def test_whatever_waits_ends_with_the_link(link: BumbleLink, charger: Peripheral) -> None:
    waiting = [
        asyncio.create_task(link.read(SILENT)),
        asyncio.create_task(link.read(HINT)),
        asyncio.create_task(link.subscribe(TOLD, lambda _: None)),
        asyncio.create_task(link.write(ECHO, b"?", response=True)),
    ]
    async with asyncio.timeout(5):
        await charger.asked.wait()
        await (await charger.links.get()).disconnect()
        await asyncio.wait(waiting)
    errors = [task.exception() for task in waiting]
    assert all(isinstance(error, LinkLost) for error in errors)
    assert "The charger hung up" in str(errors[0])
    assert [getattr(error, "may_have_happened", None) for error in errors] == [
        False,
        False,
        False,
        True,
    ]
    for later in (link.read(HINT), link.write(ECHO, b"", response=False), link.pair()):
        with pytest.raises(LinkLost, match="Not connected to WB123456: The charger hung up"):
            await later


async def test_cancelling_is_still_cancelling(link: BumbleLink, charger: Peripheral) -> None:
    waiting = asyncio.create_task(link.read(SILENT))
    async with asyncio.timeout(5):
        await charger.asked.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert not link.closed
    await link.close()


async def test_a_charger_that_loses_power_is_out_of_range(
    link: BumbleLink, charger: Peripheral
) -> None:
    gone = asyncio.Event()
    link.on_close(gone.set)
    await charger.controller.close()
    async with asyncio.timeout(5):
        await gone.wait()
    with pytest.raises(LinkLost, match="out of range or was switched off"):
        await link.read(HINT)


async def test_the_loss_of_the_adapter_ends_everything(
    room: Room, radio: BumbleRadio, link: BumbleLink, charger: Peripheral
) -> None:
    waiting = asyncio.create_task(link.read(SILENT))
    async with asyncio.timeout(5):
        await charger.asked.wait()
        await room.close()
        with pytest.raises(LinkLost, match="adapter is gone"):
            await waiting
        with pytest.raises(LinkLost, match="gone"):
            await radio.connect(FOUND, timeout_s=3)
        with pytest.raises(LinkLost, match="gone"):
            await first(radio)
        await link.close()
        await radio.close()


async def test_a_charger_that_stops_answering_is_hung_up_on(
    link: BumbleLink, charger: Peripheral
) -> None:
    waiting = asyncio.create_task(link.read(SILENT))
    async with asyncio.timeout(5):
        await charger.asked.wait()
    pass_time(31)
    with pytest.raises(LinkLost, match="stopped answering"):
        await waiting
    assert link.closed


async def test_closing_the_radio_hangs_up(
    radio: BumbleRadio, link: BumbleLink, charger: Peripheral
) -> None:
    connection = await charger.links.get()
    gone: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    connection.on(connection.EVENT_DISCONNECTION, gone.set_result)
    await radio.close()
    assert link.closed
    async with asyncio.timeout(5):
        assert await gone == 0x13


# Pairing and bonds


async def paired(link: BumbleLink, charger: Connection) -> None:
    """Pair, until both have kept the bond."""
    kept = asyncio.Event()
    charger.once(Connection.EVENT_PAIRING, lambda _keys: kept.set())
    await link.pair()
    async with asyncio.timeout(60):
        await kept.wait()


async def test_pairing_encrypts_and_is_done_once(link: BumbleLink, charger: Peripheral) -> None:
    connection = await charger.links.get()
    await paired(link, connection)
    await link.pair()
    assert connection.is_encrypted
    assert connection.sc
    assert await link.read(HINT) == bytes(14)


async def test_a_bond_encrypts_the_next_connection_by_itself(
    room: Room, charger: Peripheral, tmp_path: Path
) -> None:
    bonds = tmp_path / "bluetooth.json"
    for again in (False, True):
        radio = await open_radio(room.address, address=PHONE, bonds=bonds)
        link = await radio.connect(FOUND, timeout_s=5)
        connection = await charger.links.get()
        assert connection.is_encrypted is again
        if not again:
            await paired(link, connection)
        await radio.close()
        await charger.advertise()
    assert stat.S_IMODE(bonds.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["bluetooth.json"]


async def test_a_bond_that_the_charger_forgot_is_forgotten(
    room: Room, charger: Peripheral, tmp_path: Path
) -> None:
    bonds = tmp_path / "bluetooth.json"
    radio = await open_radio(room.address, address=PHONE, bonds=bonds)
    link = await radio.connect(FOUND, timeout_s=5)
    await paired(link, await charger.links.get())
    await link.close()
    charger.device.keystore = MemoryKeyStore()
    await charger.advertise()
    link = await radio.connect(FOUND, timeout_s=5)
    assert bonds.read_bytes() == b"{}"
    assert await link.read(HINT) == bytes(14)
    await link.pair()
    assert bonds.read_bytes() != b"{}"
    await radio.close()


async def test_a_bond_with_another_key_ends_the_link_once(
    room: Room, charger: Peripheral, tmp_path: Path
) -> None:
    bonds = tmp_path / "bluetooth.json"
    bonds.write_text(f'{{"{CHARGER}":{{"key":"{"00" * 16}","authenticated":false}}}}')
    other = await open_radio(room.address, address=PHONE)
    link = await other.connect(FOUND, timeout_s=5)
    await paired(link, await charger.links.get())
    await other.close()
    await charger.advertise()
    radio = await open_radio(room.address, address=PHONE, bonds=bonds)
    with pytest.raises(LinkLost, match="no longer share the same Bluetooth key"):
        await radio.connect(FOUND, timeout_s=5)
    await charger.advertise()
    link = await radio.connect(FOUND, timeout_s=5)
    assert await link.read(HINT) == bytes(14)
    await radio.close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"x": {"key": 1}}', b"\xff"])
async def test_unreadable_bonds_are_set_aside(room: Room, tmp_path: Path, content: bytes) -> None:
    bonds = tmp_path / "bluetooth.json"
    bonds.write_bytes(content)
    radio = await open_radio(room.address, bonds=bonds)
    assert (tmp_path / "bluetooth.json.corrupt-1").read_bytes() == content
    await radio.close()


async def test_a_charger_may_refuse_to_pair(link: BumbleLink, charger: Peripheral) -> None:
    charger.pairing.willing = False
    with pytest.raises(ChargerRefused, match="does not pair now") as caught:
        await link.pair()
    assert caught.value.refusal == "pairing_pairing_not_supported"
    assert await link.read(HINT) == bytes(14)


async def test_hanging_up_in_the_middle_of_pairing_is_a_lost_link(
    room: Room, radio: BumbleRadio
) -> None:
    host, handle, link = await connect_by_hand(room, radio)
    pairing = asyncio.create_task(link.pair())
    await host.next(DATA)
    await host.begun(DISCONNECT, handle.to_bytes(2, "little") + b"\x13")
    with pytest.raises(LinkLost, match="hung up"):
        await pairing


async def test_pairing_that_is_never_answered_ends(room: Room, radio: BumbleRadio) -> None:
    host, _, link = await connect_by_hand(room, radio)
    pairing = asyncio.create_task(link.pair())
    await host.next(DATA)
    pass_time(30)
    with pytest.raises(LinkLost, match="did not finish pairing"):
        await pairing
    assert link.closed


# Chargers that answer by hand


async def connect_by_hand(room: Room, radio: BumbleRadio) -> tuple[Host, int, BumbleLink]:
    host = await Host.join(room.port, CHARGER)
    await host.advertise()
    connecting = asyncio.create_task(radio.connect(FOUND, timeout_s=5))
    handle, _ = await host.connected()
    await answer_by_hand(host, handle, properties="22")
    return host, handle, await connecting


NAME = "00002a00-0000-1000-8000-00805f9b34fb"


async def test_a_second_link_to_the_same_charger_is_refused(
    radio: BumbleRadio, link: BumbleLink
) -> None:
    with pytest.raises(Busy, match="connected already"):
        await radio.connect(FOUND, timeout_s=5)
    assert await link.read(HINT) == bytes(14)


async def test_a_charger_that_hides_its_services_is_hung_up_on(
    room: Room, radio: BumbleRadio
) -> None:
    host = await Host.join(room.port, CHARGER)
    await host.advertise()
    connecting = asyncio.create_task(radio.connect(FOUND, timeout_s=5))
    handle, _ = await host.connected()
    for answer in ("0102000006", "0108010005"):
        await host.next(DATA)
        say(host, handle, answer)
    with pytest.raises(LinkLost, match="does not tell its services"):
        await connecting
    await host.next(DISCONNECTED)


async def test_a_subscription_that_is_refused_calls_nobody(room: Room, radio: BumbleRadio) -> None:
    host, handle, link = await connect_by_hand(room, radio)
    heard: list[bytes] = []
    subscribing = asyncio.create_task(link.subscribe(NAME, heard.append))
    await host.next(DATA)
    say(host, handle, "0501" + "0400" + "0229")
    assert (await host.next(DATA))[8:] == bytes.fromhex("12" + "0400" + "0200")  # indications
    say(host, handle, "01" + "12" + "0400" + "08")
    with pytest.raises(AttRefused) as caught:
        await subscribing
    assert caught.value.error == 0x08
    say(host, handle, "1d" + "0300" + "aa")
    await host.next(DATA)  # Bumble confirms
    assert heard == []


async def test_indications_will_do(room: Room, radio: BumbleRadio) -> None:
    host, handle, link = await connect_by_hand(room, radio)
    heard: list[bytes] = []
    subscribing = asyncio.create_task(link.subscribe(NAME, heard.append))
    await host.next(DATA)
    say(host, handle, "0501" + "0400" + "0129")
    await host.next(DATA)
    say(host, handle, "0501" + "0500" + "0229")  # only the second descriptor is the one
    assert (await host.next(DATA))[8:] == bytes.fromhex("12" + "0500" + "0200")
    say(host, handle, "13")
    await subscribing
    say(host, handle, "1d" + "0300" + "aabb")
    assert (await host.next(DATA))[8:] == b"\x1e"
    assert heard == [b"\xaa\xbb"]


async def test_a_value_that_ends_with_an_answer_is_whole(room: Room, radio: BumbleRadio) -> None:
    host, handle, link = await connect_by_hand(room, radio)
    reading = asyncio.create_task(link.read(NAME))
    await host.next(DATA)
    say(host, handle, "0b" + "55" * 22)
    await host.next(DATA)
    say(host, handle, "01" + "0c" + "0300" + "0b")  # attribute not long
    assert await reading == b"\x55" * 22


async def test_an_adapter_that_hangs_does_not_hold_the_app(room: Room, radio: BumbleRadio) -> None:
    _, _, link = await connect_by_hand(room, radio)
    for program in room._programs:
        program._transport.pause_reading()
    closing = asyncio.create_task(link.close())
    await asyncio.sleep(0)
    pass_time(2)
    await closing
    assert link.closed
