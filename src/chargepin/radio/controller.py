"""One program's Bluetooth controller: what is on the air for it, and what its host is told."""

import asyncio
import struct
from collections.abc import Callable, Container

from chargepin.radio import hci
from chargepin.radio.air import HANDLES, Air
from chargepin.radio.hci import Meta, Refused, Status
from chargepin.radio.parts import (
    Advertising,
    Initiating,
    LinkEnd,
    Report,
    Scanning,
    Station,
    Timing,
)

_PUBLIC, _RANDOM = b"\0", b"\1"
_ACCEPT_LIST_SIZE = 8
_DEFAULT_LE_EVENT_MASK = 0x1F
_CONTINUED = 1
_REPORTS_REMEMBERED = 4096
# Interval in 0.625 ms, type, own address type, peer, filter policy: 1.28 s, connectable, public.
_DEFAULT_ADVERTISING = (0x0800, 0, 0, bytes(7), 0)


class Controller:
    """A Bluetooth 4.2 LE controller without privacy and extended advertising.

    It is as small as chargers' own radio modules, and any host knows how to use it. Addresses
    are seven bytes: type (0 public, 1 random), then the address, lowest byte first. Methods
    raise Refused with the status that the host is to be given.
    """

    accept_list_size = _ACCEPT_LIST_SIZE

    def __init__(self, air: Air, public: bytes, to_host: Callable[[bytes], None]) -> None:
        self.public = _PUBLIC + public
        self._air = air
        self._to_host = to_host
        self._held: list[bytes] | None = None
        self.links: dict[int, LinkEnd] = {}
        self._silence()

    def _silence(self) -> None:
        self.random: bytes | None = None
        self.le_event_mask = _DEFAULT_LE_EVENT_MASK
        self.advertising_parameters = _DEFAULT_ADVERTISING
        self.scan_parameters = (0, 0, 0)
        self.advertising: Advertising | None = None
        self.advertising_data = b""
        self.scan_response = b""
        self.scanning: Scanning | None = None
        self.initiating: Initiating | None = None
        self.accept_list: set[bytes] = set()
        self._unacknowledged: dict[int, int] = {}

    # What the host is told

    def hold_events(self) -> None:
        """Keep events back until the answer to the command that caused them is out."""
        self._held = []

    def answer(self, response: bytes) -> None:
        held, self._held = self._held or [], None
        self._to_host(response)
        for event in held:
            self._to_host(event)

    def tell(self, event: bytes) -> None:
        if self._held is None:
            self._to_host(event)
        else:
            self._held.append(event)

    def tell_meta(self, code: Meta, parameters: bytes) -> None:
        if self.le_event_mask & 1 << code - 1:
            self.tell(hci.meta_event(code, parameters))

    # Coming and going

    def reset(self) -> None:
        """Forget everything but the public address; to all others it falls silent."""
        links = list(self.links.values())
        self.links.clear()
        self._silence()
        self._air.remove(self)
        for link in links:
            self._let_go(link)
            if link.far is not None:
                link.far.station.hear_silence(link.far)

    def own_address(self, kind: int) -> bytes:
        if kind == _PUBLIC[0]:
            return self.public
        if kind == _RANDOM[0] and self.random is not None:
            return self.random
        raise Refused(Status.INVALID_PARAMETERS)

    def set_random_address(self, address: bytes) -> None:
        if self.advertising or self.scanning or self.initiating:
            raise Refused(Status.COMMAND_DISALLOWED)
        self.random = _RANDOM + address

    def link(self, handle: int) -> LinkEnd:
        try:
            return self.links[handle]
        except KeyError:
            raise Refused(Status.UNKNOWN_CONNECTION) from None

    # Advertising, scanning, connecting

    def accept_list_or_all(self, *, filtered: bool) -> Container[bytes] | None:
        return self.accept_list if filtered else None

    def accept_list_add(self, address: bytes) -> None:
        if address not in self.accept_list and len(self.accept_list) >= _ACCEPT_LIST_SIZE:
            raise Refused(Status.MEMORY_EXCEEDED)
        self.accept_list.add(address)

    def advertise(self, advertising: Advertising | None) -> None:
        self.advertising = advertising
        self._air.advertising_changed(self)

    def set_advertising_data(self, data: bytes, *, response: bool) -> None:
        """Takes effect with the next advertisement, also of advertising that is under way."""
        if response:
            self.scan_response = data
        else:
            self.advertising_data = data
        if self.advertising is not None:
            self.advertising.data = self.advertising_data
            self.advertising.scan_response = self.scan_response

    def scan(self, scanning: Scanning | None) -> None:
        self.scanning = scanning
        self._air.listening_changed(self)

    def initiate(self, initiating: Initiating) -> None:
        if self.initiating is not None:
            raise Refused(Status.COMMAND_DISALLOWED)
        if initiating.named is not None and self.linked_to(initiating.named):
            raise Refused(Status.CONNECTION_EXISTS)
        self.initiating = initiating
        self._air.listening_changed(self)

    def cancel_initiating(self) -> None:
        if (waiting := self.initiating) is None:
            raise Refused(Status.COMMAND_DISALLOWED)
        self.initiating = None
        self._air.listening_changed(self)
        peer = waiting.named or bytes(7)
        parameters = struct.pack("<BHB7sHHHB", Status.UNKNOWN_CONNECTION, 0, 0, peer, 0, 0, 0, 0)
        self.tell_meta(Meta.CONNECTION_COMPLETE, parameters)

    @property
    def listening(self) -> bool:
        return self.scanning is not None or self.initiating is not None

    def addresses(self) -> tuple[bytes, ...]:
        return (self.public,) if self.random is None else (self.public, self.random)

    def report(self, report: Report, *, dbm: int) -> None:
        scanning = self.scanning
        if scanning is None or not (scanning.only is None or report.address in scanning.only):
            return
        if scanning.seen is not None:
            if report in scanning.seen:
                return
            if len(scanning.seen) >= _REPORTS_REMEMBERED:
                scanning.seen.clear()
            scanning.seen.add(report)
        head = struct.pack("<BB7sB", 1, report.type, report.address, len(report.data))
        signal = struct.pack("<b", max(dbm, -127))
        self.tell_meta(Meta.ADVERTISING_REPORT, head + report.data + signal)

    def asks_for_more(self, advertising: Advertising) -> bool:
        scanning = self.scanning
        if scanning is None or not scanning.active:
            return False
        answered = advertising.answers_only is None or scanning.own in advertising.answers_only
        return answered and (scanning.only is None or advertising.address in scanning.only)

    def would_connect(self, advertiser: Station) -> bool:
        initiating, advertising = self.initiating, advertiser.advertising
        if initiating is None or advertising is None or not advertising.connectable:
            return False
        if advertising.address not in initiating.peers or self.linked_to(advertising.address):
            return False
        let_in = advertising.connects_only is None or initiating.own in advertising.connects_only
        # The same address twice at one peripheral: two programs of one home. They take turns.
        return let_in and not advertiser.linked_to(initiating.own)

    def connect_to(self, advertiser: Station) -> None:
        initiating, advertising = self.initiating, advertiser.advertising
        if initiating is None or advertising is None:
            return
        self.initiating = None
        self._air.listening_changed(self)
        link = self._new_link(
            own=initiating.own, peer=advertising.address, timing=initiating.timing, central=True
        )
        link.far = advertiser.accept(initiating.own, initiating.timing)
        link.far.far = link

    def accept(self, peer: bytes, timing: Timing) -> LinkEnd:
        own = self.public if self.advertising is None else self.advertising.address
        self.advertise(None)
        return self._new_link(own=own, peer=peer, timing=timing, central=False)

    def linked_to(self, peer: bytes) -> bool:
        return any(link.peer == peer for link in self.links.values())

    def _new_link(self, *, own: bytes, peer: bytes, timing: Timing, central: bool) -> LinkEnd:
        link = LinkEnd(self, self._free_handle(), central, own, peer, timing)
        self.links[link.handle] = link
        parameters = struct.pack(
            "<BHB7sHHHB",
            Status.SUCCESS,
            link.handle,
            not central,
            peer,
            timing.interval,
            timing.latency,
            timing.timeout,
            0,
        )
        self.tell_meta(Meta.CONNECTION_COMPLETE, parameters)
        return link

    def _free_handle(self) -> int:
        """Raises Refused when this controller has as many links as there are handles."""
        for _ in range(HANDLES):
            handle = self._air.next_handle()
            if handle not in self.links:
                return handle
        raise Refused(Status.MEMORY_EXCEEDED)

    # Links

    def send_data(self, packet: bytes) -> None:
        """Pass an ACL packet of the host on. Raises Malformed for one that cannot be."""
        head = int.from_bytes(packet[1:3], "little")
        handle, boundary = head & 0x0FFF, head >> 12 & 3
        if boundary != _CONTINUED and boundary not in hci.FIRST_FRAGMENTS:
            raise hci.Malformed(f"packet boundary flags {boundary}")
        link = self.links.get(handle)
        if link is None or link.far is None:
            return  # too late: the host will hear, or has heard, that this link has ended
        continued = boundary == _CONTINUED
        link.far.station.hear_data(link.far, packet[5:], continued=continued)
        self._unacknowledged[handle] = self._unacknowledged.get(handle, 0) + 1

    def acknowledge_data(self) -> None:
        """Tell the host how many of its packets are on their way since the last time."""
        if self._unacknowledged:
            self.tell(hci.completed_packets(self._unacknowledged))
            self._unacknowledged = {}

    def hear_data(self, link: LinkEnd, data: bytes, *, continued: bool) -> None:
        head = link.handle | (_CONTINUED if continued else 2) << 12
        self.tell(struct.pack("<BHH", hci.ACL, head, len(data)) + data)

    def disconnect(self, link: LinkEnd, reason: int) -> None:
        if link.far is not None:
            link.far.station.hear_end(link.far, reason)
        self.hear_end(link, Status.ENDED_HERE)

    def hear_end(self, link: LinkEnd, reason: int) -> None:
        del self.links[link.handle]
        self._unacknowledged.pop(link.handle, None)
        self._let_go(link)
        self.tell(hci.disconnection_complete(link.handle, reason))

    def hear_silence(self, link: LinkEnd) -> None:
        link.far = None
        link.timer = asyncio.get_running_loop().call_later(
            link.timing.timeout_s, self.hear_end, link, Status.CONNECTION_TIMEOUT
        )

    def _let_go(self, link: LinkEnd) -> None:
        if link.timer is not None:
            link.timer.cancel()

    def update_timing(self, link: LinkEnd, timing: Timing) -> None:
        if link.far is not None:
            link.far.station.hear_timing(link.far, timing)
        self.hear_timing(link, timing)

    def hear_timing(self, link: LinkEnd, timing: Timing) -> None:
        link.timing = timing
        parameters = struct.pack(
            "<BHHHH",
            Status.SUCCESS,
            link.handle,
            timing.interval,
            timing.latency,
            timing.timeout,
        )
        self.tell_meta(Meta.CONNECTION_UPDATE_COMPLETE, parameters)

    def rssi(self, link: LinkEnd) -> int:
        if link.far is None:
            return -127
        return self._air.rssi(self, link.far.station)

    # Encryption: nothing is enciphered, but both hosts must hold the same key

    def encrypt(self, link: LinkEnd, key: bytes, rand: bytes, diversifier: int) -> None:
        if not link.central:
            raise Refused(Status.COMMAND_DISALLOWED)
        if link.far is not None:
            link.far.station.hear_encryption_request(link.far, key, rand, diversifier)

    def hear_encryption_request(
        self, link: LinkEnd, key: bytes, rand: bytes, diversifier: int
    ) -> None:
        link.far_key = key
        parameters = struct.pack("<H8sH", link.handle, rand, diversifier)
        self.tell_meta(Meta.LONG_TERM_KEY_REQUEST, parameters)

    def answer_key_request(self, link: LinkEnd, key: bytes | None) -> None:
        """key: the host's own, None if it has none. Two keys that differ end the link."""
        if link.far_key is None or link.far is None:
            raise Refused(Status.COMMAND_DISALLOWED)
        far_key, link.far_key = link.far_key, None
        if key is None:
            link.far.station.hear_encryption_answer(link.far, agreed=False)
        elif key != far_key:
            link.far.station.hear_end(link.far, Status.MIC_FAILURE)
            self.hear_end(link, Status.MIC_FAILURE)
        else:
            link.far.station.hear_encryption_answer(link.far, agreed=True)
            self.hear_encryption_answer(link, agreed=True)

    def hear_encryption_answer(self, link: LinkEnd, *, agreed: bool) -> None:
        if not agreed:
            self.tell(hci.encryption_change(link.handle, Status.KEY_MISSING))
        elif link.encrypted:
            self.tell(hci.encryption_key_refresh_complete(link.handle))
        else:
            link.encrypted = True
            self.tell(hci.encryption_change(link.handle, Status.SUCCESS))
