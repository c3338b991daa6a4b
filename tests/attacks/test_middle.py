"""The man in the middle: every message between an app and its charger passes through its hands.

It wants the charger to do something that the owner did not ask for: by requests of its own on the
Bluetooth link, or by what it does to the owner's sealed records.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from attacks.report import Row, Tell
from attacks.stage import Line, Victim, victim
from attacks.twin import Twin, twin
from chargepin.app import errors
from chargepin.app.client import Charger
from chargepin.app.ports import AttRefused
from chargepin.app.session import Session
from chargepin.app.stock import StockSession
from chargepin.core import bapi, gatt
from docs import mini_client as mini
from ends import Ends, Phone

ASKED, EARLIER, WANTED = 16, 20, 6  # amperes: of the owner now and before, and of the attacker
Meddling = Callable[["Middle", bytes], list[bytes]]


class Middle:
    """Passes everything on, until it is told to meddle. records: all it has seen of the app's."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.records: list[bytes] = []
        self.held: list[bytes] = []
        self.to_charger: Meddling = lambda _, message: [message]
        self.to_app: Meddling = lambda _, message: [message]
        self._pump: asyncio.Task[None] | None = None

    async def talk(self, it: Twin, link: int, message: bytes) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._back(it, link))
        passed = [message]
        if message[0] == mini.RECORD:
            self.records.append(message)
            passed = self.to_charger(self, message)
        await self.line.say(*passed)

    async def _back(self, it: Twin, link: int) -> None:
        while (message := await self._heard()) is not None:
            for each in self.to_app(self, message) if message[0] == mini.RECORD else [message]:
                it.say(link, each)
        it.air.drop(link, flush=False)

    async def _heard(self) -> bytes | None:
        with suppress(TimeoutError):
            return await self.line.answer()
        return None

    async def end(self) -> None:
        await self.line.link.close()
        if self._pump is not None:
            await self._pump


@asynccontextmanager
async def between(ends: Ends, app: Phone, radio: Phone) -> AsyncIterator[tuple[Middle, Charger]]:
    """The app gets in, through the attacker, with the nonce of the attacker's own link."""
    middle = Middle(await Line.of(radio))
    hint = await middle.line.link.read(gatt.PASSCODE_HINT.uuid)
    async with twin(ends, middle.talk) as it:
        it.hint_shown = hint
        charger = await it.lure(app)
        try:
            yield middle, charger
        finally:
            await charger.close()
            await middle.end()


def twice(_: Middle, message: bytes) -> list[bytes]:
    return [message, message]


def first_dropped(middle: Middle, message: bytes) -> list[bytes]:
    middle.held.append(message)
    return [] if len(middle.held) == 1 else [message]


def swapped(middle: Middle, message: bytes) -> list[bytes]:
    middle.held.append(message)
    return middle.held[::-1] if len(middle.held) == 2 else []


def earlier_again(middle: Middle, message: bytes) -> list[bytes]:
    return [message, middle.records[0]]


def turned(middle: Middle, message: bytes) -> list[bytes]:
    """One bit of what is written, all the rest as it was."""
    _ = middle
    return [message[:12] + bytes([message[12] ^ 1]) + message[13:]]


def cut_short(_: Middle, message: bytes) -> list[bytes]:
    return [message[:-1]]


def lengthened(_: Middle, message: bytes) -> list[bytes]:
    return [message + b"\0"]


def unsealed(_: Middle, message: bytes) -> list[bytes]:
    return [message[:1] + b'{"met":"w_mxI","par":6,"id":9}']


def begun_anew(_: Middle, message: bytes) -> list[bytes]:
    return [mini.hello(mini.OPEN, bytes(16)), message]


MEDDLING: dict[str, Meddling] = {
    each.__name__: each
    for each in (
        *(twice, first_dropped, swapped, earlier_again, turned),
        *(cut_short, lengthened, unsealed, begun_anew),
    )
}


def limit(on: Victim) -> int:
    """What the charger itself is set to."""
    hardware = on.daemon._hardware
    assert hardware is not None
    return hardware.reading(on.daemon.service.now_s()).max_current_a


async def asks(charger: Charger) -> list[object]:
    """Two requests, one close behind the other, as an app's page makes them."""
    work = (charger.call("w_mxI", ASKED), charger.call("r_dat"))
    return list(await asyncio.gather(*work, return_exceptions=True))


def foreign(charger: Charger) -> bytes:
    """A record that asks for what the attacker wants, of a session that is not this one."""
    session = charger._inside.session
    assert isinstance(session, Session)
    assert session._sealer is not None
    return session._sealer.seal(bapi.request_json("w_mxI", WANTED, 1))


async def held(on: Victim, elsewhere: bytes) -> int:
    radio = await on.ends.phone("between")
    attempts = 0
    async with between(on.ends, on.owner, radio) as (middle, charger):
        await charger.call("w_mxI", WANTED)
        await charger.call("w_mxI", EARLIER)
        splices = [*middle.records[-2:], elsewhere]
        stock = gatt.layout_of(middle.line.link.characteristics)
        assert stock is not None
        frame = bapi.encode_request("w_mxI", WANTED, 1)
        with pytest.raises(AttRefused):
            await middle.line.link.write(stock.stock.write.uuid, frame[:20], response=True)
        with pytest.raises(errors.ChargerRefused):
            await middle.line.link.pair()
        assert limit(on) == EARLIER
        assert not charger.closed
        attempts += 2
    for name, meddling in MEDDLING.items():
        async with between(on.ends, on.owner, radio) as (middle, charger):
            middle.to_charger = meddling
            await asks(charger)
            await middle.line.ended()
            assert limit(on) in {EARLIER, ASKED}, name
            attempts += 1
    for splice in splices:
        async with between(on.ends, on.owner, radio) as (middle, charger):
            await middle.line.say(splice)
            await middle.line.ended()
            assert limit(on) in {EARLIER, ASKED}
            attempts += 1
    for meddling in (twice, turned, cut_short):
        async with between(on.ends, on.owner, radio) as (middle, charger):
            middle.to_app = meddling
            answers = [await asks(charger), await asks(charger)]
            assert any(isinstance(each, errors.ChargepinError) for each in answers[-1])
            attempts += 1
    return attempts


async def test_man_in_the_middle(tmp_path: Path, tell: Tell) -> None:
    async with victim(tmp_path / "other", index=9) as other:
        elsewhere = await other.owner_in()
        splice = foreign(elsewhere)
        await elsewhere.close()
    async with victim(tmp_path / "held", index=8) as on:
        attempts = await held(on, splice)
        assert limit(on) in {EARLIER, ASKED}

        await on.ends.hold_button()  # without: the same charger, open
        on.owner.vault.forget("123456")
        radio = await on.ends.phone("between")
        async with between(on.ends, on.owner, radio) as (middle, _):
            stock = StockSession(middle.line.link)
            await stock.begin()
            await stock.request("w_mxI", WANTED)
            assert limit(on) == WANTED
        owner = await on.owner.enter()  # for the end of the scene
        await owner.set_passcode()
        await (await on.owner.enter()).close()
    tell(
        Row(
            "4 man in the middle",
            attempts,
            "nothing: the link ends",
            "on an open charger it sets the current limit by a stock request on its own link",
            "grants belong to the session: sealed records in strict order; stock service closed",
        )
    )
