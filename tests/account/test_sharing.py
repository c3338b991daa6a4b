import asyncio

import pytest

from account.world import Someone, Unit, World, new_unit, ok, problem
from chargepin.account.sharing import MOST_MEMBERS

ROLES = ("admin", "user", "guest", "installer")


async def owner_of(world: World) -> tuple[Someone, Unit]:
    ann, unit = await world.sign_up("ann"), new_unit()
    await ann.claim(unit)
    return ann, unit


async def members(someone: Someone, unit: Unit) -> dict[str, str]:
    answer = await someone.get(f"/v1/chargers/{unit.id}/members")
    return {member["person"]: member["role"] for member in answer["members"]}


async def accepting(someone: Someone, link: str) -> tuple[int, str]:
    secret = link.rpartition("#")[2]
    return problem(await someone.ask("POST", "/v1/invitations/accept", {"secret": secret}))


async def test_an_invitation_gives_access_once(world: World) -> None:
    ann, unit = await owner_of(world)
    kept = await ann.assign_and_confirm(unit)
    link = await ann.invite(unit, "Bob@Example.org")
    assert link.startswith("https://account.example/invite#")
    assert len(link.rpartition("#")[2]) == 43

    bob = await world.sign_up("bob@example.org")
    assert problem(await bob.ask("GET", f"/v1/chargers/{unit.id}/passcode"))[0] == 404
    view = await bob.accept(link)
    assert (view["id"], view["role"], view["owner"]) == (unit.id, "user", "ann")
    assert (await bob.passcodes(unit))[0]["passcode"] == kept.passcode
    assert await accepting(bob, link) == (410, "invitation_invalid")
    assert await members(bob, unit) == {"ann": "owner", "bob@example.org": "user"}


async def test_an_invitation_is_for_one_person(world: World) -> None:
    ann, unit = await owner_of(world)
    link = await ann.invite(unit, "bob")
    eve = await world.sign_up("eve")
    assert await accepting(eve, link) == (410, "invitation_invalid")
    bob = await world.sign_up("bob")
    await bob.accept(link)  # it was not used up


async def test_an_invitation_expires(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.sign_up("bob")
    link = await ann.invite(unit, "bob", expires_s=60)
    world.hands.advance(60)
    assert await accepting(bob, link) == (410, "invitation_invalid")
    await bob.accept(await ann.invite(unit, "bob", expires_s=60))


async def test_a_new_invitation_ends_the_older_one(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.sign_up("bob")
    old, new = await ann.invite(unit, "bob", "admin"), await ann.invite(unit, "bob", "user")
    assert await accepting(bob, old) == (410, "invitation_invalid")
    assert (await bob.accept(new))["role"] == "user"


async def test_an_invitation_accepted_many_times_at_once_gives_one_access(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.sign_up("bob")
    secret = (await ann.invite(unit, "bob")).rpartition("#")[2]
    answers = await asyncio.gather(
        *(bob.ask("POST", "/v1/invitations/accept", {"secret": secret}) for _ in range(5))
    )
    assert sorted(answer.status_code for answer in answers) == [200, 410, 410, 410, 410]


@pytest.mark.parametrize("secret", ["", "x", "x" * 128, "x" * 129, 5, None, "é"])
async def test_secrets_that_are_none(world: World, secret: object) -> None:
    bob = await world.sign_up("bob")
    response = await bob.ask("POST", "/v1/invitations/accept", {"secret": secret})
    assert problem(response)[1] in {"invitation_invalid", "malformed"}


async def test_the_secret_is_stored_as_a_hash(world: World) -> None:
    ann, unit = await owner_of(world)
    secret = (await ann.invite(unit, "bob")).rpartition("#")[2]
    await world.close()
    stored = b"".join(path.read_bytes() for path in world.directory.iterdir())
    assert secret.encode() not in stored
    world.open()


async def test_who_has_access_is_not_invited_again(world: World) -> None:
    ann, unit = await owner_of(world)
    await world.member(ann, unit, "bob", "user")
    for person in ("bob", "ann"):
        body = {"person": person, "role": "admin"}
        response = await ann.ask("POST", f"/v1/chargers/{unit.id}/invitations", body)
        assert problem(response) == (409, "changed")


@pytest.mark.parametrize(
    "body",
    [
        {"person": "bob", "role": "owner"},
        {"person": "bob", "role": "king"},
        {"person": "bob", "role": "guest", "until_unix_s": 1_700_000_000},
        {"person": "bob", "until_unix_s": 1_700_000_000},
        {"person": "bob", "until_unix_s": 2**63},
        {"person": "bob", "expires_s": 10},
        {"person": "b"},
        {"person": "../bob"},
        {"role": "user"},
    ],
)
async def test_invitations_that_make_no_sense(world: World, body: dict[str, object]) -> None:
    ann, unit = await owner_of(world)
    response = await ann.ask("POST", f"/v1/chargers/{unit.id}/invitations", body)
    assert problem(response) == (400, "malformed")
    assert "king" not in response.text


async def test_a_guest_s_access_ends_by_itself(world: World) -> None:
    ann, unit = await owner_of(world)
    gus = await world.member(ann, unit, "gus", "guest")
    assert (await gus.get("/v1/chargers"))["chargers"][0]["until_unix_s"] == (
        world.hands.unix_s + 3600
    )
    world.hands.advance(3599)
    await members(gus, unit)
    world.hands.advance(1)
    assert (await gus.get("/v1/chargers"))["chargers"] == []
    path = f"/v1/chargers/{unit.id}/members"
    assert problem(await gus.ask("GET", path)) == (404, "not_found")
    assert await members(ann, unit) == {"ann": "owner"}
    # and may be given anew
    again = {"until_unix_s": world.hands.unix_s + 60}
    await gus.accept(await ann.invite(unit, "gus", "guest", **again))
    assert await members(gus, unit) == {"ann": "owner", "gus": "guest"}


async def test_a_guest_stays_a_week_if_nothing_else_is_said(world: World) -> None:
    ann, unit = await owner_of(world)
    gus = await world.sign_up("gus")
    view = await gus.accept(await ann.invite(unit, "gus", "guest"))
    assert view["until_unix_s"] == world.hands.unix_s + 7 * 24 * 3600


async def test_who_is_removed_is_out_at_once(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.member(ann, unit, "bob", "user")
    await ann.assign_and_confirm(unit)
    await bob.passcodes(unit)
    await ann.delete(f"/v1/chargers/{unit.id}/members/BOB")
    for path in ("passcode", "members", "audit"):
        response = await bob.ask("GET", f"/v1/chargers/{unit.id}/{path}")
        assert problem(response) == (404, "not_found")
    assert (await bob.get("/v1/chargers"))["chargers"] == []
    assert (await ann.get("/v1/chargers"))["chargers"][0]["rotation_needed"]
    response = await ann.ask("DELETE", f"/v1/chargers/{unit.id}/members/bob")
    assert problem(response) == (404, "not_found")


async def test_a_removal_beats_the_reads_of_the_same_moment(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.member(ann, unit, "bob", "user")
    await ann.assign_and_confirm(unit)
    path = f"/v1/chargers/{unit.id}/passcode"
    reads = [bob.ask("GET", path) for _ in range(10)]
    removal = ann.ask("DELETE", f"/v1/chargers/{unit.id}/members/bob")
    answers = await asyncio.gather(*reads[:5], removal, *reads[5:])
    ok(answers[5])
    shown = sum(answer.status_code == 200 for i, answer in enumerate(answers) if i != 5)
    entries = (await ann.get(f"/v1/chargers/{unit.id}/audit"))["entries"]
    events = [
        (e["event"], e["detail"].get("person"))
        for e in entries
        if e["event"] in {"passcode_revealed", "access_removed"}
    ]
    # Every answer with a passcode stands in the audit, and before the removal.
    assert events.count(("passcode_revealed", "bob")) == shown
    assert events[-1] == ("access_removed", "bob")


async def test_the_owner_cannot_be_removed(world: World) -> None:
    ann, unit = await owner_of(world)
    admin = await world.member(ann, unit, "adam", "admin")
    for someone in (ann, admin):
        response = await someone.ask("DELETE", f"/v1/chargers/{unit.id}/members/ann")
        assert problem(response) == (403, "role_too_low")
        assert "`chargepin reset`" in response.text


@pytest.mark.parametrize("role", ROLES)
async def test_everybody_else_may_leave(world: World, role: str) -> None:
    ann, unit = await owner_of(world)
    bob = await world.member(ann, unit, "bob", role)
    await bob.delete(f"/v1/chargers/{unit.id}/members/bob")
    assert await members(ann, unit) == {"ann": "owner"}


async def test_an_invitation_is_taken_back(world: World) -> None:
    ann, unit = await owner_of(world)
    bob = await world.sign_up("bob")
    link = await ann.invite(unit, "bob")
    await ann.delete(f"/v1/chargers/{unit.id}/members/bob")
    assert await accepting(bob, link) == (410, "invitation_invalid")
    assert not (await ann.get("/v1/chargers"))["chargers"][0]["rotation_needed"]


async def test_nobody_removed_comes_back_by_an_invitation_of_his_own(world: World) -> None:
    ann, unit = await owner_of(world)
    adam = await world.member(ann, unit, "adam", "admin")
    alias = await world.sign_up("adams friend")
    link = await adam.invite(unit, "adams friend")
    await ann.delete(f"/v1/chargers/{unit.id}/members/adam")
    assert await accepting(alias, link) == (410, "invitation_invalid")


async def test_an_admin_manages_only_those_below(world: World) -> None:
    ann, unit = await owner_of(world)
    adam = await world.member(ann, unit, "adam", "admin")
    await world.member(ann, unit, "ada", "admin")
    await world.member(adam, unit, "bob", "user")
    base = f"/v1/chargers/{unit.id}"
    body = {"person": "eve", "role": "admin"}
    assert problem(await adam.ask("POST", f"{base}/invitations", body)) == (403, "role_too_low")
    assert problem(await adam.ask("DELETE", f"{base}/members/ada")) == (403, "role_too_low")
    await ann.invite(unit, "zoe", "admin")
    assert problem(await adam.ask("DELETE", f"{base}/members/zoe")) == (403, "role_too_low")
    await adam.delete(f"{base}/members/bob")
    await ann.delete(f"{base}/members/ada")


async def test_a_charger_has_room_for_so_many(world: World) -> None:
    ann, unit = await owner_of(world)
    for number in range(MOST_MEMBERS - 1):
        await ann.invite(unit, f"guest {number}")
    body = {"person": "one more"}
    response = await ann.ask("POST", f"/v1/chargers/{unit.id}/invitations", body)
    assert problem(response) == (429, "too_many")
    await ann.invite(unit, "guest 7")  # in the place of the older one
    world.hands.advance(3 * 24 * 3600)
    await ann.invite(unit, "one more")


async def test_a_name_with_signs_can_be_removed(world: World) -> None:
    ann, unit = await owner_of(world)
    name = "bob+x&y=z#1?ü@example.org"
    bob = await world.member(ann, unit, name, "user")
    await bob.get("/v1/chargers")
    await ann.delete(f"/v1/chargers/{unit.id}/members/bob%2Bx%26y%3Dz%231%3F%C3%BC%40example.org")
    assert await members(ann, unit) == {"ann": "owner"}
