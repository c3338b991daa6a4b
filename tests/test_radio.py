import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from captures import read_capture
from chargepin.radio import Room, serve_radio
from hci_host import (
    ADVERTISE,
    ADVERTISING_DATA,
    ADVERTISING_PARAMETERS,
    CANCEL,
    CONNECT,
    CONNECTED,
    DATA,
    DISCONNECT,
    DISCONNECTED,
    ENCRYPTED,
    FEATURES,
    KEY_ASKED,
    LENGTHS,
    READ_ADDRESS,
    REKEYED,
    REPORT,
    RESET,
    SCAN,
    SCAN_PARAMETERS,
    SCAN_RESPONSE_DATA,
    SENT,
    SET_ADDRESS,
    STATUS,
    UPDATED,
    VERSION,
    Host,
)
from manual_loop import manual_loop

CHARGER, PHONE, OTHER = "F0:00:00:00:00:01", "C0:00:00:00:00:01", "C0:00:00:00:00:02"
NAME, MORE = b"\x09\x09WB123456", b"\x02\x0a\x00"


@pytest.fixture(autouse=True)
async def nobody_stays() -> AsyncIterator[None]:
    yield
    await Host.end_all()


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    served = await serve_radio("127.0.0.1", 0)
    yield served
    await served.close()


@pytest.fixture
async def charger(room: Room) -> Host:
    return await Host.join(room.port, CHARGER)


@pytest.fixture
async def phone(room: Room) -> Host:
    return await Host.join(room.port, PHONE)


@pytest.fixture
async def other(room: Room) -> Host:
    return await Host.join(room.port, OTHER)


def pass_time(seconds: float) -> None:
    loop = manual_loop()
    loop.advance(seconds)


async def connect(central: Host, peripheral: Host, *, lost_after: int = 72) -> tuple[int, int]:
    """Handles at the central and at the peripheral."""
    await central.begun(CONNECT, central.connecting(peripheral.address, timeout=lost_after))
    await peripheral.advertise(NAME)
    here, _ = await central.connected()
    there, _ = await peripheral.connected()
    return here, there


# A controller by itself


async def test_every_controller_has_an_address_of_its_own(room: Room) -> None:
    hosts = [await Host.join(room.port) for _ in range(3)]
    assert len({host.address for host in hosts}) == 3
    assert room.address == f"tcp:127.0.0.1:{room.port}"


async def test_a_command_it_does_not_know_is_refused(phone: Host) -> None:
    assert await phone.status(0x2036, bytes(25), later=True) == 0x01  # extended advertising
    assert await phone.status(0xFC01, b"", later=True) == 0x01  # a vendor's own


@pytest.mark.parametrize("parameters", [b"", bytes(6), bytes(8)])
async def test_parameters_of_the_wrong_size_are_refused(phone: Host, parameters: bytes) -> None:
    assert await phone.status(ADVERTISE, parameters * 2) == 0x12


async def test_what_it_says_it_can_it_can(phone: Host) -> None:
    commands = await phone.done(0x1002)
    assert len(commands) == 64
    assert sum(octet.bit_count() for octet in commands) == 39
    for opcode, size in [
        (0x1001, 8),
        (0x1003, 8),
        (0x1005, 7),
        (0x2002, 3),
        (0x2003, 8),
        (0x2007, 1),
        (0x200F, 1),
        (0x2018, 8),
        (0x201C, 8),
        (0x2023, 4),
        (0x202F, 8),
    ]:
        assert len(await phone.done(opcode)) == size
    assert await phone.done(0x0C01, bytes(8)) == b""
    assert await phone.done(0x2014, bytes(5)) == b""
    assert await phone.done(0x2024, bytes(4)) == b""
    assert (await phone.done(0x2002))[0] == 251


async def test_more_than_31_bytes_of_advertising_are_refused(charger: Host) -> None:
    for opcode in (ADVERTISING_DATA, SCAN_RESPONSE_DATA):
        assert await charger.status(opcode, bytes((31,)) + bytes(31)) == 0
        assert await charger.status(opcode, bytes((32,)) + bytes(31)) == 0x12
        assert await charger.status(opcode, bytes((32,)) + bytes(32)) == 0x12


@pytest.mark.parametrize(
    ("interval", "kind"), [(0x1F, 0), (0, 0), (0x0800, 5)], ids=["short", "none", "unknown kind"]
)
async def test_impossible_advertising_is_refused(charger: Host, interval: int, kind: int) -> None:
    parameters = struct.pack("<HHBB7sBB", interval, interval, kind, 1, bytes(7), 7, 0)
    assert await charger.status(ADVERTISING_PARAMETERS, parameters) == 0x12


async def test_nobody_uses_a_random_address_that_was_not_set(room: Room) -> None:
    host = await Host.join(room.port)
    host.address = b"\1" + bytes(6)
    await host.set_up_advertising()
    assert await host.status(ADVERTISE, b"\1") == 0x12


async def test_settings_stay_while_they_are_in_use(charger: Host, phone: Host) -> None:
    await charger.advertise(NAME)
    await phone.scan()
    assert await charger.status(SET_ADDRESS, bytes(6)) == 0x0C
    assert await phone.status(SET_ADDRESS, bytes(6)) == 0x0C
    parameters = struct.pack("<HHBB7sBB", 0x20, 0x20, 0, 1, bytes(7), 7, 0)
    assert await charger.status(ADVERTISING_PARAMETERS, parameters) == 0x0C
    assert await phone.status(SCAN_PARAMETERS, bytes(7)) == 0x0C


# Scanning


def reports(body: bytes) -> tuple[int, bytes, bytes, int]:
    """Type, address, data and signal of a report of one."""
    count, kind, address, size = struct.unpack_from("<BB7sB", body)
    assert count == 1
    assert len(body) == 11 + size
    return kind, address, body[10:-1], struct.unpack("<b", body[-1:])[0]


async def test_an_active_scanner_hears_both_packets_of_every_charger(room: Room) -> None:
    names = {f"F0:00:00:00:00:0{n}": b"\x09\x09WB00000%d" % n for n in (1, 2)}
    for address, name in names.items():
        await (await Host.join(room.port, address)).advertise(name, MORE)
    phone = await Host.join(room.port, PHONE)
    await phone.scan()
    heard = {reports(await phone.next(REPORT))[:3] for _ in range(4)}
    assert heard == {
        (kind, b"\1" + bytes.fromhex(address.replace(":", ""))[::-1], data)
        for address, name in names.items()
        for kind, data in ((0, name), (4, MORE))
    }
    assert await phone.silent(REPORT)


async def test_a_passive_scanner_does_not_ask(charger: Host, phone: Host) -> None:
    await charger.advertise(NAME, MORE)
    await phone.scan(active=False)
    assert reports(await phone.next(REPORT))[0] == 0
    assert await phone.silent(REPORT)


async def test_a_scanner_hears_who_comes_later_and_what_changes(charger: Host, phone: Host) -> None:
    await phone.scan()
    await charger.advertise(NAME)
    assert reports(await phone.next(REPORT))[2] == NAME
    assert reports(await phone.next(REPORT))[0] == 4
    await charger.done(ADVERTISING_DATA, struct.pack("<B31s", len(MORE), MORE))
    pass_time(2)
    assert reports(await phone.next(REPORT))[2] == MORE


async def test_without_filter_every_interval_is_reported(charger: Host, phone: Host) -> None:
    await charger.advertise(NAME)
    await phone.scan(once=False)
    await phone.next(REPORT)
    await phone.next(REPORT)
    for _ in range(3):
        assert await phone.silent(REPORT)
        pass_time(1.28)
        assert reports(await phone.next(REPORT))[0] == 0
        assert reports(await phone.next(REPORT))[0] == 4


async def test_no_more_reports_after_scanning_or_advertising_ends(
    charger: Host, phone: Host
) -> None:
    await charger.advertise(NAME)
    await phone.scan(once=False)
    await phone.done(SCAN, b"\0\0")
    phone.forget(REPORT)
    pass_time(2)
    assert await phone.silent(REPORT)
    await charger.done(ADVERTISE, b"\0")
    await phone.scan(once=False)
    assert await phone.silent(REPORT)


@pytest.mark.parametrize(("kind", "expected"), [(2, {2, 4}), (3, {3})])
async def test_other_kinds_of_advertising_are_told_apart(
    charger: Host, phone: Host, kind: int, expected: set[int]
) -> None:
    await phone.scan()
    await charger.advertise(NAME, MORE, kind=kind)
    heard = {reports(await phone.next(REPORT))[0] for _ in expected}
    assert heard == expected
    assert await phone.silent(REPORT)


async def test_directed_advertising_is_for_one(charger: Host, phone: Host, other: Host) -> None:
    await phone.scan()
    await other.scan()
    await charger.set_up_advertising(kind=1, target=phone.address)
    await charger.done(ADVERTISE, b"\1")
    assert reports(await phone.next(REPORT))[:3] == (1, charger.address, b"")
    assert await other.silent(REPORT)


async def test_the_accept_list_filters_reports(charger: Host, phone: Host, other: Host) -> None:
    await charger.advertise(NAME)
    await other.advertise(MORE)
    await phone.done(0x2011, charger.address)
    await phone.scan(only=1)
    assert {reports(await phone.next(REPORT))[1] for _ in range(2)} == {charger.address}
    assert await phone.silent(REPORT)


# Signal


async def test_signal_is_near_unless_it_is_set(room: Room, charger: Host, phone: Host) -> None:
    await charger.advertise(NAME)
    await phone.scan(once=False)
    assert -60 <= reports(await phone.next(REPORT))[3] <= -50
    room.set_rssi(PHONE, CHARGER, -84)
    await phone.silent(REPORT)  # what was on its way has come
    phone.forget(REPORT)
    pass_time(2)
    assert reports(await phone.next(REPORT))[3] == -84


async def test_a_far_charger_is_heard_but_cannot_be_reached(
    room: Room, charger: Host, phone: Host
) -> None:
    room.set_rssi(CHARGER, PHONE, -95)
    await phone.scan()
    await phone.begun(CONNECT, phone.connecting(charger.address))
    await charger.advertise(NAME)
    assert reports(await phone.next(REPORT))[3] == -95
    assert await phone.silent(CONNECTED)
    room.set_rssi(CHARGER, PHONE, -90)
    pass_time(2)
    await phone.connected()


async def test_a_charger_out_of_range_is_not_heard(room: Room, charger: Host, phone: Host) -> None:
    room.set_rssi(CHARGER, PHONE, -101)
    await charger.advertise(NAME)
    await phone.scan(once=False)
    assert await phone.silent(REPORT)
    pass_time(2)
    assert await phone.silent(REPORT)


async def test_signal_of_a_link_can_be_read(room: Room, charger: Host, phone: Host) -> None:
    here, there = await connect(phone, charger)
    room.set_rssi(PHONE, CHARGER, -71)
    for host, handle in ((phone, here), (charger, there)):
        assert await host.done(0x1405, struct.pack("<H", handle)) == struct.pack("<Hb", handle, -71)


# Connecting


async def test_both_sides_are_told_the_same(charger: Host, phone: Host) -> None:
    await phone.begun(CONNECT, phone.connecting(charger.address, interval=30, timeout=200))
    await charger.advertise(NAME)
    here, there = await phone.next(CONNECTED), await charger.next(CONNECTED)
    for body, role, peer in ((here, 0, charger.address), (there, 1, phone.address)):
        assert body[:1] + body[3:] == struct.pack("<BB7sHHHB", 0, role, peer, 30, 0, 200, 0)


async def test_a_connection_begun_later_does_not_wait_for_an_interval(
    charger: Host, phone: Host
) -> None:
    await charger.advertise(NAME)
    await phone.begun(CONNECT, phone.connecting(charger.address))
    await phone.connected()
    await charger.connected()


async def test_advertising_ends_with_the_connection(
    charger: Host, phone: Host, other: Host
) -> None:
    await connect(phone, charger)
    await other.scan()
    assert await other.silent(REPORT)
    await charger.done(ADVERTISE, b"\1")
    assert reports(await other.next(REPORT))[2] == NAME


async def test_of_racing_centrals_exactly_one_wins_each_time(room: Room, charger: Host) -> None:
    phones = [await Host.join(room.port, f"C0:00:00:00:00:0{n}") for n in range(5)]
    for phone in phones:
        await phone.begun(CONNECT, phone.connecting(charger.address))
    waiting = {phone.address: phone for phone in phones}
    await charger.set_up_advertising(NAME)
    while waiting:
        await charger.done(ADVERTISE, b"\1")
        _, winner = await charger.connected()
        await waiting.pop(winner).connected()
        assert await charger.silent(CONNECTED)
        for phone in waiting.values():
            assert await phone.silent(CONNECTED)


async def order_of_winners(seed: int) -> list[bytes]:
    room = await serve_radio("127.0.0.1", 0, seed=seed)
    charger = await Host.join(room.port, CHARGER)
    for number in range(6):
        phone = await Host.join(room.port, f"C0:00:00:00:00:0{number}")
        await phone.begun(CONNECT, phone.connecting(charger.address))
    await charger.set_up_advertising(NAME)
    winners = []
    for _ in range(6):
        await charger.done(ADVERTISE, b"\1")
        winners.append((await charger.connected())[1])
    await room.close()
    return winners


async def test_who_wins_depends_on_the_seed_alone() -> None:
    assert await order_of_winners(7) == await order_of_winners(7)
    assert len({tuple(await order_of_winners(seed)) for seed in range(5)}) > 1


async def test_a_connection_can_be_cancelled_and_begun_again(charger: Host, phone: Host) -> None:
    await phone.begun(CONNECT, phone.connecting(charger.address))
    assert await phone.status(CONNECT, phone.connecting(charger.address), later=True) == 0x0C
    await phone.done(CANCEL)
    status, _, _, peer = struct.unpack_from("<BHB7s", await phone.next(CONNECTED))
    assert (status, peer) == (0x02, charger.address)
    assert await phone.status(CANCEL) == 0x0C
    await charger.advertise(NAME)
    assert await charger.silent(CONNECTED)
    await phone.begun(CONNECT, phone.connecting(charger.address))
    await phone.connected()


async def test_there_is_one_link_between_two_addresses(charger: Host, phone: Host) -> None:
    await connect(phone, charger)
    assert await phone.status(CONNECT, phone.connecting(charger.address), later=True) == 0x0B


async def test_two_programs_of_one_home_take_turns(room: Room, charger: Host, phone: Host) -> None:
    here, _ = await connect(phone, charger)
    twin = await Host.join(room.port, PHONE)
    await twin.begun(CONNECT, twin.connecting(charger.address))
    await charger.done(ADVERTISE, b"\1")
    assert await twin.silent(CONNECTED)
    await phone.begun(DISCONNECT, struct.pack("<HB", here, 0x13))
    pass_time(2)
    await twin.connected()


async def test_accept_lists_say_who_may_connect(charger: Host, phone: Host, other: Host) -> None:
    await charger.done(0x2011, phone.address)
    for host in (phone, other):
        await host.begun(CONNECT, host.connecting(charger.address))
    await charger.advertise(NAME, only=3)
    assert (await charger.connected())[1] == phone.address
    await charger.done(ADVERTISE, b"\1")
    assert await other.silent(CONNECTED)
    await charger.done(0x2010)
    await charger.done(0x2011, other.address)
    pass_time(2)
    assert (await charger.connected())[1] == other.address


async def test_anyone_on_the_accept_list_can_be_connected_to(
    charger: Host, phone: Host, other: Host
) -> None:
    await phone.done(0x2011, charger.address)
    await phone.done(0x2011, other.address)
    await phone.done(0x2012, other.address)
    await phone.begun(CONNECT, phone.connecting(bytes(7), any_of_list=True))
    await other.advertise(MORE)
    await charger.advertise(NAME)
    assert (await phone.connected())[1] == charger.address


async def test_the_accept_list_is_full_at_eight(phone: Host) -> None:
    for number in range(8):
        await phone.done(0x2011, bytes((1, number, 0, 0, 0, 0, 0xC0)))
    assert await phone.status(0x2011, bytes((1, 8, 0, 0, 0, 0, 0xC0))) == 0x07
    assert await phone.status(0x2011, bytes((1, 7, 0, 0, 0, 0, 0xC0))) == 0


@pytest.mark.parametrize(
    ("interval", "lost_after"), [(5, 72), (3201, 3200), (24, 9), (24, 3201), (3000, 100)]
)
async def test_timing_that_no_controller_can_keep_is_refused(
    charger: Host, phone: Host, interval: int, lost_after: int
) -> None:
    parameters = phone.connecting(charger.address, interval=interval, timeout=lost_after)
    assert await phone.status(CONNECT, parameters, later=True) == 0x12


async def test_a_public_address_can_be_connected_from_and_to(room: Room) -> None:
    charger, phone = await Host.join(room.port), await Host.join(room.port)
    here, there = await connect(phone, charger)
    phone.send_data(here, b"hello")
    assert await charger.next(DATA) == struct.pack("<HH", there | 0x2000, 5) + b"hello"


# Links


async def test_data_goes_both_ways_in_order_and_is_acknowledged(charger: Host, phone: Host) -> None:
    here, there = await connect(phone, charger)
    for size in (0, 1, 251):
        phone.send_data(here, bytes(size))
        assert await charger.next(DATA) == struct.pack("<HH", there | 0x2000, size) + bytes(size)
        assert await phone.next(SENT) == struct.pack("<BHH", 1, here, 1)
    for part in range(20):
        charger.send_data(there, bytes((part,)), flags=2 if part == 0 else 1)
    for part in range(20):
        flags = 0x2000 if part == 0 else 0x1000
        assert await phone.next(DATA) == struct.pack("<HHB", here | flags, 1, part)


async def test_data_reaches_a_link_whose_peripheral_changed_its_address(
    charger: Host, phone: Host
) -> None:
    here, there = await connect(phone, charger)
    await charger.done(SET_ADDRESS, bytes.fromhex("0900000000f0"))
    phone.send_data(here, b"to")
    await charger.next(DATA)
    charger.send_data(there, b"fro")
    await phone.next(DATA)


async def test_what_is_sent_last_arrives_before_the_end(charger: Host, phone: Host) -> None:
    here, there = await connect(phone, charger)
    phone.send_data(here, b"bye")
    await phone.begun(DISCONNECT, struct.pack("<HB", here, 0x15))
    await charger.next(DATA)
    assert await charger.next(DISCONNECTED) == struct.pack("<BHB", 0, there, 0x15)
    assert await phone.next(DISCONNECTED) == struct.pack("<BHB", 0, here, 0x16)
    assert await phone.status(DISCONNECT, struct.pack("<HB", here, 0x13), later=True) == 0x02


async def test_what_is_sent_too_late_reaches_nobody(charger: Host, phone: Host) -> None:
    here, there = await connect(phone, charger)
    await charger.begun(DISCONNECT, struct.pack("<HB", there, 0x13))
    await phone.next(DISCONNECTED)
    await charger.done(ADVERTISE, b"\1")
    await phone.begun(CONNECT, phone.connecting(charger.address))
    again, _ = await phone.connected()
    assert again != here
    phone.send_data(here, b"late")
    assert await phone.silent(SENT)
    assert await charger.silent(DATA)


async def test_a_killed_program_is_missed_after_the_supervision_timeout(
    charger: Host, phone: Host
) -> None:
    _, there = await connect(phone, charger, lost_after=3200)
    phone.kill()
    no_signal = struct.pack("<Hb", there, -127)
    async with asyncio.timeout(5):
        while await charger.done(0x1405, struct.pack("<H", there)) != no_signal:
            pass  # the radio has not noticed yet
    charger.send_data(there, b"still there?")
    pass_time(20)
    assert await charger.silent(DISCONNECTED)
    assert await charger.silent(SENT)
    pass_time(12.1)
    assert await charger.next(DISCONNECTED) == struct.pack("<BHB", 0, there, 0x08)


async def test_one_may_hang_up_on_a_killed_program(charger: Host, phone: Host) -> None:
    _, there = await connect(phone, charger)
    phone.kill()
    await charger.begun(DISCONNECT, struct.pack("<HB", there, 0x13))
    assert await charger.next(DISCONNECTED) == struct.pack("<BHB", 0, there, 0x16)
    pass_time(60)
    assert await charger.silent(DISCONNECTED)


async def test_a_killed_program_neither_advertises_nor_waits(
    room: Room, charger: Host, phone: Host
) -> None:
    await charger.advertise(NAME)
    charger.kill()
    await phone.begun(CONNECT, phone.connecting(charger.address))
    phone.kill()
    other = await Host.join(room.port, OTHER)
    await other.scan(once=False)
    pass_time(2)
    assert await other.silent(REPORT)
    await other.advertise(NAME)
    pass_time(2)
    assert await other.silent(CONNECTED)


async def test_reset_is_as_new(charger: Host, phone: Host, other: Host) -> None:
    _, there = await connect(phone, charger)
    await phone.scan()
    await phone.done(RESET)
    assert await phone.done(READ_ADDRESS)
    assert await phone.status(CANCEL) == 0x0C
    pass_time(1)
    assert await charger.next(DISCONNECTED) == struct.pack("<BHB", 0, there, 0x08)
    await other.advertise(NAME)
    assert await phone.silent(REPORT)


async def test_both_sides_learn_of_new_timing(charger: Host, phone: Host) -> None:
    here, there = await connect(phone, charger)
    await charger.begun(0x2013, struct.pack("<HHHHHHH", there, 40, 50, 2, 300, 0, 0))
    assert await charger.next(UPDATED) == struct.pack("<BHHHH", 0, there, 40, 2, 300)
    assert await phone.next(UPDATED) == struct.pack("<BHHHH", 0, here, 40, 2, 300)
    assert await phone.status(0x2013, struct.pack("<HHHHHHH", here, 1, 1, 0, 9, 0, 0), later=True)
    assert await phone.status(0x2013, struct.pack("<HHHHHHH", 99, 40, 50, 2, 300, 0, 0), later=True)


async def test_hosts_may_ask_about_a_link(charger: Host, phone: Host) -> None:
    here, _ = await connect(phone, charger)
    await phone.begun(0x041D, struct.pack("<H", here))
    assert (await phone.next(VERSION))[:3] == struct.pack("<BH", 0, here)
    await phone.begun(0x2016, struct.pack("<H", here))
    assert (await phone.next(FEATURES))[:3] == struct.pack("<BH", 0, here)
    assert await phone.done(0x2022, struct.pack("<HHH", here, 251, 2120)) == struct.pack("<H", here)
    assert struct.unpack("<HHHHH", await phone.next(LENGTHS))[:2] == (here, 251)
    assert len(await phone.done(0x2015, struct.pack("<H", here))) == 7
    for opcode in (0x1405, 0x2015):
        phone.send(opcode, struct.pack("<H", 99))
        assert await phone.next("complete") == struct.pack("<HBH", opcode, 0x02, 99)


async def test_masked_events_are_not_sent(charger: Host, phone: Host) -> None:
    await phone.done(0x2001, struct.pack("<Q", 0x7F & ~2))
    await charger.advertise(NAME)
    await phone.scan()
    assert await phone.silent(REPORT)


# Encryption

KEY, ANOTHER_KEY = bytes(range(16)), bytes(16)


async def start_encryption(phone: Host, charger: Host, here: int, there: int) -> None:
    await phone.begun(0x2019, struct.pack("<H8sH16s", here, b"random..", 0x1234, KEY))
    assert await charger.next(KEY_ASKED) == struct.pack("<H8sH", there, b"random..", 0x1234)


async def test_the_same_key_encrypts_and_renews(charger: Host, phone: Host) -> None:
    here, there = await connect(phone, charger)
    await start_encryption(phone, charger, here, there)
    await charger.done(0x201A, struct.pack("<H16s", there, KEY))
    assert await charger.next(ENCRYPTED) == struct.pack("<BHB", 0, there, 1)
    assert await phone.next(ENCRYPTED) == struct.pack("<BHB", 0, here, 1)
    await start_encryption(phone, charger, here, there)
    await charger.done(0x201A, struct.pack("<H16s", there, KEY))
    assert await charger.next(REKEYED) == struct.pack("<BH", 0, there)
    assert await phone.next(REKEYED) == struct.pack("<BH", 0, here)


async def test_two_different_keys_end_the_link(charger: Host, phone: Host) -> None:
    here, there = await connect(phone, charger)
    await start_encryption(phone, charger, here, there)
    await charger.done(0x201A, struct.pack("<H16s", there, ANOTHER_KEY))
    assert await charger.next(DISCONNECTED) == struct.pack("<BHB", 0, there, 0x3D)
    assert await phone.next(DISCONNECTED) == struct.pack("<BHB", 0, here, 0x3D)
    assert await phone.silent(ENCRYPTED)


async def test_a_forgotten_key_leaves_the_link_as_it_was(charger: Host, phone: Host) -> None:
    here, there = await connect(phone, charger)
    await start_encryption(phone, charger, here, there)
    await charger.done(0x201B, struct.pack("<H", there))
    assert await phone.next(ENCRYPTED) == struct.pack("<BHB", 0x06, here, 0)
    assert await charger.status(0x201B, struct.pack("<H", there)) == 0x0C
    phone.send_data(here, b"plain")
    await charger.next(DATA)


async def test_only_a_central_starts_encryption(charger: Host, phone: Host) -> None:
    _, there = await connect(phone, charger)
    parameters = struct.pack("<H8sH16s", there, bytes(8), 0, KEY)
    assert await charger.status(0x2019, parameters, later=True) == 0x0C


# What programs do wrong


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n",
        bytes((4, 0x0E, 0)),
        bytes((2, 1, 0, 252, 0)),
        bytes((2, 1, 0x30, 0, 0)),
        bytes((2, 1, 0, 0xFF, 0xFF)),
    ],
    ids=["another protocol", "an event", "too much data", "impossible flags", "64 KiB"],
)
async def test_whoever_sends_nonsense_is_dropped_and_nobody_else(
    room: Room, charger: Host, phone: Host, nonsense: bytes
) -> None:
    here, _ = await connect(phone, charger)
    stranger = await Host.join(room.port, OTHER)
    await stranger.begun(CONNECT, stranger.connecting(charger.address))
    stranger.writer.write(nonsense)
    async with asyncio.timeout(5):
        await stranger.ended.wait()
    phone.send_data(here, b"on we go")
    await charger.next(DATA)


async def test_packets_may_come_in_any_pieces(room: Room) -> None:
    host = await Host.join(room.port)
    for byte in struct.pack("<BHB", 1, READ_ADDRESS, 0):
        host.writer.write(bytes((byte,)))
        await host.writer.drain()
    assert (await host.next("complete"))[2] == 0
    host.writer.write(struct.pack("<BHB", 1, READ_ADDRESS, 0) * 3)
    for _ in range(3):
        assert (await host.next("complete"))[2] == 0


async def send_until_dropped(program: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while True:
            await loop.sock_sendall(program, struct.pack("<BHB", 1, 0x1002, 0) * 10_000)


async def test_a_program_that_takes_nothing_off_its_socket_is_dropped(
    room: Room, charger: Host
) -> None:
    with socket.create_connection(("127.0.0.1", room.port)) as hung:
        hung.setblocking(False)
        async with asyncio.timeout(30):
            await send_until_dropped(hung)
    assert await charger.done(READ_ADDRESS)


async def test_any_bytes_at_all_leave_the_room_working(room: Room, charger: Host) -> None:
    draw = random.Random(1)  # noqa: S311 -- the same bytes each time
    for _ in range(50):
        _, writer = await asyncio.open_connection("127.0.0.1", room.port)
        for _ in range(20):
            opcode = draw.choice([*range(0x2001, 0x2030), RESET, DISCONNECT])
            body = draw.randbytes(draw.choice([0, 1, 2, 7, 15, 25, 32]))
            writer.write(struct.pack("<BHB", 1, opcode, len(body)) + body)
        writer.write(bytes((2,)) + draw.randbytes(30))
        with contextlib.suppress(ConnectionError):
            await writer.drain()
        writer.close()
    assert await charger.done(READ_ADDRESS)
    phone = await Host.join(room.port, PHONE)
    await connect(phone, charger)


# The room


async def test_closing_hangs_up_on_everybody(room: Room, charger: Host, phone: Host) -> None:
    await connect(phone, charger)
    await room.close()
    async with asyncio.timeout(5):
        await charger.ended.wait()
        await phone.ended.wait()
    with pytest.raises(OSError, match=r"refused|Connect"):
        await asyncio.open_connection("127.0.0.1", room.port)


async def test_a_port_in_use_is_an_os_error(room: Room) -> None:
    with pytest.raises(OSError, match="in use"):
        await serve_radio("127.0.0.1", room.port)


async def test_a_capture_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="missing"):
        await serve_radio("127.0.0.1", 0, capture=tmp_path / "missing" / "file")


async def test_the_capture_holds_what_each_program_said_and_heard(tmp_path: Path) -> None:
    path = tmp_path / "room.btsnoop"
    room = await serve_radio("127.0.0.1", 0, capture=path)
    charger, phone = await Host.join(room.port, CHARGER), await Host.join(room.port, PHONE)
    here, there = await connect(phone, charger)
    phone.send_data(here, b"hello")
    await charger.next(DATA)
    await phone.next(SENT)
    await room.close()

    found = read_capture(path.read_bytes())
    assert [record.opcode for record in found if record.adapter == 0][:2] == [0, 8]
    assert (1, 4, struct.pack("<HH", here, 5) + b"hello") in [record[:3] for record in found]
    received = struct.pack("<HH", there | 0x2000, 5) + b"hello"
    assert (0, 5, received) in [record[:3] for record in found]
    commands = [record.data for record in found if record[:2] == (1, 2)]
    connecting = phone.connecting(charger.address)
    assert struct.pack("<HB", CONNECT, len(connecting)) + connecting in commands
    answers = [record.data for record in found if record[:2] == (1, 3)]
    assert bytes.fromhex("0f040001") + struct.pack("<H", CONNECT) in answers
    # A handle belongs to one adapter: tools look links up by it alone.
    assert here != there


async def test_status_events_are_answers_too(phone: Host) -> None:
    phone.send(0xFFFF)
    assert (await phone.next(STATUS))[0] == 0x01
