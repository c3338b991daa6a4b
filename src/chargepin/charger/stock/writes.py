"""Stock methods that change something. What changed is in the answer, except on the power side."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType

from msgspec.structs import replace

from chargepin.charger.ports import ChargeStatus, NotPossible
from chargepin.charger.stock.call import (
    Action,
    Call,
    Changed,
    ErrorCode,
    Handler,
    Refused,
    integer,
    record,
    wrong,
)
from chargepin.charger.stock.dialect import Stop, Timetable
from chargepin.charger.stock.schedules import (
    BAD_TIME,
    SCHEDULES_MAX,
    SLOTS,
    ScheduleIds,
    Schedules,
    unpacked,
)
from chargepin.charger.stock.settings import (
    ControlMode,
    EcoSmart,
    Halo,
    Ocpp,
    PhaseSwitch,
    PowerSharing,
    TimeZone,
)
from chargepin.core.catalogue import Version

_HOUSE_LIMIT_MAX_A = 250
_INTEGER_MAX = 2**31 - 1
_CLOCK = re.compile(r"[0-9]{8}0[0-6][0-9]{4}")
_PAIR = re.compile(r"[0-9]{2}")


def _w_cha(call: Call) -> Changed:
    wanted = integer(call, 0, 2)
    if wanted == 1:
        call.hardware.start(call.now_s)
        return Changed(call.settings)
    match call.plate.dialect.stops[wanted]:
        case Stop.IGNORED:
            return Changed(call.settings)
        case Stop.REFUSED:
            raise Refused(ErrorCode.NOT_NOW, "This charger is paused with 0.")
        case Stop.PAUSE_ONCE if call.reading.status is ChargeStatus.PAUSED:
            raise Refused(ErrorCode.PAUSED_ALREADY, "The charge is paused already.")
        case _:
            call.hardware.pause(call.now_s)
            return Changed(call.settings)


def _w_mx_i(call: Call) -> Changed:
    amperes = integer(call, 0, 1000)
    try:
        call.hardware.set_max_current(call.now_s, amperes)
    except ValueError as error:
        raise wrong(error) from None
    return Changed(call.settings)


def _w_lck(call: Call) -> Changed:
    call.hardware.set_locked(call.now_s, locked=bool(integer(call, 0, 1)))
    return Changed(call.settings)


def _s_alo(call: Call) -> Changed:
    seconds = integer(call, 0, _INTEGER_MAX)
    try:
        call.hardware.set_auto_lock(call.now_s, seconds)
    except ValueError as error:
        raise wrong(error) from None
    return Changed(call.settings, 0)


def _s_sch(call: Call) -> Changed:
    by_id = {each.sid: each for each in call.settings.schedules}
    by_id |= {each.sid: each for each in record(call, Schedules).schedules}
    if len(by_id) > SCHEDULES_MAX:
        raise wrong(f"there is room for {SCHEDULES_MAX} schedules")
    schedules = tuple(by_id[sid] for sid in sorted(by_id))
    return Changed(replace(call.settings, schedules=schedules), 0)


def _clr_sch(call: Call) -> Changed:
    unwanted = record(call, ScheduleIds).sid
    kept = tuple(each for each in call.settings.schedules if each.sid not in unwanted)
    return Changed(replace(call.settings, schedules=kept), 0)


def _w_sch(call: Call) -> Changed:
    """One schedule in digits; what cannot be one is turned down in the value, not as an error."""
    slots = call.plate.dialect.timetable is Timetable.SLOTS
    turned_down = Changed(call.settings, {"code": BAD_TIME})
    if not isinstance(call.par, str):
        raise wrong("a text of digits is expected")
    try:
        sid, schedule = unpacked(call.par, 1 if slots else 2)
    except ValueError:
        return turned_down
    others = tuple(each for each in call.settings.schedules if each.sid != sid)
    if (slots and sid >= SLOTS) or len(others) == SCHEDULES_MAX:
        return turned_down
    kept = others if schedule is None else (*others, schedule)
    ordered = tuple(sorted(kept, key=lambda each: each.sid))
    return Changed(replace(call.settings, schedules=ordered), 0)


def _s_cmode(call: Call) -> Changed:
    record(call, ControlMode)
    if call.reading.status is ChargeStatus.CHARGING:
        raise Refused(ErrorCode.WHILE_CHARGING, "The override stays until the charge has ended.")
    call.hardware.by_rules(call.now_s)
    return Changed(call.settings, 0)


def _w_time(call: Call) -> Changed:
    """Set the clock by which the charger keeps its schedules; no other looks at it."""
    if not (isinstance(call.par, str) and _CLOCK.fullmatch(call.par)):
        raise wrong("a UTC time is expected, ssmmhhddwwMMyy with Sunday 00")
    second, minute, hour, day, _, month, year = (int(pair) for pair in _PAIR.findall(call.par))
    try:
        time = datetime(2000 + year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError:
        raise wrong("there is no such time") from None
    call.hardware.set_clock(call.now_s, int(time.timestamp()))
    return Changed(call.settings)


def _s_tzn(call: Call) -> Changed:
    return Changed(replace(call.settings, time_zone=record(call, TimeZone)), 0)


def _s_ecos(call: Call) -> Changed:
    return Changed(replace(call.settings, eco_smart=record(call, EcoSmart)), 0)


def _s_psh(call: Call) -> Changed:
    return Changed(replace(call.settings, power_sharing=record(call, PowerSharing)), 0)


def _clr_psh(call: Call) -> Changed:
    return Changed(replace(call.settings, power_sharing=PowerSharing()), 0)


def _s_phsw(call: Call) -> Changed:
    return Changed(replace(call.settings, phase_switch=record(call, PhaseSwitch)), 0)


def _s_halocfg(call: Call) -> Changed:
    return Changed(replace(call.settings, halo=record(call, Halo)), 0)


def _w_hsh(call: Call) -> Changed:
    limit_a = integer(call, 0, _HOUSE_LIMIT_MAX_A)
    return Changed(replace(call.settings, house_limit_a=limit_a), 0)


def _s_ocpp(call: Call) -> Changed:
    ocpp = replace(record(call, Ocpp), pw="")
    return Changed(replace(call.settings, ocpp=ocpp), 0)


def _suser(call: Call) -> Changed:
    return Changed(replace(call.settings, user_id=integer(call, 0, _INTEGER_MAX)), 0)


def _rebot(call: Call) -> Changed:
    return Changed(call.settings, action=Action.REBOOT)


def _supds(call: Call) -> Changed:
    if call.par is None:
        if call.updates.newest() is None:
            raise NotPossible(f"There is no newer software than {call.updates.installed}.")
        return Changed(call.settings, 0, Action.UPDATE)
    text = call.par if isinstance(call.par, str) else ""
    try:
        offered = call.updates.offers(Version.parse(text))
    except ValueError as error:
        raise wrong(error) from None
    if not offered:
        raise wrong(f"there is no software {text} for this charger")
    return Changed(call.settings, 0, Action.UPDATE, text)


def _set_pin(_: Call) -> object:
    """Refuse without a look at the parameter, which may be a passcode that somebody uses."""
    raise Refused(
        ErrorCode.NOT_SUPPORTED, "Passcodes are not chosen: one is assigned for you by the app."
    )


WRITES: Mapping[str, Handler] = MappingProxyType(
    {
        "w_cha": _w_cha,
        "w_mxI": _w_mx_i,
        "w_lck": _w_lck,
        "s_alo": _s_alo,
        "s_sch": _s_sch,
        "clr_sch": _clr_sch,
        "w_sch": _w_sch,
        "s_cmode": _s_cmode,
        "Wtime": _w_time,
        "s_tzn": _s_tzn,
        "s_ecos": _s_ecos,
        "s_psh": _s_psh,
        "clr_psh": _clr_psh,
        "s_phsw": _s_phsw,
        "s_halocfg": _s_halocfg,
        "w_hsh": _w_hsh,
        "w_power_boost": _w_hsh,
        "s_ocpp": _s_ocpp,
        "suser": _suser,
        "rebot": _rebot,
        "supds": _supds,
        "set_pin": _set_pin,
    }
)
