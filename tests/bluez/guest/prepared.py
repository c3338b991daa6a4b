"""Runs Python programs from a process that has imported already what they import.

The guest's processor is emulated: a new Python takes five seconds to import the command, a copy of
one that has done so takes none. Orders are lines of JSON, as are the answers. Ends with its input.
"""

import asyncio
import json
import os
import runpy
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

IMPORTED = (
    *("app.link_conformance", "bluez.guest.pairing_checks"),
    *("chargepin.app.connect", "chargepin.app.stock", "chargepin.app.link_bleak.linux"),
    *("chargepin.cli.main", "chargepin.cli.terminal", "chargepin.charger.daemon"),
    *("bleak.backends.bluezdbus.client", "bleak.backends.bluezdbus.scanner"),
)


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Run one module as a program of its own; its streams are files."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        with _ending():
            _become(order)
    _, status = os.waitpid(child, 0)
    return {"code": os.waitstatus_to_exitcode(status)}


def _become(order: dict[str, Any]) -> None:
    for stream, (path, flags) in enumerate(
        ((order["in"], os.O_RDONLY), (order["out"], os.O_WRONLY), (order["err"], os.O_WRONLY))
    ):
        opened = os.open(path, flags)
        os.dup2(opened, stream)
        os.close(opened)
    sys.stdin, sys.stdout, sys.stderr = (
        open(stream, mode, encoding="utf-8", closefd=False)  # noqa: SIM115 - until the end
        for stream, mode in ((0, "r"), (1, "w"), (2, "w"))
    )
    signal.alarm(int(order["within_s"]) + 1)  # it ends the program
    sys.argv = [order["module"], *order["arguments"]]
    runpy.run_module(order["module"], run_name="__main__", alter_sys=True)


@contextmanager
def _ending() -> Iterator[None]:
    """End the process, whatever happens, and never return to the loop that forked it."""
    code = 1
    try:
        yield
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:  # noqa: BLE001 - as Python itself does at the end of a program
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def main() -> None:
    for module in IMPORTED:
        import_module(module)
    asyncio.run(asyncio.sleep(0))  # what asyncio imports late
    for line in sys.stdin:
        print(json.dumps(run(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
