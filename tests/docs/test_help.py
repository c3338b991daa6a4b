"""The help page names commands that exist and do what it says, and links that lead somewhere."""

import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import typer
from typer.main import get_command

from chargepin.cli.main import build, run
from chargepin.cli.terminal import Terminal

DOCS = Path(__file__).parents[2] / "docs"
HELP = (DOCS / "help.md").read_text()
README = (DOCS.parent / "README.md").read_text()


def commands() -> dict[str, object]:
    """Every command by what is typed, "passcode enter"; groups too."""
    found: dict[str, object] = {}

    def walk(command: object, path: tuple[str, ...]) -> None:
        for name, each in getattr(command, "commands", {}).items():
            found[" ".join((*path, name))] = each
            walk(each, (*path, name))

    walk(get_command(build()), ())
    return found


def test_every_command_of_the_page_exists() -> None:
    known = commands()
    typed = re.findall(r"chargepin ((?:[a-z-]+ ?){1,2})", HELP)
    named = [line.strip() for line in typed if line.split()[0] in known]
    assert len(named) > 10
    for words in named:
        first, *rest = words.split()
        is_group = hasattr(known[first], "commands")
        assert not is_group or f"{first} {rest[0]}" in known, words
    for word in re.findall(r"`chargepin ([a-z-]+)", HELP):
        assert word in known, word
    options = {
        option
        for line in re.findall(r"^chargepin .*$", HELP, re.MULTILINE)
        for option in re.findall(r"--[a-z-]+", line)
    }
    for option in options:
        assert any(
            option in each.opts
            for command in known.values()
            for each in getattr(command, "params", ())
        ), option


@contextmanager
def serving(*words: str) -> Iterator[str]:
    """One of the programs; gives where it is found."""
    command = [sys.executable, "-m", "chargepin", "serve", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        try:
            assert program.stdout is not None
            yield json.loads(program.stdout.readline())["listen"]
        finally:
            program.terminate()


def typed(line: str, stdin: str = "") -> tuple[int, str]:
    """What a command of the page comes to, and all that it prints."""
    out = io.StringIO()
    terminal = Terminal(io.StringIO(stdin), out, out)
    return run(line.split()[1:], terminal), out.getvalue()


def test_every_command_of_the_page_does_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHARGEPIN_HOME", str(tmp_path / "home"))
    blocks = re.findall(r"^```sh\n(.*?)^```$", HELP, re.DOTALL | re.MULTILINE)
    unit = ("--serial", "123456", "--data", str(tmp_path / "charger"))
    with ExitStack() as stack:
        radio = stack.enter_context(serving("radio", "--listen", "tcp:127.0.0.1:0"))
        monkeypatch.setenv("CHARGEPIN_RADIO", radio)
        stack.enter_context(serving("charger", *unit))
        assert typed("chargepin passcode set WB123456")[0] == 0
        passcode = typed("chargepin passcode show WB123456")[1]
        outcomes = {
            line: typed(line, passcode if "enter" in line else "")
            for line in "".join(blocks).splitlines()
        }
    codes = {line: code for line, (code, _) in outcomes.items()}
    # The first finds that the passcode was not entered yet; nothing of this home is held.
    assert [line for line, code in codes.items() if code] == [
        "chargepin doctor WB123456",
        "chargepin pause WB123456 --minutes 10",
        "chargepin pause WB123456 --minutes 0",
    ], outcomes
    assert "-> chargepin passcode enter WB123456." in outcomes["chargepin doctor WB123456"][1]


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([a-z./-]+)\)", HELP):
        assert (DOCS / link).exists(), link
    assert "docs/help.md" in README


def test_lines_are_readable_and_the_tree_is_a_typer() -> None:
    assert isinstance(build(), typer.Typer)
    assert max(len(line) for line in HELP.splitlines()) <= 120
