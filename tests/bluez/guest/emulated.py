"""Joins a port to a controller of BlueZ's emulator, for one host outside after the other.

Each finds the same one, reset: the emulator does not always survive that one is taken away. It
gives its controllers a maker that real ones have, too (the Linux Foundation, for Zephyr's), and
imitations run on no real one. Hosts outside are told the number of no maker instead, as on any
virtual radio.
"""

import os
import re
import select
import socket
import sys
import time
from contextlib import suppress

from bluez.guest.adapter import whole_packets
from bluez.guest.ports import port

EMULATOR = "/tmp/bt-server-le"  # noqa: S108 - where btvirt has it
LOOKS_EVERY_S = 0.05
RESET = b"\x01\x03\x0c\x00"  # Core Vol 4, Part E, 7.3.2
RESET_DONE = b"\x04\x0e\x04\x01\x03\x0c\x00"
# Core Vol 4, Part E, 7.4.1: the event that answers Read Local Version Information, done well
LOCAL_VERSION = re.compile(rb"(\x04\x0e\x0c.\x01\x10\x00.{4})\xf1\x05(..)", re.DOTALL)
NO_MAKER = b"\\1\xff\xff\\2"


def serve_one(outside: int, emulator: socket.socket) -> None:
    """Wait for a host outside, and carry packets until it hangs up, whole ones to the emulator."""
    heard = bytearray()
    somebody = False
    poll = select.poll()
    poll.register(outside, select.POLLIN)
    poll.register(emulator, select.POLLIN)
    while True:
        for ready, events in poll.poll():
            if ready != outside:
                data = LOCAL_VERSION.sub(NO_MAKER, emulator.recv(4096))
                if somebody and not told(outside, data):
                    return
            elif not events & select.POLLHUP:
                somebody = True
                heard += os.read(outside, 4096)
                for packet in whole_packets(heard):
                    emulator.sendall(packet)
            elif somebody:
                return
            else:
                time.sleep(LOOKS_EVERY_S)


def told(outside: int, data: bytes) -> bool:
    """Write all of it, unless the host hangs up: whether it did not."""
    room = select.poll()
    room.register(outside, select.POLLOUT)
    while data:
        if any(events & select.POLLHUP for _, events in room.poll()):
            return False
        with suppress(BlockingIOError):
            data = data[os.write(outside, data) :]
    return True


def main(name: str) -> None:
    outside = os.open(port(name), os.O_RDWR | os.O_NONBLOCK)
    with socket.socket(socket.AF_UNIX) as emulator:
        emulator.connect(EMULATOR)
        while True:
            serve_one(outside, emulator)
            emulator.sendall(RESET)
            left = b""
            while RESET_DONE not in left:
                left += emulator.recv(4096)


if __name__ == "__main__":
    main(sys.argv[1])
