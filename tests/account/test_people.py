import asyncio
import hashlib

import msgspec
import pytest

from account.world import PASSWORD, Someone, World, ok, problem
from chargepin.account.names import normal_person
from chargepin.account.ports import Refused


async def test_signing_up_in_and_out(world: World) -> None:
    ann = await world.sign_up("Ann@Example.ORG ")
    me = await ann.get("/v1/me")
    assert me["person"] == "ann@example.org"

    again = ok(await world.sign_in("ANN@example.org"))
    assert again["token"] != ann.token
    second = Someone(world.http, "ann", again["token"])
    assert (await second.get("/v1/me"))["account"] == me["account"]

    await second.post("/v1/logout")
    assert problem(await second.ask("GET", "/v1/me")) == (401, "not_signed_in")
    assert (await ann.get("/v1/me")) == me


async def test_a_name_is_taken_once(world: World) -> None:
    await world.sign_up("ann")
    response = await world.http.post("/v1/signup", json={"person": "ANN", "password": PASSWORD})
    assert problem(response) == (409, "name_taken")


async def test_signing_up_twice_at_once_makes_one_account(world: World) -> None:
    async def sign_up() -> int:
        body = {"person": "ann", "password": PASSWORD}
        return (await world.http.post("/v1/signup", json=body)).status_code

    assert sorted(await asyncio.gather(*(sign_up() for _ in range(5)))) == [200, 409, 409, 409, 409]


async def test_an_unknown_person_and_a_wrong_password_look_the_same(world: World) -> None:
    await world.sign_up("ann")
    wrong = await world.sign_in("ann", "not the password")
    unknown = await world.sign_in("bob", "not the password")
    assert problem(wrong) == (401, "wrong_password")
    assert wrong.text == unknown.text
    assert wrong.status_code == unknown.status_code
    assert dict(wrong.headers) == dict(unknown.headers)


@pytest.mark.parametrize("person", ["ann", "nobody"])
async def test_ten_failures_make_one_wait(world: World, person: str) -> None:
    await world.sign_up("ann")
    for _ in range(10):
        assert problem(await world.sign_in(person, "not the password")) == (401, "wrong_password")
        world.hands.advance(10)
    refused = await world.sign_in(person)
    assert problem(refused) == (429, "too_many")
    assert refused.json()["error"]["retry_after_s"] == 800.0
    assert refused.headers["retry-after"] == "800"
    ok(await world.http.post("/v1/signup", json={"person": "carol", "password": PASSWORD}))
    world.hands.advance(800)
    assert (await world.sign_in(person)).status_code == (200 if person == "ann" else 401)


async def test_a_success_gives_back_its_own_count_only(world: World) -> None:
    await world.sign_up("ann")
    for _ in range(9):
        await world.sign_in("ann", "not the password")
    for _ in range(5):
        ok(await world.sign_in("ann"))
    await world.sign_in("ann", "not the password")
    assert problem(await world.sign_in("ann")) == (429, "too_many")


async def test_sessions_are_listed_and_ended_one_by_one(world: World) -> None:
    ann = await world.sign_up("ann")
    other = Someone(world.http, "ann", ok(await world.sign_in("ann"))["token"])
    sessions = (await ann.get("/v1/sessions"))["sessions"]
    assert sorted(session["current"] for session in sessions) == [False, True]
    (lost,) = (session["id"] for session in sessions if not session["current"])

    bob = await world.sign_up("bob")
    assert problem(await bob.ask("DELETE", f"/v1/sessions/{lost}")) == (404, "not_found")
    await ann.delete(f"/v1/sessions/{lost}")
    assert problem(await other.ask("GET", "/v1/me")) == (401, "not_signed_in")
    assert problem(await ann.ask("DELETE", f"/v1/sessions/{lost}")) == (404, "not_found")


async def test_a_session_ends_after_a_year(world: World) -> None:
    ann = await world.sign_up("ann")
    world.hands.advance(365 * 24 * 3600 - 1)
    await ann.get("/v1/me")
    world.hands.advance(1)
    assert problem(await ann.ask("GET", "/v1/me")) == (401, "not_signed_in")
    ok(await world.sign_in("ann"))


async def test_the_file_holds_neither_password_nor_token(world: World) -> None:
    ann = await world.sign_up("ann")
    await world.close()
    stored = b"".join(path.read_bytes() for path in world.directory.iterdir())
    assert PASSWORD.encode() not in stored
    assert ann.token.encode() not in stored
    assert hashlib.sha256(ann.token.encode()).digest() in stored
    assert b"$argon2id$v=19$m=19456,t=2,p=1$" in stored
    world.open()


async def test_people_outlive_a_restart(world: World) -> None:
    ann = await world.sign_up("ann")
    await world.restart()
    ann.http = world.http
    assert (await ann.get("/v1/me"))["person"] == "ann"


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic YW5uOng=", "Bearer x", "Bearer \x00", "Bearer " + "x" * 4000],
)
async def test_without_a_token_nothing_is_told(world: World, header: str) -> None:
    for method, path in (("GET", "/v1/me"), ("GET", "/v1/events"), ("GET", "/v1/chargers")):
        response = await world.http.request(method, path, headers={"Authorization": header})
        assert problem(response) == (401, "not_signed_in")
        assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("spelled", "normal"),
    [
        ("Ann", "ann"),
        ("  ann  smith ", "ann smith"),
        ("STRASSE@example.org", "strasse@example.org"),
        ("straße@example.org", "strasse@example.org"),
        ("\uff41\uff4e\uff4e", "ann"),
        ("ÅSA", "åsa"),
    ],
)
def test_one_spelling_for_each_person(spelled: str, normal: str) -> None:
    assert normal_person(spelled) == normal
    assert normal_person(normal) == normal


@pytest.mark.parametrize("name", ["a", " a ", "..", "--", "a/b", "a\x00b", "a\u202eb", "é" * 255])
def test_what_is_no_name(name: str) -> None:
    with pytest.raises(Refused, match="e-mail"):
        normal_person(name)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"ann"',
        b"\xff\xfe",
        b'{"person": "ann"}',
        b'{"person": "ann", "password": 12345678}',
        b'{"person": ["ann"], "password": "longenough"}',
        b'{"person": "ann", "password": "short"}',
        b'{"person": "ann", "password": "\xff\xff\xff\xff\xff\xff\xff\xff\xff"}',
        b'{"person": "\\ud800nn", "password": "longenough"}',
        msgspec.json.encode({"person": "ann", "password": "x" * 1025}),
        b'{"person":' + b"[" * 8000 + b"]" * 8000 + b"}",
    ],
)
async def test_damaged_requests_are_refused_politely(world: World, body: bytes) -> None:
    for path in ("/v1/signup", "/v1/login"):
        response = await world.http.post(path, content=body)
        assert problem(response) == (400, "malformed")
        assert "Traceback" not in response.text


async def test_a_huge_request_is_cut_off(world: World) -> None:
    body = b'{"person": "ann", "password": "' + b"x" * 20_000 + b'"}'
    assert problem(await world.http.post("/v1/login", content=body)) == (413, "too_large")
