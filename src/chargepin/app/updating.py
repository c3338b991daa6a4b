"""Installing software on a charger, by the stock methods: ask for it, then watch it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable

from chargepin.app.errors import ChargerRefused, LinkLost
from chargepin.app.status import number_of, object_of
from chargepin.core.catalogue import PASSCODE_SINCE, Version

PROGRESS_EVERY_S = 0.2


def closes(passcode_state: str, version: Version) -> bool:
    """Whether a charger stays closed with a version: it has a passcode that this does not know.

    passcode_state: see Charger. Only another update opens it again.
    """
    return passcode_state == "protected" and version < PASSCODE_SINCE


async def update(
    call: Callable[[str, object], Awaitable[object]], version: Version | None
) -> AsyncGenerator[int, None]:
    """Ask for a version (None: the newest), yielding percent until it is in or the link goes."""
    await call("supds", str(version) if version else None)
    percent = 0
    yield percent
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        try:
            seen = object_of(await call("supdp", None))
        except LinkLost:
            return  # it restarts
        if error := seen.get("err"):
            raise ChargerRefused(
                f"The update failed. {error} The old software stays.", refusal="update"
            )
        now = int(number_of(seen, "pct"))
        if now != percent:
            percent = now
            yield percent
        if seen.get("st") == "installed":
            return
