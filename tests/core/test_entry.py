from dataclasses import replace
from itertools import product

import pytest

from chargepin.core import entry
from chargepin.core.entry import (
    Answered,
    Ask,
    Declined,
    End,
    Entry,
    Event,
    Facts,
    Fetch,
    Offer,
    OutOfTurn,
    ProofEnded,
    Prove,
    Reached,
    Reason,
    Stage,
    Supplied,
    Typed,
    WasRefused,
)
from chargepin.core.identity import Credential, Flag, RefusalCode, State
from core.entry_ways import (
    ACCOUNT,
    BONDED,
    BY_BOND,
    BY_BOND_ANSWERED,
    BY_NOTHING,
    BY_PASSCODE,
    FITTING,
    HELD,
    HOLDS,
    INSIDE,
    IS_OPEN,
    KNOWN,
    NEEDED,
    NEEDED_AFTER_ALL,
    NEWER_APP,
    NO_SERVICE,
    NOT_HELD,
    OPEN,
    OPEN_ANSWERED,
    OTHER,
    PARAMS,
    PERSON,
    PROTECTED,
    REFUSAL,
    SALT,
    STAGE_AFTER,
    STRANGER,
    TO_BONDS_PROOF,
    TO_PARAMS,
    TO_PROOF,
    TYPED,
    TYPED_AGAIN,
    Way,
    refused,
    way,
)

READY = replace(HOLDS, bonded=True, account=True, person=True)  # nothing helps against a doubt
LOOKS_OPEN = Answered(replace(PARAMS, credential=Credential.BOND, state=State.OPEN))
LOOKS_OLD = Answered(replace(PARAMS, credential=Credential.BOND, state=State.UNSUPPORTED))
IMPOSTOR = Answered(replace(PARAMS, identity=OTHER))
ENDED_BY_DOUBT = [
    way("known, service missing", READY, (NO_SERVICE, End(Reason.SERVICE_MISSING))),
    way(
        "known, another identity",
        READY,
        (PROTECTED, BY_BOND),
        (IMPOSTOR, End(Reason.OTHER_IDENTITY)),
    ),
    way(
        "known, another identity refuses",
        READY,
        (PROTECTED, BY_BOND),
        (WasRefused(replace(REFUSAL, identity=OTHER)), End(Reason.OTHER_IDENTITY)),
    ),
    way(
        "known, lower generation",
        READY,
        (PROTECTED, BY_BOND),
        (Answered(replace(PARAMS, generation=4)), End(Reason.OLDER_STATE)),
    ),
    way(
        "known, lower incarnation",
        READY,
        (PROTECTED, BY_BOND),
        (Answered(replace(PARAMS, incarnation=1)), End(Reason.OLDER_STATE)),
    ),
    way(
        "known, refused from an older state",
        READY,
        (PROTECTED, BY_BOND),
        (
            WasRefused(replace(REFUSAL, code=RefusalCode.BOND_UNKNOWN, generation=4)),
            End(Reason.OLDER_STATE),
        ),
    ),
    way(
        "known, open again",
        READY,
        (OPEN, BY_BOND),
        (LOOKS_OPEN, End(Reason.NO_LONGER_PROTECTED)),
    ),
    way(
        "known, without passcodes now",
        READY,
        (OPEN, BY_BOND),
        (LOOKS_OLD, End(Reason.NO_LONGER_PROTECTED)),
    ),
    way(
        "known, open again by its hint and by its word",
        replace(KNOWN, person=True),
        (OPEN, BY_NOTHING),
        (
            Answered(replace(PARAMS, credential=Credential.OPEN, state=State.OPEN)),
            End(Reason.NO_LONGER_PROTECTED),
        ),
    ),
    way(
        "unknown, software too old for passcodes",
        PERSON,
        TO_PARAMS,
        (Answered(replace(PARAMS, state=State.UNSUPPORTED)), End(Reason.UPDATE_CHARGER)),
    ),
    way(
        "unknown, another one answers while a person typed",
        PERSON,
        TO_PARAMS,
        (NEEDED, Ask(3)),
        *TYPED_AGAIN[:2],
        (IMPOSTOR, End(Reason.OTHER_IDENTITY)),
    ),
    way(
        "unknown, another one refuses",
        replace(STRANGER, offers=(FITTING,)),
        *TO_PROOF,
        (WasRefused(replace(REFUSAL, identity=OTHER)), End(Reason.OTHER_IDENTITY)),
    ),
    way(
        "answers for a credential that nobody named",
        STRANGER,
        TO_PARAMS,
        (BY_BOND_ANSWERED, End(Reason.PROTOCOL)),
    ),
    way(
        "knows no bond that nobody named",
        STRANGER,
        TO_PARAMS,
        (refused(RefusalCode.BOND_UNKNOWN), End(Reason.PROTOCOL)),
    ),
    way(
        "open, protected, open: answers that lead in a circle",
        STRANGER,
        TO_PARAMS,
        (Answered(IS_OPEN), BY_NOTHING),
        (NEEDED_AFTER_ALL, BY_PASSCODE),
        (Answered(IS_OPEN), End(Reason.PROTOCOL)),
    ),
]


def refusals(code: RefusalCode, end: End) -> list[Way]:
    """The same refusal of HELLO and of a share."""
    event = WasRefused(replace(REFUSAL, code=code, retry_after_s=7, oldest_app=NEWER_APP))
    return [
        way(f"{code.name} after HELLO", HOLDS, TO_PARAMS, (event, end)),
        way(f"{code.name} after the share", HOLDS, *TO_PROOF, (event, end)),
    ]


ENDED_BY_REFUSAL = [
    *refusals(RefusalCode.APP_TOO_OLD, End(Reason.UPDATE_APP, needed=NEWER_APP)),
    *refusals(RefusalCode.UNSUPPORTED, End(Reason.UPDATE_APP, 7)),
    *refusals(RefusalCode.NOT_SET, End(Reason.PASSCODE_NOT_SET, 7)),
    *refusals(RefusalCode.PASSCODE_NEEDED, End(Reason.PASSCODE_NEEDED, 7)),
    *refusals(RefusalCode.PAUSED, End(Reason.PAUSED, 7)),
    *refusals(RefusalCode.EXHAUSTED, End(Reason.EXHAUSTED, 7)),
    *refusals(RefusalCode.STORAGE_FAILED, End(Reason.CHARGER_STORAGE, 7)),
    *refusals(RefusalCode.MALFORMED, End(Reason.PROTOCOL, 7)),
    *refusals(RefusalCode.WRONG, End(Reason.PROTOCOL, 7)),
    *refusals(RefusalCode.CHANGED, End(Reason.CHANGED, 7)),
    *refusals(RefusalCode.BUSY, End(Reason.PAUSED, 7)),
    *refusals(RefusalCode.BOND_UNKNOWN, End(Reason.PROTOCOL, 7)),
]
PAUSED = Answered(replace(PARAMS, flags=Flag.PAUSED, retry_after_s=30))
EXHAUSTED = Answered(replace(PARAMS, flags=Flag.EXHAUSTED))
NEW_GENERATION = Answered(replace(PARAMS, generation=6))
NEW_SALT = Answered(replace(PARAMS, salt=b"t" * 16))
ENDED_OTHERWISE = [
    way(
        "paused: nobody is asked, nothing is tried",
        replace(HOLDS, account=True, person=True),
        TO_PARAMS,
        (PAUSED, End(Reason.PAUSED, 30)),
    ),
    way(
        "exhausted: nobody is asked, nothing is tried",
        replace(HOLDS, account=True, person=True),
        TO_PARAMS,
        (EXHAUSTED, End(Reason.EXHAUSTED)),
    ),
    way(
        "nothing held and nobody there",
        STRANGER,
        TO_PARAMS,
        (NEEDED, End(Reason.PASSCODE_NEEDED)),
    ),
    way(
        "the account has none and nobody is there",
        ACCOUNT,
        TO_PARAMS,
        (NEEDED, Fetch()),
        (Supplied((Offer(4, SALT),)), End(Reason.PASSCODE_NEEDED)),
    ),
    way(
        "changed by somebody else, nobody to ask",
        HOLDS,
        TO_PARAMS,
        (NEW_GENERATION, End(Reason.CHANGED)),
    ),
    way(
        "of the generation known, but under another salt: not tried",
        HOLDS,
        TO_PARAMS,
        (NEW_SALT, End(Reason.PASSCODE_NEEDED)),
    ),
    way(
        "the person declines",
        PERSON,
        TO_PARAMS,
        (NEEDED, Ask(3)),
        (Declined(), End(Reason.PASSCODE_NEEDED)),
    ),
    way(
        "wrong passcode",
        HOLDS,
        *TO_PROOF,
        (NOT_HELD, End(Reason.PASSCODE_WRONG, tries_left=2)),
    ),
    way(
        "wrong passcode at the last try",
        HOLDS,
        TO_PARAMS,
        (Answered(replace(PARAMS, tries_left=0)), Prove(Credential.PASSCODE, FITTING)),
        (NOT_HELD, End(Reason.PASSCODE_WRONG, tries_left=0)),
    ),
    way("bond not confirmed", BONDED, *TO_BONDS_PROOF, (NOT_HELD, End(Reason.BOND_UNKNOWN))),
    way(
        "open charger not confirmed",
        STRANGER,
        (OPEN, BY_NOTHING),
        (OPEN_ANSWERED, Prove(Credential.OPEN)),
        (NOT_HELD, End(Reason.PROTOCOL)),
    ),
    way(
        "three automatic tries, nobody there",
        replace(HOLDS, automatic_tries=3),
        TO_PARAMS,
        (NEEDED, End(Reason.TOO_MANY_TRIES)),
    ),
    way(
        "twenty typed tries: not asked again",
        replace(KNOWN, person=True, typed_tries=20),
        TO_PARAMS,
        (NEEDED, End(Reason.TOO_MANY_TRIES)),
    ),
    way(
        "twenty typed tries: one given from outside is not tried, as automatic ones neither",
        replace(KNOWN, offers=(TYPED,), typed_tries=20),
        TO_PARAMS,
        (NEEDED, End(Reason.TOO_MANY_TRIES)),
    ),
]
WAYS = [*INSIDE, *ENDED_BY_DOUBT, *ENDED_BY_REFUSAL, *ENDED_OTHERWISE]
AT_THE_LIMIT = [
    way(
        "third automatic try",
        replace(HOLDS, automatic_tries=2),
        *TO_PROOF,
    ),
    way(
        "twentieth typed try",
        replace(PERSON, typed_tries=19),
        TO_PARAMS,
        (NEEDED, Ask(3)),
        *TYPED_AGAIN,
    ),
]


@pytest.mark.parametrize("path", [*WAYS, *AT_THE_LIMIT], ids=lambda path: path.name)
def test_each_event_on_the_way_is_followed_by_its_action(path: Way) -> None:
    now = Entry(path.facts)
    for event, expected in path.steps:
        now, action = entry.step(now, event)
        assert action == expected
        assert now.stage is STAGE_AFTER[type(action)]


def test_every_way_ends_inside_or_with_a_reason() -> None:
    assert {STAGE_AFTER[type(path.steps[-1][1])] for path in WAYS} == {Stage.INSIDE, Stage.ENDED}


def test_every_reason_is_reached() -> None:
    ends = [path.steps[-1][1] for path in WAYS]
    assert {end.reason for end in ends if isinstance(end, End)} == set(Reason)


def test_every_refusal_of_the_wire_has_a_way() -> None:
    codes = {
        event.refusal.code
        for path in WAYS
        for event, _ in path.steps
        if isinstance(event, WasRefused)
    }
    assert codes == set(RefusalCode)


def test_nothing_is_proved_to_a_known_charger_in_doubt() -> None:
    known = [path for path in ENDED_BY_DOUBT if path.facts.identity is not None]
    assert len(known) == 9
    assert not any(isinstance(action, Prove) for path in known for _, action in path.steps)


def test_a_stranger_knows_nothing() -> None:
    nothing = Facts(None, 0, 0, protected=False, bonded=False, offers=())
    assert replace(nothing, automatic_tries=0, typed_tries=0) == STRANGER
    assert not any((STRANGER.account, STRANGER.person, STRANGER.ask_first))


# ---- the table of transitions -----------------------------------------------------------------

SAMPLES: dict[type[Event], Event] = {
    Reached: PROTECTED,
    Answered: NEEDED,
    WasRefused: refused(RefusalCode.WRONG),
    Supplied: Supplied(()),
    Typed: Typed(TYPED),
    Declined: Declined(),
    ProofEnded: HELD,
}
OUT_OF_TURN = [pair for pair in product(Stage, SAMPLES) if pair not in entry.TRANSITIONS]


def test_every_transition_of_the_table_happens_and_no_other() -> None:
    happened = set()
    for path in WAYS:
        now = Entry(path.facts)
        for event, _ in path.steps:
            before = now.stage
            now, _ = entry.step(now, event)
            happened.add((before, type(event), now.stage))
    table = {
        (source, event, target)
        for (source, event), targets in entry.TRANSITIONS.items()
        for target in targets
    }
    assert happened == table


@pytest.mark.parametrize(
    ("stage", "event"), OUT_OF_TURN, ids=lambda value: getattr(value, "__name__", str(value))
)
def test_every_event_that_the_table_does_not_list_is_out_of_turn(
    stage: Stage, event: type[Event]
) -> None:
    with pytest.raises(OutOfTurn, match=f"{event.__name__} while {stage.value}"):
        entry.step(Entry(HOLDS, stage, PARAMS), SAMPLES[event])
