"""The guest's Bluetooth adapter: /dev/vhci joined to a port, one whole HCI packet at a time."""

import os
import select
import sys

from bluez.guest.ports import port

# Core Vol 4, Part A, 2: a packet's type, then its header, whose last bytes are the length.
HEADERS = {1: (3, 1), 2: (4, 2), 3: (3, 1), 4: (2, 1), 5: (4, 2)}
NEW_PRIMARY_CONTROLLER = b"\xff\x00"


def whole_packets(buffer: bytearray) -> list[bytes]:
    """Take every whole packet off the buffer."""
    packets = []
    while buffer:
        header, length = HEADERS[buffer[0]]
        if len(buffer) < 1 + header:
            break
        end = 1 + header + int.from_bytes(buffer[1 + header - length : 1 + header], "little")
        if len(buffer) < end:
            break
        packets.append(bytes(buffer[:end]))
        del buffer[:end]
    return packets


def main(name: str) -> None:
    radio = os.open(port(name), os.O_RDWR)
    kernel = os.open("/dev/vhci", os.O_RDWR)
    os.write(kernel, NEW_PRIMARY_CONTROLLER)
    os.read(kernel, 64)  # which of its adapters it became
    heard = bytearray()
    poll = select.poll()
    poll.register(radio, select.POLLIN)
    poll.register(kernel, select.POLLIN)
    while True:
        for ready, _ in poll.poll():
            if ready == radio:
                data = os.read(radio, 4096)
                if not data:
                    raise SystemExit("the radio is gone")
                heard += data
                for packet in whole_packets(heard):
                    os.write(kernel, packet)
            else:
                packet = os.read(kernel, 4096)
                while packet:
                    packet = packet[os.write(radio, packet) :]


if __name__ == "__main__":
    main(sys.argv[1])
