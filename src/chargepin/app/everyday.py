"""What differs between chargers in everyday orders and looks, by software, module and family."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from chargepin.app.errors import ChargerRefused, NotAnswered
from chargepin.app.status import LOCKED, number_of
from chargepin.core.catalogue import family_of_project
from chargepin.core.gatt import Layout

Call: TypeAlias = Callable[[str], Awaitable[object]]


async def is_locked(call: Call, data: dict[str, object]) -> bool | None:
    """By `r_lck`; some chargers do not know it, and show only that they are locked.

    data: what `r_dat` answered.
    """
    try:
        return await call("r_lck") == 1
    except (ChargerRefused, NotAnswered):
        return True if number_of(data, "st") == LOCKED else None


async def pause_value(call: Call, layout: Layout | None) -> int:
    """What `w_cha` wants for a pause: by the family, where the charger tells it, else a guess."""
    try:
        told = await call("fw_v_")
    except (ChargerRefused, NotAnswered):
        told = None
    project = told.get("p") if isinstance(told, dict) else None
    family = family_of_project(str(project))
    if family is not None:
        return family.pause_value
    return 2 if layout is Layout.UBLOX else 0
