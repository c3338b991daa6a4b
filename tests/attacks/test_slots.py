"""The squatter: it has more radios than the charger has places, and nothing to prove.

It wants to keep the owner out: it holds every place, takes each that is freed at once, leaves
handshakes half open and drips messages byte by byte.
"""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

from attacks.report import Row, Tell
from attacks.stage import Line, Victim, victim
from chargepin.app.client import Charger
from chargepin.app.errors import ChargepinError
from chargepin.app.link_bumble.central import BumbleRadio
from chargepin.charger.ports import ChargeStatus
from chargepin.core import slots
from docs import mini_client as mini
from ends import Phone
from manual_loop import manual_loop

SQUATTERS = 8
WITHIN_S = 30.0
STEP_S = 0.1  # in which a message goes there and back, and is stored, also on a busy computer


class Squatter:
    """One radio: back on a place as soon as it is free. places: how often it got one."""

    def __init__(self, on: Victim, phone: Phone, number: int) -> None:
        self.on = on
        self.phone = phone
        self.number = number
        self.places = 0
        self.inside = asyncio.Event()

    async def squat(self) -> None:
        while True:
            with suppress(ChargepinError, TimeoutError):
                line = await Line.of(self.phone)
                self.places += 1
                self.inside.set()
                await self.hold(line)
            self.inside.clear()

    async def hold(self, line: Line) -> None:
        frame = mini.framed(mini.hello(mini.PASSCODE, bytes(16)))
        if self.number % 3 == 0:
            await line.greet()  # and never the share
        elif self.number % 3 == 1:
            await line.write(frame[:-5])  # and never the rest
        else:
            for at in range(len(frame)):  # a byte for each answer to a read
                await line.write(frame[at : at + 1])
                await line.hint()
        await line.ended()


async def siege(on: Victim, seconds: float) -> tuple[float | None, int]:
    """Have the owner come while every place is held; gives the seconds that it took, and places."""
    squatters = [
        Squatter(on, await on.ends.phone(f"squatter {number}"), number)
        for number in range(SQUATTERS)
    ]
    tasks = [asyncio.create_task(each.squat()) for each in squatters]
    held = [asyncio.create_task(each.inside.wait()) for each in squatters]
    waiting = set(held)
    while len(held) - len(waiting) < slots.CAPACITY:  # several may come at once
        _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    loop = manual_loop()
    started_s = loop.time()
    owner = asyncio.create_task(coming(on))
    watch = await on.ends.phone("clock")
    while not owner.done() and loop.time() < started_s + seconds:
        await round_trips(watch)
        await on.daemon.service.settled()
        loop.advance(STEP_S)
    took_s = loop.time() - started_s if owner.done() else None
    for task in (*tasks, *held, owner):
        task.cancel()
    results = await asyncio.gather(*tasks, *held, owner, return_exceptions=True)
    if isinstance(results[-1], Charger):
        assert results[-1].role == "owner"
        await results[-1].close()
    return took_s, sum(each.places for each in squatters)


async def coming(on: Victim) -> Charger:
    """The owner tries again and again, as a person with an app in the hand does."""
    while True:
        with suppress(ChargepinError, TimeoutError):
            return await on.owner.enter()


async def round_trips(watch: Phone) -> None:
    """Let everybody go on for as long as it takes to ask an adapter a few things."""
    radio = watch.surroundings.radio
    assert isinstance(radio, BumbleRadio)
    for _ in range(5):
        await radio._start_scanning()
        await radio._stop_scanning()


def never(held: Iterable[slots.Slot], _: float, capacity: int = slots.CAPACITY) -> slots.Decision:
    """Whoever has a place keeps it."""
    return slots.Decision((), len(list(held)) < capacity, None)


async def test_squatter(tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    took: list[float] = []
    attempts = 0
    for number in range(3):
        async with victim(tmp_path / f"held {number}") as on:
            on.daemon._plug()
            before = charging(on)
            took_s, places = await siege(on, WITHIN_S)
            assert took_s is not None
            assert charging(on) == before
            assert on.charged == 0
            took.append(took_s)
            attempts += places
    monkeypatch.setattr(slots, "decide", never)
    async with victim(tmp_path / "kept") as on:
        assert (await siege(on, 2 * WITHIN_S))[0] is None
    tell(
        Row(
            "5 squatter",
            attempts,
            f"the owner waits {max(took):.1f} s at most; the car charges on",
            f"nobody else gets in for {2 * WITHIN_S:.0f} s where an unproved link is never dropped",
            "an unproved link gives way after 3 s and ends after 15 s",
        )
    )


def charging(on: Victim) -> tuple[ChargeStatus, bool, int]:
    hardware = on.daemon._hardware
    assert hardware is not None
    reading = hardware.reading(on.daemon.service.now_s())
    return reading.status, reading.locked, reading.max_current_a
