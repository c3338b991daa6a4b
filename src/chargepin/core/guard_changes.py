"""What a granted session may change: the passcode, bonds, policy, claim; and the reset."""

from dataclasses import replace
from typing import assert_never

from chargepin.core import bonds, commands
from chargepin.core.bonds import Role
from chargepin.core.durable import ClaimKept, Durable, Factory, Mode
from chargepin.core.guard_state import (
    Answer,
    Commanded,
    Drop,
    DropAll,
    Effect,
    Entry,
    ForgetBluetoothBonds,
    Guard,
    Link,
    Step,
    closed,
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
        case commands.EndPause():
            ended = guard.durable.lockout.ended()
            return _done(guard, number, replace(guard.durable, lockout=ended), "pause_ended")
        case commands.SetPolicy(policy):
            return _done(guard, number, replace(guard.durable, policy=policy), "policy_set")
        case commands.TakeClaim(claim):
            return _claimed(guard, number, claim)
        case commands.Release():
            return _done(guard, number, replace(guard.durable, claim=None), "released")
        case commands.Reset():
            return reset(guard, (Answer(number),))
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
    detail: dict[str, str | int] = {"generation": durable.generation, "bonds": len(table)}
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
    return replace(after, guard=with_link(after.guard, number, raised))


def _forget_bond(guard: Guard, number: int, link: Link, bond_id: str) -> Step:
    own = link.bond is not None and link.bond.bond_id == bond_id
    if not own and link.role < Role.ADMIN:
        return _denied(guard, number, commands.ROLE_TOO_LOW)
    forgotten = bonds.by_id(guard.durable.bonds, bond_id)
    if forgotten is None:
        return _denied(guard, number, commands.NO_SUCH_BOND)
    durable = replace(guard.durable, bonds=bonds.without(guard.durable.bonds, bond_id))
    after = _done(guard, number, durable, "bond_forgotten", {"bond": bond_id})
    ending = [n for n, held in guard.links.items() if held.bond and held.bond.bond_id == bond_id]
    drops = (Drop(other, "its bond was forgotten") for other in ending)
    return replace(after, guard=closed(after.guard, ending), effects=(*after.effects, *drops))


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
    entries = (Entry(event, detail or {}),)
    return Step(replace(guard, durable=durable), (Answer(number),), entries)


def reset(guard: Guard, before: tuple[Effect, ...]) -> Step:
    """Erase passcode, bonds, policy and claim; identity and counters stay."""
    old = guard.durable
    factory = _factory_kept(old)
    fresh = Durable(
        incarnation=old.incarnation + 1,
        generation=old.generation,
        lockout=old.lockout.renewed(),
        factory=factory,
        starts=old.starts,
    )
    if factory is not None:
        fresh = replace(
            fresh,
            mode=Mode.PROTECTED,
            generation=old.generation + 1,
            credential=factory.credential,
            lockout=old.lockout.renewed(factory.charged),
        )
    effects = (*before, ForgetBluetoothBonds(), DropAll("the charger was reset"))
    entry = Entry("reset", {"incarnation": fresh.incarnation})
    return Step(closed(replace(guard, durable=fresh), guard.links), effects, (entry,))
