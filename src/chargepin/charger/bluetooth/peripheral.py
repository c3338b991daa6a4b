"""The charger's Bluetooth: the port `Air` on a controller that speaks HCI.

The protocols of a link are the charger's own (l2cap.py, att.py, smp.py), because they are what
strangers reach; Bumble's host (host.py) talks to the controller.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from bumble import hci
from bumble.transport.common import Transport

from chargepin.charger.air import (
    AirEvent,
    Appearance,
    BluetoothPhone,
    Door,
    LinkEnd,
    Rules,
)
from chargepin.charger.bluetooth.attributes import Attributes
from chargepin.charger.bluetooth.on_air import OnAir
from chargepin.charger.bluetooth.pairing import BluetoothBonds, Pairings
from chargepin.charger.bluetooth.smp import Reason
from chargepin.core.gatt import advertising
from chargepin.machine.controller import ControllerError


class Peripheral:
    """A charger on the air. lost is done once the controller does not answer any more.

    address: the charger's own, static random. bonds stay as they are over stop and start. unix_s:
    the wall clock, 0 where it is not known. numbers: for the links, so that none comes twice.
    attributes, pairings: what answers to the two protocols of a link.
    """

    def __init__(
        self,
        transport: Transport,
        address: str,
        bonds: BluetoothBonds,
        *,
        interval_ms: float = 25.0,
        unix_s: Callable[[], int] = lambda: 0,
        numbers: Iterator[int] | None = None,
        attributes: type[Attributes] = Attributes,
        pairings: type[Pairings] = Pairings,
    ) -> None:
        self.lost: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        self._transport = transport
        self._address = hci.Address(address)
        if not self._address.is_static:
            raise ValueError(f"{address} is not a static random address")
        self._bonds = bonds
        self._attributes = attributes
        self._pairings = pairings
        self._interval_ms = interval_ms
        self._unix_s = unix_s
        self._numbers = numbers or itertools.count(1)
        self._on_air: OnAir | None = None
        transport.source.terminated.add_done_callback(self._terminated)

    async def start(
        self, appearance: Appearance, rules: Rules, tell: Callable[[AirEvent], None]
    ) -> None:
        """Set up services, and advertise.

        Raises ControllerError, and ValueError for a name that does not fit the advertising.
        """
        if self._on_air is not None:
            raise RuntimeError("the charger is on the air already")
        if self.lost.done():
            raise ControllerError("the Bluetooth controller is gone")
        advert, scan_response = advertising(
            appearance.layout, appearance.name, passcode=appearance.passcode
        )
        attributes = self._attributes(appearance, rules, tell)
        pairings = self._pairings(
            self._address, self._bonds, rules, attributes.digest, tell, self._unix_s
        )
        on_air = OnAir(self._transport, self._numbers, attributes, pairings, tell, self._lose)
        try:
            await on_air.host.begin(self._address, advert, scan_response, self._interval_ms)
        except BaseException:
            on_air.host.close()
            raise
        self._on_air = on_air
        await asyncio.wait({on_air.advertise(wanted=True)})
        if self.lost.done():
            raise ControllerError("the Bluetooth controller is gone")

    async def stop(self) -> None:
        on_air, self._on_air = self._on_air, None
        if on_air is not None:
            await on_air.stop()

    def send(self, link: int, door: Door, message: bytes) -> None:
        if self._on_air is not None:
            self._on_air.send(link, door, message)

    def drop(self, link: int, *, flush: bool) -> None:
        if self._on_air is not None:
            self._on_air.drop(link, flush=flush)

    def advertise(self, *, wanted: bool) -> None:
        if self._on_air is not None:
            self._on_air.advertise(wanted=wanted)

    def forget_bonds(self) -> None:
        """Delete every Bluetooth bond. Raises StoreFailed."""
        if self._on_air is not None:
            self._on_air.pairings.abort(Reason.UNSPECIFIED_REASON)
        for bond in self._bonds.all():
            self._bonds.delete(bond.identity)

    def forget_phone(self, bond_id: str) -> Sequence[int]:
        """Delete one Bluetooth bond and hang up on its phone. Raises StoreFailed."""
        return () if self._on_air is None else self._on_air.forget_phone(bond_id)

    def end_pairing(self) -> None:
        if self._on_air is not None:
            self._on_air.pairings.abort(Reason.PAIRING_NOT_SUPPORTED)

    @property
    def phones(self) -> Sequence[BluetoothPhone]:
        return [bond.phone for bond in self._bonds.all() if bond.authenticated]

    @property
    def links(self) -> Sequence[int]:
        return () if self._on_air is None else tuple(self._on_air.links)

    @property
    def full(self) -> bool:
        return self._on_air is not None and self._on_air.full

    @property
    def company(self) -> int | None:
        """Who made the controller, as its number; None off the air."""
        return None if self._on_air is None else self._on_air.host.company

    def _terminated(self, terminated: asyncio.Future[None]) -> None:
        if not terminated.cancelled():
            terminated.exception()  # looked at: why the controller is gone is not asked
        self._lose()

    def _lose(self) -> None:
        if not self.lost.done():
            self.lost.set_result(None)
        on_air, self._on_air = self._on_air, None
        if on_air is not None:
            on_air.end(LinkEnd.LOST)
