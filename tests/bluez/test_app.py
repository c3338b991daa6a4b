"""Our own command inside the guest, over BlueZ, with a protected charger."""

from typing import Any

import pytest

from bluez.conftest import OPEN, PASSCODE, PROTECTED
from bluez.virtual_machine import Done, VirtualMachine

pytestmark = pytest.mark.bluez
PASSCODE_EXIT = 4
LOOKS = 5  # a busy computer hears less in a few seconds


def chargepin(guest: VirtualMachine, *words: str, home: str = "one", stdin: str = "") -> Done:
    return guest.python("chargepin", *words, "--json", "--home", f"/root/{home}", stdin=stdin)


def fails(done: Done, *codes: str) -> bool:
    """Whether it ended with one of these errors; what it said, if not."""
    assert done.code, done.out
    assert done.json["error"]["code"] in codes, done.out + done.err
    return True


def test_chargers_are_found(guest: VirtualMachine) -> None:
    found: dict[str, Any] = {}
    for _ in range(LOOKS):
        done = guest.run("python3 -m chargepin scan --json --home /root/scan")
        assert done.code == 0, done.err
        found |= {each["name"]: each for each in done.json if each["passcode_service"]}
        if {OPEN, PROTECTED} <= found.keys():
            break
    assert {OPEN, PROTECTED} <= found.keys(), done.json


def test_an_open_charger_lets_everybody_in(guest: VirtualMachine) -> None:
    done = chargepin(guest, "status", OPEN, "--no-input")
    assert done.code == 0, done.out + done.err
    assert (done.json["passcode"], done.json["software"]) == ("open", "6.7.17")


def test_a_protected_charger_wants_its_passcode(guest: VirtualMachine) -> None:
    done = chargepin(guest, "status", PROTECTED, "--no-input")
    assert fails(done, "passcode_needed")
    assert done.code == PASSCODE_EXIT


def test_a_wrong_passcode_is_counted(guest: VirtualMachine) -> None:
    done = chargepin(guest, "passcode", "enter", PROTECTED, stdin="482914\n")
    assert fails(done, "passcode_wrong")
    assert (done.code, done.json["error"]["tries_left"]) == (PASSCODE_EXIT, 2)


def test_the_passcode_lets_in_and_the_app_is_known_afterwards(guest: VirtualMachine) -> None:
    done = chargepin(guest, "passcode", "enter", PROTECTED, stdin=f"{PASSCODE}\n")
    assert done.code == 0, done.out + done.err
    assert done.json == {"charger": PROTECTED, "role": "user"}
    done = chargepin(guest, "status", PROTECTED, "--no-input")
    assert done.code == 0, done.out + done.err
    assert (done.json["passcode"], done.json["role"]) == ("protected", "user")


def test_the_stock_methods_go_through_the_session(guest: VirtualMachine) -> None:
    done = chargepin(guest, "call", PROTECTED, "w_lck", "1", "--no-input")
    assert done.code == 0, done.out + done.err
    assert chargepin(guest, "call", PROTECTED, "r_lck", "--no-input").json == 1
    done = chargepin(guest, "call", PROTECTED, "w_lck", "0", "--no-input")
    assert done.code == 0, done.out + done.err


def test_another_home_is_another_person(guest: VirtualMachine) -> None:
    done = chargepin(guest, "status", PROTECTED, "--no-input", home="other")
    assert fails(done, "passcode_needed")
