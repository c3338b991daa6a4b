"""A pairing window, from the app's side: the codes to show, and what became of them.

A phone without this app pairs in its own Bluetooth settings, and asks there for the code. Where the
charger carries one phone at a time this app hangs up to make room, once the code is shown.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, suppress
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


@dataclass(frozen=True, slots=True)
class WindowLeft:
    """The last notice: the connection is over, and the newest code good for one attempt.

    made_room: this app hung up because the phone needs the only link; else the link was lost.
    """

    made_room: bool


PairingNotice: TypeAlias = PairingCode | PhonePaired | WindowClosed | WindowLeft


class PastWindow(msgspec.Struct, frozen=True):
    """What is or was with a charger's newest window.

    yours: whether this app opened it; if not, the rest is about somebody else's. why: of a closed
    one, as WindowClosed. bond, name: of the phone that paired.
    """

    open: bool
    yours: bool
    seconds_left: int = 0
    attempts: int = 0
    why: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,40}\Z")] | None = None
    bond: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")] | None = None
    name: str | None = None


class _Opened(msgspec.Struct):
    stays: bool = True


class _Code(msgspec.Struct):
    code: Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6}\Z")]
    seconds_left: int = 0
    attempts_left: int = 0


class _Done(msgspec.Struct):
    bond: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{16}\Z")]
    name: str = ""


class _Closed(msgspec.Struct):
    why: Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{1,40}\Z")]


async def window(
    session: Session, hang_up: Callable[[], Awaitable[None]], name: str = "", *, stay: bool = True
) -> AsyncGenerator[PairingNotice, None]:
    """Open a window, and tell what happens until it is closed, or goes on without this app.

    name: what the phone that pairs shall be called in lists. stay: unless the charger has no link
    for a second phone; else this app hangs up once the code is shown. Whoever stops listening
    before WindowLeft closes the window. Raises RoleTooLow, ChargerRefused, LinkLost and
    ProtocolError.
    """
    heard: asyncio.Queue[bapi.Event | Exception] = asyncio.Queue()
    deaf = session.listen(heard.put_nowait)
    ours = False
    try:
        wish = {"name": name} if name else None
        opened = _read("pairing.open", await session.request("pairing.open", wish), _Opened)
        ours = True
        async with aclosing(_notices(heard, None if stay and opened.stays else hang_up)) as notices:
            async for notice in notices:
                ours = isinstance(notice, PairingCode | PhonePaired)
                yield notice
    finally:
        deaf()
        if ours:
            with suppress(ChargepinError):  # then it closes by itself
                await session.request("pairing.close")


async def _notices(
    heard: asyncio.Queue[bapi.Event | Exception], make_room: Callable[[], Awaitable[None]] | None
) -> AsyncGenerator[PairingNotice, None]:
    shown = False
    while True:
        try:
            notice = _notice(await _next(heard))
        except LinkLost:
            if not shown:
                raise
            yield WindowLeft(made_room=False)
            return
        if notice is not None:
            yield notice
        if isinstance(notice, WindowClosed):
            return
        if isinstance(notice, PairingCode):
            shown = True
            if make_room is not None:
                await make_room()
                yield WindowLeft(made_room=True)
                return


async def past_window(session: Session) -> PastWindow:
    """Ask what became of the newest window. Raises RoleTooLow, LinkLost and ProtocolError."""
    past = _read("pairing.last", await session.request("pairing.last"), PastWindow)
    return msgspec.structs.replace(past, name=clean_name(past.name) if past.name else None)


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
            code = _read(event.name, dict(event.members), _Code)
            return PairingCode(code.code, code.seconds_left, code.attempts_left)
        case "pairing_done":
            done = _read(event.name, dict(event.members), _Done)
            return PhonePaired(done.bond, clean_name(done.name))
        case "pairing_closed":
            return WindowClosed(_read(event.name, dict(event.members), _Closed).why)
        case _:
            return None


_Kind = TypeVar("_Kind", bound=msgspec.Struct)


def _read(name: str, said: object, kind: type[_Kind]) -> _Kind:
    try:
        return msgspec.convert(said, kind)
    except msgspec.ValidationError:
        raise ProtocolError(
            f"What the charger says ({name}) has another shape than it should."
        ) from None
