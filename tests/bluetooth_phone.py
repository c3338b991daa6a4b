"""A phone without the app, on the virtual radio: Bumble as it comes, and a person at its dialog."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from bumble import hci, pairing
from bumble.att import ATT_Error
from bumble.core import ProtocolError
from bumble.device import Connection, Device, DeviceConfiguration, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.transport import open_transport

from chargepin.app.link_bumble.central import LosableHost
from chargepin.core import bapi
from chargepin.core.gatt import Layout, Mode, StockService
from charger.rig import explored, found

PATIENCE_S = 60.0
STOCK = Layout.BGX.stock
PIECE_BYTES = 20


class Typist(pairing.PairingDelegate):
    """Types what a test says when the dialog asks; asked counts dialogs."""

    def __init__(self, *, keyboard: bool = True) -> None:
        able, unable = self.KEYBOARD_INPUT_ONLY, self.NO_OUTPUT_NO_INPUT
        super().__init__(able if keyboard else unable)
        self.code: Callable[[], int] | None = None
        self.asked = 0

    async def get_number(self) -> int | None:
        self.asked += 1
        return self.code() if self.code else None


class Zero(int):
    """The code 000000 for a Bumble phone, which takes a plain zero for no code at all."""

    def __bool__(self) -> bool:
        return True


@dataclass
class BluetoothLink:
    """One connection of the phone. number: of its last request."""

    connection: Connection
    peer: Peer
    replies: "asyncio.Queue[bytes]"
    stock: StockService = STOCK
    number: int = 0

    @property
    def gone(self) -> bool:
        return self.connection.handle not in self.connection.device.connections

    async def hung_up(self) -> None:
        """Wait for the end of the connection."""
        over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.connection.on("disconnection", over.set_result)
        if not self.gone:
            async with asyncio.timeout(PATIENCE_S):
                await over

    async def pair(self, typist: Typist, code: str) -> int | None:
        """Pair by the phone's own dialog; gives the reason of a refusal."""
        typist.code = lambda: int(code) or Zero()
        try:
            async with asyncio.timeout(PATIENCE_S):
                await self.connection.pair()
        except ProtocolError as error:
            return error.error_code
        return None

    async def encrypt(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.connection.encrypt()

    async def att_error(self) -> int | None:
        """What a look at the stock service is answered with."""
        assert self.stock.mode is not None
        try:
            await self.characteristic(self.stock.mode.uuid).read_value()
        except ATT_Error as error:
            return int(error.error_code)
        return None

    async def ask(self, method: str, par: object = None) -> bapi.Reply:
        """Call a method as clients of real chargers do."""
        if self.number == 0:
            reassembled = bapi.ReplyAssembler()

            def heard(value: bytes) -> None:
                for reply in reassembled.feed(value):
                    self.replies.put_nowait(reply)

            await self.characteristic(self.stock.notify.uuid).subscribe(heard)
            if self.stock.mode is not None:
                mode = self.characteristic(self.stock.mode.uuid)
                await mode.write_value(bytes([Mode.STREAM]), with_response=True)
        self.number += 1
        await self.write(bapi.encode_request(method, par, self.number))
        async with asyncio.timeout(PATIENCE_S):
            return bapi.decode_reply(await self.replies.get())

    async def write(self, frame: bytes) -> None:
        requests = self.characteristic(self.stock.write.uuid)
        for at in range(0, len(frame), PIECE_BYTES):
            await requests.write_value(frame[at : at + PIECE_BYTES], with_response=True)

    async def value(self, method: str, par: object = None) -> object:
        reply = await self.ask(method, par)
        assert reply.error is None, reply.error
        return reply.value

    async def refusal(self, method: str, par: object = None) -> int | str:
        reply = await self.ask(method, par)
        assert reply.error is not None
        return reply.error.code

    async def close(self) -> None:
        await self.connection.disconnect()

    def characteristic(self, uuid: str) -> CharacteristicProxy[bytes]:
        return found(self.peer, uuid)


class BluetoothPhone:
    """A phone that is switched on. It keeps its bonds."""

    def __init__(
        self, device: Device, charger: str, stock: StockService, *, keyboard: bool
    ) -> None:
        self.typist = Typist(keyboard=keyboard)
        self._stock = stock
        self._device = device
        self._charger = hci.Address(charger)
        device.pairing_config_factory = lambda _: pairing.PairingConfig(
            sc=True,
            mitm=True,
            bonding=True,
            delegate=self.typist,
            identity_address_type=pairing.PairingConfig.AddressType.RANDOM,
        )

    async def connected(self) -> BluetoothLink:
        """Connect, and look at everything that may be seen."""
        async with asyncio.timeout(PATIENCE_S):
            connection = await self._device.connect(self._charger)
            peer = await explored(connection)
            return BluetoothLink(connection, peer, asyncio.Queue(), self._stock)

    async def pair(self, code: str) -> BluetoothLink:
        """Connect and pair; the code must be right."""
        link = await self.connected()
        assert await link.pair(self.typist, code) is None
        return link

    async def cannot_encrypt(self) -> None:
        """Come back, and find that the charger has forgotten the bond."""
        link = await self.connected()
        with pytest.raises(hci.HCI_Error):
            await link.encrypt()
        await link.close()


@asynccontextmanager
async def bluetooth_phone(
    radio: str, charger: str, stock: StockService = STOCK, *, keyboard: bool = True
) -> AsyncIterator[BluetoothPhone]:
    """A phone on the radio at tcp:HOST:PORT; charger: the address it will connect to."""
    async with await open_transport(radio.replace("tcp:", "tcp-client:", 1)) as transport:
        config = DeviceConfiguration(
            name="phone", address=hci.Address.generate_static_address(), irk=bytes(range(16))
        )
        device = Device(config=config, host=LosableHost(transport.source, transport.sink))
        await device.power_on()
        yield BluetoothPhone(device, charger, stock, keyboard=keyboard)
