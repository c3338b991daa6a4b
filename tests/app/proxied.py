"""A Bluetooth proxy, and what Home Assistant puts in place of bleak's classes, on a virtual radio.

As in habluetooth 7.1 and bleak-esphome 4.1, which were read and run for this:
- `bleak.BleakClient` and `bleak.BleakScanner` are replaced when Home Assistant starts. Its scanner
  takes its callback by the name detection_callback only, and needs neither D-Bus nor BlueZ.
- A proxy's BLEDevice has details {"source": its address, "address_type": …}, and no "path".
- bleak is given the backend's class, which does the work; every characteristic can take MTU - 3.
- A refused GATT request is a BleakError made from an exception whose error.error is the number.
- pair() takes nothing: a proxy has no message for a passcode.
- Connecting otherwise than by bleak-retry-connector 4.7 is complained of in Home Assistant's log.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

import bleak
import pytest
from bleak.assigned_numbers import CharacteristicPropertyName
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData, BaseBleakScanner
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakError

from chargepin.app.errors import ChargepinError
from chargepin.app.link_bumble import BumbleRadio, open_radio
from chargepin.app.ports import AttRefused, Found, Link

SOURCE = "AA:BB:CC:DD:EE:FF"
PASSKEY_FAILED = "Pairing failed due to error: 82"
MAY_ALL: list[CharacteristicPropertyName] = ["read", "write", "write-without-response", "notify"]
WITHIN_S = 10.0
_T = TypeVar("_T")


class GATTError(Exception):
    """What bleak-esphome makes its BleakErrors from."""

    def __init__(self, number: int) -> None:
        super().__init__(f"Bluetooth GATT Error error={number}")
        self.error = SimpleNamespace(error=number)


async def asked(work: Awaitable[_T]) -> _T:
    """What a proxy was asked to do, with its way to fail."""
    try:
        return await work
    except AttRefused as refusal:
        raise BleakError("Bluetooth GATT Error") from GATTError(refusal.error)
    except ChargepinError as error:
        raise BleakError(str(error)) from error


class RetryConnector:
    """What there is of bleak-retry-connector: no more than one attempt."""

    @staticmethod
    async def establish_connection(
        client_class: Callable[..., bleak.BleakClient],
        device: BLEDevice,
        name: str,
        disconnected_callback: Callable[[bleak.BleakClient], None] | None = None,
    ) -> bleak.BleakClient:
        assert name == device.name
        client = client_class(
            device, disconnected_callback=disconnected_callback, _is_retry_client=True
        )
        await client.connect(timeout=WITHIN_S, dangerous_use_bleak_cache=True)
        return client


class Proxy:
    """One ESP32. mtus: of its connections. retries: whether each client is for retries."""

    def __init__(self, radio: BumbleRadio) -> None:
        self.radio = radio
        self.mtus: list[int] = []
        self.retries: list[bool] = []
        self.scans = 0

    def device(self, found: Found) -> BLEDevice:
        details = {"source": SOURCE, "address_type": 1, "proxy": self}
        return BLEDevice(found.address, found.name, details)

    async def hears(self, name: str) -> BLEDevice:
        async with asyncio.timeout(WITHIN_S), aclosing(self.radio.scan()) as seen:
            async for found in seen:
                if found.name == name:
                    return self.device(found)
        raise AssertionError


class ProxyClient(BaseBleakClient):
    """The backend of one connection."""

    def __init__(self, device: BLEDevice | str, **options: Any) -> None:
        super().__init__(device, **options)
        assert isinstance(device, BLEDevice)
        self._proxy: Proxy = device.details["proxy"]
        self._found = Found(device.address, str(device.name), -60)
        self._link: Link | None = None

    @property
    def name(self) -> str:
        return self._found.name

    @property
    def _up(self) -> Link:
        if self._link is None or self._link.closed:
            raise BleakError("not connected")
        return self._link

    @property
    def mtu_size(self) -> int:
        return self._proxy.mtus[-1]

    @property
    def is_connected(self) -> bool:
        return self._link is not None and not self._link.closed

    async def connect(self, pair: bool, **_: Any) -> None:  # noqa: FBT001 - bleak's
        assert not pair
        self._link = link = await asked(
            self._proxy.radio.connect(self._found, timeout_s=self._timeout)
        )
        self._proxy.mtus.append(link.att_mtu)
        link.on_close(self._gone)
        self.services = BleakGATTServiceCollection()
        service = BleakGATTService(None, 1, "0000180a-0000-1000-8000-00805f9b34fb")
        self.services.add_service(service)
        for handle, uuid in enumerate(sorted(link.characteristics), start=2):
            self.services.add_characteristic(
                BleakGATTCharacteristic(
                    None, handle, uuid, MAY_ALL, lambda: self.mtu_size - 3, service
                )
            )

    def _gone(self) -> None:
        if self._disconnected_callback is not None:
            self._disconnected_callback()

    async def disconnect(self) -> None:
        if self._link is not None:
            await self._link.close()

    async def pair(self, *_: Any, **__: Any) -> None:
        raise BleakError(PASSKEY_FAILED)

    async def unpair(self) -> None:
        raise NotImplementedError

    async def read_gatt_char(self, characteristic: BleakGATTCharacteristic, **_: Any) -> bytearray:
        return bytearray(await asked(self._up.read(characteristic.uuid)))

    async def write_gatt_char(
        self,
        characteristic: BleakGATTCharacteristic,
        data: Any,
        response: bool,  # noqa: FBT001 - bleak's
    ) -> None:
        await asked(self._up.write(characteristic.uuid, bytes(data), response=response))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **_: Any
    ) -> None:
        await asked(
            self._up.subscribe(characteristic.uuid, lambda value: callback(bytearray(value)))
        )

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        raise NotImplementedError

    async def read_gatt_descriptor(self, *_: Any, **__: Any) -> bytearray:
        raise NotImplementedError

    async def write_gatt_descriptor(self, *_: Any) -> None:
        raise NotImplementedError


@asynccontextmanager
async def lent_bluetooth(address: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Proxy]:
    """A proxy on a radio, lent in the way of Home Assistant, where nothing else has Bluetooth."""
    monkeypatch.delenv("CHARGEPIN_RADIO", raising=False)
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent")
    proxy = Proxy(await open_radio(address))

    class ProxyScanner(BaseBleakScanner):
        def __init__(self, callback: Any, *_: Any, **__: Any) -> None:
            super().__init__(callback, None)

        async def start(self) -> None:
            proxy.scans += 1
            self._hearing = asyncio.create_task(self._hear())

        async def _hear(self) -> None:
            async with aclosing(proxy.radio.scan()) as seen:
                async for found in seen:
                    told = AdvertisementData(
                        found.name, {}, {}, list(found.services), None, found.rssi_dbm, ()
                    )
                    self.call_detection_callbacks(proxy.device(found), told)

        async def stop(self) -> None:
            self._hearing.cancel()
            await asyncio.wait([self._hearing])

    class LentClient(bleak.BleakClient):
        def __init__(
            self,
            device: BLEDevice,
            disconnected_callback: Callable[[bleak.BleakClient], None] | None = None,
            *,
            _is_retry_client: bool = False,
        ) -> None:
            proxy.retries.append(_is_retry_client)
            super().__init__(device, disconnected_callback, backend=ProxyClient)

    class LentScanner(bleak.BleakScanner):
        def __init__(self, *_: Any, detection_callback: Any = None, **__: Any) -> None:
            super().__init__(detection_callback, backend=ProxyScanner)

    monkeypatch.setattr(bleak, "BleakClient", LentClient)
    monkeypatch.setattr(bleak, "BleakScanner", LentScanner)
    try:
        yield proxy
    finally:
        await proxy.radio.close()
