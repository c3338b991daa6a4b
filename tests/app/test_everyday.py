"""Everyday orders and looks: by what a charger tells of itself, else by its radio module."""

import pytest

from chargepin.app.errors import ChargerRefused
from chargepin.app.everyday import is_locked, pause_value
from chargepin.core.catalogue import FAMILIES
from chargepin.core.gatt import Layout


class Telling:
    """A charger that answers what a test wrote down, and knows no other method."""

    def __init__(self, **answers: object) -> None:
        self._answers = answers

    async def __call__(self, method: str) -> object:
        if method not in self._answers:
            raise ChargerRefused("No dispatch method found", refusal=1)
        return self._answers[method]


@pytest.mark.parametrize("layout", [*Layout, None])
async def test_a_family_that_is_known_is_paused_as_it_wants(layout: Layout | None) -> None:
    for family in FAMILIES.values():
        for code in family.project_codes:
            assert await pause_value(Telling(fw_v_={"p": code}), layout) == family.pause_value


@pytest.mark.parametrize(
    "told",
    [{}, {"fw_v_": None}, {"fw_v_": {"p": "prj99-pulsar-max-next"}}, {"fw_v_": {"s": "7.0.0"}}],
)
async def test_others_as_most_with_their_module(told: dict[str, object]) -> None:
    values = [await pause_value(Telling(**told), layout) for layout in (*Layout, None)]
    assert values == [2 if layout is Layout.UBLOX else 0 for layout in (*Layout, None)]


async def test_whether_it_is_locked_may_not_be_told() -> None:
    assert await is_locked(Telling(r_lck=1), {"st": 0}) is True
    assert await is_locked(Telling(r_lck=0), {"st": 6}) is False
    assert await is_locked(Telling(), {"st": 6}) is True
    assert await is_locked(Telling(), {"st": 0}) is None
