"""The simulated charger's front, on a socket that may be deep down."""

import asyncio
import os
from pathlib import Path

import pytest

from chargepin.charger.button import Front


async def told(directory: Path, word: str) -> str:
    """What the front answers, asked from within its directory as a shell would."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        reader, writer = await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/button")
    finally:
        os.close(descriptor)
    writer.write(f"{word}\n".encode())
    answer = (await reader.readline()).decode().strip()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.mark.parametrize("deep", [False, True])
async def test_hands_reach_the_front_wherever_its_files_are(tmp_path: Path, *, deep: bool) -> None:
    directory = tmp_path / ("d" * 120 if deep else "d")
    directory.mkdir()
    pressed: list[str] = []
    front = Front(directory / "button", {"press": lambda: pressed.append("press")})
    await front.open()
    assert (directory / "button").stat().st_mode & 0o777 == 0o600
    assert await told(directory, "press") == "done"
    assert pressed == ["press"]
    assert await told(directory, "kick") == "there is no 'kick'; there are press"
    await front.close()
    assert list(directory.iterdir()) == []


async def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    def plug() -> None:
        raise ValueError("a car is plugged in already")

    front = Front(tmp_path / "button", {"plug": plug})
    await front.open()
    assert await told(tmp_path, "plug") == "not done: a car is plugged in already"
    await front.close()
