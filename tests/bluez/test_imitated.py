"""A charger that does as real ones with software 6.11.26: its passcode is typed to pair.

Every client meets the same one; its passcode begins with zeros.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from bluez.conftest import World
from bluez.owners import charger
from bluez.test_app import chargepin, fails
from bluez.test_stock import address_of, pair_by_bluetoothctl
from bluez.virtual_machine import Done, VirtualMachine

pytestmark = pytest.mark.bluez
NAME, PASSCODE, NEXT_PASSCODE = "WB100026", "004217", "730915"


class Imitation:
    """The charger, and somebody who stands before it."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._running = ExitStack()

    def start(self, passcode: str) -> None:
        """Run it with a passcode, instead of how it ran."""
        self.stop()
        factory = self._world.directory / "factory-passcode-imitated"
        factory.write_text(passcode)
        options = ("--imitate", "6.11.26", "--factory-passcode-file", str(factory))
        self._running.enter_context(charger(self._world, NAME, *options))

    def stop(self) -> None:
        self._running.close()

    def hold_button(self) -> None:
        """Have it forget every Bluetooth bond."""
        with socket.socket(socket.AF_UNIX) as front:
            front.connect(str(self._world.directory / NAME / "button"))
            front.sendall(b"hold\n")
            assert front.recv(64) == b"done\n"


@pytest.fixture(scope="module")
def imitation(world: World) -> Iterator[Imitation]:
    running = Imitation(world)
    running.start(PASSCODE)
    yield running
    running.stop()


def status(guest: VirtualMachine, *typed: str) -> Done:
    """Our app, by a person who types a code, or where nobody can."""
    lines = "".join(f"{each}\n" for each in typed)
    return chargepin(guest, "status", NAME, *([] if typed else ["--no-input"]), stdin=lines)


def test_nobody_to_ask(guest: VirtualMachine, imitation: Imitation) -> None:
    del imitation
    assert fails(status(guest), "passcode_needed", "charger_refused")


def test_a_wrong_passcode_is_said_so(guest: VirtualMachine, imitation: Imitation) -> None:
    del imitation
    assert fails(status(guest, "004218"), "passcode_wrong")


def test_the_passcode_zeros_and_all_then_the_bond(
    guest: VirtualMachine, imitation: Imitation
) -> None:
    del imitation
    done = status(guest, PASSCODE)
    assert done.code == 0, done.out + done.err
    assert done.json["software"] == "6.11.26"
    done = status(guest)
    assert done.code == 0, done.out + done.err
    done = chargepin(guest, "call", NAME, "r_sn_", "--no-input")
    assert "100026" in str(done.json), done.err


def test_a_bond_that_the_charger_lost_is_made_anew(
    guest: VirtualMachine, imitation: Imitation
) -> None:
    imitation.hold_button()
    done = status(guest, PASSCODE)
    assert done.code == 0, done.out + done.err


def test_another_passcode_is_noticed(guest: VirtualMachine, imitation: Imitation) -> None:
    imitation.hold_button()
    imitation.start(NEXT_PASSCODE)
    assert fails(status(guest, PASSCODE), "passcode_wrong")
    done = status(guest, NEXT_PASSCODE)
    assert done.code == 0, done.out + done.err
    assert status(guest).code == 0


def test_bluetoothctl_and_plain_dbus_type_it_too(
    guest: VirtualMachine, imitation: Imitation
) -> None:
    imitation.start(PASSCODE)
    guest.python("bluez.guest.plain_dbus", "forget", NAME)
    said = pair_by_bluetoothctl(guest, address_of(guest, NAME), "KeyboardOnly", PASSCODE)
    assert "Pairing successful" in said, said
    guest.python("bluez.guest.plain_dbus", "forget", NAME)
    told = guest.python("bluez.guest.plain_dbus", "pair", NAME, "KeyboardOnly", PASSCODE).json
    assert (told["paired"], told["asked"]) == (True, 1), told
    guest.python("bluez.guest.plain_dbus", "forget", NAME)


def test_a_published_client_with_a_passcode_field(
    guest: VirtualMachine, imitation: Imitation
) -> None:
    del imitation
    arguments = ("work", NAME, "feliciaan", PASSCODE)
    done = guest.python("bluez.guest.public_client", *arguments)
    assert done.code == 0, done.err
    told = done.json
    assert told.get("asked") == 1, told
    assert told["versions"]["s"] == "6.11.26"
