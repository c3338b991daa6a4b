"""Clients as strangers write them: bleak, the stock service, nothing of this project.

Each has the habits of a published Home Assistant integration, and what they share: ids drawn from
1 to 999, a length of one byte, and a reply that is whole once it can be parsed.
"""

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Any

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError
from dbus_fast import DBusError

from bluez.guest.plain_dbus import DEVICE, Agent, Bus

BGX = "331a36f5-2459-45ea-9d95-6142f0c4b307"
UBLOX = "2456e1b9-26e2-8f83-e744-f34f01e9d701"
ZENTRI = "175f8f23-a570-49bd-9627-815a6a27de2a"
# service: what to write to, what notifies, what switches to streaming
LAYOUTS = {
    BGX: (
        "a9da6040-0823-4995-94ec-9ce41ca28833",
        "a73e9a10-628f-4494-a099-12efaf72258f",
        "75a9f022-af03-4e41-b4bc-9de90a47d50b",
    ),
    UBLOX: (
        "2456e1b9-26e2-8f83-e744-f34f01e9d703",
        "2456e1b9-26e2-8f83-e744-f34f01e9d703",
        None,
    ),
    ZENTRI: (
        "1cce1ea8-bd34-4813-a00a-c76e028fadcb",
        "cacc07ff-ffff-4c48-8fae-a9ef71b75e26",
        "20b9794f-da1a-4d14-8014-a0fb9cefb2f7",
    ),
}
STREAM = b"\x01"
FOUND_WITHIN_S = 60.0
SLOWER = 10.0  # than any computer is this guest, whose processor is emulated, and may be busy


class Pairs(Enum):
    """When and how a client pairs."""

    BY_BLEAK = "bleak's pair() on the connection; whatever agent there is"
    BY_DEFAULT_AGENT = "the same, with an agent with keyboard and display registered for everybody"
    BEFOREHAND = "its own D-Bus connection, its own agent with a keyboard, before it connects"


@dataclass(frozen=True)
class Habits:
    """One client's. pairs: never on Zentri.

    chunk: None to write a frame whole. stream: the services on which it switches to streaming.
    within_s: for each write and each reply. names_user: sends suser first.
    """

    pairs: Pairs
    layouts: tuple[str, ...]
    response: bool
    chunk: int | None
    stream: tuple[str, ...]
    within_s: float
    names_user: bool


HABITS = MappingProxyType(
    {
        # github.com/jagheterfredrik/wallbox-ble, api.py: one service, one write with response
        "jagheterfredrik": Habits(Pairs.BY_BLEAK, (BGX,), True, None, (), 2.0, False),
        # github.com/kylepet/wallbox-ble: an agent that is not on the connection that pairs; one
        # write without response, because with it requests through proxies timed out
        "kylepet": Habits(Pairs.BY_DEFAULT_AGENT, (BGX, UBLOX), False, None, (), 5.0, False),
        # github.com/daniel-meyer-pl/wallbox-ble: notifications before streaming, as the maker's
        # app does; chunks of 20 bytes with response; suser with the usid of r_dat
        "daniel-meyer-pl": Habits(
            Pairs.BY_BLEAK, (BGX, UBLOX, ZENTRI), True, 20, (BGX, ZENTRI), 2.0, True
        ),
        # github.com/feliciaan/wallbox-ble, pairing.py and api.py: pairs first and by itself,
        # trusts, removes what did not pair; never touches the mode of a BGX module
        "feliciaan": Habits(Pairs.BEFOREHAND, (BGX, UBLOX, ZENTRI), True, 20, (ZENTRI,), 2.0, True),
    }
)


class Client:
    """One connection."""

    def __init__(self, client: BleakClient, habits: Habits) -> None:
        self._client = client
        self._habits = habits
        self.service = next(each.uuid for each in client.services if each.uuid in habits.layouts)
        self.write_to, self.notify_from, self.mode = LAYOUTS[self.service]
        self._heard = b""
        self._reply: asyncio.Future[dict[str, Any]] | None = None

    async def begin(self) -> None:
        await self._client.start_notify(self.notify_from, self._notified)
        if self.mode is not None and self.service in self._habits.stream:
            await self._client.write_gatt_char(self.mode, STREAM, response=True)

    async def ask(self, method: str, par: object = None) -> Any:
        """Send a request; gives the reply's value."""
        return (await self.reply(method, par))["r"]

    async def reply(self, method: str, par: object = None) -> dict[str, Any]:
        number = random.randint(1, 999)  # noqa: S311 - as they do it
        told = json.dumps({"met": method, "par": par, "id": number}, separators=(",", ":"))
        frame = b"EaE" + bytes([len(told)]) + told.encode()
        frame += bytes([sum(frame) % 256])
        self._heard, self._reply = b"", asyncio.get_running_loop().create_future()
        size = self._habits.chunk or len(frame)
        for start in range(0, len(frame), size):
            writing = self._client.write_gatt_char(
                self.write_to, frame[start : start + size], response=self._habits.response
            )
            await asyncio.wait_for(writing, self._habits.within_s * SLOWER)
        within_s = self._habits.within_s * SLOWER
        reply: dict[str, Any] = await asyncio.wait_for(self._reply, within_s)
        assert reply["id"] == number, reply
        return reply

    def _notified(self, _: BleakGATTCharacteristic, data: bytearray) -> None:
        self._heard += data
        try:
            reply = json.loads(self._heard)
        except ValueError:
            return
        if self._reply is not None and not self._reply.done():
            self._reply.set_result(reply)


async def use(client: BleakClient, habits: Habits) -> dict[str, Any]:
    """Ask, change, read back."""
    charger = Client(client, habits)
    await charger.begin()
    told: dict[str, Any] = {"status": await charger.ask("r_dat")}
    if habits.names_user:
        await charger.reply("suser", told["status"]["usid"])
    told["versions"] = await charger.reply("fw_v_")
    told["serial"] = await charger.ask("r_sn_")
    await charger.ask("w_lck", 1)
    told["locked"] = await charger.ask("r_lck")
    await charger.ask("w_lck", 0)
    told["unlocked"] = await charger.ask("r_lck")
    await charger.ask("w_mxI", 10)
    told["limit"] = (await charger.ask("r_dat"))["cur"]
    return told


async def work(name: str, whose: str, code: str | None = None) -> dict[str, Any]:
    """Connect, pair and use, as one of them does. code: for whoever has a field for it."""
    habits = HABITS[whose]
    bus, agent = await Bus.open(), Agent(code)
    device, services = await _heard(name)
    never = ZENTRI in services
    if habits.pairs is Pairs.BEFOREHAND and not never:
        await _pair_beforehand(bus, agent, name)
    if habits.pairs is Pairs.BY_DEFAULT_AGENT:
        await bus.register(agent, "KeyboardDisplay", default=True)
    elif habits.pairs is Pairs.BY_BLEAK and code is None:
        await bus.register(agent, "NoInputNoOutput", default=True)  # a desktop's own
    async with BleakClient(device, timeout=FOUND_WITHIN_S) as client:
        if habits.pairs is not Pairs.BEFOREHAND and not never:
            await client.pair()
        told = await use(client, habits)
    return {**told, "asked": agent.asked}


async def _heard(name: str) -> tuple[BLEDevice, list[str]]:
    """A charger, and the services that it advertises."""
    async with asyncio.timeout(FOUND_WITHIN_S), BleakScanner() as scanner:
        async for device, advertised in scanner.advertisement_data():
            if device.name == name and LAYOUTS.keys() & set(advertised.service_uuids):
                return device, advertised.service_uuids
    raise AssertionError


async def _pair_beforehand(bus: Bus, agent: Agent, name: str) -> None:
    await bus.register(agent, "KeyboardOnly")
    path = await bus.seek(name)
    try:
        await bus.call(path, DEVICE, "Pair")
    except DBusError as error:
        if error.type == "org.bluez.Error.AlreadyExists":
            return
        with suppress(DBusError):
            await bus.forget(path)
        raise
    await bus.trust(path)


async def lonely(name: str) -> dict[str, Any]:
    """Pair as the oldest clients do where no agent is registered."""
    async with BleakClient((await _heard(name))[0], timeout=FOUND_WITHIN_S) as client:
        try:
            await client.pair()
        except BleakError as error:
            return {"error": str(error)}
    return {"error": None}


async def probe(name: str) -> dict[str, str]:
    """Touch everything of the stock service, unpaired; what each answers."""
    told = {}
    async with BleakClient((await _heard(name))[0], timeout=FOUND_WITHIN_S) as client:
        charger = Client(client, HABITS["feliciaan"])
        tries: dict[str, Callable[[], Awaitable[object]]] = {
            "read": lambda: client.read_gatt_char(charger.mode or charger.write_to),
            "write": lambda: client.write_gatt_char(charger.write_to, b"EaE", response=True),
            "subscribe": lambda: client.start_notify(charger.notify_from, lambda _, __: None),
        }
        for what, attempt in tries.items():
            try:
                await attempt()
                told[what] = "allowed"
            except BleakError as error:
                told[what] = str(getattr(error, "code", error))
        told["connected"] = str(client.is_connected)
    return told


async def main(what: str, *arguments: str) -> None:
    try:
        does: Any = {"work": work, "probe": probe, "lonely": lonely}[what]
        told = await does(*arguments)
    except (BleakError, DBusError, TimeoutError) as error:
        told = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
