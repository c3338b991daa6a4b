"""The habits of published clients, on stock Bumble phones, against a whole open charger.

None of their code is here: what each does on the air was read off it and is written down as data.
Their names are those of public projects; "a protocol description" and "a script" have none.
"""

import asyncio
import itertools
import json
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

import pytest
from bumble import hci, pairing
from bumble.att import ATT_Error
from bumble.core import AdvertisingData
from bumble.device import Advertisement, Device, DeviceConfiguration, Peer
from bumble.transport import open_transport

from chargepin.app.link_bumble.central import LosableHost
from chargepin.core.gatt import Layout
from charger.rig import explored, found
from ends import Ends, both_ends

PATIENCE_S = 60.0
SLOW_MACHINE = 20  # what a client waits for is multiplied by this: machines that test are busy
NAME = "WB123456"
_NAME = AdvertisingData.Type.COMPLETE_LOCAL_NAME


class Stream(Enum):
    """When a client sets the mode to streaming."""

    NEVER = "never"
    IF_NOT = "reads it, and writes it if it is another"
    ALWAYS = "writes it"


@dataclass(frozen=True)
class Habits:
    """What one client does with one kind of module.

    mtu: what its system asks for, None nothing. chunk: bytes it writes at once, None all that it
    has. answer_s: how long it waits. first: methods that it calls before all others.
    """

    client: str
    layout: Layout
    pairs: bool
    mtu: int | None = 517
    chunk: int | None = None
    with_response: bool = True
    stream: Stream = Stream.NEVER
    spaces: bool = False
    leaves_par_out: bool = False
    random_ids: bool = True
    answer_s: float = 2.0
    first: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.client} on {self.layout.value}"


BGX, UBLOX, ZENTRI = Layout.BGX, Layout.UBLOX, Layout.ZENTRI
BOTTS, PWN = "botts7/esp32-wallbox", "jagheterfredrik/wallbox-pwn"
_ESP32_FIRST = ("read_pin", "r_sn_", "g_mac", "r_wel", "fw_v_", "r_ses", "r_hsh", "r_lck", "gnsta")

CLIENTS = (
    # An ESP32 gateway: the frame in one write, without response where the MTU allows.
    Habits(BOTTS, UBLOX, pairs=True, mtu=247, with_response=False, random_ids=False,
           answer_s=5.0, first=_ESP32_FIRST),
    Habits(BOTTS, BGX, pairs=True, mtu=247, with_response=False, random_ids=False,
           stream=Stream.IF_NOT, answer_s=5.0, first=_ESP32_FIRST),
    Habits(BOTTS, ZENTRI, pairs=False, mtu=247, with_response=False, random_ids=False,
           stream=Stream.ALWAYS, chunk=20, answer_s=5.0, first=_ESP32_FIRST),
    # Home Assistant integrations on bleak, and their forks.
    Habits("jagheterfredrik/wallbox-ble", BGX, pairs=True),
    Habits("kylepet/wallbox-ble", BGX, pairs=True, with_response=False, answer_s=5.0),
    Habits("daniel-meyer-pl/wallbox-ble", ZENTRI, pairs=False, chunk=20, stream=Stream.ALWAYS),
    Habits("feliciaan/wallbox-ble", ZENTRI, pairs=False, chunk=20, stream=Stream.ALWAYS),
    Habits("feliciaan/wallbox-ble", BGX, pairs=True, chunk=20),
    Habits("feliciaan/wallbox-ble", UBLOX, pairs=True, chunk=20),
    Habits("pgenera/wallbox-ble", UBLOX, pairs=True, with_response=False),
    Habits("pgenera/wallbox-ble", BGX, pairs=True),
    # A tool for one's own charger; on u-blox it does not pair, see below.
    Habits(PWN, BGX, pairs=True, chunk=256),
    Habits(PWN, ZENTRI, pairs=False, mtu=None, chunk=20, with_response=False),
    Habits("a protocol description", UBLOX, pairs=True, spaces=True),
    Habits("a script", BGX, pairs=True, leaves_par_out=True),
)  # fmt: skip


def frame(body: bytes) -> bytes:
    """A request on the air; up to 255 bytes the length is one byte, as all clients have it."""
    short = len(body) < 256
    length = bytes([len(body)]) if short else b"\0" + str(len(body)).encode() + b"\0"
    whole = b"EaE" + length + body
    return whole + bytes([sum(whole) % 256])


@dataclass
class Client:
    """One connection of a client."""

    habits: Habits
    peer: Peer
    heard: "asyncio.Queue[bytes]" = field(default_factory=asyncio.Queue)
    ids: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    async def begin(self) -> None:
        habits, stock = self.habits, self.habits.layout.stock
        if habits.mtu is not None:
            await self.peer.request_mtu(habits.mtu)
        if habits.pairs:
            await self.peer.connection.pair()
        await found(self.peer, stock.notify.uuid).subscribe(self.heard.put_nowait)
        if habits.stream is not Stream.NEVER:
            assert stock.mode is not None
            mode = found(self.peer, stock.mode.uuid)
            if habits.stream is Stream.ALWAYS or await mode.read_value() != b"\x01":
                await mode.write_value(b"\x01", with_response=True)
        for method in habits.first:
            await self.ask(method)

    async def send(self, method: str, par: object) -> int:
        number = random.randint(1, 999) if self.habits.random_ids else next(self.ids)  # noqa: S311 - as they do it
        request = {"met": method, "par": par, "id": number}
        if par is None and self.habits.leaves_par_out:
            del request["par"]
        separators = (", ", ": ") if self.habits.spaces else (",", ":")
        await self.write(frame(json.dumps(request, separators=separators).encode()))
        return number

    async def write(self, whole: bytes) -> None:
        habits = self.habits
        size = min(habits.chunk or 512, self.peer.connection.att_mtu - 3)
        write = found(self.peer, habits.layout.stock.write.uuid)
        async with asyncio.timeout(habits.answer_s * SLOW_MACHINE):
            for at in range(0, len(whole), size):
                await write.write_value(whole[at : at + size], with_response=habits.with_response)

    async def reply(self) -> dict[str, Any]:
        """Take notifications until they are JSON."""
        raw = b""
        async with asyncio.timeout(self.habits.answer_s * SLOW_MACHINE):
            while True:
                raw += await self.heard.get()
                try:
                    whole = json.loads(raw)
                except ValueError:
                    continue
                assert isinstance(whole, dict)
                return whole

    async def ask(self, method: str, par: object = None) -> dict[str, Any]:
        number = await self.send(method, par)
        reply = await self.reply()
        assert reply["id"] == number
        return reply

    async def value(self, method: str, par: object = None) -> Any:
        return (await self.ask(method, par))["r"]


class Bluetooth:
    """A phone as systems have it: it scans, connects by name, and pairs if it is to."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.adverts: asyncio.Queue[Advertisement] = asyncio.Queue()
        device.pairing_config_factory = lambda _: pairing.PairingConfig(
            identity_address_type=pairing.PairingConfig.AddressType.RANDOM
        )
        device.on("advertisement", self.adverts.put_nowait)

    async def found(self) -> hci.Address:
        """Scan until the charger is heard."""
        await self._device.start_scanning(filter_duplicates=False)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                advert = await self.adverts.get()
                if advert.is_connectable and advert.data.get(_NAME) == NAME:
                    await self._device.stop_scanning()
                    return advert.address

    async def connected(self) -> Peer:
        address = await self.found()
        async with asyncio.timeout(PATIENCE_S):
            return await explored(await self._device.connect(address))


@asynccontextmanager
async def bluetooth(ends: Ends) -> AsyncIterator[Bluetooth]:
    radio = ends.room.address.replace("tcp:", "tcp-client:", 1)
    async with await open_transport(radio) as transport:
        config = DeviceConfiguration(
            name="client", address=hci.Address.generate_static_address(), irk=bytes(16)
        )
        device = Device(config=config, host=LosableHost(transport.source, transport.sink))
        await device.power_on()
        yield Bluetooth(device)


@pytest.fixture
async def ends(tmp_path: Path) -> AsyncIterator[Ends]:
    async with both_ends(tmp_path) as made:
        yield made


async def switched_on(ends: Ends, layout: Layout) -> None:
    """A charger with such a module; a Zentri is only had by hand."""
    model = "pulsar-max" if layout is UBLOX else "pulsar-plus"
    await ends.switch_on(model=model, radio_module=layout.value)


@pytest.mark.parametrize("habits", CLIENTS, ids=str)
async def test_a_client_gets_what_it_came_for(ends: Ends, habits: Habits) -> None:
    await switched_on(ends, habits.layout)
    async with bluetooth(ends) as phone:
        client = Client(habits, await phone.connected())
        await client.begin()
        status = await client.value("r_dat")
        assert status["st"] == 0
        assert await client.value("suser", status["usid"]) == 0
        assert await client.value("w_lck", 1) is None
        assert await client.value("r_lck") == 1
        assert (await client.value("r_dat"))["st"] == 6
        assert await client.value("w_mxI", 10) is None
        assert (await client.value("r_dat"))["cur"] == 10
        assert (await client.ask("r_gcd"))["error"]["code"] == 1
        versions = await client.ask("fw_v_")
        assert versions["s"] == "6.7.17"


async def test_a_pulsar_pro_is_like_a_max(ends: Ends) -> None:
    await ends.switch_on(model="pulsar-pro")
    async with bluetooth(ends) as phone:
        client = Client(Habits(BOTTS, UBLOX, pairs=True), await phone.connected())
        await client.begin()
        assert (await client.ask("fw_v_"))["p"] == "prj20-pulsar-max-pro"


async def test_a_client_that_does_not_pair_is_told_so_by_u_blox(ends: Ends) -> None:
    """The tool of above, and the finding of the protocol description: ATT error 0x0f."""
    await switched_on(ends, UBLOX)
    async with bluetooth(ends) as phone:
        client = Client(Habits(PWN, UBLOX, pairs=False, chunk=20), await phone.connected())
        with pytest.raises(ATT_Error) as caught:
            await client.begin()
        assert caught.value.error_code == 0x0F


async def test_the_old_order_is_refused_by_zentri(ends: Ends) -> None:
    """Streaming before notifications: Write Not Permitted, in captures of the maker's app."""
    await switched_on(ends, ZENTRI)
    async with bluetooth(ends) as phone:
        peer = await phone.connected()
        assert ZENTRI.stock.mode is not None
        with pytest.raises(ATT_Error) as caught:
            await found(peer, ZENTRI.stock.mode.uuid).write_value(b"\x01", with_response=True)
        assert caught.value.error_code == 0x03


LONG = {"schedules": [
    {"sid": sid, "start": 2200, "stop": 600, "days": [1] * 7, "mcr": 16, "type": 0, "enabled": 1,
     "target": {"type": 0, "value": 0}, "repeat": 1}
    for sid in range(12)
]}  # fmt: skip


@pytest.mark.parametrize("chunk", [20, None])
async def test_requests_of_more_than_255_bytes(ends: Ends, chunk: int | None) -> None:
    """The longer form of the length, which two of the clients have, in pieces and in large ones."""
    await switched_on(ends, UBLOX)
    async with bluetooth(ends) as phone:
        habits = Habits("pgenera/wallbox-ble", UBLOX, True, chunk=chunk, with_response=False)
        client = Client(habits, await phone.connected())
        await client.begin()
        assert len(json.dumps(LONG)) > 1500
        assert await client.value("s_sch", LONG) == 0
        assert [each["sid"] for each in await client.value("r_schs")] == list(range(12))


async def test_two_replies_back_to_back_and_a_frame_cut_in_two(ends: Ends) -> None:
    """One client's parser is made for the first; a slow one does the second.

    Those that wait for one whole JSON would wait for ever: all have one request at a time.
    """
    await switched_on(ends, BGX)
    async with bluetooth(ends) as phone:
        client = Client(Habits("pgenera/wallbox-ble", BGX, pairs=True), await phone.connected())
        await client.begin()
        one, two = (
            frame(json.dumps({"met": "r_lck", "par": None, "id": number}).encode())
            for number in (1, 2)
        )
        await client.write(one + two)
        both = b'{"id":1,"r":0}{"id":2,"r":0}'
        pieces: list[bytes] = []
        async with asyncio.timeout(PATIENCE_S):
            while len(b"".join(pieces)) < len(both):
                pieces.append(await client.heard.get())
        assert b"".join(pieces) == both
        assert b"}{" in pieces[0]
        await client.write(one[:30])
        await client.write(one[30:] + two[:10])
        assert (await client.reply())["id"] == 1
        await client.write(two[10:])
        assert (await client.reply())["id"] == 2


async def test_noise_is_answered_with_silence_and_does_no_harm(ends: Ends) -> None:
    await switched_on(ends, BGX)
    async with bluetooth(ends) as phone:
        client = Client(Habits("a script", BGX, pairs=True), await phone.connected())
        await client.begin()
        for noise in (b"hello\r\n", b"EaE\x05{}\x00", frame(b"[]"), frame(b'{"met":1}'), b"EaE\0"):
            await client.write(noise)
        assert await client.value("r_lck") == 0
        assert client.heard.empty()


async def test_many_requests_without_waiting_are_answered_in_their_order(ends: Ends) -> None:
    """Some send the next one once they have given up; then ids come again, too."""
    await switched_on(ends, UBLOX)
    async with bluetooth(ends) as phone:
        habits = Habits(BOTTS, UBLOX, pairs=True, with_response=False)
        client = Client(habits, await phone.connected())
        await client.begin()
        ids = [1, 2, 2, 1, 0, -1, 2**31]
        for number in ids:
            await client.write(frame(b'{"met":"ping","par":null,"id":%d}' % number))
        both = b"".join(b'{"id":%d,"r":0}' % number for number in ids)
        heard = b""
        async with asyncio.timeout(PATIENCE_S):
            while len(heard) < len(both):
                heard += await client.heard.get()
        assert heard == both


async def test_half_a_request_goes_with_its_connection(ends: Ends) -> None:
    await switched_on(ends, BGX)
    async with bluetooth(ends) as phone:
        client = Client(Habits("a script", BGX, pairs=True), await phone.connected())
        await client.begin()
        await client.write(frame(b'{"met":"w_lck","par":1,"id":1}')[:30])
        await client.peer.connection.disconnect()
        again = Client(Habits("a script", BGX, pairs=False), await phone.connected())
        await again.peer.connection.encrypt()
        await again.begin()
        assert await again.value("r_lck") == 0


async def test_a_restart_ends_the_link_and_the_client_comes_back(ends: Ends) -> None:
    await switched_on(ends, BGX)
    async with bluetooth(ends) as phone:
        client = Client(Habits(BOTTS, BGX, pairs=True), await phone.connected())
        await client.begin()
        await client.value("w_mxI", 13)
        over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        client.peer.connection.on("disconnection", over.set_result)
        assert await client.value("rebot") is None
        async with asyncio.timeout(PATIENCE_S):
            await over
        again = Client(Habits(BOTTS, BGX, pairs=False), await phone.connected())
        await again.peer.connection.encrypt()
        await again.begin()
        assert (await again.value("r_dat"))["cur"] == 13


async def test_one_phone_at_a_time_hides_the_charger_from_the_second(ends: Ends) -> None:
    """As every client's readme warns: while one is connected the others do not even see it."""
    await switched_on(ends, ZENTRI)
    async with bluetooth(ends) as first, bluetooth(ends) as second:
        client = Client(Habits(BOTTS, ZENTRI, pairs=False, chunk=20), await first.connected())
        await client.begin()
        seen = asyncio.create_task(second.found())
        for _ in range(5):
            await client.value("r_lck")
        assert not seen.done()
        assert second.adverts.empty()
        await client.peer.connection.disconnect()
        async with asyncio.timeout(PATIENCE_S):
            await seen
