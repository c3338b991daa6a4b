"""Who may pair with a charger, one at a time, and the Bluetooth bonds that remain."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from bumble import crypto
from bumble.hci import Address

from chargepin.charger.air import Pairing, Rules
from chargepin.charger.ports import StoreFailed
from chargepin.charger.smp import BODY_BYTES, Attempt, Code, Failed, Peer, Reason, Step

STEP_MAX_S: Final = 30.0  # Part H, 3.4
BONDS_MAX: Final = 32


@dataclass(frozen=True, slots=True)
class BluetoothBond:
    """What is kept of a pairing.

    identity: the address of a peer that keeps its address ("/P" after a public one); of one that
    does not, a name for its identity resolving key. authenticated: whether a person compared or
    typed something. services: digest of the GATT table that the peer knows, 16 bytes.
    """

    identity: str
    long_term_key: bytes = field(repr=False)
    identity_resolving_key: bytes | None = field(repr=False)
    authenticated: bool
    services: bytes


class BluetoothBonds(Protocol):
    """Where bonds are kept: at hand, so that get and all do not fail."""

    def get(self, identity: str) -> BluetoothBond | None: ...

    def put(self, bond: BluetoothBond) -> None:
        """Keep it, instead of what was kept under its identity. Raises StoreFailed."""

    def delete(self, identity: str) -> None:
        """Forget it, if it is known. Raises StoreFailed."""

    def all(self) -> Sequence[BluetoothBond]:
        """Every bond, in the order in which their identities came."""


class BondsInMemory:
    """Bonds that die with the program."""

    def __init__(self) -> None:
        self._bonds: dict[str, BluetoothBond] = {}

    def get(self, identity: str) -> BluetoothBond | None:
        return self._bonds.get(identity)

    def put(self, bond: BluetoothBond) -> None:
        self._bonds[bond.identity] = bond

    def delete(self, identity: str) -> None:
        self._bonds.pop(identity, None)

    def all(self) -> Sequence[BluetoothBond]:
        return tuple(self._bonds.values())


@dataclass(frozen=True, slots=True)
class LinkKey:
    """A key to encrypt a link with, and whether a person stands behind it."""

    value: bytes = field(repr=False)
    authenticated: bool


class Pairings:
    """All pairings of one charger: one at a time over all links, and the bonds made before.

    services: digest of the GATT table; bonded is told of links whose keys were kept.
    """

    def __init__(
        self,
        own: Address,
        bonds: BluetoothBonds,
        rules: Rules,
        services: bytes,
        bonded: Callable[[int], None],
    ) -> None:
        self._own = own
        self._bonds = bonds
        self._rules = rules
        self._services = services
        self._bonded = bonded
        self._attempt: Attempt | None = None
        self._last_x = b""
        self._timer: asyncio.TimerHandle | None = None

    def heard(self, peer: Peer, pdu: bytes) -> None:
        """Take one PDU of the protocol, whatever it holds."""
        try:
            self._take(peer, pdu)
        except Failed as failed:
            self._fail(peer, failed.reason)

    def key(self, peer: Peer, rand: bytes, ediv: int) -> LinkKey | None:
        """Look for the key that this peer asks to encrypt its link with, if it may."""
        if any(rand) or ediv:  # a key of legacy pairing
            return None
        attempt = self._attempt_of(peer)
        if attempt is not None:
            if attempt.step is not Step.ENCRYPTION:
                return None
            return LinkKey(attempt.long_term_key, authenticated=False)
        bond = self._bond_of(peer.address)
        if bond is None or not (bond.authenticated or self._rules.bond_counts()):
            return None
        return LinkKey(bond.long_term_key, bond.authenticated)

    def encrypted(self, peer: Peer) -> bool:
        """Go on after a link was encrypted. True if a bonded peer knows an old GATT table."""
        attempt = self._attempt_of(peer)
        if attempt is None or attempt.step is not Step.ENCRYPTION:
            bond = self._bond_of(peer.address)
            return bond is not None and bond.services != self._services
        attempt.encrypted()
        try:
            self._went_on(attempt)
        except Failed as failed:
            self._fail(peer, failed.reason)
        return False

    def services_told(self, peer: Peer) -> None:
        """Note that the peer has learned that the services changed."""
        bond = self._bond_of(peer.address)
        if bond is not None:
            try:
                self._bonds.put(replace(bond, services=self._services))
            except StoreFailed:
                return  # it is told again next time

    def closed(self, peer: Peer) -> None:
        """End what was under way on a link that is over."""
        if self._attempt_of(peer) is not None:
            self._end()

    def abort(self) -> None:
        """End the pairing that is under way, so that it leaves no bond."""
        if self._attempt is not None:
            self._fail(self._attempt.peer, Reason.UNSPECIFIED_REASON)

    def _take(self, peer: Peer, pdu: bytes) -> None:
        code, body = pdu[:1], pdu[1:]
        if not code:
            raise Failed(Reason.INVALID_PARAMETERS)
        if code[0] == Code.FAILED:
            self.closed(peer)
            return
        if code[0] not in BODY_BYTES:
            raise Failed(Reason.COMMAND_NOT_SUPPORTED)
        if len(body) != BODY_BYTES[Code(code[0])]:
            raise Failed(Reason.INVALID_PARAMETERS)
        attempt = self._attempt_of(peer)
        if attempt is None:
            self._begin(peer, Code(code[0]), body)
        else:
            attempt.take(code[0], body)
            self._went_on(attempt)

    def _begin(self, peer: Peer, code: Code, body: bytes) -> None:
        if code not in {Code.REQUEST, Code.SECURITY_REQUEST}:
            raise Failed(Reason.UNSPECIFIED_REASON)
        if self._rules.pairing(peer.link) is Pairing.REFUSED:
            raise Failed(Reason.PAIRING_NOT_SUPPORTED)
        if code is Code.SECURITY_REQUEST:  # ours to send, not ours to get
            raise Failed(Reason.COMMAND_NOT_SUPPORTED)
        if self._attempt is not None:
            raise Failed(Reason.REPEATED_ATTEMPTS)
        bond = self._bond_of(peer.address)
        if bond is not None and bond.authenticated:  # nobody replaces it without a person
            raise Failed(Reason.AUTHENTICATION_REQUIREMENTS)
        attempt = Attempt(peer, self._own, body, self._last_x)
        self._attempt = attempt
        self._went_on(attempt)

    def _went_on(self, attempt: Attempt) -> None:
        if attempt.step is Step.NOTHING:
            bond = self._bond_from(attempt)
            if bond is not None:
                self._keep(bond)
            self._end()
            if bond is not None:
                self._bonded(attempt.peer.link)
            return
        self._stop_timer()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(STEP_MAX_S, self._timed_out, attempt)

    def _bond_from(self, attempt: Attempt) -> BluetoothBond | None:
        """What to keep, of a peer that wants to be known again and can be."""
        address, irk = attempt.peer.address, attempt.identity_resolving_key
        if address.is_public or address.is_static:
            identity = str(address)
        elif irk is not None and _resolves(irk, address):
            identity = f"resolvable {hashlib.sha256(irk).hexdigest()[:16]}"
        else:
            return None
        if not attempt.bonding:
            return None
        return BluetoothBond(
            identity,
            attempt.long_term_key,
            irk,
            authenticated=False,
            services=self._services,
        )

    def _keep(self, bond: BluetoothBond) -> None:
        known = self._bonds.all()
        try:
            if len(known) >= BONDS_MAX and self._bonds.get(bond.identity) is None:
                oldest = next((each for each in known if not each.authenticated), None)
                if oldest is None:
                    raise Failed(Reason.UNSPECIFIED_REASON)
                self._bonds.delete(oldest.identity)
            self._bonds.put(bond)
        except StoreFailed:
            raise Failed(Reason.UNSPECIFIED_REASON) from None

    def _fail(self, peer: Peer, reason: Reason) -> None:
        self.closed(peer)
        peer.send(bytes([Code.FAILED, reason]))

    def _timed_out(self, attempt: Attempt) -> None:
        self._end()
        attempt.peer.hang_up()  # no PDU of this protocol may follow on the same link (3.4)

    def _end(self) -> None:
        if self._attempt is not None:
            self._last_x = self._attempt.public_x
        self._attempt = None
        self._stop_timer()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _attempt_of(self, peer: Peer) -> Attempt | None:
        if self._attempt is None or self._attempt.peer is not peer:
            return None
        return self._attempt

    def _bond_of(self, address: Address) -> BluetoothBond | None:
        if not address.is_resolvable:
            return self._bonds.get(str(address))
        for bond in self._bonds.all():
            if bond.identity_resolving_key and _resolves(bond.identity_resolving_key, address):
                return bond
        return None


def _resolves(irk: bytes, address: Address) -> bool:
    """Whether a private address was made with this key (Core Vol 6, Part B, 1.3.2.3)."""
    raw = bytes(address)
    return address.is_resolvable and crypto.ah(irk, raw[3:]) == raw[:3]
