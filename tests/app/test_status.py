"""What a charger is doing, read off its own words."""

import pytest

from chargepin.app.status import Status, power_kw, state_of
from chargepin.cli.shown import told
from chargepin.core.gatt import Layout


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


@pytest.mark.parametrize(
    ("number", "others", "zentri"),
    [
        (1, "charging", "charging"),
        (3, "connected, waiting for its schedule", "connected, waiting"),
        (4, "paused", "charging, ramping up"),
        (19, "connected, no current", "connected, no current"),
        (20, "state 20", "state 20"),
    ],
)
def test_a_number_means_what_the_charger_means(number: int, others: str, zentri: str) -> None:
    assert state_of(number, Layout.BGX) == state_of(number, None) == others
    assert state_of(number, Layout.ZENTRI) == zentri


@pytest.mark.parametrize(
    ("passcode", "locked", "shown"),
    [
        ("protected", True, ", locked; software 6.7.17, protected, you are user"),
        ("open", False, ", unlocked; software 6.7.17, open, you are user"),
        ("unsupported", None, "kWh; software 6.7.17, too old for a passcode"),
        ("unknown", None, "kWh; software 6.7.17, for its passcode see the maker's app"),
    ],
)
def test_a_status_in_a_line(passcode: str, locked: bool | None, shown: str) -> None:  # noqa: FBT001
    status = Status("WB1", "6.7.17", "ready", 0.0, 16, 1.25, locked, passcode, "user")
    line = told(status)
    assert line.startswith("WB1: ready, 0.0 kW, limit 16 A, 1.25 kWh")
    assert line.endswith(shown)
