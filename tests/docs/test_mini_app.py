"""The client that knows only docs/protocol.md, let loose on a charger's rules."""

import base64
import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from chargepin.charger.air import BluetoothBonded, BluetoothPhone
from docs import mini_client as mini
from docs import mini_papers as papers
from docs.document import EXAMPLES, table
from docs.mini_app import ChargerError, Client
from docs.wires import LinkEnded, Wires, charger_at

CODE, WRONG_CODE = b"482913", b"482914"
TOKEN = bytes(range(32))


# ---- the steps of the document ----------------------------------------------------------------


def app_on(wires: Wires, att_mtu: int = 23) -> Client:
    return Client(wires.connected(att_mtu), secrets.token_bytes)


async def greeted(
    client: Client, credential: int, bond: tuple[bytes, bytes] | None = None
) -> mini.Params:
    answer = await client.hello(credential, bond)
    assert isinstance(answer, mini.Params)
    return answer


async def granted(client: Client, params: mini.Params, secret: tuple[int, int]) -> dict[str, Any]:
    event = await client.enter(params, secret)
    assert isinstance(event, dict)
    return event


def secret_of(code: bytes, params: mini.Params) -> tuple[int, int]:
    seed = mini.passcode_seed(code, params.identity, params.salt, params.profile)
    return mini.witness(seed)


def wish(identity: bytes, generation: int, code: bytes) -> dict[str, object]:
    salt = secrets.token_bytes(16)
    secret = mini.witness(mini.passcode_seed(code, identity, salt, 1))
    return {
        "generation": generation,
        "verifier": mini.verifier(*secret).hex(),
        "salt": salt.hex(),
        "profile": 1,
        "owner_token_hash": hashlib.sha256(TOKEN).hexdigest(),
    }


async def opened(wires: Wires, att_mtu: int = 23) -> tuple[Client, mini.Params]:
    """A session with an open charger."""
    client = app_on(wires, att_mtu)
    params = await greeted(client, mini.OPEN)
    event = await granted(client, params, mini.witness(mini.open_seed(params.identity)))
    assert event == {"ev": "granted", "role": "owner", "generation": 0, "bond": None}
    return client, params


async def protected(wires: Wires) -> papers.Receipt:
    """Give an open charger its passcode; the receipt, verified."""
    client, params = await opened(wires)
    wanted = wish(params.identity, params.generation + 1, CODE)
    answer = await client.ask("passcode.set", wanted)
    receipt = papers.read_receipt(
        bytes.fromhex(answer["receipt"]), bytes.fromhex(answer["signature"])
    )
    verifier, salt = (bytes.fromhex(str(wanted[name])) for name in ("verifier", "salt"))
    assert receipt.verifier_hash == papers.verifier_hash(verifier, salt, 1)
    assert (receipt.identity, receipt.generation, receipt.bonds) == (params.identity, 1, 0)
    await ended(client.message)
    return receipt


async def entered(wires: Wires, att_mtu: int = 23) -> tuple[Client, mini.Params]:
    """A session by passcode."""
    client = app_on(wires, att_mtu)
    params = await greeted(client, mini.PASSCODE)
    event = await granted(client, params, secret_of(CODE, params))
    assert (event["role"], event["bond"]) == ("user", None)
    return client, params


async def owner(wires: Wires, att_mtu: int = 23) -> tuple[Client, bytes, bytes]:
    """An owner's session; with its bond's secret and the charger's identity."""
    client, params = await entered(wires, att_mtu)
    bond = await client.ask("bond.create", {"name": "Ann", "owner_token": TOKEN.hex()})
    assert bond["role"] == "owner"
    return client, bytes.fromhex(bond["secret"]), params.identity


async def ended(doing: Callable[[], Awaitable[object]]) -> None:
    with pytest.raises(LinkEnded):
        await doing()


# ---- what the document promises ---------------------------------------------------------------


async def test_setting_a_passcode_entering_it_and_coming_back_with_a_bond(tmp_path: Path) -> None:
    async with charger_at(tmp_path) as wires:
        assert app_on(wires).hint.state == 1
        receipt = await protected(wires)
        assert not wires.links, "every link ends when a passcode is set"
        client, params = await entered(wires)
        assert client.hint.state == params.state == 2
        assert (params.generation, params.incarnation, params.flags) == (1, 1, 0)
        bond = await client.ask("bond.create", {"name": "Ann's phone"})
        assert bond["role"] == "user"
        assert (await client.ask("w_lck", 1), await client.ask("r_lck")) == (None, 1)
        assert (await client.ask("fw_v_"))["s"] == "6.7.17"

        secret = bytes.fromhex(bond["secret"])
        again = app_on(wires)
        params = await greeted(again, mini.BOND, (secret, receipt.identity))
        assert params.flags == 4
        event = await granted(again, params, mini.witness(mini.bond_seed(secret, params.identity)))
        assert (event["role"], event["bond"]) == ("user", bond["id"])


async def test_every_passcode_method_answers_as_the_table_says(tmp_path: Path) -> None:
    told = {row[0]: row[4] for row in table("own-methods")}

    def check(method: str, value: object) -> None:
        if isinstance(value, dict):
            assert sorted(value) == sorted(re.findall(r"\w+", told.pop(method))), method
        else:
            assert told.pop(method) == f"the number {value}"

    async with charger_at(tmp_path) as wires:
        await protected(wires)
        _, secret, identity = await owner(wires)
        client = app_on(wires)  # by its bond, so that forgetting another does not end the session
        params = await greeted(client, mini.BOND, (secret, identity))
        await granted(client, params, mini.witness(mini.bond_seed(secret, identity)))
        told.pop("passcode.set"), told.pop("bond.create")  # both were read before
        own_id = (await client.ask("bonds.list"))["bonds"][0]["id"]
        bond = await client.ask("bond.create", {"name": "Bob"})
        claim = {"account": "ac", "root_key": "11" * 32, "nonce": "22" * 32}
        for method, par in (
            ("passcode.receipt", None),
            ("bonds.list", {"after": 0}),
            ("bonds.forget", {"id": bond["id"]}),
            ("log.read", None),
            ("tamper.seen", None),
            ("passcode.viewed", {"times": 2}),
            ("pause.end", None),
            ("policy.get", None),
            ("policy.set", {"first_set_needs_presence": False}),
            ("claim", claim),
            ("release", None),
            ("update.check", None),
            ("update.progress", None),
            ("pairing.open", {"name": "Carol's phone"}),
            ("pairing.close", None),
            ("pairing.last", None),
        ):
            check(method, await client.ask(method, par))
        keep = {**wish(identity, 2, CODE), "keep": [own_id]}
        check("passcode.rotate", await client.ask("passcode.rotate", keep))
        await ended(client.message)

        again = app_on(wires)
        params = await greeted(again, mini.BOND, (secret, identity))
        await granted(again, params, mini.witness(mini.bond_seed(secret, identity)))
        assert params.generation == 2
        check("update.start", await again.ask("update.start", {"version": "6.7.17"}))
        check("reset", await again.ask("reset"))
        await ended(again.message)
        _, params = await opened_again(wires)
        assert (params.incarnation, params.generation) == (2, 2)
        assert (params.profile, params.salt) == (0, bytes(16))
    assert not told


async def test_a_window_goes_on_without_its_opener_as_the_example_tells(tmp_path: Path) -> None:
    told = {name: json.loads(raw) for name, raw in EXAMPLES.items() if name.startswith("pairing_")}
    async with charger_at(tmp_path, capacity=1, draw=lambda _: 12_345) as wires:
        await protected(wires)
        client, secret, identity = await owner(wires)
        request = told["pairing_open_request"]
        assert await client.ask(request["met"], request["par"]) == told["pairing_open_reply"]["r"]
        assert client.opened(await client.message()) == told["pairing_code_event"]
        (wire,) = wires.wires.values()
        wire.hang_up()

        reply = told["pairing_last_reply"]["r"]
        phone = BluetoothPhone(reply["bond"], "F0:00:00:00:00:03", reply["name"], 0, 0)
        assert wires.charger.rights.code(2) == 12_345
        wires.charger.tell(BluetoothBonded(2, phone))
        again = app_on(wires)
        params = await greeted(again, mini.BOND, (secret, identity))
        await granted(again, params, mini.witness(mini.bond_seed(secret, identity)))
        assert await again.ask(told["pairing_last_request"]["met"]) == reply


async def opened_again(wires: Wires) -> tuple[Client, mini.Params]:
    client = app_on(wires)
    return client, await greeted(client, mini.OPEN)


async def test_claims_and_the_log_can_be_verified(tmp_path: Path) -> None:
    async with charger_at(tmp_path) as wires:
        receipt = await protected(wires)
        client, _, identity = await owner(wires, att_mtu=247)
        asked = {"account": "5f1d", "root_key": "11" * 32, "nonce": "22" * 32}
        answer = await client.ask("claim", asked)
        claim = papers.read_claim(
            bytes.fromhex(answer["claim"]), bytes.fromhex(answer["signature"])
        )
        assert (claim.identity, claim.serial, claim.account) == (identity, "123456", "5f1d")
        assert (claim.root_key.hex(), claim.nonce.hex()) == ("11" * 32, "22" * 32)

        page = await client.ask("log.read", {"after": 0})
        hashed = bytes(32)
        chain = []
        for entry in page["entries"]:
            assert base64.b64decode(entry["previous"]) == hashed
            hashed = hashlib.sha256(
                papers.log_entry(
                    hashed,
                    entry["sequence"],
                    entry["unix_s"],
                    entry["running_s"],
                    entry["event"],
                    entry["detail"],
                )
            ).digest()
            assert base64.b64decode(entry["hash"]) == hashed
            chain.append(hashed)
        assert base64.b64decode(page["head"]["hash"]) == hashed
        assert receipt.log_head in chain
        details = {row[0]: set(re.findall(r"\w+", row[1])) for row in table("log-events")}
        assert all(details[entry["event"]] == entry["detail"].keys() for entry in page["entries"])


async def test_wrong_passcodes_pause_the_charger_and_bonds_do_not_mind(tmp_path: Path) -> None:
    async with charger_at(tmp_path) as wires:
        await protected(wires)
        _, secret, identity = await owner(wires)
        client = app_on(wires)
        for left in (3, 2, 1):
            params = await greeted(client, mini.PASSCODE)
            assert params.tries_left == left
            with pytest.raises(mini.WrongSecret):
                await client.enter(params, secret_of(WRONG_CODE, params))
        params = await greeted(client, mini.PASSCODE)
        assert params.flags & mini.PAUSED
        assert params.tries_left == 0
        assert 20 < params.retry_after_s <= 30  # the client's own arithmetic is slow
        answer = await client.enter(params, secret_of(CODE, params))
        assert isinstance(answer, mini.Refusal)
        assert answer.code == 6
        assert 20 < answer.retry_after_s <= params.retry_after_s

        bonded = app_on(wires)
        params = await greeted(bonded, mini.BOND, (secret, identity))
        await granted(bonded, params, mini.witness(mini.bond_seed(secret, identity)))
        assert await bonded.ask("pause.end") == {}
        assert (await greeted(client, mini.PASSCODE)).tries_left == 3


async def test_refusals_keep_the_link(tmp_path: Path) -> None:
    async with charger_at(tmp_path) as wires:
        client, params = await opened_again(wires)
        identity = params.identity
        params = await greeted(client, mini.PASSCODE)
        assert params.state == 1
        answer = await client.enter(params, (5, 6))
        assert isinstance(answer, mini.Refusal)
        assert answer.code == 4
        await protected(wires)
        client = app_on(wires)
        answer = await client.enter(await greeted(client, mini.OPEN), (5, 6))
        assert isinstance(answer, mini.Refusal)
        assert answer.code == 5
        refused = await client.hello(mini.BOND, (bytes(32), identity))
        assert isinstance(refused, mini.Refusal)
        assert refused.code == 3
        for place, value in ((1, 2), (2, 9)):
            said = bytearray(mini.hello(mini.PASSCODE, bytes(16)))
            said[place] = value
            await client.send(bytes(said))
            refused = mini.read_answer(bytes(said), await client.message())
            assert isinstance(refused, mini.Refusal)
            assert refused.code == 2
        params = await greeted(client, mini.PASSCODE)
        assert (await granted(client, params, secret_of(CODE, params)))["role"] == "user"


@pytest.mark.parametrize(
    "written",
    [
        b"\0\0",
        b"\x10\x01",
        mini.framed(b"\x07"),
        mini.framed(b"\x02" + bytes(167)),
        mini.framed(mini.hello(3, bytes(16))),
        mini.framed(mini.hello(1, bytes(16)) + b"\0"),
        mini.framed(b"\x04" + bytes(65)),
        mini.framed(b"\x06" + bytes(32)),
        mini.framed(b"\x10" + bytes(16)),
    ],
    ids=[
        *("length 0", "length 4097", "unknown type", "another's type", "unknown credential"),
        *("wrong length", "share without HELLO", "confirmation without share", "record too early"),
    ],
)
async def test_what_ends_a_link_before_a_session(written: bytes, tmp_path: Path) -> None:
    async with charger_at(tmp_path) as wires:
        client = app_on(wires, att_mtu=247)
        for chunk in mini.cut(written, 247):
            await wires.wires[1].write(chunk, response=False)
        await ended(client.message)


async def test_what_ends_a_session(tmp_path: Path) -> None:
    async with charger_at(tmp_path) as wires:
        for written in (mini.hello(mini.OPEN, bytes(16)), b"\x10" + bytes(30)):
            client, _ = await opened(wires)
            await client.send(written)
            await ended(client.message)


async def test_a_long_request_comes_through_where_it_is_not_one_burst(tmp_path: Path) -> None:
    async with charger_at(tmp_path) as wires:
        client, _ = await opened(wires)
        chunk = mini.framed(bytes(4096))[:20]
        wire = wires.wires[1]
        for _ in range(33):
            await wire.write(chunk, response=False)
        await ended(client.message)

        await protected(wires)
        client, _, identity = await owner(wires)
        keep = {**wish(identity, 2, CODE), "keep": [f"{n:016x}" for n in range(60)]}
        assert (await client.ask("passcode.rotate", keep)).keys() == {"receipt", "signature"}


async def test_forgetting_a_bond_ends_its_sessions(tmp_path: Path) -> None:
    async with charger_at(tmp_path) as wires:
        await protected(wires)
        client, _ = await entered(wires)
        bond = await client.ask("bond.create", {"name": "Ann"})
        assert await client.ask("bonds.forget", {"id": bond["id"]}) == {}
        await ended(client.message)


async def test_roles_are_kept(tmp_path: Path) -> None:
    async with charger_at(tmp_path) as wires:
        await protected(wires)
        client, params = await entered(wires)
        for method, par in (
            ("bonds.list", None),
            ("passcode.rotate", wish(params.identity, 2, CODE)),
            ("w_hsh", 20),
            ("nobody_knows", None),
        ):
            with pytest.raises(ChargerError) as refused:
                await client.ask(method, par)
            assert refused.value.code == "role_too_low"
