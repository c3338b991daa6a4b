"""Whoever owns a charger, with the app on a computer outside the guest."""

import json
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bluez.conftest import World
from bluez.programs import serving


class Window:
    """`chargepin pairing open`, while it shows codes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def code(self) -> str:
        """The next code that it shows."""
        return self._wait(r"Code (\d{6}),")[1]

    def wrong_code(self) -> str:
        """What is not the next code that it shows."""
        return f"{(int(self.code()) + 1) % 1_000_000:06}"

    def hung_up(self) -> bool:
        """Whether it makes room for the phone, by leaving the charger."""
        return bool(self._wait("has hung up to make room"))

    def comes_back(self) -> None:
        """Have it ask what came of it."""
        self.process.send_signal(signal.SIGINT)

    def paired(self) -> bool:
        """Whether it ends because a phone has paired."""
        return bool(self._wait("Paired with")) and self.process.wait(20) == 0

    def _wait(self, pattern: str) -> re.Match[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"the window closed before {pattern}")


class Owner:
    """One person's home, and one charger."""

    def __init__(self, world: World, charger: str) -> None:
        self.charger = charger
        home = world.directory / f"home-{charger}"
        self._common = ("--radio", world.radio, "--home", str(home))
        self._log = world.directory / f"owner-{charger}.log"

    def done(self, *words: str, stdin: str = "") -> Any:
        """Run a command about the charger; gives what it prints."""
        command = [sys.executable, "-m", "chargepin", *words[:2], self.charger, *words[2:]]
        told = subprocess.run(
            [*command, *self._common, "--json"],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
        )
        assert told.returncode == 0, told.stdout + told.stderr
        return json.loads(told.stdout)

    def protect(self) -> str:
        """Set a passcode, and enter it: the app is the owner's then. Gives the passcode."""
        passcode: str = self.done("passcode", "set")["passcode"]
        assert self.done("passcode", "enter", stdin=f"{passcode}\n")["role"] == "owner"
        return passcode

    def forget_phones(self) -> None:
        """Have the charger forget every phone that it knows by a Bluetooth bond."""
        for phone in self.done("phones", "list"):
            if phone["kind"] == "bluetooth":
                self.done("phones", "forget", phone["id"])

    @contextmanager
    def window(self) -> Iterator[Window]:
        """Open the charger's pairing window."""
        command = [sys.executable, "-m", "chargepin", "pairing", "open", self.charger]
        with (
            self._log.open("ab") as complaints,
            subprocess.Popen(
                [*command, *self._common], stdout=subprocess.PIPE, stderr=complaints, text=True
            ) as open_,
        ):
            try:
                yield Window(open_)
            finally:
                open_.terminate()


@contextmanager
def charger(world: World, name: str, *options: str) -> Iterator[Owner]:
    """Run a charger beside those that every test has."""
    about = ("--serial", name[2:], "--data", str(world.directory / name), "--radio", world.radio)
    with serving(world.directory / f"{name}.log", "charger", *about, *options):
        yield Owner(world, name)
