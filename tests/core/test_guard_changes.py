from dataclasses import replace
from types import MappingProxyType

import pytest

from chargepin.core import bonds, commands
from chargepin.core import guard_state as state
from chargepin.core.bonds import Role
from chargepin.core.durable import ClaimKept, Durable, Mode, Policy
from chargepin.core.guard_state import (
    Answer,
    Drop,
    DropAll,
    ForgetBluetoothBonds,
    Phase,
    Refuse,
    RoleRaised,
)
from chargepin.core.identity import Credential, RefusalCode
from chargepin.core.lockout import Lockout
from core.guard_bench import (
    ADMIN,
    CLAIM,
    FACTORY,
    FIRST,
    OPEN,
    OWNER,
    PROTECTED,
    SEALED,
    TOKEN,
    UNIX_S,
    USER,
    Bench,
    bond,
    denied,
    done,
    full_table,
    passcode,
    rotation,
    verifier,
)

# ---- first set, rotation, revocation ----------------------------------------------------------


def test_the_first_set_answers_then_drops_everybody_and_all_bonds() -> None:
    bench = Bench(replace(OPEN, bonds=(USER,)))
    link, other = bench.by_nothing(), bench.open()
    effects = bench.command(link, FIRST)
    assert effects == (Answer(link), ForgetBluetoothBonds(), DropAll("the passcode changed"))
    assert bench.stored.mode is Mode.PROTECTED
    assert (bench.stored.generation, bench.stored.bonds) == (1, ())
    assert {bench.phase(link), bench.phase(other)} == {Phase.CLOSED}
    told: dict[str, str | int] = {"generation": 1, "bonds": 0, "forgotten": 1, "by": "open"}
    assert bench.entries[-1] == state.Entry("passcode_set", told)


def test_a_routine_rotation_keeps_the_bonds() -> None:
    bench = Bench()
    link = bench.by_bond()
    effects = bench.command(link, rotation(bench.durable, 2))
    assert effects == (Answer(link), DropAll("the passcode changed"))
    assert bench.stored.bonds == (OWNER, ADMIN, USER)
    assert bench.stored.credential == passcode(2)
    told: dict[str, str | int] = {"generation": 2, "bonds": 3, "forgotten": 0, "by": OWNER.bond_id}
    assert bench.entries[-1] == state.Entry("passcode_rotated", told)


def test_a_revocation_keeps_only_the_bonds_named() -> None:
    bench = Bench()
    link = bench.by_bond()
    keep = frozenset({OWNER.bond_id, "no such"})
    effects = bench.command(link, rotation(bench.durable, 2, keep))
    assert effects == (Answer(link), ForgetBluetoothBonds(), DropAll("the passcode changed"))
    assert bench.stored.bonds == (OWNER,)
    assert bench.hello(bench.open(), Credential.BOND) == (Refuse(2, RefusalCode.BOND_UNKNOWN),)


def test_a_new_passcode_starts_with_a_full_budget() -> None:
    bench = Bench()
    for _ in range(3):
        bench.guess()
    bench.command(bench.by_bond(), rotation(bench.durable, 2))
    assert bench.stored.lockout == Lockout()


@pytest.mark.parametrize("generation", [0, 1, 3])
def test_a_set_that_expects_another_generation_changes_nothing(generation: int) -> None:
    bench = Bench()
    link = bench.by_bond()
    command = replace(rotation(bench.durable, 2), generation=generation)
    assert bench.command(link, command) == denied(link, commands.CHANGED)
    assert bench.stored.credential == passcode(1)


def test_a_second_set_and_a_first_rotation_are_denied() -> None:
    bench = Bench()
    link = bench.by_bond()
    again = replace(rotation(bench.durable, 2), rotation=False)
    assert bench.command(link, again) == denied(link, commands.ALREADY_SET)
    bench = Bench(OPEN)
    link = bench.by_nothing()
    assert bench.command(link, replace(FIRST, rotation=True)) == denied(link, commands.NOT_SET)


def test_every_session_dies_when_the_generation_changes() -> None:
    bench = Bench()
    sessions = [bench.by_bond(USER), bench.by_passcode()]
    proving = bench.open()
    bench.hello(proving, Credential.PASSCODE)
    bench.share(proving)
    bench.command(bench.by_bond(), rotation(bench.durable, 2))
    for link in sessions:
        assert isinstance(bench.command(link, commands.ForgetBond(USER.bond_id))[0], Drop)
    assert isinstance(bench.proof(proving, {verifier(1)})[0], Drop)
    assert bench.stored.lockout.charged == 0


@pytest.mark.parametrize(
    ("changed", "credential", "tagged", "code"),
    [
        (replace(PROTECTED, generation=2), Credential.PASSCODE, None, RefusalCode.CHANGED),
        (OPEN, Credential.PASSCODE, None, RefusalCode.NOT_SET),
        (SEALED, Credential.PASSCODE, None, RefusalCode.NOT_SET),
        (replace(PROTECTED, bonds=()), Credential.BOND, USER, RefusalCode.BOND_UNKNOWN),
    ],
)
@pytest.mark.parametrize("proved", [False, True])
def test_a_state_that_changed_under_a_handshake_ends_it_even_if_the_link_lived(
    changed: Durable,
    credential: Credential,
    tagged: bonds.Bond | None,
    code: RefusalCode,
    proved: bool,  # noqa: FBT001 - a column of the table
) -> None:
    bench = Bench()
    link = bench.open()
    bench.hello(link, credential, tagged)
    if proved:
        bench.share(link)
    generation = changed.generation if code is RefusalCode.CHANGED else 1
    bench.guard = replace(bench.guard, durable=replace(changed, generation=generation))
    taken = bench.proof(link, {verifier(1), USER.verifier}) if proved else bench.share(link)
    assert taken == (Refuse(link, code),)
    assert bench.phase(link) is Phase.LOCKED


@pytest.mark.parametrize("mode", [Mode.PROTECTED, Mode.SEALED])
def test_an_open_handshake_gets_nobody_in_once_the_charger_is_closed(mode: Mode) -> None:
    bench = Bench(OPEN)
    link = bench.open()
    bench.hello(link, Credential.OPEN)
    bench.guard = replace(bench.guard, durable=replace(OPEN, mode=mode))
    assert bench.share(link) == (Refuse(link, RefusalCode.PASSCODE_NEEDED),)


# ---- roles ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "needed"),
    [
        (rotation(PROTECTED, 2), Role.OWNER),
        (commands.AddBond(bond(9)), Role.USER),
        (commands.EndPause(), Role.ADMIN),
        (commands.SetPolicy(Policy()), Role.OWNER),
        (commands.TakeClaim(CLAIM), Role.OWNER),
        (commands.Release(), Role.OWNER),
        (commands.Reset(), Role.OWNER),
        (commands.ForgetBond(OWNER.bond_id), Role.OWNER),
        (commands.ForgetBond(ADMIN.bond_id), Role.ADMIN),
        (commands.ForgetBond(USER.bond_id), Role.USER),
    ],
)
@pytest.mark.parametrize("held", [USER, ADMIN, OWNER])
def test_each_command_needs_its_role(
    command: commands.Command, needed: Role, held: bonds.Bond
) -> None:
    bench = Bench()
    link = bench.by_bond(held)
    before = bench.stored
    answer = bench.command(link, command)[0]
    if held.role >= needed:
        assert answer == Answer(link)
    else:
        assert answer == Answer(link, commands.ROLE_TOO_LOW)
        assert bench.stored is before


def test_every_command_has_a_role() -> None:
    assert set(commands.ROLE_NEEDED) == set(commands.Command.__args__)


def test_the_app_that_set_the_passcode_becomes_an_owner_by_its_token_once() -> None:
    bench = Bench(OPEN)
    bench.command(bench.by_nothing(), FIRST)
    link = bench.by_passcode()
    assert bench.command(link, commands.AddBond(bond(9), TOKEN)) == done(link)
    assert bench.role(link) is Role.OWNER
    assert bench.stored.bonds == (replace(bond(9), role=Role.OWNER),)
    assert bench.stored.owner_token_hash is None
    link = bench.by_passcode()
    bench.command(link, commands.AddBond(bond(10), TOKEN))
    assert bench.role(link) is Role.USER


@pytest.mark.parametrize("token", [None, b"x" * 32])
def test_without_the_right_token_a_passcode_gives_a_users_bond(token: bytes | None) -> None:
    bench = Bench(OPEN)
    bench.command(bench.by_nothing(), FIRST)
    link = bench.by_passcode()
    bench.command(link, commands.AddBond(bond(9, Role.OWNER), token))
    assert bench.stored.bonds == (bond(9, Role.USER),)
    assert bench.stored.owner_token_hash == TOKEN


def test_no_token_is_no_token_to_match() -> None:
    bench = Bench()
    link = bench.by_passcode()
    bench.command(link, commands.AddBond(bond(9), None))
    assert bench.role(link) is Role.USER


def test_an_owner_may_give_a_lower_role_and_a_bond_is_of_its_generation() -> None:
    bench = Bench(replace(PROTECTED, generation=4))
    link = bench.by_bond()
    bench.command(link, commands.AddBond(bond(9, Role.ADMIN)))
    assert bench.stored.bonds[-1] == replace(bond(9, Role.ADMIN), generation=4)
    assert bench.guard.links[link].bond == OWNER


def test_a_full_table_denies_and_evicts_nobody() -> None:
    bench = Bench(replace(PROTECTED, bonds=full_table(users=24, admins=0)))
    link = bench.by_passcode()
    answer = bench.command(link, commands.AddBond(bond(9)))
    assert answer == denied(link, commands.TABLE_FULL)
    assert len(bench.stored.bonds) == 24


def test_an_open_charger_keeps_no_bonds() -> None:
    bench = Bench(OPEN)
    link = bench.by_nothing()
    assert bench.command(link, commands.AddBond(bond(9))) == denied(link, commands.NOT_SET)


def test_whose_session_sees_the_button_pressed_is_an_owner() -> None:
    bench = Bench(FACTORY)
    link = bench.by_passcode()
    bench.command(link, commands.AddBond(bond(9)))
    assert bench.press() == (RoleRaised(link, Role.OWNER),)
    assert bench.role(link) is Role.OWNER
    assert bench.logged()[-2:] == ["button_pressed", "owner_by_button"]
    assert bench.command(link, rotation(bench.durable, 2))[0] == Answer(link)


def test_a_raised_session_replaces_its_bond_and_goes_by_the_new_one() -> None:
    bench = Bench(FACTORY)
    link = bench.by_passcode()
    bench.command(link, commands.AddBond(bond(9)))
    bench.press()
    bench.command(link, commands.AddBond(bond(10, Role.OWNER)))
    assert bench.command(link, commands.ForgetBond(bond(9).bond_id)) == (Answer(link),)
    assert [kept.role for kept in bench.durable.bonds] == [Role.OWNER]
    effects = bench.command(link, commands.ForgetBond(bond(10).bond_id))
    assert effects == (Answer(link), Drop(link, "its bond was forgotten"))


def test_a_press_raises_no_bonds_role_and_nobody_among_two() -> None:
    bench = Bench()
    user = bench.by_bond(USER)
    bench.press()
    assert bench.role(user) is Role.USER
    both = [bench.by_passcode(), bench.by_passcode()]
    bench.press()
    assert {bench.role(link) for link in both} == {Role.USER}
    bench.close(both[0])
    assert bench.press() == (RoleRaised(both[1], Role.OWNER),)
    assert bench.press() == ()
    assert bench.role(both[1]) is Role.OWNER
    assert bench.logged().count("owner_by_button") == 1


# ---- bonds forgotten --------------------------------------------------------------------------


def test_a_forgotten_bond_ends_its_sessions_and_gets_in_no_more() -> None:
    bench = Bench()
    admin, user, other = bench.by_bond(ADMIN), bench.by_bond(USER), bench.by_bond(OWNER)
    effects = bench.command(admin, commands.ForgetBond(USER.bond_id))
    assert effects == (Answer(admin), Drop(user, "its bond was forgotten"))
    assert [bench.phase(link) for link in (admin, user, other)] == [
        Phase.GRANTED,
        Phase.CLOSED,
        Phase.GRANTED,
    ]
    told: dict[str, str | int] = {"bond": USER.bond_id, "by": ADMIN.bond_id}
    assert bench.entries[-1] == state.Entry("bond_forgotten", told)
    answer = bench.command(admin, commands.ForgetBond(USER.bond_id))
    assert answer == denied(admin, commands.NO_SUCH_BOND)


def test_an_admin_forgets_another_admins_bond_and_no_owners() -> None:
    another = bond(9, Role.ADMIN)
    bench = Bench(replace(PROTECTED, bonds=(*PROTECTED.bonds, another)))
    admin = bench.by_bond(ADMIN)
    refused = bench.command(admin, commands.ForgetBond(OWNER.bond_id))
    assert refused == denied(admin, commands.ROLE_TOO_LOW)
    assert bench.command(admin, commands.ForgetBond(another.bond_id)) == (Answer(admin),)
    assert bench.stored.bonds == PROTECTED.bonds


def test_a_user_may_forget_the_own_bond_even_the_one_just_drawn() -> None:
    bench = Bench()
    link = bench.by_passcode()
    bench.command(link, commands.AddBond(bond(9)))
    effects = bench.command(link, commands.ForgetBond(bond(9).bond_id))
    assert effects == (Answer(link), Drop(link, "its bond was forgotten"))
    assert bench.stored.bonds == PROTECTED.bonds


def test_when_bonds_were_used_is_stored_with_the_next_change_or_hourly() -> None:
    bench = Bench()
    bench.by_bond(USER)
    assert bench.guard.seen == {USER.bond_id: UNIX_S}
    bench.wait(3599)
    assert bench.stored.running_s == 0.0
    bench.wait(1)
    assert bench.stored.running_s == 3600.0
    assert bonds.by_id(bench.stored.bonds, USER.bond_id) == replace(USER, seen_s=UNIX_S)
    assert bench.guard.seen == {}
    bench.guard = replace(bench.guard, seen=MappingProxyType({OWNER.bond_id: UNIX_S + 9}))
    bench.press()
    assert bonds.by_id(bench.stored.bonds, OWNER.bond_id) == replace(OWNER, seen_s=UNIX_S + 9)


# ---- claim, release, policy -------------------------------------------------------------------


def test_one_claim_at_a_time_until_it_is_released() -> None:
    bench = Bench()
    link = bench.by_bond()
    assert bench.command(link, commands.TakeClaim(CLAIM)) == done(link)
    assert bench.command(link, commands.TakeClaim(CLAIM)) == done(link)
    other = commands.TakeClaim(ClaimKept("another", b"s" * 32))
    assert bench.command(link, other) == denied(link, commands.ALREADY_CLAIMED)
    assert bench.command(link, commands.Release()) == done(link)
    assert bench.command(link, other) == done(link)
    assert bench.logged()[1:] == ["claimed", "claimed", "released", "claimed"]


def test_an_owner_sets_the_policy() -> None:
    bench = Bench()
    link = bench.by_bond()
    policy = Policy(first_set_needs_presence=True)
    assert bench.command(link, commands.SetPolicy(policy)) == done(link)
    assert bench.stored.policy == policy
