"""Starts real programs for tests, and sees that none outlives its test."""

import asyncio
import fcntl
import json
import os
import signal
import subprocess
import sys
import tempfile
import termios
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import pytest

from chargepin.cli.tour.world import Outcome
from chargepin.cli.tour.world_programs import Lifeline, Program
from needs import not_here

COMMAND: Final = (sys.executable, "-m", "chargepin")
PATIENCE_S: Final = 30.0
SERIAL: Final = "123456"
NAME: Final = f"WB{SERIAL}"
ENTER: Final = "\n"
CTRL_C: Final = "\x03"
CTRL_D: Final = "\x04"
_OURS: Final = "CHARGEPIN_"


def needed(what: str, *, there: bool, install: str) -> None:
    """Skip a test whose tool is missing, and fail where everything is required."""
    if not there:
        not_here(f"{what} is missing: {install}")


def environment(**more: str) -> dict[str, str]:
    """What this process has, without what would tell of another home, radio or account."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}
    return {**kept, **more}


async def typed(*arguments: str, stdin: str = "", **more: str) -> Outcome:
    """Run a command to its end."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND, *arguments, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment(**more)
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate(stdin.encode())
    finally:
        await killed(process)
    return Outcome(process.returncode or 0, out.decode(), err.decode())


async def killed(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


class Stage:
    """Parts of chargepin as programs, in a directory; everything ends with it."""

    def __init__(self, directory: Path, lifeline: Lifeline, ending: AsyncExitStack) -> None:
        self.directory = directory
        self.radio = ""
        self.account = ""
        self.capture = directory / "radio.btsnoop"
        self._lifeline = lifeline
        self._ending = ending

    async def start_radio(self) -> None:
        more = ("--listen", "tcp:127.0.0.1:0", "--capture", str(self.capture))
        self.radio = (await self._start("radio", *more)).listen

    async def start_account(self, directory: Path | None = None) -> Program:
        database = (directory or self.directory / "account") / "account.sqlite"
        more = ("--database", f"sqlite:///{database}", "--listen", "127.0.0.1:0")
        part = await self._start("account", *more)
        self.account = part.listen
        return part

    async def start_charger(
        self, software: str = "6.7.17", *, serial: str = SERIAL, data: Path | None = None
    ) -> Program:
        directory = data or self.directory / f"charger-{serial}"
        more = ("--serial", serial, "--software", software, "--data", str(directory))
        return await self._start("charger", *more, "--radio", self.radio)

    async def _start(self, part: str, *arguments: str) -> Program:
        log = self.directory / f"{part}.log"
        program = await Program.start(self._lifeline, log, part, *arguments)
        self._ending.push_async_callback(program.end)
        return program

    def home(self, who: str) -> Path:
        return self.directory / "homes" / who

    def options(self, who: str) -> tuple[str, ...]:
        return ("--home", str(self.home(who)), "--radio", self.radio)

    async def type(self, who: str, *arguments: str, stdin: str = "") -> Outcome:
        """Have somebody run a command to its end."""
        return await typed(*arguments, *self.options(who), stdin=stdin)


@asynccontextmanager
async def stage(directory: Path) -> AsyncIterator[Stage]:
    """An empty stage."""
    directory.mkdir(exist_ok=True)
    with Lifeline() as lifeline:
        async with AsyncExitStack() as ending:
            yield Stage(directory, lifeline, ending)


# ---- at a terminal -------------------------------------------------------------------------------


class AtTerminal:
    """A command on a terminal of its own: what its screen shows, and a person's keys."""

    def __init__(self, process: Process, descriptor: int) -> None:
        self.screen = ""
        self._process = process
        self._descriptor = descriptor
        self._shown = asyncio.Event()
        self._seen = 0
        os.set_blocking(descriptor, False)
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    @classmethod
    @asynccontextmanager
    async def of(cls, *arguments: str) -> AsyncIterator[Self]:
        mine, theirs = os.openpty()
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        at = cls(process, mine)
        try:
            yield at
        finally:
            await killed(process)
            asyncio.get_running_loop().remove_reader(mine)
            os.close(mine)

    def _read(self) -> None:
        try:
            piece = os.read(self._descriptor, 4096)
        except BlockingIOError:
            return
        except OSError:  # so Linux says that the program has closed its end
            piece = b""
        if not piece:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self.screen += piece.decode(errors="replace")
        self._shown.set()

    async def expect(self, text: str) -> None:
        """Wait until the screen shows a text, behind what was waited for before."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                while (at := self.screen.find(text, self._seen)) < 0:
                    self._shown.clear()
                    await self._shown.wait()
        except TimeoutError:
            pytest.fail(f"{text!r} is not shown, but {self.screen!r}")
        self._seen = at + len(text)

    def press(self, keys: str) -> None:
        os.write(self._descriptor, keys.encode())

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def echoes(self) -> bool:
        return bool(termios.tcgetattr(self._descriptor)[3] & termios.ECHO)

    async def end(self) -> int:
        """Wait for the end; gives the exit code, negative for a signal."""
        async with asyncio.timeout(PATIENCE_S):
            return await self._process.wait()


# ---- breakable -----------------------------------------------------------------------------------


_Ends: TypeAlias = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Child:
    """One command in a child that obeys; see breakable.py. ended: once it is gone."""

    def __init__(self, number: int, voice: _Ends, ear: _Ends) -> None:
        self.listen = ""
        self.ended = asyncio.Event()
        self._number = number
        self._writers = (voice[1], ear[1])
        self._ear = ear[1]
        self._said: asyncio.Queue[str] = asyncio.Queue()
        self._hearing = asyncio.create_task(self._hear(voice[0]))

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        with suppress(ConnectionError):
            async for line in reader:
                self._said.put_nowait(line.decode().rstrip("\n"))
        self.ended.set()
        self._said.put_nowait("")

    async def line(self) -> str:
        """What it says next; empty once it has ended."""
        async with asyncio.timeout(PATIENCE_S):
            said = await self._said.get()
        if self.ended.is_set() and self._said.empty():
            self._said.put_nowait("")
        return said

    async def ready(self) -> Self:
        self.listen = json.loads(await self.line())["listen"]
        return self

    async def arm(self, order: str) -> None:
        """See breakable.py: "kill 3", "pause 1"."""
        self._ear.write(f"arm {order}\n".encode())
        assert await self.line() == "armed"

    async def stopped_at(self) -> str:
        """Wait for a stop; gives the name of the point, empty if it ended before."""
        return (await self.line()).removeprefix("at ")

    async def broken_at(self) -> str | None:
        """The point at which it has stopped or died, None if it goes on."""
        self._ear.write(b"here\n")
        said = await self.line()
        return None if said == "here" else said.removeprefix("at ")

    def go(self) -> None:
        self._ear.write(b"go\n")

    async def kill(self) -> None:
        """End it without warning, and wait until it is gone."""
        if not self.ended.is_set():  # else its number may be somebody else's by now
            with suppress(ProcessLookupError):
                os.kill(self._number, signal.SIGKILL)
        await self.gone()

    async def gone(self) -> None:
        """Wait for its end."""
        async with asyncio.timeout(PATIENCE_S):
            await self._hearing
        for writer in self._writers:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def outcome(self) -> tuple[int, Any]:
        """Wait for its end; gives the exit code, negative if it was killed, and its document."""
        await self.gone()
        lines = []
        while not self._said.empty():
            lines.append(self._said.get_nowait())
        said = [line for line in lines if line]
        if not said or not said[-1].startswith("exit "):
            return -signal.SIGKILL, said
        (document,) = said[:-1]
        return int(said[-1].removeprefix("exit ")), json.loads(document)


class Breakables:
    """Starts children of one process that has imported everything."""

    def __init__(self, process: subprocess.Popen[str], directory: Path, lifeline: Lifeline) -> None:
        self.lifeline = lifeline
        self._process = process
        self._directory = directory
        self._sockets = 0
        self._children: list[Child] = []

    async def start(self, *arguments: str, **order: str) -> Child:
        """Run `chargepin` with these arguments. order: see breakable.py."""
        self._sockets += 1
        address = str(self._directory / str(self._sockets))
        connected: asyncio.Queue[_Ends] = asyncio.Queue()
        server = await asyncio.start_unix_server(
            lambda reader, writer: connected.put_nowait((reader, writer)), address
        )
        told = {
            **order,
            "arguments": arguments,
            "control": address,
            "log": str(self._directory / "log"),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps(told), file=self._process.stdin, flush=True)
        number = int(self._process.stdout.readline())
        async with asyncio.timeout(PATIENCE_S):
            child = Child(number, await connected.get(), await connected.get())
        server.close()
        await server.wait_closed()
        self._children.append(child)
        return child

    @property
    def log(self) -> str:
        """What all children have said on standard error."""
        return (self._directory / "log").read_text()

    async def end(self) -> None:
        """End all children."""
        children, self._children = self._children, []
        for child in children:
            await child.kill()


@contextmanager
def breakables() -> Iterator[Breakables]:
    """A process to start children from; it takes a second to start, they take none."""
    with Lifeline() as lifeline, tempfile.TemporaryDirectory() as made:
        process = subprocess.Popen(
            (sys.executable, "-m", "e2e.breakable"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**lifeline.environment(), "PYTHONPATH": os.pathsep.join(sys.path)},
            pass_fds=(lifeline.reading,),
        )
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield Breakables(process, Path(made), lifeline)
        finally:
            process.kill()
            process.communicate()
