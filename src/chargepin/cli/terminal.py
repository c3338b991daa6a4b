"""Where a command reads and prints: a person's terminal, or pipes. Nothing else touches streams."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from chargepin.cli.keyboard import Keyboard

BAR_CELLS = 30
# Colours are our own. Whatever else moves a cursor, or turns text round, came from a charger.
_CONTROLS = re.compile(
    r"(?!\x1b\[[0-9]{1,2}m)[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]"
)


class NoAnswer(Exception):
    """Nobody is there to answer: the input ended, or --no-input was given."""


class NotShown(Exception):
    """The command's work is done, and what came of it cannot be printed. text: why."""


@dataclass
class Terminal:
    """One command's streams and the options that every command takes.

    radio: "tcp:HOST:PORT" or a Bumble transport. json: one document on standard output. unanswered:
    whether a charger was asked for a change, and its answer not waited for.
    """

    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    json: bool = False
    no_input: bool = False
    home: Path | None = None
    radio: str | None = None
    progressing: bool = False
    unanswered: bool = False
    _shown_percent: int | None = None
    _keyboard: Keyboard = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._keyboard = Keyboard(self.stdin)

    def say(self, text: str = "") -> None:
        """Tell a person something; with --json it goes to standard error."""
        self._end_progress()
        print(_tame(text), file=self.stderr if self.json else self.stdout, flush=True)

    def warn(self, text: str) -> None:
        """Tell a person something that belongs beside the result."""
        self._end_progress()
        print(_tame(text), file=self.stderr, flush=True)

    def result(self, document: object, text: str) -> None:
        """Print what the command found: the document with --json, else the text.

        Raises NotShown, BrokenPipeError.
        """
        try:
            self._end_progress()
            shown = json.dumps(document) if self.json else _tame(text)
            print(shown, file=self.stdout, flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise NotShown(str(error.strerror)) from error

    def error(self, error: Mapping[str, object], text: str) -> None:
        """Print why the command did not do its work."""
        with suppress(OSError):  # where that cannot be printed, the other may
            self._end_progress()
            if self.json:
                print(json.dumps({"error": error}), file=self.stdout, flush=True)
                return
        print(_tame(text), file=self.stderr, flush=True)

    def progress(self, text: str, percent: int) -> None:
        """Draw a bar on a terminal, a line at each quarter elsewhere."""
        if self.json or percent == self._shown_percent:
            return
        self._shown_percent = percent
        if not self.interactive:
            if percent in (0, 100):
                print(f"{text} {percent} %", file=self.stdout, flush=True)
            return
        done = "#" * (percent * BAR_CELLS // 100)
        print(f"\r{text} [{done:<{BAR_CELLS}}] {percent:3} %", end="", file=self.stdout, flush=True)
        self.progressing = True

    @property
    def counts_down(self) -> bool:
        """Whether `in_place` shows anything."""
        return self.interactive and not self.json

    def in_place(self, text: str) -> None:
        """Write over the line that a person looks at; nothing where nobody looks."""
        if self.counts_down:
            print(f"\r{text}", end="", file=self.stdout, flush=True)
            self.progressing = True

    @property
    def interactive(self) -> bool:
        """Whether a person sits at both ends."""
        return self.stdin.isatty() and self.stdout.isatty()

    async def line(self, question: str) -> str:
        """Ask for a line. Raises NoAnswer."""
        line = await self._answer(question)
        if line is None or not self.stdin.isatty():
            self.say()  # nobody's Enter has ended the line
        return _given(line)

    async def secret(self, question: str) -> str:
        """Ask for a line without echo; piped input is read as it is. Raises NoAnswer."""
        with self._keyboard.hidden():
            line = await self._answer(question)
        self.say()
        return _given(line)

    async def _answer(self, question: str) -> str | None:
        if self.no_input:
            raise NoAnswer("an answer is needed, and --no-input was given")
        self._end_progress()
        print(question, end="", file=self.stderr if self.json else self.stdout, flush=True)
        return await self._keyboard.line()

    def _end_progress(self) -> None:
        if self.progressing:
            print(file=self.stdout)
            self.progressing = False


def _tame(text: str) -> str:
    return _CONTROLS.sub(" ", text)


def _given(line: str | None) -> str:
    if line is None:
        raise NoAnswer("the input ended")
    return line


def plain(error: Exception) -> str:
    """What the system says, without its numbers."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    return str(error)


_current: ContextVar[Terminal] = ContextVar("terminal")


def terminal() -> Terminal:
    """The terminal of the command that runs in this context."""
    return _current.get()


def use(given: Terminal) -> None:
    """Make a terminal the current one for this context."""
    _current.set(given)
