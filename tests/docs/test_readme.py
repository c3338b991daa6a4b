"""What README tells people to type is typed here, in order, on other ports."""

import json
import os
import re
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
BIN = Path(sys.executable).parent
PATIENCE_S = 300
GIVEN: set[int] = set()


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.DOTALL | re.MULTILINE)


def free_port() -> int:
    """One that no system hands out by itself: nobody takes it before a program is told of it.

    Nor does another worker of the tests: each has a range of its own, and gives no port twice.
    """
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    while True:
        port = 20_000 + 1_000 * (worker % 8) + secrets.randbelow(1_000)
        with socket.socket() as tried, suppress(OSError):
            tried.bind(("127.0.0.1", port))
            if port not in GIVEN:
                GIVEN.add(port)
                return port


@pytest.fixture
def programs() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for program in reversed(started):
        program.terminate()
        program.communicate(timeout=PATIENCE_S)


def test_every_command_of_the_readme_works(
    tmp_path: Path, programs: list[subprocess.Popen[str]]
) -> None:
    radio, account = str(free_port()), str(free_port())
    environment = {
        **os.environ,
        "PATH": f"{BIN}:{os.environ['PATH']}",
        "CHARGEPIN_ACCOUNT": f"http://127.0.0.1:{account}",
    }
    serving, *typed = (
        block.replace("9370", radio).replace("8700", account) for block in blocks("sh")
    )
    for line in serving.splitlines():
        program = subprocess.Popen(
            line.split(), cwd=tmp_path, env=environment, stdout=subprocess.PIPE, text=True
        )
        programs.append(program)
        assert program.stdout is not None
        assert json.loads(program.stdout.readline())["ready"] is True
    script = "set -euo pipefail\n" + "\n".join(typed)
    (tmp_path / "snippet.py").write_text(blocks("python")[0])
    script += "\npython snippet.py\n"
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "you are user" in done.stdout
    assert "passcode_rotated" in done.stdout
    assert "Status(name='WB123456'" in done.stdout
