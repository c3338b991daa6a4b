"""The app's commands on a Python without what Windows lacks. Windows itself it is not."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from chargepin.cli.tour.world import Outcome
from e2e.programs import NAME, PATIENCE_S, Stage, environment, killed, stage

# Libraries are imported before, as they would find what they need on Windows elsewhere.
WITHOUT = """
import asyncio, fcntl, getpass, os, signal, socket, subprocess, sys, time, types
import bumble.device, bumble.transport.tcp_client, httpx, keyring, msgspec, tempfile, typer
import typer.main

msvcrt = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK = 2
flock, how = fcntl.flock, fcntl.LOCK_EX | fcntl.LOCK_NB
def locking(descriptor, mode, size):
    assert (mode, size) == (msvcrt.LK_NBLCK, 1)
    flock(descriptor, how)
msvcrt.locking = locking
pair, family = socket.socketpair, socket.AF_UNIX
socket.socketpair = lambda: pair(family)  # asyncio's own
sys.modules |= {"msvcrt": msvcrt, "fcntl": None, "termios": None}
for module, names in (
    (os, "fchmod O_DIRECTORY O_CLOEXEC O_NOFOLLOW geteuid set_blocking"),
    (signal, "SIGHUP SIGKILL"),
    (socket, "AF_UNIX"),
    (asyncio, "open_unix_connection start_unix_server"),
    (time, "clock_gettime CLOCK_BOOTTIME"),
):
    for name in names.split():
        delattr(module, name)
os.O_BINARY = 0
sys.platform = "win32"
sys.argv[0] = "chargepin"
from chargepin.__main__ import main
main()
"""


async def without(on: Stage, *arguments: str, stdin: str = "") -> Outcome:
    return await without_at(on.directory, *arguments, *on.options("owner"), stdin=stdin)


async def without_at(directory: Path, *arguments: str, stdin: str = "") -> Outcome:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", WITHOUT, *arguments),
        cwd=directory,
        stdin=PIPE,
        stdout=PIPE,
        stderr=PIPE,
        env=environment(),
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            out, err = await process.communicate(stdin.encode())
    finally:
        await killed(process)
    return Outcome(process.returncode or 0, out.decode(), err.decode())


async def test_commands_of_the_app_need_nothing_that_windows_lacks(tmp_path: Path) -> None:
    async with stage(tmp_path / "stage") as on:
        await on.start_radio()
        await on.start_charger()
        done = await without(on, "passcode", "set", NAME, stdin="\n\n\n")
        assert done.code == 0, done.err
        assert (on.home("owner") / "secrets.json").exists()
        shown = await without(on, "passcode", "show", NAME, "--json")
        assert shown.code == 0, shown.err
        digits = json.loads(shown.out)["passcodes"][0]["passcode"]
        done = await without(on, "status", NAME, "--json", stdin=f"{digits}\n")
        assert done.code == 0, done.err
        seen = await without(on, "doctor", NAME, "--json")
        assert seen.code == 0, seen.out + seen.err
        assert NAME in (await without(on, "scan", "--seconds", "1")).out
        lent = await without(on, "pause", NAME)
        assert (lent.code, "cannot be asked to lend it" in lent.err) == (1, True), lent.err


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "radio", "--listen", "tcp:127.0.0.1:0"),
        (
            "serve",
            "charger",
            "--serial",
            "123456",
            "--data",
            "charger",
            "--radio",
            "tcp:127.0.0.1:1",
        ),
        ("serve", "account", "--database", "sqlite:///account.sqlite"),
        ("tour",),
        ("demo",),
    ],
)
async def test_what_windows_cannot_run_says_so(tmp_path: Path, command: tuple[str, ...]) -> None:
    outcome = await without_at(tmp_path, *command)
    told = (
        f"Not done: chargepin {command[0]} runs on Linux and macOS. On Windows, run it inside WSL."
    )
    assert (outcome.code, outcome.err.splitlines()[-1]) == (1, told)
    assert list(tmp_path.iterdir()) == []
