"""For tests that need a tool: skipped with what to install, but failing where all is required."""

import os
from typing import NoReturn

import pytest

VARIABLE = "CHARGEPIN_REQUIRE"


def not_here(reason: str) -> NoReturn:
    """Skip the test that is running; fail it where CHARGEPIN_REQUIRE is "all"."""
    if os.environ.get(VARIABLE) == "all":
        pytest.fail(f"{reason} ({VARIABLE}=all)", pytrace=False)
    pytest.skip(reason)
