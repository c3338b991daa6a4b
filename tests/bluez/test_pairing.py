"""A protected charger's pairing window, opened by its owner's app, met by BlueZ."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bluez.conftest import World
from bluez.programs import serving

pytestmark = pytest.mark.bluez
NAME = "WB100003"


class Owner:
    """Whoever set the passcode of a charger, with the app on a computer outside the guest."""

    def __init__(self, world: World) -> None:
        self._common = ("--radio", world.radio, "--home", str(world.directory / "owner"))
        self._log = world.directory / "owner.log"

    def done(self, *words: str, stdin: str = "") -> Any:
        command = [sys.executable, "-m", "chargepin", *words, *self._common, "--json"]
        told = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stdout + told.stderr
        return json.loads(told.stdout)

    @contextmanager
    def window(self) -> Iterator["Window"]:
        command = [sys.executable, "-m", "chargepin", "pairing", "open", NAME, *self._common]
        with (
            self._log.open("ab") as complaints,
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=complaints, text=True
            ) as open_,
        ):
            try:
                yield Window(open_)
            finally:
                open_.terminate()


class Window:
    """`chargepin pairing open`, while it shows codes."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def code(self) -> str:
        """The next code that it shows."""
        return self._wait(r"Code (\d{6}),")[1]

    def paired(self) -> bool:
        """Whether it ends because a phone has paired."""
        return bool(self._wait("Paired with")) and self.process.wait(20) == 0

    def _wait(self, pattern: str) -> re.Match[str]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"the window closed before {pattern}")


@pytest.fixture(scope="module")
def owner(world: World) -> Iterator[Owner]:
    about = ("--serial", NAME[2:], "--model", "pulsar-plus", "--data", str(world.directory / NAME))
    with serving(world.directory / f"{NAME}.log", "charger", *about, "--radio", world.radio):
        owner = Owner(world)
        passcode = owner.done("passcode", "set", NAME)["passcode"]
        assert owner.done("passcode", "enter", NAME, stdin=f"{passcode}\n")["role"] == "owner"
        yield owner


def pair(world: World, *code: str) -> Any:
    done = world.guest.python("bluez.guest.window", NAME, *code)
    assert done.code == 0, done.err
    return done.json


def test_outside_a_window_no_code_is_even_asked_for(world: World, owner: Owner) -> None:
    del owner
    told = pair(world, "123456")
    assert (told["error"], told["asked"]) == ("charger_refused", 0), told


def test_a_wrong_code_then_the_right_one_then_the_bond(world: World, owner: Owner) -> None:
    with owner.window() as window:
        wrong = f"{(int(window.code()) + 1) % 1_000_000:06}"
        told = pair(world, wrong)
        assert (told["error"], told["asked"]) == ("passcode_wrong", 1), told
        told = pair(world, window.code())
        assert (told["error"], told["asked"]) == (None, 1), told
        assert "st" in told["status"]
        assert window.paired()
    told = pair(world)
    assert (told["error"], told["asked"]) == (None, 0), told
    assert "st" in told["status"]


def test_a_phone_that_is_forgotten_is_out(world: World, owner: Owner) -> None:
    (phone,) = [each for each in owner.done("phones", "list", NAME) if each["kind"] == "bluetooth"]
    owner.done("phones", "forget", NAME, phone["id"])
    told = pair(world)
    assert told["error"] == "charger_refused", told
    assert told["status"] is None
