"""Every way into a protected charger that a stranger may try without knowing the passcode."""

import asyncio
import secrets
from collections.abc import Awaitable, Callable
from typing import Final

from chargepin.app.client import find
from chargepin.app.connect import APP_VERSION
from chargepin.app.entering import CONNECT_WITHIN_S
from chargepin.app.errors import LinkLost
from chargepin.app.ports import Link
from chargepin.app.session import Session, WasRefused
from chargepin.cli.tour.stock_phone import TurnedAway, Typist
from chargepin.cli.tour.tale import Tale
from chargepin.cli.tour.world import NAME
from chargepin.core import channel, gatt, handshake
from chargepin.core.identity import Credential

_CUT_OFF_WITHIN_S: Final = 10.0
_CUT_OFF: Final = "connection cut"
_GUESSED_PASSKEY: Final = 123456


async def doors_tried(tale: Tale) -> tuple[str, dict[str, str | None]]:
    """Try every door; gives the stock phone's address, and the charger's answer at each.

    None for a door that stood open. Raises ChargepinError or TurnedAway if the charger can't even
    be reached.
    """
    phone = await tale.phone("a stranger's")
    answers: dict[str, str | None] = {}
    link = await phone.connect(NAME)
    try:
        answers["stock read"] = await _at_stock(link.read)
        answers["stock write"] = await _at_stock(link.write)
        answers["stock subscribe"] = await _at_stock(link.subscribe)
        answers["Just Works pairing"] = await _at_stock(link.pair)
    finally:
        await link.close()
    phone.accept_with(Typist(_GUESSED_PASSKEY), mitm=True)
    link = await phone.connect(NAME)
    try:
        answers["passkey pairing"] = await _at_stock(link.pair)
    finally:
        await link.close()
    for door, attempt in _OURS.items():
        answers[door] = await _at_ours(tale, attempt)
    return phone.address, answers


async def tries_left(tale: Tale) -> int:
    """How many tries the charger says a stranger has; 0 during a pause."""
    link = await _linked(tale)
    try:
        session = Session(link, APP_VERSION, secrets.token_bytes)
        await session.begin()
        return (await session.hello(Credential.PASSCODE)).tries_left
    finally:
        await link.close()


async def _at_stock(attempt: Callable[[], Awaitable[object]]) -> str | None:
    try:
        await attempt()
    except TurnedAway as reason:
        return str(reason)
    return None


async def _at_ours(
    tale: Tale, attempt: Callable[[Link, Session], Awaitable[str | None]]
) -> str | None:
    link = await _linked(tale)
    session = Session(link, APP_VERSION, secrets.token_bytes)
    try:
        await session.begin()
        return await attempt(link, session)
    except WasRefused as was:
        return was.refusal.code.name.lower()
    except LinkLost:
        return _CUT_OFF
    finally:
        await link.close()


async def _linked(tale: Tale) -> Link:
    around = await tale.app("stranger")
    found = await find(around, NAME)
    return await around.radio.connect(found, timeout_s=CONNECT_WITHIN_S)


async def _as_if_open(_: Link, session: Session) -> str | None:
    """Prove the empty passcode, that an open charger takes from everybody."""
    params = await session.hello(Credential.OPEN)
    await session.prove(handshake.open_witness(params.identity), params)
    return None


async def _with_a_guessed_bond(_: Link, session: Session) -> str | None:
    """Name a bond by a tag that was never given out: PARAMS are answered for a bond only."""
    await session.hello(Credential.BOND, tag_key=secrets.token_bytes(32))
    return None


async def _without_proof(link: Link, _: Session) -> str | None:
    """Send a record as if a session had been granted."""
    gone = asyncio.Event()
    link.on_close(gone.set)
    record = bytes([channel.RECORD]) + secrets.token_bytes(64)
    for chunk in channel.chunks(channel.encode(record), link.att_mtu):
        await link.write(gatt.PASSCODE_WRITE.uuid, chunk, response=False)
    try:
        async with asyncio.timeout(_CUT_OFF_WITHIN_S):
            await gone.wait()
    except TimeoutError:
        return None
    return _CUT_OFF


_OURS: Final = {
    "our service, as if open": _as_if_open,
    "our service, guessed bond": _with_a_guessed_bond,
    "our service, no proof": _without_proof,
}
