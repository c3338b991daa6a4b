"""The three radio modules, met by stock phones: what is there, and what belongs to them alone."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from bumble.att import ATT_CID
from bumble.device import Peer

from chargepin.charger.air import Appearance, Door, Written
from chargepin.charger.stock import TypePlate
from chargepin.core import gatt
from chargepin.core.catalogue import FAMILIES, Version
from chargepin.core.gatt import Layout, Mode, StockService
from charger.rig import (
    Inbox,
    Rig,
    Wire,
    charger_and_phones,
    error_of,
    explored,
    found,
    subscribed,
)

SIG = "-0000-1000-8000-00805f9b34fb"
R, W, C, N, IND = 0x02, 0x08, 0x04, 0x10, 0x20
NOT_PERMITTED = 0x03

TABLES = {
    # As clients saw them, in this order, with these handles where they are known.
    Layout.BGX: [
        ("00001801" + SIG, {"00002a05" + SIG: IND, "00002b2a" + SIG: R, "00002b29" + SIG: R | W}),
        ("00001800" + SIG, {"00002a00" + SIG: R, "00002a01" + SIG: R}),
        ("0000180a" + SIG, {"00002a29" + SIG: R, "00002a24" + SIG: R, "00002a26" + SIG: R}),
        (
            "331a36f5-2459-45ea-9d95-6142f0c4b307",
            {
                "a9da6040-0823-4995-94ec-9ce41ca28833": W | C | N,
                "a73e9a10-628f-4494-a099-12efaf72258f": C | N | IND,
                "75a9f022-af03-4e41-b4bc-9de90a47d50b": R | W | C | N | IND,
            },
        ),
        (
            "169b52a0-b7fd-40da-998c-dd9238327e55",
            {
                "902ee692-6ef9-48a8-a430-5212eeb3e5a2": W,
                "503a5d70-b443-466e-9aeb-c342802b184e": W | C,
                "12e868e7-c926-4906-96c8-a7ee81d4b1b3": R,
            },
        ),
    ],
    Layout.UBLOX: [
        ("00001801" + SIG, {"00002a05" + SIG: IND}),
        ("00001800" + SIG, {"00002a00" + SIG: R, "00002a01" + SIG: R, "00002a04" + SIG: R}),
        (
            "0000180a" + SIG,
            {
                "00002a29" + SIG: R,
                "00002a24" + SIG: R,
                "00002a26" + SIG: R,
                "00002a28" + SIG: R,
            },
        ),
        (
            "2456e1b9-26e2-8f83-e744-f34f01e9d701",
            {
                "2456e1b9-26e2-8f83-e744-f34f01e9d703": R | W | C | N,
                "2456e1b9-26e2-8f83-e744-f34f01e9d704": W | C | N,
            },
        ),
    ],
    Layout.ZENTRI: [
        ("00001801" + SIG, {"00002a05" + SIG: IND}),
        ("00001800" + SIG, {"00002a00" + SIG: R, "00002a01" + SIG: R}),
        (
            "0000180a" + SIG,
            {
                "00002a29" + SIG: R,
                "00002a26" + SIG: R,
                "00002a24" + SIG: R,
                "00002a28" + SIG: R,
            },
        ),
        (
            "175f8f23-a570-49bd-9627-815a6a27de2a",
            {
                "1cce1ea8-bd34-4813-a00a-c76e028fadcb": W | C,
                "cacc07ff-ffff-4c48-8fae-a9ef71b75e26": R | N | IND,
                "20b9794f-da1a-4d14-8014-a0fb9cefb2f7": R | W | C | N | IND,
            },
        ),
        (
            "b2e7d564-c077-404e-9d29-b547f4512dce",
            {
                "48cbe15e-642d-4555-ac66-576209c50c1e": W | C | N | IND,
                "db96492d-cf53-4a43-b896-14cbbf3bf4f3": W | C,
                "66bd7ef2-c449-4e84-b203-fa5915709826": W | C | N | IND,
                "b3f86901-61cc-48f1-aa20-8e8b59d49d40": R,
            },
        ),
    ],
}
BGX_HANDLES = {"00002b29": 7, "00002a26": 19, "a9da6040": 22, "75a9f022": 28, "12e868e7": 36}


@asynccontextmanager
async def a_phone_at(layout: Layout) -> AsyncIterator[tuple[Rig, Peer, StockService]]:
    async with charger_and_phones() as rig:
        await rig.start(Appearance("WB123456", layout, passcode=False))
        yield rig, await explored(await rig.connected()), layout.stock


@pytest.mark.parametrize("layout", Layout)
async def test_the_table_is_that_of_the_scan_dumps(layout: Layout) -> None:
    async with a_phone_at(layout) as (_, peer, _):
        seen = [
            (
                str(service.uuid.to_hex_str("-")).lower()
                if len(service.uuid.uuid_bytes) > 2
                else f"0000{service.uuid.to_hex_str().lower()}{SIG}",
                {
                    (
                        each.uuid.to_hex_str("-").lower()
                        if len(each.uuid.uuid_bytes) > 2
                        else f"0000{each.uuid.to_hex_str().lower()}{SIG}"
                    ): int(each.properties)
                    for each in service.characteristics
                },
            )
            for service in peer.services
        ]
        assert seen == TABLES[layout]
        assert [list(each) for _, each in seen] == [list(each) for _, each in TABLES[layout]]


async def test_handles_are_those_of_a_real_bgx() -> None:
    async with a_phone_at(Layout.BGX) as (_, peer, _):
        for service in peer.services:
            for each in service.characteristics:
                short = each.uuid.to_hex_str("-").lower()[:8].rjust(8, "0")
                known = BGX_HANDLES.get(short)
                # The dump names the declarations; a value is one behind.
                assert known is None or each.handle == known + 1


@pytest.mark.parametrize("layout", Layout)
async def test_information_is_of_the_module(layout: Layout) -> None:
    async with a_phone_at(layout) as (_, peer, stock):
        for uuid, text in stock.information:
            assert await found(peer, uuid).read_value() == text.encode()
        assert await found(peer, "2A00").read_value() == b"WB123456"


async def test_a_module_can_have_another_firmware() -> None:
    async with charger_and_phones() as rig:
        copper = TypePlate("123456", FAMILIES["copper-sb"], Version(6, 7, 38), Layout.UBLOX)
        shown = Appearance("WB123456", copper.layout, False, copper.module_firmware)
        await rig.start(shown)
        peer = await explored(await rig.connected())
        for uuid in (gatt.FIRMWARE_REVISION, gatt.SOFTWARE_REVISION):
            assert await found(peer, uuid).read_value() == b"4.0.0-003"
        assert await found(peer, gatt.MODEL_NUMBER).read_value() == b"NINA-B22"
    assert replace(copper, layout=Layout.BGX).module_firmware is None


@pytest.mark.parametrize("layout", [Layout.BGX, Layout.ZENTRI])
async def test_the_module_cannot_be_updated(layout: Layout) -> None:
    async with a_phone_at(layout) as (rig, peer, stock):
        assert stock.ota is not None
        for each in stock.ota.characteristics:
            there = found(peer, each.uuid)
            if gatt.Property.WRITE in each.properties:
                assert await error_of(there, b"\x00") == NOT_PERMITTED
            if gatt.Property.WRITE_WITHOUT_RESPONSE in each.properties:
                await there.write_value(b"\x00")
            if gatt.Property.READ in each.properties:
                assert await there.read_value() == b""
        await found(peer, stock.write.uuid).write_value(b"frame", with_response=True)
        assert await rig.told(Written) == [Written(1, Door.STOCK, b"frame")]


async def test_what_a_client_supports_is_never_taken_back() -> None:
    async with a_phone_at(Layout.BGX) as (_, peer, _):
        features = found(peer, gatt.CLIENT_FEATURES.uuid)
        assert await features.read_value() == b"\x00"
        await features.write_value(b"\x01", with_response=True)
        assert await features.read_value() == b"\x01"
        assert await error_of(features, b"\x00") == 0x13
        assert await error_of(features, b"") == 0x0D


@pytest.mark.parametrize("layout", [Layout.BGX, Layout.ZENTRI])
@pytest.mark.parametrize("command", [Mode.LOCAL_COMMAND, Mode.REMOTE_COMMAND])
async def test_in_command_mode_no_byte_reaches_the_charger(layout: Layout, command: Mode) -> None:
    async with a_phone_at(layout) as (rig, peer, stock):
        assert stock.mode is not None
        mode, write = found(peer, stock.mode.uuid), found(peer, stock.write.uuid)
        told, shell = await subscribed(peer, stock.mode.uuid), Inbox()
        assert await mode.read_value() == b"\x01"
        await shell.subscribe(found(peer, stock.notify.uuid))
        await mode.write_value(bytes([command]), with_response=True)
        assert await mode.read_value() == bytes([command])
        assert await shell.pieces(7) == [b"ready\r\n"]
        await write.write_value(b"lost", with_response=True)
        assert await shell.pieces(5) == [b"ERR\r\n"]
        rig.charger.send(1, Door.STOCK, b"lost, too")
        await mode.write_value(b"\x01", with_response=True)
        await write.write_value(b"heard", with_response=True)
        assert await rig.told(Written) == [Written(1, Door.STOCK, b"heard")]
        rig.charger.send(1, Door.STOCK, b"reply")
        assert await shell.pieces(5) == [b"reply"]
        assert await told.pieces(2) == [bytes([command]), b"\x01"]
        assert await error_of(mode, b"\x04") == 0x13
        assert await error_of(mode, b"\x01\x01") == 0x0D


async def test_zentri_wants_notifications_before_the_mode() -> None:
    async with a_phone_at(Layout.ZENTRI) as (_, peer, stock):
        assert stock.mode is not None
        mode = found(peer, stock.mode.uuid)
        assert await error_of(mode, b"\x01") == NOT_PERMITTED
        await subscribed(peer, stock.notify.uuid)
        await mode.write_value(b"\x01", with_response=True)


async def test_zentri_takes_20_bytes_and_no_more() -> None:
    async with a_phone_at(Layout.ZENTRI) as (rig, peer, stock):
        assert await peer.request_mtu(247) == 23
        write = found(peer, stock.write.uuid)
        wire = Wire(peer.connection, ATT_CID)
        prepared = b"\x16" + write.handle.to_bytes(2, "little") + bytes(2) + bytes(18)
        assert await wire.ask(prepared) == b"\x01\x16" + bytes(2) + bytes([NOT_PERMITTED])
        wire.send(b"\x52" + write.handle.to_bytes(2, "little") + bytes(20))
        assert await rig.told(Written) == [Written(1, Door.STOCK, bytes(20))]


async def test_zentri_shows_the_last_piece_to_who_reads() -> None:
    async with a_phone_at(Layout.ZENTRI) as (rig, peer, stock):
        inbox = await subscribed(peer, stock.notify.uuid)
        rig.charger.send(1, Door.STOCK, b'{"id":1,"r":"' + b"x" * 20 + b'"}')
        pieces = await inbox.pieces(35)
        assert await found(peer, stock.notify.uuid).read_value() == pieces[-1]


async def test_without_a_look_at_credits_there_is_no_flow_control() -> None:
    async with a_phone_at(Layout.UBLOX) as (rig, peer, stock):
        assert await found(peer, stock.notify.uuid).read_value() == b""
        inbox = await subscribed(peer, stock.notify.uuid)
        for _ in range(20):
            await found(peer, stock.write.uuid).write_value(b"x")
        assert len(await rig.told(Written, 20)) == 20
        rig.charger.send(1, Door.STOCK, b"reply" * 20)
        assert b"".join(await inbox.pieces(100)) == b"reply" * 20


async def test_credits_once_a_client_wants_them() -> None:
    async with a_phone_at(Layout.UBLOX) as (rig, peer, stock):
        assert stock.credits is not None
        credits_, fifo = found(peer, stock.credits.uuid), found(peer, stock.write.uuid)
        granted = await subscribed(peer, stock.credits.uuid)
        replies = await subscribed(peer, stock.notify.uuid)
        assert await granted.pieces(1) == [b"\x10"]
        rig.charger.send(1, Door.STOCK, b"a" * 50)
        await credits_.write_value(b"\x01", with_response=True)
        assert await replies.pieces(1) == [b"a" * 20]
        assert replies.empty
        await credits_.write_value(b"\x10")
        assert b"".join(await replies.pieces(30)) == b"a" * 30
        for _ in range(8):
            await fifo.write_value(b"x", with_response=True)
        assert await granted.pieces(1) == [b"\x08"]
        assert len(await rig.told(Written, 8)) == 8
        assert await error_of(credits_, b"\x01\x01") == 0x0D
        await credits_.unsubscribe()
        rig.charger.send(1, Door.STOCK, b"b" * 300)
        assert b"".join(await replies.pieces(300)) == b"b" * 300


@pytest.mark.parametrize("layout", Layout)
async def test_consequences_are_for_who_may_use_the_service(layout: Layout) -> None:
    async with a_phone_at(layout) as (rig, peer, stock):
        inbox = await subscribed(peer, stock.notify.uuid)
        rig.rules.encrypted_only = True
        rig.charger.send(1, Door.STOCK, b"secret")
        for each in stock.characteristics:
            if gatt.Property.WRITE in each.properties:
                assert await error_of(found(peer, each.uuid), b"\x03") == 0x0F
        await asyncio.sleep(0)
        assert inbox.empty
