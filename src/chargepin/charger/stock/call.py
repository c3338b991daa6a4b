"""One call of a stock method: what its handler is given, and what it gives back."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from typing import TypeAlias, TypeVar

import msgspec

from chargepin.charger.ports import Hardware, Reading, Updates
from chargepin.charger.stock.dialect import Dialect, dialect_of
from chargepin.charger.stock.settings import StockSettings
from chargepin.core.catalogue import Family, Version
from chargepin.core.gatt import Layout

UNEXPECTED = "Unexpected Error"

_Record = TypeVar("_Record", bound=msgspec.Struct)


class ErrorCode(IntEnum):
    """1, 4, 5, 6 and 114 as seen on real chargers; theirs for a wrong parameter is not known."""

    NO_METHOD = 1
    WRONG_PARAMETER = 2
    NOT_SUPPORTED = 4
    NOT_NOW = 5
    WHILE_CHARGING = 6
    PAUSED_ALREADY = 114


@dataclass(frozen=True, slots=True)
class TypePlate:
    """What is fixed until a restart: serial without "WB", family, software, radio module."""

    serial: str
    family: Family
    software: Version
    layout: Layout

    @property
    def module_firmware(self) -> str | None:
        """What the radio module says of itself, None for the usual."""
        usual = self.layout is not self.family.layout
        return None if usual else self.family.module_firmware

    @property
    def dialect(self) -> Dialect:
        """How such a charger speaks."""
        return dialect_of(self.family, self.layout, self.software)


class Action(Enum):
    """What is to be done once the reply has left."""

    REBOOT = "reboot"
    UPDATE = "update"


@dataclass(frozen=True, slots=True)
class Call:
    """A request's parameter, and what a handler may look at. par is not yet validated."""

    par: object
    now_s: float
    plate: TypePlate
    hardware: Hardware
    updates: Updates
    settings: StockSettings

    @property
    def reading(self) -> Reading:
        """The power side as of now."""
        return self.hardware.reading(self.now_s)


@dataclass(frozen=True, slots=True)
class Changed:
    """What a write did. The value None is "done", as real chargers say it.

    version: for Action.UPDATE, None means the newest.
    """

    settings: StockSettings
    value: object = None
    action: Action | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Flat:
    """A reply whose members stand next to the id."""

    members: Mapping[str, object]


class Refused(Exception):
    """The error object to answer with; its text is for a person."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


Handler: TypeAlias = Callable[[Call], object]
"""Gives the value of a usual reply, a Flat or a Changed. Raises Refused or NotPossible."""


def no_method(_: Call) -> object:
    """Refuse as a charger does that has never heard of the method."""
    raise Refused(ErrorCode.NO_METHOD, "No dispatch method found")


def not_supported(_: Call) -> object:
    """Refuse as a charger does that lacks what the method is about."""
    raise Refused(ErrorCode.NOT_SUPPORTED, "This charger does not have that.")


def wrong(reason: object) -> Refused:
    """The refusal of a parameter. Real chargers say the first two words and leave it there."""
    return Refused(ErrorCode.WRONG_PARAMETER, f"{UNEXPECTED}: {reason}")


def record(call: Call, kind: type[_Record]) -> _Record:
    """Read the parameter as a struct. Raises Refused."""
    try:
        return msgspec.convert(call.par, kind)
    except msgspec.ValidationError as error:
        raise wrong(error) from None


def integer(call: Call, low: int, high: int) -> int:
    """Read the parameter as an integer of that range. Raises Refused."""
    par = call.par
    if not isinstance(par, int) or isinstance(par, bool) or not low <= par <= high:
        raise wrong(f"an integer from {low} to {high} is expected")
    return par
