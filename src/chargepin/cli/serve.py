"""`chargepin serve …`: radio, charger, account and page. Each says it is ready, then runs."""

import errno
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from enum import Enum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chargepin.cli.options import finish, group, not_on_windows
from chargepin.cli.terminal import plain, terminal

if TYPE_CHECKING:
    from chargepin.charger.imitation.program import ImitatedSetup
    from chargepin.charger.setup import Setup
    from chargepin.core.catalogue import Family


_TAKEN = "another program listens there already; --listen names another port, 0 takes a free one"
_ENDING_S = 3.0  # how long a charger that was told to end may take until another may begin
_LOOKS_EVERY_S = 0.05
_PORT_MAX = 65535


class PowerUp(Enum):
    """What counts as switching a charger on: for some minutes somebody is taken to stand there."""

    START = "start"
    BOOT = "boot"


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    group(app, "serve", "Run one part.", radio, charger, account)


def ready(listen: str, **more: str) -> None:
    """Print the first line: that the program takes connections, and where."""
    line = json.dumps({"ready": True, "listen": listen, **more})
    print(line, file=terminal().stdout, flush=True)


async def until_told(*others: Coroutine[Any, Any, None]) -> None:
    """Wait for SIGTERM, SIGINT, the end of the lifeline, or whichever of others ends first."""
    import asyncio

    from chargepin.machine.lifeline import watch_lifeline

    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    waiting: list[asyncio.Future[Any]] = [
        asyncio.ensure_future(told.wait()),
        watch_lifeline(),
        *(asyncio.ensure_future(other) for other in others),
    ]
    done, pending = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for left in pending:
        left.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    for ended in done:
        ended.result()


def radio(
    listen: Annotated[str, typer.Option(help="tcp:HOST:PORT; port 0 takes a free one.")],
    capture: Annotated[
        Path | None, typer.Option(help="Write what hosts and controllers say, for btmon.")
    ] = None,
) -> None:
    """Run a virtual radio: every connection is one Bluetooth controller in one room."""
    host, port = _host_and_port(listen)

    async def serving() -> None:
        from chargepin.radio import serve_radio

        room = await serve_radio(host, port, capture=capture)
        try:
            ready(room.address)
            await until_told()
        finally:
            await room.close()

    _started(serving)


def charger(
    serial: Annotated[str, typer.Option(help="Its digits, such as 123456.")],
    data: Annotated[Path, typer.Option(help="The directory of its private files.")],
    model: Annotated[
        str | None,
        typer.Option(
            help="pulsar-max, pulsar-pro, pulsar-plus or copper-sb; simulated only, because nobody"
            " has published what real ones do: pulsar-plus-socket, commander-2, commander-2s,"
            " em4-single, em4-twin.",
            show_default="pulsar-plus",
        ),
    ] = None,
    software: Annotated[
        str | None, typer.Option(help="What left the factory.", show_default="6.7.17")
    ] = None,
    radio_module: Annotated[
        str | None,
        typer.Option(help="bgx, ublox or zentri; otherwise the one of the family."),
    ] = None,
    links: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=7,
            help="How many phones its radio carries at a time; real ones carry one.",
            show_default="7, with Zentri 1",
        ),
    ] = None,
    factory_passcode_file: Annotated[
        Path | None, typer.Option(help="A passcode that is on from the first start.")
    ] = None,
    profile: Annotated[
        str, typer.Option(help="none, or eu: nothing is set up without somebody at the charger.")
    ] = "none",
    power_up: Annotated[
        PowerUp,
        typer.Option(help="When the power came: with this start, or with the computer's."),
    ] = PowerUp.START,
    imitate: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            help="Be a real charger with this software, insecure as it is: for tests of clients.",
        ),
    ] = None,
    command_mode: Annotated[
        bool,
        typer.Option(
            "--command-mode",
            help="With --imitate: the radio module begins in its command shell, as some do.",
        ),
    ] = False,
) -> None:
    """Run a charger: on a virtual radio or a Bumble transport, named with --radio."""
    chosen = terminal().radio or os.environ.get("CHARGEPIN_RADIO")
    if not chosen:
        raise typer.BadParameter("name a radio, such as --radio tcp:127.0.0.1:9370")

    def own() -> "Setup":
        from chargepin.charger.setup import setup_of
        from chargepin.machine.clock import since_boot_s

        return setup_of(
            serial=serial,
            model=model or "pulsar-plus",
            software=software or "6.7.17",
            directory=data,
            factory_passcode_file=factory_passcode_file,
            radio_module=radio_module,
            profile=profile,
            powered_s_ago=since_boot_s() if power_up is PowerUp.BOOT else 0.0,
            links=links,
        )

    def imitated(version: str) -> "ImitatedSetup":
        from chargepin.charger.imitation import imitated_setup

        return imitated_setup(
            version=version,
            serial=serial,
            directory=data,
            model=model,
            radio_module=radio_module,
            factory_passcode_file=factory_passcode_file,
            command_mode=command_mode,
        )

    if imitate is None:
        if command_mode:
            raise typer.BadParameter("--command-mode is for --imitate")
        _started(partial(_serving, chosen, own))
        return
    if software is not None:
        raise typer.BadParameter("--imitate names the software: leave --software out")
    if links is not None:
        raise typer.BadParameter("--imitate says how many links there are")
    if profile != "none":
        raise typer.BadParameter("--imitate has no profile: it is insecure on purpose")
    _started(partial(_imitating, chosen, partial(imitated, imitate)))


async def _serving(radio: str, setup_of: "Callable[[], Setup]") -> None:
    from chargepin.charger.daemon import Daemon
    from chargepin.machine.controller import quiet

    quiet(after="bumble.host")
    setup = setup_of()
    _say_if_guessed(setup.family)
    async with _alone_in(setup.directory):
        daemon = await Daemon.start(setup, radio, terminal().warn)
        try:
            ready(daemon.listen)
            await until_told(daemon.run())
        finally:
            await daemon.close()


async def _imitating(radio: str, setup_of: "Callable[[], ImitatedSetup]") -> None:
    from chargepin.charger.imitation import Imitator, see_that_virtual
    from chargepin.machine.controller import quiet

    quiet()
    setup = setup_of()
    see_that_virtual(radio)  # before a directory is made for it
    _say_if_guessed(setup.plate.family)
    async with _alone_in(setup.directory):
        imitator = await Imitator.start(setup, radio, terminal().warn)
        try:
            ready(imitator.listen, imitates=setup.imitation.name)
            await until_told(imitator.run())
        finally:
            await imitator.close()


@asynccontextmanager
async def _alone_in(directory: Path) -> AsyncIterator[None]:
    """Be the only charger in a directory: two would store over each other, and count tries apart.

    An imitation keeps its state apart, but has its button where the charger's is. Raises OSError
    with a sentence.
    """
    import asyncio

    from chargepin.machine.files import lock_directory, private_directory

    private_directory(directory)
    given_up_s = asyncio.get_running_loop().time() + _ENDING_S
    while True:
        try:
            descriptor = lock_directory(directory)
            break
        except BlockingIOError as error:
            if asyncio.get_running_loop().time() > given_up_s:
                raise OSError(
                    f"another charger's program uses {directory}: stop that one, or name another"
                    " directory with --data"
                ) from error
            await asyncio.sleep(_LOOKS_EVERY_S)
    try:
        yield
    finally:
        os.close(descriptor)


def _say_if_guessed(family: "Family") -> None:
    from chargepin.core.catalogue import Evidence

    if family.evidence is Evidence.SIMULATED_ONLY:
        terminal().warn(f"{family.display_name}: simulated only, {family.why}.")


def account(
    database: Annotated[str, typer.Option(help="sqlite:///FILE")],
    listen: Annotated[str, typer.Option(help="HOST:PORT; port 0 takes a free one.")] = (
        "127.0.0.1:8700"
    ),
) -> None:
    """Run an account service."""
    host, port = _host_and_port(listen)

    async def serving() -> None:
        from chargepin.account.api import serve_account

        server = await serve_account(database, host, port)
        try:
            ready(server.address)
            await until_told()
        finally:
            await server.close()

    _started(serving)


def _started(serving: Callable[[], Awaitable[None]]) -> None:
    """Run a part; what it needs and does not have is told in a sentence."""
    not_on_windows("chargepin serve")

    async def run() -> None:
        await serving()

    try:
        finish(run())
    except (OSError, ValueError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        text = f"Not started: {_TAKEN if taken else plain(error)}"
        terminal().error({"code": "not_started", "message": text}, text)
        raise typer.Exit(1) from error


def _host_and_port(listen: str) -> tuple[str, int]:
    host, _, port = listen.removeprefix("tcp:").rpartition(":")
    if not host or not port.isdecimal():
        raise typer.BadParameter(f"{listen!r} is no HOST:PORT")
    if int(port) > _PORT_MAX:
        raise typer.BadParameter(f"there is no port {port}: they end at {_PORT_MAX}")
    return host, int(port)
