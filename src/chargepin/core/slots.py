"""Which link makes room for which, so that nobody keeps an owner out by holding connections.

A protected charger gives an unproved link a few seconds; a newcomer to a full house displaces the
oldest one past them. What an app says (HELLO) does not prolong its time; a bond's valid tag does,
and so does a pairing in a window, where a person reads six digits and types them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

CAPACITY = 7
SAFE_S = 3.0
SAFE_TAGGED_S = 15.0
SAFE_PAIRING_S = 30.0
ENDS_S = 15.0
PAIRING_ENDS_S = 60.0


@dataclass(frozen=True, slots=True)
class Slot:
    """One link: when it opened (running seconds), whether proved, whether a valid tag was shown.

    pairing_s: when its pairing, in a window, last went on to what a person does.
    """

    link: int
    opened_s: float
    proved: bool = False
    tagged: bool = False
    pairing_s: float | None = None

    @property
    def safe_until_s(self) -> float:
        """Until then no newcomer displaces it."""
        safe_s = self.opened_s + (SAFE_TAGGED_S if self.tagged else SAFE_S)
        return safe_s if self.pairing_s is None else max(safe_s, self.pairing_s + SAFE_PAIRING_S)

    @property
    def ends_s(self) -> float:
        """Then an unproved link is dropped in any case."""
        return self.opened_s + (ENDS_S if self.pairing_s is None else PAIRING_ENDS_S)


@dataclass(frozen=True, slots=True)
class Decision:
    """Links to drop now, whether to advertise, and when to decide again (None: nothing pends)."""

    drop: tuple[int, ...]
    advertise: bool
    again_s: float | None


def decide(slots: Iterable[Slot], now_s: float, capacity: int = CAPACITY) -> Decision:
    """Decide about the links of a protected charger.

    With a capacity of one there is no second link to come and displace the first: only its time
    ends it.
    """
    held = sorted(slots, key=lambda slot: slot.opened_s)
    drop = [slot for slot in held if not slot.proved and slot.ends_s <= now_s]
    held = [slot for slot in held if slot not in drop]
    waiting = [slot for slot in held if not slot.proved]
    displaceable = [slot for slot in waiting if slot.safe_until_s <= now_s]
    newcomers = [slot for slot in reversed(waiting) if slot not in displaceable]
    too_many = max(0, len(held) - capacity)
    # where all the others are proved or still safe, the newcomer goes
    drop += (displaceable + newcomers)[:too_many]
    waiting = [slot for slot in waiting if slot not in drop]
    times = [t for s in waiting for t in (s.safe_until_s, s.ends_s) if t > now_s]
    displacing = capacity > 1 and len(displaceable) > too_many
    advertise = len(held) < capacity or displacing
    return Decision(tuple(slot.link for slot in drop), advertise, min(times, default=None))
