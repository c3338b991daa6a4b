"""What every radio makes of the chargers that it hears, or no longer hears."""

import re
from dataclasses import replace
from typing import Final

from chargepin.app.errors import Busy, ChargepinError, NotFound, WeakSignal
from chargepin.app.ports import Found

_NAME: Final = re.compile(r"WB[0-9]{1,16}", re.ASCII)
_WEAK_DBM: Final = -90
_WORTH_TELLING_DB: Final = 5


def is_charger(name: str) -> bool:
    """Whether a charger may be called so."""
    return _NAME.fullmatch(name) is not None


def worth_telling(before: Found | None, found: Found) -> bool:
    """Whether it differs from what was told before, by more than how the air wavers."""
    if before is None or replace(before, rssi_dbm=found.rssi_dbm) != found:
        return True
    return abs(before.rssi_dbm - found.rssi_dbm) >= _WORTH_TELLING_DB


def unanswered(last: Found, timeout_s: float) -> ChargepinError:
    """The reason why a charger did not answer, by how it was heard last."""
    if not last.connectable:
        return Busy(
            f"{last.name} is taken: another phone is connected to it. Try again later.",
            retry_after_s=5.0,
        )
    if last.rssi_dbm < _WEAK_DBM:
        return WeakSignal(
            f"{last.name} is too far away ({last.rssi_dbm} dBm). Move closer.",
            rssi_dbm=last.rssi_dbm,
        )
    return NotFound(
        f"{last.name} did not answer within {timeout_s:g} s. It may be switched off, out of"
        " range or taken by other phones.",
        retry_after_s=0.0,
    )
