"""What a charger is doing, read off its own words."""

import pytest

from chargepin.app.status import power_kw


@pytest.mark.parametrize(
    ("status", "power"),
    [
        ({"st": 1, "cp": 7.36, "L1": 320}, 7.36),
        ({"st": 1, "L1": 103, "L2": 0, "L3": 0, "cur": 11}, 2.369),  # the original Pulsar
        ({"st": 1, "L1": 160, "L2": 160, "L3": 160}, 11.04),
        ({"st": 4, "L1": 103}, 0.0),
        ({"st": 1, "cp": "much"}, 0.0),
        ({"st": 1, "L1": None}, 0.0),
        ({}, 0.0),
    ],
)
def test_power_is_told_or_follows_from_the_currents(
    status: dict[str, object], power: float
) -> None:
    assert power_kw(status) == power
