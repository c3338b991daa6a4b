"""Part of the guard: what every attempt on the passcode costs, and the one made by `set_pin`.

`set_pin` is how clients of real chargers log in at the stock service. A phone with a bond by code
may ask so whether a passcode is right; it is charged like every attempt.
"""

from dataclasses import replace

from chargepin.core import lockout
from chargepin.core.durable import Mode
from chargepin.core.guard_state import (
    Entry,
    Guard,
    PinChecked,
    PinOffered,
    Step,
    counted,
    with_link,
)
from chargepin.core.lockout import Refused


def charge_entries(guard: Guard, now_s: float) -> tuple[Entry, ...]:
    """An attempt, and what it comes to unless it proves right."""
    charged = guard.durable.lockout.charged
    entries = [Entry("attempt", {"charged": charged, "generation": guard.durable.generation})]
    if charged == lockout.WARN_AT:
        entries.append(Entry("attempts_warning", {"charged": charged}))
    refusal = guard.durable.lockout.refusal(now_s)
    if refusal is not None and refusal.reason is Refused.PAUSED:
        entries.append(Entry("paused", {"seconds": round(refusal.retry_after_s)}))
    elif refusal is not None:
        entries.append(Entry("exhausted", {"charged": charged}))
    return tuple(entries)


def pin(guard: Guard, event: PinOffered | PinChecked, now_s: float) -> Step:
    """Take one of the two events of a `set_pin`."""
    if isinstance(event, PinOffered):
        return _offered(guard, event.link, now_s)
    return _checked(guard, event.link, held=event.held)


def _offered(guard: Guard, number: int, now_s: float) -> Step:
    """Charge it like any attempt, before it is looked at; a link without `pin` was refused."""
    link, durable = guard.links.get(number), guard.durable
    if link is None or durable.mode is not Mode.PROTECTED:
        return Step(guard)
    refusal = durable.lockout.refusal(now_s)
    if refusal is not None:
        guard = with_link(guard, number, replace(link, pin=None))
        return Step(counted(guard, f"refused_{refusal.reason.value}"))
    charged = durable.lockout.charge(now_s)
    guard = replace(guard, durable=replace(durable, lockout=charged))
    guard = with_link(guard, number, replace(link, pin=(durable.lockout, charged)))
    return Step(guard, (), charge_entries(guard, now_s))


def _checked(guard: Guard, number: int, *, held: bool) -> Step:
    """One that was right changes nothing: not even the row of failures ends, as a proof ends it."""
    link = guard.links.get(number)
    if link is None or link.pin is None:
        return Step(guard)
    before, charged = link.pin
    durable = guard.durable
    guard = with_link(guard, number, replace(link, pin=None))
    if held and durable.lockout == charged:
        guard = replace(guard, durable=replace(durable, lockout=before))
    entry = Entry(
        "passcode_entered" if held else "passcode_wrong", {"generation": durable.generation}
    )
    return Step(guard, (), (entry,))
