"""What the charger's rules need from the outside; adapters implement it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargepin.core import log
from chargepin.core.catalogue import Version
from chargepin.core.durable import Durable
from chargepin.core.guard_state import Entry
from chargepin.core.log import Head
from chargepin.core.release import Manifest, SignedManifest

MIN_CURRENT_A = 6  # IEC 61851-1: below it a car may not draw at all


class ChargeStatus(IntEnum):
    """What the charger is doing, as the stock `st` numbers it."""

    READY = 0
    CHARGING = 1
    WAITING_FOR_CAR = 2
    WAITING_FOR_SCHEDULE = 3
    PAUSED = 4
    SCHEDULE_ENDED = 5
    LOCKED = 6
    ERROR = 7
    WAITING_FOR_CURRENT = 8
    SHARING_NOT_CONFIGURED = 9
    QUEUED_BY_POWER_BOOST = 10
    QUEUED_BY_ECO_SMART = 18


class Window(msgspec.Struct, frozen=True):
    """A time of the week at which may be charged.

    start_min, stop_min: minutes of a UTC day; a stop that is not after the start is on the next
    day. days: those on which it starts, as bits, Monday the lowest. target_wh: what is enough.
    """

    start_min: int
    stop_min: int
    days: int
    max_current_a: int
    target_wh: int | None = None


class Sharing(msgspec.Struct, frozen=True):
    """Power sharing with other chargers, A per phase: what all have, and each must have."""

    all_a: int
    least_a: int


class Solar(msgspec.Struct, frozen=True):
    """Eco-Smart: charging with what the sun gives.

    only: with nothing else, otherwise at the least current where the sun gives less. percent: of
    the sun's power that may be used.
    """

    only: bool
    percent: int


class ChargingRules(msgspec.Struct, frozen=True):
    """What settings make of charging, unless somebody starts or stops it by hand.

    windows: empty means at any time. house_limit_a: of the house's connection, for everything in
    it, 0 none. sharing: with an all_a of 0 it is not configured. one_phase: may be used where
    three are too many.
    """

    windows: tuple[Window, ...] = ()
    house_limit_a: int = 0
    sharing: Sharing | None = None
    solar: Solar | None = None
    one_phase: bool = False


class Reading(msgspec.Struct, frozen=True):
    """One look at the power side.

    Per phase, unused phases 0: volts, deciamperes (tenths of an ampere), watts. meter_wh: all
    energy ever delivered. session_*: since the car was plugged in, None and 0 without a car;
    session_s counts charging time only, session_green_wh is the sun's part of session_wh.
    available_current_a: the most that may be set. by_hand: somebody has started or stopped the
    charge. surplus_w: what the sun gives and nobody uses.
    """

    status: ChargeStatus
    locked: bool
    volts: tuple[int, int, int]
    deciamperes: tuple[int, int, int]
    watts: tuple[int, int, int]
    meter_wh: int
    max_current_a: int
    available_current_a: int
    auto_lock_s: int
    session_start_unix_s: int | None = None
    session_s: int = 0
    session_wh: int = 0
    session_green_wh: int = 0
    by_hand: bool = False
    surplus_w: int = 0


class ChargeSession(msgspec.Struct, frozen=True):
    """A finished session: from plugging in to unplugging. charging_s: time with current."""

    session_id: int
    start_unix_s: int
    charging_s: int
    energy_wh: int
    green_wh: int = 0


class OpenSession(msgspec.Struct, frozen=True):
    """The session of the car that is plugged in.

    demand_wh: what the car still wanted at first. green_wh: the sun's part so far. window_unix_s,
    window_meter_wh: when the last window began that the car was there for, and the meter then.
    """

    start_unix_s: int
    meter_start_wh: float
    demand_wh: float
    charging_s: float = 0.0
    green_wh: float = 0.0
    window_unix_s: int | None = None
    window_meter_wh: float = 0.0


class Surroundings(msgspec.Struct, frozen=True):
    """What the simulated house does: power of its solar panels, current of everything else."""

    solar_w: int = 0
    house_a: int = 0


class HardwareState(msgspec.Struct, frozen=True):
    """What the power side must not forget when the power goes.

    The fields are what SimulatedHardware needs; real hardware keeps its own and may ignore them.
    """

    locked: bool = False
    paused: bool = False
    by_hand: bool = False
    max_current_a: int | None = None
    auto_lock_s: int = 0
    meter_wh: float = 0.0
    next_session_id: int = 1
    current: OpenSession | None = None
    sessions: tuple[ChargeSession, ...] = ()
    rules: ChargingRules = ChargingRules()
    surroundings: Surroundings = Surroundings()


class NotPossible(Exception):
    """The hardware can't do that now; the text says why, for a person."""


class Hardware(Protocol):
    """The power side of a charger: contactor, meter, lock, button. now_s is running time."""

    def reading(self, now_s: float) -> Reading:
        """One look at everything."""

    def sessions(self) -> Sequence[ChargeSession]:
        """Finished sessions, oldest first; only the newest are kept."""

    def forget_sessions(self, now_s: float) -> None:
        """Forget the finished ones, as for another owner; the meter stays as it is."""

    def start(self, now_s: float) -> None:
        """Charge, or go on charging, whatever the rules say of times. Raises NotPossible."""

    def pause(self, now_s: float) -> None:
        """Stop charging until started again. Does nothing when paused. Raises NotPossible."""

    def by_rules(self, now_s: float) -> None:
        """Forget what was started or stopped by hand; with no rules, a pause stays."""

    def set_locked(self, now_s: float, *, locked: bool) -> None:
        """Lock, which interrupts a charge, or unlock, which lets it go on."""

    def set_max_current(self, now_s: float, amperes: int) -> None:
        """Limit the current per phase, MIN_CURRENT_A..available_current_a. Raises ValueError."""

    def set_auto_lock(self, now_s: float, seconds: int) -> None:
        """Lock by itself that long after the car has gone; 0 never. Raises ValueError."""

    def set_clock(self, now_s: float, unix_s: int) -> None:
        """Set the charger's own clock."""

    def obey(self, now_s: float, rules: ChargingRules) -> None:
        """Charge by these rules from now on."""

    def state(self, now_s: float) -> HardwareState:
        """What must survive a restart, as of now."""

    def on_button(self, callback: Callable[[bool], None]) -> None:
        """Call back with True when the button goes down, with False when it comes up."""

    def on_tamper(self, callback: Callable[[bool], None]) -> None:
        """Call back with True when the housing is opened, with False when it is closed again.

        Also at once, with True, if it is open when this is called.
        """


class Images(Protocol):
    """Where charger software comes from. Raises OSError when it cannot be reached."""

    def releases(self) -> Sequence[SignedManifest]:
        """Everything on offer, in no particular order and not yet verified."""

    def open(self, manifest: Manifest) -> Iterator[bytes]:
        """The image, in pieces of any size, not yet verified."""


class UpdateState(StrEnum):
    """Where a software update is."""

    IDLE = "idle"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    INSTALLED = "installed"
    FAILED = "failed"


class UpdateProgress(msgspec.Struct, frozen=True):
    """How far an update has come: percent 0..100; error is for a person, when it failed."""

    state: UpdateState = UpdateState.IDLE
    percent: int = 0
    error: str | None = None


class Updates(Protocol):
    """Software updates of this charger."""

    @property
    def installed(self) -> Version:
        """What runs, or will run after the restart that an update asks for."""

    @property
    def progress(self) -> UpdateProgress:
        """Where the update is, or how the last one ended."""

    def newest(self) -> Version | None:
        """The newest verified release for this family, if newer than installed."""

    def offers(self, version: Version) -> bool:
        """Whether there is a verified release of that version for this family."""

    async def run(
        self, version: Version | None, on_progress: Callable[[UpdateProgress], None]
    ) -> UpdateProgress:
        """Install a version, None the newest; the charger restarts afterwards to run it.

        Never raises for what can go wrong: the last progress says so, and the old software stays.
        """


@dataclass(frozen=True, slots=True)
class Unit:
    """What a charger is. random: bytes from the system's generator."""

    key: Ed25519PrivateKey
    identity: bytes
    serial: str
    random: Callable[[int], bytes]

    def __repr__(self) -> str:
        return f"Unit({self.serial!r})"


class StoreFailed(Exception):
    """The state could not be stored or read: full disk, lost medium. Nothing of it took effect."""


class Store(Protocol):
    """What survives power loss. Every method blocks and may be called from any thread."""

    def load(self) -> Durable | None:
        """What was stored last; None for a new charger. Raises StoreFailed."""

    def commit(
        self,
        durable: Durable,
        entries: Sequence[Entry],
        unix_s: int,
        *,
        forget_bluetooth_bonds: bool = False,
        forget_bluetooth_bond: str | None = None,
        clear_log: bool = False,
        also: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Store the state and chain the entries to the log, in one durable transaction.

        forget_bluetooth_bonds, forget_bluetooth_bond: delete all, or the one kept under this
        identity, with it, or they would count again after a power cut. clear_log: erase what the
        log says of persons before the entries; its chain goes on. also: to put, with all that.
        Raises StoreFailed.
        """

    @property
    def head(self) -> Head:
        """Of the security log, as of the last commit."""

    @property
    def log_begins(self) -> Head:
        """Which head the log's unbroken chain follows; what is older is evidence, with gaps."""

    def entries(self, after: int, limit: int) -> Sequence[log.Entry]:
        """Log entries with a higher sequence, oldest first. Raises StoreFailed."""

    def put(self, name: str, value: bytes) -> None:
        """Keep something of the power side, outside the guard's state. Raises StoreFailed."""

    def get(self, name: str) -> bytes | None:
        """What was put. Raises StoreFailed."""
