"""The charger's state machine: who may do what, and what is written before anybody is told.

`step` takes one event and gives the next state, effects to carry out in order, and entries for
the security log. Whatever changed in the durable part must be stored, with the entries, before
the first effect; there is no effect for storing, so no transition can forget it. If storing
fails, `unstored` is the state instead, and `storage_failed` says whom to tell.

The guard computes no cryptography: it is told whether a proof held.
"""

from dataclasses import replace
from types import MappingProxyType
from typing import Final, assert_never

from chargepin.core import bonds, commands, lockout
from chargepin.core.bonds import Role
from chargepin.core.catalogue import Version
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_attempts import charge_entries, pin
from chargepin.core.guard_changes import commanded, reset, tamper_told
from chargepin.core.guard_state import (
    Answer,
    ButtonHeld,
    ButtonPressed,
    Commanded,
    Drop,
    Effect,
    Entry,
    Event,
    Grant,
    Guard,
    HelloReceived,
    Link,
    LinkClosed,
    LinkOpened,
    Phase,
    PinChecked,
    PinOffered,
    ProofChecked,
    Refuse,
    Respond,
    RoleRaised,
    SendParams,
    ShareReceived,
    SoftwareChanged,
    Step,
    StrangersCounted,
    TamperChanged,
    Tell,
    Ticked,
    closed,
    counted,
    who,
    with_link,
)
from chargepin.core.identity import Credential, Flag, RefusalCode, State
from chargepin.core.lockout import Refused

RESET_WITHIN_S = 120.0
KEEP_RUNNING_S = 600.0
KEEP_SEEN_S = 3600.0
COUNT_FOR_S = 3600.0

# Every change of a link's phase that exists. An event that would need another one is a breach of
# the protocol and ends the link. docs/diagrams.md is drawn from this table.
TRANSITIONS: Final = MappingProxyType(
    {
        (Phase.LOCKED, HelloReceived): frozenset({Phase.LOCKED, Phase.GREETED}),
        (Phase.GREETED, HelloReceived): frozenset({Phase.LOCKED, Phase.GREETED}),
        (Phase.PROVING, HelloReceived): frozenset({Phase.LOCKED, Phase.GREETED}),
        (Phase.GREETED, ShareReceived): frozenset({Phase.LOCKED, Phase.PROVING}),
        (Phase.PROVING, ProofChecked): frozenset({Phase.LOCKED, Phase.GRANTED}),
        (Phase.GRANTED, Commanded): frozenset({Phase.GRANTED, Phase.CLOSED}),
    }
)


def powered_up(
    durable: Durable, software: Version, oldest_app: Version, started_s: float | None = None
) -> Step:
    """Begin after a start: running time goes on where it was last stored.

    started_s: when the power came, where this is a restart by software only. That anybody can
    bring about who is let in, so it opens none of the times in which somebody stands there.
    """
    now_s = durable.running_s
    started_s = now_s if started_s is None else started_s
    durable = replace(durable, lockout=durable.lockout.restarted(now_s), starts=durable.starts + 1)
    guard = Guard(durable, started_s, software, oldest_app, counted_s=now_s)
    entries = [Entry("started", {"software": str(software)})]
    if guard.downgraded:
        entries.append(Entry("downgraded", {"software": str(software)}))
    return Step(guard, (), tuple(entries))


def step(guard: Guard, event: Event, now_s: float) -> Step:
    """Take one event at now_s (running seconds)."""
    after = _take(guard, event, now_s)
    if after.guard.durable is guard.durable:
        return after
    durable = replace(after.guard.durable, running_s=now_s)
    for bond_id, unix_s in after.guard.seen.items():
        durable = replace(durable, bonds=bonds.seen(durable.bonds, bond_id, unix_s))
    stored = replace(after.guard, durable=durable, seen=MappingProxyType({}))
    return replace(after, guard=stored)


def storage_failed(event: Event) -> tuple[Effect, ...]:
    """What to do instead of a step whose result could not be stored: tell the one who asked."""
    match event:
        case HelloReceived(link) | ShareReceived(link) | ProofChecked(link):
            return (Refuse(link, RefusalCode.STORAGE_FAILED),)
        case Commanded(link):
            return (Answer(link, commands.STORAGE_FAILED),)
        case _:
            return ()


def unstored(guard: Guard, event: Event) -> Guard:
    """The state where a step could not be stored: as it was, but what is gone is gone."""
    return with_link(guard, event.link, None) if isinstance(event, LinkClosed) else guard


def _take(guard: Guard, event: Event, now_s: float) -> Step:
    match event:
        case LinkOpened(link):
            return Step(with_link(guard, link, Link(opened_s=now_s)))
        case LinkClosed(link):
            return Step(with_link(guard, link, None), (), _unproved(guard, link))
        case HelloReceived() | ShareReceived() | ProofChecked() | Commanded():
            return _take_from_link(guard, event, now_s)
        case PinOffered() | PinChecked():
            return pin(guard, event, now_s)
        case ButtonPressed():
            return _pressed(guard, now_s)
        case ButtonHeld():
            return _held(guard, now_s)
        case StrangersCounted(name, times):
            return Step(counted(guard, name, times))
        case TamperChanged(opened):
            return _tampered(guard) if opened else Step(guard, (), (Entry("tamper_ended"),))
        case SoftwareChanged(software, oldest_app):
            return Step(replace(guard, software=software, oldest_app=oldest_app))
        case Ticked():
            return _ticked(guard, now_s)
        case _:
            assert_never(event)


def _take_from_link(
    guard: Guard, event: HelloReceived | ShareReceived | ProofChecked | Commanded, now_s: float
) -> Step:
    link = guard.links.get(event.link)
    if link is None:  # it closed while the event waited
        return Step(guard)
    allowed = TRANSITIONS.get((link.phase, type(event)))
    if allowed is None:
        return _breach(guard, event.link, f"{type(event).__name__} while {link.phase.value}")
    match event:
        case HelloReceived():
            after = _greeted(guard, link, event, now_s)
        case ShareReceived():
            after = _share(guard, link, event, now_s)
        case ProofChecked():
            after = _checked(guard, link, event)
        case Commanded():
            after = commanded(guard, link, event, now_s)
        case _:
            assert_never(event)
    moved = after.guard.links[event.link]
    assert moved.phase in allowed  # noqa: S101 - the table is the authority
    return after


# ---- the handshake ----------------------------------------------------------------------------


def _greeted(guard: Guard, link: Link, event: HelloReceived, now_s: float) -> Step:
    durable = guard.durable
    link = replace(
        link,
        phase=Phase.LOCKED,
        credential=event.credential,
        generation=durable.generation,
        bond=event.bond if event.credential is Credential.BOND else None,
        charged_s=None,
    )
    given_up = _unproved(guard, event.link)
    code = _refusal_of_hello(guard, event)
    if code is not None:
        return replace(_refused(guard, link, event.link, code), entries=given_up)
    refusal = durable.lockout.refusal(now_s) if durable.mode is Mode.PROTECTED else None
    effect = SendParams(
        event.link,
        State.OPEN if durable.mode is Mode.OPEN else State.PROTECTED,
        flags_of(guard, now_s) | (Flag.BOND_KNOWN if link.bond else Flag(0)),
        refusal.retry_after_s if refusal else 0.0,
        durable.lockout.tries_left(now_s) if durable.mode is Mode.PROTECTED else 0,
    )
    moved = replace(link, phase=Phase.GREETED)
    return Step(with_link(guard, event.link, moved), (effect,), given_up)


def _unproved(guard: Guard, number: int) -> tuple[Entry, ...]:
    """An attempt that ends without its proof: the app saw that its passcode is another one."""
    link = guard.links.get(number)
    if link is None or link.charged_s is None:
        return ()
    return (Entry("passcode_unproved", {"generation": link.generation}),)


def flags_of(guard: Guard, now_s: float) -> Flag:
    """What PARAMS tells about the charger as a whole."""
    flags = Flag(0)
    if guard.durable.mode is Mode.PROTECTED:
        refusal = guard.durable.lockout.refusal(now_s)
        if refusal is not None:
            flags |= Flag.PAUSED if refusal.reason is Refused.PAUSED else Flag.EXHAUSTED
    if guard.downgraded:
        flags |= Flag.DOWNGRADED
    if guard.durable.mode is Mode.OPEN and not guard.first_set_allowed(now_s):
        flags |= Flag.PRESENCE_NEEDED
    if guard.update_available:
        flags |= Flag.UPDATE_AVAILABLE
    return flags


def _refusal_of_hello(guard: Guard, event: HelloReceived) -> RefusalCode | None:
    if not event.known:
        return RefusalCode.UNSUPPORTED
    if event.app < guard.oldest_app:
        return RefusalCode.APP_TOO_OLD
    if guard.durable.mode is Mode.SEALED:
        return RefusalCode.STORAGE_FAILED
    if event.credential is Credential.BOND and event.bond is None:
        return RefusalCode.BOND_UNKNOWN
    return None


def _share(guard: Guard, link: Link, event: ShareReceived, now_s: float) -> Step:
    durable = guard.durable
    code = _refusal_of_share(guard, link)
    if code is not None:
        return _refused(guard, link, event.link, code)
    if link.credential is not Credential.PASSCODE:
        verifier = link.bond.verifier if link.bond else None
        moved = replace(link, phase=Phase.PROVING)
        return Step(with_link(guard, event.link, moved), (Respond(event.link, verifier),))
    refusal = durable.lockout.refusal(now_s)
    if refusal is not None:
        exhausted = refusal.reason is Refused.EXHAUSTED
        code = RefusalCode.EXHAUSTED if exhausted else RefusalCode.PAUSED
        return _refused(guard, link, event.link, code, refusal.retry_after_s)
    charged = durable.lockout.charge(now_s)
    guard = replace(guard, durable=replace(durable, lockout=charged))
    moved = replace(link, phase=Phase.PROVING, charged_s=now_s)
    credential = durable.credential
    assert credential is not None  # noqa: S101 - Mode.PROTECTED has one
    effects = (Respond(event.link, credential.verifier),)
    return Step(with_link(guard, event.link, moved), effects, charge_entries(guard, now_s))


def _refusal_of_share(guard: Guard, link: Link) -> RefusalCode | None:
    if link.generation != guard.durable.generation:
        return RefusalCode.CHANGED
    mode = guard.durable.mode
    if link.credential is Credential.OPEN and mode is not Mode.OPEN:
        return RefusalCode.PASSCODE_NEEDED
    if link.credential is Credential.PASSCODE and mode is not Mode.PROTECTED:
        return RefusalCode.NOT_SET
    if link.credential is Credential.BOND:
        known = link.bond and bonds.by_id(guard.durable.bonds, link.bond.bond_id)
        return None if known else RefusalCode.BOND_UNKNOWN
    return None


def _refused(
    guard: Guard, link: Link, number: int, code: RefusalCode, retry_after_s: float = 0.0
) -> Step:
    guard = counted(guard, f"refused_{code.name.lower()}")
    effects = (Refuse(number, code, retry_after_s),)
    return Step(with_link(guard, number, replace(link, phase=Phase.LOCKED)), effects)


def _checked(guard: Guard, link: Link, event: ProofChecked) -> Step:
    durable = guard.durable
    if not event.held:
        over = replace(link, charged_s=None)  # its end is written down, once
        refused = _refused(guard, over, event.link, RefusalCode.WRONG)
        entry = Entry("passcode_wrong", {"generation": durable.generation})
        return refused if link.charged_s is None else replace(refused, entries=(entry,))
    code = _refusal_of_share(guard, link)
    if code is not None:
        return _refused(guard, link, event.link, code)
    role = Role.USER
    if link.credential is Credential.OPEN:
        role = Role.OWNER
    elif link.bond is not None:
        role = link.bond.role
        seen = MappingProxyType({**guard.seen, link.bond.bond_id: event.unix_s})
        guard = replace(guard, seen=seen)
    entries: tuple[Entry, ...] = ()
    if link.charged_s is not None:
        durable = replace(durable, lockout=durable.lockout.give_back(link.charged_s))
        entries = (Entry("passcode_entered", {"generation": durable.generation}),)
    moved = replace(link, phase=Phase.GRANTED, role=role, charged_s=None)
    guard = with_link(replace(guard, durable=durable), event.link, moved)
    bond_id = link.bond.bond_id if link.bond else None
    return Step(guard, (Grant(event.link, role, bond_id),), entries)


# ---- the button, time, breaches ---------------------------------------------------------------


def _pressed(guard: Guard, now_s: float) -> Step:
    entries = [Entry("button_pressed")]
    pressed = guard.durable.lockout.pressed(now_s)
    if pressed is not guard.durable.lockout:
        entries.append(Entry("button_window_opened", {"tries": lockout.WINDOW_TRIES}))
    guard = replace(guard, durable=replace(guard.durable, lockout=pressed), pressed_s=now_s)
    effects: tuple[Effect, ...] = ()
    # Who proved the passcode itself and stands at the charger is an owner; a bond's role is fixed
    # at issue. With two such sessions nobody can tell whose owner pressed.
    proved = [
        (number, link)
        for number, link in guard.links.items()
        if link.phase is Phase.GRANTED and link.credential is Credential.PASSCODE
    ]
    if len(proved) == 1 and proved[0][1].role < Role.OWNER:
        number, link = proved[0]
        guard = with_link(guard, number, replace(link, role=Role.OWNER))
        entries.append(Entry("owner_by_button", {"by": who(link)}))
        told = tamper_told(guard.durable, number, link.role, Role.OWNER)
        effects = (RoleRaised(number, Role.OWNER), *told)
    return Step(guard, effects, tuple(entries))


def _held(guard: Guard, now_s: float) -> Step:
    if now_s >= guard.started_s + RESET_WITHIN_S:
        entry = Entry("reset_refused", {"why": "more than two minutes after power-up"})
        return Step(guard, (), (entry,))
    return reset(guard, (), "button")


def _tampered(guard: Guard) -> Step:
    admins = [n for n, link in guard.links.items() if link.role >= Role.ADMIN]
    guard = replace(guard, durable=replace(guard.durable, tampered=True))
    return Step(guard, tuple(Tell(n, "tampered") for n in admins), (Entry("tampered"),))


def flushed(guard: Guard, now_s: float) -> Step:
    """Put down what was counted of strangers, as before the charger stops."""
    if not guard.counted:
        return Step(guard)
    entries = (Entry("strangers", dict(guard.counted)),)
    return Step(replace(guard, counted=MappingProxyType({}), counted_s=now_s), (), entries)


def _ticked(guard: Guard, now_s: float) -> Step:
    entries: tuple[Entry, ...] = ()
    if now_s >= guard.counted_s + COUNT_FOR_S:
        after = flushed(guard, now_s)
        guard, entries = after.guard, after.entries
    durable = guard.durable
    unstored_s = now_s - durable.running_s
    timing = unstored_s >= KEEP_RUNNING_S and durable.lockout.timing(now_s)
    if timing or (unstored_s >= KEEP_SEEN_S and guard.seen):
        guard = replace(guard, durable=replace(durable))  # a new object: it is stored anew
    return Step(guard, (), entries)


def _breach(guard: Guard, number: int, what: str) -> Step:
    entries = _unproved(guard, number)
    if guard.links[number].phase is not Phase.CLOSED:  # else it is being hung up already
        guard = counted(closed(guard, (number,)), "breach")
    return Step(guard, (Drop(number, f"breach of the protocol: {what}"),), entries)
