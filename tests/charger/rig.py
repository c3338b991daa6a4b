"""One charger and any number of phones in one process, on Bumble's virtual link.

The phones are Bumble's own, stock: none of this project's code is in them.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

import pytest
from bumble import hci, pairing
from bumble.att import ATT_Error
from bumble.controller import Controller
from bumble.core import UUID
from bumble.device import Connection, Device, DeviceConfiguration, Peer
from bumble.gatt_client import CharacteristicProxy
from bumble.host import Host
from bumble.link import LocalLink
from bumble.transport.common import AsyncPipeSink, Transport

from chargepin.charger.air import AirEvent, Appearance, AttError, LinkOpened, Pairing, Secured
from chargepin.charger.bluetooth.pairing import BluetoothBond, BluetoothBonds
from chargepin.charger.bluetooth.peripheral import Peripheral
from chargepin.core.gatt import Layout

CHARGER = "F0:00:00:00:00:01"
OPEN_BGX = Appearance("WB123456", Layout.BGX, passcode=True)
HINT = b"hint16"
PATIENCE_S = 60.0  # of the loop, whose time tests move by hand

EventT = TypeVar("EventT")

new_link: Callable[[], LocalLink] = LocalLink  # which has no types of its own


class BondsInMemory:
    """Bonds that die with the program."""

    def __init__(self) -> None:
        self._bonds: dict[str, BluetoothBond] = {}

    def get(self, identity: str) -> BluetoothBond | None:
        return self._bonds.get(identity)

    def put(self, bond: BluetoothBond) -> None:
        self._bonds[bond.identity] = bond

    def delete(self, identity: str) -> None:
        self._bonds.pop(identity, None)

    def all(self) -> Sequence[BluetoothBond]:
        return tuple(self._bonds.values())


@dataclass
class ScriptedRules:
    """Rules that say what a test wants; asked keeps what the adapter knew of the link.

    codes: for the pairings to come, each taken once.
    """

    refuse: AttError | None = None
    encrypted_only: bool = False
    pairs: Pairing = Pairing.JUST_WORKS
    counts: bool = True
    codes: list[int] = field(default_factory=list)
    asked: list[tuple[int, Secured]] = field(default_factory=list)

    def stock(self, link: int, secured: Secured) -> AttError | None:
        self.asked.append((link, secured))
        if self.encrypted_only and not secured.encrypted:
            return AttError.INSUFFICIENT_ENCRYPTION
        return self.refuse

    def hint(self, nonce: bytes) -> bytes:
        return HINT + nonce

    def pairing(self, _link: int) -> Pairing:
        return self.pairs

    def code(self, _link: int) -> int | None:
        return self.codes.pop(0) if self.codes else None

    def phone_name(self) -> str:
        return "Anna's phone"

    def bond_counts(self) -> bool:
        return self.counts


class WithholdingController(Controller):
    """A controller that fails at a test's will.

    withheld: handles of links that get nothing through. refused: commands it does not take. mute:
    it says nothing at all.
    """

    def __init__(self, name: str, link: LocalLink) -> None:
        super().__init__(name, link=link)
        self.le_acl_data_packet_length = 251
        self.withheld: set[int] = set()
        self.refused: set[int] = set()
        self.mute = False

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        match packet:
            case _ if self.mute:
                return
            case hci.HCI_Command_Complete_Event(command_opcode=opcode) if opcode in self.refused:
                refusal = hci.HCI_ErrorCode.COMMAND_DISALLOWED_ERROR
                packet.return_parameters = hci.HCI_StatusReturnParameters(refusal)
                super().send_hci_packet(packet)
            case hci.HCI_Number_Of_Completed_Packets_Event(connection_handles=[handle]):
                if handle not in self.withheld:
                    super().send_hci_packet(packet)
            case _:
                super().send_hci_packet(packet)


class Rig:
    """The charger, what it told, and its phones."""

    def __init__(self, bonds: BluetoothBonds) -> None:
        self.link = new_link()
        self.controller = WithholdingController("charger", self.link)
        self.transport = Transport(self.controller, AsyncPipeSink(self.controller))
        self.bonds = bonds
        self.rules = ScriptedRules()
        self.charger = Peripheral(self.transport, CHARGER, bonds)
        self.events: list[AirEvent] = []
        self.goes_on = True  # there is room for another phone
        self._arrived = asyncio.Event()
        self._numbers = iter(range(2, 250))

    def tell(self, event: AirEvent) -> None:
        self.events.append(event)
        if isinstance(event, LinkOpened) and self.goes_on:
            self.charger.advertise(wanted=True)
        self._arrived.set()

    async def start(self, appearance: Appearance = OPEN_BGX) -> None:
        await self.charger.start(appearance, self.rules, self.tell)

    async def told(self, kind: type[EventT], count: int = 1) -> list[EventT]:
        """Wait until so many events of a kind were told; gives them all."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                heard: list[EventT] = [each for each in self.events if isinstance(each, kind)]
                if len(heard) >= count:
                    return heard
                self._arrived.clear()
                await self._arrived.wait()

    async def phone(self, address: str | None = None, *, private: bool = False) -> Device:
        """A phone that is switched on. private: it uses resolvable private addresses."""
        controller = Controller("phone", link=self.link)
        controller.le_acl_data_packet_length = 251
        config = DeviceConfiguration(
            name="phone",
            address=hci.Address(address or f"F0:00:00:00:01:{next(self._numbers):02X}"),
            irk=secrets.token_bytes(16),
            le_privacy_enabled=private,
            le_rpa_timeout=0,
        )
        device = Device(config=config, host=Host(controller, AsyncPipeSink(controller)))
        device.pairing_config_factory = lambda _: pairing.PairingConfig(
            identity_address_type=pairing.PairingConfig.AddressType.RANDOM
        )
        await device.power_on()
        return device

    async def connected(self, device: Device | None = None) -> Connection:
        """A link of a phone to the charger."""
        device = device or await self.phone()
        async with asyncio.timeout(PATIENCE_S):
            connection = await device.connect(hci.Address(CHARGER))
        await self.told(LinkOpened, 1)
        return connection


@asynccontextmanager
async def charger_and_phones(bonds: BluetoothBonds | None = None) -> AsyncIterator[Rig]:
    rig = Rig(bonds or BondsInMemory())
    try:
        yield rig
    finally:
        await rig.charger.stop()


async def explored(connection: Connection) -> Peer:
    """A GATT client that has discovered everything."""
    peer = Peer(connection)
    await peer.discover_services()
    for service in peer.services:
        await service.discover_characteristics()
        for characteristic in service.characteristics:
            await characteristic.discover_descriptors()
    return peer


def found(peer: Peer, uuid: str) -> CharacteristicProxy[bytes]:
    (characteristic,) = peer.get_characteristics_by_uuid(UUID(uuid))
    return characteristic


class Wire:
    """A channel of a link, below the phone's protocols."""

    def __init__(self, connection: Connection, channel: int) -> None:
        self._connection = connection
        self._channel = channel
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        connection.device.l2cap_channel_manager.register_fixed_channel(
            channel, lambda _handle, pdu: self._heard.put_nowait(pdu)
        )

    def send(self, pdu: bytes) -> None:
        self._connection.send_l2cap_pdu(self._channel, pdu)

    async def hear(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self._heard.get()

    async def ask(self, pdu: bytes) -> bytes:
        self.send(pdu)
        return await self.hear()

    @property
    def silent(self) -> bool:
        return self._heard.empty()


class Inbox:
    """What a phone was notified of."""

    def __init__(self) -> None:
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def subscribe(
        self, characteristic: CharacteristicProxy[bytes], *, indications: bool = False
    ) -> None:
        await characteristic.subscribe(self._heard.put_nowait, prefer_notify=not indications)

    async def pieces(self, total_bytes: int) -> list[bytes]:
        """Wait until so much came; gives it as it came."""
        pieces: list[bytes] = []
        async with asyncio.timeout(PATIENCE_S):
            while sum(map(len, pieces)) < total_bytes:
                pieces.append(await self._heard.get())
        return pieces

    @property
    def empty(self) -> bool:
        return self._heard.empty()


async def subscribed(peer: Peer, uuid: str) -> Inbox:
    inbox = Inbox()
    await inbox.subscribe(found(peer, uuid))
    return inbox


async def error_of(characteristic: CharacteristicProxy[bytes], value: bytes | None = None) -> int:
    """The ATT error of a read, or of a write with response."""
    if value is None:
        asked: Awaitable[object] = characteristic.read_value()
    else:
        asked = characteristic.write_value(value, with_response=True)
    with pytest.raises(ATT_Error) as caught:
        await asked
    return int(caught.value.error_code)
