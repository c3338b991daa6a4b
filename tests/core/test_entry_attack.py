"""An app against a charger that answers whatever it likes."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from chargepin.core import entry
from chargepin.core.entry import (
    HELLOS_PER_LINK,
    Action,
    Answered,
    Ask,
    End,
    Enter,
    Entry,
    Event,
    Facts,
    Fetch,
    Offer,
    ProofEnded,
    Prove,
    Reach,
    Reached,
    SayHello,
    Supplied,
    Typed,
    UseStock,
    WasRefused,
)
from chargepin.core.identity import Credential, Flag, Hint, RefusalCode, State
from core.entry_ways import IDENTITY, OTHER, PARAMS, REFUSAL, SALT

SALTS = st.sampled_from([SALT, b"t" * 16])
GENERATIONS = st.integers(0, 3)
OFFERS = st.lists(st.builds(Offer, GENERATIONS, SALTS), max_size=3).map(tuple)
FACTS = st.builds(
    Facts,
    identity=st.sampled_from([IDENTITY, None]),
    generation=st.integers(0, 2),
    incarnation=st.integers(0, 1),
    protected=st.booleans(),
    bonded=st.booleans(),
    offers=OFFERS,
    account=st.booleans(),
    person=st.booleans(),
    ask_first=st.booleans(),
    automatic_tries=st.integers(0, 4),
    typed_tries=st.integers(18, 21),
)
ANSWERS = st.builds(
    lambda credential, state, flags, identity, incarnation, generation, salt: replace(
        PARAMS,
        credential=credential,
        state=state,
        flags=flags,
        identity=identity,
        incarnation=incarnation,
        generation=generation,
        salt=salt,
    ),
    st.sampled_from(Credential),
    st.sampled_from([State.PROTECTED, State.PROTECTED, State.OPEN, State.UNSUPPORTED]),
    st.sampled_from([Flag(0), Flag(0), Flag.PAUSED, Flag.EXHAUSTED]),
    st.sampled_from([IDENTITY, IDENTITY, IDENTITY, OTHER]),
    st.integers(0, 2),
    GENERATIONS,
    SALTS,
)
REFUSALS = st.builds(
    lambda code, identity, generation: replace(
        REFUSAL, code=code, identity=identity, generation=generation
    ),
    st.sampled_from([*RefusalCode, *[RefusalCode.BOND_UNKNOWN] * 12]),
    st.sampled_from([IDENTITY, IDENTITY, OTHER]),
    GENERATIONS,
)
HINTS = st.builds(Hint, st.sampled_from(State), GENERATIONS, st.just(bytes(8)))


def charger_or_person(data: st.DataObject, now: Entry, action: Action) -> Event:
    """What may come back after an action."""
    answers = st.builds(Answered, ANSWERS)
    refusals = st.builds(WasRefused, REFUSALS)
    match action:
        case Reach():
            return data.draw(st.builds(Reached, st.none() | HINTS))
        case SayHello(credential):
            echoed = answers.map(lambda a: Answered(replace(a.params, credential=credential)))
            return data.draw(echoed | answers | refusals)
        case Fetch():
            return data.draw(st.builds(Supplied, OFFERS))
        case Ask():
            assert now.params is not None
            return Typed(Offer(now.params.generation, now.params.salt, typed=True))
        case Prove():
            return data.draw(st.builds(ProofEnded, st.booleans()) | refusals)
        case _:
            raise AssertionError(action)


def check(facts: Facts, now: Entry, action: Action) -> None:
    if isinstance(action, SayHello):
        assert now.hellos <= HELLOS_PER_LINK
        assert action.credential is not Credential.BOND or facts.bonded
    if isinstance(action, Ask):
        assert facts.person
        assert facts.typed_tries < entry.TYPED_TRIES
    if isinstance(action, Fetch):
        assert facts.account
    if isinstance(action, UseStock):
        assert facts.identity is None
    if isinstance(action, Prove):
        assert now.params is not None
        assert action.credential is now.params.credential is now.said
        check_proof(facts, now, action)


def check_proof(facts: Facts, now: Entry, action: Prove) -> None:
    """A secret is used only for the charger that was known, no older than it was."""
    params, offer = now.params, action.offer
    assert params is not None
    if facts.identity is not None:
        assert params.identity == facts.identity
    assert params.generation >= facts.generation
    assert params.incarnation >= facts.incarnation
    assert not (facts.protected and params.state is not State.PROTECTED)
    if action.credential is not Credential.PASSCODE:
        return
    assert offer is not None
    assert not params.flags & (Flag.PAUSED | Flag.EXHAUSTED)
    if offer.typed:
        assert facts.typed_tries < entry.TYPED_TRIES
    else:
        assert (offer.generation, offer.salt) == (params.generation, params.salt)
        assert facts.automatic_tries < entry.AUTOMATIC_TRIES
        assert not (facts.ask_first and facts.person)


@given(FACTS, st.data())
def test_whatever_a_charger_answers_the_app_ends_and_gives_no_secret_away(
    facts: Facts, data: st.DataObject
) -> None:
    now, names, proofs = Entry(facts), set(), 0
    action: Action = Reach()
    for _ in range(20):
        event = charger_or_person(data, now, action)
        now, action = entry.step(now, event)
        check(facts, now, action)
        if isinstance(action, Prove):
            assert now.params is not None
            names.add(now.params.identity)
            proofs += action.credential is Credential.PASSCODE
        if isinstance(action, UseStock | Enter | End):
            break
    else:
        raise AssertionError("no end")
    assert len(names) <= 1
    assert proofs <= 1
