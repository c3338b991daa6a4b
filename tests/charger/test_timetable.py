"""Windows of the week, against a walk through all of its minutes."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chargepin.charger.ports import Window
from chargepin.charger.timetable import next_change, opening
from charger.desk import UNIX_S

MIDNIGHT = UNIX_S - 8 * 3600  # of a Friday
FRIDAY, SATURDAY = 1 << 4, 1 << 5
NIGHT = Window(22 * 60, 6 * 60, FRIDAY, 16)

minutes = st.integers(0, 24 * 60 - 1)
windows = st.lists(
    st.builds(Window, minutes, minutes, st.integers(0, 127), st.just(16)), max_size=3
)


def test_a_night_ends_on_the_next_day() -> None:
    begin = MIDNIGHT + 22 * 3600
    assert opening([NIGHT], begin - 1) is None
    assert next_change([NIGHT], begin - 1) == begin
    opened = opening([NIGHT], begin + 7 * 3600)
    assert opened is not None
    assert (opened.window, opened.begin_unix_s) == (NIGHT, begin)
    assert next_change([NIGHT], begin) == begin + 8 * 3600
    assert opening([NIGHT], begin + 8 * 3600) is None
    assert next_change([NIGHT], begin + 8 * 3600) == begin + 7 * 86_400


def test_the_first_of_several_counts() -> None:
    all_day = Window(0, 0, FRIDAY, 32)
    both = opening([NIGHT, all_day], MIDNIGHT + 23 * 3600)
    assert both is not None
    assert both.window is NIGHT
    before = opening([NIGHT, all_day], MIDNIGHT)
    assert before is not None
    assert before.window is all_day
    assert opening([NIGHT, all_day], MIDNIGHT + 86_400 + 3600) is not None


def test_without_windows_nothing_changes() -> None:
    assert opening([], MIDNIGHT) is None
    assert next_change([], MIDNIGHT) is None
    assert next_change([Window(0, 60, 0, 16)], MIDNIGHT) is None


@settings(max_examples=40)
@given(windows, st.integers(0, 7 * 24 * 60 - 1), st.floats(0, 59.9))
def test_nothing_changes_before_the_next_change(
    chosen: list[Window], minute: int, second: float
) -> None:
    now = MIDNIGHT + minute * 60 + second
    change = next_change(chosen, now)
    if change is None:
        assert opening(chosen, now) is None
        return
    assert now < change <= now + 7 * 86_400
    assert change % 60 == 0
    begun = opening(chosen, now)
    for at in range(MIDNIGHT + minute * 60 + 60, change, 60):
        assert opening(chosen, at) == begun


@given(windows, st.integers(0, 7 * 24 * 60 - 1))
def test_an_opening_is_as_long_as_its_window(chosen: list[Window], minute: int) -> None:
    now = MIDNIGHT + minute * 60
    opened = opening(chosen, now)
    if opened is None:
        return
    begin = (opened.begin_unix_s - MIDNIGHT) // 60 + 4 * 24 * 60
    assert begin % (24 * 60) == opened.window.start_min
    assert opened.window.days >> (begin // (24 * 60) % 7) & 1
    length = (opened.window.stop_min - opened.window.start_min) % (24 * 60) or 24 * 60
    assert 0 <= (now - opened.begin_unix_s) // 60 < length
