"""A watch that never barks proves nothing: each fault planted in a guard is caught by its rule."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

import pytest

from chargepin.core import commands
from chargepin.core.durable import Factory
from chargepin.core.guard_state import Refuse
from chargepin.core.identity import Credential, RefusalCode
from chargepin.core.lockout import TRIES_PER_GENERATION
from core import guard_faults as faults
from core.guard_bench import (
    OWNER,
    PROTECTED,
    USER,
    PowerUp,
    StepFunction,
    passcode,
    rotation,
    verifier,
)
from core.guard_watch import DAY_S, Broken, Watched

# ---- attacks ----------------------------------------------------------------------------------


def guess(bench: Watched) -> None:
    bench.guess()


def guess_patiently(bench: Watched, tries: int = 11) -> None:
    """As often as they are taken, and as soon."""
    wanted = bench.stored.lockout.charged + tries
    while bench.stored.lockout.charged < wanted:
        effect = bench.guess()
        assert isinstance(effect, Refuse)
        if effect.code is not RefusalCode.WRONG:
            bench.wait(effect.retry_after_s)


def break_off(bench: Watched) -> None:
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.share(link)
    bench.close(link)


def greet_again(bench: Watched) -> None:
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.share(link)
    bench.hello(link, Credential.PASSCODE)


def guess_on_many_links(bench: Watched) -> None:
    links = [bench.open() for _ in range(7)]
    for link in links:
        bench.hello(link, Credential.PASSCODE)
        bench.share(link)


def guess_beside_an_owner(bench: Watched) -> None:
    bench.guess()
    bench.by_passcode()


def cut_power_in_a_pause(bench: Watched) -> None:
    for _ in range(3):
        bench.guess()
    bench.wait(10)
    bench.restart()
    bench.guess()


def cut_power_after_a_day_of_tries(bench: Watched) -> None:
    guess_patiently(bench, 10)
    bench.restart()
    guess_patiently(bench, 1)


def cut_power_in_a_window(bench: Watched) -> None:
    for _ in range(3):
        bench.guess()
    bench.press()
    bench.restart()
    bench.guess()


def guess_in_a_window(bench: Watched) -> None:
    for _ in range(3):
        bench.guess()
    bench.press()
    for _ in range(6):
        bench.guess()


def guess_in_many_windows(bench: Watched) -> None:
    guess_patiently(bench, 10)
    for _ in range(4):
        bench.press()
        for _ in range(5):
            bench.guess()


def press_when_exhausted(bench: Watched) -> None:
    guess_patiently(bench, TRIES_PER_GENERATION)
    bench.press()
    bench.guess()


def wait_long_when_exhausted(bench: Watched) -> None:
    guess_patiently(bench, TRIES_PER_GENERATION)
    bench.wait(3 * DAY_S)
    bench.guess()


def end_a_pause(bench: Watched) -> None:
    bench.guess()
    bench.command(bench.by_bond(), commands.EndPause())


def stay_over_a_rotation(bench: Watched) -> None:
    bench.by_passcode()
    bench.command(bench.by_bond(), rotation(bench.stored, 2))


def finish_after_a_rotation(bench: Watched) -> None:
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.share(link)
    bench.command(bench.by_bond(), rotation(bench.stored, 2))
    bench.proof(link, {verifier(1)})


def stay_when_forgotten(bench: Watched) -> None:
    bench.by_bond(USER)
    bench.command(bench.by_bond(OWNER), commands.ForgetBond(USER.bond_id))


def revoke(bench: Watched) -> None:
    keep = frozenset({OWNER.bond_id})
    bench.command(bench.by_bond(), rotation(bench.stored, 2, keep))


def pause_the_owner(bench: Watched) -> None:
    for _ in range(3):
        bench.guess()


def use_a_bond(bench: Watched) -> None:
    link = bench.open()
    bench.hello(link, Credential.BOND, USER)
    bench.share(link)


def end_a_pause_as_a_user(bench: Watched) -> None:
    bench.command(bench.by_bond(USER), commands.EndPause())


def command_without_a_proof(bench: Watched) -> None:
    bench.command(bench.open(), commands.EndPause())


def reset_to_the_factorys_passcode(bench: Watched) -> None:
    bench.guess()
    bench.hold()


# ---- faults and what catches them -------------------------------------------------------------

CHARGED = "each attempt is charged, and no other's returned"
PAUSED = "no attempt in a pause, unless the button was pressed"
QUIET = "a stranger's event changes nothing"
NO_OUTLIVING = "no session outlives what it proved"

Attack: TypeAlias = Callable[[Watched], None]
STEPS: list[tuple[StepFunction, Attack, str]] = [
    (faults.charged_after_the_check, break_off, CHARGED),
    (faults.a_break_off_gives_back, break_off, QUIET),
    (faults.another_hello_gives_back, greet_again, QUIET),
    (faults.a_success_forgives_all, guess_beside_an_owner, CHARGED),
    (faults.a_success_gives_back_anothers, guess_beside_an_owner, CHARGED),
    (faults.a_wrong_guess_ends_the_wait, guess, QUIET),
    (faults.each_link_waits_for_itself, guess_on_many_links, PAUSED),
    (faults.each_link_has_its_own_budget, guess_on_many_links, CHARGED),
    (faults.ten_a_day_forgotten, guess_patiently, PAUSED),
    (faults.a_window_without_end_of_tries, guess_in_a_window, "five tries in a window"),
    (faults.windows_without_end, guess_in_many_windows, "three windows a day"),
    (faults.the_button_helps_the_exhausted, press_when_exhausted, CHARGED),
    (faults.time_forgives, wait_long_when_exhausted, CHARGED),
    (faults.an_ended_pause_forgives_all, end_a_pause, CHARGED),
    (faults.sessions_outlive_a_rotation, stay_over_a_rotation, NO_OUTLIVING),
    (faults.nobody_is_dropped, stay_over_a_rotation, "a change of passcode drops everybody"),
    (
        faults.handshakes_outlive_a_rotation,
        finish_after_a_rotation,
        "nobody gets in by what is no longer valid",
    ),
    (
        faults.a_generation_is_used_again,
        stay_over_a_rotation,
        "a generation has one passcode",
    ),
    (faults.a_revocation_keeps_all, revoke, "a revocation keeps only those named"),
    (faults.a_forgotten_bonds_session_lives, stay_when_forgotten, NO_OUTLIVING),
    (faults.a_pause_is_for_bonds_too, pause_the_owner, "an owner's bond always gets in"),
    (faults.a_bond_is_charged, use_a_bond, "a bond charges nothing"),
    (faults.no_proof_is_needed, guess, "nobody gets in without a proof"),
    (faults.a_passcode_makes_an_owner, guess_beside_an_owner, "nobody gets a higher role"),
    (faults.every_role_is_an_admins, end_a_pause_as_a_user, "a command needs its role"),
    (faults.no_session_is_needed, command_without_a_proof, QUIET),
    (faults.a_reset_forgives_the_factorys_count, reset_to_the_factorys_passcode, CHARGED),
]
POWER_UPS: list[tuple[PowerUp, Attack, str]] = [
    (faults.a_power_cut_forgives_all, cut_power_in_a_pause, CHARGED),
    (faults.a_power_cut_ends_the_wait, cut_power_in_a_pause, PAUSED),
    (faults.a_power_cut_begins_a_day, cut_power_after_a_day_of_tries, PAUSED),
    (faults.a_window_outlives_a_power_cut, cut_power_in_a_window, PAUSED),
]
ATTACKS = dict.fromkeys(attack for _, attack, _ in [*STEPS, *POWER_UPS])
DURABLE = replace(PROTECTED, factory=Factory(passcode(1)))


def name(value: object) -> str:
    return getattr(value, "__name__", "-")


@pytest.mark.parametrize("attack", ATTACKS, ids=name)
def test_the_guard_withstands_every_attack(attack: Attack) -> None:
    attack(Watched(DURABLE))


@pytest.mark.parametrize(("fault", "attack", "rule"), STEPS, ids=name)
def test_a_fault_in_a_step_is_caught(fault: StepFunction, attack: Attack, rule: str) -> None:
    with pytest.raises(Broken) as broken:
        attack(Watched(DURABLE, step=fault))
    assert str(broken.value) == rule


@pytest.mark.parametrize(("fault", "attack", "rule"), POWER_UPS, ids=name)
def test_a_fault_in_a_power_up_is_caught(fault: PowerUp, attack: Attack, rule: str) -> None:
    with pytest.raises(Broken) as broken:
        attack(Watched(DURABLE, power_up=fault))
    assert str(broken.value) == rule
