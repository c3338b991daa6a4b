"""How whoever ends a command by a signal gets what Ctrl-C does: something is put right first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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

    # Windows has nothing of the kind, and no thread but the main one may hear signals.
    with suppress(AttributeError, NotImplementedError, RuntimeError):
        for number in (signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, tell)
    try:
        yield
    except asyncio.CancelledError:
        if told:
            raise KeyboardInterrupt from None
        raise
