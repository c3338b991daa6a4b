"""The page for makers of chargers, and the systemd unit that it installs."""

import asyncio
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from string import Template

import pytest

from chargepin.machine.controller import ControllerError, open_controller
from chargepin.radio import serve_radio
from needs import not_here

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "packaging" / "chargepin-charger.service"
PAGE = (ROOT / "docs" / "install.md").read_text()
COMMAND = Path(sys.executable).with_name("chargepin")
PATIENCE_S = 30
EXPOSURE_MAX = 20  # tenths of systemd's own score, of which 100 is the worst
DENY_WRITE_EXECUTE = (  # PR_SET_MDWE, as MemoryDenyWriteExecute= of the unit; inherited
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(65, 1, 0, 0, 0);"
    " os.execv(sys.argv[1], sys.argv[1:])"
)


def analyzed(unit: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which("systemd-analyze") is None:
        not_here("needs systemd-analyze: apt-get install systemd")
    return subprocess.run(
        ["systemd-analyze", *arguments, str(unit)], capture_output=True, text=True, check=False
    )


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with the command where it is here."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/chargepin/bin/chargepin", str(COMMAND)))
    return copy


def test_systemd_takes_the_unit(unit: Path) -> None:
    done = analyzed(unit, "verify", "--man=no")
    assert (done.returncode, [line for line in done.stderr.splitlines() if unit.name in line]) == (
        0,
        [],
    )


def test_the_unit_gives_away_little(unit: Path) -> None:
    done = analyzed(unit, "security", "--offline=true", f"--threshold={EXPOSURE_MAX}")
    assert done.returncode == 0, done.stdout


async def test_what_the_unit_starts_is_a_charger(unit: Path, tmp_path: Path) -> None:
    started = re.search(r"^ExecStart=(.*)$", unit.read_text(), re.MULTILINE)
    settings = re.search(r"printf '%s\\n' (.*) > /etc/chargepin/charger.conf", PAGE)
    assert started is not None
    assert settings is not None
    room = await serve_radio("127.0.0.1", 0)
    values = dict(each.split("=") for each in settings[1].split())
    values |= {"RADIO": room.address, "STATE_DIRECTORY": str(tmp_path / "state")}
    line = shlex.split(Template(started[1]).substitute(values))
    ran = await run_until_ready(line)
    await room.close()
    assert ran.startswith('{"ready": true, "listen": "WB123456"}')


async def test_what_is_tried_by_hand_is_a_charger(tmp_path: Path) -> None:
    tried = re.search(r"^/opt/chargepin/bin/chargepin (.* serve charger .*)$", PAGE, re.MULTILINE)
    assert tried is not None
    room = await serve_radio("127.0.0.1", 0)
    line = tried[1].replace("hci-socket:0", room.address)
    line = line.replace("/var/lib/chargepin", str(tmp_path / "state"))
    ran = await run_until_ready([str(COMMAND), *shlex.split(line)])
    await room.close()
    assert ran.startswith('{"ready": true, "listen": "WB123456"}')


async def run_until_ready(line: list[str]) -> str:
    """Run it under the unit's restriction of memory; gives its first line."""
    program = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        DENY_WRITE_EXECUTE,
        *line,
        stdout=asyncio.subprocess.PIPE,
        env={"PATH": os.environ["PATH"]},
    )
    try:
        assert program.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            return (await program.stdout.readline()).decode()
    finally:
        program.terminate()
        await program.wait()


@pytest.mark.parametrize("name", re.findall(r"^\| `([a-z-]+:[^`]+)` \|", PAGE, re.MULTILINE))
async def test_each_kind_of_adapter_on_the_page_is_one_that_is_known(name: str) -> None:
    with pytest.raises(ControllerError) as nothing_here:
        await open_controller(name)
    assert "no such kind" not in str(nothing_here.value)
