import asyncio
import threading
import time

import pytest

from chargepin.machine.clock import running_s, unix_s
from manual_loop import manual_loop


async def test_advancing_runs_the_timers_that_are_due_and_no_others() -> None:
    ran: list[str] = []
    loop = manual_loop()
    reached = asyncio.Event()
    loop.call_later(3600, ran.append, "hour")
    loop.call_later(3600.5, reached.set)
    loop.call_later(86400, ran.append, "day")

    before = running_s()
    loop.advance(3601)
    await reached.wait()

    assert ran == ["hour"]
    assert 3601 <= running_s() - before < 3700


async def test_asyncio_sleep_and_timeout_follow_the_hand() -> None:
    waiting = asyncio.create_task(asyncio.wait_for(asyncio.Event().wait(), timeout=30))
    sleeping = asyncio.create_task(asyncio.sleep(20, "slept"))
    await asyncio.sleep(0)  # both set their timers
    manual_loop().advance(25)
    assert await sleeping == "slept"
    assert not waiting.done()
    manual_loop().advance(25)
    with pytest.raises(TimeoutError):
        await waiting


async def test_another_thread_wakes_a_waiting_loop() -> None:
    fired = asyncio.Event()
    loop = manual_loop()
    loop.call_later(3600, fired.set)
    started = time.monotonic()
    thread = threading.Thread(target=loop.advance, args=(3600,))
    thread.start()
    await fired.wait()
    thread.join()
    assert time.monotonic() - started < 60


async def test_time_never_goes_back() -> None:
    with pytest.raises(ValueError, match="only moves forward"):
        manual_loop().advance(-1)


async def test_wall_time_is_this_computers() -> None:
    before_s = int(time.time())
    assert before_s <= unix_s() <= time.time()
