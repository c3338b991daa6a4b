"""The other end for link_conformance: a stock Bumble peripheral that takes orders over the link.

Run by itself, it joins the radio that is its argument, and so do others that are no chargers.
"""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, Final

from bumble.att import ATT_CID, ATT_Error, Attribute, AttributeValueV2
from bumble.core import BaseBumbleError
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import (
    GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
    Characteristic,
    CharacteristicValue,
    Descriptor,
    Service,
)
from bumble.hci import Address, HCI_Error, OwnAddressType
from bumble.keys import MemoryKeyStore
from bumble.pairing import PairingConfig, PairingDelegate
from bumble.transport.common import TransportLostError

from app.link_conformance import (
    ADDRESS,
    ECHO,
    HINT,
    LONG,
    NAME,
    ONE_WAY,
    ORDER,
    REFUSING,
    SILENT,
    STATE,
    TOLD,
)
from chargepin.app.link_bumble.central import LosableHost
from chargepin.core import gatt
from chargepin.machine.controller import Controller, open_controller, quiet
from hci_host import Host

P = Characteristic.Properties
RW = Characteristic.READABLE | Characteristic.WRITEABLE
INTERVAL_MS = 50
MUTE_FOR_S: Final = 5.0
OTHERS: Final = (b"WB654321", b"eWB12345", b"WB", b"BGX-1A2B", b"WB1\x1b[2J", b"")


class Pairings(PairingDelegate):
    """What the charger says to pairing. code: one that it shows, None for Just Works."""

    def __init__(self) -> None:
        super().__init__(PairingDelegate.NO_OUTPUT_NO_INPUT)
        self.willing = True
        self.asked = 0
        self.code: int | None = None

    def show(self, code: int | None) -> None:
        self.code = code
        self.io_capability = self.NO_OUTPUT_NO_INPUT if code is None else self.DISPLAY_OUTPUT_ONLY

    async def accept(self) -> bool:
        self.asked += 1
        return self.willing

    async def generate_passkey(self) -> int:
        assert self.code is not None
        return self.code


class ScriptedCharger:
    """One peripheral. What it was ordered outlives its loss of power, but for what is per link."""

    def __init__(self, radio: str) -> None:
        self._radio = radio
        self._bonds = MemoryKeyStore()
        self._pairings = Pairings()
        self._vanishing = asyncio.Event()
        self._advertising = asyncio.Lock()
        self._length = 0
        self._refusal = 0
        self._when_asked = ""
        self._written: list[str] = []
        self._requests: list[str] = []
        self._asked_before = 0
        self._running: set[asyncio.Future[Any]] = set()
        self._mute: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Advertise and serve until cancelled, from a new controller after each loss of power."""
        while True:
            controller = await open_controller(self._radio)
            self._vanishing.clear()
            try:
                device = self._device(controller)
                await device.power_on()
                await self._advertise(device)
                await self._vanishing.wait()
            finally:
                await controller.close()
                for task in self._running:
                    task.cancel()  # it would wait for the controller

    def _device(self, controller: Controller) -> Device:
        transport = controller.transport
        device = Device(
            config=DeviceConfiguration(name=NAME, address=Address(ADDRESS)),
            host=LosableHost(transport.source, transport.sink),
        )
        device.keystore = self._bonds
        device.pairing_config_factory = lambda _: PairingConfig(
            mitm=self._pairings.code is not None,
            delegate=self._pairings,
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )
        device.on(Device.EVENT_CONNECTION, self._connected)

        def heard(handle: int, pdu: bytes) -> None:
            self._no_longer_mute()
            device.on_gatt_pdu(handle, pdu)

        device.l2cap_channel_manager.register_fixed_channel(ATT_CID, heard)
        self._told = Characteristic[bytes](
            TOLD, P.NOTIFY, RW, CharacteristicValue(read=lambda _: b"")
        )
        both = P.WRITE | P.WRITE_WITHOUT_RESPONSE
        own = [
            _served(ECHO, both, write=self._echo),
            self._told,
            _served(HINT, P.READ, read=lambda _: bytes(range(14))),
        ]
        others = [
            _served(ORDER, P.WRITE, write=self._order),
            _served(STATE, P.READ, read=self._state),
            _served(LONG, P.READ, read=lambda _: (bytes(range(250)) * 2)[: self._length]),
            self._refusing(device),
            _served(SILENT, P.READ, read=self._silent),
            _served(ONE_WAY, P.WRITE, write=lambda _, value: self._requests.append(value.hex())),
        ]
        device.add_service(Service(gatt.PASSCODE_SERVICE, own))
        device.add_service(Service("0000fff0-0000-1000-8000-00805f9b34fb", others))
        return device

    def _refusing(self, device: Device) -> Characteristic[bytes]:
        """Refuses reading, writing and subscribing with what was ordered, else echoes."""

        def refuse() -> None:
            if self._refusal:
                raise ATT_Error(self._refusal)

        def read(_: Connection) -> bytes:
            refuse()
            return b""

        def write(connection: Connection, value: bytes) -> None:
            refuse()
            self._start(device.notify_subscriber(connection, served, value))

        def configure(bearer: Any, value: bytes) -> None:
            refuse()
            device.gatt_server.write_cccd(bearer, served, value)

        configuration = Descriptor(
            GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR,
            Attribute.READABLE | Attribute.WRITEABLE,
            AttributeValueV2(
                lambda bearer: device.gatt_server.read_cccd(bearer, served), configure
            ),
        )
        served: Characteristic[bytes] = Characteristic(
            REFUSING,
            P.READ | P.WRITE | P.NOTIFY,
            RW,
            CharacteristicValue(read=read, write=write),
            [configuration],
        )
        return served

    async def _advertise_again(self, device: Device) -> None:
        """Advertise while nobody is connected; Bumble refuses until it has forgotten the last."""
        async with self._advertising:
            for _ in range(40):
                if device.connections:
                    return  # whoever that is starts it again by leaving
                try:
                    await self._advertise(device)
                except (HCI_Error, AssertionError) as error:
                    print(f"advertising: {error!r}", file=sys.stderr)  # noqa: T201 - its log
                    await asyncio.sleep(0.05)
                else:
                    return

    async def _advertise(self, device: Device) -> None:
        packets = gatt.advertising(gatt.Layout.BGX, NAME, passcode=True)
        await device.start_advertising(
            own_address_type=OwnAddressType.RANDOM,
            advertising_data=packets[0],
            scan_response_data=packets[1],
            advertising_interval_min=INTERVAL_MS,
            advertising_interval_max=INTERVAL_MS,
        )

    def _connected(self, connection: Connection) -> None:
        self._written, self._requests = [], []
        self._asked_before, self._pairings.asked = self._pairings.asked, 0
        self._refusal = 0
        self._when_asked = ""
        again = connection.device

        def ended(_: int) -> None:
            self._no_longer_mute()
            self._start(self._advertise_again(again))

        connection.on(connection.EVENT_DISCONNECTION, ended)
        # Linux may give a connection up in the moment in which it is made, and never hang up.
        loop = asyncio.get_running_loop()
        self._mute = loop.call_later(MUTE_FOR_S, lambda: self._start(connection.disconnect()))

    def _no_longer_mute(self) -> None:
        if self._mute is not None:
            self._mute.cancel()

    def _echo(self, connection: Connection, value: bytes) -> None:
        self._written.append(value.hex())
        self._start(connection.device.notify_subscriber(connection, self._told, bytes(value)))

    def _state(self, connection: Connection) -> bytes:
        state = {
            "written": self._written,
            "requests": self._requests,
            "encrypted": connection.is_encrypted,
            "pairings": self._pairings.asked,
            "pairings_before": self._asked_before,
        }
        return json.dumps(state).encode()

    async def _silent(self, connection: Connection) -> bytes:
        if self._when_asked == "hang up":
            self._start(connection.disconnect())
        elif self._when_asked == "vanish":
            self._vanishing.set()
        await asyncio.Event().wait()
        return b""

    def _order(self, connection: Connection, value: bytes) -> None:
        match bytes(value).decode().split():
            case ["tell", count, size]:
                self._start(self._tell(connection, int(count), int(size)))
            case ["long", size]:
                self._length = int(size)
            case ["refuse", code]:
                self._refusal = int(code)
            case ["forget", "bonds"]:
                self._start(self._bonds.delete_all())
            case ["pair", "never"]:
                self._pairings.willing = False
            case ["pair", "always"]:
                self._pairings.willing = True
                self._pairings.show(None)
            case ["pair", "with", code]:
                self._pairings.willing = True
                self._pairings.show(int(code))
            case ["hang", "up", "when", "told"]:
                self._start(connection.disconnect())
            case [*words, "when", "asked"]:
                self._when_asked = " ".join(words)
            case _:
                raise ATT_Error(0x13)

    async def _tell(self, connection: Connection, count: int, size: int) -> None:
        for number in range(count):
            value = bytes((number,)) * size
            await connection.device.notify_subscriber(connection, self._told, value)

    def _start(self, work: Awaitable[object]) -> None:
        async def run() -> None:
            with contextlib.suppress(BaseBumbleError, TransportLostError, HCI_Error):
                await work  # the link, or the whole adapter, may be gone by then

        task = asyncio.ensure_future(run())
        self._running.add(task)
        task.add_done_callback(self._running.discard)


def _served(uuid: str, properties: P, *, read: Any = None, write: Any = None) -> Any:
    value = CharacteristicValue[bytes](read=read or (lambda _: b""), write=write)
    return Characteristic[bytes](uuid, properties, RW, value)


@asynccontextmanager
async def on_the_radio(radio: str) -> AsyncIterator[None]:
    """The charger, and others that are none."""
    port = int(radio.rpartition(":")[2])
    for number, name in enumerate(OTHERS):
        host = await Host.join(port, f"F0:00:00:00:00:A{number}")
        await host.advertise(bytes((len(name) + 1, 9)) + name)
    running = asyncio.create_task(ScriptedCharger(radio).run())
    try:
        yield
    finally:
        running.cancel()
        await asyncio.wait([running])
        await Host.end_all()


async def _main(radio: str) -> None:
    quiet()
    async with on_the_radio(radio):
        print(json.dumps({"ready": True}), flush=True)  # noqa: T201 - to whoever started it
        with contextlib.suppress(EOFError):
            await asyncio.to_thread(sys.stdin.read)  # its end is ours


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
