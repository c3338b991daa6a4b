"""The world of `chargepin tour`: every part is a program of its own, people type real commands.

Each command is a process of its own, too; forked where a system has forks (forks.py).
"""

import asyncio
import importlib
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chargepin.cli.ending import ended_as_by_ctrl_c
from chargepin.cli.tour.forks import FORKS, Forks
from chargepin.cli.tour.world import FACTORY_SOFTWARE, MODEL, SERIAL, Listener, Outcome, World
from chargepin.machine.files import private_directory
from chargepin.machine.lifeline import VARIABLE

_COMMAND: Final = (sys.executable, "-m", "chargepin")
_READY_WITHIN_S: Final = 60.0
_ENDS_WITHIN_S: Final = 5.0
_OURS: Final = "CHARGEPIN_"


class Lifeline:
    """A pipe that the kernel closes when this program is gone, however it ends."""

    def __enter__(self) -> Self:
        self.reading, self._writing = os.pipe()
        return self

    def __exit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        os.close(self._writing)
        os.close(self.reading)

    def environment(self) -> dict[str, str]:
        """For programs that end with this one."""
        return {**_environment(), VARIABLE: str(self.reading)}


class Program:
    """One part of chargepin in a process of its own. listen: where it said that it is."""

    def __init__(self, part: str, process: Process, log: Path, listen: str) -> None:
        self.listen = listen
        self._part = part
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, lifeline: Lifeline, log: Path, *arguments: str) -> Self:
        """Start `chargepin serve …` and wait until it is ready. Raises OSError."""
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            process = await asyncio.create_subprocess_exec(
                *_COMMAND,
                "serve",
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=PIPE,
                stderr=descriptor,
                env=lifeline.environment(),
                pass_fds=(lifeline.reading,),
            )
        finally:
            os.close(descriptor)
        try:
            return cls(arguments[0], process, log, await _ready(process, arguments[0], log))
        except BaseException:
            await _killed(process)
            raise

    def check(self) -> None:
        """Raise OSError if it has ended by itself."""
        if self._process.returncode is not None:
            raise OSError(f"the {self._part} has ended: {_last_words(self._log)}")

    async def kill(self) -> None:
        """End it without warning, as a power cut does."""
        await _killed(self._process)

    async def end(self) -> None:
        """Ask it to end, and see that it does."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(_ENDS_WITHIN_S):
                await self._process.wait()
        except TimeoutError:
            await _killed(self._process)


async def _ready(process: Process, part: str, log: Path) -> str:
    assert process.stdout is not None  # noqa: S101 - it is a pipe
    try:
        async with asyncio.timeout(_READY_WITHIN_S):
            line = await process.stdout.readline()
    except TimeoutError:
        line = b""
    try:
        return str(json.loads(line)["listen"])
    except (ValueError, KeyError, TypeError):
        raise OSError(f"the {part} did not start: {_last_words(log)}") from None


def _last_words(log: Path) -> str:
    said = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line for line in reversed(said) if line.strip()), "it said nothing")


async def _killed(process: Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


class Programs(World):
    """A world of processes. Made by `programs`."""

    def __init__(self, directory: Path, lifeline: Lifeline) -> None:
        super().__init__(directory)
        self._lifeline = lifeline
        self._logs = private_directory(self.directory / "logs")
        self._others: list[Program] = []
        self._charger: Program | None = None
        self._forks: Forks | None = None

    async def start(self) -> None:
        """Start the account service, and beside it the radio and its charger. Raises OSError."""
        if FORKS:
            self._forks = await Forks.start(_environment())
        ends = await asyncio.gather(
            self._start_account(), self._start_air(), return_exceptions=True
        )
        for error in ends:
            if error is not None:
                raise error

    async def _start_account(self) -> None:
        database = f"sqlite:///{self.account_files / 'account.sqlite'}"
        program = await self._start("account", "--database", database, "--listen", "127.0.0.1:0")
        self._others.append(program)
        self.account = f"http://{program.listen}"

    async def _start_air(self) -> None:
        capture = str(self.capture)
        program = await self._start("radio", "--listen", "tcp:127.0.0.1:0", "--capture", capture)
        self._others.append(program)
        self.radio = program.listen
        await self._switch_on()

    async def close(self) -> None:
        """End every part, the charger first."""
        if self._charger is not None:
            await self._charger.end()
        await asyncio.gather(*(program.end() for program in self._others))
        if self._forks is not None:
            await self._forks.end()

    def check(self) -> None:
        for program in (*self._others, *([self._charger] if self._charger else [])):
            program.check()

    async def cut_power(self) -> None:
        if self._charger is not None:
            await self._charger.kill()
        await self._switch_on()

    async def _switch_on(self) -> None:
        self._charger = await self._start(
            "charger",
            *("--serial", SERIAL),
            *("--model", MODEL),
            *("--software", FACTORY_SOFTWARE),
            *("--data", str(self.charger_files)),
            *("--radio", self.radio),
        )

    async def _start(self, part: str, *arguments: str) -> Program:
        return await Program.start(self._lifeline, self._logs / f"{part}.log", part, *arguments)

    async def _run(
        self, arguments: Sequence[str], stdin: str, listener: Listener | None
    ) -> Outcome:
        if self._forks is not None:
            return await self._forks.run(arguments, stdin, listener)
        process = await asyncio.create_subprocess_exec(
            *_COMMAND,
            *arguments,
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            env=_environment(),
        )
        assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - pipes
        try:
            _, out, err, code = await asyncio.gather(
                _given(process.stdin, stdin.encode()),
                process.stdout.read(),
                _heard(process.stderr, listener),
                process.wait(),
            )
        except BaseException:
            await _killed(process)
            raise
        return Outcome(code, _text(out), err)


@asynccontextmanager
async def programs(directory: Path) -> AsyncIterator[Programs]:
    """Start everything in a directory, and end it afterwards. Raises OSError.

    Whoever ends this program by a signal gets what Ctrl-C does: nothing is left behind.
    """
    with ended_as_by_ctrl_c(), Lifeline() as lifeline:
        world = Programs(directory, lifeline)
        try:
            await asyncio.gather(world.start(), asyncio.to_thread(_steps_brought))
            yield world
        finally:
            await world.close()


def _steps_brought() -> None:
    """Import the steps and the Bluetooth stack, which takes as long as programs take to start."""
    importlib.import_module("chargepin.cli.tour.touring")
    from chargepin.machine.controller import quiet

    quiet()


def _environment() -> dict[str, str]:
    """Give this program's, without what would tell others of another home, radio or account."""
    return {name: value for name, value in os.environ.items() if not name.startswith(_OURS)}


async def _given(stdin: asyncio.StreamWriter, content: bytes) -> None:
    """All that a command can read; it may end before it has."""
    stdin.write(content)
    with suppress(BrokenPipeError, ConnectionResetError):
        await stdin.drain()
    stdin.close()


async def _heard(stream: asyncio.StreamReader, listener: Listener | None) -> str:
    """What comes until the end, told line by line."""
    lines = []
    async for raw in stream:
        lines.append(_text(raw))
        if listener is not None:
            listener(lines[-1])
    return "".join(lines)


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
