"""The passcode: six digits, drawn by the system, typed by people.

Two rules that differ on purpose: what may be *drawn* (no code that people guess first) and what
may be *entered* (any six digits, so that a charger with another maker's passcode can be entered
too).
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Final

PASSCODE_DIGITS: Final = 6

_FIRST: Final = 100_000
_NEVER_DRAWN: Final = (
    111_111,
    123_456,
    222_222,
    333_333,
    444_444,
    555_555,
    654_321,
    666_666,
    777_777,
    888_888,
    999_999,
)
"""In rising order: `_code_at` counts on it."""

POSSIBLE_CODES: Final = 1_000_000 - _FIRST - len(_NEVER_DRAWN)
"""899,989: what an attacker has to guess among."""

# What people type or paste between digits. Escaped where a reader could not tell them apart.
_SEPARATORS: Final = frozenset(" \t\r\n-\u00a0\u2009\u2010\u2011\u2012\u2013\u2014\u202f")

_PUK_DIGITS: Final = 8
_USER_CODE_DIGITS: Final = 4


class PasscodeFormat(Enum):
    """Why a text cannot be a passcode."""

    EMPTY = "empty"
    CHARACTERS = "characters"
    LENGTH = "length"
    PUK = "puk"
    USER_CODE = "user_code"


_ADVICE: Final = {
    PasscodeFormat.EMPTY: "Nothing was entered. The passcode has 6 digits.",
    PasscodeFormat.CHARACTERS: "A passcode has only the digits 0 to 9. Nothing was tried.",
    PasscodeFormat.LENGTH: "A passcode has exactly 6 digits. Nothing was tried.",
    PasscodeFormat.PUK: (
        "That has 8 digits, like the PUK on the charger's label. "
        "The Bluetooth passcode has 6 and is shown in the app. Nothing was tried."
    ),
    PasscodeFormat.USER_CODE: (
        "That has 4 digits, like a user's code for the charger's screen. "
        "The Bluetooth passcode has 6 and is shown in the app. Nothing was tried."
    ),
}


class PasscodeFormatError(ValueError):
    """A text that cannot be a passcode. The message is for a person and never holds the text."""

    def __init__(self, kind: PasscodeFormat) -> None:
        super().__init__(_ADVICE[kind])
        self.kind = kind


@dataclass(frozen=True, slots=True, repr=False)
class Passcode:
    """Six ASCII digits, leading zeros kept. Never shown by accident: only `digits` has them.

    Raises PasscodeFormatError.
    """

    digits: str

    def __post_init__(self) -> None:
        if not _all_digits(self.digits):
            raise PasscodeFormatError(PasscodeFormat.CHARACTERS)
        if len(self.digits) != PASSCODE_DIGITS:
            raise PasscodeFormatError(PasscodeFormat.LENGTH)

    def __repr__(self) -> str:
        return "Passcode(hidden)"


def draw(randbelow: Callable[[int], int]) -> Passcode:
    """Draw one of POSSIBLE_CODES, each as likely as any other.

    randbelow(n) gives a uniform, unpredictable number in 0..n-1, as `secrets.randbelow` does; it
    is asked once. Raises ValueError if it answers outside that range.
    """
    index = randbelow(POSSIBLE_CODES)
    if not 0 <= index < POSSIBLE_CODES:
        raise ValueError("the source of randomness answered outside its range")
    return Passcode(str(_code_at(index)))


def _code_at(index: int) -> int:
    """Give the index-th code that may be drawn, counted from 0 in rising order."""
    code = _FIRST + index
    for skipped in _NEVER_DRAWN:
        code += code >= skipped
    return code


def entered(text: str) -> Passcode:
    """Read what a person typed or pasted: any six digits, with spaces and dashes forgiven.

    Raises PasscodeFormatError, whose kind tells apart the numbers that people mistake for it.
    """
    digits = "".join(character for character in text if character not in _SEPARATORS)
    if not digits:
        raise PasscodeFormatError(PasscodeFormat.EMPTY)
    if not _all_digits(digits):
        raise PasscodeFormatError(PasscodeFormat.CHARACTERS)
    if len(digits) == _PUK_DIGITS:
        raise PasscodeFormatError(PasscodeFormat.PUK)
    if len(digits) == _USER_CODE_DIGITS:
        raise PasscodeFormatError(PasscodeFormat.USER_CODE)
    return Passcode(digits)


def _all_digits(text: str) -> bool:
    # str.isdigit alone accepts superscripts and the digits of every script.
    return text.isascii() and text.isdigit()
