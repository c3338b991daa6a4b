"""A connection that is held: made again, kept alive, lent. The loop's time is moved by hand."""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import chargepin
from app.reluctant import Reluctant
from chargepin.app import errors
from chargepin.app.client import find
from chargepin.app.connect import holding
from chargepin.app.holding import Broken, Connected, GivenUp, Holder, Lent, Notice
from chargepin.app.lending import ask_holders
from chargepin.app.ports import Found, Radio
from chargepin.charger.air import Air
from chargepin.radio import serve_radio
from ends import SERIAL, Answers, Ends, Phone, both_ends
from manual_loop import manual_loop, passes

PATIENCE_S = 2000.0


async def until(holds: Callable[[], bool], *, passing_s: float = 0.0) -> None:
    """Wait; with passing_s, time goes on by that much in every step."""
    async with asyncio.timeout(PATIENCE_S):
        while not holds():
            if passing_s:
                await passes(passing_s)
            else:
                await asyncio.sleep(0)


@asynccontextmanager
async def held(ends: Ends, home: Path) -> AsyncIterator[tuple[Holder, list[Notice], Phone]]:
    """A phone that holds its connection. ends: its charger is on."""
    notices: list[Notice] = []
    phone = await ends.phone("holder")
    first = await phone.enter()
    async with holding(home, phone.surroundings, first, on_notice=notices.append) as holder:
        yield holder, notices, phone


async def told(path: Path, line: bytes) -> bytes:
    """What a holder answers to a line."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(line)
    writer.write_eof()
    try:
        return await reader.read()
    finally:
        writer.close()


def waits(notices: list[Notice]) -> list[float]:
    return [notice.again_s for notice in notices if isinstance(notice, Broken)]


async def test_a_connection_that_breaks_is_made_again(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        async with held(ends, tmp_path) as (holder, notices, _):
            first = await holder.connected()
            await ends.switch_off()
            await until(lambda: len(waits(notices)) == 6, passing_s=0.05)
            assert waits(notices) == [2, 4, 8, 16, 30, 30]
            assert isinstance(notices[1], Broken)
            assert isinstance(notices[1].reason, errors.NotFound)
            await ends.switch_on()
            await until(lambda: Connected() in notices, passing_s=0.01)
            again = await holder.connected()
            assert again is not first
            assert (await again.status()).state == "ready"


async def test_after_half_a_minute_of_silence_the_charger_is_asked_something(
    tmp_path: Path,
) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        async with held(ends, tmp_path) as (holder, notices, _):
            charger = await holder.connected()
            before_s = charger.asked_s
            manual_loop().advance(20)
            await asyncio.sleep(0)
            assert charger.asked_s == before_s
            manual_loop().advance(10.5)
            await until(lambda: charger.asked_s > before_s)
            assert await holder.call("r_sn_") == SERIAL
            assert not notices


async def test_a_dead_link_is_noticed_though_nobody_asks_anything(tmp_path: Path) -> None:
    before: list[Reluctant] = []

    def reluctant(air: Air) -> Any:
        before.append(Reluctant(air))
        return before[0]

    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on(air=reluctant)
        async with held(ends, tmp_path) as (holder, notices, _):
            charger = await holder.connected()
            before[0].mute = True
            await until(lambda: bool(waits(notices)), passing_s=0.05)
            assert charger.closed


async def test_it_is_lent_and_comes_back(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        daemon = await ends.switch_on()
        async with held(ends, tmp_path) as (holder, notices, _):
            assert len(daemon._air.links) == 1
            assert await ask_holders(tmp_path, SERIAL, 300) == 1
            await until(lambda: not daemon._air.links)
            assert 290 < holder.lent_s <= 300
            await (await (await ends.phone("guest")).enter()).close()
            manual_loop().advance(200)
            await asyncio.sleep(0)
            assert holder.charger is None
            manual_loop().advance(101)
            assert not (await holder.connected()).closed
            assert [type(notice) for notice in notices] == [Lent, Connected]


async def test_it_comes_back_when_asked_to(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        async with held(ends, tmp_path) as (holder, _, _):
            assert await ask_holders(tmp_path, SERIAL, 3600) == 1
            assert holder.charger is None
            assert await ask_holders(tmp_path, SERIAL, 0) == 1
            assert not (await holder.connected()).closed


async def test_it_is_lent_even_while_it_is_being_made(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        async with held(ends, tmp_path) as (holder, notices, _):
            await ends.switch_off()
            await until(lambda: bool(notices))
            manual_loop().advance(3)
            await until(lambda: holder._reaching is not None)
            assert await ask_holders(tmp_path, SERIAL, 60) == 1
            assert holder._reaching is None
            assert holder.charger is None


async def test_nobody_holds_it_and_what_a_killed_program_left_is_removed(tmp_path: Path) -> None:
    assert await ask_holders(tmp_path, SERIAL, 60) == 0
    left = tmp_path / f"hold-{SERIAL}-0123abcd.sock"
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(left))
    assert await ask_holders(tmp_path, SERIAL, 60) == 0
    assert not left.exists()


async def test_only_this_user_can_ask_and_nonsense_changes_nothing(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        async with held(ends, tmp_path) as (holder, _, _):
            (path,) = tmp_path.glob("hold-*.sock")
            assert path.stat().st_mode & 0o777 == 0o600
            for line in (b"\n", b"{}\n", b'{"away_s":-1}\n', b'{"away_s":1e99}\n', b"x" * 999):
                assert await told(path, line) == b""
            assert holder.charger is not None
        assert not path.exists()


async def test_a_home_that_takes_no_socket_does_not_hinder_holding(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no directory")
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        async with held(ends, tmp_path / "file" / "home") as (holder, _, _):
            assert await holder.call("r_sn_") == SERIAL


async def test_what_trying_again_cannot_help_ends_it(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        async with held(ends, tmp_path) as (holder, notices, _):
            await holder.connected()
            other = await ends.phone("other")
            await (await other.enter()).set_passcode()
            await until(lambda: holder._ended is not None, passing_s=0.01)
            with pytest.raises(errors.PasscodeNeeded) as told:
                await holder.connected()
            assert notices[-1] == GivenUp(told.value)


async def test_nobody_is_asked_for_a_passcode_when_it_is_made_again(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        phone = await ends.phone()
        answers = Answers()
        around = replace(phone.surroundings, prompt=answers)
        first = await phone.enter(answers)
        async with holding(tmp_path, around, first) as holder:
            other = await ends.phone("other")
            await (await other.enter()).set_passcode()
            await until(lambda: holder._ended is not None, passing_s=0.01)
        assert answers.asked == 0


async def test_a_program_holds_a_charger_with_the_library_alone(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        home = tmp_path / "home"
        async with chargepin.hold("WB123456", home=home, radio=ends.room.address) as held:
            assert await held.call("r_sn_") == SERIAL
            assert await ask_holders(home, SERIAL, 60) == 1
            await ask_holders(home, SERIAL, 0)
            assert (await (await held.connected()).status()).state == "ready"
        assert not list(home.glob("*.sock"))


class Switched:
    """A radio that is there, and that somebody may switch off."""

    def __init__(self, radio: Radio) -> None:
        self._radio = radio
        self.on = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._radio, name)

    async def scan(self) -> AsyncGenerator[Found, None]:
        if not self.on:
            raise errors.NoRadio("Bluetooth is switched off on this computer.")
        async with aclosing(self._radio.scan()) as seen:
            async for found in seen:
                yield found


async def test_it_waits_for_bluetooth_to_be_switched_on_again(tmp_path: Path) -> None:
    notices: list[Notice] = []
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        phone = await ends.phone("holder")
        first = await phone.enter()
        radio: Any = Switched(phone.surroundings.radio)
        around = replace(phone.surroundings, radio=radio)
        async with holding(tmp_path, around, first, on_notice=notices.append):
            radio.on = False
            await first.close()
            await until(lambda: len(waits(notices)) == 3, passing_s=0.05)
            radio.on = True
            await until(lambda: Connected() in notices, passing_s=0.01)
        assert isinstance(notices[1], Broken)
        assert isinstance(notices[1].reason, errors.NoRadio)


async def test_it_outlives_the_radio_that_it_began_on(tmp_path: Path) -> None:
    """An adapter is pulled out and put back, or the system's Bluetooth is started anew."""
    notices: list[Notice] = []
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        where = ends.room.address
        async with chargepin.hold(
            "WB123456", home=tmp_path / "home", radio=where, on_notice=notices.append
        ) as held:
            await ends.switch_off()
            await ends.room.close()
            await until(lambda: len(waits(notices)) == 3, passing_s=0.05)
            ends.room = await serve_radio("127.0.0.1", int(where.rpartition(":")[2]))
            await ends.switch_on()
            await until(lambda: Connected() in notices, passing_s=0.01)
            assert await held.call("r_sn_") == SERIAL
        gone = [str(notice.reason) for notice in notices if isinstance(notice, Broken)]
        assert "is gone" in gone[1]


async def test_what_another_scanner_found_is_taken_too(tmp_path: Path) -> None:
    """Home Assistant scans by itself, and hands over what bleak calls a BLEDevice."""
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on()
        scanning = await ends.phone()
        seen = await find(scanning.surroundings, SERIAL)
        device = SimpleNamespace(address=seen.address, name=seen.name)
        radio = scanning.surroundings.radio
        async with chargepin.connect(device, home=tmp_path / "home", radio=radio) as charger:
            assert charger.serial == SERIAL
        nameless = SimpleNamespace(address=seen.address, name=None)
        with pytest.raises(ValueError, match="WB123456"):
            async with chargepin.connect(nameless, home=tmp_path / "home", radio=radio):
                pass
