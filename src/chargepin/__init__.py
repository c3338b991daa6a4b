"""Bluetooth passcodes for EV chargers: charger, app, account service and a virtual radio.

async with chargepin.connect("WB123456", vault=vault) as charger:
    print(await charger.status())
"""

from typing import TYPE_CHECKING

__version__ = "0.1.0"
__all__ = ["ChargepinError", "Charger", "Status", "__version__", "connect", "hold"]

if TYPE_CHECKING:
    from chargepin.app.client import Charger
    from chargepin.app.connect import connect, hold
    from chargepin.app.errors import ChargepinError
    from chargepin.app.status import Status

_HOMES = {
    "Charger": "chargepin.app.client",
    "ChargepinError": "chargepin.app.errors",
    "Status": "chargepin.app.status",
    "connect": "chargepin.app.connect",
    "hold": "chargepin.app.connect",
}


def __getattr__(name: str) -> object:
    """Import the public names at their first use, so that `import chargepin` does no work."""
    if name not in _HOMES:
        raise AttributeError(f"module 'chargepin' has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415 - only at the first use of a name

    return getattr(import_module(_HOMES[name]), name)
