"""What a tour or demo that was killed leaves behind goes with the next one, and nothing else."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from chargepin.cli.tour.scratch import scratch

PREFIX = "chargepin-demo-"
PROGRAM = f"""
from chargepin.cli.tour.scratch import scratch
with scratch({PREFIX!r}) as made:
    (made / "homes").mkdir()
    print(made, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files are, for this test."""
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return made


def killed() -> Path:
    """Kill a program in its directory."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        left = Path(program.stdout.readline().rstrip("\n"))
        program.kill()
    return left


def test_what_a_killed_program_left_is_removed(place: Path) -> None:
    left = killed()
    assert [each.name for each in left.glob("[a-z]*")] == ["homes"]
    with scratch(PREFIX) as made:
        assert list(place.iterdir()) == [made]
    assert list(place.iterdir()) == []


def test_what_a_program_still_uses_stays() -> None:
    with scratch(PREFIX) as one, scratch(PREFIX) as other:
        assert one.is_dir()
        assert other.is_dir()


def test_what_is_somebody_elses_stays(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown, aim = place / f"{PREFIX}unknown", place / "aim"
    for directory in (unknown, aim):
        directory.mkdir(mode=0o700)
    (aim / ".running").touch()
    (place / f"{PREFIX}link").symlink_to(aim)
    opened = killed()
    opened.chmod(0o755)
    before = {unknown, aim, place / f"{PREFIX}link", opened}
    with scratch(PREFIX) as made:
        assert set(place.iterdir()) == {*before, made}
    opened.chmod(0o700)
    another = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: another)
    with scratch(PREFIX) as made:
        assert set(place.iterdir()) == {*before, made}
    assert (aim / ".running").exists()
