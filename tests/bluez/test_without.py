"""What the app says when there is no Bluetooth. These come last: they take it away."""

import pytest

from bluez.virtual_machine import Done, VirtualMachine

pytestmark = pytest.mark.bluez


def error(done: Done) -> str:
    assert done.code == 1, done.out + done.err
    assert done.err == ""
    told: dict[str, str] = done.json["error"]
    assert told["code"] == "no_radio"
    return told["message"]


def scanned(guest: VirtualMachine) -> Done:
    return guest.python("chargepin", "scan", "--json", "--home", "/root/nobody")


def test_switched_off(guest: VirtualMachine) -> None:
    guest.run("timeout 50 bluetoothctl power off")
    assert "Bluetooth is switched off on this computer" in error(scanned(guest))
    guest.run("timeout 50 bluetoothctl power on")


POLICY = """
<busconfig><policy user="stranger"><deny send_destination="org.bluez"/></policy></busconfig>
"""


def test_not_allowed(guest: VirtualMachine) -> None:
    reload = "killall -HUP dbus-daemon"  # many distributions are this strict, Debian is not
    guest.run(f"cat >/etc/dbus-1/system.d/strict.conf; {reload}", stdin=POLICY)
    scan = "python3 -m chargepin scan --json --home /tmp/stranger"
    done = guest.run(f"su stranger -s /bin/sh -c '{scan}'")
    assert "Add the user to the group bluetooth" in error(done)


def test_no_adapter(guest: VirtualMachine) -> None:
    guest.run("kill $(cat /tmp/adapter.pid); while [ -d /sys/class/bluetooth/hci0 ]; do :; done")
    assert "no Bluetooth adapter" in error(scanned(guest))


def test_no_bluez(guest: VirtualMachine) -> None:
    guest.run("touch /tmp/no-bluez; killall bluetoothd; while pidof bluetoothd; do :; done")
    assert "BlueZ, which is Linux's Bluetooth, is not running" in error(scanned(guest))


def test_no_dbus(guest: VirtualMachine) -> None:
    guest.run("killall dbus-daemon")
    assert "D-Bus does not answer" in error(scanned(guest))
