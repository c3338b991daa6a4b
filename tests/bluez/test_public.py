"""Published clients' habits, on BlueZ, with every radio module: open, and in a window."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from bluez.conftest import World
from bluez.owners import Owner, charger
from bluez.virtual_machine import VirtualMachine

pytestmark = pytest.mark.bluez
MODULES = {"bgx": "WB100004", "ublox": "WB100005", "zentri": "WB100006"}
Owners = dict[str, Owner]


@pytest.fixture(scope="module")
def owners(world: World) -> Iterator[Owners]:
    with ExitStack() as stack:
        yield {
            module: stack.enter_context(charger(world, name, "--radio-module", module))
            for module, name in MODULES.items()
        }


def work(guest: VirtualMachine, whose: str, module: str, *code: str) -> Any:
    done = guest.python("bluez.guest.public_client", "work", MODULES[module], whose, *code)
    assert done.code == 0, done.err
    return done.json


def forget(guest: VirtualMachine, module: str) -> None:
    guest.python("bluez.guest.plain_dbus", "forget", MODULES[module])


@pytest.mark.parametrize(
    ("whose", "module"),
    [
        ("jagheterfredrik", "bgx"),
        ("kylepet", "ublox"),
        ("daniel-meyer-pl", "bgx"),
        ("daniel-meyer-pl", "zentri"),
        ("feliciaan", "ublox"),
        ("feliciaan", "bgx"),
    ],
)
def test_an_open_charger_works_with(
    guest: VirtualMachine, owners: Owners, whose: str, module: str
) -> None:
    del owners
    told = work(guest, whose, module)
    assert "error" not in told, told
    forget(guest, module)
    assert {"st", "cur", "en", "L1"} <= told["status"].keys(), told
    assert told["versions"]["s"] == "6.7.17"
    assert MODULES[module][2:] in str(told["serial"])
    assert (told["locked"], told["unlocked"], told["limit"]) == (1, 0, 10)


@pytest.fixture(scope="module")
def protected(owners: Owners) -> Owners:
    for owner in owners.values():
        owner.protect()
    return owners


@pytest.mark.parametrize(
    ("whose", "module"), [("kylepet", "bgx"), ("feliciaan", "bgx"), ("feliciaan", "ublox")]
)
def test_in_a_window_its_passcode_field_takes_the_code(
    guest: VirtualMachine, protected: Owners, whose: str, module: str
) -> None:
    with protected[module].window() as window:
        told = work(guest, whose, module, window.code())
        assert told.get("asked") == 1, told
        assert window.paired()
    assert "st" in told["status"]
    forget(guest, module)


def test_without_a_passcode_field_it_is_refused_in_a_window_too(
    guest: VirtualMachine, protected: Owners
) -> None:
    with protected["bgx"].window() as window:
        assert window.code()
        told = work(guest, "jagheterfredrik", "bgx")
    assert "AuthenticationFailed" in told["error"]


def test_one_that_never_pairs_is_refused_at_once(guest: VirtualMachine, protected: Owners) -> None:
    del protected
    told = work(guest, "daniel-meyer-pl", "zentri")
    assert "INSUFFICIENT_AUTHORIZATION" in told["error"], told
