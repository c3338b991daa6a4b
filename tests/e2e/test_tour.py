"""The tour in both of its worlds: as the command runs it, and in one process."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chargepin.app.vault import open_vault
from chargepin.charger.store import look_into
from chargepin.cli.touring import STEPS, tour
from chargepin.cli.world import SERIAL
from e2e.one_process import one_process

NAMES = [
    "update-offered",
    "updated",
    "app-version-checked",
    "pairing-accepted",
    "connected-open",
    "passcode-offered",
    "passcode-assigned",
    "phones-disconnected",
    "entry-required",
    "wrong-passcode-refused",
    "passcode-entered",
    "bonded-reconnect",
    "same-passcode-later",
    "shared-with-second-user",
    "invited-later-has-it",
    "stranger-refused",
    "paused-after-failures",
    "owner-still-in",
]
SHOWN_BY = "passcode-set.txt"  # the one command that shows a passcode, to the one who set it
MEANT_TO_KNOW = ("secrets.json",)  # vaults


def processes_naming(text: str) -> list[str]:
    """Command lines and environments of this machine's processes that hold a text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        for file in ("cmdline", "environ"):
            try:
                content = (process / file).read_bytes()
            except OSError:  # it ended, or belongs to somebody else
                continue
            if int(process.name) != os.getpid() and text.encode() in content:
                found.append(f"{process.name} {file}")
    return found


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What `chargepin tour --keep` leaves, and what it prints."""
    directory = tmp_path_factory.mktemp("tour") / "kept"
    command = [sys.executable, "-m", "chargepin", "tour", "--json", "--keep", str(directory)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return directory, json.loads(ended.stdout)


def test_every_step_holds_in_order(kept: tuple[Path, dict[str, Any]]) -> None:
    _, report = kept
    assert report["ok"] is True
    assert [step["name"] for step in report["steps"]] == NAMES
    for step in report["steps"]:
        assert set(step) == {"name", "ok", "detail", "seconds"}
        assert step["ok"] is True
        assert step["detail"]


def test_the_evidence_is_kept(kept: tuple[Path, dict[str, Any]]) -> None:
    directory, report = kept
    assert json.loads((directory / "report.json").read_text()) == report
    assert (directory / "radio.btsnoop").read_bytes().startswith(b"btsnoop\0")
    charger = look_into(directory / "charger")
    assert charger.durable.generation == 1
    assert {"passcode_set", "passcode_entered", "pause_ended"} <= {
        entry.event for entry in charger.entries
    }
    assert (directory / "account" / "account.sqlite").stat().st_size > 0
    assert {log.name for log in (directory / "logs").iterdir()} == {
        "radio.log",
        "account.log",
        "charger.log",
    }
    typed = sorted((directory / "typed").iterdir())
    assert len(typed) > len(NAMES)
    assert all("exit code" in note.read_text() for note in typed)


def test_nothing_is_left_running(kept: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = kept
    assert processes_naming(str(directory)) == []


def test_no_secret_is_where_it_should_not_be(kept: tuple[Path, dict[str, Any]]) -> None:
    directory, _ = kept
    known = open_vault(directory / "homes" / "owner", default_home=False).get(SERIAL)
    assert known is not None
    (candidate,) = known.candidates
    assert known.bond is not None
    secrets = [candidate.passcode.encode(), known.bond.secret.hex().encode(), known.bond.secret]
    seen = [file for file in directory.rglob("*") if file.is_file()]
    holding = [
        file.name
        for file in seen
        if file.name not in MEANT_TO_KNOW and any(s in file.read_bytes() for s in secrets)
    ]
    assert [name[3:] for name in holding] == [f"owner-{SHOWN_BY}"]
    assert re.search(rf"is {candidate.passcode}\.", _note(directory, SHOWN_BY))
    for file in seen:
        assert file.stat().st_mode & 0o077 == 0, f"{file} can be read by others"


def _note(directory: Path, ending: str) -> str:
    (note,) = (directory / "typed").glob(f"*{ending}")
    return note.read_text()


async def test_every_step_holds_in_one_process(tmp_path: Path) -> None:
    async with one_process(tmp_path) as world:
        report = await tour(world)
    assert [step.detail for step in report.steps if not step.ok] == []
    assert [step.name for step in report.steps] == [step.name for step in STEPS] == NAMES


def test_a_directory_in_use_is_refused(tmp_path: Path) -> None:
    (tmp_path / "something").touch()
    command = [sys.executable, "-m", "chargepin", "tour", "--keep", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    assert "not empty" in ended.stderr
