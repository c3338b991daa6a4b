"""What every adapter of the Radio and Link ports must do, whatever carries it.

The same checks run on Bumble in this process, and on BlueZ inside a virtual machine. At the other
end of the link is a scripted charger, which takes its orders over the link itself. Nothing here
but the ports is known of the adapter; nothing but the standard library is needed.
"""

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from contextvars import ContextVar
from typing import Any

from chargepin.app.errors import (
    Busy,
    ChargepinError,
    ChargerRefused,
    LinkLost,
    NotFound,
    ProtocolError,
)
from chargepin.app.ports import AttRefused, Found, Link, Radio
from chargepin.core import gatt

NAME, ADDRESS = "WB000777", "F0:00:00:00:07:77"
ECHO, HINT, TOLD = (
    each.uuid for each in (gatt.PASSCODE_WRITE, gatt.PASSCODE_HINT, gatt.PASSCODE_NOTIFY)
)
ORDER, STATE, LONG, REFUSING, SILENT, ONE_WAY = (
    f"0000fff{number}-0000-1000-8000-00805f9b34fb" for number in range(1, 7)
)
ABSENT = "0000fffe-0000-1000-8000-00805f9b34fb"
PATIENCE_S = 30.0
GIVEN_IN = ContextVar("GIVEN_IN", default="another")

Check = Callable[[Radio], Awaitable[None]]
CHECKS: dict[str, Check] = {}


def check(function: Check) -> Check:
    CHECKS[getattr(function, "__name__")] = function  # noqa: B009 - a Check need not have one
    return function


async def first(radio: Radio, wanted: Callable[[Found], bool]) -> Found:
    async with asyncio.timeout(PATIENCE_S), aclosing(radio.scan()) as seen:
        async for found in seen:
            if wanted(found):
                return found
    raise AssertionError


async def charger(radio: Radio) -> Found:
    return await first(radio, lambda found: found.name == NAME)


@asynccontextmanager
async def linked(radio: Radio) -> AsyncIterator[Link]:
    link = await radio.connect(Found(ADDRESS, NAME, -55), timeout_s=PATIENCE_S)
    try:
        yield link
    finally:
        if not link.closed:  # BlueZ takes two seconds to hang up, chargers do not
            with contextlib.suppress(LinkLost):
                await order(link, "hang up when told")
                await gone(link)
        await link.close()


async def order(link: Link, what: str) -> None:
    await link.write(ORDER, what.encode(), response=True)


async def state(link: Link) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(await link.read(STATE))
    return told


async def gone(link: Link) -> None:
    ended = asyncio.Event()
    link.on_close(ended.set)
    async with asyncio.timeout(PATIENCE_S):
        await ended.wait()


async def raises(kind: type[BaseException], work: Awaitable[object]) -> Any:
    try:
        await work
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


# Scanning


@check
async def a_charger_is_found_with_what_both_its_packets_say(radio: Radio) -> None:
    stock = gatt.Layout.BGX.stock.uuid
    both = {stock, gatt.PASSCODE_SERVICE}
    found = await first(radio, lambda it: it.name == NAME and both <= set(it.services))
    assert found.address == ADDRESS
    assert -60 <= found.rssi_dbm <= -45
    assert found.connectable


@check
async def nothing_but_chargers_is_found(radio: Radio) -> None:
    seen = set()
    async with asyncio.timeout(PATIENCE_S), aclosing(radio.scan()) as scan:
        async for found in scan:
            seen.add(found.name)
            if {NAME, "WB654321"} <= seen:
                break
    assert [name for name in seen if not re.fullmatch("WB[0-9]+", name)] == []


@check
async def two_scans_at_once_hear_the_same(radio: Radio) -> None:
    async with asyncio.timeout(PATIENCE_S), aclosing(radio.scan()) as one:
        await anext(one)
        assert (await charger(radio)).address == ADDRESS
    assert (await charger(radio)).address == ADDRESS


# Connecting


@check
async def a_connection_knows_the_charger(radio: Radio) -> None:
    async with linked(radio) as link:
        assert {ECHO, HINT, TOLD, ORDER, STATE, REFUSING, ONE_WAY} <= link.characteristics
        assert ABSENT not in link.characteristics
        assert 23 <= link.att_mtu <= 517
        assert not link.closed
        assert await link.read(HINT) == bytes(range(14))


@check
async def who_does_not_answer_is_not_found(radio: Radio) -> None:
    absent = Found("F0:00:00:00:00:99", "WB999999", -55)
    error = await raises(NotFound, radio.connect(absent, timeout_s=2))
    assert "WB999999 did not answer within 2 s" in str(error)
    async with linked(radio) as link:  # the adapter is not left waiting
        assert await link.read(HINT) == bytes(range(14))


@check
async def giving_up_leaves_nothing_behind(radio: Radio) -> None:
    for turns in (0, 1, 5, 20, 60):
        trying = asyncio.ensure_future(
            radio.connect(Found(ADDRESS, NAME, -55), timeout_s=PATIENCE_S)
        )
        for _ in range(turns):
            await asyncio.sleep(0)
        trying.cancel()
        await asyncio.wait([trying])
        if not trying.cancelled():
            await trying.result().close()
    async with linked(radio) as link:
        assert await link.read(HINT) == bytes(range(14))


@check
async def a_second_link_to_the_same_charger_is_refused(radio: Radio) -> None:
    async with linked(radio) as link:
        error = await raises(Busy, radio.connect(Found(ADDRESS, NAME, -55), timeout_s=5))
        assert "connected already" in str(error)
        assert await link.read(HINT) == bytes(range(14))


@check
async def connecting_again_works_at_once(radio: Radio) -> None:
    for _ in range(3):
        async with linked(radio) as link:
            assert await link.read(HINT) == bytes(range(14))


# Talking


@check
async def values_of_any_length_are_read_whole(radio: Radio) -> None:
    async with linked(radio) as link:
        for size in (0, 1, link.att_mtu - 2, link.att_mtu - 1, link.att_mtu, 500):
            await order(link, f"long {size}")
            assert await link.read(LONG) == (bytes(range(250)) * 2)[:size]


@check
async def writes_and_notifications_keep_their_order(radio: Radio) -> None:
    async with linked(radio) as link:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        await link.subscribe(TOLD, heard.put_nowait)
        sent = [bytes((number,)) * (link.att_mtu - 3) for number in range(50)]
        for number, value in enumerate(sent):
            await link.write(ECHO, value, response=number % 10 == 0)
        async with asyncio.timeout(PATIENCE_S):
            assert [await heard.get() for _ in sent] == sent


@check
async def writes_of_several_tasks_are_all_made(radio: Radio) -> None:
    async with linked(radio) as link:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        await link.subscribe(TOLD, heard.put_nowait)
        sent = [bytes((number,)) for number in range(10)]
        await asyncio.gather(*(link.write(ECHO, each, response=bool(each[0] % 2)) for each in sent))
        async with asyncio.timeout(PATIENCE_S):
            assert sorted([await heard.get() for _ in sent]) == sent


@check
async def many_notifications_arrive_in_order_and_whole(radio: Radio) -> None:
    async with linked(radio) as link:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        await link.subscribe(TOLD, heard.put_nowait)
        await order(link, "tell 100 20")
        async with asyncio.timeout(PATIENCE_S):
            told = [await heard.get() for _ in range(100)]
        assert told == [bytes((number,)) * 20 for number in range(100)]


@check
async def the_same_value_twice_is_two_notifications(radio: Radio) -> None:
    async with linked(radio) as link:
        heard: asyncio.Queue[bytes] = asyncio.Queue()
        await link.subscribe(TOLD, heard.put_nowait)
        for _ in range(5):
            await link.write(ECHO, b"same", response=False)
        async with asyncio.timeout(PATIENCE_S):
            assert [await heard.get() for _ in range(5)] == [b"same"] * 5


@check
async def two_subscribers_both_hear(radio: Radio) -> None:
    async with linked(radio) as link:
        one: asyncio.Queue[bytes] = asyncio.Queue()
        other: asyncio.Queue[bytes] = asyncio.Queue()
        await link.subscribe(TOLD, one.put_nowait)
        await link.subscribe(TOLD, other.put_nowait)
        await link.write(ECHO, b"x", response=True)
        async with asyncio.timeout(PATIENCE_S):
            assert await one.get() == await other.get() == b"x"


@check
async def what_takes_only_requests_is_written_with_response(radio: Radio) -> None:
    async with linked(radio) as link:
        await link.write(ONE_WAY, b"asked", response=False)
        assert (await state(link))["requests"] == [b"asked".hex()]


@check
async def too_long_a_chunk_is_a_fault_of_the_caller(radio: Radio) -> None:
    async with linked(radio) as link:
        for response in (False, True):
            work = link.write(ECHO, bytes(link.att_mtu - 2), response=response)
            await raises(ValueError, work)
        assert (await state(link))["written"] == []


@check
async def errors_of_the_charger_are_told_by_number(radio: Radio) -> None:
    async with linked(radio) as link:
        for code in (0x08, 0x80, 0x13, 0x02, 0x03, 0x06):
            await order(link, f"refuse {code}")
            read = await raises(AttRefused, link.read(REFUSING))
            written = await raises(AttRefused, link.write(REFUSING, b"?", response=True))
            assert (read.error, written.error) == (code, code)
        assert not link.closed


@check
async def a_refused_subscription_calls_nobody(radio: Radio) -> None:
    async with linked(radio) as link:
        heard: list[bytes] = []
        await order(link, f"refuse {0x08}")
        refused = await raises(AttRefused, link.subscribe(REFUSING, heard.append))
        assert refused.error == 0x08
        await order(link, "refuse 0")
        now: asyncio.Queue[bytes] = asyncio.Queue()
        await link.subscribe(REFUSING, now.put_nowait)
        await link.write(REFUSING, b"heard", response=True)
        async with asyncio.timeout(PATIENCE_S):
            assert await now.get() == b"heard"
        assert heard == []


@check
async def what_is_not_there_is_named(radio: Radio) -> None:
    async with linked(radio) as link:
        assert ABSENT in str(await raises(ProtocolError, link.read(ABSENT)))
        await raises(ProtocolError, link.write(ABSENT, b"", response=False))
        error = await raises(ProtocolError, link.subscribe(HINT, lambda _: None))
        assert "no notifications" in str(error)


@check
async def a_callback_that_fails_disturbs_nobody(radio: Radio) -> None:
    reported: list[BaseException] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: reported.append(context["exception"]))
    try:
        async with linked(radio) as link:
            heard = asyncio.Event()

            def fail(_: bytes) -> None:
                heard.set()
                raise KeyError

            await link.subscribe(TOLD, fail)
            await link.write(ECHO, b"x", response=False)
            async with asyncio.timeout(PATIENCE_S):
                await heard.wait()
            assert await link.read(HINT) == bytes(range(14))
    finally:
        loop.set_exception_handler(None)
    assert [type(error) for error in reported] == [KeyError]


@check
async def callbacks_have_the_context_in_which_they_were_given(radio: Radio) -> None:
    seen: asyncio.Queue[str] = asyncio.Queue()
    async with linked(radio) as link:
        GIVEN_IN.set("that of the check")
        await link.subscribe(TOLD, lambda _: seen.put_nowait(GIVEN_IN.get()))
        link.on_close(lambda: seen.put_nowait(GIVEN_IN.get()))
        await link.write(ECHO, b"x", response=False)
        async with asyncio.timeout(PATIENCE_S):
            assert await seen.get() == "that of the check"
    async with asyncio.timeout(PATIENCE_S):
        assert await seen.get() == "that of the check"


@check
async def giving_up_a_request_spoils_no_other(radio: Radio) -> None:
    async with linked(radio) as link:
        await order(link, "long 3")
        giving_up = asyncio.ensure_future(link.read(LONG))
        for _ in range(3):
            await asyncio.sleep(0)
        giving_up.cancel()
        await raises(asyncio.CancelledError, giving_up)
        assert await link.read(HINT) == bytes(range(14))
        assert await link.read(LONG) == bytes(range(3))


# The end


@check
async def hanging_up_is_told(radio: Radio) -> None:
    told: list[str] = []
    async with linked(radio) as link:
        link.on_close(lambda: told.append("before"))
        await link.close()
        link.on_close(lambda: told.append("after"))
        await link.close()
        assert link.closed
        assert told == ["before", "after"]
        for work in (
            link.read(HINT),
            link.write(ECHO, b"", response=False),
            link.subscribe(TOLD, lambda _: None),
            link.pair(),
        ):
            assert "This app hung up" in str(await raises(LinkLost, work))


@check
async def whatever_waits_ends_when_the_charger_hangs_up(radio: Radio) -> None:
    async with linked(radio) as link:
        await order(link, "hang up when asked")
        waiting = [
            asyncio.ensure_future(link.read(SILENT)),
            asyncio.ensure_future(link.read(HINT)),
            asyncio.ensure_future(link.write(ECHO, b"?", response=True)),
        ]
        async with asyncio.timeout(PATIENCE_S):
            await asyncio.wait(waiting)
        await gone(link)
        silent, _, written = (task.exception() for task in waiting)
        assert isinstance(silent, LinkLost)
        assert not silent.may_have_happened
        assert "hung up" in str(silent)
        assert written is None or (isinstance(written, LinkLost) and written.may_have_happened)
        assert "Not connected to WB000777" in str(await raises(LinkLost, link.read(HINT)))


@check
async def a_charger_that_loses_power_is_noticed(radio: Radio) -> None:
    async with linked(radio) as link:
        await order(link, "vanish when asked")
        error = await raises(LinkLost, link.read(SILENT))
        assert "out of range" in str(error)
        assert link.closed
    async with linked(radio) as link:
        assert await link.read(HINT) == bytes(range(14))


# Pairing


@check
async def pairing_encrypts_is_done_once_and_lasts(radio: Radio) -> None:
    async with linked(radio) as link:
        assert not (await state(link))["encrypted"]
        await link.pair()
        await link.pair()
        told = await state(link)
        assert told["encrypted"]
        assert told["pairings"] == 1
    async with linked(radio) as link:
        told = await state(link)
        assert told["encrypted"]
        assert told["pairings"] == 0


@check
async def a_bond_that_the_charger_forgot_does_not_lock_out(radio: Radio) -> None:
    async with linked(radio) as link:
        await link.pair()
        await order(link, "forget bonds")
    for _ in range(3):
        try:
            async with linked(radio) as link:
                await link.pair()
                assert (await state(link))["encrypted"]
                await order(link, "forget bonds")
                return
        except LinkLost:
            continue
    raise AssertionError("never got in again")


@check
async def a_charger_may_refuse_to_pair(radio: Radio) -> None:
    async with linked_afresh(radio) as link:
        await order(link, "pair never")
        error: ChargepinError = await raises(ChargerRefused, link.pair())
        assert "does not pair now" in str(error)
        assert not error.may_have_happened
    async with linked_afresh(radio) as link:
        assert not (await state(link))["encrypted"]
        await order(link, "pair always")


@asynccontextmanager
async def linked_afresh(radio: Radio) -> AsyncIterator[Link]:
    """A link that is not encrypted, though a bond may be left that the charger has forgotten."""
    for _ in range(3):
        try:
            async with linked(radio) as link:
                if not (await state(link))["encrypted"]:
                    yield link
                    return
                await order(link, "forget bonds")
        except LinkLost:
            continue
    raise AssertionError("the old bond stays")
