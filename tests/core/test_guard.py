from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import pytest

from chargepin.core import bonds, commands, guard
from chargepin.core import guard_state as state
from chargepin.core.bonds import Role
from chargepin.core.catalogue import Version
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import (
    Answer,
    Drop,
    Guard,
    Link,
    Phase,
    Refuse,
    SendParams,
)
from chargepin.core.identity import Credential, Flag, RefusalCode, State
from chargepin.core.lockout import TRIES_PER_GENERATION
from core.guard_bench import (
    ADMIN,
    APP,
    FIRST,
    OLDER_SOFTWARE,
    OPEN,
    OWNER,
    PROTECTED,
    SEALED,
    SOFTWARE,
    UNIX_S,
    USER,
    Bench,
    denied,
    params_of,
    rotation,
    verifier,
    with_charged,
)

# ---- getting in -------------------------------------------------------------------------------


def test_the_right_passcode_makes_a_user() -> None:
    bench = Bench()
    link = bench.by_passcode()
    assert bench.role(link) is Role.USER
    assert bench.logged() == ["started", "attempt", "passcode_entered"]


def test_a_wrong_passcode_is_refused_and_logged() -> None:
    bench = Bench()
    assert bench.guess() == Refuse(1, RefusalCode.WRONG)
    assert bench.phase(1) is Phase.LOCKED
    assert bench.logged() == ["started", "attempt", "passcode_wrong"]


@pytest.mark.parametrize("held", [OWNER, ADMIN, USER])
def test_a_bond_brings_its_role(held: bonds.Bond) -> None:
    bench = Bench()
    assert bench.role(bench.by_bond(held)) is held.role


def test_an_open_charger_lets_everybody_be_its_owner() -> None:
    bench = Bench(OPEN)
    assert params_of(bench, Credential.OPEN).state is State.OPEN
    assert bench.role(bench.by_nothing()) is Role.OWNER


def test_bond_and_open_handshakes_never_charge_pause_or_write() -> None:
    bench = Bench()
    before = bench.stored
    link = bench.open()
    bench.hello(link, Credential.BOND, USER)
    bench.share(link)
    assert bench.proof(link) == (Refuse(link, RefusalCode.WRONG),)
    bench.by_bond(USER)
    bench.hello(link, Credential.OPEN)
    assert bench.share(link) == (Refuse(link, RefusalCode.PASSCODE_NEEDED),)
    assert bench.stored is before
    assert bench.logged() == ["started"]


def test_a_refused_attempt_is_not_charged() -> None:
    bench = Bench()
    for _ in range(3):
        bench.guess()
    stored = bench.stored
    assert bench.guess() == Refuse(4, RefusalCode.PAUSED, 30.0)
    assert bench.stored is stored


# ---- what HELLO is told -----------------------------------------------------------------------


HELLO = state.HelloReceived(1, Credential.PASSCODE, APP, None)


@pytest.mark.parametrize(
    ("durable", "event", "code"),
    [
        (PROTECTED, replace(HELLO, known=False), RefusalCode.UNSUPPORTED),
        (PROTECTED, replace(HELLO, app=Version(0, 9, 0)), RefusalCode.APP_TOO_OLD),
        (PROTECTED, replace(HELLO, credential=Credential.BOND), RefusalCode.BOND_UNKNOWN),
        (SEALED, HELLO, RefusalCode.STORAGE_FAILED),
        (SEALED, replace(HELLO, credential=Credential.OPEN), RefusalCode.STORAGE_FAILED),
    ],
)
def test_why_a_hello_is_refused(
    durable: Durable, event: state.HelloReceived, code: RefusalCode
) -> None:
    bench = Bench(durable)
    assert bench.open() == event.link
    assert bench.take(event) == (Refuse(1, code),)
    assert bench.phase(1) is Phase.LOCKED


def test_params_tell_of_the_tries_and_the_pause() -> None:
    bench = Bench()
    assert params_of(bench) == SendParams(1, State.PROTECTED, Flag(0), 0.0, 3)
    for _ in range(3):
        bench.guess()
    bench.wait(10)
    paused = params_of(bench)
    assert (paused.flags, paused.retry_after_s, paused.tries_left) == (Flag.PAUSED, 20.0, 0)
    told = params_of(Bench(with_charged(PROTECTED, TRIES_PER_GENERATION)))
    assert (told.flags, told.retry_after_s, told.tries_left) == (Flag.EXHAUSTED, 0.0, 0)


def test_params_of_an_open_charger_speak_of_no_tries() -> None:
    told = params_of(Bench(OPEN), Credential.OPEN)
    assert told == SendParams(1, State.OPEN, Flag(0), 0.0, 0)


def test_params_tell_that_a_bond_is_known_to_the_one_who_named_it() -> None:
    bench = Bench()
    link = bench.open()
    (told,) = bench.hello(link, Credential.BOND, USER)
    assert isinstance(told, SendParams)
    assert told.flags is Flag.BOND_KNOWN
    (told,) = bench.hello(link, Credential.PASSCODE, USER)
    assert isinstance(told, SendParams)
    assert told.flags is Flag(0)
    assert bench.guard.links[link].bond is None


def test_params_tell_of_an_update() -> None:
    bench = Bench()
    bench.guard = replace(bench.guard, update_available=True)
    assert params_of(bench).flags is Flag.UPDATE_AVAILABLE


# ---- sealed, downgraded, storage --------------------------------------------------------------


def test_a_sealed_charger_lets_nobody_in_until_it_is_reset() -> None:
    bench = Bench(SEALED)
    for credential in Credential:
        effects = bench.hello(bench.open(), credential, OWNER)
        assert isinstance(effects[0], Refuse)
    bench.wait(100)
    bench.hold()
    assert bench.stored.mode is Mode.OPEN
    assert (bench.stored.generation, bench.stored.incarnation) == (5, 3)
    bench.by_nothing()


def test_a_downgraded_charger_stays_closed_says_so_and_changes_nothing() -> None:
    bench = Bench(software=OLDER_SOFTWARE)
    assert bench.logged() == ["started", "downgraded"]
    told = params_of(bench)
    assert (told.state, told.flags) == (State.PROTECTED, Flag.DOWNGRADED)
    assert isinstance(bench.guess(), Refuse)
    link = bench.by_bond()
    for command in (rotation(bench.durable, 2), commands.EndPause(), commands.Reset()):
        assert bench.command(link, command) == denied(link, commands.UPDATE_NEEDED)


def test_an_update_ends_the_downgrade() -> None:
    bench = Bench(software=OLDER_SOFTWARE)
    link = bench.by_bond()
    bench.take(state.SoftwareChanged(Version(6, 7, 17), Version(2, 0, 0)))
    assert bench.command(link, rotation(bench.durable, 2))[0] == Answer(link)
    assert bench.hello(bench.open(), Credential.PASSCODE) == (Refuse(2, RefusalCode.APP_TOO_OLD),)


def test_no_passcode_is_set_on_software_that_does_not_know_it() -> None:
    bench = Bench(OPEN, software=OLDER_SOFTWARE)
    assert not bench.guard.downgraded
    link = bench.by_nothing()
    assert bench.command(link, FIRST) == denied(link, commands.UPDATE_NEEDED)


@pytest.mark.parametrize("held", [True, False])
def test_what_cannot_be_stored_did_not_happen(
    held: bool,  # noqa: FBT001 - a column of the table
) -> None:
    bench = Bench()
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.failing = True
    before = bench.guard
    assert bench.share(link) == (Refuse(link, RefusalCode.STORAGE_FAILED),)
    assert bench.guard is before
    bench.failing = False
    bench.share(link)
    bench.failing = True
    knows = {verifier(1)} if held else frozenset()
    assert bench.proof(link, knows) == (Refuse(link, RefusalCode.STORAGE_FAILED),)
    assert bench.phase(link) is Phase.PROVING
    assert bench.stored.lockout.charged == 1


def test_a_command_that_cannot_be_stored_is_denied() -> None:
    bench = Bench()
    link = bench.by_bond()
    bench.failing = True
    answer = bench.command(link, rotation(bench.durable, 2))
    assert answer == denied(link, commands.STORAGE_FAILED)
    assert bench.phase(link) is Phase.GRANTED
    assert bench.hold() == ()
    assert bench.durable == bench.stored


# ---- strangers, time, queues ------------------------------------------------------------------


def test_strangers_are_counted_and_logged_once_an_hour() -> None:
    bench = Bench()
    for _ in range(3):
        bench.hello(bench.open(), Credential.BOND)
    link = bench.open()
    bench.share(link)
    bench.share(link)
    bench.wait(3599)
    assert bench.logged() == ["started"]
    bench.wait(1)
    counts: dict[str, str | int] = {"refused_bond_unknown": 3, "breach": 1}
    assert bench.entries[-1] == state.Entry("strangers", counts)
    bench.wait(7200)
    assert len(bench.entries) == 2


def test_strangers_that_were_turned_away_elsewhere_are_counted_with_them() -> None:
    bench = Bench()
    assert bench.take(state.StrangersCounted("pairing_refused", 3)) == ()
    bench.take(state.StrangersCounted("pairing_refused", 2))
    assert bench.logged() == ["started"]
    bench.wait(3600)
    assert bench.entries[-1] == state.Entry("strangers", {"pairing_refused": 5})


def test_the_hour_of_strangers_begins_anew_with_each_entry() -> None:
    bench = Bench()
    for _ in range(2):
        bench.hello(bench.open(), Credential.BOND)
        bench.wait(3600)
    bench.hello(bench.open(), Credential.BOND)
    bench.wait(3000)
    assert bench.logged() == ["started", "strangers", "strangers"]


def test_an_event_of_a_link_that_has_closed_does_nothing() -> None:
    bench = Bench()
    link = bench.open()
    bench.close(link)
    before = bench.guard
    assert bench.share(link) == ()
    assert bench.guard is before


def test_hellos_do_not_make_a_link_younger_nor_does_its_end() -> None:
    bench = Bench()
    link = bench.open()
    bench.wait(5)
    bench.hello(link, Credential.PASSCODE)
    assert bench.guard.links[link].opened_s == 0.0
    bench.share(link)
    bench.share(link)
    assert bench.guard.links[link] == state.Link(0.0, Phase.CLOSED)


def test_starts_are_counted() -> None:
    bench = Bench()
    bench.restart()
    assert bench.stored.starts == 2


# ---- the table of transitions -----------------------------------------------------------------


def granted(bench: Bench) -> int:
    return bench.by_bond()


def greeted(bench: Bench) -> int:
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    return link


def proving(bench: Bench) -> int:
    link = greeted(bench)
    bench.share(link)
    return link


def closed(bench: Bench) -> int:
    link = bench.open()
    bench.share(link)
    return link


REACH: dict[Phase, Callable[[Bench], int]] = {
    Phase.LOCKED: Bench.open,
    Phase.GREETED: greeted,
    Phase.PROVING: proving,
    Phase.GRANTED: granted,
    Phase.CLOSED: closed,
}
EVENTS: dict[type[state.Event], Callable[[int], state.Event]] = {
    state.HelloReceived: lambda link: state.HelloReceived(link, Credential.PASSCODE, APP, None),
    state.ShareReceived: state.ShareReceived,
    state.ProofChecked: lambda link: state.ProofChecked(link, held=True, unix_s=UNIX_S),
    state.Commanded: lambda link: state.Commanded(link, commands.EndPause()),
}
OUT_OF_TURN = [pair for pair in product(Phase, EVENTS) if pair not in guard.TRANSITIONS]


@pytest.mark.parametrize(
    ("phase", "event"), OUT_OF_TURN, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_every_event_that_the_table_does_not_list_ends_the_link_for_good(
    phase: Phase, event: type[state.Event]
) -> None:
    bench = Bench()
    link = REACH[phase](bench)
    assert bench.phase(link) is phase
    before = bench.stored
    effects = bench.take(EVENTS[event](link))
    why = f"breach of the protocol: {event.__name__} while {phase.value}"
    assert effects == (Drop(link, why),)
    assert bench.phase(link) is Phase.CLOSED
    assert bench.stored is before


@dataclass(frozen=True)
class Transition:
    """The event that takes a link from one phase to another, and the charger where it does."""

    source: Phase
    event: Callable[[int], state.Event]
    target: Phase
    durable: Durable = PROTECTED


def hello_refused(link: int) -> state.Event:
    return state.HelloReceived(link, Credential.BOND, APP, None)


LISTED = [
    Transition(Phase.LOCKED, EVENTS[state.HelloReceived], Phase.GREETED),
    Transition(Phase.LOCKED, hello_refused, Phase.LOCKED),
    Transition(Phase.GREETED, EVENTS[state.HelloReceived], Phase.GREETED),
    Transition(Phase.GREETED, hello_refused, Phase.LOCKED),
    Transition(Phase.GREETED, state.ShareReceived, Phase.PROVING),
    Transition(Phase.GREETED, state.ShareReceived, Phase.LOCKED, with_charged(PROTECTED, 80)),
    Transition(Phase.PROVING, EVENTS[state.HelloReceived], Phase.GREETED),
    Transition(Phase.PROVING, hello_refused, Phase.LOCKED),
    Transition(Phase.PROVING, EVENTS[state.ProofChecked], Phase.GRANTED),
    Transition(Phase.PROVING, lambda link: state.ProofChecked(link, False, 0), Phase.LOCKED),
    Transition(Phase.GRANTED, EVENTS[state.Commanded], Phase.GRANTED),
    Transition(Phase.GRANTED, lambda link: state.Commanded(link, commands.Reset()), Phase.CLOSED),
]


def test_every_transition_of_the_table_happens() -> None:
    happened = set()
    for listed in LISTED:
        bench = Bench(listed.durable)
        link = REACH[listed.source](bench)
        event = listed.event(link)
        bench.take(event)
        assert bench.phase(link) is listed.target, listed
        happened.add((listed.source, type(event), listed.target))
    table = {
        (source, event, target)
        for (source, event), targets in guard.TRANSITIONS.items()
        for target in targets
    }
    assert happened == table


def test_a_new_link_has_shown_nothing_and_may_nothing() -> None:
    link = Link(opened_s=7.0)
    assert link == Link(7.0, Phase.LOCKED, Credential.OPEN, 0, None, None, Role.NONE)


def test_a_guard_counts_strangers_from_its_power_up() -> None:
    assert Guard(Durable(), 0.0, SOFTWARE, APP).counted_s == 0.0
    begun = guard.powered_up(replace(PROTECTED, running_s=5000.0), SOFTWARE, APP).guard
    assert begun.counted_s == begun.started_s == 5000.0
