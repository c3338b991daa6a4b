"""What the guard has written down: pauses, tampering, what was seen, and floods of strangers."""

from dataclasses import replace
from types import MappingProxyType

import pytest

from chargepin.core import commands, guard, lockout
from chargepin.core import guard_state as state
from chargepin.core.bonds import Role
from chargepin.core.guard_changes import tamper_told
from chargepin.core.guard_state import Answer, Tell
from chargepin.core.identity import Credential, RefusalCode
from core.guard_bench import (
    ADMIN,
    FIRST,
    OPEN,
    OWNER,
    PROTECTED,
    TOKEN,
    USER,
    Bench,
    bond,
    denied,
    done,
    with_charged,
)


def test_the_third_attempt_pauses_and_the_log_says_for_how_long() -> None:
    bench = Bench()
    for _ in range(3):
        bench.guess()
    assert bench.logged()[1:] == [
        *("attempt", "passcode_wrong", "attempt", "passcode_wrong"),
        *("attempt", "paused", "passcode_wrong"),
    ]
    assert bench.entries[-2].detail == {"seconds": 30}


@pytest.mark.parametrize("how", ["close", "hello", "breach"])
def test_an_attempt_that_was_wrong_is_written_down_once(how: str) -> None:
    bench = Bench()
    bench.guess()
    (link,) = bench.guard.links
    if how == "hello":
        bench.hello(link, Credential.PASSCODE)
    elif how == "breach":
        bench.share(link)
    bench.close(link)
    assert bench.logged() == ["started", "attempt", "passcode_wrong"]


def test_what_cannot_be_written_down_at_its_end_is_answered_and_leaves_no_link() -> None:
    bench = Bench()
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.share(link)
    bench.failing = True
    assert bench.hello(link, Credential.PASSCODE) == (
        state.Refuse(link, RefusalCode.STORAGE_FAILED),
    )
    bench.close(link)
    assert not bench.guard.links


@pytest.mark.parametrize("how", ["close", "hello", "breach"])
def test_an_attempt_without_its_proof_is_written_down_once(how: str) -> None:
    bench = Bench()
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.share(link)
    if how == "hello":
        bench.hello(link, Credential.PASSCODE)
    elif how == "breach":
        bench.share(link)
    bench.close(link)
    assert bench.logged()[-2:] == ["attempt", "passcode_unproved"]
    assert bench.logged().count("passcode_unproved") == 1


def test_the_last_attempt_exhausts() -> None:
    bench = Bench(with_charged(PROTECTED, lockout.TRIES_PER_GENERATION - 1))
    bench.guess()
    assert bench.logged()[-3:] == ["attempt", "exhausted", "passcode_wrong"]
    assert bench.entries[-2].detail == {"charged": lockout.TRIES_PER_GENERATION}


def test_a_press_in_a_pause_is_told_as_a_window() -> None:
    bench = Bench()
    bench.press()
    assert bench.logged()[-1] == "button_pressed"
    for _ in range(3):
        bench.guess()
    bench.press()
    assert bench.logged()[-2:] == ["button_pressed", "button_window_opened"]


def test_an_opened_housing_is_written_down_and_told_to_admins_until_one_has_seen_it() -> None:
    bench = Bench()
    owner, admin, user = (bench.by_bond(held) for held in (OWNER, ADMIN, USER))
    bench.open()
    effects = bench.take(state.TamperChanged(opened=True))
    assert effects == (Tell(owner, "tampered"), Tell(admin, "tampered"))
    assert bench.stored.tampered
    assert bench.take(state.TamperChanged(opened=False)) == ()
    assert bench.logged()[-2:] == ["tampered", "tamper_ended"]
    bench.restart()
    assert bench.durable.tampered
    user, admin = bench.by_bond(USER), bench.by_bond(ADMIN)
    assert bench.command(user, commands.SeeTamper()) == denied(user, commands.ROLE_TOO_LOW)
    assert bench.command(admin, commands.SeeTamper()) == done(admin)
    assert bench.stored == replace(bench.durable, tampered=False)
    assert bench.entries[-1] == state.Entry("tamper_seen", {"by": ADMIN.bond_id})


def test_who_becomes_an_admin_hears_that_the_housing_was_opened() -> None:
    bench = Bench(replace(PROTECTED, tampered=True, owner_token_hash=TOKEN))
    link = bench.by_passcode()
    effects = bench.command(link, commands.AddBond(bond(9)))
    assert effects == (Answer(link),)
    effects = bench.command(link, commands.AddBond(bond(10), TOKEN))
    assert effects == (Answer(link), Tell(link, "tampered"))
    bench.close(link)
    link = bench.by_passcode()
    effects = bench.take(state.ButtonPressed())
    assert effects == (state.RoleRaised(link, Role.OWNER), Tell(link, "tampered"))


def test_a_session_by_passcode_or_on_an_open_charger_is_named_as_such() -> None:
    bench = Bench()
    link = bench.by_passcode()
    bench.command(link, commands.PasscodeViewed(3))
    assert bench.entries[-1] == state.Entry("passcode_viewed", {"times": 3, "by": "passcode"})
    bench = Bench(OPEN)
    link = bench.by_nothing()
    assert bench.command(link, commands.Release()) == (Answer(link),)
    assert bench.entries[-1] == state.Entry("released", {"by": "open"})


def test_what_was_counted_is_put_down_before_a_stop() -> None:
    bench = Bench()
    after = guard.flushed(bench.guard, 5.0)
    assert after == state.Step(bench.guard)
    bench.take(state.StrangersCounted("malformed", 2))
    after = guard.flushed(bench.guard, 5.0)
    assert after.entries == (state.Entry("strangers", {"malformed": 2}),)
    assert (after.guard.counted, after.guard.counted_s) == ({}, 5.0)


FLOOD = 100_000
OF_A_VISIT = 5


@pytest.mark.parametrize("hours", [1, 24 * 30])
def test_a_flood_of_strangers_leaves_the_owners_entries_in_a_log_that_is_bounded(
    hours: int,
) -> None:
    """One entry an hour, besides the attempts that the limits allow."""
    bench = Bench(OPEN)
    bench.command(bench.by_nothing(), FIRST)
    for _ in range(hours):
        for _ in range(FLOOD // OF_A_VISIT // hours + 1):
            visit(bench)
        bench.now_s += guard.COUNT_FOR_S
        bench.take(state.Ticked())
    logged = bench.logged()
    assert logged.count("passcode_set") == 1
    assert logged.count("strangers") == hours
    hourly = [entry for entry in bench.entries if entry.event == "strangers"]
    merged = sum(int(times) for entry in hourly for times in entry.detail.values())
    assert merged + logged.count("attempt") >= FLOOD
    assert len(logged) <= 2 + hours + 4 * lockout.TRIES_PER_GENERATION


def visit(bench: Bench) -> None:
    """Somebody tries a passcode, is refused two pairings, and sends nonsense twice."""
    bench.guess()
    bench.guard = replace(bench.guard, links=MappingProxyType({}))
    bench.take(state.StrangersCounted("pairing_refused", 2))
    bench.take(state.StrangersCounted("malformed", 2))


@pytest.mark.parametrize("before", Role)
@pytest.mark.parametrize("role", Role)
def test_only_who_becomes_an_admin_is_told_of_it(before: Role, role: Role) -> None:
    durable = replace(PROTECTED, tampered=True)
    becomes = before < Role.ADMIN and role in {Role.ADMIN, Role.OWNER}
    assert tamper_told(durable, 7, before, role) == ((Tell(7, "tampered"),) if becomes else ())
    assert tamper_told(PROTECTED, 7, before, role) == ()
