"""A client as strangers write them: bleak, the stock service, nothing of this project.

It has the habits of the published ones: the layout by the service that is there, pairing with
bleak's own words while an agent is registered, one frame with a length of one byte, written whole
and with response, ids drawn from 1 to 999, two seconds for each step, and a reply that is whole
once it can be parsed.
"""

import asyncio
import json
import random
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.exc import BleakError
from dbus_fast import BusType, Message
from dbus_fast.aio import MessageBus
from dbus_fast.service import ServiceInterface, dbus_method

# service: what to write to, what notifies, what switches to streaming
LAYOUTS = {
    "331a36f5-2459-45ea-9d95-6142f0c4b307": (
        "a9da6040-0823-4995-94ec-9ce41ca28833",
        "a73e9a10-628f-4494-a099-12efaf72258f",
        "75a9f022-af03-4e41-b4bc-9de90a47d50b",
    ),
    "2456e1b9-26e2-8f83-e744-f34f01e9d701": (
        "2456e1b9-26e2-8f83-e744-f34f01e9d703",
        "2456e1b9-26e2-8f83-e744-f34f01e9d703",
        None,
    ),
}
STREAM = b"\x01"
WITHIN_S = 2.0


class Client:
    """One connection."""

    def __init__(self, client: BleakClient) -> None:
        self._client = client
        uuid = next(each.uuid for each in client.services if each.uuid in LAYOUTS)
        self.write_to, self.notify_from, self.mode = LAYOUTS[uuid]
        self._heard = b""
        self._reply: asyncio.Future[dict[str, Any]] | None = None

    async def begin(self) -> None:
        await self._client.start_notify(self.notify_from, self._notified)
        if self.mode is not None:
            await self._client.write_gatt_char(self.mode, STREAM, response=True)

    async def ask(self, method: str, par: object = None) -> Any:
        """Send a request in one piece; gives the reply's value."""
        return (await self.reply(method, par))["r"]

    async def reply(self, method: str, par: object = None) -> dict[str, Any]:
        number = random.randint(1, 999)  # noqa: S311 - as they do it
        told = json.dumps({"met": method, "par": par, "id": number}, separators=(",", ":"))
        frame = b"EaE" + bytes([len(told)]) + told.encode()
        frame += bytes([sum(frame) % 256])
        self._heard, self._reply = b"", asyncio.get_running_loop().create_future()
        writing = self._client.write_gatt_char(self.write_to, frame, response=True)
        await asyncio.wait_for(writing, WITHIN_S)
        reply: dict[str, Any] = await asyncio.wait_for(self._reply, WITHIN_S)
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


class Agent(ServiceInterface):
    """What BlueZ wants of a program that pairs, though nothing of it is called for Just Works."""

    def __init__(self) -> None:
        super().__init__("org.bluez.Agent1")

    @classmethod
    async def register(cls) -> None:
        bus = await MessageBus(bus_type=BusType.SYSTEM).connect()
        bus.export("/public/agent", cls())
        await bus.call(
            Message(
                "org.bluez",
                "/org/bluez",
                "org.bluez.AgentManager1",
                "RegisterAgent",
                signature="os",
                body=["/public/agent", "NoInputNoOutput"],
            )
        )

    @dbus_method(name="Release")
    def release(self) -> None:
        """Nothing is held."""


async def lonely(client: BleakClient) -> dict[str, Any]:
    """Pair as the oldest clients do, without an agent."""
    try:
        await client.pair()
    except BleakError as error:
        return {"error": str(error)}
    return {"error": None}


async def use(client: BleakClient) -> dict[str, Any]:
    """Pair, ask, change, read back."""
    await Agent.register()
    await client.pair()
    charger = Client(client)
    await charger.begin()
    told: dict[str, Any] = {"status": await charger.ask("r_dat")}
    told["versions"] = await charger.reply("fw_v_")
    told["serial"] = await charger.ask("r_sn_")
    await charger.ask("w_lck", 1)
    told["locked"] = await charger.ask("r_lck")
    await charger.ask("w_lck", 0)
    told["unlocked"] = await charger.ask("r_lck")
    await charger.ask("w_mxI", 10)
    told["limit"] = (await charger.ask("r_dat"))["cur"]
    return told


async def probe(client: BleakClient) -> dict[str, str]:
    """Touch everything of the stock service, unpaired; what each answers."""
    charger = Client(client)
    tries: dict[str, Callable[[], Awaitable[object]]] = {
        "read": lambda: client.read_gatt_char(charger.mode or charger.write_to),
        "write": lambda: client.write_gatt_char(charger.write_to, b"EaE", response=True),
        "subscribe": lambda: client.start_notify(charger.notify_from, lambda _, __: None),
    }
    told = {}
    for name, attempt in tries.items():
        try:
            await attempt()
            told[name] = "allowed"
        except BleakError as error:
            told[name] = str(getattr(error, "code", error))
    told["connected"] = str(client.is_connected)
    return told


async def main(name: str, what: str) -> None:
    device = await BleakScanner.find_device_by_name(name, timeout=20)
    assert device is not None, f"{name} is not there"
    async with BleakClient(device, timeout=20) as client:
        told = await {"use": use, "probe": probe, "lonely": lonely}[what](client)
    print(json.dumps(told))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
