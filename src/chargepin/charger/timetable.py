"""Windows of the week on a clock: which one is open, and when that next changes.

Unix seconds, UTC. All functions are pure; a window begins on each of its days anew.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from chargepin.charger.ports import Window

_MINUTE_S = 60
_DAY_S = 24 * 60 * _MINUTE_S
_WEEK_S = 7 * _DAY_S
_FIRST_MONDAY = 4 * _DAY_S  # 1970-01-05


@dataclass(frozen=True, slots=True)
class Opening:
    """One opening of a window, and when it began."""

    window: Window
    begin_unix_s: int


def opening(windows: Sequence[Window], unix_s: float) -> Opening | None:
    """Give what is open now; of several the first in the list."""
    for window, since_s, length_s in _sinces(windows, unix_s):
        if since_s < length_s:
            return Opening(window, round(unix_s - since_s))
    return None


def next_change(windows: Sequence[Window], unix_s: float) -> int | None:
    """Give the next moment after this one at which a window opens or closes."""
    times = []
    for _, since_s, length_s in _sinces(windows, unix_s):
        until_end_s = length_s - since_s
        times += [_WEEK_S - since_s, until_end_s if until_end_s > 0 else until_end_s + _WEEK_S]
    return round(unix_s + min(times)) if times else None


def _sinces(windows: Sequence[Window], unix_s: float) -> Iterator[tuple[Window, float, int]]:
    """For each beginning in a week: how long ago it was, and how long the window is open."""
    at = (unix_s - _FIRST_MONDAY) % _WEEK_S
    for window in windows:
        length_s = (window.stop_min - window.start_min) * _MINUTE_S % _DAY_S or _DAY_S
        for day in range(7):
            if window.days >> day & 1:
                begin_s = day * _DAY_S + window.start_min * _MINUTE_S
                yield window, (at - begin_s) % _WEEK_S, length_s
