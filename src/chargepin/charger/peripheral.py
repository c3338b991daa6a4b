"""The charger's Bluetooth: the port `Air` on a controller that speaks HCI.

The protocols of a link are the charger's own (l2cap.py, att.py, smp.py), because they are what
strangers reach; Bumble's host (host.py) talks to the controller.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from bumble import hci
from bumble.transport.common import Transport

from chargepin.charger.air import (
    AirEvent,
    Appearance,
    BluetoothPhone,
    Door,
    LinkClosed,
    LinkEnd,
    LinkOpened,
    Rules,
    Secured,
)
from chargepin.charger.att import CONFIRMATION, UNSECURED, Client
from chargepin.charger.attributes import Attributes
from chargepin.charger.host import ChargerHost
from chargepin.charger.l2cap import (
    ATT_CHANNEL,
    SIGNALING_CHANNEL,
    SMP_CHANNEL,
    Assembly,
    Outbox,
    answer_signal,
)
from chargepin.charger.pairing import BluetoothBonds, Pairings
from chargepin.charger.smp import Peer, Reason
from chargepin.core.gatt import advertising
from chargepin.core.slots import CAPACITY
from chargepin.machine.controller import ControllerError

logger = logging.getLogger(__name__)

FLUSH_MAX_S: Final = 1.0
STALLED_S: Final = 10.0
STOP_MAX_S: Final = 1.0
_WAITING_MAX_BYTES: Final = 1 << 16
_NONCE_BYTES: Final = 8
_HUNG_UP: Final = frozenset({0x13, 0x14, 0x15})  # the other side ended it (Vol 1, Part F)


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
        self._on_air: _OnAir | None = None
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
        on_air = _OnAir(self._transport, self._numbers, attributes, pairings, tell, self._lose)
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


@dataclass(slots=True, eq=False)
class _Link:
    """offered: what the key last given to the controller is worth. end: how it will be told."""

    handle: int
    client: Client
    peer: Peer
    outbox: Outbox
    assembly: Assembly = field(default_factory=Assembly)
    offered: Secured = UNSECURED
    flushing: bool = False
    end: LinkEnd | None = None
    flush_timer: asyncio.TimerHandle | None = None
    stall_timer: asyncio.TimerHandle | None = None

    @property
    def number(self) -> int:
        return self.client.link


class _OnAir:
    """Everything between one start and its stop: the links, and whether to advertise."""

    def __init__(
        self,
        transport: Transport,
        numbers: Iterator[int],
        attributes: Attributes,
        pairings: Pairings,
        tell: Callable[[AirEvent], None],
        lost: Callable[[], None],
    ) -> None:
        self.host = ChargerHost(transport, self)
        self.pairings = pairings
        self.links: dict[int, _Link] = {}
        self._handles: dict[int, _Link] = {}
        self._numbers = numbers
        self._attributes = attributes
        self._tell = tell
        self._lost = lost
        self._wanted = False
        self._advertising = False
        self._stopping = False
        self._adjusting: asyncio.Task[None] | None = None
        self._nobody = asyncio.Event()
        self._nobody.set()

    # ---- orders -----------------------------------------------------------------------------

    def send(self, number: int, door: Door, message: bytes) -> None:
        link = self.links.get(number)
        if link is None or link.flushing or link.end is not None:
            return
        link.outbox.put_events(self._attributes.events(link.client, door, message))
        self._look_after(link)

    def drop(self, number: int, *, flush: bool) -> None:
        link = self.links.get(number)
        if link is None:
            return
        if not flush or link.outbox.empty:
            self._hang_up(link)
        elif not link.flushing:
            link.flushing = True
            loop = asyncio.get_running_loop()
            link.flush_timer = loop.call_later(FLUSH_MAX_S, self._hang_up, link)

    def advertise(self, *, wanted: bool) -> "asyncio.Task[None]":
        self._wanted = wanted
        return self._adjust()

    def forget_phone(self, bond_id: str) -> Sequence[int]:
        peers = [link.peer for link in self.links.values()]
        ended = self.pairings.forget(bond_id, peers)
        for number in ended:
            self.links[number].client.secured = UNSECURED  # from this moment, not from its end
            self.drop(number, flush=True)
        return ended

    async def stop(self) -> None:
        """Fall silent: hang up on everybody, and wait for it at most STOP_MAX_S."""
        self._stopping = True
        await asyncio.wait({self.advertise(wanted=False)})
        for link in tuple(self.links.values()):
            self._hang_up(link)
        try:
            async with asyncio.timeout(STOP_MAX_S):
                await self._nobody.wait()
        except TimeoutError:
            logger.warning("%d links did not end in time", len(self.links))
        self.end(LinkEnd.DROPPED)

    def end(self, how: LinkEnd) -> None:
        """Tell that all links are over, and hear no more of the controller."""
        self.host.close()
        if self._adjusting is not None:
            self._adjusting.cancel()
        for link in tuple(self.links.values()):
            self._over(link, link.end or how)

    # ---- what the host hears ----------------------------------------------------------------

    def opened(self, handle: int, address: hci.Address) -> None:
        if handle in self._handles:  # its end was never reported
            self._over(self._handles[handle], LinkEnd.LOST)
        number, nonce = next(self._numbers), secrets.token_bytes(_NONCE_BYTES)
        packet_bytes, packets = self.host.buffers
        link = _Link(
            handle,
            Client(number, nonce),
            Peer(
                number, address, partial(self._put, number), partial(self.drop, number, flush=False)
            ),
            Outbox(
                partial(self.host.send_l2cap_pdu, handle),
                packet_bytes,
                max(1, packets // (CAPACITY + 1)),
            ),
        )
        known = self.pairings.knows(link.peer)
        link.client.secured = Secured(encrypted=False, authenticated=False, known=known)
        self.links[number] = self._handles[handle] = link
        self._nobody.clear()
        self._tell(LinkOpened(number, str(address), nonce))
        self._advertising = False  # the controller stops by itself when a peer connects
        if self._stopping:  # it connected just before the charger fell silent
            self._hang_up(link)
        self._adjust()

    def closed(self, handle: int, reason: int) -> None:
        link = self._handles.get(handle)
        if link is not None:
            self._over(link, link.end or (LinkEnd.HUNG_UP if reason in _HUNG_UP else LinkEnd.LOST))
            self._adjust()

    def arrived(self, handle: int, boundary: int, data: bytes) -> None:
        link = self._handles.get(handle)
        whole = link and link.assembly.feed(boundary, data)
        if not link or not whole or link.end is not None:
            return
        channel, pdu = whole
        answer: bytes | None = None
        if channel == ATT_CHANNEL and pdu == CONFIRMATION:
            if link.outbox.confirmed() == self._attributes.services_changed():
                self.pairings.services_told(link.peer)
        elif link.flushing:
            return  # it has been told all it will be told
        elif channel == ATT_CHANNEL:
            answer = self._attributes.answer(link.client, pdu)
        elif channel == SMP_CHANNEL:
            self.pairings.heard(link.peer, pdu)
        elif channel == SIGNALING_CHANNEL:
            answer = answer_signal(pdu)
        if answer is not None:
            link.outbox.put(channel, answer)
        link.outbox.put_events(self._attributes.consequences(link.client))
        self._look_after(link)

    def sent(self, handle: int, packets: int) -> None:
        link = self._handles.get(handle)
        if link is None:
            return
        link.outbox.done(packets)
        if link.stall_timer is not None:
            link.stall_timer.cancel()
            link.stall_timer = None
        self._look_after(link)

    def key(self, handle: int, rand: bytes, ediv: int) -> bytes | None:
        link = self._handles.get(handle)
        key = link and self.pairings.key(link.peer, rand, ediv)
        if not link or not key:
            return None
        link.offered = Secured(encrypted=True, authenticated=key.authenticated)
        return key.value

    def encrypted(self, handle: int, *, encrypted: bool) -> None:
        link = self._handles.get(handle)
        if link is None:
            return
        link.client.secured = link.offered if encrypted else UNSECURED
        if encrypted and self.pairings.encrypted(link.peer):
            link.outbox.put_indication(self._attributes.services_changed())
            self._look_after(link)

    def lost(self) -> None:
        self._lost()

    # ---- inside -----------------------------------------------------------------------------

    def _put(self, number: int, pdu: bytes) -> None:
        link = self.links.get(number)
        if link is not None:
            link.outbox.put(SMP_CHANNEL, pdu)
            self._look_after(link)

    def _look_after(self, link: _Link) -> None:
        """Hang up when all is said; or when the peer takes nothing, and holds buffers meanwhile."""
        if link.flushing and link.outbox.empty:
            self._hang_up(link)
        elif link.outbox.waiting_bytes > _WAITING_MAX_BYTES:
            self._hang_up(link, LinkEnd.LOST)
        elif link.outbox.held and link.stall_timer is None:
            loop = asyncio.get_running_loop()
            link.stall_timer = loop.call_later(STALLED_S, self._hang_up, link, LinkEnd.LOST)

    def _hang_up(self, link: _Link, end: LinkEnd = LinkEnd.DROPPED) -> None:
        if link.end is None:
            link.end = end
            self.host.disconnect(link.handle)

    def _over(self, link: _Link, end: LinkEnd) -> None:
        for timer in (link.flush_timer, link.stall_timer):
            if timer is not None:
                timer.cancel()
        del self.links[link.number], self._handles[link.handle]
        self.pairings.closed(link.peer)
        self._tell(LinkClosed(link.number, end))
        if not self.links:
            self._nobody.set()

    def _adjust(self) -> "asyncio.Task[None]":
        if self._adjusting is None or self._adjusting.done():
            self._adjusting = asyncio.create_task(self._advertise_as_wanted())
        return self._adjusting

    async def _advertise_as_wanted(self) -> None:
        while self._advertising != self._wanted:
            # Noted before the controller is asked: a peer may connect before its answer is read.
            self._advertising = enable = self._wanted
            if not await self.host.advertise(enable=enable):
                self._advertising = False
                if enable and not self.links:  # with nothing to wait for
                    self._lost()
                return  # a controller with all its links in use; tried again when one ends
