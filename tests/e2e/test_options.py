"""The options of all commands: what is typed goes before what the environment says, anywhere."""

import io
import json
import os
import socket
from pathlib import Path

import pytest

from chargepin.cli.main import run
from chargepin.cli.terminal import Terminal
from chargepin.machine.files import lock_directory

NOBODY = "tcp:127.0.0.1:1"


def doctor(*arguments: str) -> dict[str, str]:
    """What doctor says of each thing."""
    out = io.StringIO()
    run(list(arguments), Terminal(io.StringIO(), out, io.StringIO()))
    return {each["what"]: each["text"] for each in json.loads(out.getvalue())["findings"]}


@pytest.mark.parametrize("after", [False, True])
def test_what_is_typed_goes_before_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    monkeypatch.setenv("CHARGEPIN_HOME", str(tmp_path / "named"))
    monkeypatch.setenv("CHARGEPIN_RADIO", "nonsense:1")
    named = doctor("doctor", "--json")
    assert str(tmp_path / "named") in named["home"]
    assert "nonsense" in named["radio"]
    options = ["--home", str(tmp_path / "typed"), "--radio", NOBODY, "--json"]
    typed = doctor("doctor", *options) if after else doctor(*options, "doctor")
    assert str(tmp_path / "typed") in typed["home"]
    assert NOBODY in typed["radio"]


def test_a_port_that_is_taken_is_said_so() -> None:
    said = io.StringIO()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"tcp:127.0.0.1:{taken.getsockname()[1]}"
        terminal = Terminal(io.StringIO(), io.StringIO(), said)
        assert run(["serve", "radio", "--listen", listen], terminal) == 1
    assert said.getvalue().startswith("Not started: another program listens there already")


def failed(*arguments: str) -> tuple[int, str]:
    """The exit code of a command that asks nothing, and what it says of its failure."""
    said = io.StringIO()
    return run(list(arguments), Terminal(io.StringIO(), io.StringIO(), said)), said.getvalue()


def test_a_chargers_directory_is_for_one_program(tmp_path: Path) -> None:
    charger = ("serve", "charger", "--serial", "123456", "--data", str(tmp_path))
    held = lock_directory(tmp_path)
    code, said = failed(*charger, "--radio", NOBODY)
    assert (code, list(tmp_path.iterdir())) == (1, [])
    assert said.startswith(f"Not started: another charger's program uses {tmp_path}: stop that one")
    os.close(held)
    assert "no radio answers there" in failed(*charger, "--radio", NOBODY)[1]


def test_an_imitations_directory_is_for_one_program(tmp_path: Path) -> None:
    charger = ("serve", "charger", "--serial", "123456", "--data", str(tmp_path))
    imitation = (*charger, "--imitate", "6.11.26", "--radio", NOBODY)
    held = lock_directory(tmp_path)
    code, said = failed(*imitation)
    assert (code, list(tmp_path.iterdir())) == (1, [])
    assert said.startswith(f"Not started: another charger's program uses {tmp_path}: stop that one")
    os.close(held)
    assert "no radio answers there" in failed(*imitation)[1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("serve", "radio", "--listen", "tcp:127.0.0.1:70000"), "there is no port 70000"),
        (("scan", "--seconds", "-1"), "not in the range"),
        (
            ("phones", "forget", "WB123456", "kitchen"),
            "kitchen is no phone's number: `phones list`",
        ),
        (("export", "esphome", "WB123456", "--address", "00:11"), "00:11 is no Bluetooth address"),
        (("call", "WB123456", ""), "a method has a name"),
        (("update", "WB123456", "--to", "newest"), "is three numbers with dots"),
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(arguments: tuple[str, ...], text: str) -> None:
    code, said = failed(*arguments)
    assert code == 2
    assert text in said


def test_after_the_command_goes_before_in_front_of_it(tmp_path: Path) -> None:
    homes = ["--home", str(tmp_path / "one"), "doctor", "--home", str(tmp_path / "two")]
    assert str(tmp_path / "two") in doctor(*homes, "--radio", NOBODY, "--json")["home"]
