"""Commands that are forked behave as commands that are started."""

import asyncio
import os
import select
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from chargepin.cli.tour.forks import FORKS, Forks

pytestmark = pytest.mark.skipif(not FORKS, reason="forks are for Linux")
NEVER_ENDS = ("serve", "radio", "--listen", "tcp:127.0.0.1:0")
NO_RADIO = ("scan", "--radio", "tcp:127.0.0.1:1")


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
async def forks() -> AsyncIterator[Forks]:
    forks = await Forks.start(os.environ)
    yield forks
    await forks.end()


def children(forks: Forks) -> list[int]:
    number = forks._process.pid
    return [*map(int, Path(f"/proc/{number}/task/{number}/children").read_text().split())]


def ends(number: int) -> bool:
    """Whether a process ends."""
    try:
        process = os.pidfd_open(number)
    except ProcessLookupError:
        return True
    ended, _, _ = select.select([process], [], [], 60)
    os.close(process)
    return bool(ended)


async def test_streams_and_exit_codes_are_a_commands_own(forks: Forks, tmp_path: Path) -> None:
    heard: list[str] = []
    version, wrong, alone = await asyncio.gather(
        forks.run(["--version"], "", None),
        forks.run(["no-such-command"], "", heard.append),
        forks.run([*NO_RADIO, "--home", str(tmp_path)], "", None),
    )
    assert (version.code, version.err) == (0, "")
    assert version.out.startswith("chargepin ")
    assert (wrong.code, wrong.out) == (2, "")
    assert "".join(heard) == wrong.err
    assert "no-such-command" in wrong.err
    assert alone.code == 1
    assert alone.err.startswith("Not done: ") or "tcp:127.0.0.1:1" in alone.err


async def test_a_command_that_nobody_waits_for_is_killed(forks: Forks) -> None:
    assert all(map(ends, children(forks)))  # a command has answered before its process is gone
    running = asyncio.create_task(forks.run(NEVER_ENDS, "", None))
    async with asyncio.timeout(60):
        while not (forked := children(forks)):
            await asyncio.wait({running}, timeout=0.01)
        (fork,) = forked
        running.cancel()
        await asyncio.wait({running})
    assert ends(fork)


async def test_it_ends_with_whoever_gives_orders() -> None:
    forks = await Forks.start(os.environ)
    async with asyncio.timeout(60):
        await forks.end()
    with pytest.raises(OSError):  # noqa: PT011 - any: it is gone
        await forks.run(["--version"], "", None)
