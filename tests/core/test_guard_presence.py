from dataclasses import replace

import pytest

from chargepin.core import commands, guard
from chargepin.core import guard_state as state
from chargepin.core.durable import Durable, Mode, Policy, Profile, usual_policy
from chargepin.core.guard_state import (
    Answer,
    DropAll,
    ErasePersons,
    ForgetBluetoothBonds,
    Grant,
    Phase,
)
from chargepin.core.identity import Credential, Flag
from chargepin.core.lockout import DAY_S, Lockout
from core.guard_bench import (
    APP,
    CLAIM,
    FACTORY,
    FIRST,
    OPEN,
    OWNER,
    PROTECTED,
    SOFTWARE,
    TOKEN,
    Bench,
    denied,
    done,
    params_of,
    rotation,
)

# ---- presence ---------------------------------------------------------------------------------


NEEDS_PRESENCE = replace(OPEN, policy=Policy(first_set_needs_presence=True))
EVERY_CHANGE: list[commands.Command] = [
    FIRST,
    commands.TakeClaim(CLAIM),
    commands.SetPolicy(Policy()),
    commands.Release(),
    commands.Reset(),
]


@pytest.mark.parametrize("command", EVERY_CHANGE, ids=lambda command: type(command).__name__)
def test_where_presence_is_needed_an_open_charger_takes_changes_only_with_it(
    command: commands.Command,
) -> None:
    bench = Bench(NEEDS_PRESENCE)
    link = bench.by_nothing()
    bench.wait(600)
    assert params_of(bench, Credential.OPEN).flags is Flag.PRESENCE_NEEDED
    assert bench.command(link, command) == denied(link, commands.PRESENCE_NEEDED)
    bench.press()
    bench.wait(119)
    assert params_of(bench, Credential.OPEN).flags is Flag(0)
    assert bench.command(link, command)[0] == Answer(link)


def test_a_press_counts_for_two_minutes() -> None:
    bench = Bench(NEEDS_PRESENCE)
    bench.wait(600)
    bench.press()
    bench.wait(120)
    link = bench.by_nothing()
    assert bench.command(link, FIRST) == denied(link, commands.PRESENCE_NEEDED)


def test_the_first_ten_minutes_after_power_up_count_as_presence() -> None:
    bench = Bench(NEEDS_PRESENCE)
    bench.wait(599)
    link = bench.by_nothing()
    assert bench.command(link, FIRST)[0] == Answer(link)


def test_a_restart_by_software_is_no_power_up() -> None:
    stored = replace(NEEDS_PRESENCE, running_s=5000.0)
    start = guard.powered_up(stored, SOFTWARE, APP, started_s=4500.0)
    assert start.guard.first_set_allowed(5000.0)
    assert not start.guard.first_set_allowed(5100.0)
    after = guard.step(start.guard, state.ButtonHeld(), 5000.0)
    assert [entry.event for entry in after.entries] == ["reset_refused"]


def test_without_the_policy_no_presence_is_needed() -> None:
    bench = Bench(OPEN)
    bench.wait(10 * DAY_S)
    link = bench.by_nothing()
    assert bench.command(link, FIRST)[0] == Answer(link)


def test_a_protected_charger_asks_its_owner_for_no_presence() -> None:
    bench = Bench(replace(PROTECTED, policy=Policy(first_set_needs_presence=True)))
    bench.wait(600)
    link = bench.by_bond()
    assert bench.command(link, commands.TakeClaim(CLAIM)) == done(link)
    assert params_of(bench).flags is Flag(0)


# ---- the EU's rules ---------------------------------------------------------------------------

EU = replace(OPEN, profile=Profile.EU, policy=usual_policy(Profile.EU))


def test_in_the_eu_profile_presence_is_needed_and_nobody_can_switch_that_off() -> None:
    bench = Bench(EU)
    bench.wait(600)
    link = bench.by_nothing()
    assert bench.command(link, FIRST) == denied(link, commands.PRESENCE_NEEDED)
    assert bench.guard.unattended(bench.now_s)
    bench.press()
    assert not bench.guard.unattended(bench.now_s)
    without = commands.SetPolicy(Policy(first_set_needs_presence=False))
    assert bench.command(link, without) == denied(link, commands.PROFILE_DECIDES)
    with_presence = commands.SetPolicy(Policy(first_set_needs_presence=True))
    assert bench.command(link, with_presence) == done(link)
    assert bench.command(link, FIRST)[0] == Answer(link)
    bench.wait(600)
    assert not bench.guard.unattended(bench.now_s)
    assert not Bench(NEEDS_PRESENCE).guard.unattended(1e6)


def test_the_profile_and_its_policy_outlive_a_reset() -> None:
    for profile in Profile:
        bench = Bench(replace(PROTECTED, profile=profile, policy=Policy()))
        bench.hold()
        assert bench.stored.mode is Mode.OPEN
        assert bench.stored.profile is profile
        assert bench.stored.policy == Policy(first_set_needs_presence=profile is Profile.EU)


# ---- reset ------------------------------------------------------------------------------------


USED = replace(
    PROTECTED, claim=CLAIM, policy=Policy(first_set_needs_presence=True), owner_token_hash=TOKEN
)


@pytest.mark.parametrize("by_button", [True, False])
def test_a_reset_erases_all_but_identity_and_counters(
    by_button: bool,  # noqa: FBT001 - a column of the table
) -> None:
    bench = Bench(USED)
    link = bench.by_bond()
    effects = bench.hold() if by_button else bench.command(link, commands.Reset())
    erased = (ErasePersons(), ForgetBluetoothBonds(), DropAll("the charger was reset"))
    assert effects == (erased if by_button else (Answer(link), *erased))
    assert bench.stored == Durable(incarnation=2, generation=1, starts=1)
    assert bench.phase(link) is Phase.CLOSED
    by = "button" if by_button else OWNER.bond_id
    assert bench.entries[-1] == state.Entry("reset", {"incarnation": 2, "by": by})


def test_after_a_reset_the_next_passcode_has_a_generation_never_used() -> None:
    bench = Bench(USED)
    bench.hold()
    link = bench.by_nothing()
    assert bench.command(link, FIRST) == denied(link, commands.CHANGED)
    bench.command(link, replace(FIRST, generation=2))
    assert bench.stored.generation == 2


def test_the_button_resets_only_within_two_minutes_of_power_up() -> None:
    bench = Bench(USED)
    bench.wait(120)
    assert bench.hold() == ()
    assert bench.stored.credential == USED.credential
    assert bench.logged()[-1] == "reset_refused"
    bench.restart()
    bench.wait(119)
    bench.hold()
    assert bench.stored.mode is Mode.OPEN


def test_a_reset_returns_to_the_factorys_passcode_whose_count_is_not_forgiven() -> None:
    bench = Bench(FACTORY)
    bench.guess()
    bench.guess()
    bench.hold()
    assert bench.stored.mode is Mode.PROTECTED
    assert (bench.stored.generation, bench.stored.incarnation) == (2, 2)
    assert bench.stored.lockout == Lockout(charged=2)
    assert isinstance(bench.attempt(7), Grant)
    bench.guess()
    bench.hold()
    assert bench.stored.lockout.charged == 3


def test_the_factorys_count_outlives_other_passcodes() -> None:
    bench = Bench(replace(FACTORY, bonds=(OWNER,)))
    bench.guess()
    bench.command(bench.by_bond(), rotation(bench.durable, 2))
    assert bench.stored.lockout.charged == 0
    for _ in range(3):
        bench.guess()
    bench.hold()
    assert bench.stored.lockout == Lockout(charged=1)


def test_the_factorys_count_is_not_lowered_by_setting_the_factorys_passcode_again() -> None:
    bench = Bench(replace(FACTORY, bonds=(OWNER,)))
    for number in (2, 7, 3):
        bench.guess()
        bench.command(bench.by_bond(), rotation(bench.durable, number))
    bench.hold()
    assert bench.stored.lockout.charged >= 1


def test_button_windows_still_count_after_a_reset() -> None:
    bench = Bench(FACTORY)
    for _ in range(3):
        bench.guess()
    bench.press()
    bench.hold()
    assert bench.stored.lockout.windows == (0.0,)
