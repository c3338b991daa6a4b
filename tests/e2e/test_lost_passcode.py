"""docs/lost-passcode.md, done step by step with real programs, as it says."""

import asyncio
import re
import sys
from asyncio.subprocess import PIPE
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from chargepin.app.errors import ChargepinError, PasscodeNeeded, PasscodeWrong
from chargepin.charger.store import look_into
from chargepin.core.durable import Mode
from chargepin.core.lockout import FREE_TRIES
from e2e.cutting import Person, Scene, account_service
from e2e.programs import NAME, SERIAL, AtTerminal, Child
from ends import Answers

DOCUMENT = Path(__file__).parents[2] / "docs" / "lost-passcode.md"
ACTS = {
    "Switch the charger off and on again": "power",
    "hold its button for ten seconds": "hold",
    "press the charger's button once": "press",
}
NEVER_DRAWN = "123456"
STEP = re.compile(r"^ *```sh\n(.*?)^ *```$|\*\*(.*?)\*\*", re.MULTILINE | re.DOTALL)


def steps(title: str) -> list[str]:
    """What a section tells to do, in its order: commands as they are typed, acts by their words."""
    _, found = DOCUMENT.read_text().split(f"\n## {title}\n")
    section = re.split(r"\n## |\nIf your charger came|\nIf it was your only", found)[0]
    told = []
    for commands, act in STEP.findall(section):
        if act:
            told.append(ACTS[act.replace("\n", " ")])
        told += [line.strip() for line in commands.splitlines()]
    return told


@dataclass
class World:
    """A charger, and a person who reads the document."""

    on: Scene
    me: Person
    charger: Child
    documents: dict[str, Any] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return str(self.documents["passcode set"]["passcode"])

    async def follow(self, title: str, **filled_in: str) -> None:
        """Do a section's steps; filled_in: what a person sees on the screen and types."""
        done = steps(title)
        assert done, title
        for step in done:
            match step:
                case "power":
                    await self.charger.kill()
                    self.charger = await self.on.running()
                case "hold" | "press":
                    await self.on.by_hand(step)
                case _:
                    await self.type(step, filled_in)

    async def type(self, line: str, filled_in: Mapping[str, str]) -> None:
        program, *words = line.split()
        assert program == "chargepin"
        words = [filled_in.get(word, word) for word in words]
        typed = ""
        if words[:2] == ["passcode", "enter"]:
            typed = f"{self.code}\n"
        elif words[0] == "login":
            words += ["--account", filled_in["account"]]
            typed = "correcthorse\n"
        self.documents[" ".join(words[:2])] = await self.me.done(*words, typed=typed)


async def world(on: Scene, *, who_set: str) -> World:
    """A charger whose passcode was set by somebody, and me, who knows nothing yet."""
    charger = await on.running()
    other = Person(on, on.directory / who_set)
    await other.done("passcode", "set", NAME)
    await other.done("status", NAME)
    return World(on, Person(on, on.directory / "me"), charger)


async def is_in(person: Person) -> bool:
    code, _ = await person.types("status", NAME)
    return code == 0


async def test_forgotten_while_a_phone_still_gets_in(on: Scene) -> None:
    here = await world(on, who_set="me")
    before = (await here.me.done("passcode", "show", NAME))["passcodes"][0]["passcode"]
    await here.follow("I forgot it, and a phone still gets in")
    assert here.documents["passcode show"]["passcodes"][0]["passcode"] == before
    assert here.documents["passcode rotate"]["passcode"] != before
    await here.me.is_owner()


async def test_a_simulated_button_is_held_as_it_says(on: Scene) -> None:
    charger = await on.running()
    (line,) = re.findall(r"^python3 -c '(.*)'$", DOCUMENT.read_text(), re.MULTILINE)
    line = line.replace("charger/button", "button")
    held = await asyncio.create_subprocess_exec(
        sys.executable, "-c", line, cwd=on.files, stdout=PIPE
    )
    assert (await held.communicate())[0] == b"done\n"
    await charger.kill()
    assert look_into(on.files).durable.incarnation == 2


async def test_forgotten_without_an_account(on: Scene) -> None:
    here = await world(on, who_set="me")
    await here.charger.kill()
    here.charger = await on.running()
    await on.by_hand("hold")
    code, said = await here.me.types("status", NAME)  # as the document says: not believed
    assert code == 1
    assert f"chargepin phones forget-charger {NAME}" in said["error"]["message"]
    await here.follow("I forgot it, and have no account")
    await here.me.is_owner()
    assert look_into(on.files).durable.generation == 2


async def test_forgotten_with_an_account(on: Scene) -> None:
    account = await (await account_service(on)).ready()
    charger, first = await on.running(), Person(on, on.directory / "first phone")
    await first.done(
        *("signup", "me@example.org", "--account", account.listen), typed="correcthorse\n"
    )
    await first.done("claim", NAME)
    code = (await first.done("passcode", "set", NAME))["passcode"]
    here = World(on, Person(on, on.directory / "me"), charger)
    await here.follow("I forgot it, and have an account", account=account.listen)
    assert here.documents["passcode show"]["passcodes"][0]["passcode"] == code
    assert here.documents[f"status {NAME}"]["passcode"] == "protected"


async def test_a_neighbour_set_it_first(on: Scene) -> None:
    here = await world(on, who_set="neighbour")
    assert not await is_in(here.me)
    await here.follow("A neighbour set it first")
    await here.me.is_owner()
    log = here.documents[f"log {NAME}"]
    events = [entry["event"] for entry in log["entries"]]
    assert events.index("passcode_set") < events.index("log_cleared") < events.index("reset")
    assert events.count("passcode_set") == 2
    assert log["verified"] is True
    assert "neighbour" not in str(log)
    assert here.documents["pairing policy"] == {"first_set_needs_presence": True}
    assert not await is_in(Person(on, on.directory / "neighbour"))


async def test_a_second_hand_charger(on: Scene) -> None:
    account = await (await account_service(on)).ready()
    charger, former = await on.running(), Person(on, on.directory / "former")
    await former.signs_in(account.listen)
    await former.done("claim", NAME)
    await former.done("passcode", "set", NAME)
    await former.done("status", NAME)
    here = World(on, Person(on, on.directory / "me"), charger)
    await here.me.done(
        *("signup", "new@example.org", "--account", account.listen), typed="correcthorse\n"
    )
    assert not await is_in(here.me)
    await here.follow("I bought it second-hand, and the former owner has the passcode")
    await here.me.is_owner()
    assert len(here.documents["phones list"]) == 1
    shown = (await here.me.done("chargers"))[0]
    assert (shown["serial"], shown["role"]) == (SERIAL, "owner")
    assert not await is_in(former)
    claim = look_into(on.files).durable.claim
    assert claim is not None


async def test_a_phone_is_lost(on: Scene) -> None:
    account = await (await account_service(on)).ready()
    charger, lost = await on.running(), Person(on, on.directory / "lost")
    await lost.signs_in(account.listen)
    await lost.done("claim", NAME)
    code = (await lost.done("passcode", "set", NAME))["passcode"]
    await lost.done("status", NAME)
    bond = look_into(on.files).durable.bonds[0].bond_id

    here = World(on, Person(on, on.directory / "me"), charger)
    await here.me.signs_in(account.listen, new=False)
    where = ("--home", str(here.me.home), "--radio", on.ends.room.address)
    async with AtTerminal.of("connect", NAME, *where) as terminal:  # it was the only phone
        await terminal.expect("you are user")
        await on.by_hand("press")
        await terminal.expect("this app is owner")
        terminal.press("status\n")
        await terminal.expect("you are owner")
        terminal.press("quit\n")
        assert await terminal.end() == 0

    await here.follow("A phone is lost", ID=bond)
    assert here.documents["logout --others"] == {"ended": 1}
    await here.me.is_owner()
    assert bond not in [each.bond_id for each in look_into(on.files).durable.bonds]
    assert not await is_in(lost)
    assert (await lost.types("passcode", "show", NAME))[1] != code


async def test_somebody_is_kept_out(on: Scene) -> None:
    account = await (await account_service(on)).ready()
    here = World(on, Person(on, on.directory / "me"), await on.running())
    await here.me.signs_in(account.listen)
    for command in (("claim",), ("passcode", "set"), ("status",)):
        await here.me.done(*command, NAME)
    former, member = (Person(on, on.directory / who) for who in ("former", "member"))
    for person in (former, member):
        who = person.home.name
        await person.done("signup", who, "--account", account.listen, typed="correcthorse\n")
        link = (await here.me.done("invite", NAME, who))["link"]
        await person.done("accept", link)
        assert await is_in(person)

    await here.follow("Somebody shall not get in any more", PERSON="former")
    assert len(here.documents["passcode rotate"]["forgotten"]) == 2
    assert not await is_in(former)
    assert await is_in(member)  # who types nothing
    await here.me.is_owner()


async def test_a_pause_ends_as_the_document_says(on: Scene) -> None:
    here = await world(on, who_set="me")
    text = DOCUMENT.read_text()
    (command,) = re.findall(r"- from a phone.*?`chargepin (.*?)`", text, re.DOTALL)
    for end in (command.split(), "press"):
        stranger, told = await on.phone(), ""
        for _ in range(FREE_TRIES + 1):
            with pytest.raises(ChargepinError) as refused:
                await stranger.enter(Answers([NEVER_DRAWN]))
            told = refused.value.code
        assert told == "paused"
        if end == "press":
            await on.by_hand(end)
        else:
            await here.me.done(*end)
        with pytest.raises(PasscodeWrong):
            await (await on.phone()).enter(Answers([NEVER_DRAWN]))


@pytest.mark.parametrize(("typed", "what"), [("12345678", "PUK"), ("1234", "user's code")])
async def test_other_numbers_are_told_apart_and_cost_nothing(
    on: Scene, typed: str, what: str
) -> None:
    here = await world(on, who_set="owner")
    phone, answers = await on.phone(), Answers([typed])
    with pytest.raises((IndexError, PasscodeNeeded)):
        await phone.enter(answers)  # it asks again, and nobody answers
    assert any(what in said for said in answers.said)
    kept = look_into(on.files).durable
    assert (kept.mode, kept.lockout.charged) == (Mode.PROTECTED, 0)
    await here.charger.kill()
