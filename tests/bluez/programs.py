"""Programs outside the guest: a virtual radio, chargers on it. All end with this process."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bluez.image import ROOT
from chargepin.machine.lifeline import VARIABLE

_ENDS_WITHIN_S = 10.0


@dataclass
class Program:
    """A program that said that it is ready. said: its first line."""

    process: subprocess.Popen[str]
    said: dict[str, Any]

    @property
    def listen(self) -> str:
        """Where."""
        return str(self.said["listen"])


@contextmanager
def running(log: Path, *command: str) -> Iterator[Program]:
    """Start a program of this project and wait for its first line; ends it afterwards."""
    reading, writing = os.pipe()
    environment = {**os.environ, VARIABLE: str(reading), "PYTHONPATH": str(ROOT / "tests")}
    with log.open("ab") as complaints:
        process = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
            env=environment,
            pass_fds=(reading,),
        )
    os.close(reading)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(command)} did not start: {log.read_text()}")
        yield Program(process, json.loads(line))
    finally:
        os.close(writing)
        process.terminate()
        try:
            process.wait(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                stream.close()


def serving(log: Path, *arguments: str) -> Any:
    """`chargepin serve …`."""
    return running(log, "-m", "chargepin", "serve", *arguments)
