"""Which radio an app uses, and opening it anew once it is lost."""

import os
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
from pathlib import Path

from chargepin.app.codes import Codes
from chargepin.app.errors import LinkLost, NoRadio
from chargepin.app.home import settings_of
from chargepin.app.ports import Found, Link, Radio


async def radio_of(
    name: str | None, home: Path, codes: Codes | None = None, seen: object = None
) -> Radio:
    """Open the radio that an option names, else CHARGEPIN_RADIO, else the computer's own Bluetooth.

    codes: what chargers with the maker's own software may want typed. seen: the charger, if
    somebody has found it already. Raises NoRadio.
    """
    chosen = name or os.environ.get("CHARGEPIN_RADIO")
    if not chosen:
        return await _own_bluetooth(codes, seen)
    from chargepin.app.link_bumble import open_radio  # noqa: PLC0415 - half a second of imports
    from chargepin.machine.controller import ControllerError  # noqa: PLC0415 - as above

    try:
        return await open_radio(
            chosen,
            address=settings_of(home).address,
            bonds=home / "bluetooth.json",
            ask_code=codes.ask if codes is not None and codes.any else None,
        )
    except ControllerError as error:
        raise NoRadio(str(error)) from error


async def _own_bluetooth(codes: Codes | None, seen: object) -> Radio:
    from chargepin.app.link_bleak import open_radio  # noqa: PLC0415 - only where it is used

    try:
        if codes is None or not codes.any:
            return await open_radio(seen=seen)
        return await open_radio(ask_code=codes.ask, tell=codes.tell, seen=seen)
    except NoRadio as error:
        raise NoRadio(
            f"{error} Or name another radio: --radio tcp:127.0.0.1:9370 is a virtual one that"
            " `chargepin serve radio --listen tcp:127.0.0.1:9370` runs."
        ) from error


class RenewedRadio:
    """The Radio port on a radio that is opened anew once it is lost.

    An adapter may be pulled out and put back, and a computer's Bluetooth be started anew. reopen:
    opens it as it was opened first; as long as that fails, scanning does.
    """

    def __init__(self, radio: Radio, reopen: Callable[[], Awaitable[Radio]]) -> None:
        self._radio = radio
        self._reopen = reopen
        self._closed = False

    @property
    def description(self) -> str:
        return self._radio.description

    async def scan(self) -> AsyncGenerator[Found, None]:
        """Yield what is seen. Raises LinkLost; the next scan is on another radio."""
        try:
            async with aclosing(self._radio.scan()) as seen:
                async for found in seen:
                    yield found
        except LinkLost:
            await self.close()
            with suppress(NoRadio):
                self._radio = await self._reopen()
                self._closed = False
            raise

    async def connect(self, found: Found, *, timeout_s: float) -> Link:
        return await self._radio.connect(found, timeout_s=timeout_s)

    async def bonded(self, found: Found) -> bool | None:
        return await self._radio.bonded(found)

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            await self._radio.close()
