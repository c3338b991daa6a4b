"""Time that tests move by hand."""

import asyncio


class ManualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time can be moved forward by hand.

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


def manual_loop() -> ManualLoop:
    """The running loop, whose time tests move."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, ManualLoop)
    return loop


def _nothing() -> None:
    """Let the loop turn once."""
