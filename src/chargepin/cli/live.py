"""`chargepin connect`: the app in a terminal, from the first connection to the live status."""

from typing import TYPE_CHECKING

from chargepin.cli.app import person, surroundings
from chargepin.cli.shown import CUT_OFF, install, told
from chargepin.cli.terminal import NoAnswer, terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chargepin.app.client import Charger
    from chargepin.app.entering import Surroundings

POP_UP = """
  +----------------------------------------------------------------+
  |  {question:<62}|
  |                                                                |
  |  Anyone within ten metres can connect to it now. A 6-digit     |
  |  passcode is assigned automatically and shared with everyone   |
  |  who has access. All phones are disconnected and must enter    |
  |  it once.                                                      |
  +----------------------------------------------------------------+"""
HELP = "lock, unlock, start, stop, status, quit"
ORDERS: "dict[str, Callable[[Charger], Awaitable[None]]]" = {
    "lock": lambda charger: charger.lock(),
    "unlock": lambda charger: charger.lock(locked=False),
    "start": lambda charger: charger.start(),
    "stop": lambda charger: charger.stop(),
}


async def live(charger: str) -> None:
    """Get in, offer what the charger lacks, then take orders until the person leaves."""
    async with surroundings() as around:
        entered = await _get_in(around, charger)
        try:
            entered = await _updated(around, entered, charger)
            entered = await _protected(around, entered, charger)
            await _orders(entered)
        finally:
            terminal().unanswered = entered.unanswered
            await entered.close()


async def _get_in(around: "Surroundings", charger: str) -> "Charger":
    """Enter; a wrong passcode is asked for again while the charger takes another."""
    from secrets import randbelow

    from chargepin.app.client import enter, find
    from chargepin.app.errors import PasscodeWrong

    while True:
        found = await find(around, charger)
        try:
            entered = await enter(around, found, randbelow)
        except PasscodeWrong as wrong:
            if around.prompt is None or wrong.tries_left == 0:
                raise
            around.prompt.tell(str(wrong))
            continue
        terminal().say(f"Connected to {entered.name} ({found.rssi_dbm} dBm).")
        return entered


async def _updated(around: "Surroundings", entered: "Charger", charger: str) -> "Charger":
    """Step 1 of the article: software older than 6.7.17 is offered its update."""
    from chargepin.core.catalogue import PASSCODE_SINCE

    if entered.software is None or entered.software >= PASSCODE_SINCE:
        return entered
    offered = await entered.update_offered()
    terminal().say(
        f"{entered.name} runs software {entered.software}. A Bluetooth passcode needs"
        f" {PASSCODE_SINCE} or newer."
    )
    asked = person()
    if offered is None or asked is None:
        return entered
    if not await asked.confirm(f"Install {offered} now?", default=True):
        return entered
    await install(entered, str(offered))
    terminal().say("Installed. The charger restarts; connecting again.")
    return await _get_in(around, charger)


async def _protected(around: "Surroundings", entered: "Charger", charger: str) -> "Charger":
    """Steps 3 to 5: the pop-up, the passcode, the cut-off, and entering it."""
    if entered.passcode_state != "open":
        return entered
    asked = person()
    if asked is None:
        return entered
    question = f"Protect {entered.name} with a Bluetooth passcode?"
    terminal().say(POP_UP.format(question=question))
    if not await asked.confirm("Set the passcode?", default=True):
        return entered
    name = entered.name
    active = await entered.set_passcode()
    terminal().say(f"The passcode of {name} is {active.passcode}.")
    terminal().say(CUT_OFF.format(name=name))
    return await _get_in(around, charger)


async def _orders(entered: "Charger") -> None:
    """Show the status, then carry out what is typed, until the input ends."""
    terminal().say(told(await entered.status()))
    asked = person()
    if asked is None:
        return
    terminal().say(f"Type {HELP}.")
    while True:
        try:
            typed = await terminal().line("> ")
        except NoAnswer:
            return
        order = typed.strip().lower()
        if order in ("quit", "exit", "q"):
            return
        if order in ORDERS:
            await ORDERS[order](entered)
        elif order not in ("status", ""):
            terminal().say(f"Type {HELP}.")
            continue
        terminal().say(told(await entered.status()))
