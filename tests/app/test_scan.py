"""What a scan gives: every charger once, by its address, the strongest first."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from chargepin.app.connect import scan
from chargepin.app.ports import Found
from manual_loop import manual_loop

FAR = Found("F0:00:00:00:00:01", "WB1", -80)
NEAR = Found("F0:00:00:00:00:02", "WB2", -50)
SAME_NAME = Found("F0:00:00:00:00:03", "WB1", -60)
CLOSER = Found("F0:00:00:00:00:01", "WB1", -40)


class Heard:
    """A radio on which these are heard, and then nothing more."""

    def __init__(self, *found: Found) -> None:
        self._found = found
        self.done = asyncio.Event()

    async def scan(self) -> AsyncGenerator[Found, None]:
        """Yield them, then wait."""
        for each in self._found:
            yield each
        self.done.set()
        await asyncio.Event().wait()


async def scanned(*found: Found) -> list[Found]:
    radio: Any = Heard(*found)
    listening = asyncio.create_task(scan(5.0, radio=radio))
    await radio.done.wait()
    manual_loop().advance(5)
    return await listening


async def test_the_strongest_is_first() -> None:
    assert await scanned(FAR, NEAR, SAME_NAME) == [NEAR, SAME_NAME, FAR]


async def test_one_that_came_closer_is_given_as_it_is_now() -> None:
    assert await scanned(FAR, NEAR, CLOSER) == [CLOSER, NEAR]


async def test_nothing_is_nothing() -> None:
    assert await scanned() == []
