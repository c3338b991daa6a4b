"""`python -m chargepin` and the `chargepin` command."""

import io
import os
import sys
from pathlib import Path
from typing import Literal, TextIO

_STANDARD = 3


def main() -> None:
    """Run the command with this process's arguments and streams."""
    from chargepin.cli.main import run  # noqa: PLC0415 - importing the package does no work
    from chargepin.cli.terminal import Terminal  # noqa: PLC0415 - as above

    _no_file_takes_their_numbers()
    stdin = _or_nothing(sys.stdin, "r")
    stdout, stderr = _or_nothing(sys.stdout, "w"), _or_nothing(sys.stderr, "w")
    sys.exit(run(sys.argv[1:], Terminal(stdin, stdout, stderr)))


def _no_file_takes_their_numbers() -> None:
    """Open what was closed by whoever started this, in its order: files would be taken for it."""
    for number in range(_STANDARD):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def _or_nothing(stream: TextIO | None, mode: Literal["r", "w"]) -> TextIO:
    """What Python has as None is nowhere; letters that a terminal has not are written as codes."""
    if isinstance(stream, io.TextIOWrapper) and mode == "w":
        stream.reconfigure(errors="backslashreplace")
    return stream or Path(os.devnull).open(mode)


if __name__ == "__main__":
    main()
