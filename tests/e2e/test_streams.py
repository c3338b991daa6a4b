"""Streams that are not what a program would like: other alphabets, full disks, nothing at all."""

import io
import json
import os
import signal
import subprocess
from functools import partial
from pathlib import Path

from chargepin.cli.main import run
from chargepin.cli.terminal import Terminal
from e2e.programs import COMMAND, AtTerminal, environment

NOBODY = "tcp:127.0.0.1:1"
FULL = Path("/dev/full")


def test_letters_that_a_terminal_has_not_are_written_as_codes(tmp_path: Path) -> None:
    home = tmp_path / "Zoë's ☂"
    shown = {}
    for more in ((), ("--json",)):
        done = subprocess.run(
            (*COMMAND, "doctor", "--home", str(home), "--radio", NOBODY, *more),
            env=environment(PYTHONIOENCODING="ascii"),
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (1, "")
        shown[more] = done.stdout
    assert "Zo\\xeb's \\u2602" in shown[()]
    findings = json.loads(shown[("--json",)])["findings"]
    assert any(str(home) in finding["text"] for finding in findings)


def test_what_cannot_be_printed_is_said_where_it_can(tmp_path: Path) -> None:
    for more in ((), ("--json",)):
        said = io.StringIO()
        with FULL.open("wb", buffering=0) as raw:
            full = io.TextIOWrapper(raw, write_through=True)
            terminal = Terminal(io.StringIO(), full, said)
            code = run(["doctor", "--home", str(tmp_path), "--radio", NOBODY, *more], terminal)
        assert code == 3
        assert said.getvalue().startswith("What came of it cannot be printed (No space left")


def test_closed_streams_are_nothing_and_no_fault(tmp_path: Path) -> None:
    words = (*COMMAND, "doctor", "--home", str(tmp_path), "--radio", NOBODY)
    open_still = {}
    for closed in (0, 1):
        done = subprocess.run(
            words,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=partial(os.close, closed),
        )
        assert done.returncode == 1
        assert not done.stderr
        open_still[closed] = done.stdout
    assert "BAD radio" in open_still[0]


async def test_a_terminal_shows_what_is_typed_however_a_question_ends(tmp_path: Path) -> None:
    words = ("signup", "somebody", "--home", str(tmp_path))
    for number in (signal.SIGTERM, signal.SIGHUP):
        async with AtTerminal.of(*words) as at:
            await at.expect("Password for somebody: ")
            assert not at.echoes
            at.signal(number)
            assert await at.end() == -number
            assert at.echoes


def test_a_password_that_is_too_short_is_said_so(tmp_path: Path) -> None:
    said = io.StringIO()
    terminal = Terminal(io.StringIO("short\n"), io.StringIO(), said)
    assert run(["signup", "somebody", "--home", str(tmp_path)], terminal) == 2
    assert "a password has at least 8 characters" in said.getvalue()


def test_what_a_charger_says_moves_no_cursor() -> None:
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(io.StringIO(), out, err)
    rogue = "ok\x1b]0;title\x07\x9b2J\r\u202etext\nnext \033[32mgreen\033[0m Zoë ☂"
    tame = "ok ]0;title  2J  text\nnext \033[32mgreen\033[0m Zoë ☂\n"
    terminal.say(rogue)
    terminal.result(None, rogue)
    assert out.getvalue() == tame * 2
    terminal.warn(rogue)
    terminal.error({}, rogue)
    assert err.getvalue() == tame * 2


def test_a_bar_that_is_full_ends_its_line() -> None:
    shown = Screen()
    terminal = Terminal(shown, shown, shown)
    for percent in (0, 50, 100):
        terminal.progress("Installing", percent)
    terminal.say("Installed.")
    assert shown.getvalue().endswith("100 %\nInstalled.\n")


class Screen(io.StringIO):
    """A terminal in memory."""

    def isatty(self) -> bool:
        return True
