"""The pairing agent: what BlueZ may ask while one device is being paired."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from dbus_fast import DBusError
from dbus_fast.annotations import DBusObjectPath, DBusStr, DBusUInt16, DBusUInt32
from dbus_fast.service import ServiceInterface, dbus_method

from chargepin.app.errors import Cancelled

AskCode = Callable[[], Coroutine[Any, Any, int]]
"""Gives the number that a charger wants typed, 0 to 999,999; raises Cancelled."""


class Agent(ServiceInterface):
    """One device's agent, for one attempt.

    ask: a person, or whatever else knows the number; None if nobody does. asked: a number was
    given. declined: why none was.
    """

    def __init__(self, device: str, ask: AskCode | None) -> None:
        super().__init__("org.bluez.Agent1")
        self._device = device
        self._ask = ask
        self._asking: asyncio.Future[int] | None = None
        self.asked = False
        self.declined: Cancelled | None = None

    @property
    def capability(self) -> str:
        """What BlueZ tells the charger that this computer can do."""
        return "NoInputNoOutput" if self._ask is None else "KeyboardOnly"

    @dbus_method(name="RequestPasskey")
    async def passkey(self, device: DBusObjectPath) -> DBusUInt32:
        """Give the number that the charger shows, or that its owner was shown."""
        if self._ask is None or device != self._device:
            raise _rejected()
        self._asking = asyncio.ensure_future(self._ask())
        await asyncio.wait([self._asking])
        if self._asking.cancelled():
            raise _rejected()
        if isinstance(refusal := self._asking.exception(), Cancelled):
            self.declined = refusal
            raise DBusError("org.bluez.Error.Canceled", "nobody gave a code")
        self.asked = True
        return self._asking.result()

    def end(self) -> None:
        """Stop asking: no answer would be of use any more."""
        if self._asking is not None:
            self._asking.cancel()

    @dbus_method(name="RequestAuthorization")
    def authorization(self, device: DBusObjectPath) -> None:
        """Let the device pair without a number: it is the one that was chosen."""
        if device != self._device:
            raise _rejected()

    @dbus_method(name="RequestConfirmation")
    def confirmation(self, _device: DBusObjectPath, _passkey: DBusUInt32) -> None:
        """Refuse to compare numbers: nothing is shown to anybody here."""
        raise _rejected()

    @dbus_method(name="RequestPinCode")
    def pin_code(self, _device: DBusObjectPath) -> DBusStr:
        """Refuse: only classic Bluetooth asks this."""
        raise _rejected()

    @dbus_method(name="AuthorizeService")
    def authorize_service(self, _device: DBusObjectPath, _uuid: DBusStr) -> None:
        """Refuse: this app offers a charger nothing."""
        raise _rejected()

    @dbus_method(name="DisplayPasskey")
    def display_passkey(
        self, _device: DBusObjectPath, _passkey: DBusUInt32, _entered: DBusUInt16
    ) -> None:
        """Show nothing: chargers have no keyboard."""

    @dbus_method(name="DisplayPinCode")
    def display_pin_code(self, _device: DBusObjectPath, _code: DBusStr) -> None:
        """Show nothing, as above."""

    @dbus_method(name="Cancel")
    def cancel(self) -> None:
        """Stop asking: the attempt was given up."""
        self.end()

    @dbus_method(name="Release")
    def release(self) -> None:
        """Take note of nothing: the agent is dropped after each attempt."""


def _rejected() -> DBusError:
    return DBusError("org.bluez.Error.Rejected", "not by this app")
