"""A person at bluetoothctl who types `pair`, and a code if there is one; prints what is said."""

import os
import pty
import re
import select
import sys
import time

WITHIN_S = 40.0
ENDED = re.compile(r"Pairing successful|Failed to pair: \S+")


class Screen:
    """bluetoothctl on a terminal of its own."""

    def __init__(self, capability: str) -> None:
        program, self._terminal = pty.fork()
        if program == 0:
            os.execvp("bluetoothctl", ["bluetoothctl", "--agent", capability])  # noqa: S606
        self.said = ""

    def type(self, line: str) -> None:
        os.write(self._terminal, f"{line}\n".encode())

    def wait(self, pattern: re.Pattern[str]) -> None:
        end = time.monotonic() + WITHIN_S
        while not pattern.search(self.said) and time.monotonic() < end:
            if select.select([self._terminal], [], [], 0.2)[0]:
                shown = os.read(self._terminal, 4096).decode(errors="replace")
                self.said += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[\r\x01\x02]", "", shown)


def main(capability: str, address: str, code: str | None = None) -> None:
    screen = Screen(capability)
    screen.wait(re.compile("Agent registered"))
    screen.type(f"pair {address}")
    if code is not None:
        screen.wait(re.compile(f"Enter passkey|{ENDED.pattern}"))
        if "Enter passkey" in screen.said:
            screen.type(code)
    screen.wait(ENDED)
    screen.type("quit")
    print(screen.said)


if __name__ == "__main__":
    main(*sys.argv[1:])
