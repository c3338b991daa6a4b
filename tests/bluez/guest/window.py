"""Pairs with a charger by a code, through the app's own agent, and asks its stock service.

Without a code nobody can be asked for one. Prints what became of it.
"""

import asyncio
import json
import sys

from app.link_conformance import first
from chargepin.app.errors import ChargepinError
from chargepin.app.link_bleak import open_radio
from chargepin.app.stock import StockSession


async def main(name: str, code: str | None = None) -> None:
    asked = 0

    async def ask(_: str) -> int:
        nonlocal asked
        asked += 1
        return int(code or "")

    radio = await open_radio(ask_code=ask if code else None)
    told: dict[str, object] = {"error": None, "status": None}
    try:
        found = await first(radio, lambda it: it.name == name)
        link = await radio.connect(found, timeout_s=20)
        stock = StockSession(link, name)
        await stock.begin()
        told["status"] = await stock.request("r_dat")
        await link.close()
    except ChargepinError as error:
        told["error"] = error.code
        told["message"] = str(error)
    finally:
        await radio.close()
    print(json.dumps({**told, "asked": asked}))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
