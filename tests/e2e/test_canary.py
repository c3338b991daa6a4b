"""While people type, no process list shows a passcode; a Ctrl-C at a question changes nothing."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chargepin.charger.store import look_into
from chargepin.core.durable import Mode
from shown import shows

PATIENCE_S = 60
COMMAND = [sys.executable, "-m", "chargepin"]


class World:
    """A radio, an account service and a charger as programs, and the command for people."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.started: list[subprocess.Popen[str]] = []
        self.environment = {**os.environ, "NO_COLOR": "1"}

    def serve(self, *arguments: str) -> str:
        """Start a part; returns where it listens."""
        program = subprocess.Popen(
            [*COMMAND, "serve", *arguments],
            cwd=self.directory,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.started.append(program)
        assert program.stdout is not None
        return str(json.loads(program.stdout.readline())["listen"])

    def run(self, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        """Run the command with this on its standard input."""
        return subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.directory,
            env=self.environment,
            input=typed,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def at_terminal(self, *arguments: str, until: str, press: bytes) -> tuple[int, str]:
        """Run the command on a terminal, press keys once a text is shown; exit code, all shown."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.directory)
            os.execve(COMMAND[0], [*COMMAND, *arguments], self.environment)  # noqa: S606 - ours
        shown, pressed = b"", False
        while select.select([terminal], [], [], PATIENCE_S)[0]:
            try:
                read = os.read(terminal, 4096)
            except OSError:  # the other end closed
                break
            if not read:
                break
            shown += read
            if not pressed and until.encode() in shown:
                os.write(terminal, press)
                pressed = True
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    try:
        made.environment["CHARGEPIN_RADIO"] = made.serve("radio", "--listen", "tcp:127.0.0.1:0")
        url = made.serve(
            "account", "--database", "sqlite:///account.sqlite", "--listen", "127.0.0.1:0"
        )
        made.environment["CHARGEPIN_ACCOUNT"] = f"http://{url}"
        made.environment["CHARGEPIN_HOME"] = "owner"
        made.serve("charger", "--serial", "123456", "--data", "charger")
        yield made
    finally:
        for program in reversed(made.started):
            program.send_signal(signal.SIGTERM)
            program.communicate(timeout=PATIENCE_S)


def watch(seen: set[bytes], stop: threading.Event) -> None:
    """Read every process's command line and environment, over and over."""
    while not stop.is_set():
        for process in Path("/proc").glob("[0-9]*"):
            try:
                seen.add((process / "cmdline").read_bytes())
                seen.add((process / "environ").read_bytes())
            except OSError:
                continue  # it ended


def test_no_process_shows_a_secret(world: World) -> None:
    seen: set[bytes] = set()
    stop = threading.Event()
    watching = threading.Thread(target=watch, args=(seen, stop))
    watching.start()
    try:
        password = "not for the process list"
        assert world.run("signup", "owner", typed=f"{password}\n").returncode == 0
        assert world.run("claim", "WB123456").returncode == 0
        codes = []
        for command in ("set", "rotate"):
            made = world.run("passcode", command, "WB123456", "--json", "--no-input")
            codes.append(json.loads(made.stdout)["passcode"])
            wrong = world.run("passcode", "enter", "WB123456", "--home", "new", typed="482913\n")
            assert wrong.returncode in (0, 4)
            right = world.run("passcode", "enter", "WB123456", "--home", command, typed=codes[-1])
            assert right.returncode == 0, right.stderr
        shown = world.run("status", "WB123456", "--no-input")
    finally:
        stop.set()
        watching.join()
    assert shown.returncode == 0
    assert any(b"passcode\0enter\0" in content for content in seen), "nothing was watched"
    assert not [content for content in seen if password.encode() in content]
    charger = [f.read_bytes() for f in (world.directory / "charger").glob("*.*")]
    for code in codes:
        assert not [content for content in (*seen, *charger) if shows(content, code)]


@pytest.mark.parametrize(
    ("arguments", "until"),
    [
        (("signup", "owner"), "Password for owner: "),
        (("connect", "WB123456"), "Set the passcode? [Y/n] "),
        (("reset", "WB123456"), "[y/N] "),
    ],
)
def test_control_c_at_a_question_changes_nothing(
    world: World, arguments: tuple[str, ...], until: str
) -> None:
    code, shown = world.at_terminal(*arguments, until=until, press=b"\x03")
    assert until in shown
    assert code == 1, shown
    assert "Interrupted" in shown
    assert "Traceback" not in shown
    assert look_into(world.directory / "charger").durable.mode is Mode.OPEN


def test_control_c_at_the_passcode_and_no_echo(world: World) -> None:
    made = world.run("passcode", "set", "WB123456", "--json", "--no-input")
    code = json.loads(made.stdout)["passcode"]
    asked = "before a pause): "
    enter = ("passcode", "enter", "WB123456", "--home", "new")
    ended, shown = world.at_terminal(*enter, until=asked, press=b"\x03")
    assert (ended, "Traceback" in shown) == (1, False), shown
    assert look_into(world.directory / "charger").durable.lockout.charged == 0
    ended, shown = world.at_terminal(*enter, until=asked, press=f"{code}\n".encode())
    assert ended == 0, shown
    assert code not in shown
