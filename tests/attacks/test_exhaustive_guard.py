"""The tireless one: it tries every order of everything, breadth first, against the guard itself.

It has two links, the passcode of another generation, the mains switch and time, beside an owner
who ends pauses and rotates once, a visitor who enters the passcode, and somebody at the button. It
wants a session, or one answer too many.

The figures of the lockout are made small, so that all of it fits. Times count from now, which is
always 0, so that equal states are found equal. Events of one link are worked out once for each
state of that link and of what is stored, and it is seen that they leave the other link alone.
"""

from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Generic, NamedTuple, TypeVar

import pytest

from attacks.report import Row, Tell
from chargepin.core import commands, guard, lockout
from chargepin.core import guard_state as state
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Guard, Link, Phase
from chargepin.core.handshake import Verifier
from chargepin.core.identity import Credential
from core import guard_faults as faults
from core.guard_bench import APP, OWNER, SOFTWARE, PowerUp, StepFunction, passcode, rotation

SHORT_S, DAY_S, WINDOW_S = 30.0, 120.0, 60.0
FREE, PER_DAY, PER_GENERATION = 2, 3, 5
SMALL = {
    "FREE_TRIES": FREE,
    "LONGEST_WAIT_S": 60.0,
    "DAY_S": DAY_S,
    "TRIES_PER_DAY": PER_DAY,
    "TRIES_PER_GENERATION": PER_GENERATION,
    "WINDOW_S": WINDOW_S,
    "WINDOW_TRIES": 2,
    "WINDOWS_PER_DAY": 1,
}
AT_LEAST, AT_MOST = 100_000, 160_000
START = Durable(mode=Mode.PROTECTED, generation=1, credential=passcode(1), bonds=(OWNER,))
ATTACKER, OTHER, VISITOR = 1, 2, 9
KNOWN = (passcode(0).verifier, passcode(1).verifier, passcode(2).verifier)


class Broken(AssertionError):
    """A rule does not hold any more."""


def hold(rule: str, *, held: bool) -> None:
    if not held:
        raise Broken(rule)


class Seen(NamedTuple):
    """What an observer counts of the passcode in force.

    answers: all. day: how long ago the latest were, without those that the button allowed. burst:
    since time last passed. pressed_s: how long ago the button was pressed, while that may count.
    """

    answers: int = 0
    day: tuple[float, ...] = ()
    burst: int = 0
    pressed_s: float | None = None

    def answered(self) -> "Seen":
        after = self._replace(answers=self.answers + 1)
        if self.pressed_s is None:
            after = after._replace(day=(*self.day, 0.0), burst=self.burst + 1)
        hold("the budget of a generation", held=after.answers <= PER_GENERATION)
        hold("the budget of a day", held=len(after.day) <= PER_DAY)
        hold("the free tries", held=after.burst <= FREE)
        return after

    def later(self, seconds: float) -> "Seen":
        pressed_s = None if self.pressed_s is None else self.pressed_s + seconds
        return Seen(
            self.answers,
            tuple(age + seconds for age in self.day if age + seconds < DAY_S),
            0,
            None if pressed_s is None or pressed_s >= WINDOW_S else pressed_s,
        )


class Side(NamedTuple):
    """One link of the attacker's, and against what its proof will be compared."""

    link: Link | None = None
    wanted: Verifier | None = None


T = TypeVar("T", bound=Hashable)


class Names(Generic[T]):
    """A number for each value, so that a state is four numbers."""

    def __init__(self) -> None:
        self.values: list[T] = []
        self._numbers: dict[T, int] = {}

    def of(self, value: T) -> int:
        number = self._numbers.setdefault(value, len(self.values))
        if number == len(self.values):
            self.values.append(value)
        return number


World = tuple[int, int, int, int]  # what is stored, two links, what was seen
ALONE: dict[str, Callable[[bool], state.Event]] = {
    "opens": lambda _: state.LinkOpened(ATTACKER),
    "greets": lambda _: hello(ATTACKER, Credential.PASSCODE),
    "greets openly": lambda _: hello(ATTACKER, Credential.OPEN),
    "shares": lambda _: state.ShareReceived(ATTACKER),
    "proves": lambda held: state.ProofChecked(ATTACKER, held, 0),
    "commands": lambda _: state.Commanded(ATTACKER, commands.EndPause()),
    "leaves": lambda _: state.LinkClosed(ATTACKER),
}
"""What it can do on one link, given whether it knows the secret that its proof is compared with."""
TOGETHER = ("rotates", "ends the pause", "visits", "presses", "cuts", "waits", "waits a day")


def hello(link: int, credential: Credential) -> state.HelloReceived:
    tagged = OWNER if credential is Credential.BOND else None
    return state.HelloReceived(link, credential, APP, tagged)


def at_rest(durable: Durable, seconds: float = 0.0) -> Durable:
    """The same, that many seconds later, without what no longer matters."""
    kept = durable.lockout
    fallen = int((seconds - kept.stepped_s) // DAY_S)
    step = max(0, kept.step - fallen)
    until_s, window = max(0.0, kept.paused_until_s - seconds), kept.window
    if window is not None:
        window = replace(window, until_s=window.until_s - seconds)
        window = window if window.until_s > 0 and window.tries else None
    aged = replace(
        kept,
        step=step,
        stepped_s=kept.stepped_s - seconds + fallen * DAY_S if step else 0.0,
        recent=tuple(at_s - seconds for at_s in kept.recent if at_s - seconds > -DAY_S),
        windows=tuple(at_s - seconds for at_s in kept.windows if at_s - seconds > -DAY_S),
        paused_until_s=until_s,
        window=window,
    )
    running_s = durable.running_s - seconds
    return replace(durable, lockout=aged, running_s=running_s, starts=0)


@dataclass
class Search:
    """Every state that a charger with these rules can get into."""

    step: StepFunction = guard.step
    power_up: PowerUp = guard.powered_up
    stored: Names[Durable] = field(default_factory=Names)
    sides: Names[Side] = field(default_factory=Names)
    seen: Names[Seen] = field(default_factory=Names)
    moves: int = 0
    depth: int = 0

    def __post_init__(self) -> None:
        self._alone: dict[tuple[int, int, str], tuple[int, int, int] | None] = {}
        self._together: dict[tuple[int, int, int, str], tuple[int, int, int, bool] | None] = {}
        self._counted: dict[tuple[int, str, bool], int] = {}

    def run(self) -> int:
        """Give the number of states found. Raises Broken."""
        first = (self._kept(START), *(self.sides.of(Side()),) * 2, self.seen.of(Seen()))
        worlds: dict[World, int] = {first: 0}
        waiting = deque([first])
        while waiting and len(worlds) < AT_MOST:
            world = waiting.popleft()
            self.depth = worlds[world]
            for after in self._all_after(world):
                self.moves += 1
                if after not in worlds:
                    worlds[after] = self.depth + 1
                    waiting.append(after)
        return len(worlds)

    def _all_after(self, world: World) -> list[World]:
        stored, one, other, seen = world
        found: list[World] = []
        for name in ALONE:
            for moving, still in ((one, other), (other, one)):
                after = self._after_alone(stored, moving, name)
                if after is not None:
                    left, right = sorted((after[1], still))
                    now = self._answered(seen) if after[2] else seen
                    found.append((after[0], left, right, now))
        found += [each for name in TOGETHER if (each := self._after(world, name)) is not None]
        return found

    # ---- one link

    def _after_alone(self, stored: int, moving: int, name: str) -> tuple[int, int, int] | None:
        key = (stored, moving, name)
        if key not in self._alone:
            self._alone[key] = self._work_out(*key)
        return self._alone[key]

    def _work_out(self, stored: int, moving: int, name: str) -> tuple[int, int, int] | None:
        durable, side = self.stored.values[stored], self.sides.values[moving]
        secret = durable.credential.verifier if durable.credential else None
        knows = side.wanted in KNOWN and side.wanted != secret
        if (side.link is None) is not (name == "opens"):
            return None
        event = ALONE[name](knows)
        bystander = Link(0.0, Phase.GREETED, Credential.PASSCODE, durable.generation)
        before = self._guard(durable, {ATTACKER: side.link, OTHER: bystander})
        after = self.step(before, event, 0.0)
        hold("a link's event is its own", held=after.guard.links[OTHER] == bystander)
        spent, wanted, answers = durable.lockout.charged, side.wanted, 0
        for effect in after.effects:
            hold("no session without the secret", held=not isinstance(effect, state.Grant))
            if isinstance(effect, state.Respond):
                wanted = effect.verifier
                answers = int(wanted == secret)
        now = after.guard.durable.lockout.charged
        hold("each answer is charged, and nothing given back", held=now - spent == answers)
        return self._kept(after.guard.durable), self._side(after.guard, ATTACKER, wanted), answers

    def _answered(self, seen: int) -> int:
        return self.seen.of(self.seen.values[seen].answered())

    # ---- everybody

    def _after(self, world: World, name: str) -> World | None:
        stored, one, other, seen = world
        rotating = name == "rotates"
        sides = (one, other) if rotating else (0, 0)  # only a rotation is about them
        key = (stored, *sides, name)
        if key not in self._together:
            self._together[key] = self._play_out(*key)
        played = self._together[key]
        if played is None:
            return None
        after = (seen, name, played[3])
        if after not in self._counted:
            self._counted[after] = self.seen.of(_counted(self.seen.values[seen], *after[1:]))
        left, right = played[1:3] if rotating else (one, other)
        if name == "cuts":
            left = right = self.sides.of(Side())
        return (played[0], left, right, self._counted[after])

    def _play_out(
        self, stored: int, one: int, other: int, name: str
    ) -> tuple[int, int, int, bool] | None:
        """What is stored afterwards, both links, and whether it was done at all."""
        durable = self.stored.values[stored]
        if name in {"waits", "waits a day"}:
            return (self._later(stored, SHORT_S if name == "waits" else DAY_S), 0, 0, True)
        if name == "cuts":
            start = self.power_up(durable, SOFTWARE, APP).guard
            charged = start.durable.lockout.charged
            hold("a power cut forgives nothing", held=charged == durable.lockout.charged)
            return (self._kept(at_rest(start.durable, start.started_s)), 0, 0, True)
        if name == "rotates" and durable.generation > 1:
            return None
        if name == "rotates":
            links = {ATTACKER: self.sides.values[one].link, OTHER: self.sides.values[other].link}
        else:
            links = {OTHER: Link(0.0, Phase.GREETED, Credential.PASSCODE, durable.generation)}
        before = self._guard(durable, links)
        after, done = self._played(before, name)
        if name != "rotates":
            hold("strangers are left alone", held=after.links[OTHER] == links[OTHER])
            return (self._kept(after.durable), 0, 0, done)
        wanted = (self.sides.values[one].wanted, self.sides.values[other].wanted)
        sides = (self._side(after, n, w) for n, w in zip((ATTACKER, OTHER), wanted, strict=True))
        left, right = sorted(sides)
        return (self._kept(after.durable), left, right, done)

    def _played(self, before: Guard, name: str) -> tuple[Guard, bool]:
        if name == "presses":
            return self.step(before, state.ButtonPressed(), 0.0).guard, True
        if name == "visits":
            after, effects = self._way_in(before, Credential.PASSCODE)
            if not isinstance(effects[-1], state.Grant):
                return before, False
            spent = before.durable.lockout.charged
            hold("a success returns its own", held=after.durable.lockout.charged == spent)
            return after, True
        after, effects = self._way_in(before, Credential.BOND)
        hold("the owner gets in", held=isinstance(effects[-1], state.Grant))
        wish = rotation(before.durable, 2) if name == "rotates" else commands.EndPause()
        return self.step(after, state.Commanded(VISITOR, wish), 0.0).guard, True

    def _way_in(
        self, before: Guard, credential: Credential
    ) -> tuple[Guard, tuple[state.Effect, ...]]:
        after, effects = before, tuple[state.Effect, ...]()
        proof = state.ProofChecked(VISITOR, held=True, unix_s=0)
        greeting = hello(VISITOR, credential)
        for event in (state.LinkOpened(VISITOR), greeting, state.ShareReceived(VISITOR), proof):
            taken = self.step(after, event, 0.0)
            after, effects = taken.guard, taken.effects
            if effects and isinstance(effects[-1], state.Refuse):
                break
        return after, effects

    # ---- states

    def _later(self, stored: int, seconds: float) -> int:
        """A tick comes at the end, and stores how late it is while a wait is running."""
        aged = at_rest(self.stored.values[stored], seconds)
        return self._kept(self.step(self._guard(aged, {}), state.Ticked(), 0.0).guard.durable)

    def _kept(self, durable: Durable) -> int:
        running_s = max(durable.running_s, -DAY_S)
        return self.stored.of(replace(at_rest(durable), running_s=running_s))

    def _guard(self, durable: Durable, links: dict[int, Link | None]) -> Guard:
        held = {number: link for number, link in links.items() if link is not None}
        return Guard(durable, -lockout.DAY_S, SOFTWARE, APP, held)

    def _side(self, after: Guard, number: int, wanted: Verifier | None) -> int:
        link = after.links.get(number)
        if link is None:
            return self.sides.of(Side())
        proving = link.phase is Phase.PROVING
        charged_s = None if link.charged_s is None else 0.0
        return self.sides.of(Side(replace(link, charged_s=charged_s), wanted if proving else None))


def _counted(seen: Seen, name: str, done: bool) -> Seen:  # noqa: FBT001 - a key of a cache
    match name:
        case "waits":
            return seen.later(SHORT_S)
        case "waits a day":
            return seen.later(DAY_S)
        case "presses":
            return seen._replace(pressed_s=0.0)
        case "visits" if done:
            return seen._replace(burst=0)
        case "ends the pause":
            return seen._replace(day=(), burst=0)
        case "rotates":
            return Seen(pressed_s=seen.pressed_s)
        case _:
            return seen


FAULTY_STEPS: tuple[StepFunction, ...] = (
    faults.charged_after_the_check,
    faults.a_break_off_gives_back,
    faults.another_hello_gives_back,
    faults.a_wrong_guess_ends_the_wait,
    faults.a_success_forgives_all,
    faults.each_link_waits_for_itself,
    faults.each_link_has_its_own_budget,
    faults.ten_a_day_forgotten,
    faults.an_ended_pause_forgives_all,
    faults.handshakes_outlive_a_rotation,
    faults.a_pause_is_for_bonds_too,
    faults.no_proof_is_needed,
)
FAULTY_POWER_UPS: tuple[PowerUp, ...] = (
    faults.a_power_cut_forgives_all,
    faults.a_power_cut_ends_the_wait,
)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in SMALL.items():
        monkeypatch.setattr(lockout, name, value)
    monkeypatch.setattr(guard, "KEEP_RUNNING_S", 2 * SHORT_S)


def test_every_state_within_reach(tell: Tell) -> None:
    began_s = perf_counter()
    search = Search()
    states = search.run()
    took_s = perf_counter() - began_s
    assert states >= AT_LEAST
    missed = []
    planted = [Search(step=step) for step in FAULTY_STEPS]
    planted += [Search(power_up=power_up) for power_up in FAULTY_POWER_UPS]
    for each in planted:
        try:
            each.run()
        except Broken:
            continue
        missed.append((each.step.__name__, each.power_up.__name__))
    assert missed == []
    depths = [each.depth + 1 for each in planted]
    whole = "all there are" if states < AT_MOST else f"all within {search.depth} moves"
    tell(
        Row(
            "0 tireless one",
            search.moves,
            f"nothing in {states:,} states ({whole}; {len(search.stored.values):,} of what is"
            f" stored, {len(search.sides.values)} of a link, {len(search.seen.values):,} of what"
            f" is counted), in {took_s:.0f} s",
            f"each of {len(planted)} planted faults is found, after {min(depths)} to"
            f" {max(depths)} moves",
            "the rules themselves",
        )
    )
