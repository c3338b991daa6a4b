"""`chargepin demo`: the tour told to a person; then everything is left running to try."""

import os
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

from chargepin.cli.serve import until_told
from chargepin.cli.terminal import NoAnswer, Terminal, terminal
from chargepin.cli.tour.world import NAME, Typed, World
from chargepin.cli.tour.world_programs import programs
from chargepin.machine.files import private_directory, write_private

if TYPE_CHECKING:
    from chargepin.cli.tour.steps_open import Saw
    from chargepin.cli.tour.touring import Report, Step, StepResult

_NARROWEST, _WIDEST = 80, 100
_INDENT: Final = 4
_MARK: Final = 3  # "ok "
_GAP: Final = "  "
_BOLD, _DIM, _GREEN, _RED, _PLAIN = "\033[1m", "\033[2m", "\033[32m", "\033[31m", "\033[0m"

_WELCOME = """\
chargepin: the Bluetooth passcode of an EV charger, in the six steps of its maker's article.

A charger, an account service and the apps of several people run here as programs of their own, \
on a virtual radio. Each step ends in what the other side saw."""


async def shown(directory: Path) -> bool:
    """Tell the story in a world of its own; whether all of it held."""
    given = terminal()
    page = Page(given)
    for paragraph in _WELCOME.splitlines():
        given.say(page.text(paragraph))
    async with programs(directory) as world:
        from chargepin.cli.tour.touring import tour

        report = await tour(world, Narrator(given, page, world))
        given.say(_verdict(report))
        if given.interactive:
            given.say(_to_try(world))
            await until_told()
            given.say("\nStopped; nothing is left running.")
    return report.ok


def _verdict(report: "Report") -> str:
    failed = [step.name for step in report.steps if not step.ok]
    if not failed:
        return f"\nAll {len(report.steps)} steps hold."
    return f"\n{len(failed)} of {len(report.steps)} steps do not hold: {', '.join(failed)}."


class Narrator:
    """An audience of one person, at a terminal or reading what a pipe brings."""

    def __init__(self, given: Terminal, page: "Page", world: World) -> None:
        self._terminal = given
        self._page = page
        self._world = world
        self._told = 0
        self._number = 0
        self._goes_on = not given.interactive

    async def begins(self, step: "Step") -> None:
        """Say what the article says, and who does what."""
        if not self._goes_on and self._number:
            try:
                await self._terminal.line("\nEnter goes on ")
            except NoAnswer:
                self._goes_on = True  # nobody answers any more
        say = self._terminal.say
        if step.number != self._number:
            again = "Again, step" if step.number < self._number else "Step"
            self._number = step.number
            say(self._page.rule(f"{again} {step.number}"))
        say(self._page.title(step.title))
        say(self._page.columns(step.does))

    async def ended(self, step: "Step", result: "StepResult", saw: "Saw") -> None:
        """Say what was typed, and what the other side saw of it."""
        _ = step
        typed = self._world.history[self._told :]
        self._told = len(self._world.history)
        for who, each in typed:
            self._terminal.say(self._page.typed(who, each))
        for who, what in saw.items():
            self._terminal.say(self._page.seen(f"{who}: {what}", held=True))
        if not result.ok:
            self._terminal.say(self._page.seen(result.detail, held=False))


class Page:
    """Lines of 80 to 100 characters, in colour where somebody sees it and wants it."""

    def __init__(self, given: Terminal) -> None:
        width = shutil.get_terminal_size((_WIDEST, 0)).columns if given.interactive else _WIDEST
        self._width = min(max(width, _NARROWEST), _WIDEST) - 1
        self._coloured = given.stdout.isatty() and not os.environ.get("NO_COLOR")

    def text(self, text: str) -> str:
        """A paragraph."""
        return self._wrapped(text, "")

    def rule(self, text: str) -> str:
        """A line across, that begins a step of the article."""
        return "\n" + self._in(_BOLD, f"-- {text} ".ljust(self._width, "-"))

    def title(self, text: str) -> str:
        """What the article says."""
        return "\n" + self._in(_BOLD, self._wrapped(text, "  "))

    def columns(self, does: Mapping[str, str]) -> str:
        """Who does what, side by side."""
        from chargepin.cli.tour.touring import CHARGER, OWNER, SECOND, STRANGER

        people = (OWNER, CHARGER, SECOND, STRANGER)
        width = (self._width - _INDENT - len(_GAP) * (len(people) - 1)) // len(people)
        cells = [textwrap.wrap(does.get(who, ""), width) for who in people]
        heads = self._row([who.upper() for who in people], width)
        rows = [self._row(row, width) for row in zip_longest(*cells, fillvalue="")]
        return "\n".join([self._in(_DIM, heads), *rows])

    def typed(self, who: str, typed: Typed) -> str:
        """Show a command, by whom, and what it printed for a person."""
        command = typed.command.partition("#")[0]  # an invitation's secret is not for a screen
        said = typed.err if command.endswith("--json") else typed.out + typed.err
        lines = [line.rstrip() for line in said.splitlines() if line.strip()]
        shown = [self._wrapped(f"{who} $ {command}", " " * _INDENT)]
        shown += [
            self._wrapped(line.lstrip(), " " * (_INDENT + _MARK + _leading(line))) for line in lines
        ]
        return "\n".join(self._in(_DIM, line) for line in shown)

    def seen(self, text: str, *, held: bool) -> str:
        """What the far side saw, or what was found instead."""
        mark = self._in(_GREEN, "ok") if held else self._in(_RED, "NO")
        lines = textwrap.wrap(text, self._width - _INDENT - _MARK) or [""]
        rest = ["\n" + " " * (_INDENT + _MARK) + line for line in lines[1:]]
        return " " * _INDENT + f"{mark} {lines[0]}" + "".join(rest)

    def _row(self, cells: Sequence[str], width: int) -> str:
        return (" " * _INDENT + _GAP.join(cell.ljust(width) for cell in cells)).rstrip()

    def _wrapped(self, text: str, indent: str) -> str:
        return textwrap.fill(
            text,
            self._width,
            initial_indent=indent,
            subsequent_indent=indent,
            break_on_hyphens=False,
        )

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._coloured else text


def _leading(line: str) -> int:
    return len(line) - len(line.lstrip())


def _to_try(world: World) -> str:
    """What to do next, as whom; to be copied line by line into another terminal."""
    tries = (
        ("The owner, whose phone the charger knows:", "owner"),
        ("", f"connect {NAME}", f"phones list {NAME}", f"log {NAME}", f"passcode rotate {NAME}"),
        ("The second user, who never typed a passcode:", "second"),
        ("", f"status {NAME}", f"passcode show {NAME}"),
        ("A stranger, who may guess:", "stranger"),
        ("", f"passcode enter {NAME}", "scan"),
        ("The owner again, who lets in a guest's phone without the app, and sees a code:", "owner"),
        ("", f"pairing open {NAME}"),
    )
    lines = ["", "Everything is left running. In another terminal:"]
    where = f"--radio {world.radio}"
    for (text, who), (_, *commands) in zip(tries[::2], tries[1::2], strict=True):
        lines += ["", f"  {text}"]
        lines += [f"    {_command()} {each} {where} --home {world.home(who)}" for each in commands]
    lines += [
        "",
        "  And the guest's phone, in a third terminal, whose own dialog asks for that code:",
        f"    {_guests_phone(world)}",
        "",
        f"All that was said on the air: {world.capture} (btmon -r, Wireshark).",
        "Ctrl-C stops everything and removes it.",
    ]
    return "\n".join(lines)


def _guests_phone(world: World) -> str:
    """Calls a phone that is not ours: the pairing program that comes with Bumble."""
    place = private_directory(world.directory / "guest")
    phone, bonds = place / "phone.json", place / "bonds.json"
    write_private(phone, b'{"name": "phone", "address": "F0:F1:F2:F3:F4:F5"}')
    return (
        f"{_command('bumble-pair')} --io keyboard --identity-address random"
        f" --keystore-file {bonds} {phone} {world.radio.replace('tcp:', 'tcp-client:', 1)} {NAME}"
    )


def _command(name: str = "chargepin") -> str:
    """How a command of this installation is called from here."""
    if shutil.which(name):
        return name
    installed = Path(sys.executable).with_name(name)
    here = Path.cwd()
    return str(installed.relative_to(here) if installed.is_relative_to(here) else installed)
