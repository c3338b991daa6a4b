"""What app commands share: their home, a person to ask, the account if somebody is signed in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from chargepin.cli.terminal import NoAnswer, Terminal, terminal

if TYPE_CHECKING:
    from chargepin.app.account import AccountClient
    from chargepin.app.client import Charger
    from chargepin.app.entering import Surroundings
    from chargepin.app.ports import Vault
    from chargepin.core.passcode import Passcode

SHOW_KEY = "?"


class Person:
    """The `Prompt` port on a terminal."""

    def __init__(self, given: Terminal) -> None:
        self._terminal = given

    async def confirm(self, question: str, *, default: bool) -> bool:
        """Ask yes or no; Enter takes the default. Raises Cancelled."""
        from chargepin.app.errors import Cancelled

        choice = "[Y/n]" if default else "[y/N]"
        while True:
            try:
                answer = await self._terminal.line(f"{question} {choice} ")
            except NoAnswer as error:
                raise Cancelled(f"Not done: {error}.") from error
            match answer.strip().lower():
                case "":
                    return default
                case "y" | "yes":
                    return True
                case "n" | "no":
                    return False
                case _:
                    self._terminal.say("Please answer y or n.")

    async def passcode(self, question: str, *, held: "Passcode | None" = None) -> str:
        """Ask without echo; SHOW_KEY shows the one that this app holds. Raises Cancelled."""
        from chargepin.app.errors import Cancelled

        if held is not None:
            question = f"({SHOW_KEY} shows it) {question}"
        while True:
            try:
                text = await self._terminal.secret(question)
            except NoAnswer as error:
                raise Cancelled(f"Not done: {error}.") from error
            if held is None or text.strip() != SHOW_KEY:
                return text
            self._terminal.say(f"The passcode is {held.digits}.")

    def tell(self, text: str) -> None:
        """Say something."""
        self._terminal.warn(text)

    def progress(self, text: str, percent: int) -> None:
        """Draw a bar."""
        self._terminal.progress(text, percent)


def person() -> Person | None:
    """Whoever sits at the terminal; None with --no-input."""
    given = terminal()
    return None if given.no_input else Person(given)


def home() -> Path:
    """The home of this command."""
    from chargepin.app.home import home_of

    return home_of(terminal().home)[0]


def own_vault() -> "Vault":
    """The vault of this command's home. Raises VaultError."""
    from chargepin.app.home import home_of
    from chargepin.app.vault import open_vault

    place, default_home = home_of(terminal().home)
    return open_vault(place, default_home=default_home)


@asynccontextmanager
async def signed_in() -> AsyncIterator["AccountClient | None"]:
    """The account that this home is signed in to, if any."""
    from chargepin.app.account import open_account

    client = open_account(home())
    if client is None:
        yield None
        return
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def surroundings() -> AsyncIterator["Surroundings"]:
    """Radio, vault, account and person of this command."""
    from chargepin.app.connect import surroundings_of

    if terminal().radio is not None:
        from chargepin.machine.controller import quiet

        quiet()
    given = terminal()
    async with surroundings_of(given.home, radio=given.radio, prompt=person()) as around:
        # Whoever set a passcode here is asked for it once, although the vault holds it.
        yield replace(around, ask_first=around.prompt is not None)


@asynccontextmanager
async def inside(charger: str) -> AsyncIterator["Charger"]:
    """A connection to a charger, with everything a person at a terminal expects."""
    from chargepin.app.client import enter
    from chargepin.app.lending import seek

    async with surroundings() as around:
        entered = await enter(around, await seek(around, home(), charger))
        try:
            yield entered
        finally:
            terminal().unanswered = entered.unanswered
            await entered.close()
