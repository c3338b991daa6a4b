import asyncio
import sqlite3

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from account.world import Someone, Unit, World, new_unit, ok, problem


async def challenge(someone: Someone, unit: Unit) -> dict[str, str]:
    answer: dict[str, str] = await someone.post("/v1/claims", {"identity": unit.id})
    return answer


async def registering(someone: Someone, claim: dict[str, object]) -> tuple[int, str]:
    return problem(await someone.ask("POST", "/v1/chargers", claim))


async def test_a_charger_is_claimed_with_its_own_signature(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    asked = await challenge(ann, unit)
    assert asked["account"] == (await ann.get("/v1/me"))["account"]
    view = await ann.post("/v1/chargers", {**unit.claim(asked), "name": "Garage"})
    assert view == {
        "id": unit.id,
        "serial": "123456",
        "name": "Garage",
        "role": "owner",
        "owner": "ann",
        "incarnation": 1,
        "generation": 0,
        "passcode_state": "none",
        "reached": True,
        "rotation_needed": False,
    }
    assert (await ann.get("/v1/chargers"))["chargers"] == [view]


async def test_the_root_stays_the_same(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    before = await challenge(ann, unit)
    await world.restart()
    ann.http = world.http
    after = await challenge(ann, unit)
    assert after["root_key"] == before["root_key"]
    assert after["nonce"] != before["nonce"]


async def test_claims_that_do_not_hold(world: World) -> None:
    ann, bob, unit = await world.sign_up("ann"), await world.sign_up("bob"), new_unit()
    asked = await challenge(ann, unit)
    good = unit.claim(asked)
    for field, value in (
        ("serial", "999999"),
        ("incarnation", 2),
        ("generation", 1),
        ("nonce", "00" * 32),
        ("signature", "00" * 64),
        ("identity", new_unit().id),
    ):
        assert await registering(ann, {**good, field: value}) == (422, "claim_invalid")
    assert await registering(bob, good) == (422, "claim_invalid")
    elsewhere = unit.claim({**asked, "root_key": new_unit().id})
    assert await registering(ann, elsewhere) == (422, "claim_invalid")
    never_asked = unit.claim({**asked, "nonce": "11" * 32})
    assert await registering(ann, never_asked) == (422, "claim_invalid")
    world.hands.advance(3600)
    assert await registering(ann, good) == (422, "claim_invalid")
    assert (await ann.get("/v1/chargers"))["chargers"] == []


async def test_bringing_the_same_claim_again_changes_nothing(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    claim = unit.claim(await challenge(ann, unit))
    answers = [await ann.ask("POST", "/v1/chargers", claim) for _ in range(3)]
    assert len({ok(answer)["id"] for answer in answers}) == 1
    audit = (await ann.get(f"/v1/chargers/{unit.id}/audit"))["entries"]
    assert [entry["event"] for entry in audit] == ["charger_claimed"]


async def test_a_claim_serves_once(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    claim = unit.claim(await challenge(ann, unit))
    ok(await ann.ask("POST", "/v1/chargers", claim))
    await ann.delete(f"/v1/chargers/{unit.id}")
    assert await registering(ann, claim) == (422, "claim_invalid")


async def test_one_claim_at_a_time(world: World) -> None:
    ann, bob, unit = await world.sign_up("ann"), await world.sign_up("bob"), new_unit()
    await ann.claim(unit)
    theirs = unit.claim(await challenge(bob, unit))
    response = await bob.ask("POST", "/v1/chargers", theirs)
    assert problem(response) == (409, "claimed_elsewhere")
    assert "`chargepin reset`" in response.text

    await ann.delete(f"/v1/chargers/{unit.id}")
    assert (await bob.post("/v1/chargers", theirs))["owner"] == "bob"
    assert (await ann.get("/v1/chargers"))["chargers"] == []


async def test_of_two_claims_at_once_one_wins(world: World) -> None:
    ann, bob, unit = await world.sign_up("ann"), await world.sign_up("bob"), new_unit()
    claims = [(who, unit.claim(await challenge(who, unit))) for who in (ann, bob)]
    answers = await asyncio.gather(*(who.ask("POST", "/v1/chargers", c) for who, c in claims))
    assert sorted(answer.status_code for answer in answers) == [200, 409]


async def test_a_reset_ends_a_claim(world: World) -> None:
    ann, bob, unit = await world.sign_up("ann"), await world.sign_up("bob"), new_unit()
    await ann.claim(unit)
    await world.member(ann, unit, "carol", "user")
    await ann.assign_and_confirm(unit)
    unit.incarnation += 1
    view = await bob.claim(unit)
    assert (view["owner"], view["incarnation"], view["passcode_state"]) == ("bob", 2, "none")
    assert view["generation"] == 1  # never reused
    assert problem(await ann.ask("GET", f"/v1/chargers/{unit.id}/passcode")) == (404, "not_found")
    assert (await bob.get(f"/v1/chargers/{unit.id}/members"))["members"] == [
        {"person": "bob", "role": "owner"}
    ]
    await bob.assign_and_confirm(unit)


async def test_claiming_again_after_a_reset_keeps_the_household(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    await ann.claim(unit)
    await world.member(ann, unit, "carol", "user")
    old = await ann.assign_and_confirm(unit)
    unit.incarnation += 1
    view = await ann.claim(unit)
    assert (view["incarnation"], view["passcode_state"], view["generation"]) == (2, "none", 1)
    assert len((await ann.get(f"/v1/chargers/{unit.id}/members"))["members"]) == 2
    assert await ann.passcodes(unit) == []
    new = await ann.assign_and_confirm(unit)
    assert new.generation == old.generation + 1


async def test_claiming_again_tells_of_a_passcode_set_elsewhere(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    await ann.claim(unit)
    await ann.assign_and_confirm(unit)
    pending = await ann.assign(unit)
    unit.generation = 2  # somebody set generation 2 without the account, or the receipt was lost
    view = await ann.claim(unit)
    assert (view["generation"], view["passcode_state"]) == (2, "pending")
    shown = await ann.passcodes(unit)
    assert [(k["generation"], k["state"]) for k in shown] == [(2, "pending")]  # it may be in force
    third = await ann.assign(unit)
    assert third.generation == 3
    assert [k["generation"] for k in await ann.passcodes(unit)] == [3, 2]
    await ann.post(
        f"/v1/chargers/{unit.id}/passcode/receipt", Unit(unit.key).receipt(pending)
    )  # it was the lost receipt
    shown = await ann.passcodes(unit)
    assert [(k["generation"], k["state"]) for k in shown] == [(3, "pending"), (2, "active")]
    await ann.post(f"/v1/chargers/{unit.id}/passcode/receipt", unit.receipt(third))
    assert [k["generation"] for k in await ann.passcodes(unit)] == [3]


async def test_a_claim_from_before_is_refused(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    unit.incarnation, unit.generation = 3, 5
    await ann.claim(unit)
    for incarnation, generation in ((2, 5), (3, 4)):
        older = Unit(unit.key, incarnation=incarnation, generation=generation)
        claim = older.claim(await challenge(ann, unit))
        assert await registering(ann, claim) == (422, "claim_invalid")


async def test_a_serial_may_repeat(world: World) -> None:
    ann, one, two = await world.sign_up("ann"), new_unit(), new_unit()
    await ann.claim(one)
    await ann.claim(two)
    views = (await ann.get("/v1/chargers"))["chargers"]
    assert [view["serial"] for view in views] == ["123456", "123456"]
    assert {view["id"] for view in views} == {one.id, two.id}


async def test_release_leaves_no_secret_behind(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    await ann.claim(unit)
    bob = await world.member(ann, unit, "bob", "user")
    await ann.assign_and_confirm(unit)
    await ann.invite(unit, "carol")
    await ann.delete(f"/v1/chargers/{unit.id}")
    for someone in (ann, bob):
        assert (await someone.get("/v1/chargers"))["chargers"] == []
        response = await someone.ask("GET", f"/v1/chargers/{unit.id}/passcode")
        assert problem(response) == (404, "not_found")
    with sqlite3.connect(world.database) as database:
        for table in ("charger", "member", "offer", "passcode"):
            assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)  # noqa: S608 -- a name from the line above
    database.close()


async def test_challenges_do_not_pile_up(world: World) -> None:
    ann = await world.sign_up("ann")
    units = [new_unit() for _ in range(20)]
    claims = [(unit, unit.claim(await challenge(ann, unit))) for unit in units]
    with sqlite3.connect(world.database) as database:
        assert database.execute("SELECT count(*) FROM claim").fetchone() == (16,)
    database.close()
    statuses = [(await ann.ask("POST", "/v1/chargers", claim)).status_code for _, claim in claims]
    assert sorted(statuses) == [200] * 16 + [422] * 4


@pytest.mark.parametrize("charger", ["x", "00", "zz" * 32, "AB" * 32, "%00", "00" * 33])
async def test_ids_that_are_none(world: World, charger: str) -> None:
    ann = await world.sign_up("ann")
    for path in ("passcode", "members", "audit"):
        response = await ann.ask("GET", f"/v1/chargers/{charger}/{path}")
        assert problem(response) == (404, "not_found")


async def test_an_identity_that_is_no_key_cannot_be_claimed(world: World) -> None:
    ann = await world.sign_up("ann")
    real = Ed25519PrivateKey.from_private_bytes(bytes(32))
    claim = Unit(real).claim(await challenge(ann, Unit(real)))
    assert await registering(ann, {**claim, "identity": "ff" * 32}) == (422, "claim_invalid")


async def test_the_audit_tells_when_it_was_tampered_with(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    await ann.claim(unit)
    await ann.assign_and_confirm(unit)
    path = f"/v1/chargers/{unit.id}/audit"
    sound = await ann.get(path)
    assert [e["event"] for e in sound["entries"]] == [
        "charger_claimed",
        "passcode_assigned",
        "passcode_revealed",
        "passcode_active",
    ]
    for tampering in (
        "UPDATE audit SET detail = replace(detail, 'ann', 'eve') WHERE sequence = 3",
        "UPDATE audit SET detail = 'x' WHERE sequence = 4",
        "UPDATE audit SET hash = zeroblob(32) WHERE sequence = 2",
        "DELETE FROM audit WHERE sequence = 2",
        "DELETE FROM audit WHERE sequence = (SELECT max(sequence) FROM audit)",
    ):
        await world.close()
        whole = world.database.read_bytes()
        with sqlite3.connect(world.database) as database:
            database.execute(tampering)
        database.close()
        world.open()
        ann.http = world.http
        response = await ann.ask("GET", path)
        assert problem(response) == (503, "storage_failed"), tampering
        assert "audit" in response.text
        await world.close()
        world.database.write_bytes(whole)
        world.open()
        ann.http = world.http
    assert await ann.get(path) == sound


async def test_the_audit_of_a_charger_shows_no_other(world: World) -> None:
    ann, one, two = await world.sign_up("ann"), new_unit(), new_unit()
    await ann.claim(one)
    await ann.claim(two)
    admin = await world.member(ann, one, "adam", "admin")
    entries = (await admin.get(f"/v1/chargers/{one.id}/audit"))["entries"]
    assert {entry["detail"]["charger"] for entry in entries} == {one.id}
