"""The guard's state, and the events and effects of its steps."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from chargepin.core import commands
from chargepin.core.bonds import Bond, Role
from chargepin.core.catalogue import PASSCODE_SINCE, Version
from chargepin.core.durable import Durable, Mode, Profile
from chargepin.core.handshake import Verifier
from chargepin.core.identity import Credential, Flag, RefusalCode, State
from chargepin.core.lockout import Lockout

PRESENCE_S = 120.0
FIRST_MINUTES_S = 600.0


class Phase(Enum):
    """How far one link has come with the passcode service."""

    LOCKED = "locked"
    GREETED = "greeted"
    PROVING = "proving"
    GRANTED = "granted"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Link:
    """What is remembered of one connection while it lasts.

    opened_s: running seconds. credential, generation: of its HELLO. bond: named by a valid tag,
    or drawn in its session.
    charged_s: when its attempt was charged, None if none is. role: of its session. pin: the lockout
    before and after the charge for a passcode that is being compared.
    """

    opened_s: float
    phase: Phase = Phase.LOCKED
    credential: Credential = Credential.OPEN
    generation: int = 0
    bond: Bond | None = None
    charged_s: float | None = None
    role: Role = Role.NONE
    pin: tuple[Lockout, Lockout] | None = None


# ---- events -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LinkOpened:
    link: int


@dataclass(frozen=True, slots=True)
class LinkClosed:
    link: int


@dataclass(frozen=True, slots=True)
class HelloReceived:
    """bond: the one whose tag the HELLO carried, if any. known: protocol and suite are ours."""

    link: int
    credential: Credential
    app: Version
    bond: Bond | None
    known: bool = True


@dataclass(frozen=True, slots=True)
class ShareReceived:
    link: int


@dataclass(frozen=True, slots=True)
class ProofChecked:
    """The app's confirmation was compared; unix_s is 0 where the clock is not known."""

    link: int
    held: bool
    unix_s: int


@dataclass(frozen=True, slots=True)
class Commanded:
    """A request of a session that changes what the guard keeps."""

    link: int
    command: commands.Command


@dataclass(frozen=True, slots=True)
class PinOffered:
    """A phone with a bond by code says a passcode at the stock service (`set_pin`)."""

    link: int


@dataclass(frozen=True, slots=True)
class PinChecked:
    """What it said was compared. It gets nothing by it, but to know."""

    link: int
    held: bool


@dataclass(frozen=True, slots=True)
class ButtonPressed:
    pass


@dataclass(frozen=True, slots=True)
class ButtonHeld:
    """Held for ten seconds."""


@dataclass(frozen=True, slots=True)
class StrangersCounted:
    """Strangers were turned away so many times, where the guard is not asked."""

    name: str
    times: int


@dataclass(frozen=True, slots=True)
class TamperChanged:
    """The housing was opened, or closed again."""

    opened: bool


@dataclass(frozen=True, slots=True)
class SoftwareChanged:
    """At start and after an update: what runs, and the oldest app it accepts."""

    software: Version
    oldest_app: Version


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed."""


Event: TypeAlias = (
    LinkOpened
    | LinkClosed
    | HelloReceived
    | ShareReceived
    | ProofChecked
    | Commanded
    | PinOffered
    | PinChecked
    | ButtonPressed
    | ButtonHeld
    | StrangersCounted
    | TamperChanged
    | SoftwareChanged
    | Ticked
)

# ---- effects ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SendParams:
    """Answer HELLO with PARAMS; verifier is what the coming proof is checked against."""

    link: int
    state: State
    flags: Flag
    retry_after_s: float
    tries_left: int


@dataclass(frozen=True, slots=True)
class Refuse:
    link: int
    code: RefusalCode
    retry_after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Respond:
    """Do the elliptic-curve work for the share just received."""

    link: int
    verifier: Verifier | None  # None: of the open charger


@dataclass(frozen=True, slots=True)
class Grant:
    link: int
    role: Role
    bond_id: str | None


@dataclass(frozen=True, slots=True)
class RoleRaised:
    """Tell a session that it may do more than it was granted."""

    link: int
    role: Role


@dataclass(frozen=True, slots=True)
class Answer:
    """Reply to the request that carried the command: what was done, or why not."""

    link: int
    denial: commands.Denial | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Hang up after what is queued has gone out."""

    link: int
    why: str


@dataclass(frozen=True, slots=True)
class DropAll:
    """Hang up on everybody, each after what is queued for it has gone out."""

    why: str


@dataclass(frozen=True, slots=True)
class ForgetBluetoothBonds:
    """Delete every Bluetooth bond: they belong to a passcode that is gone."""


@dataclass(frozen=True, slots=True)
class ErasePersons:
    """Erase what names persons, in the same transaction: log entries, sessions, schedules."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Say something unasked in a session."""

    link: int
    event: str


OfSession: TypeAlias = SendParams | Refuse | Respond | Grant | RoleRaised | Answer | Tell
"""What one session is told."""

Effect: TypeAlias = OfSession | Drop | DropAll | ForgetBluetoothBonds | ErasePersons


@dataclass(frozen=True, slots=True)
class Entry:
    """For the security log; never a secret in it."""

    event: str
    detail: dict[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Guard:
    """Durable part, links, and what is known since power-up.

    started_s: running seconds at power-up. pressed_s: the last press of the button. seen: Unix
    seconds at which bonds were used, not yet stored. counted: events of strangers, by name, since
    counted_s: they go to the log once an hour, so that a flood can't roll the rest out of it.
    """

    durable: Durable
    started_s: float
    software: Version
    oldest_app: Version
    links: Mapping[int, Link] = field(default_factory=lambda: MappingProxyType({}))
    pressed_s: float | None = None
    seen: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    counted: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    counted_s: float = 0.0
    update_available: bool = False

    @property
    def outdated(self) -> bool:
        """Running software that does not know passcodes: none can be set."""
        return self.software < PASSCODE_SINCE

    @property
    def downgraded(self) -> bool:
        """Protected, but running software that does not know passcodes: stays closed."""
        return self.durable.mode is not Mode.OPEN and self.outdated

    def present(self, now_s: float) -> bool:
        """Whether somebody pressed the button in the last two minutes."""
        return self.pressed_s is not None and now_s < self.pressed_s + PRESENCE_S

    def first_set_allowed(self, now_s: float) -> bool:
        """Whether an open charger may be changed now, by the presence rule of the policy."""
        if not self.durable.policy.first_set_needs_presence:
            return True
        return self.present(now_s) or now_s < self.started_s + FIRST_MINUTES_S

    def unattended(self, now_s: float) -> bool:
        """Made for the EU, without a passcode, and nobody stands there: only that would be set up.

        EN 18031 (with Decision (EU) 2025/138) wants no use of a product without a password.
        """
        open_eu = self.durable.mode is Mode.OPEN and self.durable.profile is Profile.EU
        return open_eu and not self.first_set_allowed(now_s)


@dataclass(frozen=True, slots=True)
class Step:
    guard: Guard
    effects: tuple[Effect, ...] = ()
    entries: tuple[Entry, ...] = ()


def with_link(guard: Guard, number: int, link: Link | None) -> Guard:
    """Put one link's state in place, or take the link away."""
    links = {key: value for key, value in guard.links.items() if key != number}
    if link is not None:
        links[number] = link
    return replace(guard, links=MappingProxyType(links))


def closed(guard: Guard, numbers: Iterable[int]) -> Guard:
    """Take nothing more from these links: they are being hung up."""
    links = dict(guard.links)
    for number in numbers:
        links[number] = Link(opened_s=links[number].opened_s, phase=Phase.CLOSED)
    return replace(guard, links=MappingProxyType(links))


def who(link: Link) -> str:
    """Whose session it is, for the log: a bond's id, or what was proved."""
    return link.bond.bond_id if link.bond else link.credential.name.lower()


def counted(guard: Guard, name: str, times: int = 1) -> Guard:
    """Count an event of strangers."""
    counts = {**guard.counted, name: guard.counted.get(name, 0) + times}
    return replace(guard, counted=MappingProxyType(counts))
