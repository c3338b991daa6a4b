"""docs/imitate.md: its tables are the data, and its commands do what it says they do."""

import json
import os
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from chargepin.charger.bluetooth.attributes import Touch
from chargepin.charger.imitation import IMITATIONS, Imitation
from chargepin.charger.imitation.versions import REFUSAL_BY_TRUST, Door, Meets, Trust
from docs.test_readme import BIN, PATIENCE_S, free_port

DOCUMENT = Path(__file__).parents[2] / "docs" / "imitate.md"
TEXT = DOCUMENT.read_text(encoding="utf-8")
BLOCK = re.compile(r"^```(sh|text|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TRUSTS = {Trust.ANY: "any", Trust.ENCRYPTED: "encrypted", Trust.PASSKEY: "passcode typed"}
MEETINGS = {
    Meets.JUST_WORKS: "Just Works",
    Meets.PASSKEY: "types it",
    Meets.REFUSED: "refused",
    Meets.DEAD_LINK: "dead link",
}


# ---- tables --------------------------------------------------------------------------------------


def doors() -> list[str]:
    """The table of who may do what, as the data says it."""
    head = "Version", "Module", "Passcode", "CCCD", "Mode", "Values"
    lines = [_row(*head, "Can type", "Cannot", "`read_pin`"), "|---" * 9 + "|"]
    for each in IMITATIONS.values():
        lines.append(_door(each, each.open, "none"))
        if each.locked is not None:
            lines.append(_door(each, each.locked, "set"))
    return lines


def _door(each: Imitation, door: Door, passcode: str) -> str:
    needs = []
    for touch in (Touch.SUBSCRIPTION, Touch.MODE, Touch.VALUE):
        trust = door.needs.get(touch, Trust.ANY)
        error = REFUSAL_BY_TRUST[trust]
        needs.append(TRUSTS[trust] + (f", `0x{error.value:02x}`" if error else ""))
    if each.layout.stock.mode is None:
        needs[1] = ""
    meets = MEETINGS[door.keyboard], MEETINGS[door.without_keyboard]
    return _row(each.name, each.layout.name, passcode, *needs, *meets, each.read_pin.value)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cells) + " |"


def facts() -> list[str]:
    """Where each version is known from, as the data says it."""
    lines = []
    for each in IMITATIONS.values():
        for at, fact in enumerate(each.facts):
            known = f"weak: {fact.text}" if fact.weak else fact.text
            lines.append(_row(each.name if at == 0 else "", known))
    return ["| Version | Seen |", "|---|---|", *lines]


@pytest.mark.parametrize(("name", "rows"), [("doors", doors()), ("facts", facts())])
def test_the_tables_are_the_data(name: str, rows: list[str]) -> None:
    mark = f"<!-- table: imitated {name} -->\n\n"
    assert mark + "\n".join(rows) + "\n\n" in TEXT


def test_all_that_is_imitated_is_named() -> None:
    for each in IMITATIONS:
        assert f"{each}" in TEXT.split("## Complaints")[0]


# ---- commands ------------------------------------------------------------------------------------


@pytest.fixture
def programs() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for program in reversed(started):
        program.terminate()
    for program in started:
        program.communicate(timeout=PATIENCE_S)


class Desk:
    """A directory, a port and a shell, as the reader of the document has them."""

    def __init__(self, directory: Path, programs: list[subprocess.Popen[str]]) -> None:
        self.directory = directory
        self.programs = programs
        self._port = str(free_port())
        self._environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}

    def here(self, text: str) -> str:
        return text.replace("9370", self._port)

    def type(self, command: str) -> str:
        """Run a command to its end; gives what it printed."""
        if command.startswith("python probe.py "):
            return self._probe(shlex.split(command)[1:])
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.directory,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def _probe(self, arguments: list[str]) -> str:
        """The same in this process, which has imported already what takes the longest."""
        with (
            redirect_stdout(StringIO()) as printed,
            chdir(self.directory),
            pytest.MonkeyPatch.context() as patched,
        ):
            patched.setattr(sys, "argv", arguments)
            runpy.run_path(arguments[0], run_name="__main__")
        return printed.getvalue()

    def serve(self, command: str) -> None:
        """Start a program; only of the radio is it waited for that it is ready."""
        program = subprocess.Popen(
            self.here(command).split(),
            cwd=self.directory,
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.programs.append(program)
        if "radio --listen" in command:
            ready(program)


def ready(program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    assert json.loads(program.stdout.readline())["ready"] is True


def test_every_command_gives_what_is_written_under_it(
    tmp_path: Path, programs: list[subprocess.Popen[str]]
) -> None:
    desk = Desk(tmp_path, programs)
    (_, start), (_, probe), *rest = BLOCK.findall(TEXT)
    (tmp_path / "probe.py").write_text(desk.here(probe))
    for line in start.splitlines():
        (desk.serve if line.startswith("chargepin serve ") else desk.type)(line)
    for program in programs[1:]:
        ready(program)
    commands, outputs = rest[::2], rest[1::2]
    assert len(commands) == len(outputs) > 0
    for (kind, command), (shown, output) in zip(commands, outputs, strict=True):
        assert (kind, shown) == ("sh", "text")
        assert "".join(map(desk.type, command.splitlines())) == output
