"""What bleak leaves to its users on Linux: whether BlueZ is there, pairing, stale bonds.

BlueZ asks the agent of the D-Bus connection that calls Pair(), so agent and call share one here.
No other program's agent is replaced, and none of theirs is asked.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType
from typing import Any, Final, Self

from bleak.exc import BleakError
from dbus_fast import BusType, DBusError, Message, MessageType, unpack_variants
from dbus_fast.aio import MessageBus
from dbus_fast.errors import AuthError, DBusFastError

from chargepin.app.errors import LinkLost, NoRadio
from chargepin.app.link_bleak.agent import Agent, AskCode
from chargepin.app.link_bleak.systems import Dropped

_BLUEZ: Final = "org.bluez"
_ADAPTER: Final = "org.bluez.Adapter1"
_AGENTS: Final = "org.bluez.AgentManager1"
_DEVICE: Final = "org.bluez.Device1"
_DBUS: Final = "org.freedesktop.DBus"
_TO_DBUS: Final = ("/org/freedesktop/DBus", _DBUS)
_CANNOT_START: Final = "org.freedesktop.DBus.Error.Spawn."
_NO_REPLY: Final = "org.freedesktop.DBus.Error.NoReply"
_UNKNOWN_OBJECT: Final = tuple(
    f"{_DBUS}.Error.Unknown{what}" for what in ("Object", "Method", "Interface")
)
_AGENT_PATH: Final = "/chargepin/agent"
_ANSWERS_WITHIN_S: Final = 10.0
_CONNECTS_WITHIN_S: Final = 60.0  # BlueZ gives up after 40 s
_PAIRS_WITHIN_S: Final = 60.0  # BlueZ gives up after 30 s without progress
_SETTLES_IN_S: Final = 1.0


class Pairing(Enum):
    """How an attempt to pair ended."""

    DONE = "done"
    REFUSED = "refused"
    CODE_REFUSED = "code refused"
    LOST = "lost"
    BUSY = "busy"


_OUTCOMES: Final = MappingProxyType(
    {
        "org.bluez.Error.AlreadyExists": Pairing.DONE,
        "org.bluez.Error.AuthenticationFailed": Pairing.REFUSED,
        "org.bluez.Error.AuthenticationRejected": Pairing.REFUSED,
        "org.bluez.Error.AuthenticationCanceled": Pairing.REFUSED,
        "org.bluez.Error.InProgress": Pairing.BUSY,
    }
)
_DROPPED: Final = ("le-connection-abort-by-local", "Software caused connection abort")
_NOT_RUNNING: Final = (
    "BlueZ, which is Linux's Bluetooth, is not running. Install it (bluez) and start it:"
    " `systemctl start bluetooth`."
)
_MISSING: Final = MappingProxyType(
    {
        f"{_DBUS}.Error.ServiceUnknown": _NOT_RUNNING,
        f"{_DBUS}.Error.NameHasNoOwner": _NOT_RUNNING,
        f"{_DBUS}.Error.TimedOut": _NOT_RUNNING,  # D-Bus tried to start it
        f"{_DBUS}.Error.AccessDenied": (
            "BlueZ does not let this user in. Add the user to the group bluetooth, and log in anew."
        ),
    }
)


class BlueZ:
    """A connection to bluetoothd beside bleak's own. lost is done once either is gone."""

    def __init__(self, bus: MessageBus) -> None:
        self._bus = bus
        self._pairing = asyncio.Lock()
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._watching = asyncio.create_task(self._until_gone())
        bus.add_message_handler(self._heard)

    @classmethod
    async def open(cls) -> Self:
        """Connect. Raises NoRadio with a sentence about what is missing."""
        bus = MessageBus(bus_type=BusType.SYSTEM, auth_timeout=_ANSWERS_WITHIN_S)
        try:
            await bus.connect()
        except AuthError as error:
            raise NoRadio(f"The system's D-Bus does not let this user in ({error}).") from error
        except (OSError, EOFError, DBusFastError) as error:
            raise NoRadio(
                "The system's D-Bus does not answer, and through it BlueZ, which is Linux's"
                " Bluetooth. On a computer with Bluetooth, install and start both: dbus, bluez."
            ) from error
        bluez = cls(bus)
        try:
            await bluez._watch_name()
        except DBusError as error:
            await bluez.close()
            raise NoRadio(f"The system's D-Bus does not work as it should ({error}).") from error
        return bluez

    async def adapter(self) -> str:
        """Choose an adapter, as "hci0". Raises NoRadio if none is there and switched on."""
        try:
            objects = await self._objects()
        except DBusError as error:
            unknown = f"BlueZ, which is Linux's Bluetooth, does not work ({error})."
            if error.type.startswith(_CANNOT_START):
                unknown = _NOT_RUNNING
            raise NoRadio(_MISSING.get(error.type, unknown)) from error
        adapters = {
            path.rpartition("/")[2]: interfaces[_ADAPTER]
            for path, interfaces in sorted(objects.items())
            if _ADAPTER in interfaces
        }
        if not adapters:
            raise NoRadio("This computer has no Bluetooth adapter that BlueZ could use.")
        central = [name for name, known in adapters.items() if "central" in known.get("Roles", ())]
        if not central:
            raise NoRadio("This computer's Bluetooth adapter does not know Bluetooth Low Energy.")
        for name in central:
            if adapters[name].get("Powered"):
                return name
        raise NoRadio(
            "Bluetooth is switched off on this computer. Switch it on in its settings, or with"
            " `bluetoothctl power on`; if that is blocked, with `rfkill unblock bluetooth`."
        )

    async def device(self, path: str) -> Mapping[str, Any]:
        """Give what BlueZ knows of a device: nothing if it does not know it."""
        try:
            body = await self._call(path, f"{_DBUS}.Properties", "GetAll", "s", _DEVICE)
        except DBusError as error:
            if error.type in _UNKNOWN_OBJECT:
                return {}
            raise LinkLost(f"BlueZ does not answer any more ({error}).") from error
        known: Mapping[str, Any] = unpack_variants(body[0])
        return known

    async def connect(self, path: str) -> None:
        """Connect to a device, and wait for its services.

        Raises Dropped or another BleakError, and leaves nothing behind.

        Where the other end has forgotten the Bluetooth bond, Linux drops the connection, often
        after it has said that it is made, and at once makes another by itself. Whoever connects,
        hangs up or scans in that moment leaves it a connection that it does not know of and never
        ends: nobody reaches the device any more. The same becomes of a connection that is given up
        before Linux has begun to make it.
        """
        connecting = asyncio.ensure_future(
            self._call(path, _DEVICE, "Connect", within_s=_CONNECTS_WITHIN_S)
        )
        try:
            await asyncio.shield(connecting)
            there = await self._resolved(path)
        except DBusError as error:
            if not any(each in str(error) for each in _DROPPED):
                await self.disconnect(path)
                raise BleakError(f"{error.type}: {error}") from error
            await self._settle(path)
            raise Dropped(str(error)) from error
        except asyncio.CancelledError:
            await asyncio.shield(self._give_up(path, connecting))
            raise
        if not there:
            await self._settle(path)
            raise Dropped("the connection was dropped as soon as it was made")

    async def _settle(self, path: str) -> None:
        await asyncio.sleep(_SETTLES_IN_S)
        await self.disconnect(path)

    async def _resolved(self, path: str) -> bool:
        """Wait for a connected device's services; False if the connection goes before."""
        changed = asyncio.Event()

        def heard(message: Message) -> None:
            if message.path == path and message.member == "PropertiesChanged":
                changed.set()

        rule = f"type='signal',sender='{_BLUEZ}',path='{path}',member='PropertiesChanged'"
        self._bus.add_message_handler(heard)
        try:
            await self._call(*_TO_DBUS, "AddMatch", "s", rule, destination=_DBUS)
            while (known := await self.device(path)).get("Connected"):
                if known.get("ServicesResolved"):
                    return True
                await changed.wait()
                changed.clear()
            return False
        finally:
            self._bus.remove_message_handler(heard)
            await asyncio.shield(self._try(*_TO_DBUS, "RemoveMatch", "s", rule, destination=_DBUS))

    async def _give_up(self, path: str, connecting: asyncio.Future[Any]) -> None:
        await asyncio.wait([connecting], timeout=_SETTLES_IN_S)
        await self.disconnect(path)
        await asyncio.wait([connecting], timeout=_SETTLES_IN_S)
        if not connecting.cancel() and not connecting.cancelled():
            connecting.exception()  # looked at: that it was given up is all there is to say

    async def pair(self, path: str, ask: AskCode | None) -> Pairing:
        """Pair with a device. ask: for a number that it wants typed. Raises what ask does."""
        async with self._pairing:
            agent = Agent(path, ask)
            self._bus.export(_AGENT_PATH, agent)
            try:
                register = ("os", _AGENT_PATH, agent.capability)
                await self._call("/org/bluez", _AGENTS, "RegisterAgent", *register)
                await self._call(path, _DEVICE, "Pair", within_s=_PAIRS_WITHIN_S)
            except DBusError as error:
                if agent.declined is not None:
                    raise agent.declined from None
                outcome = _OUTCOMES.get(error.type, Pairing.LOST)
                refused = outcome is Pairing.REFUSED and agent.asked
                return Pairing.CODE_REFUSED if refused else outcome
            except asyncio.CancelledError:
                await asyncio.shield(self._try(path, _DEVICE, "CancelPairing"))
                raise
            finally:
                agent.end()
                self._bus.unexport(_AGENT_PATH, agent)
                await asyncio.shield(
                    self._try("/org/bluez", _AGENTS, "UnregisterAgent", "o", _AGENT_PATH)
                )
        return Pairing.DONE

    async def disconnect(self, path: str) -> None:
        """Hang up on a device, whoever connected to it."""
        await self._try(path, _DEVICE, "Disconnect")

    async def forget(self, path: str) -> None:
        """Forget a device and its Bluetooth bond; a connection to it ends."""
        await self._try(path.rpartition("/")[0], _ADAPTER, "RemoveDevice", "o", path)

    async def close(self) -> None:
        """Give the connection back."""
        self._bus.disconnect()
        await asyncio.wait([self._watching], timeout=_ANSWERS_WITHIN_S)
        self._watching.cancel()
        self._end()

    async def _objects(self) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
        body = await self._call("/", f"{_DBUS}.ObjectManager", "GetManagedObjects")
        objects: Mapping[str, Mapping[str, Mapping[str, Any]]] = unpack_variants(body[0])
        return objects

    async def _watch_name(self) -> None:
        rule = f"type='signal',sender='{_DBUS}',member='NameOwnerChanged',arg0='{_BLUEZ}'"
        await self._call(*_TO_DBUS, "AddMatch", "s", rule, destination=_DBUS)

    def _heard(self, message: Message) -> None:
        if message.member == "NameOwnerChanged" and message.body[0] == _BLUEZ and message.body[1]:
            self._end()

    async def _until_gone(self) -> None:
        bus: Any = self._bus  # has no type for this
        with contextlib.suppress(Exception):  # why D-Bus ended does not matter
            await bus.wait_for_disconnect()
        self._end()

    def _end(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)

    async def _try(
        self, path: str, interface: str, member: str, *arguments: str, destination: str = _BLUEZ
    ) -> None:
        with contextlib.suppress(DBusError):
            await self._call(path, interface, member, *arguments, destination=destination)

    async def _call(
        self,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        *body: str,
        destination: str = _BLUEZ,
        within_s: float = _ANSWERS_WITHIN_S,
    ) -> list[Any]:
        """Call a method; gives the reply's body. Raises DBusError, also without a reply in time."""
        message = Message(destination, path, interface, member, signature=signature, body=[*body])
        try:
            async with asyncio.timeout(within_s):
                reply = await self._bus.call(message)
        except TimeoutError as error:
            raise DBusError(_NO_REPLY, f"no answer within {within_s:g} s") from error
        except (OSError, EOFError) as error:
            raise DBusError(_NO_REPLY, f"D-Bus is gone: {error}") from error
        if reply.message_type is MessageType.ERROR:
            raise DBusError(reply.error_name or _NO_REPLY, str(reply.body[0] if reply.body else ""))
        return reply.body
