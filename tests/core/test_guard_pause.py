from chargepin.core import commands
from chargepin.core.guard_state import (
    Grant,
    Refuse,
    Respond,
)
from chargepin.core.identity import Credential, RefusalCode
from chargepin.core.lockout import DAY_S, WARN_AT
from core.guard_bench import (
    ADMIN,
    OWNER,
    PROTECTED,
    USER,
    Bench,
    denied,
    done,
    rotation,
    verifier,
    with_charged,
)


def exhausted(bench: Bench) -> Bench:
    while True:
        effect = bench.guess()
        assert isinstance(effect, Refuse)
        if effect.code is RefusalCode.EXHAUSTED:
            return bench
        bench.wait(effect.retry_after_s)


# ---- charges -------------------------------------------------------------------------------


def test_the_charge_is_stored_before_the_charger_answers() -> None:
    bench = Bench()
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    assert bench.share(link) == (Respond(link, verifier(1)),)
    assert bench.stored.lockout.charged == 1
    bench.proof(link, {verifier(1)})
    assert bench.stored.lockout.charged == 0


def test_an_attempt_broken_off_stays_charged() -> None:
    bench = Bench()
    for ending in (bench.close, lambda link: bench.hello(link, Credential.PASSCODE)):
        link = bench.open()
        bench.hello(link, Credential.PASSCODE)
        bench.share(link)
        ending(link)
    assert bench.stored.lockout.charged == 2


def test_what_a_link_did_before_is_not_given_back_by_another_way_in() -> None:
    bench = Bench()
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.share(link)
    bench.hello(link, Credential.BOND, USER)
    bench.share(link)
    assert isinstance(bench.proof(link, {USER.verifier})[0], Grant)
    assert bench.stored.lockout.charged == 1


def test_a_charge_is_given_back_once() -> None:
    bench = Bench()
    link = bench.by_passcode()
    assert bench.guard.links[link].charged_s is None


# ---- pause and exhaustion ---------------------------------------------------------------------


def test_three_free_tries_then_30_s_doubling_and_a_pause_spares_the_bonds() -> None:
    bench = Bench()
    waits = []
    for _ in range(9):
        effect = bench.guess()
        assert isinstance(effect, Refuse)
        if effect.code is RefusalCode.PAUSED:
            waits.append(effect.retry_after_s)
            bench.by_bond(USER)
            bench.wait(effect.retry_after_s)
    assert waits == [30, 60, 120]


def test_parallel_links_share_the_budget() -> None:
    bench = Bench()
    links = [bench.open() for _ in range(5)]
    for link in links:
        bench.hello(link, Credential.PASSCODE)
    answers = [bench.share(link)[0] for link in links]
    assert [type(answer) for answer in answers] == [Respond] * 3 + [Refuse] * 2
    assert bench.stored.lockout.charged == 3


def test_cutting_the_power_buys_nothing() -> None:
    bench = Bench()
    for _ in range(3):
        bench.guess()
    bench.wait(29)
    bench.restart()
    assert bench.guess() == Refuse(4, RefusalCode.PAUSED, 30.0)
    assert bench.stored.lockout.charged == 3


def test_running_time_is_stored_every_ten_minutes_while_something_runs_out() -> None:
    bench = Bench()
    bench.wait(5 * 600)
    assert bench.stored.running_s == 0.0
    bench.guess()
    bench.wait(600)
    assert bench.stored.running_s == bench.now_s
    bench.wait(25 * 60)
    assert bench.stored.running_s == bench.now_s - 5 * 60
    bench.wait(3 * DAY_S)
    stored_s = bench.stored.running_s
    bench.wait(3600)
    assert bench.stored.running_s == stored_s
    assert bench.logged() == ["started", "attempt", "passcode_wrong", "strangers"]


def test_the_24_hours_go_on_after_a_restart() -> None:
    bench = Bench()
    while bench.stored.lockout.charged < 10:
        effect = bench.guess()
        assert isinstance(effect, Refuse)
        bench.wait(effect.retry_after_s)
    bench.wait(DAY_S / 2 - bench.now_s)
    assert bench.guess() == Refuse(18, RefusalCode.PAUSED, DAY_S / 2)
    bench.restart()
    effect = bench.guess()
    assert isinstance(effect, Refuse)
    assert effect.retry_after_s - DAY_S / 2 == bench.real_s - bench.now_s <= 600


def test_a_success_gives_back_its_own_charge_only() -> None:
    bench = Bench()
    bench.guess()
    link = bench.open()
    bench.hello(link, Credential.PASSCODE)
    bench.share(link)
    bench.guess()
    bench.proof(link, {verifier(1)})
    assert bench.stored.lockout.charged == 2


def test_the_log_warns_once_at_forty() -> None:
    bench = Bench(with_charged(PROTECTED, WARN_AT - 2))
    bench.guess()
    assert "attempts_warning" not in bench.logged()
    bench.guess()
    bench.guess()
    assert bench.logged().count("attempts_warning") == 1


def test_after_80_tries_only_a_new_generation_helps_and_bonds_still_get_in() -> None:
    bench = exhausted(Bench())
    assert bench.stored.lockout.charged == 80
    bench.wait(30 * DAY_S)
    bench.restart()
    bench.press()
    assert bench.attempt(1) == Refuse(bench.open() - 1, RefusalCode.EXHAUSTED)
    link = bench.by_bond(ADMIN)
    assert bench.command(link, commands.EndPause()) == done(link)
    assert isinstance(bench.attempt(1), Refuse)
    bench.command(bench.by_bond(OWNER), rotation(bench.durable, 2))
    assert isinstance(bench.attempt(2), Grant)


def test_an_admin_ends_a_pause_but_a_user_may_not() -> None:
    bench = Bench()
    for _ in range(3):
        bench.guess()
    link = bench.by_bond(USER)
    assert bench.command(link, commands.EndPause()) == denied(link, commands.ROLE_TOO_LOW)
    link = bench.by_bond(ADMIN)
    assert bench.command(link, commands.EndPause()) == done(link)
    assert bench.logged()[-1] == "pause_ended"
    assert isinstance(bench.attempt(1), Grant)


def test_the_button_gives_five_tries_in_two_minutes_all_counted() -> None:
    bench = Bench()
    for _ in range(3):
        bench.guess()
    bench.press()
    codes = [bench.guess() for _ in range(6)]
    assert all(isinstance(effect, Refuse) for effect in codes)
    assert [effect.code for effect in codes if isinstance(effect, Refuse)] == [
        *[RefusalCode.WRONG] * 5,
        RefusalCode.PAUSED,
    ]
    assert bench.stored.lockout.charged == 8
