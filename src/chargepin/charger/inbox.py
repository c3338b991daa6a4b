"""What waits for the charger's one task, in the order in which it came."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from chargepin.charger.air import LinkAuthenticated, LinkClosed, LinkOpened, Written
from chargepin.core.guard_state import Entry

WRITES_WAITING = 32


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


class Inbox:
    """A queue of everything that happens. drop is called for a link that floods it."""

    def __init__(self, drop: Callable[[int], None]) -> None:
        self._items: asyncio.Queue[Item] = asyncio.Queue()
        self._waiting: Counter[int] = Counter()
        self._drop = drop

    def put(self, item: Item) -> None:
        """Append; a write too many of one link ends that link instead."""
        if isinstance(item, Written):
            self._waiting[item.link] += 1
            if self._waiting[item.link] > WRITES_WAITING:
                self._drop(item.link)
                return
        self._items.put_nowait(item)

    async def take(self) -> Item:
        """Wait for the next item."""
        item = await self._items.get()
        if isinstance(item, Written):
            self._waiting[item.link] -= 1
        elif isinstance(item, LinkClosed):
            del self._waiting[item.link]
        return item
