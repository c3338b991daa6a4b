"""A pairing window, from the app's side: the codes to show, and what became of them.

A phone without this app pairs in its own Bluetooth settings, and asks there for the code.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, TypeAlias, TypeVar

import msgspec

from chargepin.app.errors import ChargepinError, LinkLost, ProtocolError
from chargepin.app.session import Session
from chargepin.core import bapi
from chargepin.core.bonds import clean_name
from chargepin.core.pairing_window import WINDOW_S

SILENT_S = WINDOW_S + 30.0
"""A charger that says nothing for longer has forgotten its own window."""


@dataclass(frozen=True, slots=True)
class PairingCode:
    """Type this into the phone's dialog. Each is good for one attempt; the newest one counts."""

    code: str = field(repr=False)
    seconds_left: int
    attempts_left: int


@dataclass(frozen=True, slots=True)
class PhonePaired:
    """A phone is in. id: what it can be forgotten by."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class WindowClosed:
    """The last notice. why: "paired", "time", "attempts", "asked" or another word."""

    why: str


PairingNotice: TypeAlias = PairingCode | PhonePaired | WindowClosed


class _Code(msgspec.Struct):
    code: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6}\Z")]
    seconds_left: int = 0
    attempts_left: int = 0


class _Done(msgspec.Struct):
    bond: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    name: str = ""


class _Closed(msgspec.Struct):
    why: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,40}\Z")]


async def window(session: Session, name: str = "") -> AsyncGenerator[PairingNotice, None]:
    """Open a window, and tell what happens until it is closed.

    name: what the phone that pairs shall be called in lists. Whoever stops listening closes the
    window. Raises RoleTooLow, ChargerRefused, LinkLost and ProtocolError.
    """
    heard: asyncio.Queue[bapi.Event | Exception] = asyncio.Queue()
    deaf = session.listen(heard.put_nowait)
    ours = True
    try:
        try:
            await session.request("pairing.open", {"name": name} if name else None)
        except ChargepinError:
            ours = False
            raise
        while ours:
            notice = _notice(await _next(heard))
            if notice is None:
                continue
            ours = not isinstance(notice, WindowClosed)
            yield notice
    finally:
        deaf()
        if ours:
            with suppress(ChargepinError):  # then it closes by itself, with the session or in time
                await session.request("pairing.close")


async def _next(heard: asyncio.Queue[bapi.Event | Exception]) -> bapi.Event:
    try:
        async with asyncio.timeout(SILENT_S):
            event = await heard.get()
    except TimeoutError:
        raise LinkLost("The charger does not answer.", retry_after_s=0.0) from None
    if isinstance(event, Exception):
        raise event
    return event


def _notice(event: bapi.Event) -> PairingNotice | None:
    match event.name:
        case "pairing_code":
            code = _read(event, _Code)
            return PairingCode(code.code, code.seconds_left, code.attempts_left)
        case "pairing_done":
            done = _read(event, _Done)
            return PhonePaired(done.bond, clean_name(done.name))
        case "pairing_closed":
            return WindowClosed(_read(event, _Closed).why)
        case _:
            return None


_Kind = TypeVar("_Kind", bound=msgspec.Struct)


def _read(event: bapi.Event, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.convert(dict(event.members), kind)
    except msgspec.ValidationError:
        raise ProtocolError(
            f"What the charger says ({event.name}) has another shape than it should."
        ) from None
