"""L2CAP in basic mode (Core Vol 3, Part A) on one link: putting together, and waiting in line.

Bumble keeps one queue for all links, so that a phone that takes nothing off stops everybody's
packets, and its `drain` returns while packets wait. Here each link has a queue of its own and a
share of the controller's buffers, and counts what the controller says is done.
"""

import struct
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

ATT_CHANNEL: Final = 0x0004
SIGNALING_CHANNEL: Final = 0x0005
SMP_CHANNEL: Final = 0x0006
_INDICATION: Final = 0x1D  # opcode of ATT (Vol 3, Part F, 3.4.7.2)

_HEADER: Final = struct.Struct("<HH")
_PDU_MAX_BYTES: Final = 512  # no protocol of ours has longer ones
_CONTINUATION: Final = 0b01  # packet boundary flag (Vol 4, Part E, 5.4.2)

_SIGNAL: Final = struct.Struct("<BBH")
_REJECT: Final = 0x01
_NOT_UNDERSTOOD: Final = b"\x00\x00"
# Answers, and the one command that has none (4.24).
_NEVER_ANSWERED: Final = frozenset({0x01, 0x03, 0x05, 0x07, 0x0B, 0x13, 0x15, 0x16, 0x18, 0x1A})


class Assembly:
    """Puts the PDUs of one link together from the packets that the controller hands over."""

    def __init__(self) -> None:
        self._pdu: bytearray | None = None

    def feed(self, boundary: int, data: bytes) -> tuple[int, bytes] | None:
        """Take one packet; gives channel and payload when it completes a PDU.

        What does not add up is dropped, up to the next beginning.
        """
        if boundary != _CONTINUATION:
            self._pdu = bytearray()
        if self._pdu is None:
            return None
        self._pdu += data
        if len(self._pdu) < _HEADER.size:
            return None
        size, channel = _HEADER.unpack_from(self._pdu)
        missing = _HEADER.size + size - len(self._pdu)
        if missing > 0 and size <= _PDU_MAX_BYTES:
            return None
        payload = bytes(self._pdu[_HEADER.size :])
        self._pdu = None
        return None if missing else (channel, payload)


class Outbox:
    """What waits to be sent on one link, in order.

    hand_over gives one PDU to the controller, which splits it into packets of packet_bytes and
    is to hold at most share of them for this link.
    """

    def __init__(
        self, hand_over: Callable[[int, bytes], None], packet_bytes: int, share: int
    ) -> None:
        self._hand_over = hand_over
        self._packet_bytes = packet_bytes
        self._share = share
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._indications: deque[bytes] = deque()  # the first one was sent and awaits its answer
        self.waiting_bytes = 0
        self.held = 0
        """Packets that the controller has and has not got rid of."""

    @property
    def empty(self) -> bool:
        """Whether all is sent, and got through as far as the controller and ATT can tell."""
        return not (self._waiting or self.held or self._indications)

    def put(self, channel: int, pdu: bytes) -> None:
        """Send it when its turn has come."""
        self._waiting.append((channel, pdu))
        self.waiting_bytes += len(pdu)
        self._go_on()

    def put_indication(self, pdu: bytes) -> None:
        """Send it when every indication before it is confirmed (Vol 3, Part F, 3.3.2)."""
        self._indications.append(pdu)
        if len(self._indications) == 1:
            self.put(ATT_CHANNEL, pdu)

    def put_events(self, events: Iterable[bytes]) -> None:
        """Send notifications at once, and indications one by one."""
        for event in events:
            if event[0] == _INDICATION:
                self.put_indication(event)
            else:
                self.put(ATT_CHANNEL, event)

    def confirmed(self) -> bytes | None:
        """Take a confirmation; gives the indication it is for."""
        if not self._indications:
            return None
        pdu = self._indications.popleft()
        if self._indications:
            self.put(ATT_CHANNEL, self._indications[0])
        return pdu

    def done(self, packets: int) -> None:
        """Note that the controller got rid of so many packets."""
        self.held = max(0, self.held - packets)
        self._go_on()

    def _go_on(self) -> None:
        while self._waiting:
            channel, pdu = self._waiting[0]
            packets = -(-(_HEADER.size + len(pdu)) // self._packet_bytes)
            if self.held and self.held + packets > self._share:
                return
            self._waiting.popleft()
            self.waiting_bytes -= len(pdu)
            self.held += packets
            self._hand_over(channel, pdu)


def answer_signal(pdu: bytes) -> bytes | None:
    """Reject whatever a peer wants of the signalling channel: there are no channels to open."""
    if len(pdu) < _SIGNAL.size:
        return None
    code, identifier, _ = _SIGNAL.unpack_from(pdu)
    if code in _NEVER_ANSWERED or not identifier:
        return None
    return _SIGNAL.pack(_REJECT, identifier, len(_NOT_UNDERSTOOD)) + _NOT_UNDERSTOOD
