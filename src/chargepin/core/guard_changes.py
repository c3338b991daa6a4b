"""What a granted session may change: the passcode, bonds, policy, claim; and the reset."""

from dataclasses import replace
from typing import assert_never

from chargepin.core import bonds, commands
from chargepin.core.bonds import Role
from chargepin.core.durable import (
    ClaimKept,
    Durable,
    Factory,
    Mode,
    Policy,
    Profile,
    usual_policy,
)
from chargepin.core.guard_state import (
    Answer,
    Commanded,
    Drop,
    DropAll,
    Effect,
    Entry,
    ErasePersons,
    ForgetBluetoothBonds,
    Guard,
    Link,
    Step,
    Tell,
    closed,
    who,
    with_link,
)
from chargepin.core.identity import Credential


def commanded(guard: Guard, link: Link, event: Commanded, now_s: float) -> Step:
    """Carry out a session's command, or deny it."""
    command, number = event.command, event.link
    denial = _denial(guard, link, command, now_s)
    if denial is not None:
        return _denied(guard, number, denial)
    match command:
        case commands.SetPasscode():
            return _set_passcode(guard, number, command)
        case commands.AddBond():
            return _add_bond(guard, number, link, command)
        case commands.ForgetBond(bond_id):
            return _forget_bond(guard, number, link, bond_id)
        case commands.SetPolicy(policy):
            return _set_policy(guard, number, policy)
        case commands.TakeClaim(claim):
            return _claimed(guard, number, claim)
        case commands.Reset():
            return reset(guard, (Answer(number),), who(link))
        case _:
            durable, name, detail = _plain(guard.durable, command)
            return _done(guard, number, durable, name, detail)


def _plain(
    durable: Durable,
    command: commands.EndPause | commands.Release | commands.SeeTamper | commands.PasscodeViewed,
) -> tuple[Durable, str, dict[str, str | int]]:
    """What becomes of a command that nothing can hinder, and what the log says of it."""
    match command:
        case commands.EndPause():
            return replace(durable, lockout=durable.lockout.ended()), "pause_ended", {}
        case commands.Release():
            return replace(durable, claim=None), "released", {}
        case commands.SeeTamper():
            return replace(durable, tampered=False), "tamper_seen", {}
        case commands.PasscodeViewed(times):
            return durable, "passcode_viewed", {"times": times}
        case _:
            assert_never(command)


def _denial(
    guard: Guard, link: Link, command: commands.Command, now_s: float
) -> commands.Denial | None:
    """Whatever the command is about, why it may not be carried out now."""
    if link.role < commands.ROLE_NEEDED[type(command)]:
        return commands.ROLE_TOO_LOW
    if guard.outdated:
        return commands.UPDATE_NEEDED
    # where everybody is let in, the presence rule guards each change, or one could end the rule
    if guard.durable.mode is Mode.OPEN and not guard.first_set_allowed(now_s):
        return commands.PRESENCE_NEEDED
    return None


def _set_passcode(guard: Guard, number: int, command: commands.SetPasscode) -> Step:
    durable = guard.durable
    protected = durable.mode is Mode.PROTECTED
    if command.generation != durable.generation + 1:
        return _denied(guard, number, commands.CHANGED)
    if protected is not command.rotation:
        return _denied(guard, number, commands.ALREADY_SET if protected else commands.NOT_SET)
    table = () if not protected else durable.bonds
    if command.keep is not None:
        table = bonds.kept(table, command.keep)
    durable = replace(
        durable,
        mode=Mode.PROTECTED,
        generation=command.generation,
        credential=command.credential,
        lockout=durable.lockout.renewed(),
        bonds=table,
        owner_token_hash=command.owner_token_hash,
        factory=_factory_kept(durable),
    )
    revoked = command.keep is not None
    forget = (ForgetBluetoothBonds(),) if not protected or revoked else ()
    name = "passcode_rotated" if protected else "passcode_set"
    detail: dict[str, str | int] = {
        "generation": durable.generation,
        "bonds": len(table),
        "forgotten": len(guard.durable.bonds) - len(table),
        "by": who(guard.links[number]),
    }
    effects = (Answer(number), *forget, DropAll("the passcode changed"))
    guard = closed(replace(guard, durable=durable), guard.links)
    return Step(guard, effects, (Entry(name, detail),))


def _factory_kept(durable: Durable) -> Factory | None:
    """While the factory's passcode is in force, its attempts are counted where no reset clears."""
    factory = durable.factory
    if factory is None or durable.credential != factory.credential:
        return factory
    return replace(factory, charged=max(factory.charged, durable.lockout.charged))


def _add_bond(guard: Guard, number: int, link: Link, command: commands.AddBond) -> Step:
    durable = guard.durable
    if durable.mode is not Mode.PROTECTED:
        return _denied(guard, number, commands.NOT_SET)
    token = durable.owner_token_hash
    owner = token is not None and command.token_hash == token
    role = Role.OWNER if owner else min(command.bond.role, link.role)
    bond = replace(command.bond, role=role, generation=durable.generation)
    try:
        table = bonds.with_bond(durable.bonds, bond)
    except bonds.TableFull:
        return _denied(guard, number, commands.TABLE_FULL)
    durable = replace(durable, bonds=table, owner_token_hash=None if owner else token)
    detail: dict[str, str | int] = {"bond": bond.bond_id, "role": role.word, "name": bond.name}
    after = _done(guard, number, durable, "bond_added", detail)
    # Who proved a bond is in by that one; who proved the passcode goes by the newest it drew.
    own = link.bond if link.credential is Credential.BOND else bond
    raised = replace(link, role=max(link.role, role), bond=own)
    told = tamper_told(durable, number, link.role, raised.role)
    after = replace(after, effects=(*after.effects, *told))
    return replace(after, guard=with_link(after.guard, number, raised))


def tamper_told(durable: Durable, number: int, before: Role, role: Role) -> tuple[Tell, ...]:
    """Who becomes an admin hears that the housing was opened; others hear it when granted."""
    admin = before < Role.ADMIN <= role
    return (Tell(number, "tampered"),) if admin and durable.tampered else ()


def _forget_bond(guard: Guard, number: int, link: Link, bond_id: str) -> Step:
    own = link.bond is not None and link.bond.bond_id == bond_id
    if not own and link.role < Role.ADMIN:
        return _denied(guard, number, commands.ROLE_TOO_LOW)
    forgotten = bonds.by_id(guard.durable.bonds, bond_id)
    if forgotten is None:
        return _denied(guard, number, commands.NO_SUCH_BOND)
    if not own and forgotten.role > link.role:  # or an admin could put every owner out
        return _denied(guard, number, commands.ROLE_TOO_LOW)
    durable = replace(guard.durable, bonds=bonds.without(guard.durable.bonds, bond_id))
    after = _done(guard, number, durable, "bond_forgotten", {"bond": bond_id})
    ending = [n for n, held in guard.links.items() if held.bond and held.bond.bond_id == bond_id]
    drops = (Drop(other, "its bond was forgotten") for other in ending)
    return replace(after, guard=closed(after.guard, ending), effects=(*after.effects, *drops))


def _set_policy(guard: Guard, number: int, policy: Policy) -> Step:
    if guard.durable.profile is Profile.EU and not policy.first_set_needs_presence:
        return _denied(guard, number, commands.PROFILE_DECIDES)
    durable = replace(guard.durable, policy=policy)
    detail: dict[str, str | int] = {"first_set_needs_presence": policy.first_set_needs_presence}
    return _done(guard, number, durable, "policy_set", detail)


def _claimed(guard: Guard, number: int, claim: ClaimKept) -> Step:
    kept = guard.durable.claim
    if kept is not None and kept != claim:
        return _denied(guard, number, commands.ALREADY_CLAIMED)
    durable = replace(guard.durable, claim=claim)
    return _done(guard, number, durable, "claimed", {"account": claim.account})


def _denied(guard: Guard, number: int, denial: commands.Denial) -> Step:
    return Step(guard, (Answer(number, denial),))


def _done(
    guard: Guard,
    number: int,
    durable: Durable,
    event: str,
    detail: dict[str, str | int] | None = None,
) -> Step:
    entries = (Entry(event, {**(detail or {}), "by": who(guard.links[number])}),)
    return Step(replace(guard, durable=durable), (Answer(number),), entries)


def reset(guard: Guard, before: tuple[Effect, ...], by: str) -> Step:
    """Erase passcode, bonds, policy, claim and names in the log; identity and counters stay."""
    old = guard.durable
    factory = _factory_kept(old)
    fresh = Durable(
        incarnation=old.incarnation + 1,
        generation=old.generation,
        lockout=old.lockout.renewed(),
        factory=factory,
        starts=old.starts,
        profile=old.profile,
        policy=usual_policy(old.profile),
    )
    if factory is not None:
        fresh = replace(
            fresh,
            mode=Mode.PROTECTED,
            generation=old.generation + 1,
            credential=factory.credential,
            lockout=old.lockout.renewed(factory.charged),
        )
    effects = (*before, ErasePersons(), ForgetBluetoothBonds(), DropAll("the charger was reset"))
    entry = Entry("reset", {"incarnation": fresh.incarnation, "by": by})
    return Step(closed(replace(guard, durable=fresh), guard.links), effects, (entry,))
