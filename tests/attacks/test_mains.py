"""The one at the mains: it has a list of passcodes, the mains switch, and a hold on the clock.

It wants a guess that is not counted, by cutting the power at whatever moment; and a pause that is
over sooner, by switching off and on, or by telling the charger another time of day.
"""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from attacks.report import Row, Tell
from attacks.stage import GARBAGE, PAUSED, Line, Victim, code_at, victim
from attacks.test_slots import round_trips
from chargepin.charger import daemon
from chargepin.charger.air import Air, Door
from chargepin.charger.daemon import Rule
from chargepin.charger.ports import StoreFailed
from chargepin.charger.store import look_into
from chargepin.core import guard
from chargepin.core.durable import Durable
from chargepin.core.guard_state import Event, Guard, Step
from core.guard_faults import charged_after_the_check, with_lockout
from docs import mini_client as mini
from ends import Phone

INDEX = 600_000
DAY_S = 24 * 3600.0
POINTS_MAX = 40
WAITS_S = 20.0  # of 30: some went by until the charger was asked


@dataclass
class Cuts:
    """answered: guesses that the charger judged. counted: what was charged, after the cut."""

    attempts: int = 0
    answered: int = 0
    counted: int = 0
    free: int = 0


# ---- a guess that is not counted ----------------------------------------------------------------


class Mains:
    """Cuts the power before or after the n-th thing that the charger stores or says.

    From then on it stores and says nothing, whatever it still believes to do.
    """

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._left = 0
        self._one_at_a_time = threading.Lock()  # it is stored in a thread

    def cut_at(self, number: int) -> None:
        """0: not any more."""
        with self._one_at_a_time:
            self.gone.clear()
            self._left = number

    def on(self) -> bool:
        """Whether there still is power; each time it is asked is one point."""
        with self._one_at_a_time:
            if self._left:
                self._left -= 1
                if not self._left:
                    self._loop.call_soon_threadsafe(self.gone.set)
                    self._left = -1
            return self._left >= 0

    def air(self, air: Air) -> Air:
        said = air.send

        def send(link: int, door: Door, message: bytes) -> None:
            if self.on():
                said(link, door, message)
                self.on()

        vars(air)["send"] = send
        return air

    def store(self, on: Victim) -> None:
        store = on.daemon._store
        stored = store.commit

        def commit(*given: Any, **named: Any) -> None:
            if not self.on():
                raise StoreFailed("no power")
            stored(*given, **named)
            self.on()

        vars(store)["commit"] = commit


async def guess_until(on: Victim, phone: Phone, mains: Mains, number: int) -> bool:
    """Guess until the power is cut, if it is; gives whether an answer had come out."""
    mains.store(on)
    line = await on.line(phone)
    mains.cut_at(number)
    answered = False

    async def going_on() -> None:
        nonlocal answered
        await line.greet()
        await line.say(bytes([mini.SHARE_P]) + line.prover(code_at(number)).start())
        while (answer := await line.answer()) is not None and answer[0] == mini.SHARE_V:
            answered = True
            await line.say(GARBAGE)

    guessing = asyncio.create_task(going_on())
    cutting = asyncio.create_task(mains.gone.wait())
    await asyncio.wait({guessing, cutting}, return_when=asyncio.FIRST_COMPLETED)
    for _ in range(5):  # what had been said by then is still on its way
        if not guessing.done():
            await round_trips(on.owner)
    for task in (guessing, cutting):
        task.cancel()
    await asyncio.gather(guessing, cutting, return_exceptions=True)
    await line.link.close()
    return answered


async def cut_everywhere(directory: Path, rule: Rule) -> Cuts:
    cuts, mains = Cuts(), Mains()
    async with victim(directory, index=INDEX, rule=rule, air=mains.air) as on:
        phone = await on.ends.phone("at the mains")
        for number in range(1, POINTS_MAX):
            before = on.charged
            answered = await guess_until(on, phone, mains, number)
            last = not mains.gone.is_set()
            mains.cut_at(0)
            await on.cut_power()
            counted = on.charged - before
            cuts.attempts += 1
            cuts.answered += answered
            cuts.counted += counted
            cuts.free += answered and not counted
            await on.time_passes(DAY_S)
            if last:
                break
        await (await on.owner_in()).close()
        look_into(on.ends.directory)  # the log's chain holds
    return cuts


# ---- a pause that is over sooner ----------------------------------------------------------------


async def guess(on: Victim, phone: Phone) -> float:
    """Seconds that the charger wants to have waited, 0 where it answers."""
    line: Line = await on.line(phone)
    await line.greet()
    answer = await line.shared(line.prover(code_at(1)))
    await line.link.close()
    if isinstance(answer, mini.Refusal):
        assert answer.code == PAUSED
        return answer.retry_after_s
    return 0.0


async def paused(on: Victim, phone: Phone) -> None:
    for _ in range(3):
        assert await guess(on, phone) == 0.0
    assert await guess(on, phone) > WAITS_S


async def switched_off_and_on(on: Victim, phone: Phone) -> list[float]:
    """What is still to be waited after each of a few power cuts, a while after the last."""
    left = []
    for seconds in (0.0, 20.0, 29.0, 1.0):
        await on.time_passes(seconds)
        await on.cut_power()
        left.append(await guess(on, phone))
    return left


async def at_other_times_of_day(
    on: Victim, phone: Phone, set_to: Callable[[int], None]
) -> list[float]:
    """What is still to be waited when the clock says something else, also after a power cut."""
    left = []
    for unix_s in (0, 1, 946_684_800, 4_102_444_800, -5):
        set_to(unix_s)
        left.append(await guess(on, phone))
    await on.cut_power()
    left.append(await guess(on, phone))
    return left


async def waits(
    directory: Path, patch: pytest.MonkeyPatch, rule: Rule = guard.step
) -> tuple[list[float], list[float]]:
    clock = [1_750_000_000]
    patch.setattr(daemon, "unix_s", lambda: clock[0])

    def by_the_clock(before: Guard, event: Event, now_s: float) -> Step:
        return rule(before, event, now_s if rule is guard.step else float(clock[0]))

    async with victim(directory, index=INDEX, rule=by_the_clock) as on:
        phone = await on.ends.phone("at the mains")
        await paused(on, phone)
        by_clock = await at_other_times_of_day(on, phone, lambda to: clock.__setitem__(0, to))
        by_switch = await switched_off_and_on(on, phone)
        look_into(on.ends.directory)
        return by_switch, by_clock


def by_the_wall_clock(before: Guard, event: Event, now_s: float) -> Step:
    """For the one who looks for faults: pauses end at a time of day."""
    return guard.step(before, event, now_s)


def started_without_waits(patch: pytest.MonkeyPatch) -> None:
    """For the same: what a start finds of a pause is over."""
    powered_up = guard.powered_up

    def started(durable: Durable, *given: Any) -> Step:
        lockout = replace(durable.lockout, step=0, paused_until_s=0.0)
        return with_lockout(powered_up(durable, *given), lockout)

    patch.setattr(guard, "powered_up", started)


async def test_mains(tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    held = await cut_everywhere(tmp_path / "held", guard.step)
    assert held.free == 0
    assert 0 < held.answered < held.attempts < POINTS_MAX - 1  # before the answer, and after it
    late = await cut_everywhere(tmp_path / "late", charged_after_the_check)
    assert late.free > 0

    by_switch, by_clock = await waits(tmp_path / "waits", monkeypatch)
    assert min(by_switch) > WAITS_S
    assert min(by_clock) > WAITS_S
    with monkeypatch.context() as patch:
        started_without_waits(patch)
        assert 0.0 in (await waits(tmp_path / "switch", patch))[0]
    assert 0.0 in (await waits(tmp_path / "clock", monkeypatch, by_the_wall_clock))[1]
    tell(
        Row(
            "17 at the mains",
            held.attempts + len(by_switch) + len(by_clock),
            f"nothing: {held.answered} answers, {held.counted} counted; each pause is waited out",
            f"{late.free} of {late.answered} answers for nothing where only a confirmation is"
            " charged; no pause where a start forgets it, or the time of day ends it",
            "charged and stored before any answer; waits in running time, begun anew by a start",
        )
    )
