"""The app's state machine: from a charger in range to a session, or to a clear reason why not.

`step` takes what happened and gives what to do next. It never touches the air: the caller sends,
fetches and asks, and puts the outcome back as an event. The rules it holds to (design 4.2, 4.5):

- a charger once known must prove the identity that was pinned, and can't claim to be older, open
  or without a passcode service; such a claim is shown to a person, never followed;
- a passcode is tried only where generation and salt match what the charger names;
- at most 3 automatic and 20 typed tries per generation leave the app without a valid answer.
"""

from dataclasses import dataclass, replace
from enum import Enum
from types import MappingProxyType
from typing import Final, TypeAlias, assert_never

from chargepin.core.catalogue import Version
from chargepin.core.identity import Credential, Flag, Hint, Params, Refusal, RefusalCode, State

AUTOMATIC_TRIES = 3
TYPED_TRIES = 20
HELLOS_PER_LINK = 3  # for a bond, then the passcode, then an open charger; no path has more


class Stage(Enum):
    """Where the app is with one charger."""

    REACHING = "reaching"
    GREETING = "greeting"
    FETCHING = "fetching"
    ASKING = "asking"
    PROVING = "proving"
    INSIDE = "inside"
    ENDED = "ended"


class Reason(Enum):
    """Why the way ended. Each becomes one exception of the app."""

    UPDATE_CHARGER = "update_charger"
    UPDATE_APP = "update_app"
    PASSCODE_NEEDED = "passcode_needed"
    PASSCODE_WRONG = "passcode_wrong"
    PASSCODE_NOT_SET = "passcode_not_set"
    PAUSED = "paused"
    EXHAUSTED = "exhausted"
    BOND_UNKNOWN = "bond_unknown"
    CHANGED = "changed"
    OTHER_IDENTITY = "other_identity"
    OLDER_STATE = "older_state"
    NO_LONGER_PROTECTED = "no_longer_protected"
    SERVICE_MISSING = "service_missing"
    TOO_MANY_TRIES = "too_many_tries"
    CHARGER_STORAGE = "charger_storage"
    PROTOCOL = "protocol"


@dataclass(frozen=True, slots=True)
class Offer:
    """A passcode the app holds. typed: a person entered it just now, for whatever is asked."""

    generation: int
    salt: bytes
    typed: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What the app knows beforehand.

    identity: pinned, None for a charger never proved. generation, incarnation: the highest seen.
    protected: whether a passcode was seen set. bonded: whether it keeps a bond. offers: passcodes
    it holds, best first. account: whether an account may supply more. person: whether somebody
    can be asked. ask_first: ask even where a passcode is held, as after setting it.
    """

    identity: bytes | None = None
    generation: int = 0
    incarnation: int = 0
    protected: bool = False
    bonded: bool = False
    offers: tuple[Offer, ...] = ()
    account: bool = False
    person: bool = False
    ask_first: bool = False
    automatic_tries: int = 0
    typed_tries: int = 0


@dataclass(frozen=True, slots=True)
class Reached:
    """Connected. hint is None where there is no passcode service."""

    hint: Hint | None


@dataclass(frozen=True, slots=True)
class Answered:
    """PARAMS came, its signature verified under the identity it names."""

    params: Params


@dataclass(frozen=True, slots=True)
class WasRefused:
    """A REFUSAL came, its signature verified under the identity it names."""

    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Supplied:
    """The account's passcodes; empty when it has none or can't be reached."""

    offers: tuple[Offer, ...]


@dataclass(frozen=True, slots=True)
class Typed:
    """A person typed a passcode: it joins the offers, and only it is tried."""

    offer: Offer


@dataclass(frozen=True, slots=True)
class Declined:
    """Nobody wants to type one."""


@dataclass(frozen=True, slots=True)
class ProofEnded:
    """The handshake is over: whether the charger's confirmation was valid."""

    held: bool


Event: TypeAlias = Reached | Answered | WasRefused | Supplied | Typed | Declined | ProofEnded


@dataclass(frozen=True, slots=True)
class Reach:
    """Connect again."""


@dataclass(frozen=True, slots=True)
class SayHello:
    credential: Credential


@dataclass(frozen=True, slots=True)
class Prove:
    """Run the handshake. offer: which passcode, for Credential.PASSCODE."""

    credential: Credential
    offer: Offer | None = None


@dataclass(frozen=True, slots=True)
class Fetch:
    """Ask the account for passcodes."""


@dataclass(frozen=True, slots=True)
class Ask:
    """Hang up and ask the person; tries_left as the charger tells."""

    tries_left: int


@dataclass(frozen=True, slots=True)
class UseStock:
    """No passcode service, and none was ever seen: only the stock service is there."""


@dataclass(frozen=True, slots=True)
class Enter:
    """The session is granted."""


@dataclass(frozen=True, slots=True)
class End:
    """retry_after_s: for PAUSED. tries_left: for PASSCODE_WRONG. needed: for an update."""

    reason: Reason
    retry_after_s: int = 0
    tries_left: int = 0
    needed: Version | None = None


Action: TypeAlias = Reach | SayHello | Prove | Fetch | Ask | UseStock | Enter | End

# Every change of stage that exists; docs/diagrams.md is drawn from this table.
TRANSITIONS: Final = MappingProxyType(
    {
        (Stage.REACHING, Reached): frozenset({Stage.GREETING, Stage.INSIDE, Stage.ENDED}),
        (Stage.GREETING, Answered): frozenset(
            {Stage.GREETING, Stage.FETCHING, Stage.ASKING, Stage.PROVING, Stage.ENDED}
        ),
        (Stage.GREETING, WasRefused): frozenset({Stage.GREETING, Stage.ENDED}),
        (Stage.FETCHING, Supplied): frozenset({Stage.ASKING, Stage.PROVING, Stage.ENDED}),
        (Stage.ASKING, Typed): frozenset({Stage.REACHING}),
        (Stage.ASKING, Declined): frozenset({Stage.ENDED}),
        (Stage.PROVING, WasRefused): frozenset({Stage.GREETING, Stage.ENDED}),
        (Stage.PROVING, ProofEnded): frozenset({Stage.INSIDE, Stage.ENDED}),
    }
)


class OutOfTurn(Exception):
    """The charger or the caller did something that no path has a place for."""


@dataclass(frozen=True, slots=True)
class Entry:
    """The app's way in, so far.

    params: the newest, once read. said: the credential of the newest HELLO; hellos: how many were
    said on this link.
    """

    facts: Facts
    stage: Stage = Stage.REACHING
    params: Params | None = None
    said: Credential | None = None
    hellos: int = 0
    fetched: bool = False


def step(entry: Entry, event: Event) -> tuple[Entry, Action]:
    """Take one event. Raises OutOfTurn when there is no transition for it."""
    allowed = TRANSITIONS.get((entry.stage, type(event)))
    if allowed is None:
        raise OutOfTurn(f"{type(event).__name__} while {entry.stage.value}")
    after, action = _take(entry, event)
    assert after.stage in allowed  # noqa: S101 - the table is the authority
    return after, action


def _take(entry: Entry, event: Event) -> tuple[Entry, Action]:
    match event:
        case Reached(hint):
            return _reached(entry, hint)
        case Answered(params):
            return _answered(entry, params)
        case WasRefused(refusal):
            return _was_refused(entry, refusal)
        case Supplied(offers):
            facts = replace(entry.facts, offers=(*entry.facts.offers, *offers))
            return _choose(replace(entry, facts=facts, fetched=True))
        case Typed(offer):
            facts = replace(entry.facts, offers=(offer,))
            return replace(entry, facts=facts, stage=Stage.REACHING), Reach()
        case Declined():
            return _end(entry, End(Reason.PASSCODE_NEEDED))
        case ProofEnded(held):
            return _proof_ended(entry, held=held)
        case _:
            assert_never(event)


def _reached(entry: Entry, hint: Hint | None) -> tuple[Entry, Action]:
    facts = entry.facts
    if hint is None:
        if facts.identity is not None:
            return _end(entry, End(Reason.SERVICE_MISSING))
        return replace(entry, stage=Stage.INSIDE), UseStock()
    credential = Credential.PASSCODE
    if not any(offer.typed for offer in facts.offers):
        if facts.bonded:
            credential = Credential.BOND
        elif hint.state is State.OPEN:
            credential = Credential.OPEN
    return _say_hello(replace(entry, hellos=0), credential)


def _say_hello(entry: Entry, credential: Credential) -> tuple[Entry, Action]:
    """Greet, unless the charger's answers lead in a circle."""
    if entry.hellos == HELLOS_PER_LINK:
        return _end(entry, End(Reason.PROTOCOL))
    greeting = replace(entry, stage=Stage.GREETING, said=credential, hellos=entry.hellos + 1)
    return greeting, SayHello(credential)


def _answered(entry: Entry, params: Params) -> tuple[Entry, Action]:
    reason = _doubt(entry, params) or _doubt_of_params(entry, params)
    entry = replace(entry, params=params)
    if reason is not None:
        return _end(entry, End(reason))
    if entry.said is Credential.BOND:
        return replace(entry, stage=Stage.PROVING), Prove(Credential.BOND)
    if params.state is State.OPEN:
        if entry.said is Credential.OPEN:
            return replace(entry, stage=Stage.PROVING), Prove(Credential.OPEN)
        return _say_hello(entry, Credential.OPEN)
    if entry.said is Credential.OPEN:
        return _say_hello(entry, Credential.PASSCODE)
    if params.flags & Flag.EXHAUSTED:
        return _end(entry, End(Reason.EXHAUSTED))
    if params.flags & Flag.PAUSED:
        return _end(entry, End(Reason.PAUSED, params.retry_after_s))
    return _choose(entry)


def _doubt(entry: Entry, answer: Params | Refusal) -> Reason | None:
    """What a charger can't be: another one than was known or has answered before, or older."""
    facts = entry.facts
    identity = facts.identity or (entry.params.identity if entry.params else answer.identity)
    if answer.identity != identity:
        return Reason.OTHER_IDENTITY
    if answer.incarnation < facts.incarnation or answer.generation < facts.generation:
        return Reason.OLDER_STATE
    return None


def _doubt_of_params(entry: Entry, params: Params) -> Reason | None:
    """What else PARAMS can't say: that the passcode is gone, or something nobody asked."""
    if entry.facts.protected and params.state is not State.PROTECTED:
        return Reason.NO_LONGER_PROTECTED
    if params.state is State.UNSUPPORTED:
        return Reason.UPDATE_CHARGER
    return None if params.credential is entry.said else Reason.PROTOCOL


def _choose(entry: Entry) -> tuple[Entry, Action]:
    """Pick a passcode for what PARAMS ask, or the next source of one."""
    params, facts = entry.params, entry.facts
    assert params is not None  # noqa: S101 - only reached after PARAMS
    may_type = facts.typed_tries < TYPED_TRIES
    typed = next((offer for offer in facts.offers if offer.typed), None)
    if typed is not None and not may_type:
        return _end(entry, End(Reason.TOO_MANY_TRIES))
    if typed is not None:
        return replace(entry, stage=Stage.PROVING), Prove(Credential.PASSCODE, typed)
    ask_first = facts.ask_first and facts.person
    fitting = next((offer for offer in facts.offers if _fits(offer, params)), None)
    if fitting is not None and not ask_first and facts.automatic_tries < AUTOMATIC_TRIES:
        return replace(entry, stage=Stage.PROVING), Prove(Credential.PASSCODE, fitting)
    to_show = ask_first and fitting is not None  # what is held already is shown to the person
    if facts.account and not entry.fetched and not to_show:
        return replace(entry, stage=Stage.FETCHING), Fetch()
    if facts.person and may_type:
        return replace(entry, stage=Stage.ASKING), Ask(params.tries_left)
    if facts.person or fitting is not None:  # there is a way, but it was tried too often
        return _end(entry, End(Reason.TOO_MANY_TRIES))
    if facts.protected and facts.generation and params.generation > facts.generation:
        return _end(entry, End(Reason.CHANGED))
    return _end(entry, End(Reason.PASSCODE_NEEDED))


def _fits(offer: Offer, params: Params) -> bool:
    return offer.generation == params.generation and offer.salt == params.salt


_REFUSALS: Final = MappingProxyType(
    {
        RefusalCode.UNSUPPORTED: Reason.UPDATE_APP,
        RefusalCode.NOT_SET: Reason.PASSCODE_NOT_SET,
        RefusalCode.PASSCODE_NEEDED: Reason.PASSCODE_NEEDED,
        RefusalCode.EXHAUSTED: Reason.EXHAUSTED,
        RefusalCode.STORAGE_FAILED: Reason.CHARGER_STORAGE,
        RefusalCode.BOND_UNKNOWN: Reason.PROTOCOL,
        RefusalCode.MALFORMED: Reason.PROTOCOL,
        RefusalCode.WRONG: Reason.PROTOCOL,
        RefusalCode.CHANGED: Reason.CHANGED,
        RefusalCode.BUSY: Reason.PAUSED,
    }
)


def _was_refused(entry: Entry, refusal: Refusal) -> tuple[Entry, Action]:
    doubt = _doubt(entry, refusal)
    if doubt is not None:
        return _end(entry, End(doubt))
    match refusal.code:
        case RefusalCode.BOND_UNKNOWN if entry.said is Credential.BOND:
            return _say_hello(entry, Credential.PASSCODE)
        case RefusalCode.APP_TOO_OLD:
            return _end(entry, End(Reason.UPDATE_APP, needed=refusal.oldest_app))
        case RefusalCode.PAUSED:
            return _end(entry, End(Reason.PAUSED, refusal.retry_after_s))
        case code:
            return _end(entry, End(_REFUSALS[code], refusal.retry_after_s))


def _proof_ended(entry: Entry, *, held: bool) -> tuple[Entry, Action]:
    if held:
        return replace(entry, stage=Stage.INSIDE), Enter()
    params = entry.params
    assert params is not None  # noqa: S101 - only reached after PARAMS
    if entry.said is Credential.PASSCODE:
        return _end(entry, End(Reason.PASSCODE_WRONG, tries_left=max(0, params.tries_left - 1)))
    if entry.said is Credential.BOND:
        return _end(entry, End(Reason.BOND_UNKNOWN))
    return _end(entry, End(Reason.PROTOCOL))


def _end(entry: Entry, end: End) -> tuple[Entry, Action]:
    return replace(entry, stage=Stage.ENDED), end
