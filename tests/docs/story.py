"""The story of docs/protocol.md, section 18, told again by the independent client.

`told` computes every example from the few values that the document gives.
"""

import hashlib
import json
from collections.abc import Mapping

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from core import spake2plus_oracle as curve
from docs import mini_client as client
from docs import mini_papers as papers

SERIAL = b"123456"
LOG_BEGINS_UNIX_S = 1_790_000_000
GIVEN = frozenset(
    {
        *("charger_seed", "passcode", "salt", "set_request"),
        *("connection_nonce", "app_nonce", "params_nonce", "scalar_p_random", "scalar_v_random"),
        *("bond_secret", "next_connection_nonce", "next_app_nonce"),
        *("claim_account", "claim_root_key", "claim_nonce"),
        *("eae_short_json", "eae_long_json", "log_entry_1_detail", "log_entry_2_detail"),
        *("app_record_0_text", "app_record_1_text"),
        *("charger_record_0_text", "charger_record_1_text"),
        *("pairing_open_request", "pairing_open_reply", "pairing_code_event"),
        *("pairing_last_request", "pairing_last_reply"),
    }
)
"""Examples that are inputs; all others follow from them."""


def told(given: Mapping[str, bytes]) -> dict[str, bytes]:
    """Every example that is not given, computed."""
    key = Ed25519PrivateKey.from_private_bytes(given["charger_seed"])
    identity = key.public_key().public_bytes_raw()
    story = {"identity": identity, **_advertising(), **_constants()}
    for form in ("short", "long"):
        story[f"eae_{form}"] = client.stock_frame(given[f"eae_{form}_json"])
    story |= _credentials(given, identity)
    story |= _log(given)
    story |= _receipt(given, story, key)
    story |= _handshake(given, story, key)
    story |= _records(given, story)
    story |= _bond(given, identity)
    return story | _claim(given, identity, key)


def _advertising() -> dict[str, bytes]:
    flags = bytes([2, 0x01, 0x06])
    bgx = _uuid_field("331a36f5-2459-45ea-9d95-6142f0c4b307")
    own = _uuid_field("f61a0001-15e1-47c2-87fe-b9b33a47d941")
    return {
        "advertisement": flags + bgx + b"\x09\x09WB123456",
        "scan_response": own,
        "advertisement_long_name": flags + bgx,
        "scan_response_long_name": own + b"\x0a\x09WB1234567",
    }


def _uuid_field(uuid: str) -> bytes:
    return b"\x11\x07" + bytes.fromhex(uuid.replace("-", ""))[::-1]


def _constants() -> dict[str, bytes]:
    return {"M": curve.written(curve.M), "N": curve.written(curve.N)}


def _credentials(given: Mapping[str, bytes], identity: bytes) -> dict[str, bytes]:
    digits, salt = given["passcode"], given["salt"]
    seeds = {
        "": client.passcode_seed(digits, identity, salt, 1),
        "open_": client.open_seed(identity),
        "bond_": client.bond_seed(given["bond_secret"], identity),
    }
    found = {"argon2_password": client.passcode_password(digits, identity)}
    for prefix, seed in seeds.items():
        found[(prefix or "passcode_") + "seed"] = seed
        for name, number in zip(("w0", "w1"), client.witness(seed), strict=True):
            found[prefix + name] = number.to_bytes(32, "big")
    return found | {"L": client.verifier(*client.witness(seeds[""]))[32:]}


def _log(given: Mapping[str, bytes]) -> dict[str, bytes]:
    first, second = (json.loads(given[f"log_entry_{n}_detail"]) for n in (1, 2))
    begun = LOG_BEGINS_UNIX_S
    entry_1 = papers.log_entry(bytes(32), 1, begun, 0.0, "started", first)
    hash_1 = hashlib.sha256(entry_1).digest()
    entry_2 = papers.log_entry(hash_1, 2, begun + 12, 12.5, "passcode_set", second)
    return {
        "log_entry_1": entry_1,
        "log_entry_1_hash": hash_1,
        "log_entry_2": entry_2,
        "log_entry_2_hash": hashlib.sha256(entry_2).digest(),
    }


def _receipt(
    given: Mapping[str, bytes], story: Mapping[str, bytes], key: Ed25519PrivateKey
) -> dict[str, bytes]:
    digest = papers.verifier_hash(story["w0"] + story["L"], given["salt"], 1)
    counters = bytes.fromhex("00000001 00000001")
    receipt = story["identity"] + counters + digest + bytes(2) + story["log_entry_2_hash"]
    return {
        "verifier_hash": digest,
        "receipt": receipt,
        "receipt_signature": key.sign(b"chargepin receipt 1" + receipt),
    }


def _signed(key: Ed25519PrivateKey, hello: bytes, unsigned: bytes) -> bytes:
    return unsigned + key.sign(b"chargepin params 1" + hello + unsigned)


def _handshake(
    given: Mapping[str, bytes], story: Mapping[str, bytes], key: Ed25519PrivateKey
) -> dict[str, bytes]:
    identity, counters = story["identity"], bytes.fromhex("00000001 00000001")
    hello = client.hello(client.PASSCODE, given["app_nonce"])
    oldest_app = bytes.fromhex("0000 0001 0000")
    unsigned = bytes.fromhex("02 01 01 01 02 0000") + identity + counters + b"\x01" + given["salt"]
    unsigned += bytes.fromhex("00000000 03 0006 0007 0011") + oldest_app
    params = _signed(key, hello, unsigned + b"\x06" + SERIAL + given["params_nonce"])
    unsigned = bytes.fromhex("03 01 06") + identity + counters + bytes.fromhex("0000001e")
    refusal = _signed(key, hello, unsigned + oldest_app)

    w0, w1 = (int.from_bytes(story[name], "big") for name in ("w0", "w1"))
    x, y = (client.scalar(given[f"scalar_{side}_random"]) for side in "pv")
    bound = client.context(hello, params)
    # The charger's half: what SHARE_V holds.
    share_p = client.share_p(w0, x)
    share_v = curve.written(curve.plus(curve.multiple(y, curve.G), curve.multiple(w0, curve.N)))
    bare = client.unblinded(share_p, w0, curve.M)
    z = curve.written(curve.multiple(y, bare))
    v = curve.written(curve.multiple(y, curve.read(story["L"])))
    theirs = client.schedule(bound, identity, (share_p, share_v), z, v, w0)
    answer = bytes([client.SHARE_V]) + share_v + theirs.confirm_v
    # The app's half, which must come to the same.
    ours = client.prove(bound, identity, (w0, w1), x, answer)
    if ours != theirs or len(ours.transcript) != 782:
        raise AssertionError("the two halves disagree")
    messages = {
        "hello": hello,
        "params": params,
        "share_p": bytes([client.SHARE_P]) + share_p,
        "share_v": answer,
        "confirm_p": bytes([client.CONFIRM_P]) + ours.confirm_p,
    }
    cuts = {
        f"cut_{name}": b"".join(client.cut(client.framed(message), 23))
        for name, message in messages.items()
    }
    hint = bytes.fromhex("01 02 00000001") + given["connection_nonce"]
    return {
        **messages,
        **cuts,
        "hint": hint,
        "refusal": refusal,
        "x": x.to_bytes(32, "big"),
        "y": y.to_bytes(32, "big"),
        "context": bound,
        "Z": z,
        "V": v,
        "K_main": ours.k_main,
        "K_confirm": ours.k_confirm,
        "K_shared": ours.k_shared,
        "session_salt": ours.salt,
        "app_to_charger": ours.app_to_charger,
        "charger_to_app": ours.charger_to_app,
        "exporter": ours.exporter,
    }


def _records(given: Mapping[str, bytes], story: Mapping[str, bytes]) -> dict[str, bytes]:
    found = {}
    for direction, side, key in ((0, "app", "app_to_charger"), (1, "charger", "charger_to_app")):
        records = client.Records(story[key], direction)
        for count in (0, 1):
            name = f"{side}_record_{count}"
            found[f"{name}_nonce"] = records.nonce()
            found[f"{name}_associated"] = records.associated()
            found[name] = records.seal(given[f"{name}_text"])
    shown = "app_record_1"
    return {
        name: value
        for name, value in found.items()
        if name.startswith(shown) or not name.endswith(("_nonce", "_associated"))
    }


def _bond(given: Mapping[str, bytes], identity: bytes) -> dict[str, bytes]:
    key = client.bond_tag_key(given["bond_secret"], identity)
    tag = client.bond_tag(key, given["next_connection_nonce"], given["next_app_nonce"])
    hello = client.hello(client.BOND, given["next_app_nonce"], tag)
    return {"tag_key": key, "tag": tag, "bond_hello": hello}


def _claim(given: Mapping[str, bytes], identity: bytes, key: Ed25519PrivateKey) -> dict[str, bytes]:
    claim = identity + b"\x06" + SERIAL + bytes.fromhex("00000001 00000001")
    claim += bytes([len(given["claim_account"])]) + given["claim_account"]
    claim += given["claim_root_key"] + given["claim_nonce"]
    return {"claim": claim, "claim_signature": key.sign(b"chargepin claim 1" + claim)}
