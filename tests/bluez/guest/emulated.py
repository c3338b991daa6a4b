"""Joins a port to BlueZ's emulator, which makes a controller for every host that comes to it."""

import os
import select
import socket
import sys
import time

from bluez.guest.adapter import whole_packets
from bluez.guest.ports import port

EMULATOR = "/tmp/bt-server-le"  # noqa: S108 - where btvirt has it
LOOKS_EVERY_S = 0.05


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
                    data = emulator.recv(4096)
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
