"""What the stock settings methods take, keep and give, with the ranges that are accepted."""

from typing import Annotated, Literal

import msgspec

SCHEDULES_MAX = 20

Switch = Literal[0, 1]
UserId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=86_400)]
_Amperes = Annotated[int, msgspec.Meta(ge=0, le=1000)]
_ScheduleId = Annotated[int, msgspec.Meta(ge=0, le=99)]
_WattHours = Annotated[int, msgspec.Meta(ge=0, le=1_000_000)]
_WeekDays = tuple[Switch, Switch, Switch, Switch, Switch, Switch, Switch]
_ZoneName = Annotated[
    str,
    msgspec.Meta(max_length=64, pattern=r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}\Z"),
]


class EcoSmart(msgspec.Struct, frozen=True):
    """`s_ecos`: ese on, esm 0 eco or 1 green only, esp percent of solar power. All or nothing."""

    ese: Switch
    esm: Switch
    esp: _Percent


class PowerSharing(msgspec.Struct, frozen=True):
    """`s_psh`: dyps on, mcpp most per phase in A, minI least in A, nchg number of chargers.

    The whole record is written: what is left out becomes 0, as real chargers do it.
    """

    dyps: bool | Switch = 0
    mcpp: _Amperes = 0
    min_a: _Amperes = msgspec.field(default=0, name="minI")
    nchg: Annotated[int, msgspec.Meta(ge=0, le=50)] = 0


class PhaseSwitch(msgspec.Struct, frozen=True):
    """`s_phsw`: whether the charger may change between one and three phases."""

    enabled: Switch


class Halo(msgspec.Struct, frozen=True):
    """`s_halocfg`: brightness in percent, mode 1 dims in stand-by after time_s."""

    bright: _Percent
    mode: Switch
    time_s: _Seconds


class TimeZone(msgspec.Struct, frozen=True):
    """`s_tzn`: an IANA name; whether there is such a place is not checked."""

    timezone: _ZoneName


class ControlMode(msgspec.Struct, frozen=True):
    """`s_cmode`: 0 ends a manual override."""

    mode: Literal[0]


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
    mcr: Annotated[int, msgspec.Meta(ge=6, le=32)] = 32
    type: Literal[0] = 0
    enabled: Switch = 1
    target: EnergyTarget = EnergyTarget()
    repeat: Switch = 1

    def __post_init__(self) -> None:
        for clock in (self.start, self.stop):
            hours, minutes = divmod(clock, 100)
            if not (0 <= hours <= 23 and minutes <= 59):  # noqa: PLR2004  # a day has 24 hours
                raise ValueError("start and stop are times of day, such as 2330")

    def shown(self) -> dict[str, object]:
        """As `r_schs` gives it back: times as text, days as bits with Monday the lowest."""
        members: dict[str, object] = msgspec.to_builtins(self)
        members["start"], members["stop"] = f"{self.start:04d}", f"{self.stop:04d}"
        members["days"] = sum(on << day for day, on in enumerate(self.days))
        return members


class Schedules(msgspec.Struct, frozen=True):
    """`s_sch`: entries to insert, or to replace by their sid."""

    schedules: Annotated[tuple[Schedule, ...], msgspec.Meta(max_length=SCHEDULES_MAX)]


class ScheduleIds(msgspec.Struct, frozen=True):
    """`clr_sch`: entries to remove."""

    sid: Annotated[tuple[_ScheduleId, ...], msgspec.Meta(max_length=100)]


class StockSettings(msgspec.Struct, frozen=True):
    """All settings of one charger that its power side does not keep itself.

    house_limit_a: of the house's connection. user_id: who uses it, as the app last said.
    manual: somebody has started or stopped the charge by hand.
    """

    time_zone: TimeZone = TimeZone("Etc/UTC")
    eco_smart: EcoSmart = EcoSmart(ese=0, esm=0, esp=100)
    power_sharing: PowerSharing = PowerSharing()
    phase_switch: PhaseSwitch = PhaseSwitch(enabled=0)
    halo: Halo = Halo(bright=100, mode=0, time_s=600)
    house_limit_a: int = 32
    schedules: tuple[Schedule, ...] = ()
    user_id: UserId = 1
    manual: bool = False
