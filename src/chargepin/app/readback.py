"""What shows that a stock write was done: a charger says null for "done" and for "ignored" alike.

Each write has the reads that show its effect, the first one that the charger knows counts, and
what the answer must then look like.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

Shows: TypeAlias = Callable[[object, object], bool]
"""Given what was written and what was read: whether it was done."""


@dataclass(frozen=True, slots=True)
class ReadBack:
    """How to tell.

    reads: methods and what their answers must show. already: what shows that it need not be
    sent, where sending it in vain does harm. repeatable: writing it once more does no harm.
    within_s: how long the charger may take; a contactor needs its time.
    """

    reads: tuple[tuple[str, Shows], ...]
    already: Shows | None = None
    repeatable: bool = True
    within_s: float = 2.0


def _same(written: object, read: object) -> bool:
    return _number(read) == _number(written)


def _member(name: str) -> Shows:
    return lambda written, read: _number(_of(read, name)) == _number(written)


def _members(written: object, read: object) -> bool:
    """Every member that was written has come back; whatever else the record holds."""
    if not isinstance(written, Mapping) or not isinstance(read, Mapping):
        return False
    return all(_number(read.get(name)) == _number(value) for name, value in written.items())


def _auto_lock(written: object, read: object) -> bool:
    """A bare number of seconds; some software has a record."""
    return _same(written, _of(read, "time") if isinstance(read, Mapping) else read)


def _locked_state(written: object, read: object) -> bool:
    return (_of(read, "st") == _LOCKED) is (written == 1)


def _charging(written: object, read: object) -> bool:
    """Started: no longer paused, ready or locked. Stopped: no longer charging."""
    state = _of(read, "st")
    return state not in _NOT_STARTED if written == 1 else state not in _STARTED


def _at_rest_or_charging(written: object, read: object) -> bool:
    """Some chargers take every `w_cha` as "the other one", some fail at a stop while paused."""
    return _of(read, "st") in (_STARTED if written == 1 else _NOT_STARTED)


def _schedules_in(written: object, read: object) -> bool:
    wanted, there = _rows(_of(written, "schedules")), _rows(read)
    return bool(wanted) and all(any(_same_times(row, kept) for kept in there) for row in wanted)


def _same_times(row: Mapping[str, object], kept: Mapping[str, object]) -> bool:
    return all(_clock(row.get(name)) == _clock(kept.get(name)) for name in ("sid", "start", "stop"))


def _schedules_out(written: object, read: object) -> bool:
    unwanted = _of(written, "sid")
    there = [row.get("sid") for row in _rows(read)]
    return isinstance(unwanted, list | tuple) and not any(each in there for each in unwanted)


def _digits_in(written: object, read: object) -> bool:
    """`w_sch`: sid, start, stop and days; all zeros after the sid delete it."""
    match = _DIGITS.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        return False
    sid, start, stop, days = map(int, match.groups())
    times = [
        (_clock(row.get("start")), _clock(row.get("stop")))
        for row in _rows(read)
        if row.get("sid") == sid
    ]
    wanted_gone = not (start or stop or days)
    return all(each == (0, 0) for each in times) if wanted_gone else (start, stop) in times


def _not_shared(_: object, read: object) -> bool:
    return _number(_of(read, "dyps")) == 0


_DIGITS = re.compile(r"([0-9]{1,2})([0-9]{4})([0-9]{4})([0-9]{3})")


def by_zentri(read: object) -> object:
    """What a Zentri module's charger says, in the numbers of others: there 4 is no pause.

    It is a charge that begins.
    """
    if isinstance(read, Mapping) and read.get("st") == _RAMPING:
        return {**read, "st": _CHARGES}
    return read


_CHARGES = 1
_RAMPING = 4
_LOCKED = 6
_NOT_STARTED = (0, 4, 6)
_STARTED = (1, 11)


def _of(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, Mapping) else None


def _number(value: object) -> object:
    """Chargers say 1 and true for the same."""
    return int(value) if isinstance(value, bool) else value


def _rows(value: object) -> list[Mapping[str, object]]:
    """Schedules: a list, on some software within a record."""
    rows = _of(value, "schedules") if isinstance(value, Mapping) else value
    listed = rows if isinstance(rows, list | tuple) else []
    return [row for row in listed if isinstance(row, Mapping)]


def _clock(value: object) -> object:
    """Written as the number 2330, read as the text "2330"."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


READ_BACK: Mapping[str, ReadBack] = MappingProxyType(
    {
        "w_lck": ReadBack(
            (("r_lck", _same), ("r_sta", _member("lock_status")), ("r_dat", _locked_state))
        ),
        "w_mxI": ReadBack((("r_dat", _member("cur")), ("r_sta", _member("max_charging_current")))),
        "w_cha": ReadBack(
            (("r_dat", _charging),), _at_rest_or_charging, repeatable=False, within_s=5.0
        ),
        "w_hsh": ReadBack((("r_hsh", _same),)),
        "w_power_boost": ReadBack((("r_power_boost", _same), ("r_hsh", _same))),
        "s_alo": ReadBack((("g_alo", _auto_lock),)),
        "s_ecos": ReadBack((("g_ecos", _members),)),
        "s_psh": ReadBack((("g_psh", _members),)),
        "clr_psh": ReadBack((("g_psh", _not_shared),)),
        "s_phsw": ReadBack((("g_phsw", _members),)),
        "s_tzn": ReadBack((("g_tzn", _members),)),
        "s_halocfg": ReadBack((("g_halocfg", _members),)),
        "s_sch": ReadBack((("r_schs", _schedules_in),)),
        "clr_sch": ReadBack((("r_schs", _schedules_out),)),
        "w_sch": ReadBack((("r_schs", _digits_in),)),
        "suser": ReadBack((("r_dat", _member("usid")),)),
    }
)
"""By the write's name. What is not in it leaves nothing to read, or a secret: Wtime, s_ocpp, …"""
