import asyncio
import os
from collections.abc import Iterator

import pytest

from chargepin.machine.lifeline import VARIABLE, LifelineError, watch_lifeline


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for descriptor in (reading, writing):
        try:
            os.close(descriptor)
        except OSError:
            continue


async def test_closing_the_other_end_ends_it(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    ended = watch_lifeline({VARIABLE: str(reading)})
    os.write(writing, b"what is written means nothing")
    await asyncio.sleep(0)
    assert not ended.done()
    os.close(writing)
    async with asyncio.timeout(5):
        await ended


async def test_without_the_variable_it_never_ends() -> None:
    ended = watch_lifeline({})
    assert not ended.done()
    ended.cancel()


async def test_cancelling_ends_the_watch(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    ended = watch_lifeline({VARIABLE: str(reading)})
    ended.cancel()
    await asyncio.sleep(0)
    assert not asyncio.get_running_loop().remove_reader(reading)
    os.close(writing)


async def test_children_do_not_inherit_it(pipe: tuple[int, int]) -> None:
    reading, _ = pipe
    os.set_inheritable(reading, True)
    ended = watch_lifeline({VARIABLE: str(reading)})
    assert not os.get_inheritable(reading)
    ended.cancel()


@pytest.mark.parametrize("value", ["", "stdin", "-1", "99999", "9" * 30])
async def test_anything_but_an_open_descriptor_is_an_error(value: str) -> None:
    with pytest.raises(LifelineError, match="open file descriptor"):
        watch_lifeline({VARIABLE: value})


async def test_a_plain_file_is_an_error() -> None:
    with open(__file__, "rb") as file, pytest.raises(LifelineError, match="pipe"):  # noqa: PTH123, ASYNC230 -- a descriptor is wanted
        watch_lifeline({VARIABLE: str(file.fileno())})
