"""Which link makes room for which, so that nobody keeps an owner out by holding connections.

A protected charger gives an unproved link a few seconds; a newcomer to a full house displaces the
oldest one past them. What an app says (HELLO) does not prolong its time; a bond's valid tag does.
"""

from collections.abc import Iterable
from dataclasses import dataclass

CAPACITY = 7
SAFE_S = 3.0
SAFE_TAGGED_S = 15.0
ENDS_S = 15.0


@dataclass(frozen=True, slots=True)
class Slot:
    """One link: when it opened (running seconds), whether proved, whether a valid tag was shown."""

    link: int
    opened_s: float
    proved: bool = False
    tagged: bool = False

    @property
    def safe_until_s(self) -> float:
        """Until then no newcomer displaces it."""
        return self.opened_s + (SAFE_TAGGED_S if self.tagged else SAFE_S)

    @property
    def ends_s(self) -> float:
        """Then an unproved link is dropped in any case."""
        return self.opened_s + ENDS_S


@dataclass(frozen=True, slots=True)
class Decision:
    """Links to drop now, whether to advertise, and when to decide again (None: nothing pends)."""

    drop: tuple[int, ...]
    advertise: bool
    again_s: float | None


def decide(slots: Iterable[Slot], now_s: float, capacity: int = CAPACITY) -> Decision:
    """Decide about the links of a protected charger."""
    held = sorted(slots, key=lambda slot: slot.opened_s)
    drop = [slot for slot in held if not slot.proved and slot.ends_s <= now_s]
    held = [slot for slot in held if slot not in drop]
    displaceable = [slot for slot in held if not slot.proved and slot.safe_until_s <= now_s]
    while len(held) > capacity and displaceable:
        oldest = displaceable.pop(0)
        drop.append(oldest)
        held.remove(oldest)
    if len(held) > capacity:  # all are proved or still safe: the newcomer goes
        newest = held.pop()
        drop.append(newest)
    waiting = [slot for slot in held if not slot.proved]
    times = [t for s in waiting for t in (s.safe_until_s, s.ends_s) if t > now_s]
    advertise = len(held) < capacity or bool(displaceable)
    return Decision(tuple(slot.link for slot in drop), advertise, min(times, default=None))
