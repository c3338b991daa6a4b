import hmac
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargepin.core import handshake, p256
from chargepin.core.handshake import (
    HandshakeError,
    Prover,
    Verifier,
    Witness,
    WrongSecret,
    bond_tag,
    bond_tag_key,
    bond_witness,
    context,
    open_witness,
    passcode_witness,
    respond,
    verifier_of,
)
from chargepin.core.passcode import Passcode
from core import spake2plus_oracle as oracle

VECTORS = Path(__file__).parent.parent / "vectors"
RFC = json.loads((VECTORS / "spake2plus-p256-sha256.json").read_text())["vectors"]
OURS = json.loads((VECTORS / "handshake.json").read_text())

IDENTITY = bytes(range(32))
CONTEXT = context(b"hello", b"params")
ORDER = p256.ORDER
EDGES = [1, 2, 3, ORDER // 2, ORDER // 2 + 1, ORDER - 3, ORDER - 2, ORDER - 1]

SCALARS = st.one_of(st.sampled_from(EDGES), st.integers(1, ORDER - 1))
RANDOM_48 = st.binary(min_size=48, max_size=48)


def witness_of(w0: int, w1: int) -> Witness:
    return Witness(w0.to_bytes(32), w1.to_bytes(32))


def reduced(random: bytes) -> int:
    return 1 + int.from_bytes(random) % (ORDER - 2)


def random_for(scalar: int) -> bytes:
    return (scalar - 1).to_bytes(48)


WITNESS = witness_of(0x1234567, 0x7654321)
VERIFIER = verifier_of(WITNESS)
SCALAR_P, SCALAR_V = bytes(range(48)), bytes(range(48, 96))
NAMES = oracle.Names(CONTEXT, b"chargepin app", IDENTITY)


def oracle_point(raw: bytes) -> oracle.Triple:
    return oracle.read(raw)


def point(raw: bytes) -> p256.Point:
    decoded = p256.decoded(raw)
    assert decoded is not None
    return decoded


# ---- the curve ---------------------------------------------------------------------------------


def test_m_and_n_are_those_of_the_rfc() -> None:
    assert p256.encoded(handshake._M) == oracle.written(oracle.M)
    assert p256.encoded(handshake._N) == oracle.written(oracle.N)
    assert p256.decoded(p256.encoded(handshake._M)) == handshake._M
    assert p256.decoded(p256.encoded(handshake._N)) == handshake._N


@pytest.mark.parametrize("scalar", EDGES)
@pytest.mark.parametrize("base", [oracle.M, oracle.N, oracle.G], ids=["M", "N", "G"])
def test_the_smallest_and_largest_multiples_are_right(scalar: int, base: oracle.Triple) -> None:
    expected = oracle.written(oracle.multiple(scalar, base))
    assert p256.encoded(p256.times(scalar, point(oracle.written(base)))) == expected


@given(SCALARS, SCALARS)
@settings(max_examples=50, deadline=None)
def test_multiples_are_those_of_the_oracle(scalar: int, of: int) -> None:
    base = p256.times_base(of)
    assert p256.encoded(base) == oracle.written(oracle.multiple(of, oracle.G))
    product = oracle.multiple(scalar, oracle_point(p256.encoded(base)))
    assert p256.encoded(p256.times(scalar, base)) == oracle.written(product)


@given(SCALARS, SCALARS)
@settings(max_examples=40, deadline=None)
def test_sums_are_those_of_the_oracle(one: int, other: int) -> None:
    points = p256.times_base(one), p256.times_base(other)
    total = p256.added(*points)
    expected = oracle.plus(*(oracle_point(p256.encoded(each)) for each in points))
    assert (b"\0" if total is None else p256.encoded(total)) == oracle.written(expected)


def test_a_point_and_its_opposite_cancel_out() -> None:
    base = p256.times_base(7)
    assert p256.added(base, p256.opposite(base)) is None
    assert p256.added(base, base) == p256.times_base(14)


# ---- published vectors -------------------------------------------------------------------------


@pytest.mark.parametrize("vector", RFC)
def test_the_oracle_gives_every_value_of_the_rfc(vector: dict[str, str]) -> None:
    v = vector
    w0, w1, x, y = (int(v[name], 16) for name in ("w0", "w1", "x", "y"))
    names = oracle.Names(*(v[n].encode() for n in ("context", "id_prover", "id_verifier")))
    assert oracle.written(oracle.multiple(w1, oracle.G)).hex() == v["L"]
    assert oracle.share_p(w0, x).hex() == v["share_p"]
    assert oracle.share_v(w0, y).hex() == v["share_v"]
    prover = oracle.prover(names, w0, w1, x, bytes.fromhex(v["share_v"]))
    verifier = oracle.verifier(names, w0, bytes.fromhex(v["L"]), y, bytes.fromhex(v["share_p"]))
    assert prover == verifier
    assert prover.transcript.hex() == v["TT"]
    assert prover.main.hex() == v["K_main"]
    assert prover.confirm_key_p.hex() == v["K_confirmP"]
    assert prover.confirm_key_v.hex() == v["K_confirmV"]
    assert prover.confirm_p.hex() == v["confirm_p"]
    assert prover.confirm_v.hex() == v["confirm_v"]
    assert prover.shared.hex() == v["K_shared"]


@pytest.mark.parametrize("vector", RFC)
def test_both_sides_give_every_value_of_the_rfc(vector: dict[str, str]) -> None:
    v = vector
    w0, w1, x, y = (int(v[name], 16) for name in ("w0", "w1", "x", "y"))
    witness = witness_of(w0, w1)
    verifier = verifier_of(witness)
    assert verifier.L.hex() == v["L"]
    assert handshake._prover_share(witness, x).hex() == v["share_p"]
    assert handshake._verifier_share(verifier, y).hex() == v["share_v"]
    seen = handshake._Seen(
        context=v["context"].encode(),
        prover_id=v["id_prover"].encode(),
        verifier_id=v["id_verifier"].encode(),
        share_p=bytes.fromhex(v["share_p"]),
        share_v=bytes.fromhex(v["share_v"]),
    )
    for outcome in (
        handshake._prover_outcome(seen, witness, x),
        handshake._verifier_outcome(seen, verifier, y),
    ):
        assert outcome.confirm_p.hex() == v["confirm_p"]
        assert outcome.confirm_v.hex() == v["confirm_v"]
        assert outcome.shared.hex() == v["K_shared"]


def witness_from(vector: dict[str, Any]) -> Witness:
    identity = bytes.fromhex(vector["identity"])
    match vector["credential"]:
        case "passcode":
            salt = bytes.fromhex(vector["salt"])
            return passcode_witness(
                Passcode(vector["digits"]), identity, salt, int(vector["profile"])
            )
        case "bond":
            return bond_witness(bytes.fromhex(vector["secret"]), identity)
        case _:
            return open_witness(identity)


@pytest.mark.parametrize("vector", OURS["credentials"])
def test_credentials_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    witness = witness_from(vector)
    assert witness.w0.hex() == vector["w0"]
    assert witness.w1.hex() == vector["w1"]
    assert verifier_of(witness).L.hex() == vector["L"]


def test_a_bonds_tag_is_that_of_the_vectors() -> None:
    (vector,) = (v for v in OURS["credentials"] if v["credential"] == "bond")
    key = bond_tag_key(bytes.fromhex(vector["secret"]), bytes.fromhex(vector["identity"]))
    assert key.hex() == vector["tag_key"]
    nonces = (bytes.fromhex(vector[name]) for name in ("connection_nonce", "app_nonce"))
    assert bond_tag(key, *nonces).hex() == vector["tag"]


@pytest.mark.parametrize("vector", OURS["exchanges"])
def test_a_whole_exchange_is_that_of_the_vectors(vector: dict[str, Any]) -> None:
    v = {name: bytes.fromhex(text) for name, text in vector.items() if name != "credential"}
    credential = OURS["credentials"][vector["credential"]]
    identity = bytes.fromhex(credential["identity"])
    witness = witness_from(credential)
    assert context(v["hello"], v["params"]) == v["context"]

    prover = Prover(witness, identity, v["scalar_p"])
    assert prover.start() == v["share_p"]
    response = respond(verifier_of(witness), identity, v["context"], v["share_p"], v["scalar_v"])
    assert response.share_v == v["share_v"]
    assert response.confirm_v == v["confirm_v"]
    proof = prover.finish(v["context"], v["share_v"], v["confirm_v"])
    assert proof.confirm_p == response.expected_confirm_p == v["confirm_p"]
    assert proof.keys == response.keys
    assert proof.keys.app_to_charger == v["app_to_charger"]
    assert proof.keys.charger_to_app == v["charger_to_app"]
    assert proof.keys.exporter == v["exporter"]


# ---- against the oracle ------------------------------------------------------------------------


def assert_keys(keys: handshake.SessionKeys, side: oracle.Side, shares: bytes) -> None:
    for key, info, length in (
        (keys.app_to_charger, b"chargepin app to charger", 44),
        (keys.charger_to_app, b"chargepin charger to app", 44),
        (keys.exporter, b"chargepin exporter", 32),
    ):
        assert key == oracle.session_key(side, CONTEXT, shares, info, length)


@given(SCALARS, SCALARS, RANDOM_48, RANDOM_48)
@settings(max_examples=40, deadline=None)
def test_an_app_and_the_oracle_as_charger_agree(
    w0: int, w1: int, random_p: bytes, random_v: bytes
) -> None:
    prover = Prover(witness_of(w0, w1), IDENTITY, random_p)
    registered = oracle.written(oracle.multiple(w1, oracle.G))
    charger = oracle.verifier(NAMES, w0, registered, reduced(random_v), prover.start())
    answer = oracle.share_v(w0, reduced(random_v))
    proof = prover.finish(CONTEXT, answer, charger.confirm_v)
    assert proof.confirm_p == charger.confirm_p
    assert_keys(proof.keys, charger, prover.start() + answer)


@given(SCALARS, SCALARS, RANDOM_48, RANDOM_48)
@settings(max_examples=40, deadline=None)
def test_the_oracle_as_app_and_a_charger_agree(
    w0: int, w1: int, random_p: bytes, random_v: bytes
) -> None:
    asked = oracle.share_p(w0, reduced(random_p))
    verifier = verifier_of(witness_of(w0, w1))
    response = respond(verifier, IDENTITY, CONTEXT, asked, random_v)
    app = oracle.prover(NAMES, w0, w1, reduced(random_p), response.share_v)
    assert response.confirm_v == app.confirm_v
    assert response.confirmed_by(app.confirm_p)
    assert_keys(response.keys, app, asked + response.share_v)


@pytest.mark.parametrize("w0", EDGES)
@pytest.mark.parametrize("w1", [1, ORDER - 2, ORDER - 1])
@pytest.mark.parametrize("scalar", [1, ORDER - 2])
def test_edges_agree_with_each_other(w0: int, w1: int, scalar: int) -> None:
    witness = witness_of(w0, w1)
    prover = Prover(witness, IDENTITY, random_for(scalar))
    response = respond(verifier_of(witness), IDENTITY, CONTEXT, prover.start(), SCALAR_V)
    proof = prover.finish(CONTEXT, response.share_v, response.confirm_v)
    assert response.confirmed_by(proof.confirm_p)
    assert proof.keys == response.keys


def test_scalars_run_from_1_to_order_minus_2() -> None:
    assert handshake._fresh_scalar(bytes(48)) == 1
    assert handshake._fresh_scalar((ORDER - 3).to_bytes(48)) == ORDER - 2
    assert handshake._fresh_scalar((ORDER - 2).to_bytes(48)) == 1
    assert handshake._fresh_scalar(b"\xff" * 48) == reduced(b"\xff" * 48)


# ---- what must not succeed ---------------------------------------------------------------------


def exchange(prover: Prover, verifier: Verifier) -> handshake.Response:
    return respond(verifier, IDENTITY, CONTEXT, prover.start(), SCALAR_V)


def test_a_wrong_passcode_is_a_wrong_secret_and_confirms_nothing() -> None:
    salt = bytes(16)
    right, wrong = (
        passcode_witness(Passcode(digits), IDENTITY, salt, 1) for digits in ("482913", "482914")
    )
    prover = Prover(wrong, IDENTITY, SCALAR_P)
    response = exchange(prover, verifier_of(right))
    with pytest.raises(WrongSecret):
        prover.finish(CONTEXT, response.share_v, response.confirm_v)
    guess = oracle.prover(
        NAMES,
        int.from_bytes(wrong.w0),
        int.from_bytes(wrong.w1),
        reduced(SCALAR_P),
        response.share_v,
    )
    assert not response.confirmed_by(guess.confirm_p)


@pytest.mark.parametrize("other", [witness_of(0x1234568, 0x7654321), witness_of(0x1234567, 1)])
def test_both_halves_of_a_witness_matter(other: Witness) -> None:
    prover = Prover(other, IDENTITY, SCALAR_P)
    response = exchange(prover, VERIFIER)
    with pytest.raises(WrongSecret):
        prover.finish(CONTEXT, response.share_v, response.confirm_v)


def test_a_verifier_does_not_prove() -> None:
    """A stolen verifier (w0 and L, w1 not known) lets nobody in."""
    prover = Prover(witness_of(0x1234567, 1), IDENTITY, SCALAR_P)
    response = exchange(prover, VERIFIER)
    thief = oracle.prover(NAMES, 0x1234567, 1, reduced(SCALAR_P), response.share_v)
    assert not response.confirmed_by(thief.confirm_p)


@given(st.data())
@settings(max_examples=50, deadline=None)
def test_no_bit_of_the_answer_can_be_changed(data: st.DataObject) -> None:
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    response = exchange(prover, VERIFIER)
    answer = bytearray(response.share_v + response.confirm_v)
    position = data.draw(st.integers(0, len(answer) * 8 - 1))
    answer[position // 8] ^= 1 << position % 8
    with pytest.raises(HandshakeError):
        prover.finish(CONTEXT, bytes(answer[:65]), bytes(answer[65:]))


@given(st.integers(0, 32 * 8 - 1))
@settings(max_examples=30, deadline=None)
def test_no_bit_of_the_proof_can_be_changed(position: int) -> None:
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    response = exchange(prover, VERIFIER)
    proof = bytearray(prover.finish(CONTEXT, response.share_v, response.confirm_v).confirm_p)
    assert response.confirmed_by(bytes(proof))
    proof[position // 8] ^= 1 << position % 8
    assert not response.confirmed_by(bytes(proof))


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_proof_of_another_length_is_none(length: int) -> None:
    response = exchange(Prover(WITNESS, IDENTITY, SCALAR_P), VERIFIER)
    assert not response.confirmed_by((response.expected_confirm_p * 2)[:length])


def test_an_exchange_is_bound_to_messages_and_identity() -> None:
    elsewhere = context(b"hello", b"params of another")
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    response = respond(VERIFIER, IDENTITY, elsewhere, prover.start(), SCALAR_V)
    with pytest.raises(WrongSecret):
        prover.finish(CONTEXT, response.share_v, response.confirm_v)
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    response = respond(VERIFIER, bytes(32), CONTEXT, prover.start(), SCALAR_V)
    with pytest.raises(WrongSecret):
        prover.finish(CONTEXT, response.share_v, response.confirm_v)


@given(st.binary(max_size=40), st.binary(max_size=40), st.binary(max_size=40))
def test_contexts_are_equal_only_for_equal_messages(a: bytes, b: bytes, c: bytes) -> None:
    assert context(a + b, c) != context(a, b + c) or not b
    assert context(a, b) == b"chargepin handshake 1" + b"".join(
        len(part).to_bytes(2) + part for part in (a, b)
    )


def test_a_context_has_no_message_longer_than_the_air_carries() -> None:
    with pytest.raises(HandshakeError):
        context(b"", bytes(0x10000))


# ---- shares that no honest side sends ----------------------------------------------------------

GOOD = oracle.share_p(5, 7)
X, Y = GOOD[1:33], GOOD[33:]


def negated(point_: oracle.Triple) -> bytes:
    return oracle.written(oracle.minus(point_))


INVALID = {
    "empty": b"",
    "infinity": b"\x00",
    "infinity, padded": bytes(65),
    "zero coordinates": b"\x04" + bytes(64),
    "64 bytes": GOOD[:64],
    "66 bytes": GOOD + b"\0",
    "without the leading byte": GOOD[1:],
    "compressed": bytes([2 + Y[-1] % 2]) + X,
    "compressed, padded": bytes([2 + Y[-1] % 2]) + X + Y,
    "hybrid": bytes([6 + Y[-1] % 2]) + X + Y,
    "unknown form": b"\x05" + X + Y,
    "off the curve": GOOD[:-1] + bytes([GOOD[-1] ^ 1]),
    "coordinates swapped": b"\x04" + Y + X,
    "x is p": b"\x04" + oracle.P.to_bytes(32) + Y,
    "y is p": b"\x04" + X + oracle.P.to_bytes(32),
    "x beyond p, else valid": b"\x04"
    + (5 + oracle.P).to_bytes(32)
    + oracle.written(oracle.lifted(5, odd=False))[33:],
    "all FF": b"\xff" * 65,
    "all FF coordinates": b"\x04" + b"\xff" * 64,
    "on the twist": b"\x04" + (1).to_bytes(32) + (1).to_bytes(32),
    "M": oracle.written(oracle.M),
    "minus M": negated(oracle.M),
    "N": oracle.written(oracle.N),
    "minus N": negated(oracle.N),
}


def test_some_invalid_shares_differ_from_valid_ones_in_one_thing_only() -> None:
    assert p256.decoded(GOOD) is not None
    assert p256.decoded(oracle.written(oracle.lifted(5, odd=False))) is not None


@pytest.mark.parametrize("share", INVALID.values(), ids=INVALID)
def test_a_charger_refuses_an_invalid_share(share: bytes) -> None:
    with pytest.raises(HandshakeError) as caught:
        respond(VERIFIER, IDENTITY, CONTEXT, share, SCALAR_V)
    assert not isinstance(caught.value, WrongSecret)


@pytest.mark.parametrize("share", INVALID.values(), ids=INVALID)
def test_an_app_refuses_an_invalid_share(share: bytes) -> None:
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    with pytest.raises(HandshakeError) as caught:
        prover.finish(CONTEXT, share, bytes(32))
    assert not isinstance(caught.value, WrongSecret)


def test_a_share_that_cancels_the_secret_out_is_refused() -> None:
    w0 = int.from_bytes(WITNESS.w0)
    cancelling = oracle.written(oracle.multiple(w0, oracle.M))
    with pytest.raises(HandshakeError, match="cancels"):
        respond(VERIFIER, IDENTITY, CONTEXT, cancelling, SCALAR_V)
    cancelling = oracle.written(oracle.multiple(w0, oracle.N))
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    with pytest.raises(HandshakeError, match="cancels"):
        prover.finish(CONTEXT, cancelling, bytes(32))


def test_a_share_that_doubles_the_secret_is_computed_like_any_other() -> None:
    w0 = int.from_bytes(WITNESS.w0)
    doubling = negated(oracle.multiple(w0, oracle.M))
    expected = oracle.verifier(NAMES, w0, VERIFIER.L, reduced(SCALAR_V), doubling)
    response = respond(VERIFIER, IDENTITY, CONTEXT, doubling, SCALAR_V)
    assert response.confirm_v == expected.confirm_v


def test_an_app_refuses_its_own_share_as_an_answer() -> None:
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    with pytest.raises(HandshakeError, match="own answer"):
        prover.finish(CONTEXT, prover.start(), bytes(32))


@given(st.binary(max_size=70))
def test_noise_is_refused_as_a_share(noise: bytes) -> None:
    with pytest.raises(HandshakeError):
        respond(VERIFIER, IDENTITY, CONTEXT, noise, SCALAR_V)


def test_one_share_gets_one_answer() -> None:
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    response = exchange(prover, VERIFIER)
    with pytest.raises(WrongSecret):
        prover.finish(CONTEXT, response.share_v, bytes(32))
    with pytest.raises(HandshakeError, match="over"):
        prover.finish(CONTEXT, response.share_v, response.confirm_v)


# ---- lengths, ranges, secrecy ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: Prover(WITNESS, bytes(31), SCALAR_P), "identity"),
        (lambda: Prover(WITNESS, IDENTITY, bytes(47)), "a scalar's randomness"),
        (
            lambda: Prover(WITNESS, IDENTITY, SCALAR_P).finish(CONTEXT, VERIFIER.L, bytes(31)),
            "confirmV",
        ),
        (lambda: respond(VERIFIER, bytes(33), CONTEXT, GOOD, SCALAR_V), "identity"),
        (lambda: respond(VERIFIER, IDENTITY, CONTEXT, GOOD, bytes(49)), "a scalar's randomness"),
        (lambda: passcode_witness(Passcode("482913"), bytes(31), bytes(16), 1), "identity"),
        (lambda: passcode_witness(Passcode("482913"), IDENTITY, bytes(15), 1), "salt"),
        (lambda: bond_witness(bytes(31), IDENTITY), "a bond's secret"),
        (lambda: bond_witness(bytes(32), bytes(31)), "identity"),
        (lambda: bond_tag_key(bytes(33), IDENTITY), "a bond's secret"),
        (lambda: bond_tag(bytes(32), bytes(7), bytes(16)), "the connection's nonce"),
        (lambda: bond_tag(bytes(32), bytes(8), bytes(17)), "the app's nonce"),
        (lambda: open_witness(b""), "identity"),
        (lambda: Verifier(bytes(31), VERIFIER.L).check(), "w0 or w1"),
    ],
)
def test_a_wrong_length_is_refused_and_named(call: Callable[[], object], named: str) -> None:
    with pytest.raises(HandshakeError, match=f"^{named}: [0-9]+ bytes expected"):
        call()


@pytest.mark.parametrize("profile", [0, 2, 255])
def test_an_unknown_profile_is_refused(profile: int) -> None:
    with pytest.raises(HandshakeError, match="does not know"):
        passcode_witness(Passcode("482913"), IDENTITY, bytes(16), profile)


OUT_OF_RANGE = [bytes(32), ORDER.to_bytes(32), b"\xff" * 32, bytes(31), bytes(33)]


@pytest.mark.parametrize("bad", OUT_OF_RANGE)
def test_a_witness_is_in_range(bad: bytes) -> None:
    with pytest.raises(HandshakeError):
        Witness(bad, WITNESS.w1)
    with pytest.raises(HandshakeError):
        Witness(WITNESS.w0, bad)


@pytest.mark.parametrize("bad", OUT_OF_RANGE)
def test_a_verifiers_w0_is_checked(bad: bytes) -> None:
    verifier = Verifier(bad, VERIFIER.L)
    with pytest.raises(HandshakeError):
        verifier.check()
    with pytest.raises(HandshakeError):
        respond(verifier, IDENTITY, CONTEXT, GOOD, SCALAR_V)


@pytest.mark.parametrize(
    "bad", [share for name, share in INVALID.items() if "M" not in name and "N" not in name]
)
def test_a_verifiers_point_is_checked(bad: bytes) -> None:
    verifier = Verifier(VERIFIER.w0, bad)
    with pytest.raises(HandshakeError):
        verifier.check()
    with pytest.raises(HandshakeError):
        respond(verifier, IDENTITY, CONTEXT, GOOD, SCALAR_V)


def test_a_verifier_travels_as_97_bytes() -> None:
    VERIFIER.check()
    raw = VERIFIER.encode()
    assert len(raw) == 97
    assert Verifier.decode(raw) == VERIFIER


@given(st.binary(max_size=100))
def test_noise_is_no_verifier(noise: bytes) -> None:
    with pytest.raises(HandshakeError):
        Verifier.decode(noise)


def test_tags_of_one_bond_differ_by_connection_and_by_attempt() -> None:
    key = bond_tag_key(bytes(32), IDENTITY)
    tags = {bond_tag(key, bytes([a] * 8), bytes([b] * 16)) for a in range(3) for b in range(3)}
    assert len(tags) == 9
    assert all(len(tag) == 16 for tag in tags)


def test_confirmations_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[frozenset[bytes]] = []
    really = hmac.compare_digest

    def compare_digest(one: bytes, other: bytes) -> bool:
        compared.append(frozenset((one, other)))
        return really(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare_digest)
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    response = exchange(prover, VERIFIER)
    with pytest.raises(WrongSecret):
        prover.finish(CONTEXT, response.share_v, b"v" * 32)
    assert not response.confirmed_by(b"p" * 32)
    assert compared == [
        frozenset((response.confirm_v, b"v" * 32)),
        frozenset((response.expected_confirm_p, b"p" * 32)),
    ]


def test_nothing_secret_is_shown() -> None:
    prover = Prover(WITNESS, IDENTITY, SCALAR_P)
    response = exchange(prover, VERIFIER)
    proof = prover.finish(CONTEXT, response.share_v, response.confirm_v)
    outcome = handshake._Outcome(b"p" * 32, b"v" * 32, b"s" * 32)
    hidden = {
        "Witness": WITNESS,
        "Verifier": VERIFIER,
        "Prover": prover,
        "Response": response,
        "Proof": proof,
        "SessionKeys": proof.keys,
        "_Outcome": outcome,
    }
    for name, value in hidden.items():
        assert repr(value) == str(value) == f"{name}(hidden)"


def test_errors_do_not_hold_secrets() -> None:
    with pytest.raises(HandshakeError) as caught:
        bond_witness(b"secret", IDENTITY)
    assert "secret'" not in str(caught.value)
    with pytest.raises(HandshakeError) as caught:
        Witness(ORDER.to_bytes(32), WITNESS.w1)
    assert ORDER.to_bytes(32).hex() not in str(caught.value)


def test_the_suite_is_the_protocols() -> None:
    assert (handshake.SUITE, handshake.PROFILE) == (1, 1)
