import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from chargepin.core import identity
from chargepin.core.catalogue import Version
from chargepin.core.handshake import Verifier, open_witness, verifier_of
from chargepin.core.identity import (
    Claim,
    Credential,
    Flag,
    Hello,
    Hint,
    IdentityError,
    MessageType,
    Params,
    Receipt,
    Refusal,
    RefusalCode,
    State,
    decode_share_v,
    sign_answer,
    sign_open,
    verifier_hash,
    verify_answer,
    verify_open,
)

VECTORS_DIR = Path(__file__).parent.parent / "vectors"
VECTORS = json.loads((VECTORS_DIR / "messages.json").read_text())
CREDENTIALS = json.loads((VECTORS_DIR / "handshake.json").read_text())["credentials"]

Struct: TypeAlias = Hint | Hello | Params | Refusal | Receipt | Claim

KEY = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(VECTORS["private_key"]))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
IDENTITY = bytes.fromhex(VECTORS["identity"])
OTHER_IDENTITY = OTHER_KEY.public_key().public_bytes_raw()

HINT = Hint(State.PROTECTED, 7, bytes(range(8)))
HELLO = Hello(Credential.BOND, Version(1, 2, 3), bytes(range(16)), bytes(range(16, 32)))
PARAMS = Params(
    credential=Credential.BOND,
    state=State.PROTECTED,
    flags=Flag.BOND_KNOWN | Flag.UPDATE_AVAILABLE,
    identity=IDENTITY,
    incarnation=1,
    generation=7,
    profile=1,
    salt=bytes(range(16)),
    retry_after_s=30,
    tries_left=79,
    software=Version(6, 7, 17),
    oldest_app=Version(0, 1, 0),
    serial="123456",
    nonce=bytes(range(32, 48)),
)
REFUSAL = Refusal(
    code=RefusalCode.PAUSED,
    identity=IDENTITY,
    incarnation=1,
    generation=7,
    retry_after_s=3600,
    oldest_app=Version(0, 1, 0),
)
RECEIPT = Receipt(
    identity=IDENTITY,
    incarnation=1,
    generation=7,
    verifier_hash=bytes.fromhex(VECTORS["verifier_hash"]),
    bonds=3,
    log_head=bytes(range(64, 96)),
)
CLAIM = Claim(
    identity=IDENTITY,
    serial="123456",
    incarnation=1,
    generation=7,
    account="acc-1",
    root_key=bytes(range(96, 128)),
    nonce=bytes(range(128, 160)),
)
HELLO_BYTES = HELLO.encode()
SIGNED_PARAMS = sign_answer(KEY, HELLO_BYTES, PARAMS.encode())
SIGNED_REFUSAL = sign_answer(KEY, HELLO_BYTES, REFUSAL.encode())
SIGNED: dict[str, Struct] = {
    "hint": HINT,
    "hello": HELLO,
    "params": Params.decode(SIGNED_PARAMS),
    "refusal": Refusal.decode(SIGNED_REFUSAL),
    "receipt": RECEIPT,
    "claim": CLAIM,
}

VERSIONS = st.builds(Version, *[st.integers(0, 0xFFFF)] * 3)
U8, U16, U32 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32))
TEXT = st.text(max_size=60).filter(str.isprintable)


def octets(size: int) -> st.SearchStrategy[bytes]:
    return st.binary(min_size=size, max_size=size)


STRUCTS: st.SearchStrategy[Struct] = st.one_of(
    st.builds(Hint, st.sampled_from(State), U32, octets(8), version=U8),
    st.builds(
        Hello,
        st.sampled_from(Credential),
        VERSIONS,
        octets(16),
        octets(16),
        protocol=U8,
        suite=U8,
    ),
    st.builds(
        Params,
        st.sampled_from(Credential),
        st.sampled_from(State),
        st.builds(Flag, U16),
        octets(32),
        U32,
        U32,
        U8,
        octets(16),
        U32,
        U8,
        VERSIONS,
        VERSIONS,
        TEXT,
        octets(16),
        octets(64),
        protocol=U8,
        suite=U8,
    ),
    st.builds(
        Refusal,
        st.sampled_from(RefusalCode),
        octets(32),
        U32,
        U32,
        U32,
        VERSIONS,
        octets(64),
        protocol=U8,
    ),
    st.builds(Receipt, octets(32), U32, U32, octets(32), U16, octets(32)),
    st.builds(Claim, octets(32), TEXT, U32, U32, TEXT, octets(32), octets(32)),
)


# ---- encoding ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIGNED)
def test_every_struct_is_that_of_the_vectors(name: str) -> None:
    struct = SIGNED[name]
    assert struct.encode().hex() == VECTORS[name]
    assert type(struct).decode(bytes.fromhex(VECTORS[name])) == struct


@given(STRUCTS)
def test_every_struct_comes_back_from_its_bytes(struct: Struct) -> None:
    assert type(struct).decode(struct.encode()) == struct


@pytest.mark.parametrize("name", SIGNED)
def test_every_struct_has_exactly_its_length(name: str) -> None:
    raw = SIGNED[name].encode()
    for length in range(len(raw)):
        with pytest.raises(IdentityError):
            type(SIGNED[name]).decode(raw[:length])
    with pytest.raises(IdentityError):
        type(SIGNED[name]).decode(raw + b"\0")


@given(st.sampled_from([Hint, Hello, Params, Refusal, Receipt, Claim]), st.binary(max_size=200))
def test_noise_decodes_to_what_encodes_the_same_or_not_at_all(
    kind: type[Struct], noise: bytes
) -> None:
    try:
        struct = kind.decode(noise)
    except IdentityError:
        return
    assert struct.encode() == noise


@given(st.sampled_from(sorted(SIGNED)), st.data())
def test_any_changed_byte_decodes_to_something_else_or_not_at_all(
    name: str, data: st.DataObject
) -> None:
    raw = bytearray(SIGNED[name].encode())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        struct = type(SIGNED[name]).decode(bytes(raw))
    except IdentityError:
        return
    assert struct != SIGNED[name]
    assert struct.encode() == bytes(raw)


@pytest.mark.parametrize("name", ["hello", "params", "refusal"])
def test_a_message_of_another_type_is_refused(name: str) -> None:
    raw = SIGNED[name].encode()
    for first in set(range(256)) - {raw[0]}:
        with pytest.raises(IdentityError):
            type(SIGNED[name]).decode(bytes([first]) + raw[1:])


def test_an_unknown_protocol_or_suite_decodes_so_that_it_can_be_refused_by_name() -> None:
    theirs = replace(HELLO, protocol=2, suite=9)
    assert Hello.decode(theirs.encode()) == theirs


def test_unknown_flags_are_kept() -> None:
    flags = Flag.PAUSED | Flag(0x8000)
    params = replace(PARAMS, flags=flags, signature=bytes(64))
    assert Params.decode(params.encode()).flags == flags


@pytest.mark.parametrize(
    ("raw", "at"),
    [
        (SIGNED_PARAMS, 3),  # credential
        (SIGNED_PARAMS, 4),  # state
        (SIGNED_REFUSAL, 2),  # code
        (HELLO_BYTES, 3),  # credential
        (HINT.encode(), 1),  # state
    ],
)
def test_unknown_choices_are_refused(raw: bytes, at: int) -> None:
    kinds = {1: Hello, 2: Params, 3: Refusal}
    kind: type[Struct] = Hint if len(raw) == 14 else kinds[raw[0]]
    for unknown in (13, 255):
        with pytest.raises(IdentityError, match="unknown"):
            kind.decode(raw[:at] + bytes([unknown]) + raw[at + 1 :])


def test_a_code_of_0_is_no_refusal() -> None:
    with pytest.raises(IdentityError):
        Refusal.decode(SIGNED_REFUSAL[:2] + b"\0" + SIGNED_REFUSAL[3:])


def claim_with_account(raw: bytes) -> bytes:
    before = CLAIM.encode()[: 32 + 7 + 8]
    return before + bytes([len(raw)]) + raw + CLAIM.root_key + CLAIM.nonce


def test_texts_may_be_any_that_can_be_shown() -> None:
    account = "Zoë's garage ⚡"
    assert Claim.decode(claim_with_account(account.encode())).account == account


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        b"\xc0\xaf",  # overlong
        b"\xed\xa0\x80",  # a lone surrogate
        b"abc\xe2\x82",  # cut off
        b"\x1b[2Jgone",
        b"two\nlines",
        b"nul\0",
        "\u202eenod".encode(),  # right-to-left override
        "\u2028".encode(),
    ],
)
def test_texts_that_cannot_be_shown_are_refused(raw: bytes) -> None:
    with pytest.raises(IdentityError):
        Claim.decode(claim_with_account(raw))


@pytest.mark.parametrize("text", ["\ud800", "two\nlines", "\u202e", "x" * 256, "é" * 128])
def test_texts_that_cannot_travel_are_not_encoded(text: str) -> None:
    with pytest.raises(IdentityError):
        replace(CLAIM, account=text).encode()


@pytest.mark.parametrize(
    "struct",
    [
        replace(HINT, nonce=bytes(7)),
        replace(HINT, generation=2**32),
        replace(HINT, version=256),
        replace(HELLO, nonce=bytes(17)),
        replace(HELLO, tag=b""),
        replace(PARAMS, generation=-1),
        replace(PARAMS, tries_left=256),
        replace(PARAMS, flags=Flag(0x10000)),
        replace(PARAMS, identity=bytes(31)),
        replace(PARAMS, salt=bytes(15)),
        replace(PARAMS, signature=bytes(63)),
        replace(REFUSAL, retry_after_s=2**32),
        replace(REFUSAL, signature=bytes(65)),
        replace(RECEIPT, bonds=0x10000),
        replace(RECEIPT, log_head=bytes(33)),
        replace(CLAIM, root_key=bytes(31)),
        replace(CLAIM, nonce=bytes(16)),
    ],
)
def test_what_does_not_fit_its_field_is_not_encoded(struct: Struct) -> None:
    with pytest.raises(IdentityError):
        struct.encode()


def test_longest_messages_fit_the_channel() -> None:
    params = replace(PARAMS, serial="x" * 255, signature=bytes(64))
    assert len(params.encode()) == 417


def test_message_types_are_those_of_the_protocol() -> None:
    assert [(kind.name, kind.value) for kind in MessageType] == [
        ("HELLO", 1),
        ("PARAMS", 2),
        ("REFUSAL", 3),
        ("SHARE_P", 4),
        ("SHARE_V", 5),
        ("CONFIRM_P", 6),
        ("RECORD", 16),
    ]


def test_refusal_codes_are_those_of_the_protocol() -> None:
    assert [code.value for code in RefusalCode] == list(range(1, 13))
    assert " ".join(code.name.lower() for code in RefusalCode) == (
        "app_too_old unsupported bond_unknown not_set passcode_needed paused exhausted "
        "storage_failed malformed wrong changed busy"
    )


def test_share_v_is_a_share_and_a_confirmation() -> None:
    body = bytes(range(97))
    assert decode_share_v(b"\x05" + body) == (body[:65], body[65:])
    for bad in (b"", b"\x05", b"\x04" + body, b"\x05" + body[:-1], b"\x05" + body + b"\0"):
        with pytest.raises(IdentityError):
            decode_share_v(bad)


# ---- signatures --------------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [SIGNED_PARAMS, SIGNED_REFUSAL], ids=["params", "refusal"])
def test_a_signed_answer_verifies_and_decodes(answer: bytes) -> None:
    decoded = verify_answer(IDENTITY, HELLO_BYTES, answer)
    assert isinstance(decoded, Params if answer[0] == MessageType.PARAMS else Refusal)
    assert decoded.encode() == answer


@pytest.mark.parametrize("answer", [SIGNED_PARAMS, SIGNED_REFUSAL], ids=["params", "refusal"])
def test_no_bit_of_an_answer_can_be_changed(answer: bytes) -> None:
    for at in range(len(answer)):
        changed = bytearray(answer)
        changed[at] ^= 1 << at % 8
        with pytest.raises(IdentityError):
            verify_answer(IDENTITY, HELLO_BYTES, bytes(changed))


def test_an_answer_belongs_to_one_hello() -> None:
    for other in (
        replace(HELLO, nonce=bytes(16)),
        replace(HELLO, tag=bytes(16)),
        replace(HELLO, credential=Credential.OPEN),
        replace(HELLO, app=Version(1, 2, 4)),
        replace(HELLO, suite=2),
        replace(HELLO, protocol=2),
    ):
        with pytest.raises(IdentityError, match="signature"):
            verify_answer(IDENTITY, other.encode(), SIGNED_PARAMS)


def test_an_answer_names_the_identity_that_signs_it() -> None:
    with pytest.raises(IdentityError, match="another identity"):
        verify_answer(OTHER_IDENTITY, HELLO_BYTES, SIGNED_PARAMS)
    names_ours = sign_answer(OTHER_KEY, HELLO_BYTES, PARAMS.encode())
    with pytest.raises(IdentityError, match="signature"):
        verify_answer(IDENTITY, HELLO_BYTES, names_ours)
    names_ours = sign_answer(OTHER_KEY, HELLO_BYTES, PARAMS.encode())
    with pytest.raises(IdentityError, match="another identity"):
        verify_answer(OTHER_IDENTITY, HELLO_BYTES, names_ours)


def test_an_open_session_is_signed_for_its_two_ends_alone() -> None:
    exporter = bytes(range(32))
    signature = sign_open(KEY, exporter)
    verify_open(IDENTITY, exporter, signature)
    KEY.public_key().verify(signature, b"chargepin open 1" + exporter)
    for other in ((OTHER_IDENTITY, exporter), (IDENTITY, bytes(32))):
        with pytest.raises(IdentityError):
            verify_open(*other, signature)
    with pytest.raises(IdentityError):
        verify_open(IDENTITY, exporter, b"")


def test_an_unsigned_answer_is_refused() -> None:
    for unsigned in (PARAMS.encode(), REFUSAL.encode(), PARAMS.encode() + bytes(64)):
        with pytest.raises(IdentityError):
            verify_answer(IDENTITY, HELLO_BYTES, unsigned)


@given(st.binary(max_size=250))
def test_noise_is_no_answer(noise: bytes) -> None:
    with pytest.raises(IdentityError):
        verify_answer(IDENTITY, HELLO_BYTES, noise)


def test_an_identity_that_is_no_key_verifies_nothing() -> None:
    with pytest.raises(IdentityError):
        identity._verify(b"short", bytes(64), b"")
    for raw in (bytes(32), b"\xff" * 32):
        with pytest.raises(IdentityError):
            identity._verify(raw, b"\x01" * 64, b"message")


def test_signatures_are_those_of_the_vectors() -> None:
    assert RECEIPT.sign(KEY).hex() == VECTORS["receipt_signature"]
    assert CLAIM.sign(KEY).hex() == VECTORS["claim_signature"]


def flipped(raw: bytes) -> bytes:
    return bytes([raw[0] ^ 1]) + raw[1:]


def test_a_receipt_verifies_as_signed_and_not_otherwise() -> None:
    signature = RECEIPT.sign(KEY)
    RECEIPT.verify(signature)
    for other in (
        replace(RECEIPT, identity=OTHER_IDENTITY),
        replace(RECEIPT, incarnation=2),
        replace(RECEIPT, generation=8),
        replace(RECEIPT, verifier_hash=flipped(RECEIPT.verifier_hash)),
        replace(RECEIPT, bonds=4),
        replace(RECEIPT, log_head=flipped(RECEIPT.log_head)),
    ):
        with pytest.raises(IdentityError):
            other.verify(signature)


def test_a_claim_verifies_as_signed_and_not_otherwise() -> None:
    signature = CLAIM.sign(KEY)
    CLAIM.verify(signature)
    for other in (
        replace(CLAIM, identity=OTHER_IDENTITY),
        replace(CLAIM, serial="123457"),
        replace(CLAIM, incarnation=2),
        replace(CLAIM, generation=8),
        replace(CLAIM, account="acc-2"),
        replace(CLAIM, root_key=flipped(CLAIM.root_key)),
        replace(CLAIM, nonce=flipped(CLAIM.nonce)),
    ):
        with pytest.raises(IdentityError):
            other.verify(signature)


@pytest.mark.parametrize("signed", [RECEIPT, CLAIM], ids=["receipt", "claim"])
def test_a_wrong_signature_is_none(signed: Receipt | Claim) -> None:
    right = signed.sign(KEY)
    for wrong in (
        b"",
        bytes(64),
        right[:-1],
        right + b"\0",
        flipped(right),
        signed.sign(OTHER_KEY),
    ):
        with pytest.raises(IdentityError):
            signed.verify(wrong)


def test_signatures_serve_one_purpose() -> None:
    """A signature for one kind of statement is none for another with the same bytes."""
    raw = RECEIPT.encode()
    with pytest.raises(IdentityError):
        RECEIPT.verify(KEY.sign(b"chargepin claim 1" + raw))
    with pytest.raises(IdentityError):
        RECEIPT.verify(KEY.sign(raw))


def test_a_verifiers_hash_is_that_of_the_vectors() -> None:
    vector = CREDENTIALS[0]
    verifier = Verifier(bytes.fromhex(vector["w0"]), bytes.fromhex(vector["L"]))
    hashed = verifier_hash(verifier, bytes.fromhex(vector["salt"]), vector["profile"])
    assert hashed.hex() == VECTORS["verifier_hash"]


def test_a_verifiers_hash_depends_on_all_of_it() -> None:
    one, other = (verifier_of(open_witness(bytes([i] * 32))) for i in range(2))
    hashes = {
        verifier_hash(Verifier(w0, point), salt, profile)
        for w0 in (one.w0, other.w0)
        for point in (one.L, other.L)
        for salt in (bytes(16), bytes([1] * 16))
        for profile in (1, 2)
    }
    assert len(hashes) == 16


@pytest.mark.parametrize(
    "call",
    [
        lambda verifier: verifier_hash(verifier, bytes(15), 1),
        lambda verifier: verifier_hash(verifier, bytes(16), 256),
    ],
)
def test_a_verifiers_hash_takes_only_what_fits(call: Callable[[Verifier], bytes]) -> None:
    with pytest.raises(IdentityError):
        call(verifier_of(open_witness(bytes(32))))
