"""The account service, wired together and listening."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self

from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

from chargepin.account.application import Application
from chargepin.account.assigning import Assigning
from chargepin.account.custody import Custody, RevealLimits, load_master_key
from chargepin.account.operations import Services
from chargepin.account.passwords import Passwords, SlowWork
from chargepin.account.people import People
from chargepin.account.ports import Clock, ServiceCannotStart
from chargepin.account.push import Push
from chargepin.account.service import Chargers
from chargepin.account.sharing import Sharing
from chargepin.account.store import SQLiteStore
from chargepin.core.catalogue import Version
from chargepin.machine.clock import unix_s

OLDEST_APP: Final = Version(0, 1, 0)

_SQLITE: Final = "sqlite:///"
_REQUESTS_AT_ONCE: Final = 20_000  # streams of events included
_KNOCK_S: Final = 0.005
_HIGHEST_PORT: Final = 65_535
_KEY_ID: Final = "master_key_id"


@dataclass(frozen=True, slots=True)
class Settings:
    """What may be chosen about a service.

    base_url: what invitations begin with; by default where it listens. master_key: the key's
    file, beside the database by default. oldest_app: apps that are older are told to update.
    """

    base_url: str | None = None
    master_key: Path | None = None
    oldest_app: Version = OLDEST_APP
    reveals: RevealLimits = field(default_factory=RevealLimits)


class AccountService:
    """The service without a socket: `app` is its ASGI application.

    randbelow: draws passcodes, as `secrets.randbelow` does. Raises ServiceCannotStart.
    """

    def __init__(
        self,
        database: Path,
        base_url: str,
        settings: Settings,
        clock: Clock,
        randbelow: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._store = SQLiteStore(database, self._wake)
        try:
            key_file = settings.master_key or database.with_name("master.key")
            master = load_master_key(key_file, self._store.setting(_KEY_ID))
            self._store.keep_setting(_KEY_ID, master.key_id)
        except BaseException:
            self._store.close()
            raise
        custody = Custody(master, self._store, clock, settings.reveals)
        self._slow = SlowWork()
        self._push = Push(self._store, clock)
        services = Services(
            People(self._store, Passwords(self._slow), clock),
            Chargers(self._store, custody, master.root.public_key(), clock),
            Sharing(self._store, clock, settings.base_url or base_url),
            Assigning(self._store, custody, self._slow, clock, randbelow),
        )
        self.app = Application(services, self._push, self._store, settings.oldest_app).asgi()

    def stop_streams(self) -> None:
        """End every stream of events, so that their connections can be closed."""
        self._push.close()

    async def close(self) -> None:
        """Write what is under way and close the database."""
        self._push.close()
        await asyncio.to_thread(self._slow.close)
        await asyncio.to_thread(self._store.close)

    def _wake(self, account_ids: frozenset[str]) -> None:
        self._push.wake(account_ids)


# ---- listening ---------------------------------------------------------------------------------


class _Embedded(Protocol):
    """What is used of the server library."""

    def stop(self) -> None: ...


class AccountServer:
    """A service that listens, on the running loop.

    url: where, without a slash at the end; address, host, port: parts of it.
    """

    def __init__(
        self,
        service: AccountService,
        server: _Embedded,
        serving: asyncio.Task[None],
        reserved: socket.socket,
        url: str,
    ) -> None:
        self.url = url
        self.host: str
        self.port: int
        self.host, self.port = reserved.getsockname()[:2]
        self.address = url.removeprefix("http://")
        self._service = service
        self._server = server
        self._serving = serving
        self._reserved = reserved

    async def close(self) -> None:
        """Answer what was asked, end the streams, close the database. May be called again."""
        self._service.stop_streams()
        self._server.stop()
        await self._serving
        self._reserved.close()
        await self._service.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        _: type[BaseException] | None,
        __: BaseException | None,
        ___: TracebackType | None,
    ) -> None:
        await self.close()


async def serve_account(
    database_url: str,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    settings: Settings | None = None,
    clock: Clock | None = None,
) -> AccountServer:
    """Start the service; it listens when this returns.

    database_url: sqlite:///FILE (a fourth slash for an absolute path). port: 0 for any free one.
    Prints nothing. Raises ServiceCannotStart, whose message says what to do.
    """
    path = _database(database_url)
    loop = asyncio.get_running_loop()
    reserved = _reserved(host, port)
    try:
        named = f"[{host}]" if ":" in host else host
        url = f"http://{named}:{reserved.getsockname()[1]}"
        service = AccountService(
            path, url, settings or Settings(), clock or Clock(unix_s, loop.time)
        )
    except BaseException:
        reserved.close()
        raise
    server = Server(
        service.app,
        address=host,
        port=reserved.getsockname()[1],
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        http1_settings=HTTP1Settings(),
        websockets=False,
        backlog=1024,
        backpressure=_REQUESTS_AT_ONCE,
        log_enabled=False,
    )
    serving = loop.create_task(server.serve())
    answering = AccountServer(service, server, serving, reserved, url)
    try:
        await _until_listening(host, answering.port, serving)
    except BaseException:
        await answering.close()
        raise
    return answering


def _database(url: str) -> Path:
    if url.startswith(_SQLITE) and len(url) > len(_SQLITE):
        return Path(url.removeprefix(_SQLITE))
    if url.startswith(("postgresql:", "postgres:")):
        raise ServiceCannotStart("PostgreSQL is not supported yet; name sqlite:///FILE.")
    raise ServiceCannotStart("A database is named sqlite:///FILE.")


def _reserved(host: str, port: int) -> socket.socket:
    """Take a port without listening on it, so that the server can share it and nobody else.

    The embedded server opens its own sockets and tells no port that it was given by chance.
    Raises ServiceCannotStart.
    """
    if not 0 <= port <= _HIGHEST_PORT:
        raise ServiceCannotStart(f"Cannot listen on port {port}: ports end at {_HIGHEST_PORT}.")
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # Sharing is by SO_REUSEPORT, which would let two services share one port unnoticed:
        # without it, this fails if anybody listens there.
        with socket.socket(family, kind) as alone:
            alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            alone.bind(address)
        reserved = socket.socket(family, kind)
        try:
            reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            reserved.bind(address)
        except BaseException:
            reserved.close()
            raise
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or error
        raise ServiceCannotStart(f"Cannot listen on {host} port {port}: {why}.") from error
    return reserved


async def _until_listening(host: str, port: int, serving: asyncio.Task[None]) -> None:
    """Knock until somebody opens. Raises ServiceCannotStart if the server ended instead."""
    while not serving.done():
        try:
            _, writer = await asyncio.open_connection(host, port)
        except OSError:
            await asyncio.sleep(_KNOCK_S)
            continue
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return
    raise ServiceCannotStart(f"The server on {host} port {port} ended as soon as it started.")
