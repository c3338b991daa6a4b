"""The pairing window: when a phone may pair by its own dialog, and with which code.

A code is a Bluetooth passkey that lives for one attempt. Passkey entry gives an attacker the first
bit that it guessed wrong and every bit before (Core Vol 3, Part H, 2.3.5.6.3), so a code that was
once compared with anything is never compared again: `use` hands it out together with the state
in which another one has taken its place.

Whoever opened the window may leave: to make room where a charger carries one phone at a time, or
because the phone that is to pair is the one that the app runs on. A code that nobody can be shown
is of no use then, so the one that was shown last is good for one attempt, and no other follows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TypeAlias

WINDOW_S = 120.0
ATTEMPTS_MAX = 10
"""With a million codes, the chance of whoever guesses is one in 100,000 for a whole window."""
POSSIBLE_CODES = 1_000_000

Draw: TypeAlias = Callable[[int], int]
"""Gives a whole number below its argument, each with the same chance."""


class Why(Enum):
    """Why a window is closed, in the words of the wire."""

    PAIRED = "paired"
    TIME = "time"
    ATTEMPTS = "attempts"
    ASKED = "asked"
    FORGOTTEN = "forgotten"
    PASSCODE_CHANGED = "passcode_changed"


@dataclass(frozen=True, slots=True)
class Window:
    """An open window.

    opener: the link whose session opened it, and sees the codes; None once it has left. bond: id
    of the opener's, None if it has none. ends_s: running seconds. name: what the phone that pairs
    shall be called, empty if nobody said. code: of the next attempt. used: codes that attempts have
    used up. trying: whether the last of those attempts is still under way. codes: how many there
    are, the used ones included.
    """

    opener: int | None
    bond: str | None
    ends_s: float
    name: str
    code: int = field(repr=False)
    used: int = 0
    trying: bool = False
    codes: int = ATTEMPTS_MAX

    @property
    def code_text(self) -> str:
        """The next code as a person types it: six digits."""
        return f"{self.code:06}"

    @property
    def attempts_left(self) -> int:
        """How many codes there will be, the next one included."""
        return self.codes - self.used

    def seconds_left(self, now_s: float) -> int:
        """How long it is still open, rounded up."""
        return max(0, math.ceil(self.ends_s - now_s))

    def takes(self, now_s: float) -> bool:
        """Whether an attempt may begin or go on to its code."""
        return now_s < self.ends_s and self.used < self.codes


def opened(
    opener: int, now_s: float, draw: Draw, name: str = "", bond: str | None = None
) -> Window:
    """Open a window, with its first code."""
    return Window(opener, bond, now_s + WINDOW_S, name, draw(POSSIBLE_CODES))


def use(window: Window, now_s: float, draw: Draw) -> tuple[int, Window] | None:
    """Use the code up for one attempt; None if no attempt may begin any more."""
    if not window.takes(now_s):
        return None
    following = draw(POSSIBLE_CODES)
    return window.code, replace(window, code=following, used=window.used + 1, trying=True)


def failed(window: Window) -> Window:
    """Note that the attempt under way has ended without success, however it ended."""
    return replace(window, trying=False)


def left(window: Window, *, shown: bool) -> Window:
    """Go on without whoever opened it: with the code that was shown last, for one attempt.

    shown: whether the newest code got through. The one that an attempt under way has used up was
    the last.
    """
    more = 1 if shown and not window.trying else 0
    return replace(window, opener=None, codes=min(window.codes, window.used + more))


def due(window: Window, now_s: float) -> Why | None:
    """Why the window must be closed now by itself, if so."""
    if now_s >= window.ends_s:
        return Why.TIME
    if window.used >= window.codes and not window.trying:
        return Why.ATTEMPTS
    return None
