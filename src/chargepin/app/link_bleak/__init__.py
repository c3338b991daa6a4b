"""The app's radio and links on the computer's own Bluetooth: BlueZ, CoreBluetooth or WinRT."""

from chargepin.app.link_bleak.central import BleakRadio, open_radio

__all__ = ["BleakRadio", "open_radio"]
