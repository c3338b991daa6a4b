"""A client of BlueZ by D-Bus alone, as its documentation says it: finds, pairs, connects, forgets.

Prints what became of it.
"""

import asyncio
import contextlib
import json
import sys
from typing import Any, Self

from dbus_fast import BusType, DBusError, Message, MessageType, Variant
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusObjectPath, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

ADAPTER, DEVICE = "/org/bluez/hci0", "org.bluez.Device1"
DBUS = "org.freedesktop.DBus"
AGENT = "/plain/agent"
FOUND_WITHIN_S = 30.0
DROPPED_WITHIN_S = 20.0
LINUX_TRIES_AGAIN_WITHIN_S = 1.0


class Agent(ServiceInterface):
    """Types a code, or has none."""

    def __init__(self, code: str | None) -> None:
        super().__init__("org.bluez.Agent1")
        self._code = code
        self.asked = 0

    @dbus_method(name="RequestPasskey")
    def passkey(self, _device: DBusObjectPath) -> DBusUInt32:
        self.asked += 1
        if self._code is None:
            raise DBusError("org.bluez.Error.Rejected", "nobody knows")
        return int(self._code)

    @dbus_method(name="RequestAuthorization")
    def authorization(self, _device: DBusObjectPath) -> None:
        """Agree."""

    @dbus_method(name="Cancel")
    def cancel(self) -> None:
        """Nothing is shown."""

    @dbus_method(name="Release")
    def release(self) -> None:
        """Nothing is held."""


class Bus:
    """The system's bus."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._news = asyncio.Event()
        bus.add_message_handler(self._heard)

    @classmethod
    async def open(cls) -> Self:
        bus = cls(await MessageBus(bus_type=BusType.SYSTEM).connect())
        rule = ("s", "type='signal',sender='org.bluez'")
        await bus.call("/org/freedesktop/DBus", DBUS, "AddMatch", *rule, to=DBUS)
        return bus

    def _heard(self, message: Message) -> None:
        if message.message_type is MessageType.SIGNAL:
            self._news.set()

    async def call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *body: Any,
        to: str = "org.bluez",
    ) -> Any:
        """Call BlueZ; gives the reply's first value. Raises DBusError."""
        message = Message(to, path, interface, member, signature=signature, body=[*body])
        reply = await self._bus.call(message)
        if reply.message_type is MessageType.ERROR:
            raise DBusError(str(reply.error_name), str(reply.body))
        return reply.body[0] if reply.body else None

    async def register(self, agent: Agent, capability: str, *, default: bool = False) -> None:
        """Be the agent for what this connection pairs; with default, for everybody's."""
        self._bus.export(AGENT, agent)
        manager = ("/org/bluez", "org.bluez.AgentManager1")
        await self.call(*manager, "RegisterAgent", "os", AGENT, capability)
        if default:
            await self.call(*manager, "RequestDefaultAgent", "o", AGENT)

    async def seek(self, name: str) -> str:
        """Scan until a device of this name is there; gives its path."""
        adapter = (ADAPTER, "org.bluez.Adapter1")
        await self.call(*adapter, "SetDiscoveryFilter", "a{sv}", {"Transport": Variant("s", "le")})
        await self.call(*adapter, "StartDiscovery")
        try:
            async with asyncio.timeout(FOUND_WITHIN_S):
                while (path := await self._known(name)) is None:
                    await self._news.wait()
                    self._news.clear()
        finally:
            await self.call(*adapter, "StopDiscovery")
        return path

    async def _known(self, name: str) -> str | None:
        manager = ("/", f"{DBUS}.ObjectManager", "GetManagedObjects")
        objects: dict[str, dict[str, dict[str, Variant]]] = await self.call(*manager)
        for path, interfaces in objects.items():
            about = interfaces.get(DEVICE, {})
            if "Name" in about and about["Name"].value == name:
                return path
        return None

    async def get(self, path: str, what: str) -> Any:
        got: Variant = await self.call(path, f"{DBUS}.Properties", "Get", "ss", DEVICE, what)
        return got.value

    async def dropped(self, path: str) -> None:
        """Wait until a device is not connected. Raises TimeoutError if it stays."""
        async with asyncio.timeout(DROPPED_WITHIN_S):
            while await self.get(path, "Connected"):
                await self._news.wait()
                self._news.clear()

    async def trust(self, path: str) -> None:
        properties = (path, f"{DBUS}.Properties", "Set", "ssv")
        await self.call(*properties, DEVICE, "Trusted", Variant("b", True))

    async def forget(self, path: str) -> None:
        await self.call(ADAPTER, "org.bluez.Adapter1", "RemoveDevice", "o", path)


async def pair(bus: Bus, name: str, capability: str = "", code: str | None = None) -> Any:
    """Pair; without a capability, without an agent."""
    agent = Agent(code)
    if capability:
        await bus.register(agent, capability)
    path = await bus.seek(name)
    error = None
    try:
        await bus.call(path, DEVICE, "Pair")
    except DBusError as refused:
        error = refused.type
    told = {"error": error, "asked": agent.asked, "paired": await bus.get(path, "Paired")}
    if error:  # BlueZ would go on from what it half learned
        await bus.forget(path)
    return told


async def connect(bus: Bus, name: str) -> Any:
    """Connect to whom it is paired with; whether that lasts."""
    path = await bus.seek(name)
    error = None
    try:
        await bus.call(path, DEVICE, "Connect")
    except DBusError as refused:
        error = refused.type
    with contextlib.suppress(TimeoutError):
        await bus.dropped(path)
        await asyncio.sleep(LINUX_TRIES_AGAIN_WITHIN_S)
        await bus.dropped(path)
    told = {"error": error, "paired": await bus.get(path, "Paired")}
    told["connected"] = await bus.get(path, "Connected")
    return told


async def forget(bus: Bus, name: str) -> Any:
    """Forget it and its bond."""
    await bus.forget(await bus.seek(name))
    return {}


async def main(what: str, *arguments: str) -> None:
    bus = await Bus.open()
    does: Any = {"pair": pair, "connect": connect, "forget": forget}[what]
    print(json.dumps(await does(bus, *arguments)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
