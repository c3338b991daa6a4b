"""The stock methods: what real chargers answer, on the Hardware port.

A handler takes one call and gives the value of the reply, or a Changed. It touches nothing but the
power side; settings and actions go to the caller, who keeps the one and carries out the other.
"""

from chargepin.charger.stock.call import Action, TypePlate
from chargepin.charger.stock.methods import StockMethods, kept_hardware, kept_settings
from chargepin.charger.stock.settings import StockSettings

__all__ = [
    "Action",
    "StockMethods",
    "StockSettings",
    "TypePlate",
    "kept_hardware",
    "kept_settings",
]
