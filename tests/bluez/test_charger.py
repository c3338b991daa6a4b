"""The charger inside the guest, on the kernel's own Bluetooth socket; the phone is outside."""

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bluez.conftest import World
from bluez.virtual_machine import Done, VirtualMachine

pytestmark = pytest.mark.bluez
SERIAL = "100077"
ADAPTER = "hci1"
SERVE = (
    f"python3 -m chargepin --radio hci-socket:1 serve charger --serial {SERIAL} --data /tmp/charger"
)
TAKE_FROM_BLUEZ = "timeout 50 btmgmt --index 1 power off"  # as `systemctl stop bluetooth` would


def plug_in(guest: VirtualMachine) -> None:
    """Give the guest a second adapter, and see that somebody has taken it."""
    done = guest.run(
        "plug() { python3 -S -m bluez.guest.adapter second >/dev/console 2>&1 &"
        " echo $! >/tmp/second.pid; };"
        f" plug; until hciconfig {ADAPTER} | grep -q 'UP RUNNING'; do sleep 0.2;"
        " kill -0 $(cat /tmp/second.pid) || plug; done",
        within_s=120,
    )
    assert done.code == 0, done


def pull_out(guest: VirtualMachine) -> None:
    guest.run(
        f"kill $(cat /tmp/second.pid); while [ -d /sys/class/bluetooth/{ADAPTER} ]; do :; done"
    )


def phone(world: World, *words: str) -> Any:
    """The app, outside the guest."""
    where = ("--radio", world.radio, "--home", str(world.directory / "home"), "--json")
    done = subprocess.run(
        [sys.executable, "-m", "chargepin", *words, f"WB{SERIAL}", "--no-input", *where],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def adapter(world: World) -> Iterator[VirtualMachine]:
    plug_in(world.guest)
    world.guest.bluetooth_on(ADAPTER)  # up, it may be still the kernel's, and free to take
    yield world.guest
    pull_out(world.guest)


def refused(done: Done) -> str:
    assert done.code == 1, done.out + done.err
    return done.err


def serve(guest: VirtualMachine, command: str) -> Done:
    """Try to run it, without waiting for a new Python."""
    _, _, module, *arguments = command.split()
    return guest.python(module, *arguments)


def test_an_adapter_that_bluez_uses_is_named_with_what_to_do(adapter: VirtualMachine) -> None:
    said = refused(serve(adapter, SERVE))
    assert "hci-socket:1: it is in use" in said
    assert "systemctl stop bluetooth" in said


def test_a_user_without_the_capability_is_told(adapter: VirtualMachine) -> None:
    elsewhere = SERVE.replace("/tmp/charger", "/tmp/strangers")  # noqa: S108 - in the guest
    said = refused(adapter.run(f"su stranger -s /bin/sh -c '{elsewhere}'"))
    assert "CAP_NET_ADMIN" in said


def test_no_such_adapter(adapter: VirtualMachine) -> None:
    elsewhere = SERVE.replace("hci-socket:1", "hci-socket:7")
    assert "no such adapter" in refused(serve(adapter, elsewhere))


def test_it_serves_and_comes_back_with_its_adapter(world: World, adapter: VirtualMachine) -> None:
    adapter.run(f"until {TAKE_FROM_BLUEZ} | grep complete; do sleep 0.2; done")
    adapter.run(f"{SERVE} >/tmp/charger.out 2>/tmp/charger.err & echo $! >/tmp/charger.pid")
    adapter.run("until grep -q ready /tmp/charger.out; do sleep 0.2; done")
    assert phone(world, "passcode", "set")["charger"] == f"WB{SERIAL}"
    assert phone(world, "status")["passcode"] == "protected"
    pull_out(adapter)
    adapter.run("until grep -q 'Charging goes on' /tmp/charger.err; do sleep 0.2; done")
    plug_in(adapter)
    until_it_is_back = "until grep 'controller is back' /tmp/charger.err"
    # Whoever is first has it, the charger or BlueZ, and BlueZ may come late to a new one.
    done = adapter.run(f"{until_it_is_back}; do {TAKE_FROM_BLUEZ}; sleep 0.2; done")
    assert done.code == 0, done
    assert phone(world, "status")["passcode"] == "protected"
    done = adapter.run("kill $(cat /tmp/charger.pid); cat /tmp/charger.err")
    assert "Traceback" not in done.out
