"""Bluetooth passcodes for EV chargers: charger, app, account service and a virtual radio.

async with chargepin.connect("WB123456", vault=vault) as charger:
    print(await charger.status())
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = [
    "Broken",
    "ChargepinError",
    "Charger",
    "Connected",
    "Event",
    "Found",
    "GivenPasscode",
    "GivenUp",
    "Holder",
    "Lent",
    "Notice",
    "PairingCode",
    "PastWindow",
    "Phone",
    "PhonePaired",
    "Prompt",
    "Status",
    "Vault",
    "WindowClosed",
    "WindowLeft",
    "__version__",
    "connect",
    "errors",
    "hold",
    "scan",
]

if TYPE_CHECKING:
    from chargepin.app import errors
    from chargepin.app.client import Charger
    from chargepin.app.codes import GivenPasscode
    from chargepin.app.connect import connect, hold, scan
    from chargepin.app.errors import ChargepinError
    from chargepin.app.holding import Broken, Connected, GivenUp, Holder, Lent, Notice
    from chargepin.app.pairing import (
        PairingCode,
        PastWindow,
        PhonePaired,
        WindowClosed,
        WindowLeft,
    )
    from chargepin.app.phones import Phone
    from chargepin.app.ports import Found, Prompt, Vault
    from chargepin.app.status import Status
    from chargepin.core.bapi import Event

_HOMES = {
    "app.client": ("Charger",),
    "app.codes": ("GivenPasscode",),
    "app.connect": ("connect", "hold", "scan"),
    "app.errors": ("ChargepinError",),
    "app.holding": ("Broken", "Connected", "GivenUp", "Holder", "Lent", "Notice"),
    "app.pairing": ("PairingCode", "PastWindow", "PhonePaired", "WindowClosed", "WindowLeft"),
    "app.phones": ("Phone",),
    "app.ports": ("Found", "Prompt", "Vault"),
    "app.status": ("Status",),
    "core.bapi": ("Event",),
}


def __getattr__(name: str) -> object:
    """Import the public names at their first use, so that `import chargepin` does no work."""
    from importlib import import_module  # noqa: PLC0415 - only at the first use of a name

    if name == "errors":
        return import_module("chargepin.app.errors")
    for home, names in _HOMES.items():
        if name in names:
            return getattr(import_module(f"chargepin.{home}"), name)
    raise AttributeError(f"module 'chargepin' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Tell the public names before they are imported."""
    return sorted(__all__)
