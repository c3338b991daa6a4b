"""Stock methods that change nothing."""

from collections.abc import Mapping
from types import MappingProxyType

from chargepin.charger.ports import ChargeStatus
from chargepin.charger.stock.call import Call, Flat, Handler, integer, wrong
from chargepin.charger.stock.dialect import Timetable
from chargepin.charger.stock.schedules import SLOTS, slot

_PIN_VERSION = 3  # what every log of a real charger shows; its meaning is not known


def _r_dat(call: Call) -> object:
    reading, dialect = call.reading, call.plate.dialect
    one, two, three = reading.deciamperes
    status = {
        "L1": one,
        "L2": two,
        "L3": three,
        "cur": reading.max_current_a,
        "en": reading.session_wh // 10,  # in units of 10 Wh
        "ps": 0,
        "s": reading.session_start_unix_s or 0,
        "st": dialect.states.get(reading.status, int(reading.status)),
        "usid": call.settings.user_id,
    }
    if dialect.short_status:
        return status
    return dict(
        sorted(
            {
                **status,
                "cp": sum(reading.watts) / 1000,
                "den": 0,
                "gen": int(reading.by_hand) if dialect.override_flag else reading.session_green_wh,
                "grid": reading.session_wh - reading.session_green_wh,
                "mid": 0,
                "ocpp": _ocpp_status(call),
                "ps": _sharing_role(call),
            }.items()
        )
    )


def _r_sta(call: Call) -> object:
    reading = call.reading
    return {
        "charger_status": reading.status,
        "external_meter_status": 1,
        "lock_status": int(reading.locked),
        "max_available_current": reading.available_current_a,
        "max_charging_current": reading.max_current_a,
        "mid_status": 0,
        "ocpp_status": _ocpp_status(call),
        "phases_connection": call.plate.family.phases,
        "power_sharing_status": _sharing_role(call),
    }


def _ocpp_status(call: Call) -> int:
    if not call.settings.ocpp.e:
        return 1  # not configured
    at_rest, charging = call.plate.dialect.back_office
    return charging if call.reading.status is ChargeStatus.CHARGING else at_rest


def _sharing_role(call: Call) -> int:
    return 3 if call.settings.power_sharing.dyps else 0  # master, or none


def _r_dca(call: Call) -> object:
    reading = call.reading
    columns = {"v": reading.volts, "p": reading.watts, "c": reading.deciamperes}
    phases = {
        f"{letter}{phase}": value
        for letter, values in columns.items()
        for phase, value in enumerate(values, start=1)
    }
    return phases | {"e": reading.meter_wh}


def _r_lse(call: Call) -> object:
    reading = call.reading
    return {
        "green_energy": reading.session_green_wh / 1000,
        "grid_energy": (reading.session_wh - reading.session_green_wh) / 1000,
        "surplus_power": reading.surplus_w,
        "active_feature": 0,
        "control_mode": int(reading.by_hand),
        "user_id": call.settings.user_id,
    }


def _r_ses(call: Call) -> object:
    sessions = call.hardware.sessions()
    return {"last": sessions[-1].session_id if sessions else 0, "size": len(sessions)}


def _r_log(call: Call) -> object:
    wanted = integer(call, 0, 2**31 - 1)
    for session in call.hardware.sessions():
        if session.session_id == wanted:
            return {
                "start": session.start_unix_s,
                "sec": session.charging_s,
                "en": session.energy_wh,
                "gen": session.green_wh,
            }
    raise wrong(f"there is no session {wanted}")


def _r_schs(call: Call) -> object:
    schedules = call.settings.schedules
    if call.plate.dialect.timetable is Timetable.LIST:
        return [each.shown() for each in schedules]
    return {"schedules": [each.shown(sunday_first=True) for each in schedules]}


def _r_sch(call: Call) -> object:
    return slot(call.settings.schedules, integer(call, 0, SLOTS - 1))


def g_mac(call: Call) -> Flat:
    """The addresses of its network ports: made from its serial."""
    tail = int(call.plate.serial) & 0xFFFFFF
    return Flat({"eth_mac": _mac(0x02, tail), "wlan_mac": _mac(0x06, tail)})


def _mac(first: int, tail: int) -> str:
    # Locally administered addresses (IEEE 802): no maker's number is borrowed.
    return bytes([first, *b"WB", *tail.to_bytes(3, "big")]).hex(":")


def _fw_v_(call: Call) -> Flat:
    plate = call.plate
    return Flat(
        {
            "c": "1",
            "db": "1",
            "fw": str(plate.software),
            "p": plate.family.project_code,
            "r": "1",
            "s": str(plate.software),
        }
    )


def _gupdc(call: Call) -> object:
    newest = call.updates.newest()
    version = call.updates.installed if newest is None else newest
    return {"update": newest is not None, "version": str(version)}


def _supdp(call: Call) -> object:
    progress = call.updates.progress
    return {"st": progress.state, "pct": progress.percent, "err": progress.error}


def _read_pin(_: Call) -> object:
    """Real chargers hand out the passcode here; ours does not even have it."""
    return {"pin": "", "version": _PIN_VERSION}


READS: Mapping[str, Handler] = MappingProxyType(
    {
        "ping": lambda _: 0,
        "r_dat": _r_dat,
        "r_sta": _r_sta,
        "r_dca": _r_dca,
        "r_lse": _r_lse,
        "r_ses": _r_ses,
        "r_log": _r_log,
        "r_schs": _r_schs,
        "r_sch": _r_sch,
        "r_lck": lambda call: int(call.reading.locked),
        "g_alo": lambda call: call.reading.auto_lock_s,
        "r_fsI": lambda call: call.reading.available_current_a,
        "g_ecos": lambda call: call.settings.eco_smart,
        "g_psh": lambda call: call.settings.power_sharing,
        "r_hsh": lambda call: call.settings.house_limit_a,
        "r_power_boost": lambda call: call.settings.house_limit_a,
        "g_phsw": lambda call: call.settings.phase_switch,
        "g_tzn": lambda call: call.settings.time_zone,
        "g_halocfg": lambda call: call.settings.halo,
        "gnsta": lambda _: [],  # no network of its own
        "gwsta": lambda _: 0,  # Wi-Fi is off
        "gwnet": lambda _: [],
        "g_ocpp": lambda call: call.settings.ocpp,
        "g_mac": g_mac,
        "r_sn_": lambda call: call.plate.serial,
        "fw_v_": _fw_v_,
        "r_wel": lambda call: call.plate.dialect.weld_good,
        "r_not": lambda _: [],
        "gupdc": _gupdc,
        "supdp": _supdp,
        "r_hup": lambda _: {"st": 0},  # there is no access point of its own
        "read_pin": _read_pin,
    }
)
