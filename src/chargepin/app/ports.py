"""What the app needs from the outside: a radio, a vault, an account, a person to ask."""

from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from chargepin.core.passcode import Passcode

NOT_TOLD_DBM = 127
"""A signal strength that is not known (Core Vol 4, Part E, 7.5.4)."""

PAIR_IN_SETTINGS = "pair_in_settings"
"""The refusal of a system that pairs in its own settings alone; its text says what to do there."""


@dataclass(frozen=True, slots=True)
class Found:
    """A charger seen while scanning.

    address: the adapter's own spelling. name: "WB" + serial. rssi_dbm: signal. services: lower
    case UUIDs of both advertising packets. connectable: False when another phone holds the link.
    """

    address: str
    name: str
    rssi_dbm: int
    services: tuple[str, ...] = ()
    connectable: bool = True


class Link(Protocol):
    """One connection to one charger. Every method raises LinkLost once it is gone."""

    @property
    def att_mtu(self) -> int:
        """Bytes, header of 3 included; at least 23."""

    @property
    def characteristics(self) -> frozenset[str]:
        """Lower case UUIDs of every characteristic found."""

    @property
    def closed(self) -> bool: ...

    async def read(self, uuid: str) -> bytes:
        """Read a characteristic. Raises AttRefused for an ATT error."""

    async def write(self, uuid: str, value: bytes, *, response: bool) -> None:
        """Write one chunk, at most att_mtu - 3 bytes, in order."""

    async def subscribe(self, uuid: str, callback: Callable[[bytes], None]) -> None:
        """Call back for each notification, in order, until the link closes."""

    async def pair(self, *, again: bool = False) -> None:
        """Pair, unless it is paired; the adapter may ask the person for a code.

        again: anew in any case, if a code can be asked for. Raises ChargerRefused when the charger
        does not pair, PasscodeWrong when it did not take the code, Cancelled, and LinkLost, after
        which pairing begins anew on the next link.
        """

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once when the link is gone, at once if it is already."""

    async def close(self) -> None:
        """Hang up. Does nothing on a link that is gone."""


class AttRefused(Exception):
    """The charger answered a GATT request with an ATT error (Core Vol 3, Part F, 3.4.1.1)."""

    def __init__(self, error: int) -> None:
        super().__init__(f"ATT error 0x{error:02x}")
        self.error = error


class Radio(Protocol):
    """A Bluetooth adapter as a central. description: which one, for doctor."""

    @property
    def description(self) -> str: ...

    def scan(self) -> AsyncGenerator[Found, None]:
        """Yield what is seen, again when it changes, until the iterator is closed."""

    async def connect(self, found: Found, *, timeout_s: float) -> Link:
        """Connect and discover. Raises NotFound, Busy, WeakSignal or LinkLost."""

    async def bonded(self, found: Found) -> bool | None:
        """Whether this adapter has a Bluetooth bond with it; None where the system won't say."""

    async def close(self) -> None: ...


class Candidate(msgspec.Struct, frozen=True):
    """A passcode that may fit: tried only where generation and salt match the charger's."""

    generation: int
    salt: bytes
    passcode: str
    state: str = "active"  # or "pending"
    profile: int = 1
    owner_token: bytes | None = None

    def __repr__(self) -> str:
        return f"Candidate(generation={self.generation}, state={self.state!r})"

    @property
    def code(self) -> Passcode:
        return Passcode(self.passcode)


class KeptBond(msgspec.Struct, frozen=True):
    """The secret that this app got from a charger after proof."""

    bond_id: str
    secret: bytes
    role: str
    generation: int

    def __repr__(self) -> str:
        return f"KeptBond(bond_id={self.bond_id!r}, role={self.role!r})"


class Known(msgspec.Struct, frozen=True):
    """All that a vault keeps of one charger, by its serial.

    identity: pinned Ed25519 public key. incarnation, generation: the highest seen. protected:
    whether a passcode was seen set. candidates: passcodes with their state. witnesses: slow hashes
    (w0 || w1) by "generation:salt". tries: automatic and typed tries without a valid answer, by
    generation. undelivered: a receipt and its signature (hex) that the account has yet to get.
    log_head: sequence and hash of the newest entry of its security log that was seen. log_receipt:
    the hash that the newest receipt names. viewed: how often its passcode was shown here since the
    charger was told.
    """

    serial: str
    identity: bytes | None = None
    incarnation: int = 0
    generation: int = 0
    protected: bool = False
    candidates: tuple[Candidate, ...] = ()
    bond: KeptBond | None = None
    witnesses: dict[str, bytes] = msgspec.field(default_factory=dict)
    tries: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    undelivered: tuple[str, str] | None = None
    log_head: tuple[int, bytes] | None = None
    log_receipt: bytes | None = None
    viewed: int = 0

    def __repr__(self) -> str:
        return f"Known(serial={self.serial!r}, generation={self.generation})"


class Vault(Protocol):
    """Where one home keeps its secrets. Raises VaultError; never loses silently."""

    def get(self, serial: str) -> Known | None: ...

    def put(self, known: Known) -> None: ...

    def update(self, serial: str, change: Callable[[Known], Known]) -> Known:
        """Read, change and write one charger as one step, whatever other processes do.

        change is given an empty Known(serial) for a charger that the vault does not know, and
        must not use the vault. Returns what was written; nothing is if change raises.
        """

    def forget(self, serial: str) -> None: ...

    def serials(self) -> Sequence[str]: ...

    @property
    def description(self) -> str:
        """Where it is, for doctor."""


SIGN_IN_FILE = "account.json"
"""Where a home keeps which account it is signed in to."""


class Accounts(Protocol):
    """The account service, for one signed-in person. charger_id: the identity in hex.

    Every method raises AccountUnreachable, AccountRefused or UpdateNeeded.
    """

    async def charger_id(self, serial: str) -> str | None:
        """The id of the charger with this serial; None if there is none, or more than one."""

    async def passcodes(self, charger_id: str) -> Sequence[Candidate]:
        """What this person may know of the charger's passcodes; empty without access."""

    async def assign(self, charger_id: str, expected_generation: int) -> Candidate | None:
        """Have the next passcode drawn, pending; None if the account has no such charger."""

    async def deliver(self, charger_id: str, receipt: str, signature: str) -> None:
        """Hand over the charger's receipt, which makes the pending passcode active."""


class Prompt(Protocol):
    """A person. Implementations raise Cancelled when nobody can answer."""

    async def confirm(self, question: str, *, default: bool) -> bool: ...

    async def passcode(self, question: str, *, held: Passcode | None = None) -> str:
        """Ask for a passcode, without echo; held: one that a single keystroke may show."""

    def tell(self, text: str) -> None: ...

    def progress(self, text: str, percent: int) -> None: ...
