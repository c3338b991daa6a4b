"""The library's heart: find a charger and get in."""

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing

from chargepin.app import assigning, log
from chargepin.app.charger import Charger
from chargepin.app.entering import Surroundings, WayIn
from chargepin.app.errors import (
    Cancelled,
    ChargerRefused,
    LinkLost,
    NotAnswered,
    NotFound,
    PasscodeNeeded,
    PasscodeWrong,
)
from chargepin.app.ports import Found, Radio
from chargepin.app.stock import StockSession
from chargepin.core import bapi
from chargepin.core.catalogue import name_of, serial_of

__all__ = ["SEEK_FOR_S", "Charger", "enter", "find", "heard"]

SEEK_FOR_S = 10.0
_PLAIN = re.compile(r"[\w.+-]{1,32}", re.ASCII)


async def find(surroundings: Surroundings, charger: str, within_s: float = SEEK_FOR_S) -> Found:
    """Look for a charger by name or serial. Raises NotFound after within_s seconds."""
    name = name_of(serial_of(charger))
    try:
        async with asyncio.timeout(within_s), aclosing(surroundings.radio.scan()) as seen:
            async for found in seen:
                if found.name == name:
                    return found
    except TimeoutError:
        pass
    raise NotFound(
        f"{name} is not in range, or switched off. Stand within ten metres, and see that no other"
        " phone or gateway holds its connection.",
        retry_after_s=0.0,
    )


async def heard(radio: Radio, within_s: float) -> list[Found]:
    """Listen for so long; gives every charger as it was heard last, the strongest first."""
    seen: dict[str, Found] = {}
    try:
        async with asyncio.timeout(within_s), aclosing(radio.scan()) as found:
            async for each in found:
                seen[each.address] = each
    except TimeoutError:
        pass
    return sorted(seen.values(), key=lambda each: -each.rssi_dbm)


async def enter(
    surroundings: Surroundings,
    found: Found,
    on_event: Callable[[bapi.Event], None] = lambda _: None,
) -> Charger:
    """Connect to a charger and get in, or raise the one error that says why not."""
    serial, codes = serial_of(found.name), surroundings.codes
    try:
        charger = await _entered(surroundings, found, on_event)
    except PasscodeWrong:
        if codes is not None:
            codes.refused(serial)
        raise
    except Cancelled as error:
        raise PasscodeNeeded(
            f"{found.name} wants to be paired with its 6-digit passcode, and none was given. Run"
            f" `chargepin passcode enter {found.name}`; the maker's app shows the passcode. Nothing"
            " was changed."
        ) from error
    if codes is not None:
        codes.proved(serial)
    return charger


async def _entered(
    surroundings: Surroundings,
    found: Found,
    on_event: Callable[[bapi.Event], None],
    *,
    again: bool = True,
) -> Charger:
    serial = serial_of(found.name)
    inside = await WayIn(surroundings, found, serial, on_event).enter()
    try:
        if inside.session is not None and inside.params is not None:
            await assigning.settle(serial, inside.session, inside.params, surroundings)
            await log.report_views(inside.session, serial, surroundings.vault)
        if inside.params is not None:
            told = str(inside.params.software)
        else:
            assert inside.stock is not None  # noqa: S101 - one of the two is there
            told = await _software(inside.stock)
    except LinkLost:
        await inside.link.close()
        if inside.stock is None or not again:
            raise
        # Its first request: a pairing that stood in the way may have been forgotten just now.
        return await _entered(surroundings, found, on_event, again=False)
    except BaseException:
        await inside.link.close()
        raise
    return Charger(serial, inside, surroundings, told)


async def _software(stock: StockSession) -> str:
    """What the charger says that it runs; "" where it does not tell, or nothing to be printed."""
    try:
        value = await stock.request("fw_v_")
    except (ChargerRefused, NotAnswered):
        return ""
    told = str(value.get("s", "")) if isinstance(value, dict) else ""
    return told if _PLAIN.fullmatch(told) else ""
