"""Clients that others wrote meet our chargers: the stock service on BlueZ, and nothing of ours."""

import pytest

from bluez.conftest import OPEN, PROTECTED
from bluez.virtual_machine import VirtualMachine

pytestmark = pytest.mark.bluez


def test_without_an_agent_bluez_does_not_even_pair_just_works(guest: VirtualMachine) -> None:
    done = guest.python("bluez.guest.public_client", "lonely", OPEN)
    assert "AuthenticationFailed" in done.json["error"]


def test_a_public_client_pairs_and_controls_an_open_charger(guest: VirtualMachine) -> None:
    done = guest.python("bluez.guest.public_client", "work", OPEN, "daniel-meyer-pl")
    assert done.code == 0, done.err
    told = done.json
    assert {"st", "cur", "en", "cp", "L1"} <= told["status"].keys()
    assert told["versions"]["s"] == "6.7.17"
    assert "100001" in str(told["serial"])
    assert (told["locked"], told["unlocked"], told["limit"]) == (1, 0, 10)


def test_its_bond_encrypts_the_next_connection(guest: VirtualMachine) -> None:
    done = guest.python("bluez.guest.public_client", "probe", OPEN)
    assert done.code == 0, done.err
    assert done.json == {
        "read": "allowed",
        "write": "allowed",
        "subscribe": "allowed",
        "connected": "True",
    }


def test_bluetoothctl_pairs_with_an_open_charger(guest: VirtualMachine) -> None:
    address = address_of(guest, OPEN)
    guest.run(f"bluetoothctl remove {address}")
    assert address_of(guest, OPEN) == address
    paired = pair_by_bluetoothctl(guest, address, "NoInputNoOutput")
    assert "Pairing successful" in paired, paired
    about = guest.run(f"timeout 50 bluetoothctl info {address}").out
    assert "Paired: yes" in about, about
    guest.run(f"bluetoothctl remove {address}")


def test_a_protected_charger_refuses_strangers_with_0x08_and_keeps_the_link(
    guest: VirtualMachine,
) -> None:
    done = guest.python("bluez.guest.public_client", "probe", PROTECTED)
    assert done.code == 0, done.err
    assert done.json == {"read": "8", "write": "8", "subscribe": "8", "connected": "True"}


def test_a_protected_charger_does_not_pair_by_itself(guest: VirtualMachine) -> None:
    paired = pair_by_bluetoothctl(guest, address_of(guest, PROTECTED), "KeyboardOnly")
    assert "Failed to pair: org.bluez.Error.AuthenticationFailed" in paired, paired
    assert "Enter passkey" not in paired
    done = guest.python("bluez.guest.public_client", "probe", PROTECTED)
    assert done.json["read"] == "8", done.err


def pair_by_bluetoothctl(
    guest: VirtualMachine, address: str, capability: str, code: str = ""
) -> str:
    """What bluetoothctl says to a person who types `pair`, and a code."""
    return guest.run(f"python3 -S -m bluez.guest.typed {capability} {address} {code}").out


def address_of(guest: VirtualMachine, name: str) -> str:
    """As a person finds it, who scans until bluetoothctl lists it."""
    scan = "timeout 50 bluetoothctl --timeout 4 scan le; timeout 50 bluetoothctl devices"
    found = guest.run(
        f"until ({scan}) >/tmp/listed; grep -q ' {name}$' /tmp/listed; do :; done; cat /tmp/listed"
    )
    return next(line.split()[1] for line in found.out.splitlines()[::-1] if line.endswith(name))
