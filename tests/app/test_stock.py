"""The stock service from the app's side, against a charger whose software knows no passcode yet."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.at_imitations import app_at, imitating
from app.reluctant import Reluctant
from chargepin.app import errors
from chargepin.app.charger import Charger
from chargepin.charger.air import Air
from chargepin.charger.stock.call import Call
from ends import both_ends
from manual_loop import manual_loop

OLD = "6.7.10"
PATIENCE_S = 100.0
TURNS = 2000


@asynccontextmanager
async def connected(directory: Path) -> AsyncIterator[tuple[Charger, Reluctant]]:
    """An app's connection, and what stands before the charger's replies."""
    before: list[Reluctant] = []

    def reluctant(air: Air) -> Any:
        before.append(Reluctant(air))
        return before[0]

    async with both_ends(directory) as ends:
        await ends.switch_on(OLD, air=reluctant)
        yield await (await ends.phone()).enter(), before[0]


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not holds():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0)
    for _ in range(TURNS):  # the app has yet to hear that its request was written
        await asyncio.sleep(0)


async def test_status_and_orders_at_the_stock_service(tmp_path: Path) -> None:
    async with connected(tmp_path) as (charger, _):
        assert (await charger.status()).locked is False
        await charger.lock()
        await charger.limit_current(16)
        status = await charger.status()
        assert (status.locked, status.current_a) == (True, 16)
        assert (status.software, status.passcode) == (OLD, "unsupported")
        await charger.lock(locked=False)
        assert (await charger.status()).locked is False
        with pytest.raises(errors.ChargerRefused):
            await charger.start()  # no car
        await charger.stop()  # nothing charges: that is how it is already


async def test_an_original_pulsar_that_ramps_up_charges_and_can_be_paused(tmp_path: Path) -> None:
    """Its state 4 is no pause, as it is everywhere else."""
    async with imitating(tmp_path, "375") as on, app_at(on) as app:
        assert on.charger is not None
        handlers: Any = on.charger._stock._handlers
        usual = handlers["r_dat"]

        def ramping(call: Call) -> object:
            told = usual(call)
            return {**told, "st": 4 if told["st"] == 1 else told["st"]}

        handlers["r_dat"] = ramping
        on.charger._plug()
        charger = await app.enter()
        assert (await charger.status()).state == "charging, ramping up"
        await charger.stop()
        assert (await charger.status()).state == "connected"
        await charger.start()
        assert (await charger.status()).state == "charging, ramping up"


async def test_a_late_reply_is_not_taken_for_the_next_ones(tmp_path: Path) -> None:
    async with connected(tmp_path) as (charger, air):
        air.holding = True
        asking = asyncio.ensure_future(charger.call("g_tzn"))
        await until(lambda: bool(air.kept))
        manual_loop().advance(6)
        with pytest.raises(errors.NotAnswered, match="not to g_tzn"):
            await asking
        air.release()
        assert await charger.call("r_sn_") == "123456"
        assert await charger.call("g_tzn") == {"timezone": "Etc/UTC"}


async def test_a_write_that_was_not_answered_may_have_happened(tmp_path: Path) -> None:
    async with connected(tmp_path) as (charger, air):
        await charger.lock()
        air.holding = True
        asking = asyncio.ensure_future(charger.limit_current(10))
        await until(lambda: bool(air.kept))
        manual_loop().advance(6)
        with pytest.raises(errors.NotAnswered) as told:
            await asking
        assert told.value.may_have_happened
        assert (await charger.status()).current_a == 10


async def test_one_request_is_in_flight_and_all_are_answered(tmp_path: Path) -> None:
    async with connected(tmp_path) as (charger, air):
        air.holding = True
        asking = [asyncio.ensure_future(charger.call("r_sn_")) for _ in range(3)]
        await until(lambda: bool(air.kept))
        assert len(air.kept) == 1
        air.release()
        assert await asyncio.gather(*asking) == ["123456"] * 3


async def test_a_link_that_died_silently_is_noticed_and_hung_up(tmp_path: Path) -> None:
    async with connected(tmp_path) as (charger, air):
        await charger.lock()
        air.mute = True
        asking = asyncio.ensure_future(charger.lock(locked=False))
        await until(lambda: len(air.kept) == 1)
        manual_loop().advance(6)
        await until(lambda: len(air.kept) == 2)  # whether it lives at all
        manual_loop().advance(6)
        with pytest.raises(errors.LinkLost, match="dead") as lost:
            await asking
        assert lost.value.may_have_happened
        assert charger.closed


async def test_keep_alive_notices_a_dead_link(tmp_path: Path) -> None:
    async with connected(tmp_path) as (charger, air):
        await charger.keep_alive()
        air.mute = True
        asking = asyncio.ensure_future(charger.keep_alive())
        await until(lambda: len(air.kept) == 1)
        manual_loop().advance(6)
        with pytest.raises(errors.LinkLost):
            await asking
        assert charger.closed


async def test_silence_from_the_beginning_names_pairing(tmp_path: Path) -> None:
    silent: list[Reluctant] = []

    def mute(air: Air) -> Any:
        silent.append(Reluctant(air))
        silent[0].mute = True
        return silent[0]

    async with both_ends(tmp_path) as ends:
        await ends.switch_on(OLD, air=mute)
        entering = asyncio.ensure_future((await ends.phone()).enter())
        await until(lambda: len(silent) == 1 and len(silent[0].kept) == 1)
        manual_loop().advance(6)
        await until(lambda: len(silent[0].kept) == 2)  # whether it lives at all
        manual_loop().advance(6)
        with pytest.raises(errors.PasscodeNeeded, match=r"answers nothing.*passcode enter WB"):
            await entering


async def test_what_needs_the_passcode_service_says_what_is_missing(tmp_path: Path) -> None:
    async with connected(tmp_path) as (charger, air):
        for asking in (charger.phones(), charger.log(), charger.end_pause(), charger.reset()):
            with pytest.raises(errors.UpdateNeeded, match=r"6\.7\.17"):
                await asking
        air.mute = True  # nothing was even asked
        with pytest.raises(errors.UpdateNeeded):
            await charger.set_passcode()


async def test_set_pin_is_not_sent_with_another_passcode(tmp_path: Path) -> None:
    async with connected(tmp_path) as (charger, _):
        with pytest.raises(errors.MakersAppNeeded, match="was not sent"):
            await charger.call("set_pin", {"pin": "123456", "version": 3})
