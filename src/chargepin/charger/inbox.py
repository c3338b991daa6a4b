"""What waits for the charger's one task, in the order in which it came."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from chargepin.charger.air import Door, LinkAuthenticated, LinkClosed, LinkOpened, Written
from chargepin.charger.ports import NotPossible
from chargepin.core.guard_state import Entry

WRITES_WAITING = 32
STOCK_WAITING_BYTES = 1 << 14

_STOPPED = "the charger stopped or restarted meanwhile. See what it says now, then try again"


class Ending(Enum):
    """Why the service stopped."""

    STOPPED = "stopped"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Button:
    """held: for ten seconds; else a short press."""

    held: bool


@dataclass(frozen=True, slots=True)
class Housing:
    """What the tamper switch says."""

    opened: bool


@dataclass(frozen=True, slots=True)
class Timer:
    pass


@dataclass(frozen=True, slots=True)
class Noted:
    """Something for the security log."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class Counted:
    """Something of strangers, that the log has as a number."""

    name: str


@dataclass(frozen=True, slots=True)
class End:
    ending: Ending


Told: TypeAlias = LinkOpened | LinkClosed | Written | LinkAuthenticated
"""Events of the air that wait; those of pairings are taken at once."""

Item: TypeAlias = Told | Button | Housing | Timer | Noted | Counted | End


@dataclass(slots=True, eq=False)
class _Stream:
    """Writes to the stock service that nothing else of their link came between: one item."""

    link: int
    value: bytearray


@dataclass(frozen=True, slots=True)
class _Mark:
    """Somebody waits until all that came before is done: until the next item is asked for."""

    passed: asyncio.Future[None]


class Inbox:
    """A queue of everything that happens. drop is called for a link that floods it.

    Clients cut a request for the stock service into pieces of 20 bytes, and send them as fast as
    they can; so what is written there is counted in bytes.
    """

    def __init__(self, drop: Callable[[int], None]) -> None:
        self._items: asyncio.Queue[Item | _Mark | _Stream] = asyncio.Queue()
        self._waiting: Counter[int] = Counter()
        self._streams: dict[int, _Stream] = {}
        self._drop = drop
        self._marks: set[asyncio.Future[None]] = set()
        self._closed = False

    def put(self, item: Item) -> None:
        """Append; a write too many of one link ends that link instead."""
        match item:
            case Written(link, Door.STOCK, value):
                self._put_stock(link, value)
                return
            case Written(link):
                self._streams.pop(link, None)
                self._waiting[link] += 1
                if self._waiting[link] > WRITES_WAITING:
                    self._drop(link)
                    return
            case LinkClosed(link) | LinkAuthenticated(link):
                self._streams.pop(link, None)
            case _:
                pass
        self._items.put_nowait(item)

    async def settled(self) -> None:
        """Wait until what was put before is done. Raises NotPossible when that may not be."""
        if self._closed:
            raise NotPossible(_STOPPED)
        passed = asyncio.get_running_loop().create_future()
        self._marks.add(passed)
        self._items.put_nowait(_Mark(passed))
        try:
            await passed
        finally:
            self._marks.discard(passed)

    def close(self) -> None:
        """Nothing is taken any more."""
        self._closed = True
        for passed in self._marks:
            if not passed.done():
                passed.set_exception(NotPossible(_STOPPED))

    async def take(self) -> Item:
        """Wait for the next item; the one before it is done."""
        while isinstance(item := await self._items.get(), _Mark):
            if not item.passed.done():  # whoever waited may have gone
                item.passed.set_result(None)
        if isinstance(item, _Stream):
            if self._streams.get(item.link) is item:
                del self._streams[item.link]
            return Written(item.link, Door.STOCK, bytes(item.value))
        if isinstance(item, Written):
            self._waiting[item.link] -= 1
        elif isinstance(item, LinkClosed):
            del self._waiting[item.link]
        return item

    def _put_stock(self, link: int, value: bytes) -> None:
        stream = self._streams.get(link)
        if stream is None:
            stream = self._streams[link] = _Stream(link, bytearray())
            self._items.put_nowait(stream)
        stream.value += value
        if len(stream.value) > STOCK_WAITING_BYTES:
            self._drop(link)
