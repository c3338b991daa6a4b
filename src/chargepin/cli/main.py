"""The one command: builds the tree of commands, and turns what goes wrong into text and a code."""

import contextvars
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from chargepin import __version__
from chargepin.cli import (
    account,
    chargers,
    doctor,
    export,
    lending,
    log,
    pairing,
    passcode,
    phones,
    serve,
    story,
)
from chargepin.cli.options import common
from chargepin.cli.terminal import NoAnswer, NotShown, Terminal, plain, terminal, use

NOT_DONE = 1
USAGE = 2
MAYBE_DONE = 3
PASSCODE = 4
PAUSED = 5
_INTERRUPTED_BY_TYPER = 130  # what it makes of a Ctrl-C by itself
DISCLAIMER = (
    "Independent; not made or endorsed by Wallbox. Tested on a virtual radio only, not yet on real"
    " hardware."
)


# What typer raises for a wrong command line; it keeps the class itself in a private module.
_WrongUsage: type[Any] = typer.BadParameter.__mro__[2]


def _version(wanted: bool) -> None:
    if wanted:
        terminal().say(f"chargepin {__version__}. {DISCLAIMER}")
        raise typer.Exit


def top(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Say which.")
    ] = False,
) -> None:
    """Bluetooth passcodes for EV chargers."""
    _ = version  # its callback acts


def build() -> typer.Typer:
    """Make the tree of commands; imports nothing that a command may not need."""
    app = typer.Typer(
        name="chargepin",
        help="Bluetooth passcodes for EV chargers. " + DISCLAIMER,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=True,
    )

    app.callback()(common(top, top=True))

    everyday = (story, serve, chargers, log, doctor, lending)
    for part in (*everyday, passcode, pairing, phones, account, export):
        part.add_to(app)
    return app


def run(arguments: Sequence[str], given: Terminal) -> int:
    """Run one command line on a terminal; returns the exit code. Never raises."""
    return contextvars.copy_context().run(_run, list(arguments), given)


def _run(arguments: list[str], given: Terminal) -> int:
    use(given)
    given.json = "--json" in arguments  # known before a wrong command line is told
    command = get_command(build())
    try:
        outcome = command.main(args=arguments, prog_name="chargepin", standalone_mode=False)
    except _WrongUsage as error:
        text = error.format_message()
        context = getattr(error, "ctx", None)
        usage = f"{context.get_usage()}\nError: {text}" if context and text[:5] != "Usage" else text
        given.error({"code": "usage", "message": text}, usage)
        return USAGE
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(given)
    except NoAnswer as error:
        text = f"Not done: {error}."
        given.error({"code": "no_answer", "message": text}, text)
        return NOT_DONE
    except NotShown as error:
        text = f"What came of it cannot be printed ({error}); a change that was asked for was made."
        given.error({"code": "not_shown", "message": text}, text)
        return MAYBE_DONE
    except BrokenPipeError:
        return NOT_DONE
    except Exception as error:  # noqa: BLE001 - the one boundary: nothing ends in a traceback
        return _failed(error, given)
    if outcome == _INTERRUPTED_BY_TYPER:
        return _interrupted(given)
    return outcome if isinstance(outcome, int) else 0


def _interrupted(given: Terminal) -> int:
    """Say so; unless the charger was just asked for a change, nothing more was done."""
    text = "Interrupted. What was asked for and not confirmed was not done."
    document: dict[str, object] = {"code": "interrupted", "message": text}
    if given.unanswered:
        text = "Interrupted. It may have been done all the same: look with `chargepin status`."
        document |= {"message": text, "may_have_happened": True}
    given.error(document, f"\n{text}")
    return MAYBE_DONE if given.unanswered else NOT_DONE


def _failed(error: Exception, given: Terminal) -> int:
    """Report an error of ours; anything else is a fault of this program and says so."""
    from chargepin.app import errors

    if isinstance(error, errors.ChargepinError):
        document: dict[str, object] = {"code": error.code, "message": str(error)}
        if error.retry_after_s is not None:
            document["retry_after_s"] = error.retry_after_s
        for name in ("tries_left", "needed", "rssi_dbm", "refusal", "reads"):
            if hasattr(error, name):
                document[name] = getattr(error, name)
        if error.may_have_happened:
            document["may_have_happened"] = True
        text = str(error)
        if error.may_have_happened:
            text += " It may have been done all the same: look with `chargepin status`."
        given.error(document, text)
        return _code(error)
    if isinstance(error, OSError):
        text = f"Not done: {plain(error)}."
        given.error({"code": "system", "message": text}, text)
        return NOT_DONE
    where = traceback.extract_tb(error.__traceback__)[-1]
    text = (
        f"This is a fault of chargepin: {type(error).__name__} in {Path(where.filename).name},"
        f" line {where.lineno}. What was asked for may be half done; please report it."
    )
    given.error({"code": "fault", "message": text}, text)
    return MAYBE_DONE


def _code(error: Exception) -> int:
    from chargepin.app import errors

    if isinstance(error, errors.ChargepinError) and error.may_have_happened:
        return MAYBE_DONE
    if isinstance(error, errors.PasscodeNeeded | errors.PasscodeWrong | errors.ChangedElsewhere):
        return PASSCODE
    if isinstance(error, errors.Paused | errors.Exhausted):
        return PAUSED
    return NOT_DONE
