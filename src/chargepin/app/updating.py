"""Installing software on a charger, by the stock methods: ask for it, then watch it."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing

from chargepin.app.entering import CONNECT_WITHIN_S, Surroundings
from chargepin.app.errors import ChargepinError, ChargerRefused, LinkLost
from chargepin.app.session import Session, WasRefused
from chargepin.app.status import number_of, object_of
from chargepin.core import gatt
from chargepin.core.catalogue import PASSCODE_SINCE, Version
from chargepin.core.identity import Credential

PROGRESS_EVERY_S = 0.2
DONE_PERCENT = 100
LOOKS_FOR_S = 20.0
LOOKS_EVERY_S = 1.0


def closes(passcode_state: str, version: Version) -> bool:
    """Whether a charger stays closed with a version: it has a passcode that this does not know.

    passcode_state: see Charger. Only another update opens it again.
    """
    return passcode_state == "protected" and version < PASSCODE_SINCE


async def update(
    call: Callable[[str, object], Awaitable[object]], version: Version | None
) -> AsyncGenerator[int, None]:
    """Ask for a version (None: the newest), yielding percent until it is in or the link goes.

    The last is DONE_PERCENT where the charger has said that it is in.
    """
    await call("supds", str(version) if version else None)
    percent = 0
    yield percent
    while True:
        await asyncio.sleep(PROGRESS_EVERY_S)
        try:
            seen = object_of(await call("supdp", None))
        except LinkLost:
            return  # it restarts, or something else has happened
        if error := seen.get("err"):
            raise ChargerRefused(
                f"The update failed. {error} The old software stays.", refusal="update"
            )
        done = seen.get("st") == "installed"
        now = DONE_PERCENT if done else min(int(number_of(seen, "pct")), DONE_PERCENT - 1)
        if now != percent:
            percent = now
            yield percent
        if done:
            return


async def came_back(
    around: Surroundings, name: str, identity: bytes | None, wanted: Callable[[Version], bool]
) -> None:
    """Look until a charger is back with the software that is wanted, without getting in.

    identity: the charger's, if it is known. Raises LinkLost where that was not to be seen.
    """
    try:
        async with asyncio.timeout(LOOKS_FOR_S):
            while True:
                runs = await _software(around, name, identity)
                if runs is not None and wanted(runs):
                    return
                await asyncio.sleep(LOOKS_EVERY_S)
    except TimeoutError:
        raise LinkLost(
            f"The connection to {name} broke off before it said that the software is in. It may be,"
            f" now or soon: `chargepin status {name}` shows what it runs.",
            may_have_happened=True,
            retry_after_s=0.0,
        ) from None


async def _software(around: Surroundings, name: str, identity: bytes | None) -> Version | None:
    """What a charger says that it runs; None where it is not there, or does not say."""
    try:
        async with aclosing(around.radio.scan()) as seen:
            found = await anext(found async for found in seen if found.name == name)
        link = await around.radio.connect(found, timeout_s=CONNECT_WITHIN_S)
        try:
            if gatt.PASSCODE_HINT.uuid not in link.characteristics:
                return None
            session = Session(link, around.app, around.random)
            await session.begin()
            params = await session.hello(Credential.PASSCODE)
        finally:
            await link.close()
    except (ChargepinError, WasRefused, StopAsyncIteration):
        return None
    return params.software if identity in {None, params.identity} else None
