"""The tour's world in one process, whose parts can be broken one at a time.

The same radio, account service, charger and commands as `chargepin tour` starts as programs; the
loop's time can be moved by hand.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chargepin.account.api import AccountServer, Settings, serve_account
from chargepin.charger.air import Air
from chargepin.charger.daemon import Daemon, Rule
from chargepin.charger.setup import setup_of
from chargepin.cli.main import run
from chargepin.cli.terminal import Terminal
from chargepin.cli.tour.steps_open import Saw
from chargepin.cli.tour.touring import Step, StepResult
from chargepin.cli.tour.world import (
    FACTORY_SOFTWARE,
    MODEL,
    SERIAL,
    Listener,
    Outcome,
    Typed,
    World,
)
from chargepin.core import guard
from chargepin.core.pairing_window import WINDOW_S
from chargepin.radio import Room, serve_radio
from manual_loop import manual_loop


def _unchanged(air: Air) -> Air:
    return air


async def _nothing(_: "OneProcess") -> None:
    """Nobody interferes."""


@dataclass(frozen=True)
class Faults:
    """What is wrong with a world.

    typing: what becomes of what somebody types: who, arguments, keys -> arguments, keys; None for
    nothing. after_power_cut: done to the charger's files. before: done just before a step.
    """

    rule: Rule = guard.step
    air: Callable[[Air], Air] = _unchanged
    software: str = FACTORY_SOFTWARE
    capture: bool = True
    account: Settings = field(default_factory=Settings)
    homes: Callable[[str], str] = str
    typing: Callable[[str, tuple[str, ...], str], tuple[tuple[str, ...], str] | None] | None = None
    after_power_cut: Callable[[Path], None] | None = None
    before: Mapping[str, Callable[["OneProcess"], Awaitable[None]]] = field(default_factory=dict)


class Lines(io.StringIO):
    """Standard error that somebody reads line by line."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        super().__init__()
        self._tell = tell

    def write(self, text: str) -> int:
        if text.strip():
            self._tell(text)
        return super().write(text)


class OneProcess(World):
    """A world whose parts share this process's loop; people type in threads."""

    def __init__(self, directory: Path, faults: Faults) -> None:
        super().__init__(directory)
        self.faults = faults
        self.reports: list[str] = []
        self._people = ThreadPoolExecutor(8)
        self._typed: list[Future[int]] = []
        self._room: Room | None = None
        self._server: AccountServer | None = None
        self._daemon: Daemon | None = None
        self._serving: asyncio.Task[None] | None = None

    def home(self, who: str) -> Path:
        return super().home(self.faults.homes(who))

    async def start(self) -> None:
        capture = self.capture if self.faults.capture else None
        self._room = await serve_radio("127.0.0.1", 0, capture=capture)
        database = f"sqlite:///{self.account_files / 'account.sqlite'}"
        self._server = await serve_account(database, "127.0.0.1", 0, settings=self.faults.account)
        self.radio, self.account = self._room.address, self._server.url
        await self._switch_on()

    async def close(self) -> None:
        if any(not each.done() for each in self._typed):  # a window that nobody watches any more
            manual_loop().advance(WINDOW_S)
            await asyncio.wait(map(asyncio.wrap_future, self._typed), timeout=6)
        await self._switch_off()
        if self._server is not None:
            await self._server.close()
        if self._room is not None:
            await self._room.close()
        await asyncio.to_thread(self._people.shutdown)

    async def type(
        self,
        who: str,
        *arguments: str,
        keys: str = "",
        secret: str = "",
        listener: Listener | None = None,
    ) -> Typed:
        if self.faults.typing is not None:
            typed = self.faults.typing(who, arguments, keys)
            if typed is None:
                return Typed(" ".join(arguments), 0, "", "")
            arguments, keys = typed
        return await super().type(who, *arguments, keys=keys, secret=secret, listener=listener)

    def check(self) -> None:
        if self._serving is not None and self._serving.done():
            raise OSError(f"the charger has ended: {self._serving.exception()}")

    async def cut_power(self) -> None:
        await self._switch_off()
        if self.faults.after_power_cut is not None:
            self.faults.after_power_cut(self.charger_files)
        await self._switch_on()

    async def _switch_on(self) -> None:
        setup = setup_of(
            serial=SERIAL,
            model=MODEL,
            software=self.faults.software,
            directory=self.charger_files,
        )
        self._daemon = await Daemon.start(
            setup,
            self.radio,
            self.reports.append,
            rule=self.faults.rule,
            air=self.faults.air,
            update_pace_s=0.0,
        )
        self._serving = asyncio.create_task(self._daemon.run())

    async def _switch_off(self) -> None:
        if self._serving is not None:
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)
        if self._daemon is not None:
            await self._daemon.close()

    async def _run(
        self, arguments: Sequence[str], stdin: str, listener: Listener | None
    ) -> Outcome:
        loop = asyncio.get_running_loop()

        def hand_over(text: str) -> None:
            if listener is not None:
                loop.call_soon_threadsafe(listener, text)

        terminal = Terminal(io.StringIO(stdin), io.StringIO(), Lines(hand_over))
        typed = self._people.submit(run, list(arguments), terminal)
        self._typed.append(typed)
        code = await asyncio.wrap_future(typed)
        out, err = terminal.stdout, terminal.stderr
        assert isinstance(out, io.StringIO)
        assert isinstance(err, io.StringIO)
        return Outcome(code, out.getvalue(), err.getvalue())


class Saboteur:
    """An audience that interferes before steps."""

    def __init__(self, world: OneProcess) -> None:
        self._world = world

    async def begins(self, step: Step) -> None:
        await self._world.faults.before.get(step.name, _nothing)(self._world)

    async def ended(self, step: Step, result: StepResult, saw: Saw) -> None:
        """Nobody looks."""


@asynccontextmanager
async def one_process(directory: Path, faults: Faults | None = None) -> AsyncIterator[OneProcess]:
    """A world that has just begun."""
    world = OneProcess(directory, faults or Faults())
    try:
        await world.start()
        yield world
    finally:
        await world.close()
