"""Guards with one fault each: a step or a power-up that differs from the real one in one thing."""

from dataclasses import replace

from chargepin.core import commands, guard
from chargepin.core.bonds import Role
from chargepin.core.catalogue import Version
from chargepin.core.durable import Durable
from chargepin.core.guard_state import (
    ButtonHeld,
    ButtonPressed,
    Commanded,
    Event,
    Grant,
    Guard,
    HelloReceived,
    LinkClosed,
    Phase,
    ProofChecked,
    Refuse,
    ShareReceived,
    Step,
    Ticked,
)
from chargepin.core.identity import Credential, RefusalCode
from chargepin.core.lockout import TRIES_PER_GENERATION, WINDOW_S, Lockout, Window
from core.guard_watch import DAY_S


def with_lockout(after: Step, lockout: Lockout) -> Step:
    durable = replace(after.guard.durable, lockout=lockout)
    return replace(after, guard=replace(after.guard, durable=durable))


def with_durable(after: Step, durable: Durable) -> Step:
    return replace(after, guard=replace(after.guard, durable=durable))


# ---- faulty steps -----------------------------------------------------------------------------


def proving(before: Guard, event: Event) -> bool:
    """Whether the event is of a link whose attempt is charged."""
    if not isinstance(event, LinkClosed | HelloReceived | ProofChecked):
        return False
    link = before.links.get(event.link)
    return link is not None and link.charged_s is not None


def trying(before: Guard, event: Event) -> bool:
    """Whether the event begins an attempt at the passcode."""
    if not isinstance(event, ShareReceived):
        return False
    return before.links[event.link].credential is Credential.PASSCODE


def charged_after_the_check(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if trying(before, event):
        return with_lockout(after, before.durable.lockout)
    if isinstance(event, ProofChecked) and not event.held:
        return with_lockout(after, before.durable.lockout.charge(now_s))
    return after


def a_break_off_gives_back(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if isinstance(event, LinkClosed) and proving(before, event):
        return with_lockout(after, before.durable.lockout.give_back(now_s))
    return after


def another_hello_gives_back(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if isinstance(event, HelloReceived) and proving(before, event):
        return with_lockout(after, before.durable.lockout.give_back(now_s))
    return after


def a_success_forgives_all(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if any(isinstance(effect, Grant) for effect in after.effects) and proving(before, event):
        return with_lockout(after, Lockout())
    return after


def a_success_gives_back_anothers(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if any(isinstance(effect, Grant) for effect in after.effects) and proving(before, event):
        return with_lockout(after, after.guard.durable.lockout.give_back(now_s))
    return after


def a_wrong_guess_ends_the_wait(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if isinstance(event, ProofChecked) and not event.held:
        return with_lockout(after, replace(before.durable.lockout, step=0, paused_until_s=0.0))
    return after


def each_link_waits_for_itself(before: Guard, event: Event, now_s: float) -> Step:
    """Every link has a lockout of its own; only the count of the generation is shared."""
    if trying(before, event):
        lockout = Lockout(charged=before.durable.lockout.charged)
        before = replace(before, durable=replace(before.durable, lockout=lockout))
    return guard.step(before, event, now_s)


def each_link_has_its_own_budget(before: Guard, event: Event, now_s: float) -> Step:
    if trying(before, event):
        before = replace(before, durable=replace(before.durable, lockout=Lockout()))
    return guard.step(before, event, now_s)


def ten_a_day_forgotten(before: Guard, event: Event, now_s: float) -> Step:
    if trying(before, event):
        lockout = replace(before.durable.lockout, recent=())
        before = replace(before, durable=replace(before.durable, lockout=lockout))
    return guard.step(before, event, now_s)


def a_window_without_end_of_tries(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    lockout = after.guard.durable.lockout
    if isinstance(event, ButtonPressed) and lockout.window is not None:
        return with_lockout(after, replace(lockout, window=Window(now_s + WINDOW_S, 99)))
    return after


def windows_without_end(before: Guard, event: Event, now_s: float) -> Step:
    if isinstance(event, ButtonPressed):
        lockout = replace(before.durable.lockout, windows=())
        before = replace(before, durable=replace(before.durable, lockout=lockout))
    return guard.step(before, event, now_s)


def the_button_helps_the_exhausted(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    lockout = after.guard.durable.lockout
    if isinstance(event, ButtonPressed) and lockout.charged == TRIES_PER_GENERATION:
        return with_lockout(after, replace(lockout, charged=TRIES_PER_GENERATION - 5))
    return after


def time_forgives(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    lockout = after.guard.durable.lockout
    if (
        isinstance(event, Ticked)
        and lockout.charged
        and all(at_s <= now_s - DAY_S for at_s in lockout.recent)
    ):
        return with_lockout(after, replace(lockout, charged=0))
    return after


def an_ended_pause_forgives_all(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if isinstance(event, Commanded) and isinstance(event.command, commands.EndPause):
        return with_lockout(after, Lockout())
    return after


def rotated(event: Event) -> bool:
    return isinstance(event, Commanded) and isinstance(event.command, commands.SetPasscode)


def sessions_outlive_a_rotation(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if rotated(event):
        return replace(after, guard=replace(after.guard, links=before.links))
    return after


def nobody_is_dropped(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    return replace(after, effects=after.effects[:1]) if rotated(event) else after


def handshakes_outlive_a_rotation(before: Guard, event: Event, now_s: float) -> Step:
    """Links are told of the new generation instead of being closed."""
    after = guard.step(before, event, now_s)
    if not rotated(event):
        return after
    generation = after.guard.durable.generation
    links = {
        number: replace(link, generation=generation)
        for number, link in before.links.items()
        if link.phase is Phase.PROVING
    }
    return replace(after, guard=replace(after.guard, links=links))


def a_generation_is_used_again(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if rotated(event):
        generation = before.durable.generation
        return with_durable(after, replace(after.guard.durable, generation=generation))
    return after


def a_revocation_keeps_all(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if rotated(event):
        return with_durable(after, replace(after.guard.durable, bonds=before.durable.bonds))
    return after


def a_forgotten_bonds_session_lives(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if isinstance(event, Commanded) and isinstance(event.command, commands.ForgetBond):
        return replace(after, guard=replace(after.guard, links=before.links))
    return after


def a_pause_is_for_bonds_too(before: Guard, event: Event, now_s: float) -> Step:
    if isinstance(event, ShareReceived) and before.durable.lockout.refusal(now_s) is not None:
        return Step(before, (Refuse(event.link, RefusalCode.PAUSED),))
    return guard.step(before, event, now_s)


def a_bond_is_charged(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    if isinstance(event, ShareReceived):
        return with_lockout(after, before.durable.lockout.charge(now_s))
    return after


def no_proof_is_needed(before: Guard, event: Event, now_s: float) -> Step:
    if isinstance(event, ProofChecked):
        event = replace(event, held=True)
    return guard.step(before, event, now_s)


def a_passcode_makes_an_owner(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    effects = tuple(
        replace(effect, role=Role.OWNER) if isinstance(effect, Grant) else effect
        for effect in after.effects
    )
    return replace(after, effects=effects)


def every_role_is_an_admins(before: Guard, event: Event, now_s: float) -> Step:
    if isinstance(event, Commanded):
        link = replace(before.links[event.link], role=Role.ADMIN)
        raised = replace(before, links={**before.links, event.link: link})
        after = guard.step(raised, event, now_s)
        return replace(after, guard=replace(after.guard, links=before.links))
    return guard.step(before, event, now_s)


def no_session_is_needed(before: Guard, event: Event, now_s: float) -> Step:
    if isinstance(event, Commanded):
        link = replace(before.links[event.link], phase=Phase.GRANTED, role=Role.OWNER)
        before = replace(before, links={**before.links, event.link: link})
    return guard.step(before, event, now_s)


def a_reset_forgives_the_factorys_count(before: Guard, event: Event, now_s: float) -> Step:
    after = guard.step(before, event, now_s)
    return with_lockout(after, Lockout()) if isinstance(event, ButtonHeld) else after


# ---- faulty power-ups -------------------------------------------------------------------------


def a_power_cut_forgives_all(durable: Durable, software: Version, oldest_app: Version) -> Step:
    return with_lockout(guard.powered_up(durable, software, oldest_app), Lockout())


def a_power_cut_ends_the_wait(durable: Durable, software: Version, oldest_app: Version) -> Step:
    after = guard.powered_up(durable, software, oldest_app)
    return with_lockout(after, replace(durable.lockout, step=0, paused_until_s=0.0))


def a_power_cut_begins_a_day(durable: Durable, software: Version, oldest_app: Version) -> Step:
    after = guard.powered_up(durable, software, oldest_app)
    return with_lockout(after, replace(after.guard.durable.lockout, recent=()))


def a_window_outlives_a_power_cut(durable: Durable, software: Version, oldest: Version) -> Step:
    after = guard.powered_up(durable, software, oldest)
    window = durable.lockout.window
    return with_lockout(after, replace(after.guard.durable.lockout, window=window))
