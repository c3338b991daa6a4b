"""The pairing window: one code, one attempt, two minutes, ten attempts."""

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargepin.core import pairing_window
from chargepin.core.pairing_window import ATTEMPTS_MAX, POSSIBLE_CODES, WINDOW_S, Why, Window, due

OPENER = 7


def numbered() -> Callable[[int], int]:
    """A drawing that never gives the same code twice, so that a code tells which draw it was."""
    numbers = itertools.count()
    return lambda below: next(numbers) % below


def always(code: int) -> Callable[[int], int]:
    return lambda _below: code


def used(window: Window, now_s: float, draw: Callable[[int], int]) -> tuple[int, Window]:
    got = pairing_window.use(window, now_s, draw)
    assert got is not None
    return got


def test_a_code_is_any_six_digits_with_leading_zeros() -> None:
    asked: list[int] = []

    def draw(below: int) -> int:
        asked.append(below)
        return 12345

    window = pairing_window.opened(OPENER, 100.0, draw)
    assert asked == [POSSIBLE_CODES] == [1_000_000]
    assert window.code_text == "012345"
    assert pairing_window.opened(OPENER, 0.0, always(0)).code_text == "000000"
    assert pairing_window.opened(OPENER, 0.0, always(999_999)).code_text == "999999"


def test_no_code_stands_in_a_representation() -> None:
    assert "271828" not in repr(pairing_window.opened(OPENER, 0.0, always(271828)))


def test_a_window_lasts_two_minutes() -> None:
    window = pairing_window.opened(OPENER, 100.0, always(1), "Anna's phone")
    assert (window.opener, window.name, window.attempts_left) == (OPENER, "Anna's phone", 10)
    assert window.seconds_left(100.0) == WINDOW_S == 120
    assert window.seconds_left(219.5) == 1
    assert window.takes(219.9)
    assert due(window, 219.9) is None
    assert not window.takes(220.0)
    assert due(window, 220.0) is Why.TIME
    assert window.seconds_left(300.0) == 0
    assert pairing_window.use(window, 220.0, always(2)) is None


def test_each_attempt_has_a_code_of_its_own() -> None:
    draw = numbered()
    window = pairing_window.opened(OPENER, 0.0, draw)
    first, window = used(window, 1.0, draw)
    assert window.trying
    window = pairing_window.failed(window)
    assert not window.trying
    second, window = used(window, 2.0, draw)
    assert [first, second, window.code] == [0, 1, 2]
    assert window.attempts_left == 8


def test_the_window_closes_when_the_last_attempt_has_failed_and_not_while_it_is_tried() -> None:
    draw = numbered()
    window = pairing_window.opened(OPENER, 0.0, draw)
    for _ in range(ATTEMPTS_MAX):
        assert due(window, 1.0) is None
        _, window = used(pairing_window.failed(window), 1.0, draw)
    assert not window.takes(1.0)
    assert pairing_window.use(window, 1.0, draw) is None
    assert due(window, 1.0) is None
    assert due(pairing_window.failed(window), 1.0) is Why.ATTEMPTS


def test_once_the_opener_has_left_the_code_that_it_was_shown_is_good_for_one_attempt() -> None:
    draw = numbered()
    window = pairing_window.opened(OPENER, 0.0, draw, bond="ab" * 8)
    _, window = used(window, 1.0, draw)
    window = pairing_window.left(pairing_window.failed(window), shown=True)
    assert (window.opener, window.bond, window.code) == (None, "ab" * 8, 1)
    assert (window.attempts_left, due(window, 1.0)) == (1, None)
    assert due(window, WINDOW_S) is Why.TIME
    code, window = used(window, 119.0, draw)
    assert code == 1
    assert due(window, 119.0) is None  # while it is tried
    assert pairing_window.use(window, 119.0, draw) is None
    assert due(pairing_window.failed(window), 119.0) is Why.ATTEMPTS


def test_an_attempt_under_way_when_the_opener_leaves_is_the_last() -> None:
    draw = numbered()
    _, window = used(pairing_window.opened(OPENER, 0.0, draw), 1.0, draw)
    window = pairing_window.left(window, shown=True)
    assert not window.takes(1.0)
    assert due(window, 1.0) is None
    assert due(pairing_window.failed(window), 1.0) is Why.ATTEMPTS


def test_a_code_that_never_got_through_lets_nobody_in() -> None:
    window = pairing_window.left(pairing_window.opened(OPENER, 0.0, always(1)), shown=False)
    assert not window.takes(1.0)
    assert (window.attempts_left, window.name) == (0, "")
    assert due(window, 1.0) is Why.ATTEMPTS


def test_leaving_gives_no_attempt_beyond_the_last() -> None:
    draw = numbered()
    window = pairing_window.opened(OPENER, 0.0, draw)
    for _ in range(ATTEMPTS_MAX):
        _, window = used(pairing_window.failed(window), 1.0, draw)
    assert pairing_window.left(pairing_window.failed(window), shown=True).attempts_left == 0


EVENTS = st.sampled_from(["use", "fail", "leave", "leave unheard"])


@given(st.lists(st.one_of(EVENTS, st.floats(0.0, 40.0)), max_size=60))
def test_no_code_is_ever_tested_twice(story: list[str | float]) -> None:
    draw = numbered()
    window, now_s = pairing_window.opened(OPENER, 0.0, draw), 0.0
    tested: list[int] = []
    alone: list[int] = []
    for event in story:
        if isinstance(event, float):
            now_s += event
        elif event == "fail":
            window = pairing_window.failed(window)
        elif event != "use":
            window = pairing_window.left(window, shown=event == "leave")
        elif (got := pairing_window.use(window, now_s, draw)) is not None:
            code, window = got
            assert now_s < WINDOW_S
            assert code not in tested
            tested.append(code)
            if window.opener is None:
                alone.append(code)
        assert window.code not in tested  # what is shown has never been tried
    assert len(tested) <= ATTEMPTS_MAX
    assert len(alone) <= 1


@pytest.mark.parametrize("why", Why)
def test_why_is_a_word_of_the_wire(why: Why) -> None:
    assert why.value.replace("_", "").isalpha()
    assert why.value == why.value.lower()
