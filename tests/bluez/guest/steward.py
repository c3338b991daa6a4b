"""Runs what the tests ask for: a JSON object a line in, one out. Ends with the port."""

import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

from bluez.guest.ports import port


def run(order: dict[str, Any]) -> dict[str, Any]:
    """Run one shell command; its two streams come back apart."""
    begun = time.monotonic()
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", order["command"]],
            input=order["stdin"].encode(),
            capture_output=True,
            check=False,
            timeout=order["within_s"],
        )
        code, out, err = done.returncode, done.stdout, done.stderr
    except subprocess.TimeoutExpired as late:
        code, out, err = 124, late.stdout or b"", late.stderr or b""
    return {
        "id": order["id"],
        "code": code,
        "out": out.decode(errors="replace"),
        "err": err.decode(errors="replace"),
        "seconds": time.monotonic() - begun,
    }


def main(name: str) -> None:
    control = os.open(port(name), os.O_RDWR)
    speaking = threading.Lock()

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
            threading.Thread(target=lambda order=order: say(run(order)), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1])
