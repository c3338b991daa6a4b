"""The stranger in the house: everything at once, in any order, against the whole charger.

It guesses in every manner, knows the passcodes of before, cuts the power at any point and lets
time pass, while an owner, a guest and a button do what they do.
"""

import asyncio
import os
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.errors import Flaky
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from attacks.report import Row, Tell
from attacks.stage import code_at
from attacks.whole_charger import SMALL, Before, Broken, Story, prepared
from chargepin.charger.daemon import Rule
from chargepin.charger.service import Service
from chargepin.core import guard, lockout
from chargepin.core.guard_state import Event
from core import guard_faults as faults
from manual_loop import ManualLoop

DEEP = os.environ.get("CHARGEPIN_DEEP") == "1"
STRANGER = st.integers(0, 2)
POINTS = 7
DAY_S = 24 * 3600.0 + 100
MANNERS = ("breaks off", "confirms", "greets again", "stays", "cuts the power")
SECONDS = st.sampled_from([1.0, 29.0, 61.0, 3700.0, DAY_S])
PAIRINGS = ("invited", "with a wrong code", "uninvited")
DEEDS = ("rotate", "revoke", "forget", "end the pause", "look")


class Stranger(RuleBasedStateMachine):
    """before: what each story begins with. step: the rules under attack. broken: by the first."""

    before: ClassVar[Before]
    step: ClassVar[Rule] = staticmethod(guard.step)
    deeds: ClassVar[int] = 0
    stories: ClassVar[int] = 0
    broken: ClassVar[str] = ""

    @initialize()
    def switched_on(self) -> None:
        self.runner = asyncio.Runner(loop_factory=ManualLoop)
        self.place = Path(tempfile.mkdtemp())
        self.story: Story = self.runner.run(
            Story.begin(self.before, self.place / "charger", type(self).step)
        )
        type(self).stories += 1

    def do(self, deed: Coroutine[Any, Any, None]) -> None:
        type(self).deeds += 1
        try:
            self.runner.run(deed)
            self.runner.run(self.story.holds())
        except Broken as broken:
            type(self).broken = type(self).broken or str(broken)
            raise

    @rule(which=STRANGER, manner=st.sampled_from(MANNERS), old=st.booleans())
    def stranger_guesses(self, which: int, manner: str, *, old: bool) -> None:
        code = self.story.old[-1] if old else code_at(self.story.guesses)
        self.do(self.story.guesses_code(which, code, manner))

    @rule(old=st.booleans())
    def strangers_guess_at_once(self, *, old: bool) -> None:
        code = self.story.old[0] if old else code_at(self.story.guesses)
        self.do(self.story.guesses_at_once(code))

    @rule(which=STRANGER)
    def stranger_stops_half_way(self, which: int) -> None:
        self.do(self.story.leaves_half_open(which))

    @precondition(lambda self: self.story.half_open)
    @rule(code=st.sampled_from(["old", "of then"]))
    def stranger_goes_on(self, code: str) -> None:
        known = self.story.old[0] if code == "old" else self.story.old[-1]
        self.do(self.story.goes_on(known))

    @rule(which=STRANGER, number=st.integers(1, POINTS))
    def stranger_guesses_and_cuts_the_power(self, which: int, number: int) -> None:
        self.do(self.story.guesses_until_cut(which, number))

    @rule(what=st.sampled_from(DEEDS))
    def owner_comes(self, what: str) -> None:
        self.do(self.story.owner_does(what))

    @rule()
    def guest_comes(self) -> None:
        self.do(self.story.guest_comes())

    @rule(how=st.sampled_from(PAIRINGS))
    def phone_pairs(self, how: str) -> None:
        self.do(self.story.phone_pairs(how))

    @rule()
    def button_is_pressed(self) -> None:
        self.do(self.story.presses())

    @rule(sure=st.sampled_from([False, False, False, True]))
    def charger_is_reset(self, *, sure: bool) -> None:
        if sure:
            self.do(self.story.is_reset())

    @rule()
    def power_is_cut(self) -> None:
        self.do(self.story.cut_power())

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.do(self.story.time_passes(seconds))

    def teardown(self) -> None:
        if not hasattr(self, "story"):
            return
        try:
            self.runner.run(self.story.end())
        finally:
            self.runner.close()
            shutil.rmtree(self.place)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Before:
    with asyncio.Runner(loop_factory=ManualLoop) as runner:
        return runner.run(prepared(tmp_path_factory.mktemp("prepared")))


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SMALL.items():
        monkeypatch.setattr(lockout, name, value)


def told(before: Before, step: Rule) -> type[Stranger]:
    return type("Told", (Stranger,), {"before": before, "step": staticmethod(step)})


def tell_stories(machine: type[Stranger], stories: int, deeds: int) -> None:
    """Have so many stories told. Raises Broken."""
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=stories,
            stateful_step_count=deeds,
            deadline=None,
            database=None,
            derandomize=not DEEP,
            phases=[Phase.generate, Phase.shrink] if DEEP else [Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )


def broken_by(before: Before, step: Rule, deeds: int) -> str:
    """The rule that is seen to be broken first; nothing where none is."""
    machine = told(before, step)
    with suppress(Broken, Flaky):  # a story is no clockwork: told again it may go another way
        tell_stories(machine, 40, deeds)
    return machine.broken


async def broken_by_a_cut(before: Before, place: Path) -> str:
    """The same, in the story in which nothing happens but that: at each point once."""
    story = await Story.begin(before, place, guard.step)
    try:
        for number in range(1, POINTS + 1):
            await story.guesses_until_cut(0, number)
            await story.holds()
            await story.time_passes(DAY_S)
    except Broken as broken:
        return str(broken)
    finally:
        await story.on.ends.close()
    return ""


def answered_before_it_is_stored(patch: pytest.MonkeyPatch) -> None:
    """Effects first: an answer is out when the power goes, and nobody remembers the guess."""

    async def put(self: Service, event: Event) -> None:
        after = self._step(self._guard, event, self.now_s())
        for effect in after.effects:
            self._carry_out(effect)
        await self._stored(after)
        self._guard = after.guard

    patch.setattr(Service, "_put", put)


STEPS: tuple[Rule, ...] = (faults.charged_after_the_check, faults.each_link_has_its_own_budget)


def test_stranger(
    before: Before, tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    stories, deeds = (300, 50) if DEEP else (10, 12)
    machine = told(before, guard.step)
    tell_stories(machine, stories, deeds)
    found = [broken_by(before, step, deeds) for step in STEPS]
    with monkeypatch.context() as patch:
        answered_before_it_is_stored(patch)
        place = tmp_path / "charger"
        with asyncio.Runner(loop_factory=ManualLoop) as runner:
            found.append(runner.run(broken_by_a_cut(before, place)))
    with asyncio.Runner(loop_factory=ManualLoop) as runner:
        assert runner.run(broken_by_a_cut(before, tmp_path / "held")) == ""
    assert all(found)
    tell(
        Row(
            "18 stranger in the house",
            machine.deeds,
            f"nothing in {machine.stories} stories; the owner always gets in, and the car charges",
            f"each of {len(found)} planted faults is found: charged after the check, a budget for"
            " each link, answered before it is stored",
            "the rules, one task, and what it stores before it says anything",
        )
    )
