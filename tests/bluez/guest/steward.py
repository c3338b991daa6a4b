"""Runs what the tests ask for: a JSON object a line in, one out. Ends with the port."""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from bluez.guest.ports import port

TIMED_OUT = 124


class Steward:
    """Runs shell commands, each in a thread; and Python programs, one after the other."""

    def __init__(self) -> None:
        self._one_at_a_time = threading.Lock()
        self._prepared = subprocess.Popen(
            [sys.executable, "-m", "bluez.guest.prepared"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, order: dict[str, Any]) -> dict[str, Any]:
        """Run one thing; its two streams come back apart."""
        begun = time.monotonic()
        code, out, err = self._program(order) if "module" in order else self._shell(order)
        return {
            "id": order["id"],
            "code": code,
            "out": out.decode(errors="replace"),
            "err": err.decode(errors="replace"),
            "seconds": time.monotonic() - begun,
        }

    def _program(self, order: dict[str, Any]) -> tuple[int, bytes, bytes]:
        with self._one_at_a_time, tempfile.TemporaryDirectory() as place:
            streams = {name: Path(place, name) for name in ("in", "out", "err")}
            for path in streams.values():
                path.write_bytes(order["stdin"].encode() if path.name == "in" else b"")
            told = {**order, **{name: str(path) for name, path in streams.items()}}
            told_to, hears = self._prepared.stdin, self._prepared.stdout
            assert told_to is not None
            assert hears is not None
            told_to.write(json.dumps(told) + "\n")
            told_to.flush()
            code: int = json.loads(hears.readline())["code"]
            return code, streams["out"].read_bytes(), streams["err"].read_bytes()

    @staticmethod
    def _shell(order: dict[str, Any]) -> tuple[int, bytes, bytes]:
        try:
            done = subprocess.run(
                ["/bin/sh", "-c", order["command"]],
                input=order["stdin"].encode(),
                capture_output=True,
                check=False,
                timeout=order["within_s"],
            )
        except subprocess.TimeoutExpired as late:
            return TIMED_OUT, late.stdout or b"", late.stderr or b""
        return done.returncode, done.stdout, done.stderr


def main(name: str) -> None:
    control = os.open(port(name), os.O_RDWR)
    speaking = threading.Lock()
    steward = Steward()

    def say(message: dict[str, Any]) -> None:
        data = (json.dumps(message) + "\n").encode()
        with speaking:
            while data:
                data = data[os.write(control, data) :]

    say({"ready": True, "kernel": os.uname().release})
    heard = b""
    while data := os.read(control, 65536):
        *lines, heard = (heard + data).split(b"\n")
        for line in lines:
            order = json.loads(line)
            threading.Thread(
                target=lambda order=order: say(steward.run(order)), daemon=True
            ).start()


if __name__ == "__main__":
    main(sys.argv[1])
