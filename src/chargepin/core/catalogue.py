"""Software versions, charger families, and the names that chargers go by."""

import re
import struct
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Self

from chargepin.core.gatt import Layout

_PART_MAX = 0xFFFF
_VERSION = re.compile(r"(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})\.(0|[1-9][0-9]{0,4})")
_SERIAL = re.compile(r"(?:WB)?([0-9]{1,9})", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True, order=True)
class Version:
    """A software version, ordered part by part as numbers: 6.7.9 < 6.7.17 < 6.11.0.

    Each part is 0..65535, since it travels as an unsigned 16-bit number. Raises ValueError.
    """

    major: int
    minor: int
    patch: int

    def __post_init__(self) -> None:
        if not all(0 <= part <= _PART_MAX for part in (self.major, self.minor, self.patch)):
            raise ValueError(f"each part of a version is 0..{_PART_MAX}")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read three numbers with dots, "6.7.17". Raises ValueError for anything else."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise ValueError("a software version is three numbers with dots, such as 6.7.17")
        return cls(*(int(part) for part in match.groups()))

    @classmethod
    def decode(cls, raw: bytes) -> Self:
        """Read the 6 bytes that PARAMS and HELLO carry. Raises ValueError for another length."""
        if len(raw) != struct.calcsize(">3H"):
            raise ValueError("a version is 6 bytes on the air")
        return cls(*struct.unpack(">3H", raw))

    def encode(self) -> bytes:
        """Three big-endian unsigned 16-bit numbers."""
        return struct.pack(">3H", self.major, self.minor, self.patch)

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"


PASSCODE_SINCE = Version(6, 7, 17)
"""The first software that knows the Bluetooth passcode, on every family."""


def supports_passcode(version: Version) -> bool:
    """Whether a charger with this software has the passcode. The family never decides."""
    return version >= PASSCODE_SINCE


class Evidence(Enum):
    """How much is known of a family's Bluetooth."""

    SEEN = "seen"
    SIMULATED_ONLY = "simulated only"


@dataclass(frozen=True, slots=True)
class Sighting:
    """A kind of charger that people who write clients have had, and published what it does.

    project_code, software: its code and its versions, empty where nobody said.
    """

    layout: Layout
    project_code: str = ""
    software: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Family:
    """One line of chargers and what its simulation needs.

    key: as `--model` takes it. project_codes: what the charger's own version reply names; the first
    one is the simulator's. layout: the radio module of the simulator; real ones vary within a
    family. max_current_a: per phase. pause_value: what the stock `w_cha` wants besides 1 (start).
    seen: what is known of real ones. why: what that rests on, or why there is nothing.
    module_firmware: of the layout's radio module, where it was another one than usual.
    """

    key: str
    display_name: str
    project_codes: tuple[str, ...]
    layout: Layout
    max_current_a: int
    phases: int
    pause_value: int
    why: str
    seen: tuple[Sighting, ...] = ()
    module_firmware: str | None = None

    @property
    def project_code(self) -> str:
        """The code that the simulator answers with."""
        return self.project_codes[0]

    @property
    def evidence(self) -> Evidence:
        """Whether anybody has published what a real one does on the air."""
        return Evidence.SEEN if self.seen else Evidence.SIMULATED_ONLY


_ALL_FAMILIES = (
    Family(
        key="pulsar-max",
        display_name="Pulsar MAX",
        project_codes=("prj15-pulsar-max",),
        layout=Layout.UBLOX,
        max_current_a=32,
        phases=3,
        pause_value=2,
        why="captures and running clients of several people",
        seen=(
            Sighting(Layout.UBLOX, "prj15-pulsar-max", ("6.11.16",)),
            Sighting(Layout.BGX, software=("6.11.26",)),
        ),
    ),
    Family(
        key="pulsar-pro",
        display_name="Pulsar Pro",
        project_codes=("prj20-pulsar-max-pro",),
        layout=Layout.UBLOX,
        max_current_a=32,
        phases=3,
        pause_value=2,
        why="scan dumps and logs of three people",
        seen=(Sighting(Layout.UBLOX, "prj20-pulsar-max-pro", ("6.13.3", "6.13.6")),),
    ),
    Family(
        key="pulsar-plus",
        display_name="Pulsar Plus",
        project_codes=(
            "prj08-pulsar-plus",
            "prj08-pulsar-plus-pm3",
            "prj14-pulsar-plus-usa",
            "prj21-pulsar-plus-e",
        ),
        layout=Layout.BGX,
        max_current_a=32,
        phases=1,
        pause_value=0,
        why="captures and running clients of many people",
        seen=(
            Sighting(Layout.BGX, "prj08-pulsar-plus", ("6.7.38", "6.7.41")),
            Sighting(Layout.UBLOX, "prj08-pulsar-plus-pm3"),
            Sighting(Layout.BGX, "prj14-pulsar-plus-usa", ("6.1.12",)),
            Sighting(Layout.UBLOX, "prj21-pulsar-plus-e", ("6.11.27",)),
        ),
    ),
    Family(
        key="pulsar-plus-socket",
        display_name="Pulsar Plus Socket",
        project_codes=("sim-pulsar-plus-socket",),
        layout=Layout.BGX,
        max_current_a=32,
        phases=3,
        pause_value=0,
        why="nobody has published anything about its radio; taken to be like a Pulsar Plus",
    ),
    Family(
        key="commander-2",
        display_name="Commander 2",
        project_codes=("sim-commander-2",),
        layout=Layout.UBLOX,
        max_current_a=32,
        phases=3,
        pause_value=0,
        why="nobody has published anything about its radio; module and behaviour are guesses",
    ),
    Family(
        key="commander-2s",
        display_name="Commander 2S",
        project_codes=("sim-commander-2s",),
        layout=Layout.UBLOX,
        max_current_a=32,
        phases=3,
        pause_value=0,
        why="nobody has published anything about its radio; module and behaviour are guesses",
    ),
    Family(
        key="copper-sb",
        display_name="Copper SB",
        project_codes=("prj10-copper-business-pm3",),
        layout=Layout.UBLOX,
        max_current_a=32,
        phases=3,
        pause_value=0,
        why="a scan dump and logs of one person, one report of an older unit",
        seen=(
            Sighting(Layout.UBLOX, "prj10-copper-business-pm3", ("6.7.38",)),
            Sighting(Layout.BGX, software=("5.x",)),
        ),
        module_firmware="4.0.0-003",
    ),
    Family(
        key="em4-single",
        display_name="eM4 Single",
        project_codes=("sim-em4-single",),
        layout=Layout.UBLOX,
        max_current_a=32,
        phases=3,
        pause_value=0,
        why="another maker's product; no sign that it speaks this protocol",
    ),
    Family(
        key="em4-twin",
        display_name="eM4 Twin",
        project_codes=("sim-em4-twin",),
        layout=Layout.UBLOX,
        max_current_a=32,
        phases=3,
        pause_value=0,
        why="another maker's product; no sign that it speaks this protocol; one socket of two",
    ),
)

FAMILIES = MappingProxyType({family.key: family for family in _ALL_FAMILIES})
"""The nine families that the maker's article names, by key."""


def family_of(key: str) -> Family:
    """Look a family up by its key. Raises ValueError that lists the keys."""
    if key not in FAMILIES:
        raise ValueError(f"no charger family of that name; there are {', '.join(FAMILIES)}")
    return FAMILIES[key]


def family_of_project(code: str) -> Family | None:
    """Find the family of a charger's own project code; None for one that is not known.

    Only whole codes count: "prj20-pulsar-max-pro" contains "pulsar-max" and is none.
    """
    for family in _ALL_FAMILIES:
        if code in family.project_codes:
            return family
    return None


_OTHERS = MappingProxyType(
    {
        "ewb": ". eWB names belong to EasyWallbox chargers, which speak another protocol",
        "bgx-": ". BGX names belong to radio modules that nobody has set up",
    }
)
"""The same radio modules elsewhere: how their names begin."""


def serial_of(text: str) -> str:
    """Give "123456" for "WB123456", "wb123456" and "123456".

    A serial has 1..9 digits: more would not fit the advertised name. Leading zeros are kept.
    Raises ValueError for anything else.
    """
    match = _SERIAL.fullmatch(text.strip())
    if match is None:
        name = text.strip().lower()
        other = next((why for start, why in _OTHERS.items() if name.startswith(start)), "")
        raise ValueError(
            f"a charger is named by its serial number, such as WB123456 or 123456{other}"
        )
    return match[1]


def name_of(serial: str) -> str:
    """Give the name a charger advertises, "WB123456" for "123456". Raises ValueError."""
    return "WB" + serial_of(serial)
