"""Runs `chargepin` in children of its own that can be stopped or killed at any durable write.

A child is a fork of this process, which has imported everything already: it starts within
milliseconds, and SIGKILL ends it like any other program. It connects twice to the Unix socket that
its order names: the first connection is its standard output, from the second it takes orders:

    arm kill N | arm pause N    die, or stop, at the Nth point that is passed from now on
    go                          go on after a stop
    here                        say that you are there

It says `armed`, `here`, `at NAME` when it stops or is about to die, and `exit CODE`.

    {"arguments": [...], "control": "SOCKET", "log": "FILE", "typed": "...", "arm": "kill 1"}
"""

import functools
import io
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, Final

import bumble.device

import chargepin.app.account
import chargepin.app.connect
import chargepin.app.link_bumble  # noqa: F401 - what children need is imported once, here
from chargepin.account.api import serve_account
from chargepin.account.store import SQLiteStore as AccountStore
from chargepin.app.vault import FileVault
from chargepin.charger.daemon import Daemon
from chargepin.charger.store import SQLiteStore
from chargepin.cli.main import run
from chargepin.cli.terminal import Terminal

# What writes, in every part; each call is a point before and a point after.
WRITES: Final = (
    (SQLiteStore, "commit"),
    (SQLiteStore, "_keep_counters"),
    (SQLiteStore, "put"),
    (SQLiteStore, "put_bluetooth_bond"),
    (AccountStore, "keep_setting"),
    (AccountStore, "_write"),
    (FileVault, "update"),
    (FileVault, "forget"),
)
PARTS: Final = (bumble.device, serve_account, Daemon)


class Points:
    """Counts the points that are passed, and does at the Nth what was ordered."""

    def __init__(self, voice: socket.socket, ear: socket.socket) -> None:
        self._voice = voice
        self._ear = ear
        self._order = ""
        self._left = 0
        self._go = threading.Event()

    def arm(self, order: str) -> None:
        """order: "kill N" or "pause N"."""
        self._order, _, number = order.partition(" ")
        self._left = int(number)

    def obey(self) -> None:
        """Take orders until the socket closes; nobody is left to answer to then."""
        for line in self._ear.makefile():
            match line.split(maxsplit=1):
                case ["arm", order]:
                    self.arm(order)
                    self.say("armed")
                case ["here"]:
                    self.say("here")
                case _:
                    self._go.set()
        os._exit(9)

    def say(self, text: str) -> None:
        self._voice.sendall(f"{text}\n".encode())

    def passed(self, name: str) -> None:
        if not self._left:
            return
        self._left -= 1
        if self._left:
            return
        self.say(f"at {name}")
        if self._order == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        self._go.wait()
        self._go.clear()

    def stand_around(self, kind: type, method: str) -> None:
        """Pass a point before and after each call of a method that writes."""
        write: Callable[..., Any] = getattr(kind, method)

        @functools.wraps(write)
        def written(*given: Any, **named: Any) -> Any:
            self.passed(f"before {kind.__name__}.{method}")
            done = write(*given, **named)
            self.passed(f"after {kind.__name__}.{method}")
            return done

        setattr(kind, method, written)


def child(order: dict[str, Any]) -> int:
    """Run one command line; returns its exit code."""
    voice, ear = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    voice.connect(order["control"])
    ear.connect(order["control"])
    os.dup2(voice.fileno(), 1)
    os.dup2(os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 2)
    points = Points(voice, ear)
    for kind, method in WRITES:
        points.stand_around(kind, method)
    if order.get("arm"):
        points.arm(order["arm"])
    threading.Thread(target=points.obey, daemon=True).start()
    stdin = io.StringIO(order.get("typed", ""))
    code = run(order["arguments"], Terminal(stdin, sys.stdout, sys.stderr))
    points.say(f"exit {code}")
    return code


def main() -> None:
    """Fork a child for each line of standard input; its number is the answer."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: their socket closes
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:
        number = os.fork()
        if number == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            os.open(os.devnull, os.O_RDONLY)
            code = 9
            try:
                code = child(json.loads(line))
            finally:
                sys.stdout.flush()
                os._exit(code)
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
