"""Joins a port to BlueZ's emulator, which makes a controller for every host that comes to it.

It gives its controllers a maker that real ones have, too (the Linux Foundation, for Zephyr's), and
imitations run on no real one. Hosts outside are told the number of no maker instead, as on any
virtual radio.
"""

import os
import re
import select
import socket
import sys
import time

from bluez.guest.adapter import whole_packets
from bluez.guest.ports import port

EMULATOR = "/tmp/bt-server-le"  # noqa: S108 - where btvirt has it
LOOKS_EVERY_S = 0.05
# Core Vol 4, Part E, 7.4.1: the event that answers Read Local Version Information, done well
LOCAL_VERSION = re.compile(rb"(\x04\x0e\x0c.\x01\x10\x00.{4})\xf1\x05(..)", re.DOTALL)
NO_MAKER = b"\\1\xff\xff\\2"


def serve_one(outside: int) -> None:
    """Carry packets, whole ones towards the emulator, until the host outside hangs up."""
    heard = bytearray()
    with socket.socket(socket.AF_UNIX) as emulator:
        emulator.connect(EMULATOR)
        poll = select.poll()
        poll.register(outside, select.POLLIN)
        poll.register(emulator, select.POLLIN)
        while True:
            for ready, events in poll.poll():
                if events & select.POLLHUP:
                    return
                if ready == outside:
                    heard += os.read(outside, 4096)
                    for packet in whole_packets(heard):
                        emulator.sendall(packet)
                else:
                    data = LOCAL_VERSION.sub(NO_MAKER, emulator.recv(4096))
                    while data:
                        data = data[os.write(outside, data) :]


def main(name: str) -> None:
    outside = os.open(port(name), os.O_RDWR)
    somebody = select.poll()
    somebody.register(outside, select.POLLIN)
    while True:
        if any(events & select.POLLIN for _, events in somebody.poll()):
            serve_one(outside)
        time.sleep(LOOKS_EVERY_S)


if __name__ == "__main__":
    main(sys.argv[1])
