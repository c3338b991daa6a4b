"""Lines of standard input, waited for on the event loop, so that Ctrl-C breaks the waiting off.

A thread that waits in `input()` cannot be broken off: the program would hang until Enter, and a
terminal whose echo was off would stay so. Windows has only the waiting that cannot be broken off.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TextIO

_PIECE_BYTES = 4096


class Keyboard:
    """What a person types, or what is piped in."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._descriptor = _descriptor(stream)
        self._typed = b""
        self._hidden = False

    async def line(self) -> str | None:
        """Wait for a line, without its end; None when the input has ended."""
        if sys.platform == "win32" and self._hidden:
            import getpass

            return getpass.getpass("", self._stream)
        if sys.platform == "win32" or self._descriptor is None:
            text = self._stream.readline()
            return text.removesuffix("\n") if text else None
        while b"\n" not in self._typed:
            await _readable(self._descriptor)
            piece = _read(self._descriptor)
            if not piece and not self._typed:
                return None
            self._typed += piece or b"\n"  # the last line of a file may lack its end
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(errors="replace").removesuffix("\r")

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Show nothing of what is typed meanwhile, and then again, however it ends."""
        if self._descriptor is None or not self._stream.isatty():
            yield
            return
        if sys.platform == "win32":
            self._hidden = True
            try:
                yield
            finally:
                self._hidden = False
            return
        import termios

        before = termios.tcgetattr(self._descriptor)
        silent = [*before]
        silent[3] &= ~termios.ECHO
        show = partial(termios.tcsetattr, self._descriptor, termios.TCSADRAIN, before)
        # What was typed before the question was no answer to it.
        termios.tcsetattr(self._descriptor, termios.TCSAFLUSH, silent)
        try:
            with _before_the_end(show):
                yield
        finally:
            show()


@contextmanager
def _before_the_end(act: Callable[[], None]) -> Iterator[None]:
    """Do something when a signal ends this program meanwhile, unless it is caught already."""
    import asyncio
    import signal

    from chargepin.cli.ending import ENDINGS

    def end(number: int) -> None:
        act()
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    loop = asyncio.get_running_loop()
    caught = []
    # No thread but the main one may catch signals.
    with suppress(NotImplementedError, RuntimeError, ValueError):
        for number in ENDINGS:
            if signal.getsignal(number) is signal.SIG_DFL:
                loop.add_signal_handler(number, end, number)
                caught.append(number)
    try:
        yield
    finally:
        for number in caught:
            loop.remove_signal_handler(number)


def _descriptor(stream: TextIO) -> int | None:
    """None for a stream in memory."""
    try:
        return stream.fileno()
    except (OSError, ValueError):
        return None


def _read(descriptor: int) -> bytes:
    """What is there; nothing at the end, or once the terminal is gone."""
    try:
        return os.read(descriptor, _PIECE_BYTES)
    except OSError:
        return b""


async def _readable(descriptor: int) -> None:
    """Wait until there is something to read, or the input has ended."""
    import asyncio

    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    try:
        loop.add_reader(descriptor, ready.set)
    except OSError:
        return  # a file: there is never anything to wait for
    try:
        await ready.wait()
    finally:
        loop.remove_reader(descriptor)
