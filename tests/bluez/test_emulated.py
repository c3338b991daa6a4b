"""The same over controllers of BlueZ's own, emulated in the guest: ours is only the charger's host.

They give every connection of a peripheral the same handle, so only one can be open at a time.
"""

from collections.abc import Iterator

import pytest

from bluez.conftest import World
from bluez.image import Image
from bluez.owners import Owner
from bluez.programs import serving
from bluez.test_app import chargepin
from bluez.test_imitated import NAME as IMITATED
from bluez.test_imitated import PASSCODE, Imitation, error, status
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


def test_the_app_in_the_guest_proves_the_passcode(emulated: World) -> None:
    about = ("--serial", NAME[2:], "--data", str(emulated.directory / NAME))
    radio = ("--radio", emulated.guest.joined[0])
    with serving(emulated.directory / f"{NAME}.log", "charger", *about, *radio):
        passcode = Owner(emulated, NAME).done("passcode", "set")["passcode"]
        typed = f"{passcode}\n"
        done = emulated.guest.python("chargepin", "passcode", "enter", NAME, "--json", stdin=typed)
        assert done.code == 0, done
        assert done.json == {"charger": NAME, "role": "user"}
        done = emulated.guest.python("chargepin", "status", NAME, "--json", "--no-input")
        assert done.code == 0, done
        assert done.json["passcode"] == "protected"


@pytest.fixture(scope="module")
def guest(emulated: World) -> Iterator[VirtualMachine]:
    """With a charger of the maker's in the air, whose passcode is typed to pair."""
    imitation = Imitation(emulated)
    imitation.start(PASSCODE)
    yield emulated.guest
    imitation.stop()


def test_another_passcode_than_the_imitated_chargers_is_said_so(guest: VirtualMachine) -> None:
    assert error(status(guest, "004218")) == "passcode_wrong"


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
