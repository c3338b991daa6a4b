"""What is asked of this app on BlueZ alone: codes, stale bonds, what dies under it."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import bleak

from app.link_conformance import (
    ADDRESS,
    HINT,
    NAME,
    PATIENCE_S,
    REFUSING,
    gone,
    linked,
    linked_afresh,
    order,
    raises,
    state,
)
from chargepin.app.errors import Cancelled, LinkLost, PasscodeWrong
from chargepin.app.link_bleak import BleakRadio, open_radio
from chargepin.app.link_bleak.link import BleakLink
from chargepin.app.ports import AttRefused, Found

CODE = 24_680
CHECKS: dict[str, Callable[[], Awaitable[None]]] = {}


def check(function: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    CHECKS[getattr(function, "__name__")] = function  # noqa: B009 - a check need not have one
    return function


class Person:
    """Knows a code, or says no; keeps what was said to it."""

    def __init__(self, code: int | None) -> None:
        self.code = code
        self.asked: list[str] = []
        self.told: list[str] = []

    async def ask(self, name: str) -> int:
        self.asked.append(name)
        if self.code is None:
            raise Cancelled("Nobody knows.")
        return self.code


@asynccontextmanager
async def opened(person: Person | None = None) -> AsyncIterator[BleakRadio]:
    if person is None:
        radio = await open_radio()
    else:
        radio = await open_radio(ask_code=person.ask, tell=person.told.append)
    try:
        yield radio
    finally:
        await radio.close()


async def showing_a_code(radio: BleakRadio) -> None:
    async with linked_afresh(radio) as link:
        await order(link, f"pair with {CODE}")


@check
async def the_right_code_pairs_and_the_bond_lasts() -> None:
    person = Person(CODE)
    async with opened(person) as radio:
        await showing_a_code(radio)
        async with linked(radio) as link:
            await link.pair()
            await link.pair()
            assert (await state(link))["encrypted"]
            assert person.asked == [NAME]
        async with linked(radio) as link:
            await link.pair()
            assert (await state(link))["encrypted"]
            assert person.asked == [NAME]
            await order(link, "forget bonds")


@check
async def a_wrong_code_is_said_so_and_the_next_try_begins_anew() -> None:
    person = Person(CODE + 1)
    async with opened(person) as radio:
        await showing_a_code(radio)
        for _ in range(2):
            async with linked(radio) as link:
                error = await raises(PasscodeWrong, link.pair())
                assert error.tries_left is None
                assert link.closed
        person.code = CODE
        async with linked(radio) as link:
            await link.pair()
            assert (await state(link))["encrypted"]
            await order(link, "forget bonds")
        assert person.asked == [NAME] * 3


class Lent(bleak.BleakClient):
    """Stands for Home Assistant's: another class than bleak's own, over BlueZ all the same."""


@check
async def lent_bluetooth_is_used_and_the_code_is_typed_by_this_apps_agent() -> None:
    person = Person(CODE)
    async with opened() as own:
        await showing_a_code(own)
    with patch.object(bleak, "BleakClient", Lent):
        async with opened(person) as radio, linked(radio) as link:
            await link.pair()
            assert isinstance(link, BleakLink)
            assert isinstance(link.client, Lent)
            assert (await state(link))["encrypted"]
            await order(link, "pair always")
            await order(link, "forget bonds")
    assert person.asked == [NAME]


@check
async def whoever_says_no_is_believed() -> None:
    person = Person(None)
    async with opened(person) as radio:
        await showing_a_code(radio)
        async with linked(radio) as link:
            assert "Nobody knows" in str(await raises(Cancelled, link.pair()))
        assert person.asked == [NAME]


@check
async def a_changed_code_removes_the_stale_bond_and_asks_again() -> None:
    person = Person(CODE)
    async with opened(person) as radio:
        await showing_a_code(radio)
        async with linked(radio) as link:
            await link.pair()
            await order(link, f"pair with {CODE + 7}")
            await order(link, "forget bonds")
        person.code = CODE + 7
        async with linked(radio) as link:
            assert not (await state(link))["encrypted"]
            await link.pair()
            assert (await state(link))["encrypted"]
            await order(link, "pair always")
            await order(link, "forget bonds")
        assert person.asked == [NAME] * 2
        assert len(person.told) == 1
        assert "no longer knows this computer" in person.told[0]


@check
async def giving_up_a_pairing_ends_it() -> None:
    asked = asyncio.Event()

    async def ask(_: str) -> int:
        asked.set()
        await asyncio.Event().wait()
        return CODE

    radio = await open_radio(ask_code=ask)
    await showing_a_code(radio)
    async with linked(radio) as link:
        pairing = asyncio.ensure_future(link.pair())
        async with asyncio.timeout(PATIENCE_S):
            await asked.wait()
        pairing.cancel()
        await raises(asyncio.CancelledError, pairing)
    await radio.close()
    person = Person(CODE)
    async with opened(person) as radio, linked(radio) as link:
        await link.pair()
        await order(link, "pair always")
        await order(link, "forget bonds")


async def pairings_after(code: int) -> dict[str, Any]:
    """What BlueZ does by itself when a charger that will not pair refuses a read."""
    async with opened() as radio:
        async with linked_afresh(radio) as link:
            await order(link, "pair never")
            await order(link, f"refuse {code}")
            try:
                await link.read(REFUSING)
                seen: dict[str, Any] = {"error": None}
            except (AttRefused, LinkLost) as error:
                seen = {"error": str(error)}
            seen["closed"] = link.closed
        async with linked(radio) as link:
            seen["pairings"] = (await state(link))["pairings_before"]
            await order(link, "pair always")
    return seen


@check
async def a_refusal_for_want_of_rights_keeps_the_link_and_starts_no_pairing() -> None:
    seen = await pairings_after(0x08)
    assert seen == {"error": "ATT error 0x08", "closed": False, "pairings": 0}, seen


@check
async def a_refusal_for_want_of_a_key_makes_bluez_pair_by_itself() -> None:
    for code in (0x05, 0x0F):
        seen = await pairings_after(code)
        assert seen["pairings"] >= 1, (code, seen)


@check
async def what_a_killed_program_left_connected_is_hung_up_first() -> None:
    async with opened() as one, opened() as other, linked(one) as left, linked(other) as link:
        assert await link.read(HINT) == bytes(range(14))
        await gone(left)


@check
async def bluez_dying_is_a_lost_link_and_a_lost_radio() -> None:
    async with opened() as radio, linked(radio) as link:
        for comm in Path("/proc").glob("[0-9]*/comm"):
            if comm.read_text().strip() == "bluetoothd":
                os.kill(int(comm.parent.name), signal.SIGKILL)
        await gone(link)
        assert "Bluetooth is gone" in str(await raises(LinkLost, link.read(HINT)))
        again = radio.connect(Found(ADDRESS, NAME, -55), timeout_s=5)
        assert "Bluetooth is gone" in str(await raises(LinkLost, again))
