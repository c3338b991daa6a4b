"""The simulated charger's front, on a socket that may be deep down."""

import asyncio
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from chargepin.charger.button import Front
from chargepin.charger.ports import NotPossible, Surroundings
from ends import both_ends


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


async def test_some_words_have_a_number(tmp_path: Path) -> None:
    turned: list[int] = []
    front = Front(tmp_path / "button", {"press": lambda: None}, {"sun": turned.append})
    await front.open()
    assert await told(tmp_path, "sun 3000") == "done"
    assert turned == [3000]
    for nonsense in ("sun", "sun -1", "sun x", "sun 1 2"):
        assert await told(tmp_path, nonsense) == "not done: sun needs a number, such as sun 20"
    there = "there are press, sun NUMBER"
    assert await told(tmp_path, "press 2") == f"there is no 'press 2'; {there}"
    assert await told(tmp_path, "moon 2") == f"there is no 'moon 2'; {there}"
    await front.close()


async def test_what_cannot_be_done_is_told(tmp_path: Path) -> None:
    def plug() -> None:
        raise NotPossible("a car is plugged in already")

    front = Front(tmp_path / "button", {"plug": plug})
    await front.open()
    assert await told(tmp_path, "plug") == "not done: a car is plugged in already"
    await front.close()


async def test_the_front_of_a_charger_has_a_house_around_it(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        charger = await ends.switch_on()
        for word in ("plug", "sun 3000", "house 20"):
            assert await told(tmp_path, word) == "done"
        assert (await told(tmp_path, "plug")).startswith("not done: A car")
        assert (await told(tmp_path, "sun 1000000")).startswith("not done: The sun")
        state = charger.hardware.state(charger.service.now_s())
        assert state.surroundings == Surroundings(solar_w=3000, house_a=20)
        assert state.current is not None
        assert await told(tmp_path, "unplug") == "done"


async def test_it_is_done_once_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with both_ends(tmp_path) as ends:
        charger = await ends.switch_on()
        may_write, commit = threading.Event(), charger._store.commit
        loop, writes = asyncio.get_running_loop(), asyncio.Event()

        def slowly(*what: Any, **how: Any) -> None:
            loop.call_soon_threadsafe(writes.set)
            may_write.wait()
            commit(*what, **how)

        await charger.service.settled()  # it has begun
        monkeypatch.setattr(charger._store, "commit", slowly)
        answer = asyncio.ensure_future(told(tmp_path, "hold"))
        await writes.wait()
        assert not answer.done()
        may_write.set()
        assert await answer == "done"
        assert charger.service.guard.durable.incarnation == 2


async def test_a_charger_that_ends_meanwhile_has_not_done_it(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        charger = await ends.switch_on()
        await charger.service.settled()
        charger.service.stop()
        with pytest.raises(NotPossible, match="try again"):
            await charger.service.settled()
        with pytest.raises(NotPossible, match="try again"):
            await charger.service.settled()
