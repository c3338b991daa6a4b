"""A charger whose power can be cut at every write, its phones, and people who type commands."""

import asyncio
import shutil
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from chargepin.app.client import find
from chargepin.app.errors import ChargepinError, PasscodeWrong
from chargepin.app.ports import Known
from chargepin.app.session import Session
from chargepin.charger.store import Kept, look_into
from chargepin.core import log_summary
from chargepin.core.durable import Mode
from chargepin.core.identity import Credential
from chargepin.machine.unix_socket import address_of
from e2e.programs import NAME, PATIENCE_S, SERIAL, Breakables, Child
from ends import Answers, Ends, Phone
from manual_loop import manual_loop, passes

MOST_POINTS = 40
SILENCE_S = 12.0  # after which no app waits any longer for a charger that is gone
TURN_S = 0.2


@dataclass
class Before:
    """What a test begins with: the charger's files, and what two phones remember."""

    files: Path
    owner: dict[str, Known]
    user: dict[str, Known]

    @property
    def code(self) -> str:
        return self.owner[SERIAL].candidates[0].passcode


def copied(files: Path, to: Path) -> None:
    shutil.copytree(files, to, ignore=shutil.ignore_patterns("button"))


class Scene:
    """A charger that can be killed, and phones."""

    def __init__(self, ends: Ends, programs: Breakables, directory: Path) -> None:
        self.ends = ends
        self.programs = programs
        self.directory = directory
        self.files = directory / "charger"
        self._on_radio: list[asyncio.Future[None]] = []

    async def switch_on(self, **order: str) -> tuple[Child, str]:
        """Gives the charger and its first words: that it is ready, or where it was killed."""
        others = set(self.ends.room._programs)
        charger = await self.programs.start(
            *("serve", "charger", "--serial", SERIAL, "--radio", self.ends.room.address),
            *("--data", str(self.files)),
            **order,
        )
        said = await charger.line()
        self._on_radio = [p._gone for p in self.ends.room._programs if p not in others]
        return charger, said

    async def running(self) -> Child:
        charger, said = await self.switch_on()
        assert "ready" in said, self.programs.log
        await self.settled(await self.phone())
        return charger

    async def until_cut_off(self, charger: Child, work: Awaitable[object]) -> None:
        """Do something to its end; a charger that dies is noticed at once, not after seconds."""
        working = asyncio.ensure_future(work)
        dying = asyncio.ensure_future(charger.ended.wait())
        async with asyncio.timeout(1000 * PATIENCE_S):
            await asyncio.wait({working, dying}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await self.off_the_air()
            while not working.done():
                await passes(TURN_S)
            dying.cancel()
            await working

    async def off_the_air(self) -> None:
        """Wait until the radio misses the charger, and until phones do."""
        await asyncio.wait(self._on_radio)
        manual_loop().advance(SILENCE_S)

    async def settled(self, phone: Phone) -> None:
        """Its start is written once it answers, and nothing is written meanwhile."""
        around = phone.surroundings
        found = await find(around, SERIAL)
        link = await around.radio.connect(found, timeout_s=PATIENCE_S)
        session = Session(link, around.app, around.random)
        await session.begin()
        await session.hello(Credential.PASSCODE)
        await link.close()
        await around.radio.close()

    async def by_hand(self, word: str) -> None:
        """Do something to the charger itself; see charger/button.py for the words."""
        with address_of(self.files / "button") as address:
            reader, writer = await asyncio.open_unix_connection(address)
            writer.write(word.encode())
            assert (await reader.readline()) == b"done\n"
            writer.close()
            await writer.wait_closed()

    async def phone(self, known: dict[str, Known] | None = None) -> Phone:
        phone = await self.ends.phone()
        phone.vault.known = dict(known or {})
        return phone

    def begin_from(self, before: Before) -> None:
        shutil.rmtree(self.files, ignore_errors=True)
        copied(before.files, self.files)

    async def prepared(self, *, protected: bool) -> Before:
        """An open charger that was switched on once, or a protected one with owner and user."""
        charger = await self.running()
        owner, user = await self.phone(), await self.phone()
        if protected:
            code = (await (await owner.enter()).set_passcode()).passcode
            await (await owner.enter()).close()
            await (await user.enter(Answers([code]))).close()
        await charger.kill()
        before = Before(self.directory / "before", owner.vault.known, user.vault.known)
        copied(self.files, before.files)
        return before


@dataclass
class Cut:
    """What came of an operation that was cut off at a point. told: the error that the app saw."""

    point: str
    before: Kept
    after: Kept
    told: ChargepinError | None
    phone: Phone


def holds_for_all(cut: Cut) -> None:
    """What is true after any cut; `look_into` has verified the log's chain."""
    before, after = cut.before.durable, cut.after.durable
    assert cut.after.identity == cut.before.identity
    assert after.generation >= before.generation
    assert after.incarnation >= before.incarnation
    if after.incarnation == before.incarnation:  # else the log was cleared
        assert cut.after.entries[: len(cut.before.entries)] == cut.before.entries
    assert after.mode is not Mode.SEALED
    for kept in (cut.before, cut.after):
        log_agrees(kept)


def log_agrees(kept: Kept) -> None:
    """Whatever has changed is in the log, once, and what is in the log has changed."""
    checked = log_summary.check(kept.entries)
    events = Counter(checked.summary.counts)
    events.update(entry.event for entry in checked.chain)
    durable = kept.durable
    assert durable.generation == events["passcode_set"] + events["passcode_rotated"]
    assert durable.incarnation == 1 + events["reset"]
    assert durable.starts == events["started"]
    if events["reset"] or events["passcode_rotated"]:
        return
    assert durable.lockout.charged == events["attempt"] - events["passcode_entered"]
    assert len(durable.bonds) == events["bond_added"] - events["bond_forgotten"]
    assert (durable.claim is not None) == (events["claimed"] > events["released"])
    assert len(kept.bluetooth_bonds) == events["bluetooth_bond_added"]
    policies = [e.detail for e in checked.chain if e.event == "policy_set"]
    needed = policies[-1]["first_set_needs_presence"] if policies else False
    assert durable.policy.first_set_needs_presence is needed


Work: TypeAlias = Callable[[Phone], Coroutine[Any, Any, object]]


async def every_cut(
    on: Scene, before: Before, phone: Callable[[], Awaitable[Phone]], work: "Work"
) -> AsyncIterator[Cut]:
    """Do the work again and again, each time killed one point later, until it is not."""
    for number in range(1, MOST_POINTS):
        on.begin_from(before)
        charger = await on.running()
        was = look_into(on.files)
        who = await phone()
        await charger.arm(f"kill {number}")
        told = None
        try:
            await on.until_cut_off(charger, work(who))
        except ChargepinError as error:
            told = error
        point = await charger.broken_at()
        if point is None:
            await charger.kill()
            assert told is None or isinstance(told, PasscodeWrong), told
            return
        await charger.gone()
        again = await on.running()
        yield Cut(point, was, look_into(on.files), told, who)
        await again.kill()
        manual_loop().advance(SILENCE_S)
        await who.surroundings.radio.close()
    pytest.fail("there is no end of points")


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody who types commands; each is a process of its own."""

    on: Scene
    home: Path

    async def types(self, *arguments: str, typed: str = "", **order: str) -> tuple[int, Any]:
        """Run a command to its end; gives its exit code and what --json printed."""
        asked = () if typed else ("--no-input",)
        child = await self.starts(*arguments, *asked, typed=typed, **order)
        return await child.outcome()

    async def starts(self, *arguments: str, **order: str) -> Child:
        where = ("--home", str(self.home), "--radio", self.on.ends.room.address, "--json")
        return await self.on.programs.start(*arguments, *where, **order)

    async def done(self, *arguments: str, typed: str = "") -> Any:
        code, document = await self.types(*arguments, typed=typed)
        assert code == 0, (document, self.on.programs.log[-2000:])
        return document

    async def signs_in(self, account: str, *, new: bool = True) -> None:
        await self.done(
            "signup" if new else "login", "me", "--account", account, typed="correcthorse\n"
        )

    async def is_owner(self) -> str:
        """Gets in without typing anything, and knows which passcode is in force; gives it."""
        status = await self.done("status", NAME)
        assert (status["role"], status["passcode"]) == ("owner", "protected")
        shown = (await self.done("passcode", "show", NAME))["passcodes"]
        (active,) = [each for each in shown if each["state"] == "active"]
        generation = look_into(self.on.files).durable.generation
        assert active["generation"] == generation
        assert [each["generation"] for each in shown if each is not active] in (
            [],
            [generation + 1],
        )
        return str(active["passcode"])


async def account_service(on: Scene, **order: str) -> Child:
    database = on.directory / "account" / "account.sqlite"
    arguments = ("--database", f"sqlite:///{database}", "--listen", "127.0.0.1:0")
    return await on.programs.start("serve", "account", *arguments, **order)
