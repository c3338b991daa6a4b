"""Real chargers' software, imitated on a virtual radio: for authors of clients, weaknesses and all.

It stands above the charger proper, which cannot import it: no option, file or message turns a
charger that is in service into an imitation. What each version does is a table (versions.py).
"""

from chargepin.charger.imitation.program import Imitator, imitated_setup, see_that_virtual
from chargepin.charger.imitation.versions import IMITATIONS, Imitation, imitation_of

__all__ = [
    "IMITATIONS",
    "Imitation",
    "Imitator",
    "imitated_setup",
    "imitation_of",
    "see_that_virtual",
]
