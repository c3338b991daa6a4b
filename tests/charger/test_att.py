import struct

import pytest
from bumble import gatt as bumble_gatt
from bumble import hci
from bumble.crypto.cryptography import aes_cmac
from bumble.device import Device, DeviceConfiguration
from bumble.profiles.gatt_service import GenericAttributeProfileService
from hypothesis import given
from hypothesis import strategies as st

from chargepin.charger.air import AttError, Secured
from chargepin.charger.bluetooth.att import Client, Table
from chargepin.charger.bluetooth.att_pdu import Code, Denied
from chargepin.core.gatt import Characteristic, Property

SERVICE = "f0000001-0000-1000-8000-00805f9b34fc"
EVERYTHING = Characteristic("f0000002-0000-1000-8000-00805f9b34fc", Property(0x3E))
READ_ONLY = Characteristic("00002a00-0000-1000-8000-00805f9b34fb", Property.READ)
NOTIFY_ONLY = Characteristic("f0000003-0000-1000-8000-00805f9b34fc", Property.NOTIFY)
WRITE_ONLY = Characteristic("f0000004-0000-1000-8000-00805f9b34fc", Property.WRITE)
COMMAND_ONLY = Characteristic(
    "f0000005-0000-1000-8000-00805f9b34fc", Property.WRITE_WITHOUT_RESPONSE
)


class Server:
    """A table with one of everything.

    locked: the rights of EVERYTHING are refused; locked_from: from so many requests for them on.
    """

    def __init__(self, max_mtu: int = 247) -> None:
        self.locked = False
        self.locked_from = 99
        self.written: list[bytes] = []
        self.table = Table(max_mtu)
        self.client = Client(1, b"nonce123")
        self.table.add_service(SERVICE)
        self.everything = self.table.add(
            EVERYTHING, read=lambda _: b"all", write=self._write, may=self.may
        )
        self.table.add_service("00001800-0000-1000-8000-00805f9b34fb")
        self.read_only = self.table.add(READ_ONLY, read=lambda _: b"n" * 40)
        self.notify_only = self.table.add(NOTIFY_ONLY)
        self.write_only = self.table.add(WRITE_ONLY, write=self._write)
        self.command_only = self.table.add(COMMAND_ONLY, write=self._write)

    def may(self, _client: Client) -> None:
        self.locked_from -= 1
        if self.locked or not self.locked_from:
            raise Denied(AttError.INSUFFICIENT_AUTHORIZATION.value)

    def _write(self, _client: Client, value: bytes) -> None:
        if value == b"bug":
            raise KeyError(value)
        self.written.append(value)

    def ask(self, pdu: bytes) -> bytes | None:
        return self.table.answer(self.client, pdu)


def handle(number: int) -> bytes:
    return struct.pack("<H", number)


def error(opcode: int, about: int, code: int) -> bytes:
    return bytes([1, opcode]) + handle(about) + bytes([code])


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_every_request_is_answered_and_nothing_else(pdus: list[bytes]) -> None:
    server = Server()
    for pdu in pdus:
        answer = server.ask(pdu)
        request = pdu and not pdu[0] & 0x41 and pdu != b"\x1e"
        assert (answer is not None) == bool(request)
        if answer is not None:
            assert len(answer) <= server.client.mtu
            assert answer[0] == pdu[0] + 1 or answer[:2] == b"\x01" + pdu[:1]


@given(
    st.sampled_from([0x04, 0x06, 0x08, 0x0A, 0x0C, 0x0E, 0x10, 0x12, 0x20]),
    st.lists(st.integers(0, 20), max_size=4),
    st.sampled_from([b"", b"\x00\x28", b"\x03\x28", b"\x02\x29", b"\x00\x2a", b"x" * 16]),
    st.integers(23, 247),
)
def test_plausible_requests_are_answered_within_the_mtu(
    opcode: int, numbers: list[int], rest: bytes, mtu: int
) -> None:
    server = Server()
    server.client.mtu = mtu
    answer = server.ask(bytes([opcode]) + b"".join(map(handle, numbers)) + rest)
    assert answer is not None
    assert len(answer) <= mtu


@pytest.mark.parametrize("opcode", [0x12, 0x52])
def test_no_declaration_or_descriptor_is_written_but_the_cccd(opcode: int) -> None:
    server = Server()
    before = server.table.digest()
    cccds = {server.everything + 1, server.notify_only + 1}
    writable = cccds | {server.everything, server.write_only, server.command_only}
    for number in set(range(1, 20)) - writable:
        answer = server.ask(bytes([opcode]) + handle(number) + b"overwritten")
        if opcode == 0x12:
            code = Code.WRITE_NOT_PERMITTED if number < 15 else Code.INVALID_HANDLE
            assert answer == error(opcode, number, code)
    assert server.table.digest() == before
    assert server.written == []


def test_a_write_needs_the_property_for_its_kind() -> None:
    server = Server()
    assert server.ask(b"\x12" + handle(server.command_only) + b"1") == error(
        0x12, server.command_only, Code.WRITE_NOT_PERMITTED
    )
    server.ask(b"\x52" + handle(server.write_only) + b"2")
    assert server.written == []
    assert server.ask(b"\x12" + handle(server.write_only) + b"3") == b"\x13"
    server.ask(b"\x52" + handle(server.command_only) + b"4")
    assert server.written == [b"3", b"4"]


def test_a_read_needs_the_property_and_then_the_right() -> None:
    server = Server()
    server.locked = True
    assert server.ask(b"\x0a" + handle(server.notify_only)) == error(
        0x0A, server.notify_only, Code.READ_NOT_PERMITTED
    )
    assert server.ask(b"\x0a" + handle(server.everything)) == error(0x0A, server.everything, 0x08)
    server.locked = False
    assert server.ask(b"\x0a" + handle(server.everything)) == b"\x0ball"


@pytest.mark.parametrize("opcode", [0x0E, 0x20])
def test_read_multiple_asks_for_each_and_always_answers(opcode: int) -> None:
    server = Server()
    both = handle(server.everything) + handle(server.read_only)
    plain, lengths = b"\x0fall" + b"n" * 19, b"\x21\x03\x00all\x28\x00" + b"n" * 15
    assert server.ask(bytes([opcode]) + both) == (plain if opcode == 0x0E else lengths)
    server.locked = True
    assert server.ask(bytes([opcode]) + both) == error(opcode, server.everything, 0x08)
    assert server.ask(bytes([opcode]) + both + handle(99)) == error(opcode, server.everything, 0x08)
    assert server.ask(bytes([opcode])) == error(opcode, 0, Code.INVALID_PDU)
    assert server.ask(bytes([opcode]) + b"\x01") == error(opcode, 0, Code.INVALID_PDU)


def test_a_locked_cccd_is_neither_read_nor_written() -> None:
    server = Server()
    server.locked = True
    cccd = server.everything + 1
    assert server.ask(b"\x12" + handle(cccd) + b"\x01\x00") == error(0x12, cccd, 0x08)
    assert server.ask(b"\x0a" + handle(cccd)) == error(0x0A, cccd, 0x08)
    by_type = b"\x08" + handle(1) + handle(cccd) + b"\x02\x29"
    assert server.ask(by_type) == error(0x08, cccd, 0x08)
    by_value = b"\x06" + handle(1) + handle(cccd) + b"\x02\x29\x00\x00"
    assert server.ask(by_value) == error(0x06, 1, Code.ATTRIBUTE_NOT_FOUND)
    assert server.table.event(server.client, server.everything, b"secret") is None


def test_a_cccd_takes_two_bytes_of_what_its_characteristic_can() -> None:
    server = Server()
    cccd = server.notify_only + 1
    for value, code in (
        (b"\x01", Code.INVALID_ATTRIBUTE_LENGTH),
        (b"\x02\x00", Code.VALUE_NOT_ALLOWED),
        (b"\x01\x80", Code.VALUE_NOT_ALLOWED),
    ):
        assert server.ask(b"\x12" + handle(cccd) + value) == error(0x12, cccd, code)
    assert server.ask(b"\x12" + handle(cccd) + b"\x01\x00") == b"\x13"
    assert server.ask(b"\x0a" + handle(cccd)) == b"\x0b\x01\x00"
    event = server.table.event(server.client, server.notify_only, b"v")
    assert event == b"\x1b" + handle(server.notify_only) + b"v"
    server.ask(b"\x12" + handle(server.everything + 1) + b"\x02\x00")
    event = server.table.event(server.client, server.everything, b"v")
    assert event == b"\x1d" + handle(server.everything) + b"v"


def test_subscriptions_are_of_one_link() -> None:
    server = Server()
    other = Client(2, b"nonce456")
    server.ask(b"\x12" + handle(server.notify_only + 1) + b"\x01\x00")
    assert server.table.event(other, server.notify_only, b"v") is None


def test_a_bug_in_a_callback_is_answered_too(caplog: pytest.LogCaptureFixture) -> None:
    server = Server()
    assert server.ask(b"\x12" + handle(server.write_only) + b"bug") == error(
        0x12, 0, Code.UNLIKELY_ERROR
    )
    assert server.ask(b"\x52" + handle(server.command_only) + b"bug") is None
    assert [record.name for record in caplog.records] == ["chargepin.charger.bluetooth.att"] * 2


def test_prepared_writes_are_refused() -> None:
    server = Server()
    prepare = b"\x16" + handle(server.everything) + handle(0) + b"part"
    assert server.ask(prepare) == error(0x16, 0, Code.REQUEST_NOT_SUPPORTED)
    assert server.ask(b"\x18\x01") == error(0x18, 0, Code.REQUEST_NOT_SUPPORTED)
    assert server.written == []


def test_a_long_value_is_read_in_parts() -> None:
    server = Server()
    blob = b"\x0c" + handle(server.read_only)
    assert server.ask(b"\x0a" + handle(server.read_only)) == b"\x0b" + b"n" * 22
    assert server.ask(blob + handle(22)) == b"\x0d" + b"n" * 18
    assert server.ask(blob + handle(40)) == b"\x0d"
    assert server.ask(blob + handle(41)) == error(0x0C, server.read_only, Code.INVALID_OFFSET)


def test_the_mtu_is_agreed_and_never_shrinks() -> None:
    server = Server(max_mtu=100)
    assert server.ask(b"\x02" + struct.pack("<H", 517)) == b"\x03" + struct.pack("<H", 100)
    assert server.client.mtu == 100
    server.ask(b"\x02" + struct.pack("<H", 5))
    assert server.client.mtu == 100
    too_long = b"\x12" + handle(server.write_only) + bytes(98)
    assert server.ask(too_long) == error(0x12, 0, Code.INVALID_PDU)
    server.ask(b"\x52" + handle(server.command_only) + bytes(98))
    assert server.written == []
    assert server.ask(too_long[:-1]) == b"\x13"


def test_ranges_are_checked() -> None:
    server = Server()
    for opcode, rest in (
        (0x04, b""),
        (0x06, b"\x00\x28"),
        (0x08, b"\x03\x28"),
        (0x10, b"\x00\x28"),
    ):
        for first, last in ((0, 5), (5, 4)):
            assert server.ask(bytes([opcode]) + handle(first) + handle(last) + rest) == error(
                opcode, first, Code.INVALID_HANDLE
            )
        assert server.ask(bytes([opcode]) + handle(90) + handle(99) + rest) == error(
            opcode, 90, Code.ATTRIBUTE_NOT_FOUND
        )
    grouped = b"\x10" + handle(1) + handle(9) + b"\x03\x28"
    assert server.ask(grouped) == error(0x10, 1, Code.UNSUPPORTED_GROUP_TYPE)


def test_a_service_is_found_by_its_uuid_with_the_handles_it_spans() -> None:
    server = Server()
    gap = handle(5) + handle(14)
    asked = b"\x06" + handle(1) + handle(0xFFFF) + b"\x00\x28"
    assert server.ask(asked + b"\x00\x18") == b"\x07" + gap
    assert server.ask(asked + b"\x01\x18") == error(0x06, 1, Code.ATTRIBUTE_NOT_FOUND)
    grouped = b"\x10" + handle(2) + handle(0xFFFF) + b"\x00\x28"
    assert server.ask(grouped) == b"\x11\x06" + gap + b"\x00\x18"
    server.ask(b"\x02\xf7\x00")
    cccd = b"\x06" + handle(1) + handle(0xFFFF) + b"\x02\x29\x00\x00"
    both = (server.everything + 1, server.notify_only + 1)
    assert server.ask(cccd) == b"\x07" + b"".join(handle(at) * 2 for at in both)


def test_reading_by_type_stops_at_what_may_not_be_read() -> None:
    server = Server()
    server.table.add(EVERYTHING, read=lambda _: b"two", may=server.may)
    asked = b"\x08" + handle(1) + handle(0xFFFF) + bytes.fromhex("fc349b5f8000008000100000020000f0")
    both = handle(server.everything) + b"all" + handle(16) + b"two"
    assert server.ask(asked) == b"\x09\x05" + both
    server.locked_from = 2
    assert server.ask(asked) == b"\x09\x05" + both[:5]


def test_a_short_uuid_may_be_asked_for_in_full() -> None:
    server = Server()
    full = bytes.fromhex("fb349b5f8000008000100000002a0000")
    short = server.ask(b"\x08" + handle(1) + handle(0xFFFF) + b"\x00\x2a")
    assert short is not None
    assert short[2:4] == handle(server.read_only)
    assert server.ask(b"\x08" + handle(1) + handle(0xFFFF) + full) == short


def test_the_database_hash_is_the_one_that_bumble_computes() -> None:
    ours = Server().table
    device = Device(
        config=DeviceConfiguration(
            address=hci.Address("F0:00:00:00:00:09"),
            gap_service_enabled=False,
            gatt_service_enabled=False,
        )
    )
    for uuid, characteristics in (
        (SERVICE, [EVERYTHING]),
        ("1800", [READ_ONLY, NOTIFY_ONLY, WRITE_ONLY, COMMAND_ONLY]),
    ):
        device.add_service(
            bumble_gatt.Service(
                uuid,
                [
                    bumble_gatt.Characteristic(
                        each.uuid.removeprefix("0000").removesuffix("-0000-1000-8000-00805f9b34fb"),
                        bumble_gatt.Characteristic.Properties(each.properties),
                        bumble_gatt.Characteristic.Permissions(0),
                        b"",
                    )
                    for each in characteristics
                ],
            )
        )
    attributes = device.gatt_server.attributes
    theirs = b"".join(map(GenericAttributeProfileService.get_attribute_data, attributes))
    assert ours.digest() == aes_cmac(theirs, bytes(16))[::-1]


def test_rights_see_how_the_link_is_secured() -> None:
    seen: list[Secured] = []
    table = Table(23)
    number = table.add(
        READ_ONLY, read=lambda _: b"", may=lambda client: seen.append(client.secured)
    )
    client = Client(1, b"")
    table.answer(client, b"\x0a" + handle(number))
    client.secured = Secured(encrypted=True, authenticated=False)
    table.answer(client, b"\x0a" + handle(number))
    assert seen == [Secured(encrypted=False, authenticated=False), client.secured]
