"""What a charger is doing, as people read it."""

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from chargepin.app.errors import ProtocolError
from chargepin.core.catalogue import Version
from chargepin.core.gatt import Layout


class Status(msgspec.Struct, frozen=True):
    """One look at a charger.

    software: as the charger tells it, "unknown" where it does not. state: what it is doing, in
    words. power_kw, current_a (the limit), energy_kwh (this session). locked: None where the
    charger does not tell. passcode: "open", "protected" or "unsupported"; "unknown" for a charger
    with the maker's own software, which does not say. role: of this session. tampered: the housing
    was opened, and no admin has put that away; only admins are told.
    """

    name: str
    software: str
    state: str
    power_kw: float
    current_a: int
    energy_kwh: float
    locked: bool | None
    passcode: str
    role: str
    tampered: bool = False


STATES: Mapping[int, str] = MappingProxyType(
    {
        0: "ready",
        1: "charging",
        2: "connected, waiting for the car",
        3: "connected, waiting for its schedule",
        4: "paused",
        5: "schedule ended",
        6: "locked",
        7: "error",
        8: "waiting for current (power sharing)",
        9: "power sharing not configured",
        10: "queued by Power Boost",
        11: "discharging",
        12: "waiting for an admin's authorisation",
        13: "MID safety margin exceeded",
        14: "OCPP unavailable",
        15: "OCPP finishing",
        16: "reserved by OCPP",
        17: "updating",
        18: "queued by Eco-Smart",
        19: "connected, no current",
    }
)
"""`st` of `r_dat`."""

_ZENTRI_STATES: Mapping[int, str] = MappingProxyType(
    {2: "connected", 3: "connected, waiting", 4: "charging, ramping up"}
)
"""Where the original Pulsar, with its Zentri module, means something else."""

LOCKED = 6
_CHARGING = 1
_VOLTS = 230
_LARGEST = 1e15


def state_of(number: int, layout: Layout | None) -> str:
    """The state in words; newer chargers may have numbers that are not known."""
    told = STATES.get(number, f"state {number}")
    return _ZENTRI_STATES.get(number, told) if layout is Layout.ZENTRI else told


def version_of(told: str) -> Version | None:
    """The version that a charger says it runs; None where that is none, such as "375"."""
    try:
        return Version.parse(told)
    except ValueError:
        return None


def object_of(value: object) -> dict[str, object]:
    """An answer that should be an object. Raises ProtocolError."""
    if not isinstance(value, dict):
        raise ProtocolError("The charger's answer has another shape than it should.")
    return value


def number_of(value: Mapping[str, object], name: str) -> float:
    """A member that should be a number, 0 where it is missing or is none.

    Whole numbers too large for a float count as none, and so does infinity.
    """
    number = value.get(name, 0)
    if not isinstance(number, int | float) or abs(number) > _LARGEST:
        return 0.0
    return float(number)


def power_kw(status: Mapping[str, object]) -> float:
    """Give the charging power; the original Pulsar tells only its currents, in tenths of A."""
    if "cp" in status:
        return number_of(status, "cp")
    if number_of(status, "st") != _CHARGING:
        return 0.0
    tenths_a = sum(number_of(status, phase) for phase in ("L1", "L2", "L3"))
    return round(tenths_a / 10 * _VOLTS / 1000, 3)
