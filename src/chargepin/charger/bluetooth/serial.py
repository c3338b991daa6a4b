"""What a radio module does with the bytes between the air and the charger behind it, for one link.

Two of the modules have a shell of their own, to which what is written goes while the mode is not
STREAM; the third has flow control, by credits of one packet each (u-blox, UBX-16011192).
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import cycle
from typing import Final

from chargepin.core.gatt import Mode

FIRST_CREDITS: Final = 16
CREDITS_AT_ONCE: Final = 8
HELD_MAX_BYTES: Final = 1 << 14
_PIECES_BYTES: Final = (20, 16, 20, 18)  # real modules cut by time, at 16 to 20 bytes
_REFUSED: Final = 0xFF
_READY: Final = b"ready\r\n"
_UNKNOWN_COMMAND: Final = b"ERR\r\n"


class Part(Enum):
    """Which characteristic an event is of."""

    NOTIFY = "notify"
    MODE = "mode"
    CREDITS = "credits"


@dataclass(slots=True, eq=False)
class Serial:
    """The line of one link. last: what was sent last.

    flow_control: whether packets need credits; given: how many the client may send, got: how many
    it takes. held: what waits for credits. said: what the module itself has to tell.
    """

    mode: Mode = Mode.STREAM
    flow_control: bool = False
    given: int = 0
    got: int = 0
    last: bytes = b""
    held: deque[bytes] = field(default_factory=deque)
    said: list[tuple[Part, bytes]] = field(default_factory=list)
    _used: int = 0

    def switch(self, mode: Mode) -> None:
        """Change the mode, which the module tells to who wants to know."""
        if mode is self.mode:
            return
        self.mode = mode
        self.said.append((Part.MODE, bytes([mode])))
        if mode is not Mode.STREAM:
            self.said.append((Part.NOTIFY, _READY))

    def control_flow(self, *, on: bool) -> None:
        """Begin or end flow control; what was held when it ends is told."""
        if on and not self.flow_control:
            self.given, self._used = FIRST_CREDITS, 0
            self.said.append((Part.CREDITS, bytes([FIRST_CREDITS])))
        elif self.flow_control and not on:
            self.got = 0
            self.said += [(Part.NOTIFY, piece) for piece in self.held]
            self.held.clear()
        self.flow_control = on

    def take(self, packet: bytes) -> bytes:
        """Take what a client wrote; gives what of it reaches the charger."""
        if self.mode is not Mode.STREAM:
            self.said.append((Part.NOTIFY, _UNKNOWN_COMMAND))
            return b""
        if not self.flow_control:
            return packet
        if not self.given:
            return b""  # sent without a credit: there is no room for it
        self.given -= 1
        self._used += 1
        if self._used == CREDITS_AT_ONCE:
            self.said.append((Part.CREDITS, bytes([CREDITS_AT_ONCE])))
            self.given += CREDITS_AT_ONCE
            self._used = 0
        return packet

    def get(self, credits_: int) -> None:
        """Take credits of the client."""
        self.got += 0 if credits_ == _REFUSED else credits_
        while self.held and self.got:
            self.got -= 1
            self.said.append((Part.NOTIFY, self.held.popleft()))

    def send(self, message: bytes, most_bytes: int) -> Iterator[bytes]:
        """Cut what the charger says; gives the pieces that go out now."""
        if self.mode is not Mode.STREAM:
            return
        if self.flow_control and sum(map(len, self.held)) + len(message) > HELD_MAX_BYTES:
            return
        at, sizes = 0, cycle(_PIECES_BYTES)
        while at < len(message):
            piece = message[at : at + min(most_bytes, next(sizes))]
            at += len(piece)
            self.last = piece
            if not self.flow_control:
                yield piece
            elif self.got:
                self.got -= 1
                yield piece
            else:
                self.held.append(piece)
