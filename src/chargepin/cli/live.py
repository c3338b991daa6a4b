"""`chargepin connect`: the app in a terminal, from the first connection to the live status."""

from typing import TYPE_CHECKING

from chargepin.cli.app import home, person, surroundings
from chargepin.cli.shown import CUT_OFF, install, told
from chargepin.cli.terminal import NoAnswer, terminal

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from chargepin.app.client import Charger
    from chargepin.app.entering import Surroundings
    from chargepin.app.holding import Holder, Notice
    from chargepin.app.status import Status
    from chargepin.core.bapi import Event

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
    from chargepin.app.connect import holding

    async with surroundings() as around:
        entered = await _get_in(around, charger)
        try:
            entered = await _updated(around, entered, charger)
            entered = await _protected(around, entered, charger)
            async with holding(home(), around, entered, _raised, _notice) as held:
                entered = await _orders(held, entered)
        finally:
            terminal().unanswered = entered.unanswered
            await entered.close()


async def _get_in(around: "Surroundings", charger: str) -> "Charger":
    """Enter; a wrong passcode is asked for again while the charger takes another."""
    from chargepin.app.client import enter
    from chargepin.app.errors import PasscodeWrong
    from chargepin.app.lending import seek

    while True:
        found = await seek(around, home(), charger)
        try:
            entered = await enter(around, found, _raised)
        except PasscodeWrong as wrong:
            if around.prompt is None or wrong.tries_left == 0:
                raise
            around.prompt.tell(str(wrong))
            continue
        terminal().say(f"Connected to {entered.name} ({found.rssi_dbm} dBm).")
        return entered


async def _updated(around: "Surroundings", entered: "Charger", charger: str) -> "Charger":
    """Step 1 of the article: software older than 6.7.17 is offered its update."""
    from chargepin.app.errors import MakersAppNeeded
    from chargepin.core.catalogue import PASSCODE_SINCE

    if entered.software is None or entered.software >= PASSCODE_SINCE:
        return entered
    terminal().say(
        f"{entered.name} runs software {entered.software}. A Bluetooth passcode needs"
        f" {PASSCODE_SINCE} or newer."
    )
    try:
        offered = await entered.update_offered()
    except MakersAppNeeded as error:
        terminal().say(str(error))
        return entered
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


async def _orders(held: "Holder", entered: "Charger") -> "Charger":
    """Show the status, then carry out what is typed, until the input ends; gives the last one."""
    from chargepin.app.errors import ChargepinError, LinkLost

    found = await _shown(entered)
    if person() is None:
        return _left(entered, found)
    terminal().say(f"Type {HELP}.")
    while True:
        try:
            typed = await terminal().line("> ")
        except NoAnswer:
            return _left(entered, found)
        order = typed.strip().lower()
        if order in ("quit", "exit", "q"):
            return _left(entered, found)
        if order not in ORDERS and order not in ("status", ""):
            terminal().say(f"Type {HELP}.")
            continue
        if held.lent_s:
            terminal().say(f"The connection is lent for another {round(held.lent_s)} s.")
            continue
        entered = await held.connected()
        try:
            if order in ORDERS:
                await ORDERS[order](entered)
            found = await _shown(entered)
        except ChargepinError as error:
            if not terminal().interactive:
                raise  # a script must hear of it
            terminal().warn(str(error))
            if isinstance(error, LinkLost):
                await entered.close()  # then it is made anew


async def _shown(entered: "Charger") -> "Status":
    """Tell what it is doing."""
    found = await entered.status()
    terminal().say(told(found))
    return found


def _left(entered: "Charger", found: "Status") -> "Charger":
    """End the conversation; with --json its document is the last status that was told."""
    if terminal().json:
        import msgspec

        terminal().result(msgspec.to_builtins(found), "")
    return entered


def _raised(event: "Event") -> None:
    """Tell what a press of the charger's button has come to."""
    if event.name == "tampered":
        terminal().warn("The charger's housing was opened, just now.")
    if event.name == "role_raised":
        terminal().say(
            f"Somebody pressed the charger's button: this app is {event.members.get('role')} now."
        )


def _notice(notice: "Notice") -> None:
    from chargepin.app.holding import Broken, GivenUp, Lent

    match notice:
        case GivenUp(reason):
            terminal().say(str(reason))
        case Broken(reason, again_s):
            terminal().say(f"{reason} Trying again in {again_s:.0f} s.")
        case Lent(away_s):
            minutes = round(away_s / 60, 1)
            terminal().say(
                f"The connection is lent: hung up for {minutes:g} minutes, so that another phone"
                " can connect."
            )
        case _:
            terminal().say("Connected.")
