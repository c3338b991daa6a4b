"""What controllers and the air between them hand each other."""

import asyncio
from collections.abc import Container
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol


class ReportType(IntEnum):
    """How an advertising report was come by (Core Vol 4, Part E, 7.7.65.2)."""

    CONNECTABLE = 0
    DIRECTED = 1
    SCANNABLE = 2
    NOT_CONNECTABLE = 3
    SCAN_RESPONSE = 4


@dataclass(frozen=True, slots=True)
class Report:
    """Something heard: addresses are a type and six bytes, lowest first."""

    type: ReportType
    address: bytes
    data: bytes


# By HCI's advertising type: undirected, directed fast, scannable, not connectable, directed slow.
_REPORT_TYPES = (
    ReportType.CONNECTABLE,
    ReportType.DIRECTED,
    ReportType.SCANNABLE,
    ReportType.NOT_CONNECTABLE,
    ReportType.DIRECTED,
)


@dataclass(slots=True)
class Advertising:
    """What a controller sends while it advertises. The data may change meanwhile.

    connects_only, answers_only: whose connection or scan requests are heeded; None is everyone's.
    """

    kind: int
    address: bytes
    interval_s: float
    target: bytes
    data: bytes
    scan_response: bytes
    connects_only: Container[bytes] | None
    answers_only: Container[bytes] | None

    @property
    def connectable(self) -> bool:
        return _REPORT_TYPES[self.kind] in (ReportType.CONNECTABLE, ReportType.DIRECTED)

    @property
    def scannable(self) -> bool:
        return _REPORT_TYPES[self.kind] in (ReportType.CONNECTABLE, ReportType.SCANNABLE)

    @property
    def directed(self) -> bool:
        return _REPORT_TYPES[self.kind] is ReportType.DIRECTED

    def meant_for(self, addresses: tuple[bytes, ...]) -> bool:
        return not self.directed or self.target in addresses

    def report(self) -> Report:
        return Report(_REPORT_TYPES[self.kind], self.address, b"" if self.directed else self.data)


@dataclass(frozen=True, slots=True)
class Scanning:
    """active: asks for scan responses. only: the accept list, None is everyone.

    seen: what was reported already, where duplicates are filtered; None where they are not.
    """

    active: bool
    own: bytes
    only: Container[bytes] | None
    seen: set[Report] | None


@dataclass(frozen=True, slots=True)
class Timing:
    """Connection interval in 1.25 ms, latency in intervals, supervision timeout in 10 ms."""

    interval: int
    latency: int
    timeout: int

    @property
    def timeout_s(self) -> float:
        return self.timeout * 0.01


@dataclass(frozen=True, slots=True)
class Initiating:
    """A connection that waits for its advertiser.

    peers: addresses that will do; named: the one, where it is not the accept list.
    """

    own: bytes
    peers: Container[bytes]
    named: bytes | None
    timing: Timing


@dataclass(eq=False, slots=True)
class LinkEnd:
    """One side of a connection, as its own controller knows it.

    far: the other side; None once it has fallen silent, while timer runs until it is given up.
    far_key: the central's key, while the peripheral's host is asked for the same.
    """

    station: "Station"
    handle: int
    central: bool
    own: bytes
    peer: bytes
    timing: Timing
    far: "LinkEnd | None" = None
    encrypted: bool = False
    far_key: bytes | None = field(default=None, repr=False)
    timer: asyncio.TimerHandle | None = None


class Station(Protocol):
    """A controller as the air and other controllers see it. Links given are its own ends."""

    advertising: Advertising | None

    @property
    def listening(self) -> bool:
        """Whether it scans or waits to connect."""

    def addresses(self) -> tuple[bytes, ...]:
        """Every address that it goes by."""

    def report(self, report: Report, *, dbm: int) -> None:
        """Take what was heard, if it scans for it."""

    def asks_for_more(self, advertising: Advertising) -> bool:
        """Whether it sends a scan request, and is answered."""

    def would_connect(self, advertiser: "Station") -> bool:
        """Whether a pending connection is meant for this advertiser, and would be let in."""

    def connect_to(self, advertiser: "Station") -> None:
        """Carry out the pending connection."""

    def linked_to(self, peer: bytes) -> bool:
        """Whether a connection with this address exists: there is never a second."""

    def accept(self, peer: bytes, timing: Timing) -> LinkEnd:
        """Become the peripheral of a connection; advertising ends by it."""

    def hear_data(self, link: LinkEnd, data: bytes, *, continued: bool) -> None: ...

    def hear_end(self, link: LinkEnd, reason: int) -> None: ...

    def hear_silence(self, link: LinkEnd) -> None:
        """The other side is gone without a word."""

    def hear_timing(self, link: LinkEnd, timing: Timing) -> None: ...

    def hear_encryption_request(
        self, link: LinkEnd, key: bytes, rand: bytes, diversifier: int
    ) -> None: ...

    def hear_encryption_answer(self, link: LinkEnd, *, agreed: bool) -> None: ...
