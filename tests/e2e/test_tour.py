"""The tour in both of its worlds: as the command runs it, and in one process."""

import json
import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from chargepin.app.vault import open_vault
from chargepin.charger.store import look_into
from chargepin.cli.tour.touring import STEPS, tour
from chargepin.cli.tour.world import SERIAL
from e2e.one_process import one_process
from shown import shows

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
    "phone-dialog-refused-outside",
    "phone-dialog-code",
    "phone-dialog-bonded",
]
SHOWN_BY = "passcode-set.txt"  # the one command that shows a passcode, to the one who set it
PATIENCE_S = 60.0
MEANT_TO_KNOW = ("secrets.json",)  # vaults


def processes_naming(text: str) -> list[int]:
    """Find the processes whose command line or environment holds a text."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            content = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:  # it ended, or belongs to somebody else
            continue
        if text.encode() in content:
            found.append(int(process.name))
    return found


def descriptors_of(pids: set[int]) -> list[int]:
    """Something to wait with for the end of each; the tour's short ones may have ended already."""
    found = []
    for pid in pids:
        with suppress(ProcessLookupError):
            found.append(os.pidfd_open(pid))
    return found


def test_as_the_command_runs_it(tmp_path: Path) -> None:
    directory = tmp_path / "kept"
    command = [sys.executable, "-m", "chargepin", "tour", "--json", "--keep", str(directory)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    report = json.loads(ended.stdout)
    every_step_holds_in_order(report)
    the_evidence_is_kept(directory, report)
    no_secret_is_where_it_should_not_be(directory)
    assert processes_naming(str(directory)) == [], "something was left running"


def every_step_holds_in_order(report: dict[str, Any]) -> None:
    assert report["ok"] is True
    assert [step["name"] for step in report["steps"]] == NAMES
    for step in report["steps"]:
        assert set(step) == {"name", "ok", "detail", "seconds"}
        assert step["ok"] is True
        assert step["detail"]


def the_evidence_is_kept(directory: Path, report: dict[str, Any]) -> None:
    assert json.loads((directory / "report.json").read_text()) == report
    assert (directory / "radio.btsnoop").read_bytes().startswith(b"btsnoop\0")
    charger = look_into(directory / "charger")
    assert charger.durable.generation == 1
    logged = {entry.event for entry in charger.entries}
    assert logged >= {"passcode_set", "passcode_entered", "pause_ended"}
    assert (directory / "account" / "account.sqlite").stat().st_size > 0
    logs = {log.name for log in (directory / "logs").iterdir()}
    assert logs == {"radio.log", "account.log", "charger.log"}
    typed = sorted((directory / "typed").iterdir())
    assert len(typed) > len(NAMES)
    assert all("exit code" in note.read_text() for note in typed)


def no_secret_is_where_it_should_not_be(directory: Path) -> None:
    known = open_vault(directory / "homes" / "owner", default_home=False).get(SERIAL)
    assert known is not None
    (candidate,) = known.candidates
    assert known.bond is not None
    code, secrets = candidate.passcode, (known.bond.secret.hex().encode(), known.bond.secret)
    seen = [file for file in directory.rglob("*") if file.is_file()]
    holding = [
        file.name
        for file in seen
        if file.name not in MEANT_TO_KNOW
        and (shows(held := file.read_bytes(), code) or any(each in held for each in secrets))
    ]
    assert [name[3:] for name in holding] == [f"owner-{SHOWN_BY}"]
    (note,) = (directory / "typed").glob(f"*{SHOWN_BY}")
    assert f"is {candidate.passcode}." in note.read_text()
    for file in seen:
        assert file.stat().st_mode & 0o077 == 0, f"{file} can be read by others"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_tour_that_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    command = [sys.executable, "-m", "chargepin", "tour"]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    tour = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)
    try:
        assert tour.stdout is not None
        assert tour.stdout.readline().startswith("ok   update-offered")
        parts = descriptors_of(set(processes_naming(str(tmp_path))) - {tour.pid})
        assert len(parts) >= 3
        tour.send_signal(number)
        assert tour.wait(timeout=PATIENCE_S) in {1, -number}
    finally:
        tour.kill()
        tour.communicate()
    for part in parts:
        ended, _, _ = select.select([part], [], [], PATIENCE_S)
        assert ended
        os.close(part)
    if number is signal.SIGTERM:
        assert list(tmp_path.iterdir()) == []


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
