"""The program that forks: imports what commands need once, then is one command after another.

    python -m chargepin.cli.forking DESCRIPTOR

The descriptor is a Unix socket (SOCK_SEQPACKET). An order is the command's arguments as JSON, and
with it the descriptors of its standard input, output and error, and of a pipe to which the fork
writes its process id and then its exit code, a line each.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

import chargepin.app.account
import chargepin.app.client
import chargepin.app.connect
import chargepin.app.link_bumble  # noqa: F401 - what commands import when they are needed
from chargepin.cli.main import run
from chargepin.cli.terminal import Terminal
from chargepin.machine.controller import quiet

_ORDER_MAX_BYTES: Final = 1 << 16
_STREAMS: Final = 3


def main() -> None:
    """Fork for each order that comes, until nobody is left to give any."""
    quiet()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them: their pipes close
    orders = socket.socket(fileno=int(sys.argv[1]))
    while True:
        order, descriptors, _, _ = socket.recv_fds(orders, _ORDER_MAX_BYTES, _STREAMS + 1)
        if not order:
            return
        if os.fork() == 0:
            orders.close()
            _become(json.loads(order), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _become(arguments: Sequence[str], descriptors: Sequence[int]) -> NoReturn:
    """Be one command, with its streams."""
    code = 1
    status = descriptors[_STREAMS]
    os.write(status, b"%d\n" % os.getpid())
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for number, descriptor in enumerate(descriptors[:_STREAMS]):
            os.dup2(descriptor, number)
            os.close(descriptor)
        code = run(arguments, Terminal(sys.stdin, sys.stdout, sys.stderr))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os.write(status, b"%d\n" % code)
        os._exit(code)


if __name__ == "__main__":
    main()
