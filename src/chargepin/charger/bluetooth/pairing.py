"""Who may pair with a charger, one at a time, and the Bluetooth bonds that remain."""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final, Protocol

from bumble import crypto
from bumble.hci import Address

from chargepin.charger.air import (
    AirEvent,
    BluetoothBonded,
    BluetoothPhone,
    LinkAuthenticated,
    Pairing,
    PairingBegun,
    PairingFailed,
    Rules,
)
from chargepin.charger.bluetooth.smp import BODY_BYTES, Attempt, Code, Failed, Peer, Reason, Step
from chargepin.charger.ports import StoreFailed
from chargepin.core.bonds import BLUETOOTH_CAPACITY

logger = logging.getLogger(__name__)

STEP_MAX_S: Final = 30.0  # Part H, 3.4
SEEN_EVERY_S: Final = 3600
"""How exactly it is stored when a phone was last here: a store does not last for ever."""


@dataclass(frozen=True, slots=True)
class BluetoothBond:
    """What is kept of a pairing.

    identity: the address of a peer that keeps its address ("/P" after a public one); of one that
    does not, a name for its identity resolving key. authenticated: whether a person compared or
    typed something. services: digest of the GATT table that the peer knows, 16 bytes. created_s,
    seen_s: Unix seconds, 0 where not known. name: what a person calls it, or empty.
    """

    identity: str
    long_term_key: bytes = field(repr=False)
    identity_resolving_key: bytes | None = field(repr=False)
    authenticated: bool
    services: bytes
    created_s: int = 0
    seen_s: int = 0
    name: str = ""

    @property
    def bond_id(self) -> str:
        """16 hex digits that follow from the identity, so that they stay when it pairs again."""
        return hashlib.sha256(f"chargepin bluetooth bond 1{self.identity}".encode()).hexdigest()[
            :16
        ]

    @property
    def phone(self) -> BluetoothPhone:
        """As lists show it."""
        name = self.name or self.identity.removesuffix("/P")
        return BluetoothPhone(self.bond_id, self.identity, name, self.created_s, self.seen_s)


class BluetoothBonds(Protocol):
    """Where bonds are kept: at hand, so that get and all do not fail."""

    def get(self, identity: str) -> BluetoothBond | None: ...

    def put(self, bond: BluetoothBond) -> None:
        """Keep it, instead of what was kept under its identity. Raises StoreFailed."""

    def delete(self, identity: str) -> None:
        """Forget it, if it is known. Raises StoreFailed."""

    def all(self) -> Sequence[BluetoothBond]:
        """Every bond, in the order in which their identities came."""


@dataclass(frozen=True, slots=True)
class LinkKey:
    """A key to encrypt a link with, and whether a person stands behind it."""

    value: bytes = field(repr=False)
    authenticated: bool


class Pairings:
    """All pairings of one charger: one at a time over all links, and the bonds made before.

    services: digest of the GATT table. tell is told of what became of pairings. unix_s: the wall
    clock, 0 where it is not known.
    """

    def __init__(
        self,
        own: Address,
        bonds: BluetoothBonds,
        rules: Rules,
        services: bytes,
        tell: Callable[[AirEvent], None],
        unix_s: Callable[[], int],
    ) -> None:
        self._own = own
        self._bonds = bonds
        self._rules = rules
        self._services = services
        self._tell = tell
        self._unix_s = unix_s
        self._attempt: Attempt | None = None
        self._last_x = b""
        self._timer: asyncio.TimerHandle | None = None

    def heard(self, peer: Peer, pdu: bytes) -> None:
        """Take one PDU of the protocol, whatever it holds: no phone is left without an answer."""
        try:
            self._take(peer, pdu)
        except Failed as failed:
            self._fail(peer, failed.reason)
        except Exception:
            logger.exception("pairing stumbled on link %d", peer.link)
            self._fail(peer, Reason.UNSPECIFIED_REASON)

    def key(self, peer: Peer, rand: bytes, ediv: int) -> LinkKey | None:
        """Look for the key that this peer asks to encrypt its link with, if it may."""
        if any(rand) or ediv:  # a key of legacy pairing
            return None
        attempt = self._attempt_of(peer)
        if attempt is not None:
            if attempt.step is not Step.ENCRYPTION:
                return None
            return LinkKey(attempt.long_term_key, attempt.by_passkey)
        bond = self._bond_of(peer.address)
        if bond is None or not (bond.authenticated or self._rules.bond_counts()):
            return None
        return LinkKey(bond.long_term_key, bond.authenticated)

    def encrypted(self, peer: Peer) -> bool:
        """Go on after a link was encrypted. True if a bonded peer knows an old GATT table."""
        attempt = self._attempt_of(peer)
        if attempt is None or attempt.step is not Step.ENCRYPTION:
            bond = self._bond_of(peer.address)
            if bond is not None and bond.authenticated:
                self._tell(LinkAuthenticated(peer.link))
                self._note_seen(bond)
            return bond is not None and bond.services != self._services
        attempt.encrypted()
        if attempt.by_passkey:
            self._tell(LinkAuthenticated(peer.link))
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

    def abort(self, reason: Reason) -> None:
        """End the pairing that is under way, so that it leaves no bond."""
        if self._attempt is not None:
            self._fail(self._attempt.peer, reason)

    def knows(self, peer: Peer) -> bool:
        """Whether a person's bond is kept of whoever has this peer's address."""
        bond = self._bond_of(peer.address)
        return bond is not None and bond.authenticated

    def forget(self, bond_id: str, peers: Iterable[Peer]) -> list[int]:
        """Delete one bond; gives the links of its phone among the peers. Raises StoreFailed."""
        bond = next((each for each in self._bonds.all() if each.bond_id == bond_id), None)
        if bond is None:
            return []
        its = [peer for peer in peers if self._bond_of(peer.address) == bond]
        if self._attempt is not None and self._attempt.peer in its:
            self.abort(Reason.UNSPECIFIED_REASON)
        self._bonds.delete(bond.identity)
        return [peer.link for peer in its]

    def wanted(self, peer: Peer, request: bytes) -> Pairing:
        """Decide what becomes of a request: the rules do, whatever stands in it."""
        _ = request
        return self._rules.pairing(peer.link)

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
        wanted = self.wanted(peer, body)
        if wanted is Pairing.REFUSED:
            raise Failed(Reason.PAIRING_NOT_SUPPORTED)
        if code is Code.SECURITY_REQUEST:  # ours to send, not ours to get
            raise Failed(Reason.COMMAND_NOT_SUPPORTED)
        if self._attempt is not None:
            raise Failed(Reason.REPEATED_ATTEMPTS)
        by_passkey = wanted is Pairing.PASSKEY
        if not by_passkey and self.knows(peer):  # nobody replaces it without a person
            raise Failed(Reason.AUTHENTICATION_REQUIREMENTS)
        use_code = partial(self._rules.code, peer.link) if by_passkey else None
        attempt = Attempt(peer, self._own, body, self._last_x, use_code)
        self._attempt = attempt
        if by_passkey:
            self._tell(PairingBegun(peer.link))
        self._went_on(attempt)

    def _went_on(self, attempt: Attempt) -> None:
        if attempt.step is Step.NOTHING:
            bond = self._bond_from(attempt)
            if bond is not None:
                self._keep(bond)
            elif attempt.by_passkey:  # it could be neither listed nor forgotten
                raise Failed(Reason.UNSPECIFIED_REASON)
            self._end(done=True)
            if bond is not None:
                phone = bond.phone if bond.authenticated else None
                self._tell(BluetoothBonded(attempt.peer.link, phone))
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
        now_s = self._unix_s()
        return BluetoothBond(
            identity,
            attempt.long_term_key,
            irk,
            authenticated=attempt.by_passkey,
            services=self._services,
            created_s=now_s,
            seen_s=now_s,
            name=self._rules.phone_name() if attempt.by_passkey else "",
        )

    def _keep(self, bond: BluetoothBond) -> None:
        known = self._bonds.all()
        try:
            if len(known) >= BLUETOOTH_CAPACITY and self._bonds.get(bond.identity) is None:
                oldest = next((each for each in known if not each.authenticated), None)
                if oldest is None:
                    raise Failed(Reason.UNSPECIFIED_REASON)
                self._bonds.delete(oldest.identity)
            self._bonds.put(bond)
        except StoreFailed:
            raise Failed(Reason.UNSPECIFIED_REASON) from None

    def _note_seen(self, bond: BluetoothBond) -> None:
        now_s = self._unix_s()
        if now_s - bond.seen_s >= SEEN_EVERY_S:
            with suppress(StoreFailed):  # it will be seen again
                self._bonds.put(replace(bond, seen_s=now_s))

    def _fail(self, peer: Peer, reason: Reason) -> None:
        peer.send(bytes([Code.FAILED, reason]))
        self.closed(peer)

    def _timed_out(self, attempt: Attempt) -> None:
        self._end()
        attempt.peer.hang_up()  # no PDU of this protocol may follow on the same link (3.4)

    def _end(self, *, done: bool = False) -> None:
        attempt, self._attempt = self._attempt, None
        self._stop_timer()
        if attempt is None:
            return
        self._last_x = attempt.public_x
        if attempt.by_passkey and not done:
            if attempt.key_in_use:  # it counts for nothing without a bond
                attempt.peer.hang_up()
            if attempt.code_used:
                self._tell(PairingFailed(attempt.peer.link, str(attempt.peer.address)))

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
