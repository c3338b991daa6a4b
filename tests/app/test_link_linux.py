"""What bleak is told on Linux."""

from bleak.backends.bluezdbus.defs import DEVICE_INTERFACE
from bleak.backends.bluezdbus.manager import BlueZManager

from chargepin.app.link_bleak.linux import tell_connected


async def test_bleak_learns_of_a_connection_that_bluez_told_nobody_of() -> None:
    manager, path = BlueZManager(), "/org/bluez/hci0/dev_F0_00_00_00_00_01"
    tell_connected(manager, path)  # forgotten meanwhile
    assert not manager.is_connected(path)
    manager._properties[path] = {DEVICE_INTERFACE: {"Connected": False}}
    assert not manager.is_connected(path)
    tell_connected(manager, path)
    assert manager.is_connected(path)
