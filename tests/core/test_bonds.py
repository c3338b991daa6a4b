from dataclasses import replace

import pytest

from chargepin.core import bonds
from chargepin.core.bonds import CAPACITY, KEPT_FOR_OWNERS, Role, TableFull
from chargepin.core.durable import PasscodeCredential
from chargepin.core.handshake import bond_tag
from core.guard_bench import ADMIN, OWNER, UNIX_S, USER, bond, full_table, passcode

TABLE = (OWNER, ADMIN, USER)
CONNECTION, APP = b"c" * 8, b"a" * 16


def test_roles_are_ordered_and_have_a_word() -> None:
    assert Role.NONE < Role.USER < Role.ADMIN < Role.OWNER
    assert [int(role) for role in Role] == [0, 1, 2, 3]  # they are stored
    assert [role.word for role in Role] == ["none", "user", "admin", "owner"]


def test_a_bond_is_added_at_the_end() -> None:
    assert bonds.with_bond(TABLE, bond(9)) == (*TABLE, bond(9))


def test_users_leave_eight_places_of_32_to_owners_and_admins() -> None:
    assert (CAPACITY, KEPT_FOR_OWNERS) == (32, 8)
    table = full_table(users=24, admins=0)
    with pytest.raises(TableFull):
        bonds.with_bond(table, USER)
    for number in range(8):
        table = bonds.with_bond(table, bond(number, Role.ADMIN))
    with pytest.raises(TableFull):
        bonds.with_bond(table, OWNER)


def test_owners_and_admins_may_take_every_place() -> None:
    assert len(bonds.with_bond(full_table(users=0, admins=31), OWNER)) == CAPACITY
    with pytest.raises(TableFull):
        bonds.with_bond(full_table(users=0, admins=32), OWNER)


def test_a_user_finds_no_place_in_a_table_full_of_admins() -> None:
    assert len(bonds.with_bond(full_table(users=0, admins=31), USER)) == CAPACITY
    with pytest.raises(TableFull):
        bonds.with_bond(full_table(users=0, admins=32), USER)


def test_a_full_table_evicts_nobody() -> None:
    table = full_table(users=24, admins=8)
    with pytest.raises(TableFull):
        bonds.with_bond(table, OWNER)
    assert len(table) == CAPACITY


def test_one_bond_is_found_and_forgotten_by_its_id() -> None:
    assert bonds.by_id(TABLE, ADMIN.bond_id) == ADMIN
    assert bonds.without(TABLE, ADMIN.bond_id) == (OWNER, USER)
    assert bonds.by_id(TABLE, "no such") is None
    assert bonds.without(TABLE, "no such") == TABLE


def test_only_the_bonds_named_are_kept() -> None:
    assert bonds.kept(TABLE, frozenset({USER.bond_id, "no such"})) == (USER,)
    assert bonds.kept(TABLE, frozenset()) == ()


def test_a_bond_is_found_by_the_tag_that_its_key_makes() -> None:
    tag = bond_tag(ADMIN.tag_key, CONNECTION, APP)
    assert bonds.by_tag(TABLE, tag, CONNECTION, APP) == ADMIN


def test_a_tag_of_another_connection_finds_nothing() -> None:
    tag = bond_tag(ADMIN.tag_key, CONNECTION, APP)
    assert bonds.by_tag(TABLE, tag, b"d" * 8, APP) is None
    assert bonds.by_tag(TABLE, tag, CONNECTION, b"b" * 16) is None
    assert bonds.by_tag(TABLE, bytes(16), CONNECTION, APP) is None
    assert bonds.by_tag((), tag, CONNECTION, APP) is None


def test_when_a_bond_was_used_is_noted_if_the_clock_is_known() -> None:
    noted = bonds.seen(TABLE, USER.bond_id, UNIX_S + 5)
    assert noted == (OWNER, ADMIN, replace(USER, seen_s=UNIX_S + 5))
    assert bonds.seen(noted, USER.bond_id, 0) == noted


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("Anna's phone", "Anna's phone"),
        ("  two\n lines\t", "two lines"),
        ("turned \u202eround", "turned round"),
        ("\x1b[2Jcleared", "[2Jcleared"),
        ("x" * 41, "x" * 40),
        ("x" * 39 + " y", "x" * 39),
        ("", "unnamed"),
        ("\u200b\x00", "unnamed"),
    ],
)
def test_a_name_is_one_printable_line_of_at_most_40_characters(given: str, kept: str) -> None:
    assert bonds.clean_name(given) == kept


def test_nothing_secret_is_shown() -> None:
    assert repr(OWNER) == "Bond('0000000000000001', 'phone 1', owner)"
    assert repr(passcode(7)) == "PasscodeCredential(profile=1)"
    assert isinstance(passcode(7), PasscodeCredential)
