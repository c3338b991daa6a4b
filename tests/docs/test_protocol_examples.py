"""The examples of docs/protocol.md: computed by the code, and by a client that knows no code."""

import ast
import inspect
import json
import re
from collections.abc import Mapping

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargepin.charger import own, parameters
from chargepin.core import bapi, channel, gatt, handshake, identity, lockout, log, p256
from chargepin.core.catalogue import Version
from chargepin.core.identity import Credential, Flag, MessageType, RefusalCode, State
from chargepin.core.passcode import Passcode
from docs import mini_app, mini_client, mini_papers, story
from docs.document import BLOCK, EXAMPLES, TEXT

GIVEN = {name: EXAMPLES[name] for name in story.GIVEN}
TOLD = story.told(GIVEN)
SOFTWARE, APP = Version(6, 7, 17), Version(0, 1, 0)
WITHOUT_OUTSIDE = frozenset(
    {
        *("argon2_password", "passcode_seed", "open_seed", "bond_seed"),
        *("Z", "V", "K_main", "K_confirm", "session_salt"),
        *("log_entry_1", "log_entry_2", "app_record_1_nonce", "app_record_1_associated"),
    }
)
"""Steps in between that the code keeps to itself; what follows from them is compared."""


def test_every_example_is_named_once_and_is_told() -> None:
    names = [name for _, name, _ in BLOCK.findall(TEXT)]
    assert len(names) == len(set(names))
    assert set(names) == story.GIVEN | TOLD.keys()
    assert TEXT.count("```") == 2 * len(names), "a fenced block has no name"


@pytest.mark.parametrize("name", sorted(TOLD))
def test_the_independent_client_reaches_the_same_bytes(name: str) -> None:
    assert EXAMPLES[name].hex() == TOLD[name].hex()


def test_the_independent_client_is_independent() -> None:
    for module in (mini_client, mini_app, mini_papers, story):
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(inspect.getsource(module)))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
        }
        assert "chargepin" not in imported
        assert "msgspec" not in imported


def of_the_code() -> dict[str, bytes]:
    """Every example that the code gives, from the document's inputs."""
    key = Ed25519PrivateKey.from_private_bytes(GIVEN["charger_seed"])
    named = key.public_key().public_bytes_raw()
    found = {"identity": named, **advertising(), **frames(), **credentials(named)}
    found |= {"M": p256.encoded(handshake._M), "N": p256.encoded(handshake._N)}
    found |= messages(key, named)
    found |= exchange(named, found)
    found |= records(found)
    return found | receipts(key, named)


def advertising() -> dict[str, bytes]:
    short = gatt.advertising(gatt.Layout.BGX, "WB123456", passcode=True)
    long = gatt.advertising(gatt.Layout.BGX, "WB1234567", passcode=True)
    return {
        "advertisement": short[0],
        "scan_response": short[1],
        "advertisement_long_name": long[0],
        "scan_response_long_name": long[1],
    }


def frames() -> dict[str, bytes]:
    found = {}
    for form in ("short", "long"):
        request = bapi.decode_request(GIVEN[f"eae_{form}_json"])
        found[f"eae_{form}"] = bapi.encode_request(request.met, request.par, request.id)
    return found


def witness_of_the_passcode(named: bytes) -> handshake.Witness:
    code = Passcode(GIVEN["passcode"].decode())
    return handshake.passcode_witness(code, named, GIVEN["salt"], 1)


def credentials(named: bytes) -> dict[str, bytes]:
    witnesses = {
        "": witness_of_the_passcode(named),
        "open_": handshake.open_witness(named),
        "bond_": handshake.bond_witness(GIVEN["bond_secret"], named),
    }
    tag_key = handshake.bond_tag_key(GIVEN["bond_secret"], named)
    nonces = GIVEN["next_connection_nonce"], GIVEN["next_app_nonce"]
    tag = handshake.bond_tag(tag_key, *nonces)
    bond_hello = identity.Hello(Credential.BOND, APP, GIVEN["next_app_nonce"], tag)
    found = {"tag_key": tag_key, "tag": tag, "bond_hello": bond_hello.encode()}
    for prefix, witness in witnesses.items():
        found |= {f"{prefix}w0": witness.w0, f"{prefix}w1": witness.w1}
    return found | {"L": handshake.verifier_of(witnesses[""]).L}


def messages(key: Ed25519PrivateKey, named: bytes) -> dict[str, bytes]:
    hint = identity.Hint(State.PROTECTED, 1, GIVEN["connection_nonce"])
    hello = identity.Hello(Credential.PASSCODE, APP, GIVEN["app_nonce"]).encode()
    params = identity.Params(
        credential=Credential.PASSCODE,
        state=State.PROTECTED,
        flags=Flag(0),
        identity=named,
        incarnation=1,
        generation=1,
        profile=1,
        salt=GIVEN["salt"],
        retry_after_s=0,
        tries_left=lockout.Lockout().tries_left(0.0),
        software=SOFTWARE,
        oldest_app=APP,
        serial="123456",
        nonce=GIVEN["params_nonce"],
    )
    refusal = identity.Refusal(RefusalCode.PAUSED, named, 1, 1, 30, APP)
    return {
        "hint": hint.encode(),
        "hello": hello,
        "params": identity.sign_answer(key, hello, params.encode()),
        "refusal": identity.sign_answer(key, hello, refusal.encode()),
    }


def exchange(named: bytes, said: Mapping[str, bytes]) -> dict[str, bytes]:
    witness = witness_of_the_passcode(named)
    verifier = handshake.verifier_of(witness)
    bound = handshake.context(said["hello"], said["params"])
    random_p, random_v = GIVEN["scalar_p_random"], GIVEN["scalar_v_random"]
    prover = handshake.Prover(witness, named, random_p)
    response = handshake.respond(verifier, named, bound, prover.start(), random_v)
    proof = prover.finish(bound, response.share_v, response.confirm_v)
    assert response.confirmed_by(proof.confirm_p)
    x, y = handshake._fresh_scalar(random_p), handshake._fresh_scalar(random_v)
    seen = handshake._Seen(bound, b"chargepin app", named, prover.start(), response.share_v)
    sent = {
        "share_p": bytes([MessageType.SHARE_P]) + prover.start(),
        "share_v": bytes([MessageType.SHARE_V]) + response.share_v + response.confirm_v,
        "confirm_p": bytes([MessageType.CONFIRM_P]) + proof.confirm_p,
    }
    whole = {"hello": said["hello"], "params": said["params"], **sent}
    cuts = {f"cut_{name}": channel.encode(message) for name, message in whole.items()}
    return {
        **sent,
        **cuts,
        "context": bound,
        "x": x.to_bytes(32),
        "y": y.to_bytes(32),
        "K_shared": handshake._prover_outcome(seen, witness, x).shared,
        "app_to_charger": proof.keys.app_to_charger,
        "charger_to_app": response.keys.charger_to_app,
        "exporter": proof.keys.exporter,
    }


def records(keys: Mapping[str, bytes]) -> dict[str, bytes]:
    found = {}
    for side, name, direction in (
        ("app", "app_to_charger", channel.Direction.APP_TO_CHARGER),
        ("charger", "charger_to_app", channel.Direction.CHARGER_TO_APP),
    ):
        sealer = channel.Sealer(keys[name], direction)
        for count in (0, 1):
            text = GIVEN[f"{side}_record_{count}_text"]
            found[f"{side}_record_{count}"] = sealer.seal(text)
    return found


def receipts(key: Ed25519PrivateKey, named: bytes) -> dict[str, bytes]:
    unix_s = story.LOG_BEGINS_UNIX_S
    first = log.append(
        log.EMPTY,
        unix_s=unix_s,
        running_s=0.0,
        event="started",
        detail=msgspec.json.decode(GIVEN["log_entry_1_detail"]),
    )
    second = log.append(
        first.head,
        unix_s=unix_s + 12,
        running_s=12.5,
        event="passcode_set",
        detail=msgspec.json.decode(GIVEN["log_entry_2_detail"]),
    )
    verifier = handshake.verifier_of(witness_of_the_passcode(named))
    digest = identity.verifier_hash(verifier, GIVEN["salt"], 1)
    receipt = identity.Receipt(named, 1, 1, digest, 0, second.hash)
    account = GIVEN["claim_account"].decode()
    root_key, nonce = GIVEN["claim_root_key"], GIVEN["claim_nonce"]
    claim = identity.Claim(named, "123456", 1, 1, account, root_key, nonce)
    return {
        "log_entry_1_hash": first.hash,
        "log_entry_2_hash": second.hash,
        "verifier_hash": digest,
        "receipt": receipt.encode(),
        "receipt_signature": receipt.sign(key),
        "claim": claim.encode(),
        "claim_signature": claim.sign(key),
    }


OF_THE_CODE = of_the_code()


@pytest.mark.parametrize("name", sorted(TOLD.keys() - WITHOUT_OUTSIDE))
def test_the_code_gives_the_same_bytes(name: str) -> None:
    assert EXAMPLES[name].hex() == OF_THE_CODE[name].hex()


@pytest.mark.parametrize("name", ["hello", "params", "share_p", "share_v", "confirm_p"])
def test_each_line_of_a_cut_is_a_chunk(name: str) -> None:
    (body,) = re.findall(rf"^```hex cut_{name}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    chunks = channel.chunks(channel.encode(EXAMPLES[name]), 23)
    assert body.split() == [chunk.hex() for chunk in chunks]
    assembler = channel.Assembler()
    assert [message for chunk in chunks for message in assembler.feed(chunk)] == [EXAMPLES[name]]


def test_the_code_reads_the_answers_and_the_signatures() -> None:
    for name in ("params", "refusal"):
        identity.verify_answer(EXAMPLES["identity"], EXAMPLES["hello"], EXAMPLES[name])
    identity.Receipt.decode(EXAMPLES["receipt"]).verify(EXAMPLES["receipt_signature"])
    identity.Claim.decode(EXAMPLES["claim"]).verify(EXAMPLES["claim_signature"])


def test_the_json_is_as_both_sides_write_it() -> None:
    for name in (
        *("eae_short_json", "eae_long_json", "app_record_0_text", "app_record_1_text"),
        *("pairing_open_request", "pairing_last_request"),
    ):
        request = bapi.decode_request(GIVEN[name])
        assert bapi.request_json(request.met, request.par, request.id) == GIVEN[name]
    for name in ("charger_record_0_text", "pairing_code_event"):
        event = bapi.decode_reply_or_event(GIVEN[name])
        assert isinstance(event, bapi.Event)
        assert bapi.encode_event(event.name, event.members) == GIVEN[name]
    for name in ("pairing_open_reply", "pairing_last_reply", "charger_record_1_text"):
        reply = bapi.decode_reply_or_event(GIVEN[name])
        assert isinstance(reply, bapi.Reply)
        assert bapi.encode_reply(reply.id, reply.value) == GIVEN[name]
    created = json.loads(GIVEN["charger_record_1_text"])["r"]
    assert created["secret"] == GIVEN["bond_secret"].hex()


def test_the_request_that_set_the_passcode_is_that_of_the_story() -> None:
    request = bapi.decode_request(GIVEN["set_request"])
    assert request.met == "passcode.set"
    wish = msgspec.convert(request.par, parameters.SetParameters)
    assert bytes.fromhex(wish.verifier) == EXAMPLES["w0"] + EXAMPLES["L"]
    assert bytes.fromhex(wish.salt) == GIVEN["salt"]
    assert own._credential(wish).profile == wish.profile == 1
    assert wish.generation == 1


def test_the_document_is_json_where_it_says_so() -> None:
    for name, raw in EXAMPLES.items():
        if name.endswith(("_json", "_text", "_detail", "_request")):
            json.loads(raw)
            assert b"\n" not in raw
