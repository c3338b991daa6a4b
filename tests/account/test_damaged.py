"""Every field of every request, damaged in every way: an answer, never a fault."""

from typing import Any, Final

import msgspec
import pytest

from account.world import Someone, World, new_unit
from chargepin.account.operations import OPERATIONS, Operation

NASTY: Final[list[object]] = [
    None,
    True,
    -1,
    0,
    2**31,
    2**32,
    2**63,
    10**40,
    1.5,
    1e308,
    "",
    "x",
    "\x00",
    "x" * 9000,
    "ab" * 32,
    "AB" * 32,
    "ab" * 31 + "\n ",
    "../../etc/passwd",
    "'; DROP TABLE account; --",
    "\u202e\U0001f512",
    [],
    [None],
    {},
    {"a": {"b": []}},
    [[[[[[[[[[]]]]]]]]]],
]
GOOD: Final[dict[str, object]] = {
    "person": "bob",
    "password": "long enough",
    "identity": "ab" * 32,
    "serial": "123456",
    "incarnation": 1,
    "generation": 0,
    "account": "ab" * 16,
    "root_key": "ab" * 32,
    "nonce": "ab" * 32,
    "signature": "ab" * 64,
    "role": "user",
    "expires_s": 600,
    "secret": "secret",
    "expected_generation": 0,
    "receipt": "ab" * 106,
}
ASKING: Final = [operation for operation in OPERATIONS if operation.request is not None]


def valid_body(operation: Operation) -> dict[str, object]:
    assert operation.request is not None
    fields = msgspec.structs.fields(operation.request)
    return {field.name: GOOD[field.name] for field in fields if field.name in GOOD}


async def answered(someone: Someone, operation: Operation, charger: str, body: object) -> None:
    path = operation.path.format(charger=charger)
    response = await someone.http.request(
        operation.method,
        path,
        headers={"Authorization": f"Bearer {someone.token}"},
        content=body if isinstance(body, bytes) else msgspec.json.encode(body),
    )
    assert response.status_code < 500, (operation.name, body, response.text)
    if response.status_code != 200:
        assert set(response.json()) == {"error"}
        assert "Traceback" not in response.text


@pytest.mark.parametrize("operation", ASKING, ids=lambda operation: operation.name)
async def test_no_damaged_field_is_a_fault(world: World, operation: Any) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    await ann.claim(unit)
    body = valid_body(operation)
    fields = [field.name for field in msgspec.structs.fields(operation.request)]
    for name in fields:
        for value in NASTY:
            if {"person", "password"} == set(body) and isinstance(value, str) and value:
                world.hands.advance(100)  # or all but the first few would only be throttled
            await answered(ann, operation, unit.id, {**body, name: value})
        without = {key: value for key, value in body.items() if key != name}
        await answered(ann, operation, unit.id, without)
    await answered(ann, operation, unit.id, {**body, "unknown": NASTY})


@pytest.mark.parametrize("operation", ASKING, ids=lambda operation: operation.name)
async def test_no_cut_or_flipped_request_is_a_fault(world: World, operation: Any) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    await ann.claim(unit)
    raw = msgspec.json.encode(valid_body(operation))
    step = max(1, len(raw) // 25)
    for at in range(0, len(raw), step):
        world.hands.advance(100)
        await answered(ann, operation, unit.id, raw[:at])
        await answered(ann, operation, unit.id, raw[:at] + b"\xff" + raw[at + 1 :])
        await answered(ann, operation, unit.id, raw[:at] + b"\x00" + raw[at:])
