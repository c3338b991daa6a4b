"""The demo as a person sees it at a terminal, and side by side with one that is piped."""

import fcntl
import os
import re
import select
import shlex
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chargepin.cli.tour.touring import STEPS

COMMAND = [sys.executable, "-m", "chargepin"]
COLUMNS = 90
PATIENCE_S = 200.0
GOES_ON = "Enter goes on"
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def environment(directory: Path) -> dict[str, str]:
    """For a demo whose temporary files are in a directory of the test's."""
    kept = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    return {**kept, "TMPDIR": str(directory), "TERM": "xterm"}


@dataclass
class Screen:
    """A program with a terminal of its own, and all that it wrote there."""

    process: subprocess.Popen[bytes]
    terminal: int
    text: str = ""
    asked: int = field(default=0)

    def read_until(self, text: str) -> None:
        """Press Enter where asked, until a text appears that was not there before."""
        start, ends_s = len(self.text), time.monotonic() + PATIENCE_S
        while text not in self.text[start:]:
            ready, _, _ = select.select([self.terminal], [], [], ends_s - time.monotonic())
            assert ready, f"{text!r} did not appear after:\n{self.text[-2000:]}"
            try:
                self.text += os.read(self.terminal, 65536).decode(errors="replace")
            except OSError:  # nobody holds the terminal any more
                raise AssertionError(f"it ended:\n{self.text[-2000:]}") from None
            if self.text.count(GOES_ON) > self.asked:
                self.asked += 1
                os.write(self.terminal, b"\n")

    def ends(self) -> int:
        """Read what is left; returns the exit code."""
        try:
            while piece := os.read(self.terminal, 65536):
                self.text += piece.decode(errors="replace")
        except OSError:  # nobody holds the terminal any more
            pass
        return self.process.wait(timeout=PATIENCE_S)


@dataclass(frozen=True)
class Demos:
    """A demo that was watched at a terminal and left running, beside one that was piped."""

    screen: Screen
    directory: Path
    piped: subprocess.CompletedProcess[str]


def in_a_terminal(command: list[str], environment: dict[str, str] | None = None) -> Screen:
    """Start a program in a terminal of 90 columns."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, COLUMNS, 0, 0))
    process = subprocess.Popen(
        command,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 - no threads yet
    )
    os.close(theirs)
    return Screen(process, ours)


@contextmanager
def side_by_side(directory: Path) -> Iterator[Demos]:
    """Two demos at the same time."""
    one, other = directory / "screen", directory / "piped"
    for each in (one, other):
        each.mkdir()
    screen = in_a_terminal([*COMMAND, "demo"], environment(one))
    piping = subprocess.Popen(
        [*COMMAND, "demo"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(other),
        text=True,
    )
    try:
        screen.read_until("Ctrl-C stops everything")
        out, err = piping.communicate(timeout=PATIENCE_S)
        assert list(other.iterdir()) == [], "the piped demo left files"
        yield Demos(screen, one, subprocess.CompletedProcess([], piping.returncode, out, err))
    finally:
        for process in (screen.process, piping):
            process.kill()
            process.communicate()
        os.close(screen.terminal)


def test_side_by_side_at_a_terminal_and_piped(tmp_path: Path) -> None:
    with side_by_side(tmp_path) as demos:
        piped_it_runs_through_and_ends(demos)
        at_a_terminal_a_person_goes_on_step_by_step(demos)
        what_it_says_to_try_works_and_ctrl_c_stops_everything(demos)


def piped_it_runs_through_and_ends(demos: Demos) -> None:
    assert demos.piped.returncode == 0, demos.piped.stdout + demos.piped.stderr
    assert demos.piped.stderr == ""
    text = demos.piped.stdout
    assert text.endswith(f"All {len(STEPS)} steps hold.\n")
    assert GOES_ON not in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 100
    for who in ("THE OWNER", "THE CHARGER", "THE SECOND USER", "A STRANGER"):
        assert text.count(who) == len(STEPS)
    numbers = re.findall(r"^-- Step (\d)", text, re.MULTILINE)
    assert numbers == ["1", "2", "3", "4", "5", "6"]
    words = " ".join(text.split())
    for step in STEPS:
        assert step.title in words


def at_a_terminal_a_person_goes_on_step_by_step(demos: Demos) -> None:
    screen = demos.screen
    assert screen.asked == len(STEPS) - 1
    story, _, _ = screen.text.partition("Everything is left running")
    assert COLOUR.search(story)
    lines = COLOUR.sub("", story).splitlines()
    assert max(map(len, lines)) <= COLUMNS
    assert f"All {len(STEPS)} steps hold." in story


def what_it_says_to_try_works_and_ctrl_c_stops_everything(demos: Demos) -> None:
    screen, outcomes = demos.screen, {}
    commands = re.findall(r"^ {4}\S*chargepin (.+?)\r?$", screen.text, re.MULTILINE)
    for command in commands:
        if command.startswith(("phones list", "status", "passcode enter")):
            tried = subprocess.run(
                [*COMMAND, *shlex.split(command)],
                input="000000\n",
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
            )
            outcomes[" ".join(command.split()[:2])] = tried.returncode
    assert outcomes == {"phones list": 0, "status WB123456": 0, "passcode enter": 4}
    a_guests_phone_pairs(screen)
    os.write(screen.terminal, b"\x03")
    assert screen.ends() == 0
    assert "nothing is left running" in screen.text
    assert list(demos.directory.iterdir()) == []
    assert not _running_in(demos.directory)


def a_guests_phone_pairs(screen: Screen) -> None:
    """In two more terminals: the owner's window, and Bumble's own pairing program."""
    (window,) = re.findall(r"^ {4}\S*chargepin (pairing open .+?)\r?$", screen.text, re.MULTILINE)
    (phone,) = re.findall(r"^ {4}\S*bumble-pair (.+?)\r?$", screen.text, re.MULTILINE)
    owners = in_a_terminal([*COMMAND, *shlex.split(window)])
    started = [owners]
    try:
        owners.read_until("left")  # there is a code now; before, the phone would be refused
        (code,) = re.findall(r"Code (\d{6})", owners.text)[:1]
        guests = in_a_terminal([sys.executable, "-m", "bumble.apps.pair", *shlex.split(phone)])
        started.append(guests)
        guests.read_until("Enter PIN")
        os.write(guests.terminal, f"{code}\r".encode())
        guests.read_until("Paired!")
        assert owners.ends() == 0
        assert "without a code from now on" in owners.text
    finally:
        for each in started:
            each.process.kill()
            each.process.wait()
            os.close(each.terminal)


def _running_in(directory: Path) -> list[str]:
    """Programs that were started with files of this directory."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(directory).encode() in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue  # it ended
    return found
