"""The charger's own Bluetooth, from HCI up: the port `Air` on a controller that may come and go."""
