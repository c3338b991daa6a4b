"""The port between the charger's use cases and its Bluetooth: what is told, what is ordered.

Callbacks from the adapter are plain functions: they check rights or append to the inbox, and
never wait, so that writes keep their order.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol, TypeAlias

from chargepin.core.gatt import Layout


class Door(Enum):
    """The two services of a charger."""

    STOCK = "stock"
    OWN = "own"


class AttError(Enum):
    """The ATT errors a charger answers with (Core Vol 3, Part F, 3.4.1.1)."""

    INSUFFICIENT_AUTHENTICATION = 0x05
    INSUFFICIENT_AUTHORIZATION = 0x08
    INSUFFICIENT_ENCRYPTION = 0x0F


class Pairing(Enum):
    """What happens to a pairing request on a link."""

    JUST_WORKS = "just works"  # LE Secure Connections, bonding; the charger is open
    PASSKEY = "passkey"  # with a code of a pairing window, typed into the phone's own dialog
    REFUSED = "refused"  # Pairing Failed, 0x05 (pairing not supported)


@dataclass(frozen=True, slots=True)
class Secured:
    """How far a link is secured at this moment, by the key it is encrypted with.

    known: not encrypted yet, but an authenticated bond is kept of whoever has this address.
    """

    encrypted: bool
    authenticated: bool
    known: bool = False


class LinkEnd(Enum):
    """Why a link is over, for the log."""

    HUNG_UP = "hung up"
    LOST = "lost"
    DROPPED = "dropped"


@dataclass(frozen=True, slots=True)
class LinkOpened:
    """nonce: 8 bytes, drawn for this connection; the hint shows it."""

    link: int
    address: str
    nonce: bytes


@dataclass(frozen=True, slots=True)
class LinkClosed:
    """heard_all: whether all that was sent got through, as far as the controller can tell."""

    link: int
    end: LinkEnd
    heard_all: bool = True


@dataclass(frozen=True, slots=True)
class Written:
    link: int
    door: Door
    value: bytes


@dataclass(frozen=True, slots=True)
class BluetoothPhone:
    """A peer with an authenticated bond. bond_id: 16 hex digits, the same when it pairs again.

    identity: what the bond is kept under. name: what it shall be called, else its address.
    created_s, seen_s: Unix seconds, 0 unknown.
    """

    bond_id: str
    identity: str
    name: str
    created_s: int
    seen_s: int


@dataclass(frozen=True, slots=True)
class BluetoothBonded:
    """A pairing completed and its keys were kept; phone is None after Just Works."""

    link: int
    phone: BluetoothPhone | None = None


@dataclass(frozen=True, slots=True)
class PairingBegun:
    """A phone was asked for the code: a person now reads and types."""

    link: int


@dataclass(frozen=True, slots=True)
class PairingFailed:
    """An attempt that had used up a code ended without a bond, however it ended."""

    link: int
    address: str


@dataclass(frozen=True, slots=True)
class LinkAuthenticated:
    """A link is now encrypted with a key that a person stands behind."""

    link: int


AirEvent: TypeAlias = (
    LinkOpened
    | LinkClosed
    | Written
    | BluetoothBonded
    | PairingBegun
    | PairingFailed
    | LinkAuthenticated
)


@dataclass(frozen=True, slots=True)
class Appearance:
    """What the charger shows on the air; passcode: whether the passcode service is there.

    module_firmware: of the radio module, None for the one that such modules usually have.
    """

    name: str
    layout: Layout
    passcode: bool
    module_firmware: str | None = None


class Rules(Protocol):
    """Asked by the adapter in the middle of a GATT or SMP procedure; answers at once."""

    def stock(self, link: int, secured: Secured) -> AttError | None:
        """Say why this link may not read, write or subscribe the stock service now, if so."""

    def hint(self, nonce: bytes) -> bytes:
        """The value of the passcode service's hint characteristic."""

    def pairing(self, link: int) -> Pairing: ...

    def code(self, link: int) -> int | None:
        """Use up the code that is shown, for one attempt; None if no pairing is wanted any more."""

    def phone_name(self) -> str:
        """What the phone that pairs now shall be called; empty if nobody said."""

    def bond_counts(self) -> bool:
        """Whether an unauthenticated Bluetooth bond may encrypt a link (open charger only)."""


class Air(Protocol):
    """Orders to the adapter. None of them raises for a link that is gone."""

    async def start(
        self, appearance: Appearance, rules: Rules, tell: Callable[[AirEvent], None]
    ) -> None:
        """Set up services, and advertise. Raises ControllerError."""

    async def stop(self) -> None:
        """Hang up on everybody and fall silent."""

    def send(self, link: int, door: Door, message: bytes) -> None:
        """Queue bytes for notification, cut for the link's MTU; dropped if not subscribed."""

    def drop(self, link: int, *, flush: bool) -> None:
        """Hang up, after what is queued has gone out (at most 1 s) if flush."""

    def advertise(self, *, wanted: bool) -> None:
        """Be found by phones, or not. A phone that connects ends it until the next order."""

    def forget_bonds(self) -> None:
        """Delete every Bluetooth bond."""

    def forget_phone(self, bond_id: str) -> Sequence[int]:
        """Delete one Bluetooth bond and hang up on its phone; gives the links that end."""

    def end_pairing(self) -> None:
        """Fail the pairing that is under way, if any: it leaves no bond."""

    @property
    def phones(self) -> Sequence[BluetoothPhone]:
        """Every authenticated bond, oldest first."""

    @property
    def links(self) -> Sequence[int]: ...

    @property
    def full(self) -> bool:
        """Whether the controller would not take one more link when it was last told to."""
