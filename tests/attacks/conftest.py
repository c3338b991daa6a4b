from collections.abc import Callable

import pytest

from attacks.report import Row, Tell, handed_in


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Hand in the line of an attacker."""

    def told(row: Row) -> None:
        record_property(*handed_in(row))

    return told
