"""The same over controllers of BlueZ's own, emulated in the guest: ours is only the charger's host.

What this emulator (btvirt, BlueZ 5.66) cannot do, as btmon showed:

- Every connection has the handle 42. A peripheral's host takes a second one for the first: while
  an owner is connected, the guest's connection is complete, and nothing on it is ever answered. So
  here only one is open at a time, and an owner hangs up before a phone comes.
- Who connects to a peripheral that does not advertise in that moment fails at once (0x3e), where
  real controllers wait. So a charger that carries one phone at a time is not asked twice in a row.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from bluez.conftest import World
from bluez.image import Image
from bluez.owners import Owner
from bluez.programs import serving
from bluez.test_app import chargepin, fails
from bluez.test_imitated import NAME as IMITATED
from bluez.test_imitated import PASSCODE, Imitation, status
from bluez.test_stock import address_of, pair_by_bluetoothctl
from bluez.virtual_machine import VirtualMachine

pytestmark = pytest.mark.bluez
NAME = "WB100007"


@pytest.fixture(scope="module")
def emulated(image: Image, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory = tmp_path_factory.mktemp("bluez-emulated")
    with VirtualMachine(image, None, directory / "guest") as guest:
        yield World(guest, guest.joined[1], directory)
        guest.keep()


def ours(world: World, *options: str) -> Any:
    """A charger of ours, on the other controller than its owner is."""
    about = ("--serial", NAME[2:], "--data", str(world.directory / NAME))
    radio = ("--radio", world.guest.joined[0])
    return serving(world.directory / f"{NAME}.log", "charger", *about, *radio, *options)


@pytest.fixture(scope="module")
def owner(emulated: World) -> Owner:
    return Owner(emulated, NAME)


def test_the_app_in_the_guest_proves_the_passcode(emulated: World, owner: Owner) -> None:
    with ours(emulated):
        typed = f"{owner.protect()}\n"
        done = chargepin(emulated.guest, "passcode", "enter", NAME, stdin=typed)
        assert done.code == 0, done
        assert done.json == {"charger": NAME, "role": "user"}
        done = chargepin(emulated.guest, "status", NAME, "--no-input")
        assert done.code == 0, done
        assert done.json["passcode"] == "protected"


def test_the_code_of_an_owner_who_hung_up_pairs_a_phone_without_the_app(
    emulated: World, owner: Owner
) -> None:
    with ours(emulated, "--links", "1"), owner.window() as window:
        code = window.code()
        assert window.hung_up()
        told = emulated.guest.python("bluez.guest.window", NAME, code).json
        assert (told["error"], told["asked"]) == (None, 1), told
        assert "st" in told["status"]
        window.comes_back()
        assert window.paired()


@pytest.fixture(scope="module")
def guest(emulated: World) -> Iterator[VirtualMachine]:
    """With a charger of the maker's in the air, whose passcode is typed to pair."""
    imitation = Imitation(emulated)
    imitation.start(PASSCODE)
    yield emulated.guest
    imitation.stop()


def test_another_passcode_than_the_imitated_chargers_is_said_so(guest: VirtualMachine) -> None:
    assert fails(status(guest, "004218"), "passcode_wrong")


def test_its_passcode_pairs_the_app_which_then_controls_it(guest: VirtualMachine) -> None:
    done = status(guest, PASSCODE)
    assert done.code == 0, done
    assert (done.json["software"], done.json["locked"]) == ("6.11.26", False)
    done = chargepin(guest, "call", IMITATED, "w_lck", "1", "--no-input")
    assert done.code == 0, done
    done = status(guest)
    assert done.code == 0, done
    assert done.json["locked"] is True


def test_bluetoothctl_types_it_too(guest: VirtualMachine) -> None:
    guest.python("bluez.guest.plain_dbus", "forget", IMITATED)
    address = address_of(guest, IMITATED)
    said = pair_by_bluetoothctl(guest, address, "KeyboardOnly", PASSCODE)
    assert "Pairing successful" in said, said
