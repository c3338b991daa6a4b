"""The table of bonds: which apps have proved the passcode, under which name, with which role."""

import hmac
from dataclasses import dataclass, replace
from enum import IntEnum

from chargepin.core.handshake import Verifier, bond_tag

CAPACITY = 32
BLUETOOTH_CAPACITY = 32  # phones that paired by their own dialog are counted by themselves
KEPT_FOR_OWNERS = 8  # of the capacity, only owners and admins may take these
LONGEST_NAME = 40


class Role(IntEnum):
    """What a session may do; each role may do all that the lower ones may."""

    NONE = 0
    USER = 1
    ADMIN = 2
    OWNER = 3

    @property
    def word(self) -> str:
        """As it is written on the wire."""
        return self.name.lower()


class TableFull(Exception):
    """No room for another bond of this role; one must be forgotten first."""


@dataclass(frozen=True, slots=True)
class Bond:
    """What the charger keeps of one app's bond: a verifier and a tag key, never the secret.

    bond_id: 16 hex digits. created_s, seen_s: Unix seconds, 0 where the clock was not known.
    """

    bond_id: str
    name: str
    role: Role
    verifier: Verifier
    tag_key: bytes
    generation: int
    created_s: int
    seen_s: int

    def __repr__(self) -> str:
        return f"Bond({self.bond_id!r}, {self.name!r}, {self.role.word})"


Table = tuple[Bond, ...]


def with_bond(table: Table, bond: Bond) -> Table:
    """Add a bond. Raises TableFull; never evicts another."""
    users = sum(b.role < Role.ADMIN for b in table)
    no_place_for_users = bond.role < Role.ADMIN and users >= CAPACITY - KEPT_FOR_OWNERS
    if no_place_for_users or len(table) >= CAPACITY:
        raise TableFull
    return (*table, bond)


def without(table: Table, bond_id: str) -> Table:
    """Forget one bond; the table itself if it has no such bond."""
    return tuple(b for b in table if b.bond_id != bond_id)


def kept(table: Table, bond_ids: frozenset[str]) -> Table:
    """Keep only the bonds named."""
    return tuple(b for b in table if b.bond_id in bond_ids)


def by_id(table: Table, bond_id: str) -> Bond | None:
    """Find a bond by its id."""
    return next((b for b in table if b.bond_id == bond_id), None)


def by_tag(table: Table, tag: bytes, connection_nonce: bytes, app_nonce: bytes) -> Bond | None:
    """Find the bond whose tag key made this tag. Every bond is compared, in constant time."""
    found = None
    for bond in table:
        expected = bond_tag(bond.tag_key, connection_nonce, app_nonce)
        if hmac.compare_digest(expected, tag):
            found = bond
    return found


def seen(table: Table, bond_id: str, unix_s: int) -> Table:
    """Note when a bond was last used; what is known stays where unix_s is 0, not known."""
    return tuple(
        replace(b, seen_s=unix_s or b.seen_s) if b.bond_id == bond_id else b for b in table
    )


def clean_name(name: str) -> str:
    """What a person may call an app: printable, one line, at most 40 characters."""
    shown = "".join(c if c.isprintable() else " " for c in name)
    return " ".join(shown.split())[:LONGEST_NAME].rstrip() or "unnamed"
