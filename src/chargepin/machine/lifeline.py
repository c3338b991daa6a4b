"""The pipe whose closing tells a program that whoever started it is gone.

A signal cannot do this: a parent that is killed sends none. The kernel closes its end of the
pipe in every case.
"""

import asyncio
import os
import sys
from collections.abc import Mapping

VARIABLE = "CHARGEPIN_LIFELINE"


class LifelineError(Exception):
    """CHARGEPIN_LIFELINE names no open file descriptor, or none that can be watched here."""


def watch_lifeline(environment: Mapping[str, str] = os.environ) -> asyncio.Future[None]:
    """A future of the running loop that is done once the pipe's other end is closed.

    environment: where CHARGEPIN_LIFELINE holds the number of an inherited descriptor, the
    pipe's reading end. Without it the future is never done. What is written to the pipe is
    thrown away. Cancelling the future ends the watch. Raises LifelineError.
    """
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[None] = loop.create_future()
    if VARIABLE not in environment:
        return ended
    descriptor = _descriptor(environment[VARIABLE])

    def readable() -> None:
        try:
            closed = not os.read(descriptor, 4096)
        except BlockingIOError:
            return
        except OSError:
            closed = True
        if closed and not ended.done():
            ended.set_result(None)

    def forget(_: asyncio.Future[None]) -> None:
        loop.remove_reader(descriptor)

    try:
        loop.add_reader(descriptor, readable)
    except OSError as error:
        raise LifelineError(
            f"{VARIABLE}={descriptor} cannot be watched, a pipe is needed: {error.strerror}"
        ) from error
    ended.add_done_callback(forget)
    return ended


def _descriptor(text: str) -> int:
    if sys.platform == "win32":
        raise LifelineError(f"{VARIABLE} is for Linux and macOS: Windows has no such pipes")
    try:
        descriptor = int(text)
        os.set_blocking(descriptor, False)
        # Programs started from here shall not hold on to a pipe they know nothing of.
        os.set_inheritable(descriptor, False)
    except (ValueError, OverflowError, OSError) as error:
        raise LifelineError(f"{VARIABLE} must be an open file descriptor, not {text!r}") from error
    return descriptor
