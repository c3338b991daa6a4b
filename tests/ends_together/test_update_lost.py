"""An update whose connection breaks off: nobody is told that it is installed where it is not."""

import asyncio
from pathlib import Path

import pytest

from chargepin.app import errors, updating
from chargepin.app.charger import Charger
from chargepin.core.catalogue import Version
from ends import Phone, both_ends
from manual_loop import unwaited

PATIENCE_S = 60
OLD, NEW = "6.7.17", Version(6, 11, 16)


async def update(inside: Charger, version: Version | None, begun: asyncio.Event) -> None:
    async for percent in inside.update(version):
        if percent:
            begun.set()


async def software(phone: Phone) -> Version | None:
    inside = await phone.enter()
    await inside.close()
    return inside.software


async def test_power_that_was_cut_is_no_restart(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        await ends.switch_on(OLD)
        phone, begun = await ends.phone(), asyncio.Event()
        updated = asyncio.ensure_future(update(await phone.enter(), NEW, begun))
        async with asyncio.timeout(PATIENCE_S):
            await begun.wait()
        await ends.switch_off()
        await ends.switch_on(OLD)
        with pytest.raises(errors.LinkLost, match="before it said that the software is in") as told:
            await unwaited(updated)
        assert told.value.may_have_happened
        assert await software(phone) == Version.parse(OLD)


async def test_a_charger_that_is_back_with_the_software_has_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It restarts half a second after it says so, which a slow link may be too late to hear."""
    monkeypatch.setattr(updating, "PROGRESS_EVERY_S", 5.0)
    async with both_ends(tmp_path) as ends:
        await ends.switch_on(OLD)
        phone = await ends.phone()
        await unwaited(update(await phone.enter(), None, asyncio.Event()))
        assert await software(phone) == NEW
