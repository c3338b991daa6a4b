from collections.abc import AsyncIterator

import pytest

from app.link_conformance import CHECKS, Check
from app.scripted_charger import on_the_radio
from chargepin.app.link_bumble import BumbleRadio, open_radio
from chargepin.radio import serve_radio
from manual_loop import unwaited


@pytest.fixture
async def radio() -> AsyncIterator[BumbleRadio]:
    room = await serve_radio("127.0.0.1", 0)
    async with on_the_radio(room.address):
        opened = await open_radio(room.address)
        yield opened
        await opened.close()
    await room.close()


@pytest.mark.parametrize("check", CHECKS.values(), ids=CHECKS)
async def test_bumble(radio: BumbleRadio, check: Check) -> None:
    await unwaited(check(radio))  # what it waits for in vain are time-outs
