"""Commands as processes of their own, forked from a program that has imported what they need.

Importing the Bluetooth stack takes ten times as long as most commands. A fork has its own memory,
streams and exit code like any other process; what it does not do again is import. Linux alone: on
other systems a fork may not touch what its parent has loaded. cli/forking.py is the program.
"""

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from typing import IO, Final, Self, TypeAlias

from chargepin.cli.tour.world import Listener, Outcome

FORKS: Final = sys.platform == "linux"
_PROGRAM: Final = "chargepin.cli.forking"


class Forks:
    """The program that forks, as whoever gives the orders sees it."""

    def __init__(self, process: Process, orders: socket.socket) -> None:
        self._process = process
        self._orders = orders

    @classmethod
    async def start(cls, environment: Mapping[str, str]) -> Self:
        """Start it; it ends with the program that has started it. Raises OSError."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", _PROGRAM, str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                env=dict(environment),
                pass_fds=(theirs.fileno(),),
                start_new_session=True,  # Ctrl-C is for the one who gives the orders
            )
        return cls(process, ours)

    async def run(self, arguments: Sequence[str], stdin: str, listener: Listener | None) -> Outcome:
        """Run one command to its end. Raises OSError when the program is gone."""
        with tempfile.TemporaryFile() as out:
            async with AsyncExitStack() as until_heard:
                with ExitStack() as until_given:
                    reading, writing = _pipe(until_given, until_given)
                    told, telling = _pipe(until_heard, until_given)
                    status, answering = _pipe(until_heard, until_given)
                    writing.write(stdin.encode())  # a pipe holds more than anybody types
                    writing.close()
                    errors = await until_heard.enter_async_context(_lines(told))
                    answers = await until_heard.enter_async_context(_lines(status))
                    theirs = [stream.fileno() for stream in (reading, out, telling, answering)]
                    order = json.dumps(list(arguments)).encode()
                    socket.send_fds(self._orders, [order], theirs)  # it may run from now on
                err, code = await _watched(errors, answers, listener)
            out.seek(0)
            return Outcome(code, out.read().decode(errors="replace"), err)

    async def end(self) -> None:
        """Let it end."""
        self._orders.close()
        await self._process.wait()


async def _watched(
    errors: asyncio.StreamReader, answers: asyncio.StreamReader, listener: Listener | None
) -> tuple[str, int]:
    """Hear a fork out; gives its standard error and exit code. It is killed if nobody waits."""
    number, lines = b"", []
    try:
        number = await answers.readline()
        async for raw in errors:
            lines.append(raw.decode(errors="replace"))
            if listener is not None:
                listener(lines[-1])
        code = await answers.readline()
    except BaseException:
        number = number or await answers.readline()
        with suppress(ValueError, ProcessLookupError):  # it never began, or is over
            os.kill(int(number), signal.SIGKILL)
        await answers.read()  # to the end, which is its end
        raise
    return "".join(lines), int(code or -signal.SIGKILL)


_Until: TypeAlias = ExitStack | AsyncExitStack


def _pipe(reads_until: _Until, writes_until: _Until) -> tuple[IO[bytes], IO[bytes]]:
    reading, writing = os.pipe()
    return (
        reads_until.enter_context(os.fdopen(reading, "rb")),
        writes_until.enter_context(os.fdopen(writing, "wb")),
    )


@asynccontextmanager
async def _lines(pipe: IO[bytes]) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), pipe
    )
    try:
        yield reader
    finally:
        transport.close()
