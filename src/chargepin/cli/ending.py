"""How whoever ends a command by a signal gets what Ctrl-C does: something is put right first."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

if sys.platform == "win32":
    ENDINGS = (signal.SIGTERM,)  # no program is told of the end of its terminal
else:
    ENDINGS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """Let SIGTERM and the end of the terminal do to the running task what Ctrl-C does.

    That holds in the background, too, where shells have Ctrl-C ignored. Raises KeyboardInterrupt.
    """
    import asyncio

    loop, task, told = asyncio.get_running_loop(), asyncio.current_task(), False
    assert task is not None  # noqa: S101 - a coroutine's

    def tell() -> None:
        nonlocal told
        told = True
        task.cancel()

    # Loops on Windows hear no signals, nor does any thread but the main one.
    with suppress(NotImplementedError, RuntimeError):
        for number in ENDINGS:
            loop.add_signal_handler(number, tell)
    try:
        yield
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise
