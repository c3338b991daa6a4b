"""`chargepin pairing …`: let a phone without this app in, by its own Bluetooth dialog."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from chargepin.cli.app import inside
from chargepin.cli.ending import ended_as_by_ctrl_c
from chargepin.cli.options import ChargerName, finish, group
from chargepin.cli.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from chargepin.app.pairing import PairingCode, PairingNotice

HOW = (
    "The pairing window of {name} is open. On the phone, choose {name} in the Bluetooth settings;"
    " when it asks for a code or PIN, type the newest one shown here. Ctrl-C closes the window."
)
WHY = {
    "paired": "The window is closed.",
    "time": "Two minutes are over; the window is closed. No phone paired.",
    "attempts": (
        "Ten codes were used up and none was right; the window is closed. Somebody near the"
        " charger may be guessing: try again when they are gone."
    ),
    "asked": "The window was closed. No phone paired.",
    "forgotten": "This app was forgotten; the window is closed. No phone paired.",
    "passcode_changed": "The passcode changed; the window is closed. No phone paired.",
}
ONE_CODE = "The code was used up and was not right; the window is closed. No phone paired."
MADE_ROOM = "This app has hung up to make room: now type the code. It is good for one attempt."
LOST = "The connection broke off. The window stays open: the newest code is good for one attempt."
LATER = (
    " Press Ctrl-C when the phone is done; then, or when the time is over, this app asks the"
    " charger what came of it."
)
UNKNOWN = (
    "What became of the window is not known: {reason} `chargepin phones list {name}` tells later"
    " which phones the charger knows."
)
SECONDS_PER_MINUTE = 60


class Switch(Enum):
    """Yes or no, as it is typed."""

    ON = "on"
    OFF = "off"


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    group(app, "pairing", "Phones without this app, and who may set up a charger.", open_, policy)


def open_(
    charger: ChargerName,
    name: Annotated[str, typer.Option(help="What the phone shall be called in lists.")] = "",
    hang_up: Annotated[
        bool,
        typer.Option(
            "--hang-up",
            help="Make room once a code is shown: for this computer's own dialog. Where a charger"
            " carries one phone at a time, that goes without saying.",
        ),
    ] = False,
) -> None:
    """Show one-time codes for a phone's own pairing dialog, for two minutes. Needs an admin.

    Without its connection, the window stays open for one attempt with the newest code.
    """

    async def opening() -> "Window":
        with ended_as_by_ctrl_c():
            async with inside(charger) as entered:
                window = Window(entered.name)
                await window.watch(entered.open_pairing(name, stay=not hang_up))
            if window.left:
                await window.wait()
                await window.look(charger)
        return window

    window = finish(opening())
    paired = window.paired_name
    told = WHY.get(window.why, f"The window is closed ({window.why}).")
    if window.left and window.why == "attempts":
        told = ONE_CODE
    if paired is not None:
        told = f"Paired with {paired}. It may use the charger as a user, without a code from now on"
        told += f", until `chargepin phones forget {window.charger} {window.paired_id}`."
        told += " If that phone says that pairing failed, it was another one: forget it at once."
    document = {
        "charger": window.charger,
        "paired": paired,
        "id": window.paired_id,
        "attempts": window.attempts,
        "why": window.why,
    }
    terminal().result(document, told)
    if paired is None:
        raise typer.Exit(1)


class Window:
    """What a person sees of a window, and what came of it. attempts: codes that were used up."""

    def __init__(self, charger: str) -> None:
        self.charger = charger
        self.why = ""
        self.left = False
        self.paired_name: str | None = None
        self.paired_id: str | None = None
        self.attempts = 0
        self._codes = 0
        self._code = ""
        self._ends_s = 0.0
        self._parting = ""

    async def watch(self, notices: "AsyncGenerator[PairingNotice, None]") -> None:
        """Show codes until the window is closed, counting down on a terminal."""
        import asyncio
        from contextlib import aclosing

        async with aclosing(notices):
            while not (self.why or self.left):
                waiting = asyncio.ensure_future(anext(notices))
                try:
                    while not waiting.done():
                        self._count_down()
                        await asyncio.wait({waiting}, timeout=1.0)
                except asyncio.CancelledError:
                    waiting.cancel()  # then the charger is asked to close the window
                    await asyncio.wait({waiting})
                    terminal().warn("The window is closed.")
                    raise
                self._take(waiting.result())

    async def wait(self) -> None:
        """Stay away until the window's time is over, or Ctrl-C says that the phone is done."""
        import asyncio

        loop = asyncio.get_running_loop()
        try:
            terminal().say(self._parting)  # here, where Ctrl-C does what is said of it
            while loop.time() < self._ends_s:
                self._count_down()
                await asyncio.sleep(min(1.0, max(0.0, self._ends_s - loop.time())))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None:
                task.uncancel()

    async def look(self, charger: str) -> None:
        """Ask what became of the window; one that is open still is closed."""
        from chargepin.app.errors import ChargepinError, LinkLost

        reason = "the charger was restarted, or another window was opened since."
        try:
            async with inside(charger) as entered:
                past = await entered.past_pairing()
                if past.open and past.yours:
                    await entered.call("pairing.close")
                    past = await entered.past_pairing()
        except ChargepinError as error:
            reason = str(error)
        else:
            if past.yours and past.why is not None:
                self.paired_id, self.paired_name = past.bond, past.name
                self.attempts, self.why = past.attempts, past.why
                return
        text = UNKNOWN.format(reason=reason, name=self.charger)
        raise LinkLost(text, may_have_happened=True)

    def _take(self, notice: "PairingNotice") -> None:
        from chargepin.app.pairing import PairingCode, PhonePaired, WindowLeft

        if isinstance(notice, PairingCode):
            self._show(notice)
        elif isinstance(notice, PhonePaired):
            self.paired_id, self.paired_name = notice.id, notice.name
        elif isinstance(notice, WindowLeft):
            self.left = True
            self._parting = (MADE_ROOM if notice.made_room else LOST) + LATER
        else:
            self.why = notice.why
            spent = self.paired_id is not None or self.why == "attempts"
            self.attempts = self._codes if spent else max(0, self._codes - 1)

    def _show(self, notice: "PairingCode") -> None:
        from asyncio import get_running_loop

        self._codes += 1
        self._ends_s = get_running_loop().time() + notice.seconds_left
        if self._codes == 1:
            terminal().say(HOW.format(name=self.charger))
        else:
            terminal().say(
                "An attempt failed: a code is good for one only. Here is another;"
                f" {notice.attempts_left} left."
            )
        self._code = notice.code
        if not terminal().counts_down:
            terminal().say(f"Code {self._code}, for {notice.seconds_left} seconds")

    def _count_down(self) -> None:
        from asyncio import get_running_loop

        left_s = max(0, round(self._ends_s - get_running_loop().time()))
        minutes, seconds = divmod(left_s, SECONDS_PER_MINUTE)
        if self._code:
            terminal().in_place(f"Code {self._code}   {minutes}:{seconds:02} left")


def policy(
    charger: ChargerName,
    first_set_needs_presence: Annotated[
        Switch | None,
        typer.Option(
            help="Whether a first passcode needs the charger's button, or its first ten minutes."
        ),
    ] = None,
) -> None:
    """Show who may set up a charger, or with an option decide it. Deciding needs an owner."""

    async def deciding() -> bool:
        async with inside(charger) as entered:
            if first_set_needs_presence is not None:
                await entered.set_presence_policy(needed=first_set_needs_presence is Switch.ON)
            return await entered.presence_policy()

    needed = finish(deciding())
    text = (
        "A first passcode needs somebody at the charger: a press of its button, or the first ten"
        " minutes after power-up."
        if needed
        else "A first passcode needs nobody at the charger: whoever is in range may set it."
    )
    terminal().result({"first_set_needs_presence": needed}, text)
