import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargepin.core.passcode import (
    POSSIBLE_CODES,
    Passcode,
    PasscodeFormat,
    PasscodeFormatError,
    _code_at,
    draw,
    entered,
)

SIX_DIGITS = st.text("0123456789", min_size=6, max_size=6)
SEPARATORS = " \t\n\r-\u00a0\u2009\u2010\u2011\u2012\u2013\u2014\u202f"


def may_be_drawn(code: str) -> bool:
    return code[0] != "0" and len(set(code)) > 1 and code not in {"123456", "654321"}


def answering(answer: int) -> Callable[[int], int]:
    return lambda _: answer


def test_every_allowed_code_is_drawn_by_exactly_one_number() -> None:
    drawn = [str(_code_at(index)) for index in range(POSSIBLE_CODES)]
    allowed = [
        code for code in (f"{number:06}" for number in range(1_000_000)) if may_be_drawn(code)
    ]
    assert POSSIBLE_CODES == 899_989
    assert drawn == allowed


def test_drawing_asks_once_for_a_number_below_all_possible_codes() -> None:
    asked: list[int] = []

    def randbelow(below: int) -> int:
        asked.append(below)
        return 382_915

    assert draw(randbelow).digits == "482920"
    assert asked == [POSSIBLE_CODES]


@pytest.mark.parametrize("answer", [-1, POSSIBLE_CODES])
def test_a_broken_source_of_randomness_is_noticed(answer: int) -> None:
    with pytest.raises(ValueError, match="randomness"):
        draw(answering(answer))


@given(st.integers(0, POSSIBLE_CODES - 1))
def test_what_is_drawn_can_be_entered(index: int) -> None:
    drawn = draw(answering(index))
    assert entered(drawn.digits) == drawn


@pytest.mark.parametrize(
    "text",
    ["482913", "482 913", " 482-913\n", "482\u2013913", "482\u00a0913", "4 8 2 9 1 3", "-482913-"],
)
def test_spaces_and_dashes_are_forgiven(text: str) -> None:
    assert entered(text) == Passcode("482913")


@pytest.mark.parametrize("digits", ["000000", "000001", "012345", "123456", "999999"])
def test_any_six_digits_may_be_entered_and_leading_zeros_stay(digits: str) -> None:
    assert entered(digits).digits == digits


@given(SIX_DIGITS, st.lists(st.sampled_from(SEPARATORS), min_size=7, max_size=7))
def test_separators_may_stand_anywhere(digits: str, between: list[str]) -> None:
    text = "".join(a + b for a, b in zip(between, [*digits, ""], strict=True))
    assert entered(text).digits == digits


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("", PasscodeFormat.EMPTY),
        (" \u2013 ", PasscodeFormat.EMPTY),
        ("12345678", PasscodeFormat.PUK),
        ("1234 5678", PasscodeFormat.PUK),
        ("1234", PasscodeFormat.USER_CODE),
        ("48291", PasscodeFormat.LENGTH),
        ("4829131", PasscodeFormat.LENGTH),
        ("482913482913", PasscodeFormat.LENGTH),
        ("48291a", PasscodeFormat.CHARACTERS),
        ("482a", PasscodeFormat.CHARACTERS),
        ("1234567a", PasscodeFormat.CHARACTERS),
        ("482.913", PasscodeFormat.CHARACTERS),
        ("+482913", PasscodeFormat.CHARACTERS),
        ("482_913", PasscodeFormat.CHARACTERS),
        ("48291\u00b2", PasscodeFormat.CHARACTERS),
        ("\u0664\u0668\u0662\u0669\u0661\u0663", PasscodeFormat.CHARACTERS),
        ("\uff14\uff18\uff12\uff19\uff11\uff13", PasscodeFormat.CHARACTERS),
        ("482913\x00", PasscodeFormat.CHARACTERS),
        ("\ud800", PasscodeFormat.CHARACTERS),
    ],
)
def test_what_cannot_be_a_passcode_is_told_apart(text: str, kind: PasscodeFormat) -> None:
    with pytest.raises(PasscodeFormatError) as caught:
        entered(text)
    assert caught.value.kind is kind


@given(st.text(max_size=12))
def test_entering_anything_gives_a_passcode_or_a_format_error(text: str) -> None:
    try:
        digits = entered(text).digits
    except PasscodeFormatError:
        return
    assert len(digits) == 6


@given(st.text("0123456789", min_size=3, max_size=12).filter(lambda text: len(text) != 6))
def test_a_message_never_holds_what_was_entered(text: str) -> None:
    with pytest.raises(PasscodeFormatError) as caught:
        entered(text)
    assert text not in str(caught.value)
    assert text not in repr(caught.value)


@pytest.mark.parametrize("digits", ["", "48291", "4829131", "48 913", "48291\u0663", "-82913"])
def test_a_passcode_is_six_digits_however_it_is_made(digits: str) -> None:
    with pytest.raises(PasscodeFormatError) as caught:
        Passcode(digits)
    assert caught.value.kind in {PasscodeFormat.CHARACTERS, PasscodeFormat.LENGTH}


def test_a_passcode_is_never_shown_by_accident() -> None:
    passcode = Passcode("482913")
    for shown in (repr(passcode), str(passcode), f"{passcode}", f"{passcode!r}", f"{[passcode]}"):
        assert "482913" not in shown


def test_a_message_is_whole_sentences_that_say_what_was_tried() -> None:
    for kind in PasscodeFormat:
        message = str(PasscodeFormatError(kind))
        assert message[0].isupper()
        assert message.endswith(("has 6 digits.", "Nothing was tried."))


@pytest.mark.parametrize("other", [*sorted({*string.punctuation} - {"-"}), "x", "\u00b7"])
def test_nothing_else_is_forgiven(other: str) -> None:
    with pytest.raises(PasscodeFormatError) as caught:
        entered(f"482{other}913")
    assert caught.value.kind is PasscodeFormat.CHARACTERS


def test_codes_beside_those_that_are_never_drawn_are_drawn() -> None:
    never = sorted([*(111_111 * digit for digit in range(1, 10)), 123_456, 654_321])
    assert POSSIBLE_CODES == 900_000 - len(never) == 899_989
    for rank, code in enumerate(never):
        index = code - 100_000 - rank  # of the code that follows
        drawn = [_code_at(at) for at in (index - 1, index) if at < POSSIBLE_CODES]
        assert drawn == [code - 1, code + 1][: len(drawn)]
