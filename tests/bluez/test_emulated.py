"""The same over controllers of BlueZ's own, emulated in the guest: ours is only the charger's host.

They give every connection of a peripheral the same handle, so only one can be open at a time.
"""

from collections.abc import Iterator

import pytest

from bluez.conftest import World
from bluez.image import Image
from bluez.owners import Owner
from bluez.programs import serving
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
