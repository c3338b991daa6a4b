"""What each imitated software does: data, with where it is known from.

None of it is the maker's documentation. It was put together by people who wrote clients, from
what they saw their own chargers do; where they disagree, or where one remark is all there is, the
fact is marked weak.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from types import MappingProxyType

from chargepin.charger.air import AttError
from chargepin.charger.bluetooth.attributes import Touch
from chargepin.charger.stock.call import ErrorCode
from chargepin.core.catalogue import Version
from chargepin.core.gatt import Layout


class Trust(Enum):
    """What the link must be for something."""

    ANY = "any link"
    ENCRYPTED = "an encrypted link"
    PASSKEY = "a link whose key came from typing the passcode"


class Meets(Enum):
    """What a phone meets that asks to pair."""

    JUST_WORKS = "Just Works"
    PASSKEY = "a dialog that asks for the passcode"
    REFUSED = "a refusal"
    DEAD_LINK = "silence, and the link answers nothing any more"


@dataclass(frozen=True, slots=True)
class Door:
    """How far strangers come. needs: for each touch of the stock service; what is left out, any.

    keyboard, without_keyboard: what phones meet that can, and that cannot type a code.
    """

    keyboard: Meets
    without_keyboard: Meets
    needs: Mapping[Touch, Trust] = field(default_factory=lambda: MappingProxyType({}))


class ReadPin(Enum):
    """How `read_pin` is answered."""

    TELLS = "the passcode, in clear"
    NO_METHOD = "error 1"
    NOT_SUPPORTED = "error 4"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A method, or one parameter of it, that this software answers with an error."""

    method: str
    code: ErrorCode
    only: object = None
    """None: whatever the parameter."""


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that was seen. weak: by one remark only, or somebody saw the contrary."""

    text: str
    weak: bool = False


@dataclass(frozen=True, slots=True)
class Imitation:
    """One version.

    name: as it is chosen. shown: as the charger itself says it. software: as numbers, for what
    depends on the order of versions. family: the model unless another is chosen. open: without a
    passcode. locked: with one; None if this software knows none. writes_after_set_pin: with a
    passcode, whether writes are answered `r:null` and not done until `set_pin` was sent.
    w_cha_toggles: whatever is asked of `w_cha`, it starts what rests and stops what charges.
    max_current_a: per phase, None for the family's.
    """

    name: str
    shown: str
    software: Version
    family: str
    project_code: str
    layout: Layout
    open: Door
    locked: Door | None
    read_pin: ReadPin
    facts: tuple[Fact, ...]
    writes_after_set_pin: bool = False
    w_cha_toggles: bool = False
    max_current_a: int | None = None
    refusals: tuple[Refusal, ...] = ()


REFUSAL_BY_TRUST: Mapping[Trust, AttError | None] = MappingProxyType(
    {
        Trust.ANY: None,
        Trust.ENCRYPTED: AttError.INSUFFICIENT_ENCRYPTION,
        Trust.PASSKEY: AttError.INSUFFICIENT_AUTHENTICATION,
    }
)
"""0x0f was seen on a u-blox charger without a passcode, 0x05 on those with one."""


def _everything(trust: Trust) -> Mapping[Touch, Trust]:
    return MappingProxyType(dict.fromkeys(Touch, trust))


_JUST_WORKS = Door(Meets.JUST_WORKS, Meets.JUST_WORKS, _everything(Trust.ENCRYPTED))
_WRITES_BY_PASSKEY = Door(
    Meets.PASSKEY, Meets.JUST_WORKS, MappingProxyType({Touch.VALUE: Trust.PASSKEY})
)
_OF_THE_FIFO = Fact(
    "With a passcode a client connects and subscribes even without it; only its first write fails,"
    " with ATT error 5. Reported of 6.11 on u-blox modules by users of a Home Assistant"
    " integration through Bluetooth proxies; its changelog says of the same software that"
    " subscribing is refused.",
    weak=True,
)
_KEYBOARDLESS = Fact(
    "A client that cannot type (BlueZ without an agent, an ESP32 without I/O capability) is paired"
    " by Just Works; its link is encrypted and still not trusted. Described by the author of the"
    " same integration, as one of two things that chargers do.",
    weak=True,
)
_LOGIN = Fact(
    "`read_pin` hands the passcode to every client that gets as far as asking; `set_pin` with it"
    " is a login, and a wrong one is answered with an error. Running code of three clients, and a"
    " log. Nobody has shown that `set_pin` changes a passcode: here it never does."
)
_TWO_STEPS = Fact(
    "Eco-Smart that is on with the sun alone (`esm` 1) is not switched off by one `s_ecos`, but by"
    " one with `ese` 1 and `esm` 0, and then one with `ese` 0. Running code of an ESP32 gateway;"
    " that one alone is answered as if done is a guess.",
    weak=True,
)
_TEXT_TIMES = Fact(
    '`s_sch` with times as text ("2330" for 2330) is answered as if done, and nothing is kept.'
    " One remark in an ESP32 gateway.",
    weak=True,
)

_ALL = (
    Imitation(
        name="375",
        shown="375",
        software=Version(0, 0, 375),
        family="pulsar-plus",
        project_code="sim-pulsar",
        layout=Layout.ZENTRI,
        open=Door(Meets.DEAD_LINK, Meets.DEAD_LINK),
        locked=None,
        read_pin=ReadPin.NOT_SUPPORTED,
        refusals=(
            Refusal("w_cha", ErrorCode.NOT_NOW, only=2),
            Refusal("g_ecos", ErrorCode.NOT_SUPPORTED),
            Refusal("s_ecos", ErrorCode.NOT_SUPPORTED),
            Refusal("r_dca", ErrorCode.NOT_SUPPORTED),
        ),
        facts=(
            Fact(
                "No passcode, no pairing; whoever tries to pair gets no answer, and afterwards the"
                " link is dead: Device Information empty, requests unanswered. Logs of the original"
                " Pulsar by a user of an ESP32 gateway."
            ),
            Fact(
                "The MTU never leaves 23. `read_pin`, `g_ecos`, and `r_dca` without a meter are"
                " answered with error 4, `w_cha` 2 with error 5. The same logs."
            ),
            Fact(
                "The maker's app names its user by `suser`, with the `usid` of `r_dat`, and nothing"
                " else. Captures by the authors of two integrations. That anything is refused"
                " without it is not reported.",
                weak=True,
            ),
        ),
    ),
    Imitation(
        name="6.1.12",
        shown="6.1.12",
        software=Version(6, 1, 12),
        family="pulsar-plus",
        project_code="prj14-pulsar-plus-usa",
        layout=Layout.BGX,
        open=_JUST_WORKS,
        locked=Door(Meets.PASSKEY, Meets.JUST_WORKS, _everything(Trust.ENCRYPTED)),
        read_pin=ReadPin.NO_METHOD,
        w_cha_toggles=True,
        max_current_a=40,
        facts=(
            Fact(
                "The link is encrypted and bonded, and `read_pin` is answered with error 1 though"
                " the app shows a passcode; a client that takes this for an open charger is wrong."
                " A log by a user of an ESP32 gateway with a Pulsar Plus sold in the USA."
            ),
            Fact(
                "Whether that bond took the passcode is not in the log; here phones with a keyboard"
                " are asked, others are paired without, and both may do everything.",
                weak=True,
            ),
            Fact("40 A may be set. The same user's app offers as much.", weak=True),
            Fact(
                "Some chargers sold in the USA take every `w_cha` as a toggle. One remark.",
                weak=True,
            ),
            _TWO_STEPS,
        ),
    ),
    Imitation(
        name="6.7.38",
        shown="6.7.38",
        software=Version(6, 7, 38),
        family="pulsar-plus",
        project_code="prj08-pulsar-plus",
        layout=Layout.BGX,
        open=_JUST_WORKS,
        locked=_JUST_WORKS,
        read_pin=ReadPin.TELLS,
        writes_after_set_pin=True,
        refusals=(Refusal("s_sch", ErrorCode.NO_METHOD),),
        facts=(
            Fact(
                "Reads work without the passcode; writes are answered `r:null` and not done until"
                " `set_pin` was sent on the same connection. A log of 6.7.41 by a user of an ESP32"
                " gateway. There `w_lck` worked for some minutes and then no more, cause unknown:"
                " that is not imitated."
            ),
            Fact(
                "Pairing is Just Works, passcode or not. The maker's help pages say that from"
                " 6.7.17 on phones are asked for it when they pair; the clients that were seen"
                " were not.",
                weak=True,
            ),
            Fact("`s_sch` is unknown: error 1. Seen on 6.7.41."),
            _TWO_STEPS,
            _LOGIN,
        ),
    ),
    Imitation(
        name="6.11.16",
        shown="6.11.16",
        software=Version(6, 11, 16),
        family="pulsar-max",
        project_code="prj15-pulsar-max",
        layout=Layout.UBLOX,
        open=Door(Meets.JUST_WORKS, Meets.JUST_WORKS),
        locked=_WRITES_BY_PASSKEY,
        read_pin=ReadPin.TELLS,
        facts=(
            Fact(
                "Without a passcode requests and replies go over a link that was never paired. A"
                " comment in an ESP32 gateway, whose author has this Pulsar MAX; the owner of"
                " another u-blox charger was refused with ATT error 15 until the link was"
                " encrypted.",
                weak=True,
            ),
            _OF_THE_FIFO,
            _KEYBOARDLESS,
            _TWO_STEPS,
            _TEXT_TIMES,
            _LOGIN,
        ),
    ),
    Imitation(
        name="6.11.26",
        shown="6.11.26",
        software=Version(6, 11, 26),
        family="pulsar-max",
        project_code="prj15-pulsar-max",
        layout=Layout.BGX,
        open=_JUST_WORKS,
        locked=Door(Meets.PASSKEY, Meets.REFUSED, _everything(Trust.PASSKEY)),
        read_pin=ReadPin.TELLS,
        facts=(
            Fact(
                "With a passcode the CCCD and the mode are refused until the link is encrypted with"
                " a key from typing it; without that a client looks connected, and every request"
                " times out. Two users of an ESP32 gateway with a Pulsar MAX."
            ),
            Fact(
                "A client that cannot type is refused. One of two things that were described of"
                " chargers with a passcode; which of them this module does is not known.",
                weak=True,
            ),
            _TWO_STEPS,
            _TEXT_TIMES,
            _LOGIN,
        ),
    ),
    Imitation(
        name="6.13",
        shown="6.13.6",
        software=Version(6, 13, 6),
        family="pulsar-pro",
        project_code="prj20-pulsar-max-pro",
        layout=Layout.UBLOX,
        open=_JUST_WORKS,
        locked=_WRITES_BY_PASSKEY,
        read_pin=ReadPin.TELLS,
        facts=(
            Fact(
                "6.13.3 and 6.13.6 worked with an ESP32 gateway that pairs first: two reports of"
                " the Pulsar Pro. A third unit dropped the link whenever it was to pair, cause"
                " unknown: that is not imitated."
            ),
            Fact("What it refuses to whom is taken to be as on 6.11 with u-blox.", weak=True),
            _OF_THE_FIFO,
            _KEYBOARDLESS,
            _TWO_STEPS,
            _TEXT_TIMES,
            _LOGIN,
        ),
    ),
)

IMITATIONS: Mapping[str, Imitation] = MappingProxyType({each.name: each for each in _ALL})
"""Every version that can be imitated, by the name it is chosen with, oldest first."""

_ALIKE = MappingProxyType({"6.7.41": "6.7.38", "6.13.3": "6.13", "6.13.6": "6.13"})


def imitation_of(name: str) -> Imitation:
    """Look a version up. Raises ValueError that lists them."""
    if name in _ALIKE:
        return replace(IMITATIONS[_ALIKE[name]], shown=name)
    if name not in IMITATIONS:
        raise ValueError(f"{name} is not imitated; {_listed(IMITATIONS)} are")
    return IMITATIONS[name]


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}"
