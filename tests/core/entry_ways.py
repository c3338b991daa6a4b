"""The ways of an app to a charger, event by event, and those that lead inside."""

from dataclasses import dataclass, replace

from chargepin.core.catalogue import Version
from chargepin.core.entry import (
    Action,
    Answered,
    Ask,
    End,
    Enter,
    Event,
    Facts,
    Fetch,
    Offer,
    ProofEnded,
    Prove,
    Reach,
    Reached,
    SayHello,
    Stage,
    Supplied,
    Typed,
    UseStock,
    WasRefused,
)
from chargepin.core.identity import Credential, Flag, Hint, Params, Refusal, RefusalCode, State

NEWER_APP = Version(9, 0, 0)
IDENTITY, OTHER = b"i" * 32, b"o" * 32
SALT = b"s" * 16
PARAMS = Params(
    credential=Credential.PASSCODE,
    state=State.PROTECTED,
    flags=Flag(0),
    identity=IDENTITY,
    incarnation=2,
    generation=5,
    profile=1,
    salt=SALT,
    retry_after_s=0,
    tries_left=3,
    software=Version(6, 7, 17),
    oldest_app=Version(1, 0, 0),
    serial="123456",
    nonce=bytes(16),
)
REFUSAL = Refusal(
    code=RefusalCode.WRONG,
    identity=IDENTITY,
    incarnation=2,
    generation=5,
    retry_after_s=0,
    oldest_app=Version(1, 0, 0),
)

PROTECTED = Reached(Hint(State.PROTECTED, 5, bytes(8)))
OPEN = Reached(Hint(State.OPEN, 0, bytes(8)))
NO_SERVICE = Reached(None)

FITTING = Offer(5, SALT)
TYPED = Offer(5, SALT, typed=True)
STRANGER = Facts()
KNOWN = Facts(identity=IDENTITY, generation=5, incarnation=2, protected=True)
BONDED = replace(KNOWN, bonded=True)
HOLDS = replace(KNOWN, offers=(Offer(4, SALT), FITTING))

BY_PASSCODE = SayHello(Credential.PASSCODE)
BY_BOND = SayHello(Credential.BOND)
BY_NOTHING = SayHello(Credential.OPEN)
HELD, NOT_HELD = ProofEnded(held=True), ProofEnded(held=False)


NEEDED = Answered(PARAMS)
BY_BOND_ANSWERED = Answered(replace(PARAMS, credential=Credential.BOND, flags=Flag.BOND_KNOWN))
IS_OPEN = replace(PARAMS, state=State.OPEN, profile=0, generation=0)
OPEN_ANSWERED = Answered(replace(IS_OPEN, credential=Credential.OPEN))
NEEDED_AFTER_ALL = Answered(replace(PARAMS, credential=Credential.OPEN))


def refused(code: RefusalCode, retry_after_s: int = 0) -> WasRefused:
    return WasRefused(replace(REFUSAL, code=code, retry_after_s=retry_after_s))


@dataclass(frozen=True)
class Way:
    """A charger's and a person's doings, each with the action that follows."""

    name: str
    facts: Facts
    steps: tuple[tuple[Event, Action], ...]


def way(name: str, facts: Facts, *steps: tuple[Event, Action]) -> Way:
    return Way(name, facts, steps)


STAGE_AFTER: dict[type[Action], Stage] = {
    Reach: Stage.REACHING,
    SayHello: Stage.GREETING,
    Fetch: Stage.FETCHING,
    Ask: Stage.ASKING,
    Prove: Stage.PROVING,
    UseStock: Stage.INSIDE,
    Enter: Stage.INSIDE,
    End: Stage.ENDED,
}
PERSON = replace(STRANGER, person=True)
ACCOUNT = replace(STRANGER, account=True)
TO_PARAMS = (PROTECTED, BY_PASSCODE)
TO_PROOF = (TO_PARAMS, (NEEDED, Prove(Credential.PASSCODE, FITTING)))
TO_BONDS_PROOF = ((PROTECTED, BY_BOND), (BY_BOND_ANSWERED, Prove(Credential.BOND)))
BOND_FORGOTTEN = ((PROTECTED, BY_BOND), (refused(RefusalCode.BOND_UNKNOWN), BY_PASSCODE))
TYPED_AGAIN = ((Typed(TYPED), Reach()), TO_PARAMS, (NEEDED, Prove(Credential.PASSCODE, TYPED)))

INSIDE = [
    way("no passcode service, none ever seen", STRANGER, (NO_SERVICE, UseStock())),
    way(
        "open charger",
        STRANGER,
        (OPEN, BY_NOTHING),
        (OPEN_ANSWERED, Prove(Credential.OPEN)),
        (HELD, Enter()),
    ),
    way(
        "open charger whose hint said protected",
        STRANGER,
        TO_PARAMS,
        (Answered(IS_OPEN), BY_NOTHING),
        (OPEN_ANSWERED, Prove(Credential.OPEN)),
        (HELD, Enter()),
    ),
    way(
        "protected charger whose hint said open",
        HOLDS,
        (OPEN, BY_NOTHING),
        (NEEDED_AFTER_ALL, BY_PASSCODE),
        *TO_PROOF[1:],
        (HELD, Enter()),
    ),
    way("bond", BONDED, *TO_BONDS_PROOF, (HELD, Enter())),
    way(
        "bond, in spite of a pause",
        BONDED,
        (PROTECTED, BY_BOND),
        (
            Answered(replace(PARAMS, credential=Credential.BOND, flags=Flag.PAUSED)),
            Prove(Credential.BOND),
        ),
        (HELD, Enter()),
    ),
    way("passcode that fits", HOLDS, *TO_PROOF, (HELD, Enter())),
    way(
        "bond forgotten, passcode held",
        replace(HOLDS, bonded=True),
        *BOND_FORGOTTEN,
        *TO_PROOF[1:],
        (HELD, Enter()),
    ),
    way(
        "bond forgotten while it was proved",
        replace(HOLDS, bonded=True),
        *TO_BONDS_PROOF,
        (refused(RefusalCode.BOND_UNKNOWN), BY_PASSCODE),
        *TO_PROOF[1:],
        (HELD, Enter()),
    ),
    way(
        "passcode from the account",
        replace(KNOWN, account=True),
        TO_PARAMS,
        (NEEDED, Fetch()),
        (Supplied((FITTING,)), Prove(Credential.PASSCODE, FITTING)),
        (HELD, Enter()),
    ),
    way("typed", PERSON, TO_PARAMS, (NEEDED, Ask(3)), *TYPED_AGAIN, (HELD, Enter())),
    way(
        "open, then protected, then typed: each link begins anew",
        PERSON,
        TO_PARAMS,
        (Answered(IS_OPEN), BY_NOTHING),
        (NEEDED_AFTER_ALL, BY_PASSCODE),
        (NEEDED, Ask(3)),
        *TYPED_AGAIN,
        (HELD, Enter()),
    ),
    way(
        "account has none, so a person is asked",
        replace(ACCOUNT, person=True),
        TO_PARAMS,
        (NEEDED, Fetch()),
        (Supplied(()), Ask(3)),
        *TYPED_AGAIN,
        (HELD, Enter()),
    ),
    way(
        "bond forgotten, then typed: the bond is not shown again",
        replace(BONDED, person=True),
        *BOND_FORGOTTEN,
        (NEEDED, Ask(3)),
        *TYPED_AGAIN,
        (HELD, Enter()),
    ),
    way(
        "asked once although the passcode is held",
        replace(HOLDS, ask_first=True, person=True, account=True),
        TO_PARAMS,
        (NEEDED, Ask(3)),
        *TYPED_AGAIN,
        (HELD, Enter()),
    ),
    way(
        "asked once although the account has the passcode: it is fetched to be shown",
        replace(KNOWN, ask_first=True, person=True, account=True),
        TO_PARAMS,
        (NEEDED, Fetch()),
        (Supplied((FITTING,)), Ask(3)),
        *TYPED_AGAIN,
        (HELD, Enter()),
    ),
    way(
        "nobody to ask first, so what is held is taken",
        replace(HOLDS, ask_first=True),
        *TO_PROOF,
        (HELD, Enter()),
    ),
    way(
        "enough automatic tries, so a person is asked",
        replace(HOLDS, automatic_tries=3, person=True),
        TO_PARAMS,
        (NEEDED, Ask(3)),
        *TYPED_AGAIN,
        (HELD, Enter()),
    ),
    way(
        "a passcode given from outside goes before the bond",
        replace(BONDED, offers=(TYPED,)),
        *TYPED_AGAIN[1:],
        (HELD, Enter()),
    ),
    way(
        "a higher incarnation and generation are no reason to stop",
        replace(HOLDS, generation=1, incarnation=1),
        *TO_PROOF,
        (HELD, Enter()),
    ),
]
