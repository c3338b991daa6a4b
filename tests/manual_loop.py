"""Time that tests move by hand."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple, Unpack

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

PACE = 0.2  # of the usual one
_STEP_S = 0.001
_LOOK_S = 0.2
_CALM_LOOKS = 3
_COMPUTES_MAX_S = 0.01  # within a look, by who only waits


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time can be moved forward by hand.

    By itself time passes slowly, so that on a busy computer nothing is late: no answer that the
    program waits for, and nothing that a test does a second before a window closes. Every timer
    of the loop follows it, `asyncio.timeout` too: a test's own guard must be longer than what it
    advances.
    """

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self.in_threads: set[asyncio.Future[Any]] = set()
        super().__init__()

    def time(self) -> float:
        """Running seconds, what was advanced included."""
        return super().time() * PACE + self._ahead_s

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """Have a thread do something; it is in `in_threads` until it is done."""
        work = super().run_in_executor(executor, func, *args)
        self.in_threads.add(work)
        work.add_done_callback(self.in_threads.discard)
        return work

    def advance(self, seconds: float) -> None:
        """Move time forward; whatever is then due runs at the loop's next turn.

        One jump is one moment: a timer that sets itself again does so from the new time.
        May be called from any thread. Raises ValueError for a step back.
        """
        if seconds < 0:
            raise ValueError("time only moves forward")
        self._ahead_s += seconds
        self.call_soon_threadsafe(_nothing)  # ends a select() that waits for the old time


def manual_loop() -> ManualLoop:
    """The running loop, whose time tests move."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ManualLoop)
    return loop


async def passes(seconds: float) -> None:
    """Move time forward, and wait a millisecond: what is on its way meanwhile is not late."""
    manual_loop().advance(seconds)
    await asyncio.sleep(_STEP_S * PACE)


async def at_rest() -> None:
    """Wait until this process has nothing to do but to wait for a time-out.

    Where it did little because others kept it from the processor, or a disk was slow, it looks
    again.
    """
    calm, loop = 0, manual_loop()
    while calm < _CALM_LOOKS:
        began_s, used_s = time.monotonic(), time.process_time()
        await asyncio.sleep(_LOOK_S * PACE)
        kept_waiting = time.monotonic() - began_s > 1.5 * _LOOK_S
        computed = time.process_time() - used_s > _COMPUTES_MAX_S
        calm = 0 if kept_waiting or computed or loop.in_threads else calm + 1


async def unwaited(work: Awaitable[T], step_s: float = 2.0) -> T:
    """Have a work done: whenever there is nothing to do but to wait, that much time passes."""
    task = asyncio.ensure_future(work)
    while not task.done():
        resting = asyncio.ensure_future(at_rest())
        await asyncio.wait({task, resting}, return_when=asyncio.FIRST_COMPLETED)
        resting.cancel()
        if not task.done():
            manual_loop().advance(step_s)
    return task.result()


def _nothing() -> None:
    """Let the loop turn once."""
