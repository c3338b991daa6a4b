"""The options that every command takes, before or after its name, and `await` for commands."""

import functools
import inspect
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from chargepin.cli.terminal import terminal

T = TypeVar("T")


def named(text: str | None) -> str | None:
    """Take a charger's name as it is typed; what is none is told."""
    from chargepin.core.catalogue import serial_of

    try:
        return None if text is None else serial_of(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


ChargerName = Annotated[
    str, typer.Argument(metavar="CHARGER", help="WB123456 or 123456", callback=named)
]


def _common(*, top: bool) -> dict[str, tuple[object, object]]:
    """The options that all commands have, with their defaults.

    top: before a command's name. Only there is the environment asked, so that what is typed goes
    before it wherever it is typed.
    """
    return {
        "home": (
            Annotated[
                Path | None,
                typer.Option(
                    "--home",
                    envvar="CHARGEPIN_HOME" if top else None,
                    metavar="DIR",
                    readable=False,  # what it cannot read, the command tells; doctor goes on
                    help="Where this person's secrets and settings are; else CHARGEPIN_HOME. Two"
                    " homes are two people.",
                ),
            ],
            None,
        ),
        "radio": (
            Annotated[
                str | None,
                typer.Option(
                    "--radio",
                    envvar="CHARGEPIN_RADIO" if top else None,
                    metavar="RADIO",
                    help="tcp:HOST:PORT of a virtual radio, or a Bumble transport such as usb:0;"
                    " else CHARGEPIN_RADIO.",
                ),
            ],
            None,
        ),
        "json": (Annotated[bool, typer.Option("--json", help="Print one JSON document.")], False),
        "no_input": (
            Annotated[bool, typer.Option("--no-input", help="Never ask; fail instead.")],
            False,
        ),
    }


def common(command: Callable[..., T], *, top: bool = False) -> Callable[..., T]:
    """Give a command the options that all have; they go to its terminal, not to its body."""
    own = inspect.signature(command, eval_str=True)
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in _common(top=top).items()
        if name not in own.parameters
    ]

    @functools.wraps(command)
    def with_common(*given: Any, **options: Any) -> T:  # noqa: ANN401 - whatever it takes
        for parameter in added:
            _keep(parameter.name, options.pop(parameter.name))
        return command(*given, **options)

    parameters = [*own.parameters.values(), *added]
    signature = own.replace(parameters=parameters)
    setattr(with_common, "__signature__", signature)  # noqa: B010 - no stub knows of it
    with_common.__annotations__ = {p.name: p.annotation for p in parameters}
    return with_common


def _keep(name: str, value: object) -> None:
    """Set only what was given: the option may stand before the command or after it."""
    if value not in (None, False):
        setattr(terminal(), name, value)


def group(app: typer.Typer, name: str, purpose: str, *commands: Callable[..., None]) -> None:
    """Hang a group of commands into the tree; `set_` is the command `set`."""
    made = typer.Typer(name=name, help=purpose, no_args_is_help=True, rich_markup_mode=None)
    for command in commands:
        add(made, command)
    app.add_typer(made)


def add(app: typer.Typer, command: Callable[..., None]) -> None:
    """Hang one command into the tree, under its function's name."""
    name = command.__name__.rstrip("_").replace("_", "-")
    app.command(name)(common(command))


def not_on_windows(what: str) -> None:
    """Raise OSError with a sentence on Windows, which lacks the sockets that this needs."""
    if sys.platform == "win32":
        raise OSError(f"{what} runs on Linux and macOS. On Windows, run it inside WSL")


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's coroutine to its end."""
    import asyncio

    return asyncio.run(work)
