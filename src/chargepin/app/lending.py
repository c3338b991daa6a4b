"""Asking whoever of this home holds a charger's connection to give it away for a while.

Each holder listens on a Unix socket of its own in the home. One line each way: {"away_s": 300.0}
is answered with {"name": "WB123456"} once the link is free, or not at all. Python has no such
sockets on Windows: there, nobody can be asked.
"""

import asyncio
import contextlib
import secrets
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec

from chargepin.app.client import find
from chargepin.app.entering import Surroundings
from chargepin.app.errors import Busy, NotFound, NotHeld
from chargepin.app.holding import Holder
from chargepin.app.ports import Found
from chargepin.core.catalogue import name_of, serial_of
from chargepin.core.decoding import decoded
from chargepin.machine.files import private_directory
from chargepin.machine.unix_socket import address_of, private_socket

LONGEST_S: Final = 86_400.0
_LONGEST_LINE_BYTES: Final = 256
_ANSWERS_WITHIN_S: Final = 10.0


class _Wish(msgspec.Struct, frozen=True):
    away_s: Annotated[float, msgspec.Meta(ge=0, le=LONGEST_S)]


class _Answer(msgspec.Struct, frozen=True):
    name: str


@asynccontextmanager
async def lendable(home: Path, serial: str, holder: Holder) -> AsyncIterator[None]:
    """Let `ask_holders` reach this holder, if the home's file system has sockets at all."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_ANSWERS_WITHIN_S):
                wish = decoded(await reader.readline(), _Wish)
                await holder.lend(wish.away_s)
            writer.write(msgspec.json.encode(_Answer(name_of(serial))) + b"\n")
            await writer.drain()
        except (ValueError, OSError, TimeoutError):
            pass  # whoever asked that way hears nothing
        finally:
            writer.close()

    path = home / f"hold-{serial}-{secrets.token_hex(4)}.sock"
    bound = _bound(path)
    if sys.platform == "win32" or bound is None:
        yield  # it can be held all the same
        return
    server = await asyncio.start_unix_server(talk, sock=bound, limit=_LONGEST_LINE_BYTES)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def _bound(path: Path) -> socket.socket | None:
    try:
        private_directory(path.parent)
        return private_socket(path)
    except OSError:
        return None


async def ask_holders(home: Path, serial: str, away_s: float) -> int:
    """Have every holder of this home hang up and stay away; gives how many did.

    Sockets that a killed program left behind are removed. Raises NotHeld where no system could ask.
    """
    if sys.platform == "win32":
        raise NotHeld(
            "On Windows, whoever holds a connection cannot be asked to lend it. Close that program,"
            " and start it again later."
        )
    return sum(await asyncio.gather(*(_ask(path, away_s) for path in _sockets(home, serial))))


async def seek(surroundings: Surroundings, home: Path, charger: str) -> Found:
    """Find a charger; one that cannot be seen because this home holds it is Busy, not lost."""
    try:
        return await find(surroundings, charger)
    except NotFound as error:
        if not await held_here(home, serial_of(charger)):
            raise
        name = name_of(serial_of(charger))
        raise Busy(
            f"{name} is held by another program of this home, such as `chargepin connect`."
            f" `chargepin pause {name}` frees it for some minutes.",
            retry_after_s=0.0,
        ) from error


async def held_here(home: Path, serial: str) -> bool:
    """Whether a program of this home holds the connection, or is about to make it again."""
    if sys.platform == "win32":
        return False  # nobody knows
    for path in _sockets(home, serial):
        try:
            with address_of(path) as address:
                _, writer = await asyncio.open_unix_connection(address)
        except OSError:
            continue
        writer.close()
        return True
    return False


def _sockets(home: Path, serial: str) -> list[Path]:
    return sorted(home.glob(f"hold-{serial}-*.sock"))


async def _ask(path: Path, away_s: float) -> bool:
    if sys.platform == "win32":
        return False
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            with address_of(path) as address:
                reader, writer = await asyncio.open_unix_connection(address)
            try:
                writer.write(msgspec.json.encode(_Wish(away_s)) + b"\n")
                decoded(await reader.readline(), _Answer)
            finally:
                writer.close()
    except ConnectionRefusedError:
        _remove(path)
        return False
    except (ValueError, OSError, TimeoutError):
        return False
    return True


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
