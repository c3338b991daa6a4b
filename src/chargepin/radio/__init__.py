"""A virtual radio: every program that connects has its own Bluetooth controller in one room.

The programs speak HCI over TCP (UART framing, Core Vol 4, Part A), as to a controller of their
own: any host that can, not only ours, may join. Whoever is in the room hears, connects to and
talks with the others as by Bluetooth LE, without hardware and in a fraction of the time.
"""

from chargepin.radio.room import Room, serve_radio

__all__ = ["Room", "serve_radio"]
