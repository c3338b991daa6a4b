"""`chargepin pairing`, as programs: a radio, a charger, the command, and a phone without an app."""

import asyncio
import io
import json
import os
import signal
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bumble.smp import ErrorCode

from bluetooth_phone import bluetooth_phone
from chargepin.app.errors import LinkLost
from chargepin.app.pairing import PairingCode, PairingNotice, PhonePaired, WindowClosed
from chargepin.cli.pairing import Window
from chargepin.cli.terminal import Terminal, use
from manual_loop import manual_loop

COMMAND = [sys.executable, "-m", "chargepin"]
IN_BACKGROUND = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")  # as scripts' shells do it
PATIENCE_S = 60.0


@dataclass
class Programs:
    """A charger on a radio, and the home of who has set its passcode."""

    listen: str
    home: Path
    charger: str

    async def start(self, *arguments: str, by: tuple[str, ...] = ()) -> Process:
        return await asyncio.create_subprocess_exec(
            *by,
            *(*COMMAND, *arguments, "--home", str(self.home), "--radio", self.listen),
            "--no-input",
            stdout=PIPE,
            stderr=PIPE,
        )

    async def run(self, *arguments: str) -> Any:
        """Run a command to its end; gives its document."""
        process = await self.start(*arguments, "--json")
        out, told = await process.communicate()
        assert process.returncode == 0, (out, told)
        return json.loads(out)


async def next_code(stream: asyncio.StreamReader | None) -> str:
    """Read on until a code is shown."""
    assert stream is not None
    async with asyncio.timeout(PATIENCE_S):
        async for line in stream:
            if line.startswith(b"Code "):
                return line.split()[1].decode().rstrip(",")
    raise AssertionError("no code was shown")


@asynccontextmanager
async def served(*arguments: str) -> AsyncIterator[str]:
    """A part that runs meanwhile; gives where it listens."""
    reading, writing = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        "serve",
        *arguments,
        stdout=PIPE,
        stderr=PIPE,
        pass_fds=[reading],
        env={**os.environ, "CHARGEPIN_LIFELINE": str(reading)},
    )
    os.close(reading)
    try:
        assert process.stdout is not None
        yield json.loads(await process.stdout.readline())["listen"]
    finally:
        os.close(writing)
        await process.communicate()


@asynccontextmanager
async def programs(directory: Path, *more: str) -> AsyncIterator[Programs]:
    data = directory / "charger"
    async with AsyncExitStack() as running:
        radio = served("radio", "--listen", "tcp:127.0.0.1:0")
        listen = await running.enter_async_context(radio)
        of = ("--serial", "123456", "--radio", listen, "--data", str(data), *more)
        await running.enter_async_context(served("charger", *of))
        kept = f"{(data / 'charger.sqlite').as_uri()}?mode=ro"  # the charger is at work in it
        with closing(sqlite3.connect(kept, uri=True)) as connection:
            ((address,),) = connection.execute("SELECT value FROM kept WHERE name = 'address'")
        yield Programs(listen, directory / "home", bytes(address).decode())


async def test_the_codes_are_shown_and_a_phone_pairs_by_them(tmp_path: Path) -> None:
    async with programs(tmp_path) as them:
        await them.run("passcode", "set", "123456")
        policy = ("pairing", "policy", "123456")
        needed = await them.run(*policy, "--first-set-needs-presence", "on")
        assert needed == await them.run(*policy) == {"first_set_needs_presence": True}

        opened = await them.start("pairing", "open", "123456", "--name", "Anna's phone", "--json")
        async with bluetooth_phone(them.listen, them.charger) as phone:
            first = await next_code(opened.stderr)
            link = await phone.connected()
            wrong = f"{(int(first) + 1) % 1_000_000:06}"
            assert await link.pair(phone.typist, wrong) == ErrorCode.CONFIRM_VALUE_FAILED
            second = await next_code(opened.stderr)
            assert await link.pair(phone.typist, second) is None
            out, told = await opened.communicate()
            assert opened.returncode == 0, told
            paired = json.loads(out)
            bond_id = paired.pop("id")
            assert paired == {
                "charger": "WB123456",
                "paired": "Anna's phone",
                "attempts": 2,
                "why": "paired",
            }
            assert first.encode() not in out

            listed = {each["kind"]: each for each in await them.run("phones", "list", "123456")}
            assert listed["bluetooth"]["id"] == bond_id
            assert listed["bluetooth"]["name"] == "Anna's phone"
            await them.run("phones", "forget", "123456", bond_id)
            await link.hung_up()


async def test_where_there_is_one_link_the_command_makes_room_and_comes_back(
    tmp_path: Path,
) -> None:
    async with programs(tmp_path, "--links", "1") as them:
        await them.run("passcode", "set", "123456")
        opened = await them.start("pairing", "open", "123456", "--name", "Bob's phone")
        code = await next_code(opened.stdout)
        assert opened.stdout is not None
        line = await opened.stdout.readline()
        assert b"has hung up to make room: now type the code" in line
        async with bluetooth_phone(them.listen, them.charger) as phone:
            link = await phone.pair(code)
            assert await link.value("r_lck") == 0
            await link.close()
        opened.send_signal(signal.SIGINT)
        out, told = await opened.communicate()
        assert opened.returncode == 0, (out, told)
        assert b"Paired with Bob's phone." in out

        opened = await them.start("pairing", "open", "123456", "--json")
        code = await next_code(opened.stderr)
        assert opened.stderr is not None
        assert b"Press Ctrl-C when the phone is done" in await opened.stderr.readline()
        async with bluetooth_phone(them.listen, them.charger) as phone:
            link = await phone.connected()
            wrong = f"{(int(code) + 1) % 1_000_000:06}"
            assert await link.pair(phone.typist, wrong) == ErrorCode.CONFIRM_VALUE_FAILED
            await link.close()
        opened.send_signal(signal.SIGINT)
        out, told = await opened.communicate()
        assert opened.returncode == 1, (out, told)
        wanted = {"charger": "WB123456", "paired": None, "id": None}
        assert json.loads(out) == {**wanted, "attempts": 1, "why": "attempts"}


async def test_ctrl_c_and_sigterm_close_the_window_and_a_kill_leaves_it_open_for_one_attempt(
    tmp_path: Path,
) -> None:
    async with programs(tmp_path) as them:
        await them.run("passcode", "set", "123456")
        for number, by in (
            (signal.SIGINT, ()),
            (signal.SIGTERM, ()),
            (signal.SIGTERM, IN_BACKGROUND),
        ):
            opened = await them.start("pairing", "open", "123456", by=by)
            await next_code(opened.stdout)
            opened.send_signal(number)
            _, told = await opened.communicate()
            assert opened.returncode == 1
            assert b"The window is closed." in told
            assert b"Traceback" not in told
        async with bluetooth_phone(them.listen, them.charger) as phone:
            link = await phone.connected()
            refused = await link.pair(phone.typist, "271828")
            assert refused == ErrorCode.PAIRING_NOT_SUPPORTED
            await link.close()
            opened = await them.start("pairing", "open", "123456")
            code = await next_code(opened.stdout)
            opened.kill()
            await opened.communicate()
            await phone.pair(code)


# ---- at a terminal ----------------------------------------------------------------------------


class Screen(io.StringIO):
    """What a person looks at."""

    def isatty(self) -> bool:
        return True


async def test_at_a_terminal_the_time_that_is_left_counts_down() -> None:
    screen = Screen()
    use(Terminal(Screen(), screen, screen))
    loop = manual_loop()

    async def notices() -> AsyncGenerator[PairingNotice, None]:
        yield PairingCode("012345", 120, 10)
        for text in ("1:59 left", "1:58 left"):
            loop.advance(1.0)
            for _ in range(20):  # turns of the loop
                await asyncio.sleep(0)
            assert screen.getvalue().endswith(text)
        yield PairingCode("271828", 60, 9)
        yield PhonePaired("0123456789abcdef", "Anna's phone")
        yield WindowClosed("paired")

    window = Window("WB123456")
    await window.watch(notices())
    assert (window.paired_name, window.attempts, window.why) == ("Anna's phone", 2, "paired")
    shown = screen.getvalue()
    assert "\rCode 012345   1:59 left\r" in shown
    assert "another; 9 left" in shown
    assert "Code 012345, for" not in shown


async def test_a_window_in_which_nothing_came_used_no_code() -> None:
    use(Terminal(Screen(), Screen(), Screen()))

    async def notices() -> AsyncGenerator[PairingNotice, None]:
        yield PairingCode("012345", 120, 10)
        yield WindowClosed("time")

    window = Window("WB123456")
    await window.watch(notices())
    assert (window.paired_name, window.attempts, window.why) == (None, 0, "time")


async def test_a_charger_that_cannot_be_asked_may_have_let_a_phone_in(tmp_path: Path) -> None:
    """As when that phone holds its only link."""
    use(Terminal(Screen(), Screen(), Screen(), home=tmp_path, radio="tcp:127.0.0.1:1"))
    with pytest.raises(LinkLost, match="`chargepin phones list WB123456`") as unknown:
        await Window("WB123456").look("123456")
    assert unknown.value.may_have_happened
