"""Who may do what on an imitated charger: the rules, and what of the protocols differs by them."""

from types import MappingProxyType
from typing import Final

from chargepin.charger.air import AttError, Pairing, Secured
from chargepin.charger.bluetooth.att import Client
from chargepin.charger.bluetooth.attributes import Attributes, Touch
from chargepin.charger.bluetooth.pairing import Pairings
from chargepin.charger.bluetooth.smp import KEYBOARDS, Peer
from chargepin.charger.imitation.versions import (
    REFUSAL_BY_TRUST,
    Door,
    Imitation,
    Meets,
    Trust,
)
from chargepin.core.gatt import Mode
from chargepin.core.passcode import Passcode

_PAIRING: Final = MappingProxyType(
    {
        Meets.JUST_WORKS: Pairing.JUST_WORKS,
        Meets.PASSKEY: Pairing.PASSKEY,
        Meets.REFUSED: Pairing.REFUSED,
        Meets.DEAD_LINK: Pairing.REFUSED,
    }
)


class ImitatedRules:
    """The port `Rules` by the table: the passcode is the passkey, the same in every attempt.

    passcode: None where none is set. first_mode: in which the radio module begins on each link.
    dead: the links that answer nothing any more. begun: those that have begun.
    """

    def __init__(
        self, imitation: Imitation, passcode: Passcode | None, first_mode: Mode = Mode.STREAM
    ) -> None:
        locked = imitation.locked if passcode else None
        self.door: Final[Door] = locked or imitation.open
        self.first_mode: Final = first_mode
        self.dead: Final[set[int]] = set()
        self.begun: Final[set[int]] = set()
        self._passcode = passcode

    def over(self, link: int) -> None:
        """Forget a link."""
        self.dead.discard(link)
        self.begun.discard(link)

    def refusal(self, secured: Secured, touch: Touch) -> AttError | None:
        """Say why a link may not do this at the stock service, if so."""
        needed = self.door.needs.get(touch, Trust.ANY)
        trusted = secured.authenticated if needed is Trust.PASSKEY else secured.encrypted
        if needed is Trust.ANY or trusted:
            return None
        if secured.known and not secured.encrypted:
            return AttError.INSUFFICIENT_ENCRYPTION
        return REFUSAL_BY_TRUST[needed]

    def stock(self, link: int, secured: Secured) -> AttError | None:
        _ = link
        return self.refusal(secured, Touch.VALUE)

    def hint(self, nonce: bytes) -> bytes:
        """Real chargers have none."""
        return nonce

    def pairing(self, link: int) -> Pairing:
        _ = link
        return _PAIRING[self.door.keyboard]

    def pairing_of(self, *, keyboard: bool) -> Pairing:
        """What becomes of a phone that can, or cannot, type."""
        return _PAIRING[self.door.keyboard if keyboard else self.door.without_keyboard]

    def code(self, link: int) -> int | None:
        """The passcode as a passkey: not used up, which is what is wrong with it."""
        _ = link
        return int(self._passcode.digits) if self._passcode else None

    def phone_name(self) -> str:
        return ""

    def bond_counts(self) -> bool:
        """Bonds by Just Works are kept and used."""
        return True


def attributes_by(imitated: ImitatedRules) -> type[Attributes]:
    """Attributes that tell touches apart, that are silent on dead links, and begin as they do."""

    class ImitatedAttributes(Attributes):
        def answer(self, client: Client, pdu: bytes) -> bytes | None:
            if client.link not in imitated.begun:
                imitated.begun.add(client.link)
                client.serial.mode = imitated.first_mode
            return None if client.link in imitated.dead else super().answer(client, pdu)

        def refusal(self, client: Client, touch: Touch) -> AttError | None:
            return imitated.refusal(client.secured, touch)

    return ImitatedAttributes


def pairings_by(imitated: ImitatedRules) -> type[Pairings]:
    """Pairings that look whether a phone can type, or that kill the link."""

    class ImitatedPairings(Pairings):
        def heard(self, peer: Peer, pdu: bytes) -> None:
            if imitated.door.keyboard is Meets.DEAD_LINK:
                imitated.dead.add(peer.link)
            else:
                super().heard(peer, pdu)

        def wanted(self, peer: Peer, request: bytes) -> Pairing:
            _ = peer
            return imitated.pairing_of(keyboard=request[0] in KEYBOARDS)

    return ImitatedPairings
