"""A protected charger's pairing window, opened by its owner's app, met by three clients."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from bluez.conftest import World
from bluez.owners import Owner, charger
from bluez.test_stock import address_of, pair_by_bluetoothctl
from bluez.virtual_machine import VirtualMachine

pytestmark = pytest.mark.bluez
NAME = "WB100003"


@dataclass(frozen=True, slots=True)
class Met:
    """What became of a client. asked: for a code. said: all that it printed."""

    paired: bool
    asked: bool
    said: str


def bluetoothctl(guest: VirtualMachine, code: str) -> Met:
    """A person who types `pair`, and a code when asked."""
    address = address_of(guest, NAME)
    said = pair_by_bluetoothctl(guest, address, "KeyboardOnly", code)
    met = Met("Pairing successful" in said, "Enter passkey" in said, said)
    if not met.paired:
        guest.run(f"timeout 50 bluetoothctl remove {address}")
    return met


def plain_dbus(guest: VirtualMachine, code: str) -> Met:
    told = guest.python("bluez.guest.plain_dbus", "pair", NAME, "KeyboardOnly", code).json
    return Met(told["paired"], bool(told["asked"]), str(told))


def our_app(guest: VirtualMachine, code: str) -> Met:
    done = guest.python("bluez.guest.window", NAME, code)
    told = done.json
    return Met(told["status"] is not None, bool(told["asked"]), json.dumps(told))


CLIENTS: list[Callable[[VirtualMachine, str], Met]] = [bluetoothctl, plain_dbus, our_app]
every_client = pytest.mark.parametrize("client", CLIENTS, ids=lambda each: each.__name__)


@pytest.fixture(scope="module")
def owner(world: World) -> Iterator[Owner]:
    with charger(world, NAME, "--model", "pulsar-plus") as owner:
        owner.protect()
        yield owner


@every_client
def test_outside_a_window_no_code_is_even_asked_for(
    guest: VirtualMachine, owner: Owner, client: Callable[[VirtualMachine, str], Met]
) -> None:
    del owner
    met = client(guest, "123456")
    assert (met.paired, met.asked) == (False, False), met


@every_client
def test_a_wrong_code_then_the_right_one(
    guest: VirtualMachine, owner: Owner, client: Callable[[VirtualMachine, str], Met]
) -> None:
    with owner.window() as window:
        met = client(guest, window.wrong_code())
        assert (met.paired, met.asked) == (False, True), met
        met = client(guest, window.code())
        assert (met.paired, met.asked) == (True, True), met
        assert window.paired()
    assert [each for each in owner.done("phones", "list") if each["kind"] == "bluetooth"]
    if client is not our_app:
        guest.python("bluez.guest.plain_dbus", "forget", NAME)


def test_the_bond_lets_our_app_in_without_a_code(guest: VirtualMachine, owner: Owner) -> None:
    del owner
    told = guest.python("bluez.guest.window", NAME).json
    assert (told["error"], told["asked"]) == (None, 0), told
    assert "st" in told["status"]


def test_a_phone_that_is_forgotten_is_out(guest: VirtualMachine, owner: Owner) -> None:
    owner.forget_phones()
    told = guest.python("bluez.guest.plain_dbus", "connect", NAME).json
    assert (told["connected"], told["paired"]) == (False, True), told
    told = guest.python("bluez.guest.window", NAME).json
    assert told["error"] == "passcode_needed", told
    assert told["status"] is None


@pytest.mark.parametrize("capability", [[], ["NoInputNoOutput"]], ids=["no agent", "no keyboard"])
def test_whoever_cannot_type_is_refused_in_a_window_too(
    guest: VirtualMachine, owner: Owner, capability: list[str]
) -> None:
    with owner.window() as window:
        assert window.code()
        told = guest.python("bluez.guest.plain_dbus", "pair", NAME, *capability).json
    assert (told["paired"], told["asked"]) == (False, 0), told
    assert told["error"] == "org.bluez.Error.AuthenticationFailed"
