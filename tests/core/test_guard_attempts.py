"""`set_pin` in the guard: an attempt like any other, for no gain."""

from dataclasses import replace

import pytest

from chargepin.core import guard_state as state
from chargepin.core.durable import Durable, PasscodeCredential
from chargepin.core.handshake import passcode_witness, verifier_of
from chargepin.core.lockout import FIRST_WAIT_S, FREE_TRIES, TRIES_PER_GENERATION
from chargepin.core.passcode import Passcode
from core.guard_bench import OPEN, PROTECTED, SEALED, Bench

IDENTITY, SALT = b"i" * 32, b"s" * 16


def offered(bench: Bench) -> int | None:
    """A link on which a passcode is being compared, None if the charger would not."""
    link = bench.open()
    assert bench.take(state.PinOffered(link)) == ()
    return link if bench.guard.links[link].pin else None


def tried(bench: Bench, *, held: bool) -> bool:
    link = offered(bench)
    if link is not None:
        assert bench.take(state.PinChecked(link, held)) == ()
        assert bench.guard.links[link].pin is None
    return link is not None


def test_a_wrong_one_is_charged_before_it_is_compared() -> None:
    bench = Bench()
    link = offered(bench)
    assert link is not None
    assert bench.stored.lockout.charged == 1
    bench.take(state.PinChecked(link, held=False))
    assert bench.stored.lockout.charged == 1
    assert bench.logged()[-2:] == ["attempt", "passcode_wrong"]
    bench.restart()
    assert bench.stored.lockout.charged == 1


def test_a_right_one_leaves_everything_as_it_was() -> None:
    bench = Bench()
    assert tried(bench, held=False)
    before = bench.durable.lockout
    assert tried(bench, held=True)
    assert bench.durable.lockout == before
    assert bench.stored.lockout == before
    assert bench.logged()[-1] == "passcode_entered"


def test_too_many_wrong_ones_pause_it_for_right_ones_too() -> None:
    bench = Bench()
    assert [tried(bench, held=False) for _ in range(FREE_TRIES + 1)] == [True] * FREE_TRIES + [
        False
    ]
    assert bench.logged().count("paused") == 1
    assert not tried(bench, held=True)
    assert bench.guard.counted == {"refused_paused": 2}
    bench.wait(FIRST_WAIT_S)
    assert tried(bench, held=True)
    assert bench.durable.lockout.charged == FREE_TRIES


def test_the_budget_of_the_passcode_holds_here_too() -> None:
    exhausted = replace(PROTECTED.lockout, charged=TRIES_PER_GENERATION)
    bench = Bench(replace(PROTECTED, lockout=exhausted))
    assert not tried(bench, held=True)
    assert bench.guard.counted == {"refused_exhausted": 1}


@pytest.mark.parametrize("durable", [OPEN, SEALED])
def test_there_is_nothing_to_compare_with(durable: Durable) -> None:
    assert not tried(Bench(durable), held=True)


def test_a_link_that_is_gone_leaves_its_charge() -> None:
    bench = Bench()
    bench.take(state.PinOffered(77))
    assert bench.durable.lockout.charged == 0
    link = offered(bench)
    assert link is not None
    bench.take(state.LinkClosed(link))
    bench.take(state.PinChecked(link, held=True))
    assert bench.durable.lockout.charged == 1


def test_a_charge_that_came_between_stays() -> None:
    bench = Bench()
    first, second = offered(bench), offered(bench)
    assert first is not None
    assert second is not None
    bench.take(state.PinChecked(first, held=True))
    assert bench.durable.lockout.charged == 2
    bench.take(state.PinChecked(second, held=True))
    assert bench.durable.lockout.charged == 1


def test_a_charge_that_could_not_be_stored_is_none() -> None:
    bench = Bench()
    bench.failing = True
    assert offered(bench) is None


def test_a_credential_tells_its_passcode() -> None:
    right, wrong = Passcode("048291"), Passcode("482910")
    verifier = verifier_of(passcode_witness(right, IDENTITY, SALT, 1))
    credential = PasscodeCredential(verifier, SALT, 1)
    assert credential.is_of(right, IDENTITY)
    assert not credential.is_of(wrong, IDENTITY)
    assert not credential.is_of(right, b"j" * 32)
