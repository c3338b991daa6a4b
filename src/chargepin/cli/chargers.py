"""Commands about one charger: scan, connect, status, update, pause, reset, call, doctor."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from chargepin.cli.app import inside, person, surroundings
from chargepin.cli.options import ChargerName, add, finish
from chargepin.cli.shown import install, told
from chargepin.cli.terminal import NoAnswer, terminal

if TYPE_CHECKING:
    from chargepin.app.client import Charger
    from chargepin.app.ports import Found
    from chargepin.app.status import Status
    from chargepin.core.catalogue import Version


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    for command in (scan, connect, status, update, end_pause, reset, call):
        add(app, command)


def scan(
    seconds: Annotated[float, typer.Option(min=0, max=600, help="How long to listen.")] = 3.0,
) -> None:
    """List the chargers in range."""

    async def scanning() -> "list[Found]":
        from chargepin.app.client import heard

        async with surroundings() as around:
            return await heard(around.radio, seconds)

    seen = finish(scanning())
    from chargepin.core.gatt import PASSCODE_SERVICE

    document = [
        {
            "name": found.name,
            "address": found.address,
            "rssi_dbm": found.rssi_dbm,
            "passcode_service": PASSCODE_SERVICE in found.services,
        }
        for found in seen
    ]
    lines = [f"{found.name}  {found.rssi_dbm} dBm  {found.address}" for found in seen]
    terminal().result(document, "\n".join(lines) or "No charger in range.")


def connect(charger: ChargerName) -> None:
    """Be the app in a terminal: offers the update and the passcode, then shows live status."""
    from chargepin.cli.live import live

    finish(live(charger))


def status(charger: ChargerName) -> None:
    """Say what a charger is doing."""

    async def asking() -> "Status":
        async with inside(charger) as entered:
            return await entered.status()

    found = finish(asking())
    import msgspec

    terminal().result(msgspec.to_builtins(found), told(found))


def update(
    charger: ChargerName,
    version: Annotated[str | None, typer.Option("--to", help="A version; else the newest.")] = None,
) -> None:
    """Install newer software on a charger, or with --to an older one."""
    from chargepin.core.catalogue import Version

    try:
        named = Version.parse(version) if version else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error

    async def updating() -> str | None:
        from chargepin.app.updating import closes

        async with inside(charger) as entered:
            wanted = named or await entered.update_offered()
            if wanted is None:
                return None
            if closes(entered.passcode_state, wanted):
                await _see_that_meant(entered, wanted)
            await install(entered, str(wanted))
            return str(wanted)

    installed = finish(updating())
    text = "It offers nothing newer. With the maker's software, update it in the maker's app."
    if installed:
        text = f"{installed} is installed; the charger restarts."
    terminal().result({"installed": installed}, text)


async def _see_that_meant(entered: "Charger", wanted: "Version") -> None:
    """Ask whether the charger shall be closed by older software. Raises Cancelled, NoAnswer."""
    from chargepin.app.errors import Cancelled
    from chargepin.core.catalogue import PASSCODE_SINCE

    closed = (
        f"{entered.name} has a passcode, which {wanted} does not know. With it, the charger stays"
        f" closed to everybody until an owner updates it to {PASSCODE_SINCE} or newer."
    )
    asked = person()
    if asked is None:
        raise NoAnswer(f"{closed} So a yes is needed, and --no-input was given")
    if not await asked.confirm(f"{closed}\nInstall {wanted} all the same?", default=False):
        raise Cancelled(f"Not done: {entered.name} keeps the software that it has.")


def end_pause(charger: ChargerName) -> None:
    """End the pause after wrong passcodes. Needs an admin."""

    async def ending() -> None:
        async with inside(charger) as entered:
            await entered.end_pause()

    finish(ending())
    terminal().result({"done": True}, "The pause is over.")


def reset(charger: ChargerName) -> None:
    """Erase passcode, bonds, policy and claim of a charger. Needs an owner."""

    async def resetting() -> bool:
        asked = person()
        if asked is None:
            raise NoAnswer("a yes is needed, and --no-input was given")
        async with inside(charger) as entered:
            if not await asked.confirm(
                f"Erase the passcode and every phone of {entered.name}?", default=False
            ):
                return False
            await entered.reset()
            return True

    done = finish(resetting())
    terminal().result({"done": done}, "Erased; the charger is open." if done else "Not done.")
    if not done:
        raise typer.Exit(1)


def call(
    charger: ChargerName,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="A method's name.")],
    parameters: Annotated[str | None, typer.Argument(metavar="[JSON]")] = None,
) -> None:
    """Call any method of a charger and print its answer."""
    if not method:
        raise typer.BadParameter("a method has a name, such as r_dat")
    try:
        par = json.loads(parameters) if parameters else None
    except ValueError as error:
        raise typer.BadParameter(f"the parameters are no JSON: {error}") from error

    async def calling() -> object:
        async with inside(charger) as entered:
            return await entered.call(method, par)

    value = finish(calling())
    terminal().result(value, json.dumps(value, ensure_ascii=False))
