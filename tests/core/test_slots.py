from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from chargepin.core.slots import (
    CAPACITY,
    ENDS_S,
    PAIRING_ENDS_S,
    SAFE_PAIRING_S,
    SAFE_S,
    SAFE_TAGGED_S,
    Decision,
    Slot,
    decide,
)


def house(*opened_s: float) -> list[Slot]:
    return [Slot(number, opened) for number, opened in enumerate(opened_s)]


def test_the_figures_are_the_designs() -> None:
    assert (CAPACITY, SAFE_S, SAFE_TAGGED_S, ENDS_S) == (7, 3.0, 15.0, 15.0)
    assert (SAFE_PAIRING_S, PAIRING_ENDS_S) == (30.0, 60.0)


def test_an_empty_house_advertises() -> None:
    assert decide([], 0.0) == Decision((), advertise=True, again_s=None)


def test_while_a_slot_is_free_the_charger_advertises_and_drops_nobody() -> None:
    assert decide(house(0.0, 1.0), 2.0) == Decision((), advertise=True, again_s=3.0)


def test_an_unproved_link_ends_at_15_s() -> None:
    assert decide(house(0.0), 14.9) == Decision((), advertise=True, again_s=15.0)
    assert decide(house(0.0), 15.0) == Decision((0,), advertise=True, again_s=None)


def test_a_link_that_pairs_in_a_window_has_time_for_a_person() -> None:
    slot = Slot(1, opened_s=0.0, pairing_s=14.0)
    assert slot.safe_until_s == 14.0 + SAFE_PAIRING_S
    assert slot.ends_s == PAIRING_ENDS_S
    assert decide([slot], 59.9) == Decision((), advertise=True, again_s=PAIRING_ENDS_S)
    assert decide([slot], 60.0) == Decision((1,), advertise=True, again_s=None)
    tagged = Slot(1, opened_s=0.0, tagged=True, pairing_s=-20.0)
    assert tagged.safe_until_s == 15.0


def test_a_proved_link_never_ends() -> None:
    slots = [Slot(1, 0.0, proved=True)]
    assert decide(slots, 1e6) == Decision((), advertise=True, again_s=None)


def test_a_full_house_of_safe_links_is_silent_until_the_first_is_past_its_time() -> None:
    slots = house(*(number / 10 for number in range(CAPACITY)))
    assert decide(slots, 2.9) == Decision((), advertise=False, again_s=SAFE_S)
    assert decide(slots, 3.0).advertise


def test_a_newcomer_to_a_full_house_displaces_the_oldest_link_past_its_safe_time() -> None:
    slots = house(1.0, 0.0, 2.0)
    decision = decide([*slots, Slot(9, 4.0)], 4.0, capacity=3)
    assert decision == Decision((1,), advertise=True, again_s=5.0)


def test_after_the_last_displaceable_link_went_the_charger_is_silent_again() -> None:
    slots = house(0.0, 3.0, 3.5)
    decision = decide([*slots, Slot(9, 4.0)], 4.0, capacity=3)
    assert decision == Decision((0,), advertise=False, again_s=6.0)


def test_where_all_are_safe_the_newcomer_goes() -> None:
    slots = house(1.0, 1.5, 2.0)
    decision = decide([*slots, Slot(9, 2.5)], 2.5, capacity=3)
    assert decision == Decision((9,), advertise=False, again_s=4.0)


def test_a_proved_link_is_never_displaced() -> None:
    slots = [Slot(1, 0.0, proved=True), Slot(2, 1.0, proved=True), Slot(9, 50.0)]
    assert decide(slots, 50.0, capacity=2) == Decision((9,), advertise=False, again_s=None)
    late = [Slot(1, 0.0), Slot(2, 1.0), Slot(9, 2.0, proved=True)]
    assert decide(late, 2.0, capacity=2).drop == (2,)


def test_a_valid_tag_makes_a_link_safe_for_as_long_as_it_may_last() -> None:
    tagged = Slot(1, 0.0, tagged=True)
    slots = [tagged, Slot(2, 1.0), Slot(9, 10.0)]
    assert decide(slots, 10.0, capacity=2).drop == (2,)
    assert decide([tagged], 10.0, capacity=1) == Decision((), advertise=False, again_s=15.0)
    assert decide([tagged], 15.0).drop == (1,)


def test_several_too_many_go_at_once() -> None:
    slots = house(0.0, 9.0, 9.1, 9.2)
    assert decide(slots, 10.0, capacity=1).drop == (0, 3, 2)


def test_where_one_phone_at_a_time_is_served_it_has_its_time() -> None:
    first = house(0.0)
    assert decide(first, 14.9, capacity=1) == Decision((), advertise=False, again_s=15.0)
    assert decide(first, 15.0, capacity=1) == Decision((0,), advertise=True, again_s=None)
    proved = [Slot(1, 0.0, proved=True)]
    assert decide(proved, 1e6, capacity=1) == Decision((), advertise=False, again_s=None)


SLOTS = st.lists(
    st.builds(
        Slot,
        link=st.integers(),
        opened_s=st.integers(0, 40).map(float),
        proved=st.booleans(),
        tagged=st.booleans(),
    ),
    unique_by=lambda slot: slot.link,
    max_size=12,
)


@given(SLOTS, st.integers(1, 8))
def test_whatever_is_held_the_rules_hold(slots: Sequence[Slot], capacity: int) -> None:
    now_s = 40.0
    decision = decide(slots, now_s, capacity)
    dropped = [slot for slot in slots if slot.link in decision.drop]
    left = [slot for slot in slots if slot.link not in decision.drop]
    assert len(set(decision.drop)) == len(decision.drop)
    assert not any(slot.proved for slot in dropped)
    assert not any(slot.ends_s <= now_s for slot in left if not slot.proved)
    assert len(left) <= max(capacity, sum(slot.proved for slot in slots))
    room = len(left) < capacity
    past = capacity > 1 and any(not slot.proved and slot.safe_until_s <= now_s for slot in left)
    assert decision.advertise == (room or past)
    assert decision.again_s is None or now_s < decision.again_s <= now_s + ENDS_S


def test_an_owner_is_in_within_30_s_against_nine_of_ten_chances_lost() -> None:
    """An attacker holds every link and takes nine of ten adverts; each event 100 ms apart."""
    held = house(*([0.0] * CAPACITY))
    now_s, chances, link = 0.0, 0, CAPACITY
    while True:
        now_s += 0.1
        decision = decide(held, now_s)
        held = [slot for slot in held if slot.link not in decision.drop]
        if not decision.advertise:
            continue
        chances += 1
        link += 1
        held.append(Slot(link, now_s))
        dropped = decide(held, now_s).drop
        held = [slot for slot in held if slot.link not in dropped]
        if chances == 10:
            break
    assert held[-1].link == link  # the tenth is the owner, who now has three seconds
    assert now_s + SAFE_S < 30.0
