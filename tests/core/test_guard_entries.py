"""Every entry that the guard writes, to the last member: people and programs read them."""

from dataclasses import replace

import pytest

from chargepin.core import commands, lockout
from chargepin.core import guard_state as state
from chargepin.core.bonds import Role
from chargepin.core.durable import Policy
from chargepin.core.guard_state import Entry
from chargepin.core.identity import Credential
from core.guard_bench import (
    ADMIN,
    APP,
    CLAIM,
    FIRST,
    OLDER_SOFTWARE,
    OPEN,
    OWNER,
    PROTECTED,
    TOKEN,
    USER,
    Bench,
    bond,
    rotation,
    with_charged,
)


def new(bench: Bench) -> list[Entry]:
    """What was written since last asked."""
    entries, bench.entries = bench.entries, []
    return entries


def test_starts() -> None:
    assert new(Bench()) == [Entry("started", {"software": "6.7.17"})]
    assert new(Bench(software=OLDER_SOFTWARE)) == [
        Entry("started", {"software": "6.7.16"}),
        Entry("downgraded", {"software": "6.7.16"}),
    ]


def test_attempts() -> None:
    bench = Bench()
    new(bench)
    bench.guess()
    assert new(bench) == [
        Entry("attempt", {"charged": 1, "generation": 1}),
        Entry("passcode_wrong", {"generation": 1}),
    ]
    bench.by_passcode()
    assert new(bench) == [
        Entry("attempt", {"charged": 2, "generation": 1}),
        Entry("passcode_entered", {"generation": 1}),
    ]
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.share(link)
    bench.close(link)
    assert new(bench) == [
        Entry("attempt", {"charged": 2, "generation": 1}),
        Entry("passcode_unproved", {"generation": 1}),
    ]


def test_an_attempt_that_is_given_up_for_a_hello_that_is_refused() -> None:
    bench = Bench()
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.share(link)
    new(bench)
    assert isinstance(bench.hello(link, Credential.BOND)[0], state.Refuse)
    assert new(bench) == [Entry("passcode_unproved", {"generation": 1})]


def test_a_hello_alone_writes_nothing() -> None:
    bench = Bench()
    link = bench.open()
    hello = state.HelloReceived(link, Credential.PASSCODE, APP, None)
    assert bench.step(bench.guard, hello, bench.now_s).entries == ()


def test_what_attempts_come_to() -> None:
    bench = Bench(with_charged(PROTECTED, lockout.WARN_AT - 1))
    new(bench)
    bench.guess()
    assert new(bench)[1] == Entry("attempts_warning", {"charged": lockout.WARN_AT})
    bench.guess()
    bench.guess()
    assert new(bench)[-2] == Entry("paused", {"seconds": 30})
    bench.press()
    assert new(bench) == [
        Entry("button_pressed", {}),
        Entry("button_window_opened", {"tries": lockout.WINDOW_TRIES}),
    ]
    bench = Bench(with_charged(PROTECTED, lockout.TRIES_PER_GENERATION - 1))
    bench.guess()
    assert bench.entries[-2] == Entry("exhausted", {"charged": lockout.TRIES_PER_GENERATION})


@pytest.mark.parametrize("event", ["passcode_entered", "passcode_wrong"])
def test_an_attempt_by_set_pin(event: str) -> None:
    bench = Bench()
    link = bench.open()
    new(bench)
    bench.take(state.PinOffered(link))
    bench.take(state.PinChecked(link, held=event == "passcode_entered"))
    assert new(bench) == [
        Entry("attempt", {"charged": 1, "generation": 1}),
        Entry(event, {"generation": 1}),
    ]


def test_a_passcode_set_and_rotated() -> None:
    bench = Bench(OPEN)
    link = bench.by_nothing()
    new(bench)
    bench.command(link, FIRST)
    assert new(bench) == [
        Entry("passcode_set", {"generation": 1, "bonds": 0, "forgotten": 0, "by": "open"})
    ]
    bench = Bench()
    link = bench.by_bond(OWNER)
    new(bench)
    bench.command(link, rotation(bench.durable, 2, frozenset({OWNER.bond_id})))
    assert new(bench) == [
        Entry(
            "passcode_rotated",
            {"generation": 2, "bonds": 1, "forgotten": 2, "by": OWNER.bond_id},
        )
    ]


def by_owner(**members: str | int) -> dict[str, str | int]:
    return {**members, "by": OWNER.bond_id}


def test_what_an_owner_changes() -> None:
    bench = Bench(replace(PROTECTED, owner_token_hash=TOKEN))
    link = bench.by_bond(OWNER)
    new(bench)
    for command, entry in (
        (commands.EndPause(), Entry("pause_ended", by_owner())),
        (
            commands.SetPolicy(Policy(True)),
            Entry("policy_set", by_owner(first_set_needs_presence=1)),
        ),
        (commands.TakeClaim(CLAIM), Entry("claimed", by_owner(account="account"))),
        (commands.Release(), Entry("released", by_owner())),
        (commands.SeeTamper(), Entry("tamper_seen", by_owner())),
        (commands.PasscodeViewed(3), Entry("passcode_viewed", by_owner(times=3))),
        (
            commands.AddBond(bond(9, Role.ADMIN)),
            Entry("bond_added", by_owner(bond=f"{9:016x}", role="admin", name="phone 9")),
        ),
        (
            commands.AddBond(bond(10), TOKEN),
            Entry("bond_added", by_owner(bond=f"{10:016x}", role="owner", name="phone 10")),
        ),
        (commands.ForgetBond(USER.bond_id), Entry("bond_forgotten", by_owner(bond=USER.bond_id))),
        (commands.Reset(), Entry("reset", by_owner(incarnation=2))),
    ):
        bench.command(link, command)
        assert new(bench) == [entry]


def test_hands_at_the_charger() -> None:
    bench = Bench()
    link = bench.by_passcode()
    new(bench)
    bench.take(state.TamperChanged(opened=True))
    bench.take(state.TamperChanged(opened=False))
    assert new(bench) == [Entry("tampered", {}), Entry("tamper_ended", {})]
    bench.press()
    assert new(bench) == [Entry("button_pressed", {}), Entry("owner_by_button", {"by": "passcode"})]
    bench.close(link)
    bench.wait(120.0)
    bench.hold()
    assert new(bench) == [Entry("reset_refused", {"why": "more than two minutes after power-up"})]
    bench.restart()
    new(bench)
    bench.hold()
    assert new(bench) == [Entry("reset", {"incarnation": 2, "by": "button"})]


def test_strangers() -> None:
    bench = Bench()
    new(bench)
    bench.hello(bench.open(), Credential.BOND)
    bench.share(bench.open())
    bench.take(state.StrangersCounted("pairing_refused", 3))
    bench.wait(3600.0)
    counted: dict[str, str | int] = {
        "refused_bond_unknown": 1,
        "breach": 1,
        "pairing_refused": 3,
    }
    assert new(bench) == [Entry("strangers", counted)]


def test_who_is_no_owner_is_named_by_the_bond() -> None:
    bench = Bench()
    link = bench.by_bond(ADMIN)
    new(bench)
    bench.command(link, commands.EndPause())
    assert new(bench) == [Entry("pause_ended", {"by": ADMIN.bond_id})]


# ---- beside the entries --------------------------------------------------------------------------


def test_running_time_is_kept_every_ten_minutes_while_a_wait_runs() -> None:
    bench = Bench()
    bench.guess()
    stored = bench.stored
    bench.now_s += 599.5
    bench.take(state.Ticked())
    assert bench.stored is stored
    bench.now_s += 0.5
    bench.take(state.Ticked())
    assert bench.stored.running_s == bench.now_s


def test_windows_that_the_button_opened_count_beyond_a_reset() -> None:
    bench = Bench()
    for _ in range(3):
        bench.guess()
    bench.press()
    bench.hold()
    assert bench.durable.lockout == lockout.Lockout(windows=(bench.now_s,))


def test_a_refused_set_pin_leaves_nothing_of_an_earlier_one_to_be_compared() -> None:
    bench = Bench()
    link = bench.open()
    bench.take(state.PinOffered(link))
    assert bench.guard.links[link].pin is not None
    bench.guess()
    bench.guess()
    bench.take(state.PinOffered(link))
    assert bench.guard.links[link].pin is None
