"""The two clocks of a program: running time for waits, wall time for what people read."""

import asyncio
import time


def running_s() -> float:
    """Seconds of the running event loop; never set back, its zero means nothing."""
    return asyncio.get_running_loop().time()


def unix_s() -> int:
    """Seconds since 1970-01-01 UTC by this computer's clock, which may be wrong."""
    return int(time.time())


def since_boot_s() -> float:
    """Seconds since this computer was switched on, those in which it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


WRITTEN_UNIX_S = 1_735_689_600  # 2025-01-01


def known_unix_s() -> int:
    """The wall clock; 0 while it stands before this program was written: nobody has set it."""
    now_s = unix_s()
    return now_s if now_s >= WRITTEN_UNIX_S else 0


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time can be moved forward by hand, for tests of waiting.

    Time still passes by itself. Every timer of the loop follows it, `asyncio.timeout` too: a
    test's own guard must be longer than what it advances.
    """

    def __init__(self) -> None:
        self._ahead_s = 0.0
        super().__init__()

    def time(self) -> float:
        """Running seconds, what was advanced included."""
        return super().time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Move time forward; whatever is then due runs at the loop's next turn.

        One jump is one moment: a timer that sets itself again does so from the new time.
        May be called from any thread. Raises ValueError for a step back.
        """
        if seconds < 0:
            raise ValueError("time only moves forward")
        self._ahead_s += seconds
        self.call_soon_threadsafe(_nothing)  # ends a select() that waits for the old time


def _nothing() -> None:
    """Let the loop turn once."""
