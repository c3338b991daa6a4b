"""docs/security.md: every test that it names is there, and every figure is the programs' own."""

import ast
import re
from pathlib import Path

import pytest

from chargepin.core import lockout, pairing_window
from chargepin.core.passcode import POSSIBLE_CODES

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "security.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)(?:::(\w+))?`", TEXT)))
PER_100_000 = 100_000


def functions_in(file: Path) -> set[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {n.name for n in ast.parse(file.read_text()).body if isinstance(n, functions)}


@pytest.mark.parametrize(("file", "name"), [each for each in NAMED if each[0].count("/test_")])
def test_every_test_that_is_named_exists(file: str, name: str) -> None:
    assert not name or name in functions_in(TESTS / file)


def test_every_requirement_is_answered() -> None:
    rows = re.findall(r"^\| (R\d\d) \| .+? \| (.+) \|$", TEXT, re.MULTILINE)
    assert [number for number, _ in rows] == [f"R{number:02}" for number in range(1, 23)]
    for number, covered in rows:
        assert "::test_" in covered or number == "R22"


def test_the_figures_are_the_programs_own() -> None:
    assert f"= **{POSSIBLE_CODES:,}**" in TEXT
    life = lockout.TRIES_PER_GENERATION / POSSIBLE_CODES * PER_100_000
    assert (
        f"{lockout.TRIES_PER_GENERATION} / {POSSIBLE_CODES:,} = **{life:.1f} in 100,000**" in TEXT
    )
    day = lockout.TRIES_PER_DAY / POSSIBLE_CODES * PER_100_000
    assert f"{lockout.TRIES_PER_DAY} / {POSSIBLE_CODES:,} = {day:.1f} in 100,000 a day" in TEXT
    more = f"at most {lockout.WINDOWS_PER_DAY} x {lockout.WINDOW_TRIES} more"
    assert more in TEXT
    assert lockout.TRIES_PER_GENERATION / lockout.TRIES_PER_DAY == 8  # days
    assert f"{pairing_window.ATTEMPTS_MAX} / 1,000,000 per window" in TEXT
    waits = [lockout.wait_s(failures) for failures in range(3, 10)]
    assert waits == [lockout.FIRST_WAIT_S * 2.0 ** (k - 3) for k in range(3, 10)]
