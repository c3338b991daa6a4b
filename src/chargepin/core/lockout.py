"""Failures -> waits and budget: how often a passcode may be tried.

Every attempt is charged before it is checked; a success gives back its own charge and nothing
else. Times are running seconds of the charger, which survive a restart and never a wall clock.
"""

from dataclasses import dataclass, replace
from enum import Enum

FREE_TRIES = 3  # this many in a row cost no wait before the next; the wait follows the last of them
FIRST_WAIT_S = 30.0
LONGEST_WAIT_S = 3600.0
DAY_S = 86_400.0
TRIES_PER_DAY = 10
TRIES_PER_GENERATION = 80  # 80 / 899,989 codes = 8.9e-5 for a whole passcode's life
WARN_AT = 40
WINDOW_S = 120.0
WINDOW_TRIES = 5
WINDOWS_PER_DAY = 3


class Refused(Enum):
    """Why no attempt is taken now."""

    PAUSED = "paused"
    EXHAUSTED = "exhausted"


@dataclass(frozen=True, slots=True)
class Refusal:
    """retry_after_s: seconds until an attempt is taken again; 0 when only a new passcode helps."""

    reason: Refused
    retry_after_s: float


@dataclass(frozen=True, slots=True)
class Window:
    """Opened by the button: attempts in spite of a pause, until until_s, tries of them at most."""

    until_s: float
    tries: int


@dataclass(frozen=True, slots=True)
class Lockout:
    """What is remembered of failed attempts on one generation of a passcode.

    charged: attempts of this generation not given back. step: failures in a row, which sets the
    wait. stepped_s: when the step last rose. recent: times of the last 24 hours' charges.
    paused_until_s: end of the wait. windows: when the button opened a window, last 24 hours.
    window: the open one; it does not survive a restart.
    """

    charged: int = 0
    step: int = 0
    stepped_s: float = 0.0
    recent: tuple[float, ...] = ()
    paused_until_s: float = 0.0
    windows: tuple[float, ...] = ()
    window: Window | None = None

    def refusal(self, now_s: float) -> Refusal | None:
        """Say why an attempt at now_s is refused, or None if it is taken."""
        if self.charged >= TRIES_PER_GENERATION:
            return Refusal(Refused.EXHAUSTED, 0.0)
        if self._open_window(now_s) is not None:
            return None
        until_s = self.paused_until_s
        today = _within_day(self.recent, now_s)
        if len(today) >= TRIES_PER_DAY:
            until_s = max(until_s, today[-TRIES_PER_DAY] + DAY_S)
        return Refusal(Refused.PAUSED, until_s - now_s) if until_s > now_s else None

    def tries_left(self, now_s: float) -> int:
        """Attempts that would be taken at now_s, one after another, before the next refusal."""
        if self.refusal(now_s) is not None:
            return 0
        budget = TRIES_PER_GENERATION - self.charged
        window = self._open_window(now_s)
        if window is not None:
            return min(budget, window.tries)
        today = TRIES_PER_DAY - len(_within_day(self.recent, now_s))
        return min(budget, today, max(1, FREE_TRIES - self.step_at(now_s)))

    def charge(self, now_s: float) -> "Lockout":
        """Count an attempt that begins at now_s. The caller asked refusal() first."""
        step = self.step_at(now_s) + 1
        window = self._open_window(now_s)
        return replace(
            self,
            charged=self.charged + 1,
            step=step,
            stepped_s=now_s,
            recent=(*_within_day(self.recent, now_s), now_s),
            paused_until_s=now_s + wait_s(step),
            window=None if window is None else replace(window, tries=window.tries - 1),
        )

    def give_back(self, charged_s: float) -> "Lockout":
        """An attempt charged at charged_s was right: its own charge returns, the waits end."""
        recent = list(self.recent)
        if charged_s in recent:
            recent.remove(charged_s)
        return replace(
            self,
            charged=max(0, self.charged - 1),
            step=0,
            recent=tuple(recent),
            paused_until_s=0.0,
            window=None,
        )

    def ended(self) -> "Lockout":
        """An owner or admin ended the pause. The budget of the generation stays as it is."""
        return replace(self, step=0, recent=(), paused_until_s=0.0, window=None)

    def pressed(self, now_s: float) -> "Lockout":
        """The button opens a window in a pause, unless it did so three times in 24 hours.

        Where an attempt is taken anyway, or none helps, a press costs none of the three.
        """
        refusal = self.refusal(now_s)
        if refusal is None or refusal.reason is Refused.EXHAUSTED:
            return self
        windows = _within_day(self.windows, now_s)
        if len(windows) >= WINDOWS_PER_DAY:
            return self
        window = Window(now_s + WINDOW_S, WINDOW_TRIES)
        return replace(self, windows=(*windows, now_s), window=window)

    def restarted(self, now_s: float) -> "Lockout":
        """After a restart a running wait begins anew; the 24 hours do not; a window is closed."""
        paused = self.paused_until_s > now_s
        until_s = now_s + wait_s(self.step_at(now_s)) if paused else 0.0
        return replace(self, paused_until_s=until_s, window=None)

    def renewed(self, charged: int = 0) -> "Lockout":
        """For a new generation: nothing held against it but charged; button windows still count."""
        return Lockout(charged=charged, windows=self.windows)

    def step_at(self, now_s: float) -> int:
        """The step falls by one for each 24 hours without a failure."""
        return max(0, self.step - int(max(0.0, now_s - self.stepped_s) // DAY_S))

    def timing(self, now_s: float) -> bool:
        """Whether a wait or a 24-hour window is running, so that running time must be kept."""
        if self.paused_until_s > now_s or self.step_at(now_s):
            return True
        return bool(_within_day(self.recent, now_s) or _within_day(self.windows, now_s))

    def _open_window(self, now_s: float) -> Window | None:
        window = self.window
        return window if window and now_s < window.until_s and window.tries > 0 else None


def wait_s(step: int) -> float:
    """Seconds to wait after this many failures in a row: 0, 0, 30, 60, 120 ... 3600."""
    over = step - FREE_TRIES
    # min() before the power: the step is unbounded and 2**step is not
    return 0.0 if over < 0 else min(FIRST_WAIT_S * 2.0 ** min(over, 32), LONGEST_WAIT_S)


def _within_day(times: tuple[float, ...], now_s: float) -> tuple[float, ...]:
    return tuple(time for time in times if time + DAY_S > now_s)
