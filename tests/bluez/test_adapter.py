"""The app's adapter on real BlueZ: the checks that every adapter passes, and BlueZ's own."""

import json

import pytest

from app.link_conformance import CHECKS
from bluez.conftest import World
from bluez.guest import pairing_checks

pytestmark = pytest.mark.bluez
WITHIN_S = 400.0
Outcomes = dict[str, str | None]


def outcomes(world: World, which: str) -> Outcomes:
    """What each check that ran in the guest ended with, None for well."""
    done = world.guest.python("bluez.guest.checks", which, within_s=WITHIN_S)
    told = [json.loads(line) for line in done.out.splitlines()]
    return {"the program itself": done.err or None} | {
        each["check"]: each["error"] for each in told
    }


@pytest.fixture(scope="module")
def every(world: World) -> Outcomes:
    return outcomes(world, "every")


@pytest.fixture(scope="module")
def own(world: World) -> Outcomes:
    told = outcomes(world, "own")
    world.guest.bluetooth_on()  # the last of them has killed bluetoothd
    return told


@pytest.mark.parametrize("check", ["the program itself", *CHECKS])
def test_as_every_adapter(every: Outcomes, check: str) -> None:
    assert every.get(check, "it did not run") is None, every.get(check)


@pytest.mark.parametrize("check", ["the program itself", *pairing_checks.CHECKS])
def test_on_bluez_alone(own: Outcomes, check: str) -> None:
    assert own.get(check, "it did not run") is None, own.get(check)
