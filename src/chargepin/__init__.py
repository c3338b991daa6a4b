"""Bluetooth passcodes for EV chargers: charger, app, account service and a virtual radio."""

__version__ = "0.1.0"
