"""What a tour knows while it goes on: its people, their phones, and how to look at the far side."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from chargepin.app.account import AccountClient, open_account
from chargepin.app.client import Charger, enter, find
from chargepin.app.connect import surroundings_of
from chargepin.app.entering import Surroundings
from chargepin.app.home import settings_of
from chargepin.app.ports import Known, Prompt
from chargepin.app.vault import open_vault
from chargepin.charger.store import Kept, look_into
from chargepin.cli.tour.overheard import Talk, talks
from chargepin.cli.tour.stock_phone import StockPhone, switched_on
from chargepin.cli.tour.world import NAME, SERIAL, Listener, Typed, World
from chargepin.core.durable import Mode, PasscodeCredential
from chargepin.core.log import Entry

if TYPE_CHECKING:
    from chargepin.core.passcode import Passcode

T = TypeVar("T")


class DoesNotHold(Exception):
    """What a step says is not so; the text says what was found instead."""


class CannotRun(Exception):
    """A step has nothing to stand on, because an earlier one did not hold."""


def expect(holds: object, otherwise: str) -> None:
    """Raise DoesNotHold with what was found, unless it holds."""
    if not holds:
        raise DoesNotHold(otherwise)


def ended_well(typed: Typed, code: int = 0) -> Typed:
    """Expect a command's exit code."""
    said = " ".join((typed.err or typed.out).split())[-200:]
    expect(typed.code == code, f"`{typed.command}` ended with {typed.code}, not {code}: {said}")
    return typed


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment: the newest entry of the charger's log, and how many connections there had been."""

    sequence: int
    talks: int


BEGINNING = Mark(0, 0)


@dataclass(slots=True)
class Facts:
    """What earlier steps have found and later ones need.

    connected: phones that stay connected until the charger hangs up, and whether it has. paused:
    when the pause began. guest: what the phone that paired by its own dialog can be forgotten by.
    """

    passcode: str | None = None
    credential: PasscodeCredential | None = None
    paused: Mark | None = None
    guest: str | None = None
    connected: dict[str, asyncio.Event] = field(default_factory=dict)


class Guesser:
    """The `Prompt` port of somebody who does not know the passcode and types what he likes."""

    def __init__(self, guesses: Iterable[str]) -> None:
        self._guesses = iter(guesses)

    async def confirm(self, _question: str, *, default: bool) -> bool:
        return default

    async def passcode(self, _question: str, *, held: "Passcode | None" = None) -> str:
        _ = held
        return next(self._guesses)

    def tell(self, text: str) -> None:
        """Nobody reads it."""

    def progress(self, text: str, percent: int) -> None:
        """Nobody looks."""


class Tale:
    """One run of the story. neighbour: a phone without the app that looks at the charger."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.facts = Facts()
        self._stack = AsyncExitStack()
        self._apps: dict[str, Surroundings] = {}
        self._phones: dict[str, StockPhone] = {}
        self._ahead: dict[str, asyncio.Task[Typed]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in self._ahead.values():
            task.cancel()
        await asyncio.gather(*self._ahead.values(), return_exceptions=True)
        await self._stack.__aexit__(kind, error, trace)

    # ---- what goes on beside the steps ----------------------------------------------------

    def ahead(self, name: str, work: Coroutine[None, None, Typed]) -> None:
        """Begin what a later step stands on, as people do while they wait for something else."""
        self._ahead[name] = asyncio.create_task(work)

    async def over(self, name: str) -> None:
        """Wait until it is over, however it ended."""
        if name in self._ahead:
            await asyncio.wait([self._ahead[name]])

    async def done(self, name: str) -> Typed:
        """Wait until it is done, and give its last command.

        Raises CannotRun if it could not be done, or was not begun.
        """
        await self.over(name)
        if name not in self._ahead:
            raise CannotRun(f"{name}: the steps before did not come that far")
        error = self._ahead[name].exception()
        if error is not None:
            raise CannotRun(f"{name}: {error}") from error
        return self._ahead[name].result()

    # ---- people and their phones ----------------------------------------------------------

    async def type(
        self,
        who: str,
        *arguments: str,
        keys: str = "",
        secret: str = "",
        listener: Listener | None = None,
    ) -> Typed:
        """Have somebody type a command; see World.type."""
        return await self.world.type(who, *arguments, keys=keys, secret=secret, listener=listener)

    async def app(self, who: str, prompt: Prompt | None = None) -> Surroundings:
        """Somebody's app in this program: with its own home, address, radio and account."""
        if who not in self._apps:
            home = self.world.home(who)
            account = await asyncio.to_thread(open_account, home)
            if account is not None:
                self._stack.push_async_callback(account.close)
            around = surroundings_of(home, radio=self.world.radio, account=account)
            self._apps[who] = await self._stack.enter_async_context(around)
        return replace(self._apps[who], prompt=prompt)

    async def inside(self, who: str, prompt: Prompt | None = None) -> Charger:
        """Connect somebody's app to the charger. Raises ChargepinError."""
        around = await self.app(who, prompt)
        return await enter(around, await find(around, NAME))

    async def phone(self, whose: str) -> StockPhone:
        """Somebody's phone that has not got the app."""
        if whose not in self._phones:
            on = switched_on(self.world.radio)
            self._phones[whose] = await self._stack.enter_async_context(on)
        return self._phones[whose]

    @asynccontextmanager
    async def account(self, who: str) -> AsyncIterator[AccountClient]:
        """The account service as somebody who is signed in. Raises CannotRun."""
        client = await asyncio.to_thread(open_account, self.world.home(who))
        if client is None:
            raise CannotRun(f"{who} has no account")
        async with asked(client):
            yield client

    async def known_to(self, who: str) -> Known:
        """What somebody's vault knows of the charger."""
        vault = open_vault(self.world.home(who), default_home=False)
        return await asyncio.to_thread(vault.get, SERIAL) or Known(SERIAL)

    # ---- the far side ---------------------------------------------------------------------

    async def kept(self) -> Kept:
        """What is in the charger's files now; its log's chain holds. Raises StoreFailed."""
        return await asyncio.to_thread(look_into, self.world.charger_files)

    async def talks(self) -> list[Talk]:
        """Every connection that the charger's adapter has had."""
        try:
            return await asyncio.to_thread(talks, self.world.capture)
        except FileNotFoundError:
            raise DoesNotHold("the radio left no capture to look at") from None

    async def mark(self) -> Mark:
        """Remember this moment, to ask later what has happened since."""
        kept, seen = await asyncio.gather(self.kept(), self.talks())
        return Mark(kept.entries[-1].sequence if kept.entries else 0, len(seen))

    async def logged(self, since: Mark) -> list[Entry]:
        """What the charger has written into its log."""
        return [entry for entry in (await self.kept()).entries if entry.sequence > since.sequence]

    async def talks_of(self, who: str, since: Mark) -> list[Talk]:
        """The connections that somebody's app has had, as the charger saw them."""
        return await self.talks_with(settings_of(self.world.home(who)).address, since)

    async def talks_with(self, address: str, since: Mark) -> list[Talk]:
        """The connections that a phone with this address has had, as the charger saw them."""
        return [talk for talk in (await self.talks())[since.talks :] if talk.peer == address]

    async def protected(self) -> Mark:
        """Mark this moment. Raises CannotRun where no passcode is set: there, all are let in."""
        mark = await self.mark()
        if (await self.kept()).durable.mode is not Mode.PROTECTED:
            raise CannotRun("the charger has no passcode")
        return mark

    # ---- what earlier steps found ---------------------------------------------------------

    @property
    def passcode(self) -> str:
        """What the owner was shown."""
        return _needed(self.facts.passcode, "no passcode was assigned")

    @property
    def credential(self) -> PasscodeCredential:
        """What the charger kept when the passcode was set."""
        return _needed(self.facts.credential, "no passcode was assigned")

    @property
    def paused(self) -> Mark:
        """The moment since which the charger takes no passcode."""
        return _needed(self.facts.paused, "there is no pause")

    @property
    def guest(self) -> str:
        """The bond of the phone that paired by its own dialog."""
        return _needed(self.facts.guest, "no phone has paired by its own dialog")

    @property
    def wrong_passcode(self) -> str:
        """One that differs in its last digit."""
        return self.passcode[:5] + str((int(self.passcode[5]) + 1) % 10)


@asynccontextmanager
async def asked(client: AccountClient) -> AsyncIterator[AccountClient]:
    """Close an account client after use."""
    try:
        yield client
    finally:
        await client.close()


def _needed(value: T | None, otherwise: str) -> T:
    if value is None:
        raise CannotRun(otherwise)
    return value


def shown_passcode(typed: Typed) -> str | None:
    """The passcode that a command showed its person."""
    found = re.search(rf"The passcode of {NAME} is (\d{{6}})\.", typed.out)
    return found[1] if found else None


def events(entries: Sequence[Entry]) -> str:
    """The names of log entries in a line."""
    return ", ".join(entry.event for entry in entries) or "nothing"
