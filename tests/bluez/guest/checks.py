"""Runs checks on BlueZ: those that every adapter must pass, or its own; a line of JSON each."""

import asyncio
import json
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import partial

from app.link_conformance import CHECKS
from bluez.guest import pairing_checks
from chargepin.app.link_bleak import open_radio


async def every(names: list[str]) -> None:
    """The conformance suite, on one radio."""
    radio = await open_radio()
    try:
        for name in names or CHECKS:
            await told(name, partial(CHECKS[name], radio))
    finally:
        await radio.close()


async def own(names: list[str]) -> None:
    """BlueZ's own; each opens its radio."""
    for name in names or pairing_checks.CHECKS:
        await told(name, pairing_checks.CHECKS[name])


async def told(name: str, check: Callable[[], Awaitable[None]]) -> None:
    begun = time.monotonic()
    error = None
    try:
        await check()
    except Exception:  # noqa: BLE001 - whatever it is, it is told
        error = traceback.format_exc()
    seconds = round(time.monotonic() - begun, 2)
    print(json.dumps({"check": name, "seconds": seconds, "error": error}), flush=True)


if __name__ == "__main__":
    asyncio.run({"every": every, "own": own}[sys.argv[1]](sys.argv[2:]))
