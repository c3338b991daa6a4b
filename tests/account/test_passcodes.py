import asyncio
import logging
from typing import Any

import msgspec
import pytest

from account.world import Someone, Unit, World, new_unit, ok, problem
from chargepin.account.api import Settings
from chargepin.account.custody import RevealLimits
from chargepin.core.passcode import entered
from shown import shows


async def owner_of(world: World) -> tuple[Someone, Unit]:
    ann, unit = await world.sign_up("ann"), new_unit()
    await ann.claim(unit)
    return ann, unit


async def view(someone: Someone, unit: Unit) -> dict[str, Any]:
    views = (await someone.get("/v1/chargers"))["chargers"]
    return next(v for v in views if v["id"] == unit.id)


async def assigning(someone: Someone, unit: Unit, **body: object) -> tuple[int, str]:
    response = await someone.ask(
        "POST", f"/v1/chargers/{unit.id}/passcode/assign", {"expected_generation": 0, **body}
    )
    return problem(response)


async def test_a_passcode_is_pending_until_the_charger_s_receipt(world: World) -> None:
    ann, unit = await owner_of(world)
    assert (await view(ann, unit))["passcode_state"] == "none"
    assert await ann.passcodes(unit) == []

    kept = await ann.assign(unit)
    assert entered(kept.passcode).digits == kept.passcode
    assert (kept.generation, kept.state, kept.profile) == (1, "pending", 1)
    assert len(bytes.fromhex(kept.salt)) == 16
    assert kept.owner_token is not None
    assert len(bytes.fromhex(kept.owner_token)) == 32
    before = await view(ann, unit)
    assert (before["passcode_state"], before["reached"], before["generation"]) == (
        "pending",
        False,
        0,
    )

    after = await ann.post(f"/v1/chargers/{unit.id}/passcode/receipt", unit.receipt(kept))
    assert (after["passcode_state"], after["reached"], after["generation"]) == ("active", True, 1)
    (shown,) = await ann.passcodes(unit)
    assert shown == {**msgspec.to_builtins(kept), "state": "active"}


async def test_assigning_again_gives_the_same_until_the_receipt(world: World) -> None:
    ann, unit = await owner_of(world)
    first = await ann.assign(unit)
    assert await ann.assign(unit) == first
    await world.restart()
    ann.http = world.http
    assert await ann.assign(unit) == first
    answers = await asyncio.gather(*(ann.assign(unit) for _ in range(5)))
    assert set(answers) == {first}


async def test_assigning_twice_at_once_draws_once(world: World) -> None:
    ann, unit = await owner_of(world)
    answers = await asyncio.gather(*(ann.assign(unit) for _ in range(4)))
    assert len(set(answers)) == 1
    assert len(await ann.passcodes(unit)) == 1


async def test_both_are_shown_while_a_rotation_has_not_reached_the_charger(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.member(ann, unit, "bob", "user")
    old = await ann.assign_and_confirm(unit)
    new = await ann.assign(unit)
    assert new.generation == 2
    assert new.passcode != old.passcode or new.salt != old.salt
    for someone in (ann, bob):
        shown = await someone.passcodes(unit)
        assert [(k["generation"], k["state"]) for k in shown] == [(2, "pending"), (1, "active")]
        assert [k["passcode"] for k in shown] == [new.passcode, old.passcode]
    await ann.post(f"/v1/chargers/{unit.id}/passcode/receipt", unit.receipt(new))
    assert [k["passcode"] for k in await bob.passcodes(unit)] == [new.passcode]


async def test_only_owners_get_the_owner_token(world: World) -> None:
    ann, unit = await owner_of(world)
    kept = await ann.assign_and_confirm(unit)
    for person, role in (("bob", "user"), ("carol", "admin")):
        someone = await world.member(ann, unit, person, role)
        (shown,) = await someone.passcodes(unit)
        assert "owner_token" not in shown
        assert shown["passcode"] == kept.passcode
    assert (await ann.passcodes(unit))[0]["owner_token"] == kept.owner_token


async def test_any_user_may_bring_the_receipt_and_again(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.member(ann, unit, "bob", "user")
    kept = await ann.assign(unit)
    receipt = unit.receipt(kept)
    for someone in (bob, ann, bob):
        after = await someone.post(f"/v1/chargers/{unit.id}/passcode/receipt", receipt)
        assert after["passcode_state"] == "active"
    audit = (await ann.get(f"/v1/chargers/{unit.id}/audit"))["entries"]
    assert [entry["event"] for entry in audit].count("passcode_active") == 1


@pytest.mark.parametrize("chosen", ["123456", 123456, None, {"digits": "123456"}])
async def test_a_passcode_is_never_chosen(world: World, chosen: object) -> None:
    ann, unit = await owner_of(world)
    assert await assigning(ann, unit, passcode=chosen) == (400, "assigned_for_you")
    assert (await view(ann, unit))["passcode_state"] == "none"


async def test_a_generation_that_is_not_the_charger_s_is_refused(world: World) -> None:
    ann, unit = await owner_of(world)
    for wrong in (1, 5, 2**32 - 1):
        assert await assigning(ann, unit, expected_generation=wrong) == (409, "changed")
    kept = await ann.assign_and_confirm(unit)
    assert await assigning(ann, unit, expected_generation=0) == (409, "changed")
    assert [k["generation"] for k in await ann.passcodes(unit)] == [kept.generation]


async def test_a_pending_passcode_s_receipt_is_asked_for_first(world: World) -> None:
    ann, unit = await owner_of(world)
    await ann.assign(unit)
    response = await ann.ask(
        "POST", f"/v1/chargers/{unit.id}/passcode/assign", {"expected_generation": 1}
    )
    assert problem(response) == (409, "changed")
    assert "receipt" in response.text


async def test_the_identity_may_be_named_and_must_then_be_right(world: World) -> None:
    ann, unit = await owner_of(world)
    assert await assigning(ann, unit, identity=new_unit().id) == (400, "malformed")
    body = {"expected_generation": 0, "identity": unit.id}
    ok(await ann.ask("POST", f"/v1/chargers/{unit.id}/passcode/assign", body))


async def test_an_account_never_has_one_passcode_twice(world: World) -> None:
    drawn = iter([7, 7, 7, 8, 7])
    world.randbelow = lambda _: next(drawn)
    await world.restart()
    ann, unit = await owner_of(world)
    other = new_unit()
    await ann.claim(other)
    first, second = await ann.assign(unit), await ann.assign(other)
    assert first.passcode == "100007"
    assert second.passcode == "100008"
    bob, third = await world.sign_up("bob"), new_unit()
    await bob.claim(third)
    assert (await bob.assign(third)).passcode == "100007"  # another account's is no matter


async def test_receipts_that_are_none(world: World) -> None:
    ann, unit = await owner_of(world)
    kept = await ann.assign(unit)
    good = Unit(unit.key).receipt(kept)
    forger = Unit(new_unit().key, generation=kept.generation)
    path = f"/v1/chargers/{unit.id}/passcode/receipt"

    async def brought(receipt: dict[str, str]) -> tuple[int, str]:
        return problem(await ann.ask("POST", path, receipt))

    flipped = f"{int(good['receipt'][:2], 16) ^ 1:02x}" + good["receipt"][2:]
    assert await brought({**good, "receipt": flipped}) == (422, "receipt_invalid")
    assert await brought({**good, "receipt": good["receipt"] + "00"}) == (422, "receipt_invalid")
    assert await brought({**good, "receipt": "00"}) == (422, "receipt_invalid")
    assert await brought({**good, "signature": "00" * 64}) == (422, "receipt_invalid")
    assert await brought({**good, "signature": "00" * 63}) == (400, "malformed")
    assert await brought({**good, "receipt": "zz"}) == (400, "malformed")
    # well signed, but by another charger
    assert await brought(forger.receipt(kept)) == (422, "receipt_invalid")
    # well signed, but for a passcode, a generation or an incarnation that is not the account's
    assert await brought(Unit(unit.key, generation=1).signed(bytes(32))) == (409, "changed")
    assert await brought(Unit(unit.key, generation=2).signed(bytes(32))) == (409, "changed")
    reborn = Unit(unit.key, incarnation=2)
    assert await brought(reborn.receipt(kept)) == (409, "changed")
    assert (await view(ann, unit))["passcode_state"] == "pending"
    ok(await ann.ask("POST", path, good))


async def test_a_rotation_is_needed_until_a_passcode_nobody_removed_knows(world: World) -> None:
    ann, unit = await owner_of(world)
    await world.member(ann, unit, "bob", "user")
    await ann.assign_and_confirm(unit)
    pending = await ann.assign(unit)  # bob can read this one too
    assert not (await view(ann, unit))["rotation_needed"]
    await ann.delete(f"/v1/chargers/{unit.id}/members/bob")
    assert (await view(ann, unit))["rotation_needed"]
    await ann.post(f"/v1/chargers/{unit.id}/passcode/receipt", unit.receipt(pending))
    assert (await view(ann, unit))["rotation_needed"]
    await ann.assign_and_confirm(unit)
    assert not (await view(ann, unit))["rotation_needed"]


async def test_reveals_are_limited_per_person_by_running_time(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.member(ann, unit, "bob", "user")
    await ann.assign_and_confirm(unit)
    for _ in range(29):  # assigning was one
        await ann.passcodes(unit)
    refused = await ann.ask("GET", f"/v1/chargers/{unit.id}/passcode")
    assert problem(refused) == (429, "too_many")
    assert refused.json()["error"]["retry_after_s"] == 3600
    await bob.passcodes(unit)
    world.hands.unix_s += 10_000  # a clock that is set buys nothing
    assert problem(await ann.ask("GET", f"/v1/chargers/{unit.id}/passcode"))[0] == 429
    world.hands.running_s += 3600
    await ann.passcodes(unit)


async def test_reveals_are_limited_per_charger(world: World) -> None:
    world.settings = Settings(reveals=RevealLimits(per_person=100, per_charger=3))
    await world.restart()
    ann, unit = await owner_of(world)
    bob = await world.member(ann, unit, "bob", "user")
    guest = await world.member(ann, unit, "gus", "guest")
    await ann.assign_and_confirm(unit)
    path = f"/v1/chargers/{unit.id}/passcode"
    for _ in range(5):  # who may not read does not use up what others may
        assert problem(await guest.ask("GET", path)) == (403, "role_too_low")
    await ann.passcodes(unit)
    await bob.passcodes(unit)
    assert problem(await bob.ask("GET", path)) == (429, "too_many")
    assert problem(await ann.ask("GET", path)) == (429, "too_many")


async def test_every_reveal_is_in_the_audit_before_it_is_answered(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.member(ann, unit, "bob", "user")
    await ann.assign_and_confirm(unit)
    await asyncio.gather(*(bob.passcodes(unit) for _ in range(8)))
    audit = await ann.get(f"/v1/chargers/{unit.id}/audit")
    revealed = [e["detail"] for e in audit["entries"] if e["event"] == "passcode_revealed"]
    assert [(d["person"], d["purpose"]) for d in revealed] == [("ann", "assigned")] + [
        ("bob", "shown")
    ] * 8
    assert audit["head_sequence"] == audit["entries"][-1]["sequence"]


async def test_the_passcode_is_nowhere_else(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    ann, unit = await owner_of(world)
    kept = await ann.assign_and_confirm(unit)
    await ann.passcodes(unit)
    seen = [
        (await ann.ask("GET", path)).text
        for path in (
            "/v1/chargers",
            f"/v1/chargers/{unit.id}/audit",
            f"/v1/chargers/{unit.id}/members",
        )
    ]
    response = await ann.ask(
        "POST",
        f"/v1/chargers/{unit.id}/passcode/assign",
        {"expected_generation": 1, "passcode": kept.passcode},
    )
    seen += [response.text, caplog.text, repr(kept), repr(vars(world.service))]
    await world.close()
    for path in world.directory.iterdir():
        raw = path.read_bytes()
        assert not shows(raw, kept.passcode), path
        assert bytes.fromhex(kept.owner_token or "") not in raw, path
    assert not shows("".join(seen), kept.passcode)
    world.open()
