"""What the stock settings methods take, keep and give, with the ranges that are accepted."""

from typing import Annotated, Literal

import msgspec

from chargepin.charger.ports import ChargingRules, Sharing, Solar
from chargepin.charger.stock.schedules import Schedule, Switch

UserId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
_Percent = Annotated[int, msgspec.Meta(ge=0, le=100)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=86_400)]
_Amperes = Annotated[int, msgspec.Meta(ge=0, le=1000)]
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


class Ocpp(msgspec.Struct, frozen=True):
    """`s_ocpp`: the back office. u its address, chid this charger's name there, e whether on.

    pw is taken and forgotten: nothing here signs in, and real chargers tell it to everybody.
    """

    u: Annotated[str, msgspec.Meta(max_length=256)]
    chid: Annotated[str, msgspec.Meta(max_length=64)]
    pw: Annotated[str, msgspec.Meta(max_length=64)]
    e: Switch

    def __repr__(self) -> str:
        return f"Ocpp({self.u!r})"


class StockSettings(msgspec.Struct, frozen=True):
    """All settings of one charger that its power side does not keep itself.

    house_limit_a: of the house's connection; at first what lets the largest charge with all it has.
    user_id: who uses it, as the app last said.
    """

    time_zone: TimeZone = TimeZone("Etc/UTC")
    eco_smart: EcoSmart = EcoSmart(ese=0, esm=0, esp=100)
    power_sharing: PowerSharing = PowerSharing()
    phase_switch: PhaseSwitch = PhaseSwitch(enabled=0)
    halo: Halo = Halo(bright=100, mode=0, time_s=600)
    house_limit_a: int = 40
    schedules: tuple[Schedule, ...] = ()
    user_id: UserId = 1
    ocpp: Ocpp = Ocpp("", "", "", 0)

    @property
    def without_persons(self) -> "StockSettings":
        """What an installer set, such as the limits, without when and for whom it charges."""
        new = StockSettings()
        return msgspec.structs.replace(
            self, schedules=new.schedules, user_id=new.user_id, ocpp=new.ocpp
        )

    @property
    def rules(self) -> ChargingRules:
        """What they are to the power side."""
        eco, sharing = self.eco_smart, self.power_sharing
        return ChargingRules(
            windows=tuple(each.window for each in self.schedules if each.enabled),
            house_limit_a=self.house_limit_a,
            sharing=Sharing(sharing.mcpp, sharing.min_a) if sharing.dyps else None,
            solar=Solar(only=bool(eco.esm), percent=eco.esp) if eco.ese else None,
            one_phase=bool(self.phase_switch.enabled),
        )
