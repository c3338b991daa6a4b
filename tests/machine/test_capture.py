import os
import resource
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from captures import read_capture
from chargepin.machine.capture import Capture
from needs import not_here

_ADDRESS = bytes.fromhex("01000000 12ca")
_RESET = bytes.fromhex("01030c00")
_RESET_DONE = bytes.fromhex("040e0401030c00")
_DATA = bytes.fromhex("0240000a00") + bytes(10)
_2026_US = 1_767_225_600_000_000


def write_some(path: Path) -> None:
    capture = Capture(path, now_us=lambda: _2026_US)
    capture.begin(0, _ADDRESS)
    capture.begin(1, _ADDRESS)
    capture.from_host(1, _RESET)
    capture.to_host(1, _RESET_DONE)
    capture.from_host(0, _DATA)
    capture.to_host(0, _DATA)
    capture.end(1)
    capture.close()
    capture.to_host(0, _DATA)  # too late, and no error


def test_every_record_names_its_adapter_and_kind(tmp_path: Path) -> None:
    path = tmp_path / "file.btsnoop"
    write_some(path)
    found = read_capture(path.read_bytes())
    assert [(record.adapter, record.opcode) for record in found] == [
        (0, 0),
        (0, 8),
        (1, 0),
        (1, 8),
        (1, 2),
        (1, 3),
        (0, 4),
        (0, 5),
        (1, 9),
        (1, 1),
    ]
    assert found[0].data == b"\0\0" + _ADDRESS + b"hci0\0\0\0\0"
    assert found[4].data == _RESET[1:]
    assert found[5].data == _RESET_DONE[1:]
    assert found[6].data == found[7].data == _DATA[1:]
    # The format's own anchor: 2000-01-01 is 0x00E03AB44A676000.
    assert {record.since_year_0_us for record in found} == {
        0x00E03AB44A676000 + _2026_US - 946_684_800 * 1_000_000
    }


def test_the_file_is_private_though_it_was_not(tmp_path: Path) -> None:
    path = tmp_path / "file.btsnoop"
    path.write_bytes(b"something longer than the header of a capture")
    path.chmod(0o644)
    write_some(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(read_capture(path.read_bytes())) == 10


def test_a_place_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Capture(tmp_path / "missing" / "file.btsnoop")


_WRITE_UNTIL_FULL = """
import pathlib, sys
from chargepin.machine.capture import Capture
capture = Capture(pathlib.Path(sys.argv[1]))
for _ in range(100):
    capture.to_host(0, bytes((2,)) + bytes(250))
print("went on")
"""


def test_a_full_disk_ends_the_file_with_its_last_whole_record(tmp_path: Path) -> None:
    path = tmp_path / "file.btsnoop"
    child = subprocess.run(
        [sys.executable, "-c", _WRITE_UNTIL_FULL, str(path)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert child.stdout == "went on\n"
    assert str(path) in child.stderr
    assert len(read_capture(path.read_bytes())) == (10_000 - 16) // 274


@pytest.mark.parametrize("tool", ["btmon", "tshark"])
def test_other_tools_read_it(tool: str, tmp_path: Path) -> None:
    if shutil.which(tool) is None:
        not_here(f"install {tool} to have captures read by it")
    path = tmp_path / "file.btsnoop"
    write_some(path)
    read = subprocess.run([tool, "-r", str(path)], capture_output=True, text=True, check=True)
    assert "Reset" in read.stdout
    assert "Command Complete" in read.stdout
