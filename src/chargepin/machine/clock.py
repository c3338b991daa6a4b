"""The two clocks of a program: running time for waits, wall time for what people read."""

import asyncio
import sys
import time


def running_s() -> float:
    """Seconds of the running event loop; never set back, its zero means nothing."""
    return asyncio.get_running_loop().time()


def unix_s() -> int:
    """Seconds since 1970-01-01 UTC by this computer's clock, which may be wrong."""
    return int(time.time())


def since_boot_s() -> float:
    """Seconds since this computer was switched on, those in which it slept included."""
    if sys.platform == "win32":
        return time.monotonic()
    if sys.platform == "darwin":
        return time.clock_gettime(time.CLOCK_MONOTONIC)  # time.monotonic() leaves sleep out
    return time.clock_gettime(time.CLOCK_BOOTTIME)


WRITTEN_UNIX_S = 1_735_689_600  # 2025-01-01


def known_unix_s() -> int:
    """The wall clock; 0 while it stands before this program was written: nobody has set it."""
    now_s = unix_s()
    return now_s if now_s >= WRITTEN_UNIX_S else 0
