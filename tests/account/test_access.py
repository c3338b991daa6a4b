"""Who may do what: every operation on a charger, by every relation to it."""

from typing import Any, Final

import msgspec
import pytest

from account.world import Someone, Unit, World, new_unit, problem
from chargepin.account.operations import OPERATIONS, STATUS, openapi
from chargepin.core.messages import AccessRole, ProblemCode

WHO: Final = ("owner", "admin", "user", "guest", "installer", "ended guest", "removed", "stranger")
OUTSIDE: Final = {"ended guest", "removed", "stranger"}

# Which of those with access are let in; the rest gets 403, and who is outside 404.
ALLOWED: Final = {
    "DELETE /v1/chargers/{charger}": {"owner"},
    "GET /v1/chargers/{charger}/audit": {"owner", "admin"},
    "GET /v1/chargers/{charger}/members": {"owner", "admin", "user", "guest", "installer"},
    "POST /v1/chargers/{charger}/invitations": {"owner", "admin"},
    "DELETE /v1/chargers/{charger}/members/{person}": {"owner", "admin"},
    "POST /v1/chargers/{charger}/passcode/assign": {"owner"},
    "POST /v1/chargers/{charger}/passcode/receipt": {"owner", "admin", "user"},
    "GET /v1/chargers/{charger}/passcode": {"owner", "admin", "user"},
}


async def household(world: World, unit: Unit) -> dict[str, Someone]:
    owner = await world.sign_up("owner")
    await owner.claim(unit)
    people = {"owner": owner, "stranger": await world.sign_up("stranger")}
    for role in ("admin", "user", "installer"):
        people[role] = await world.member(owner, unit, role, role)
    people["ended guest"] = await world.member(owner, unit, "ended guest", "guest")
    world.hands.advance(3600)
    people["guest"] = await world.member(owner, unit, "guest", "guest")
    people["removed"] = await world.member(owner, unit, "removed", "admin")
    await world.member(owner, unit, "victim", "user")
    await owner.delete(f"/v1/chargers/{unit.id}/members/removed")
    return people


def test_the_matrix_has_every_operation_on_a_charger() -> None:
    operations = {f"{o.method} {o.path}" for o in OPERATIONS if "{charger}" in o.path}
    assert operations == set(ALLOWED)


@pytest.mark.parametrize("operation", ALLOWED)
async def test_each_relation_gets_what_it_may_and_no_more(world: World, operation: str) -> None:
    unit = new_unit()
    people = await household(world, unit)
    kept = await people["owner"].assign(unit)
    bodies: dict[str, Any] = {
        "invitations": {"person": "newcomer"},
        "assign": {"expected_generation": 0},
        "receipt": Unit(unit.key).receipt(kept),
    }
    method, path = operation.split(" ")
    path = path.format(charger=unit.id, person="victim")
    body = bodies.get(path.rpartition("/")[2])
    # Those who are let in go last: some operations end what the others ask for.
    for who in sorted(WHO, key=lambda name: name in ALLOWED[operation]):
        response = await people[who].ask(method, path, body)
        if who in OUTSIDE:
            assert problem(response) == (404, "not_found"), who
        elif who not in ALLOWED[operation]:
            assert problem(response) == (403, "role_too_low"), who
        else:
            assert response.status_code in {200, 404}, (who, response.text)
    # 404 is for the second who removes the same person.
    assert response.status_code == 200 or operation.startswith("DELETE")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
async def test_only_public_operations_work_without_signing_in(world: World, operation: Any) -> None:
    path = operation.path.format(charger="00" * 32, person="x", session="x")
    response = await world.http.request(operation.method, path)
    if operation.public:
        assert problem(response) == (400, "malformed")
    else:
        assert problem(response) == (401, "not_signed_in")


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda o: o.name)
async def test_an_app_that_is_too_old_is_told_so_and_changes_nothing(
    world: World, operation: Any
) -> None:
    path = operation.path.format(charger="00" * 32, person="x", session="x")
    response = await world.http.request(
        operation.method,
        path,
        headers={"Chargepin-App": "0.0.9"},
        json={"person": "ann", "password": "long enough"},
    )
    assert problem(response) == (426, "update_needed")
    assert response.json()["error"]["needed"] == "0.1.0"
    assert (await world.sign_in("ann", "long enough")).status_code == 401


async def test_versions_of_apps(world: World) -> None:
    for version, status in (("0.1.0", 401), ("1.0.0", 401), ("0.0.9", 426), ("new", 400)):
        response = await world.http.get("/v1/me", headers={"Chargepin-App": version})
        assert response.status_code == status


async def test_addresses_and_methods_that_are_none(world: World) -> None:
    for path in ("/", "/v1", "/v1/nothing", "/v1/chargers/" + "0" * 64 + "/x"):
        assert problem(await world.http.get(path)) == (404, "not_found")
    for method in ("PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"):
        response = await world.http.request(method, "/v1/signup")
        assert response.status_code == 405
    response = await world.http.head("/v1/chargers/" + "0" * 64 + "/passcode")
    assert response.status_code == 405


async def test_the_document_says_what_the_table_says(world: World) -> None:
    document = (await world.http.get("/openapi.json")).json()
    assert document == msgspec.json.decode(msgspec.json.encode(openapi("1")))
    assert document["openapi"] == "3.1.0"
    described = {
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method in methods
    }
    assert described == {f"{o.method} {o.path}" for o in OPERATIONS}
    reveal = document["paths"]["/v1/chargers/{charger}/passcode"]["get"]
    assert reveal["x-roles"] == ["owner", "admin", "user"]
    assert set(reveal["responses"]) >= {"200", "401", "403", "404", "426", "429", "503"}
    references = set(find_references(document))
    assert references <= {
        f"#/components/schemas/{name}" for name in document["components"]["schemas"]
    }
    names = [o["operationId"] for ops in document["paths"].values() for o in ops.values()]
    assert len(names) == len(set(names))


def find_references(value: object) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if isinstance(value.get("$ref"), str) else []
        return own + [r for part in value.values() for r in find_references(part)]
    if isinstance(value, list):
        return [r for part in value for r in find_references(part)]
    return []


def test_every_error_has_a_status() -> None:
    assert set(STATUS) == set(ProblemCode)


def test_every_role_is_in_the_matrix() -> None:
    assert {role.value for role in AccessRole} <= set(WHO)
