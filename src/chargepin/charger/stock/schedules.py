"""Schedules: how they come in, how they are told, and what they are to the power side.

Times are UTC. Inside, days are seven switches from Monday on; chargers differ in how they say it.
"""

import re
from typing import Annotated, Literal, TypeAlias

import msgspec

from chargepin.charger.ports import Window

SCHEDULES_MAX = 20
SLOTS = 4
BAD_TIME = 7
"""The code in the value with which `w_sch` turns down a time, as one Pulsar Plus was seen to."""

Switch: TypeAlias = Literal[0, 1]
_ScheduleId = Annotated[int, msgspec.Meta(ge=0, le=99)]
_WattHours = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_WeekDays = tuple[Switch, Switch, Switch, Switch, Switch, Switch, Switch]
_DAYS = 7
_HIGHEST_A = 32


class EnergyTarget(msgspec.Struct, frozen=True):
    """When a schedule ends early: type 1 after value Wh, type 0 never."""

    type: Switch = 0
    value: _WattHours = 0


class Schedule(msgspec.Struct, frozen=True):
    """One entry of `s_sch`. start and stop: HHMM as an integer, UTC. days: Monday first."""

    sid: _ScheduleId
    start: int
    stop: int
    days: _WeekDays
    mcr: Annotated[int, msgspec.Meta(ge=6, le=_HIGHEST_A)] = _HIGHEST_A
    type: Literal[0] = 0
    enabled: Switch = 1
    target: EnergyTarget = EnergyTarget()
    repeat: Switch = 1

    def __post_init__(self) -> None:
        for clock in (self.start, self.stop):
            hours, minutes = divmod(clock, 100)
            if not (0 <= hours <= 23 and minutes <= 59):  # noqa: PLR2004  # a day has 24 hours
                raise ValueError("start and stop are times of day, such as 2330")

    @property
    def window(self) -> Window:
        """What the power side obeys."""
        return Window(
            _minute(self.start),
            _minute(self.stop),
            _bits(self.days),
            self.mcr,
            self.target.value if self.target.type else None,
        )

    def shown(self, *, sunday_first: bool = False) -> dict[str, object]:
        """As `r_schs` gives it back: times as text, days as bits, the first day the lowest."""
        members: dict[str, object] = msgspec.to_builtins(self)
        members["start"], members["stop"] = f"{self.start:04d}", f"{self.stop:04d}"
        members["days"] = _bits(_from_sunday(self.days) if sunday_first else self.days)
        return members


class Schedules(msgspec.Struct, frozen=True):
    """`s_sch`: entries to insert, or to replace by their sid."""

    schedules: Annotated[tuple[Schedule, ...], msgspec.Meta(max_length=SCHEDULES_MAX)]


class ScheduleIds(msgspec.Struct, frozen=True):
    """`clr_sch`: entries to remove."""

    sid: Annotated[tuple[_ScheduleId, ...], msgspec.Meta(max_length=100)]


def slot(schedules: tuple[Schedule, ...], sid: int) -> dict[str, object]:
    """One slot as `r_sch` gives it, all zeros if it is empty."""
    for each in schedules:
        if each.sid == sid:
            shown = each.shown(sunday_first=True)
            return {
                **{name: shown[name] for name in ("sid", "start", "stop", "days", "mcr")},
                "nrg": each.target.value,
            }
    return {"sid": sid, "start": "0000", "stop": "0000", "days": 0, "mcr": 0, "nrg": 0}


def unpacked(digits: str, sid_digits: int) -> tuple[int, Schedule | None]:
    """Read the digits of `w_sch`: sid, start HHMM, stop HHMM, days in decimal, Sunday the 1.

    All zeros after the sid delete it: then there is no schedule. Raises ValueError.
    """
    match = re.fullmatch(rf"([0-9]{{{sid_digits}}})([0-9]{{4}})([0-9]{{4}})([0-9]{{3}})", digits)
    if match is None:
        raise ValueError(f"{sid_digits + 11} digits are expected")
    sid, start, stop, days = (int(part) for part in match.groups())
    if not (start or stop or days):
        return sid, None
    if days >= 1 << _DAYS:
        raise ValueError("days are 000 to 127")
    switches = [days >> day & 1 for day in range(_DAYS)]
    entry = {"sid": sid, "start": start, "stop": stop, "days": [*switches[1:], switches[0]]}
    return sid, msgspec.convert(entry, Schedule)


def _minute(clock: int) -> int:
    return clock // 100 * 60 + clock % 100


def _bits(days: tuple[int, ...]) -> int:
    return sum(on << day for day, on in enumerate(days))


def _from_sunday(days: tuple[int, ...]) -> tuple[int, ...]:
    return (days[-1], *days[:-1])
