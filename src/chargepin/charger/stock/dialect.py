"""What varies between chargers: which methods there are, and in which form. Data, as it was seen.

Where nothing was seen, a charger answers as most others do. Sources are reports of people who
wrote clients; the maker has published none of this.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache
from types import MappingProxyType

from chargepin.charger.ports import ChargeStatus
from chargepin.core.catalogue import Family, Version, supports_passcode
from chargepin.core.gatt import Layout

LISTS_SINCE = Version(6, 11, 0)
"""The first software with `s_sch` on a Pulsar Plus, as far as is known: 6.7.41 has none."""
GREEN_ENERGY_SINCE = Version(6, 13, 0)


class Stop(Enum):
    """What `w_cha` does by a number that is not 1."""

    PAUSE = "pauses, however often"
    PAUSE_ONCE = "pauses; error 114 when it is paused"
    IGNORED = "nothing, and says that it is done"
    REFUSED = "error 5"


class Timetable(Enum):
    """How schedules are written and read."""

    LIST = "s_sch and clr_sch; r_schs gives a list; days as bits, Monday the lowest"
    DIGITS = "w_sch with two digits of sid; r_schs gives an object; Sunday the lowest bit"
    SLOTS = "w_sch with one digit of sid; r_sch gives one of four slots; Sunday the lowest bit"


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one charger speaks.

    unknown: methods answered with error 1. unsupported: those answered with error 4. states: where
    `st` has another number than usual. short_status: `r_dat` has only what every charger has.
    value_first: replies name their value before the request.
    override_flag: its `gen` tells whether the charge is controlled by hand, else it is energy.
    weld_good: what `r_wel` says of a contactor that is well. back_office: what it says of one that
    it is connected to, at rest and while it charges.
    """

    stops: Mapping[int, Stop]
    timetable: Timetable
    unknown: frozenset[str]
    unsupported: frozenset[str] = frozenset()
    states: Mapping[ChargeStatus, int] = field(default_factory=lambda: MappingProxyType({}))
    short_status: bool = False
    value_first: bool = False
    override_flag: bool = True
    weld_good: int = 0
    back_office: tuple[int, int] = (2, 3)


_LISTS = frozenset({"s_sch", "clr_sch"})
_PACKED = frozenset({"w_sch"})
_ONE_BY_ONE = frozenset({"r_sch"})
_POWER_BOOST_BY_NAME = frozenset({"r_power_boost", "w_power_boost"})
_PLUS = frozenset({"pulsar-plus", "pulsar-plus-socket"})

_NOT_ON_ZENTRI = frozenset(
    # as the original Pulsar with software 375 was seen to answer
    {"r_sta", "r_dca", "r_schs", "g_ecos", "g_psh", "g_phsw", "g_tzn", "r_not", "r_lse"}
    | {"read_pin", "g_mac", "g_ocpp"}
    # it has nothing that these could be about
    | {"s_ecos", "s_psh", "clr_psh", "s_phsw", "s_tzn", "s_ocpp", "gnsta", "gwsta", "gwnet"}
    | {"r_hup"}
)

_ZENTRI_STATES = MappingProxyType({ChargeStatus.PAUSED: 2, ChargeStatus.SCHEDULE_ENDED: 3})
"""Its 4 is "ramping"; how it says "paused" is not known, and taken to be "connected"."""


@cache
def dialect_of(family: Family, layout: Layout, software: Version) -> Dialect:
    """Give the dialect. A Zentri module is only known from the original Pulsar, so it decides."""
    no_ping = frozenset() if layout is Layout.UBLOX else frozenset({"ping"})
    if layout is Layout.ZENTRI:
        return Dialect(
            MappingProxyType({0: Stop.PAUSE, 2: Stop.REFUSED}),
            Timetable.SLOTS,
            unknown=_LISTS | _POWER_BOOST_BY_NAME | no_ping,
            unsupported=_NOT_ON_ZENTRI,
            states=_ZENTRI_STATES,
            short_status=True,
            value_first=True,
            weld_good=1,
        )
    two = Stop.PAUSE_ONCE if family.pause_value == 2 else Stop.IGNORED  # noqa: PLR2004 - `w_cha` 2
    digits = family.key in _PLUS and software < LISTS_SINCE
    unknown = no_ping | _ONE_BY_ONE | (_LISTS if digits else _PACKED)
    if software < LISTS_SINCE:
        unknown |= _POWER_BOOST_BY_NAME
    if not supports_passcode(software):
        unknown |= {"read_pin"}
    return Dialect(
        MappingProxyType({0: Stop.PAUSE, 2: two}),
        Timetable.DIGITS if digits else Timetable.LIST,
        unknown=unknown,
        override_flag=software < GREEN_ENERGY_SINCE,
        weld_good=0 if layout is Layout.UBLOX else 1,
        back_office=(4, 4) if family.key in _PLUS else (2, 3),
    )
