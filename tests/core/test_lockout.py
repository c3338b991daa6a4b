from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargepin.core.lockout import (
    DAY_S,
    LONGEST_WAIT_S,
    TRIES_PER_GENERATION,
    WARN_AT,
    Lockout,
    Refusal,
    Refused,
    Window,
    wait_s,
)


def charged(times: int, now_s: float = 0.0, lockout: Lockout | None = None) -> Lockout:
    lockout = lockout or Lockout()
    for _ in range(times):
        lockout = lockout.charge(now_s)
    return lockout


def failing(lockout: Lockout, tries: int, now_s: float) -> tuple[Lockout, float]:
    """Fail so many times, each as soon as it is taken."""
    for _ in range(tries):
        refusal = lockout.refusal(now_s)
        now_s += refusal.retry_after_s if refusal else 0.0
        assert lockout.refusal(now_s) is None
        lockout = lockout.charge(now_s)
    return lockout, now_s


# ---- waits ------------------------------------------------------------------------------------


def test_three_tries_are_free_then_30_s_doubling_to_an_hour() -> None:
    waits = [wait_s(step) for step in range(1, 13)]
    assert waits == [0, 0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600]


def test_a_wait_stays_an_hour_however_many_failures() -> None:
    assert wait_s(10_000) == LONGEST_WAIT_S


def test_the_third_failure_in_a_row_makes_the_next_wait() -> None:
    lockout = charged(2)
    assert lockout.refusal(0.0) is None
    lockout = lockout.charge(0.0)
    assert lockout.refusal(0.0) == Refusal(Refused.PAUSED, 30.0)
    assert lockout.refusal(29.0) == Refusal(Refused.PAUSED, 1.0)
    assert lockout.refusal(30.0) is None


def test_after_each_further_failure_the_wait_is_twice_as_long() -> None:
    lockout, now_s = failing(Lockout(), 4, 0.0)
    assert lockout.refusal(now_s) == Refusal(Refused.PAUSED, 60.0)
    lockout, now_s = failing(lockout, 1, now_s)
    assert lockout.refusal(now_s) == Refusal(Refused.PAUSED, 120.0)


def test_the_step_falls_by_one_for_each_24_hours_without_a_failure() -> None:
    lockout = charged(5)
    steps = [lockout.step_at(days * DAY_S) for days in range(7)]
    assert steps == [5, 4, 3, 2, 1, 0, 0]
    assert lockout.step_at(DAY_S - 1) == 5
    assert lockout.charge(2 * DAY_S).step == 4


def test_a_step_counts_its_24_hours_from_the_last_failure() -> None:
    lockout = charged(1, 23 * 3600.0, charged(4))
    assert lockout.step_at(DAY_S) == 5


def test_the_figures_are_the_designs() -> None:
    assert (DAY_S, WARN_AT, TRIES_PER_GENERATION) == (24 * 3600, 40, 80)


# ---- budgets ----------------------------------------------------------------------------------


def test_at_most_ten_tries_in_24_hours() -> None:
    lockout, now_s = failing(Lockout(), 10, 0.0)
    refusal = lockout.refusal(now_s + LONGEST_WAIT_S)
    assert refusal == Refusal(Refused.PAUSED, DAY_S - now_s - LONGEST_WAIT_S)
    assert lockout.refusal(DAY_S - 1) is not None
    assert lockout.refusal(DAY_S) is None


def test_a_generation_has_80_tries_then_it_is_exhausted() -> None:
    lockout, now_s = failing(Lockout(), TRIES_PER_GENERATION, 0.0)
    assert lockout.charged == TRIES_PER_GENERATION == 80
    assert lockout.refusal(now_s) == Refusal(Refused.EXHAUSTED, 0.0)
    assert lockout.refusal(now_s + 1000 * DAY_S) == Refusal(Refused.EXHAUSTED, 0.0)


def test_exhausted_is_not_left_by_a_restart_a_button_or_an_ended_pause() -> None:
    lockout = Lockout(charged=TRIES_PER_GENERATION)
    for after in (lockout.restarted(0.0), lockout.pressed(0.0), lockout.ended()):
        assert after.refusal(0.0) == Refusal(Refused.EXHAUSTED, 0.0)
    assert lockout.renewed().refusal(0.0) is None


def test_a_new_generation_starts_clean_but_button_windows_still_count() -> None:
    lockout = charged(3).pressed(0.0).charge(1.0)
    renewed = lockout.renewed()
    assert renewed == Lockout(windows=(0.0,))
    assert lockout.renewed(5) == Lockout(charged=5, windows=(0.0,))


# ---- success ----------------------------------------------------------------------------------


def test_a_success_gives_back_its_own_charge_and_nothing_else() -> None:
    lockout = charged(1, 2.0, charged(1, 1.0, charged(1)))
    after = lockout.give_back(1.0)
    assert (after.charged, after.recent) == (2, (0.0, 2.0))


def test_of_two_charges_at_the_same_time_one_comes_back() -> None:
    after = charged(2).give_back(0.0)
    assert (after.charged, after.recent) == (1, (0.0,))


def test_a_success_clears_the_step_and_the_wait() -> None:
    after = charged(4).give_back(0.0)
    assert (after.step, after.refusal(0.0)) == (0, None)
    assert after.tries_left(0.0) == 3


def test_a_success_forgives_nothing_of_the_day_or_the_generation() -> None:
    lockout, now_s = failing(Lockout(), 9, 0.0)
    after = lockout.charge(now_s).give_back(now_s)
    assert (after.charged, len(after.recent)) == (9, 9)
    assert after.tries_left(now_s) == 1


def test_a_charge_older_than_a_day_comes_back_to_the_generation_alone() -> None:
    lockout = charged(1, DAY_S, charged(1))
    after = lockout.give_back(0.0)
    assert (after.charged, after.recent) == (1, (DAY_S,))


def test_an_owner_ends_the_wait_and_the_day_but_not_the_budget() -> None:
    lockout, now_s = failing(Lockout(), 10, 0.0)
    after = lockout.ended()
    assert after.refusal(now_s) is None
    assert after.tries_left(now_s) == 3
    assert after.charged == 10


# ---- restarts ---------------------------------------------------------------------------------


def test_a_restart_begins_the_running_wait_anew() -> None:
    lockout = charged(4)
    assert lockout.refusal(50.0) == Refusal(Refused.PAUSED, 10.0)
    assert lockout.restarted(50.0).refusal(50.0) == Refusal(Refused.PAUSED, 60.0)


def test_a_restart_makes_no_wait_where_none_was_running() -> None:
    assert charged(4).restarted(60.0).refusal(60.0) is None
    assert charged(2).restarted(0.0).refusal(0.0) is None


def test_a_restart_neither_forgets_nor_restarts_the_24_hours() -> None:
    lockout, now_s = failing(Lockout(), 10, 0.0)
    after = lockout.restarted(now_s)
    assert after.recent == lockout.recent
    assert after.refusal(DAY_S - 1) == Refusal(Refused.PAUSED, 1.0)
    assert after.refusal(DAY_S) is None


# ---- the button -------------------------------------------------------------------------------


def test_the_button_opens_a_window_of_two_minutes_and_five_tries() -> None:
    lockout = charged(3).pressed(10.0)
    assert lockout.window == Window(130.0, 5)
    assert lockout.refusal(10.0) is None
    assert lockout.tries_left(10.0) == 5
    assert lockout.refusal(129.9) is None
    assert Lockout(step=9, paused_until_s=999.0, window=Window(130.0, 5)).refusal(130.0) is not None


def test_the_five_tries_of_a_window_are_counted_like_any_other() -> None:
    lockout = charged(5, 10.0, charged(3).pressed(10.0))
    assert lockout.charged == 8
    assert lockout.recent == (0.0, 0.0, 0.0, 10.0, 10.0, 10.0, 10.0, 10.0)
    assert lockout.refusal(10.0) == Refusal(Refused.PAUSED, wait_s(8))


def test_a_window_lets_past_the_ten_of_a_day_but_never_past_the_80() -> None:
    lockout, now_s = failing(Lockout(), 10, 0.0)
    assert lockout.pressed(now_s).tries_left(now_s) == 5
    nearly = Lockout(charged=78, step=9, paused_until_s=99.0).pressed(0.0)
    assert nearly.tries_left(0.0) == 2
    assert charged(2, 0.0, nearly).refusal(0.0) == Refusal(Refused.EXHAUSTED, 0.0)


def test_at_most_three_windows_in_24_hours() -> None:
    lockout, now_s = failing(Lockout(), 10, 0.0)
    for number in range(3):
        lockout = lockout.pressed(now_s)
        assert lockout.tries_left(now_s) == 5, number
        lockout = charged(5, now_s, lockout)
    after = lockout.pressed(now_s)
    assert after.windows == lockout.windows
    assert after.refusal(now_s) is not None
    day_later = after.charge(now_s + DAY_S).pressed(now_s + DAY_S)
    assert day_later.tries_left(now_s + DAY_S) == 5


def test_a_press_without_a_pause_or_in_an_open_window_costs_no_window() -> None:
    assert Lockout().pressed(5.0) == Lockout()
    opened = charged(3).pressed(5.0)
    assert opened.pressed(6.0) == opened


def test_a_press_does_not_help_an_exhausted_generation_and_costs_no_window() -> None:
    lockout = Lockout(charged=TRIES_PER_GENERATION)
    assert lockout.pressed(5.0) == lockout


def test_a_window_closes_with_a_success_and_with_a_restart() -> None:
    lockout = charged(3).pressed(5.0).charge(6.0)
    assert lockout.give_back(6.0).window is None
    assert lockout.ended().window is None
    assert lockout.restarted(7.0).window is None
    assert lockout.restarted(7.0).windows == (5.0,)


# ---- what is told and kept --------------------------------------------------------------------


def test_tries_left_counts_down_to_the_wait() -> None:
    left = [charged(tries).tries_left(0.0) for tries in range(4)]
    assert left == [3, 2, 1, 0]
    assert charged(3).tries_left(30.0) == 1


@pytest.mark.parametrize(
    ("lockout", "left"),
    [
        (Lockout(charged=79), 1),
        (Lockout(charged=80), 0),
        (Lockout(charged=9, recent=(0.0,) * 9), 1),
        (Lockout(charged=9, recent=(0.0,) * 10), 0),
    ],
)
def test_tries_left_never_exceeds_the_budgets(lockout: Lockout, left: int) -> None:
    assert lockout.tries_left(0.0) == left


@given(
    st.builds(
        Lockout,
        charged=st.integers(0, 80),
        step=st.integers(0, 12),
        recent=st.lists(st.floats(0, 1000.0), max_size=12).map(lambda times: tuple(sorted(times))),
        paused_until_s=st.floats(0, 5000.0),
        window=st.none() | st.builds(Window, st.floats(0, 2000.0), st.integers(0, 5)),
    )
)
def test_tries_left_is_how_many_are_taken_before_the_next_refusal(lockout: Lockout) -> None:
    now_s, left = 1000.0, lockout.tries_left(1000.0)
    for _ in range(left):
        assert lockout.refusal(now_s) is None
        lockout = lockout.charge(now_s)
    refusal = lockout.refusal(now_s)
    # one exception: the last try of a window may leave no wait behind, where few failures were
    assert refusal is not None or wait_s(lockout.step) == 0.0


@pytest.mark.parametrize(
    ("lockout", "timing"),
    [
        (Lockout(), False),
        (Lockout(charged=7), False),
        (Lockout(paused_until_s=11.0), True),
        (Lockout(paused_until_s=10.0), False),
        (Lockout(step=1, stepped_s=10.0), True),
        (Lockout(recent=(10.0,)), True),
        (Lockout(windows=(10.0,)), True),
        (Lockout(windows=(10.0 - DAY_S,)), False),
    ],
)
def test_running_time_matters_while_something_runs_out(
    lockout: Lockout,
    timing: bool,  # noqa: FBT001 - a column of the table
) -> None:
    assert lockout.timing(10.0) is timing


# ---- to the last field ------------------------------------------------------------------------


def test_a_new_lockout_holds_nothing_against_anybody() -> None:
    assert Lockout() == Lockout(0, 0, 0.0, (), 0.0, (), None)


def test_after_a_success_a_pause_has_ended_and_what_else_was_charged_stays() -> None:
    lockout = charged(4, 5.0)
    assert lockout.give_back(5.0) == Lockout(charged=3, stepped_s=5.0, recent=(5.0, 5.0, 5.0))


def test_a_charge_that_is_not_there_is_not_given_back_twice() -> None:
    assert Lockout().give_back(5.0) == Lockout()


def test_an_ended_pause_leaves_what_was_charged() -> None:
    assert charged(4, 5.0).ended() == Lockout(charged=4, stepped_s=5.0)


def test_a_restart_without_a_pause_changes_nothing() -> None:
    assert Lockout().restarted(7.0) == Lockout()
    assert charged(1, 5.0).restarted(7.0) == replace(charged(1, 5.0), paused_until_s=0.0)


def test_time_before_the_last_failure_makes_no_step_fall() -> None:
    assert charged(3, 100.0).step_at(50.0) == 3
    assert charged(3, 100.0).step_at(99.5) == 3
