"""Everything between one start of the charger's Bluetooth and its stop: its links, and adverts."""

import asyncio
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
    Door,
    LinkClosed,
    LinkEnd,
    LinkOpened,
    Secured,
)
from chargepin.charger.bluetooth.att import CONFIRMATION, UNSECURED, Client
from chargepin.charger.bluetooth.attributes import Attributes
from chargepin.charger.bluetooth.host import ChargerHost
from chargepin.charger.bluetooth.l2cap import (
    ATT_CHANNEL,
    SIGNALING_CHANNEL,
    SMP_CHANNEL,
    Assembly,
    Outbox,
    answer_signal,
)
from chargepin.charger.bluetooth.pairing import Pairings
from chargepin.charger.bluetooth.smp import Peer
from chargepin.core.slots import CAPACITY

logger = logging.getLogger(__name__)

FLUSH_MAX_S: Final = 1.0
STALLED_S: Final = 10.0
STOP_MAX_S: Final = 1.0
_WAITING_MAX_BYTES: Final = 1 << 16
_NONCE_BYTES: Final = 8
_HUNG_UP: Final = frozenset({0x13, 0x14, 0x15})  # the other side ended it (Vol 1, Part F)


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


class OnAir:
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
        self.full = False
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
        # The controller stops by itself when a peer connects; whoever is told of it may go on.
        self._advertising = self._wanted = False
        self._tell(LinkOpened(number, str(address), nonce))
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
        self._tell(LinkClosed(link.number, end, link.outbox.empty))
        self.pairings.closed(link.peer)
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
            done = await self.host.advertise(enable=enable)
            self.full = enable and not done
            if not done:
                self._advertising = False
                if enable and not self.links:  # with nothing to wait for
                    self._lost()
                return  # a controller with all its links in use; tried again when one ends
