"""The guesser: it has a list of passcodes, radios without number, the mains switch and patience.

It wants the passcode. It spreads its guesses over links and addresses, breaks off as soon as the
charger has confirmed or not, greets again, cuts the power and lets days pass.
"""

import asyncio
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from attacks.report import Row, Tell
from attacks.stage import EXHAUSTED, GARBAGE, PAUSED, Line, Victim, code_at, victim
from chargepin.app.errors import LinkLost
from chargepin.charger.daemon import Rule
from chargepin.core import guard
from core.guard_faults import charged_after_the_check, each_link_has_its_own_budget
from docs import mini_client as mini
from manual_loop import manual_loop

DAY_S = 24 * 3600.0
RIGHT = 84  # beyond the budget of a generation: whoever gets further has the passcode
CODES = tuple(code_at(index) for index in range(500, 590))
MANNERS = ("breaks off", "greets again", "confirms", "cuts the power", "seven at once")


@dataclass
class Guesser:
    """answered_s: when the charger answered a guess, in seconds with power on."""

    on: Victim
    answered_s: list[float] = field(default_factory=list)
    sent: int = 0
    found: str | None = None
    exhausted: bool = False
    codes: tuple[str, ...] = CODES

    async def try_all(self) -> None:
        manner = 0
        while len(self.answered_s) < len(self.codes) and self.found is None and not self.exhausted:
            how = MANNERS[manner % len(MANNERS)]
            manner += 1
            waits = await (self.at_once() if how == "seven at once" else self.one(how))
            if waits:
                await self.on.time_passes(waits)

    def next_code(self) -> str:
        return self.codes[len(self.answered_s)]

    async def one(self, how: str) -> float:
        line = await self.on.line()
        await line.greet()
        waits = await self.guess(line, self.next_code())
        if not waits and how == "greets again" and len(self.answered_s) < len(self.codes):
            await line.greet()
            waits = await self.guess(line, self.next_code())
        elif how == "confirms":
            await line.say(GARBAGE)
            await line.answer()
        elif how == "cuts the power":
            await self.on.cut_power()
        await line.link.close()
        return waits

    async def at_once(self) -> float:
        """On seven links, each greeted before any of them guesses."""
        lines = await asyncio.gather(*(self.on.line() for _ in range(7)))
        await asyncio.gather(*(line.greet() for line in lines))
        codes = self.codes[len(self.answered_s) :][:7]
        guesses = zip(lines, codes, strict=False)
        waits = await asyncio.gather(*(self.guess(line, code) for line, code in guesses))
        await asyncio.gather(*(line.link.close() for line in lines))
        return max(waits, default=0.0)

    async def guess(self, line: Line, code: str) -> float:
        """Seconds that the charger wants to have waited, 0 where it answered."""
        prover = line.prover(code)
        self.sent += 1
        try:
            answer = await line.shared(prover)
        except LinkLost:
            return 0.0
        if isinstance(answer, mini.Refusal):
            assert answer.code in {PAUSED, EXHAUSTED}
            self.exhausted = answer.code == EXHAUSTED
            return float(answer.retry_after_s)
        self.answered_s.append(manual_loop().time())
        if line.proof(prover, answer) is not None:
            self.found = code
        return 0.0


async def campaign(directory: Path, rule: Rule, skipped: int = 0) -> Guesser:
    async with victim(directory, index=500 + RIGHT, rule=rule) as on:
        guesser = Guesser(on, codes=CODES[skipped:])
        await guesser.try_all()
        charged = on.charged
        if guesser.exhausted:
            await on.time_passes(100 * DAY_S)
            line = await on.line()
            await line.greet()
            answer = await line.shared(line.prover(on.code))
            assert isinstance(answer, mini.Refusal)
            assert answer.code == EXHAUSTED
            assert charged == len(guesser.answered_s)
        await (await on.owner_in()).close()
        return guesser


async def test_guesser(tmp_path: Path, tell: Tell) -> None:
    held = await campaign(tmp_path / "held", guard.step)
    times_s = held.answered_s
    assert held.found is None
    assert held.exhausted
    assert len(times_s) == 80
    first = [at_s for at_s in times_s if at_s < times_s[0] + 29]
    assert len(first) == 3
    for at_s in times_s:
        # An answer is heard a little after its attempt was charged, on a busy machine later still.
        assert sum(at_s - DAY_S + 60 < other <= at_s for other in times_s) <= 10
    for earlier_s, later_s in pairwise(times_s[2:]):
        assert later_s - earlier_s > 29

    per_link = await campaign(tmp_path / "per link", each_link_has_its_own_budget)
    late = await campaign(tmp_path / "late", charged_after_the_check, skipped=60)
    assert per_link.found == late.found == CODES[RIGHT]
    days = (times_s[-1] - times_s[0]) / DAY_S
    tell(
        Row(
            "1 guesser",
            held.sent,
            f"80 guesses in {days:.1f} days, then none",
            f"the passcode, after {len(per_link.answered_s)} guesses with a count for each link,"
            f" after {len(late.answered_s)} where only a confirmation is charged",
            "charged and stored before any answer; 3 free, 10 a day, 80 for a generation",
        )
    )
