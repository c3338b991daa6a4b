"""Where the keys of Bluetooth bonds are kept: in memory, or in a private file of the home."""

import logging
from pathlib import Path

import msgspec
from bumble.hci import Address
from bumble.keys import KeyStore, PairingKeys

from chargepin.core.decoding import Undecodable, decoded
from chargepin.machine.files import read_private, set_aside, write_private

_log = logging.getLogger(__name__)


class _Bond(msgspec.Struct, frozen=True):
    """key: the long term key in hex. authenticated: whether a passkey was entered for it."""

    key: str
    authenticated: bool


class KeptKeys(KeyStore):
    """Long term keys of LE Secure Connections, by the peer's address.

    path: the file, None to keep them in memory. A file that cannot be read is set aside: its
    bonds are lost, pairing again makes new ones. Identity keys are not kept: chargers do not
    hide their address, and with such a key Bumble scans before it connects.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._bonds: dict[str, _Bond] = {}
        if path is None:
            return
        try:
            self._bonds = decoded(read_private(path), dict[str, _Bond])
        except FileNotFoundError:
            return
        except Undecodable:
            _log.warning("Bluetooth bonds were unreadable; set aside as %s", set_aside(path))

    async def get(self, name: str) -> PairingKeys | None:
        """Bumble asks for the keys of a peer."""
        bond = self._bonds.get(name)
        if bond is None:
            return None
        key = PairingKeys.Key(bytes.fromhex(bond.key), authenticated=bond.authenticated)
        return PairingKeys(ltk=key)

    async def update(self, name: str, keys: PairingKeys) -> None:
        """Bumble has paired. Raises OSError when the bond cannot be written."""
        if keys.ltk is None:
            return  # legacy pairing: never used again
        self._bonds[name] = _Bond(keys.ltk.value.hex(), keys.ltk.authenticated)
        self._save()

    async def delete(self, name: str) -> None:
        """Forget a peer; none is needed."""
        if self._bonds.pop(name, None) is not None:
            self._save()

    async def get_all(self) -> list[tuple[str, PairingKeys]]:
        """Every peer's keys."""
        found = [(name, await self.get(name)) for name in self._bonds]
        return [(name, keys) for name, keys in found if keys is not None]

    async def get_resolving_keys(self) -> list[tuple[bytes, Address]]:
        """None is kept."""
        return []

    def _save(self) -> None:
        if self._path is not None:
            write_private(self._path, msgspec.json.encode(self._bonds))
