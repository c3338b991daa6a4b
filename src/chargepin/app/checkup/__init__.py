"""Looking for what is wrong: at this computer, and at one charger."""

from chargepin.app.checkup.charger import look_at_charger
from chargepin.app.checkup.computer import NoVault, look_at_computer
from chargepin.app.checkup.finding import Finding

__all__ = ["Finding", "NoVault", "look_at_charger", "look_at_computer"]
