"""The charger's controller is pulled out and put back: a serial line to the virtual radio."""

import asyncio
import contextlib
import os
import tty
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chargepin.app.errors import LinkLost
from chargepin.charger.bluetooth.lasting import LONGEST_WAIT_S
from chargepin.charger.inbox import Ending
from chargepin.core.durable import Mode
from ends import PATIENCE_S, Ends, both_ends
from manual_loop import manual_loop, unwaited


class SerialLine:
    """A pseudo-terminal by a name that stays, joined to a controller of the radio."""

    def __init__(self, name: Path, radio: str) -> None:
        self.name = name
        self.reports = Reports()
        self._host, _, self._port = radio.removeprefix("tcp:").rpartition(":")
        self._end = -1
        self._writer: asyncio.StreamWriter | None = None
        self._moving: asyncio.Task[None] | None = None

    async def plug_in(self) -> None:
        self._end, theirs = os.openpty()
        tty.setraw(theirs)
        self.name.unlink(missing_ok=True)
        self.name.symlink_to(os.ttyname(theirs))
        reader, self._writer = await asyncio.open_connection(self._host, int(self._port))
        os.set_blocking(self._end, False)
        asyncio.get_running_loop().add_reader(self._end, self._from_host)
        self._moving = asyncio.create_task(self._to_host(reader))
        self._theirs = theirs  # held open: a line with nobody on it is not yet a lost one

    async def pull_out(self) -> None:
        if self._writer is None or self._moving is None:
            return
        asyncio.get_running_loop().remove_reader(self._end)
        self._moving.cancel()
        self._writer.close()
        self._writer = None
        self.name.unlink()
        os.close(self._theirs)
        os.close(self._end)

    def _from_host(self) -> None:
        assert self._writer is not None
        with contextlib.suppress(OSError):
            self._writer.write(os.read(self._end, 4096))

    async def _to_host(self, reader: asyncio.StreamReader) -> None:
        while packet := await reader.read(1024):
            os.write(self._end, packet)


@asynccontextmanager
async def on_a_line(directory: Path) -> AsyncIterator[tuple[Ends, SerialLine]]:
    """Both ends, the charger's controller at the end of a line that is not plugged in yet."""
    async with both_ends(directory / "charger") as ends:
        line = SerialLine(directory / "tty", ends.room.address)
        ends.reports = line.reports
        ends.controller = f"serial:{line.name}"
        try:
            yield ends, line
        finally:
            await ends.switch_off()
            await line.pull_out()


class Reports(list[str]):
    """What the charger tells its keeper, and that it does."""

    def __init__(self) -> None:
        super().__init__()
        self._news = asyncio.Event()

    def append(self, report: str) -> None:
        super().append(report)
        self._news.set()

    async def wait_for(self, words: str) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.come(words)

    async def come(self, words: str) -> None:
        while not any(words in report for report in self):
            self._news.clear()
            await self._news.wait()


async def test_bluetooth_comes_back_with_the_controller_and_everything_else_went_on(
    tmp_path: Path,
) -> None:
    async with on_a_line(tmp_path) as (ends, line):
        await line.plug_in()
        daemon = await ends.switch_on()
        phone = await ends.phone()
        inside = await phone.enter()
        await inside.set_passcode()
        await inside.close()
        inside = await phone.enter()
        before = daemon.service
        started_s = before.guard.started_s
        await line.pull_out()
        async with asyncio.timeout(PATIENCE_S):
            with pytest.raises(LinkLost):
                await inside.status()
        await line.reports.wait_for("Charging goes on")
        assert daemon._air.links == ()
        await line.plug_in()
        await unwaited(line.reports.come("the Bluetooth controller is back"), LONGEST_WAIT_S)
        await (await phone.enter()).close()
        assert daemon.service is before
        assert before.guard.started_s == started_s  # no power-up: no new time for a reset
        assert before.guard.durable.mode is Mode.PROTECTED


async def test_it_is_tried_until_it_is_back_however_long_that_takes(tmp_path: Path) -> None:
    async with on_a_line(tmp_path) as (ends, line):
        await line.plug_in()
        await ends.switch_on()
        await line.pull_out()
        await line.reports.wait_for("Charging goes on")
        for _ in range(12):
            manual_loop().advance(600)
            await asyncio.sleep(0)
        await line.plug_in()
        await unwaited(line.reports.come("the Bluetooth controller is back"), LONGEST_WAIT_S)
        await (await (await ends.phone()).enter()).close()
        assert len(ends.reports) == 2  # and not a line for each try


async def test_a_restart_while_the_controller_is_gone_waits_for_it(tmp_path: Path) -> None:
    async with on_a_line(tmp_path) as (ends, line):
        await line.plug_in()
        daemon = await ends.switch_on()
        phone = await ends.phone()
        await (await phone.enter()).close()
        before = daemon.service
        await line.pull_out()
        await line.reports.wait_for("Charging goes on")
        before.stop(Ending.RESTART)
        async with asyncio.timeout(PATIENCE_S):
            while daemon.service is before:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
        await line.plug_in()
        await unwaited(line.reports.come("the Bluetooth controller is back"), LONGEST_WAIT_S)
        await (await phone.enter()).close()


async def test_a_line_that_was_never_there_is_said_at_the_start(tmp_path: Path) -> None:
    async with on_a_line(tmp_path) as (ends, _):
        with pytest.raises(OSError, match="there is no such adapter"):
            await ends.switch_on()


async def test_a_controller_that_says_nothing_is_named(tmp_path: Path) -> None:
    async with on_a_line(tmp_path) as (ends, line):
        end, theirs = os.openpty()
        try:
            line.name.symlink_to(os.ttyname(theirs))
            starting = asyncio.create_task(ends.switch_on())
            async with asyncio.timeout(PATIENCE_S):
                await asyncio.to_thread(os.read, end, 1)  # it was asked something
            manual_loop().advance(11)
            with pytest.raises(OSError, match=f"serial:{line.name}.*does not answer"):
                await starting
        finally:
            os.close(end)
            os.close(theirs)
