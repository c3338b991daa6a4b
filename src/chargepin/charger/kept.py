"""What Bluetooth keeps in the charger's store: its address, and its bonds."""

import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from chargepin.charger.bluetooth.pairing import BluetoothBond
from chargepin.charger.ports import Store
from chargepin.charger.store import SQLiteStore
from chargepin.core import guard_state as state
from chargepin.core.decoding import Undecodable, decoded
from chargepin.machine.clock import known_unix_s

_STATIC_ADDRESS = re.compile(rb"[C-F][0-9A-F](:[0-9A-F]{2}){5}")


class StoredBonds:
    """Bluetooth bonds in the charger's store, at hand in memory. now_s: running seconds.

    One that cannot be read counts for nothing: its phone has to pair again.
    """

    def __init__(self, store: SQLiteStore, now_s: Callable[[], float] = lambda: 0.0) -> None:
        self._store = store
        self._now_s = now_s
        self._bonds: dict[str, BluetoothBond] = {}
        for identity, value in store.bluetooth_bonds().items():
            with suppress(Undecodable):
                self._bonds[identity] = decoded(value, BluetoothBond)

    def get(self, identity: str) -> BluetoothBond | None:
        return self._bonds.get(identity)

    def put(self, bond: BluetoothBond) -> None:
        before = self._bonds.get(bond.identity)
        renewed = before is not None and before.long_term_key == bond.long_term_key
        entry = None
        if bond.authenticated and not renewed:
            detail: dict[str, str | int] = {"bond": bond.bond_id, "name": bond.phone.name}
            entry = state.Entry("bluetooth_bond_added", detail)
        now = known_unix_s(), self._now_s()
        value = msgspec.json.encode(bond)
        self._store.put_bluetooth_bond(bond.identity, value, entry, *now, renewed=renewed)
        self._bonds[bond.identity] = bond

    def delete(self, identity: str) -> None:
        self._store.put_bluetooth_bond(identity, None)
        self._bonds.pop(identity, None)

    def all(self) -> Sequence[BluetoothBond]:
        return tuple(self._bonds.values())


def address_of(store: Store) -> str:
    """The charger's static random address, drawn at its first start. Raises StoreFailed."""
    kept = store.get("address")
    if kept is None or _STATIC_ADDRESS.fullmatch(kept) is None:
        raw = bytearray(secrets.token_bytes(6))
        raw[0] |= 0xC0  # Core Vol 6, Part B, 1.3.2.1: the two highest bits are 1
        kept = raw.hex(":").upper().encode()
        store.put("address", kept)
    return kept.decode()
