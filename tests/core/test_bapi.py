import itertools
from collections.abc import Callable, Sequence

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargepin.core.bapi import (
    METHODS,
    REPLY_MAX_BYTES,
    REQUEST_MAX_BYTES,
    BapiError,
    Event,
    Kind,
    Refused,
    Reply,
    ReplyAssembler,
    Request,
    RequestAssembler,
    decode_reply,
    decode_reply_or_event,
    decode_request,
    encode_error,
    encode_event,
    encode_flat,
    encode_reply,
    encode_request,
    method_of,
    request_json,
)
from chargepin.core.bonds import Role

R_DAT = bytes.fromhex("45614522") + b'{"met":"r_dat","par":null,"id":20}' + b"\x98"

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
ids = st.integers(-(2**63), 2**63 - 1)
method_names = st.from_regex(r"[A-Za-z_.]{1,20}", fullmatch=True)
cuts = st.lists(st.integers(0, 400), max_size=12)


def pieces(stream: bytes, at: Sequence[int]) -> list[bytes]:
    """Cut a stream at the given places."""
    edges = [0, *sorted(min(place, len(stream)) for place in at), len(stream)]
    return [stream[start:end] for start, end in itertools.pairwise(edges)]


def fed(feed: Callable[[bytes], list[bytes]], chunks: Sequence[bytes]) -> list[bytes]:
    return [message for chunk in chunks for message in feed(chunk)]


# Requests


def test_a_request_as_clients_send_it() -> None:
    assert encode_request("r_dat", None, 20) == R_DAT


@pytest.mark.parametrize(
    ("length", "head"), [(255, b"\xff"), (256, b"\x00256\x00"), (300, b"\x00300\x00")]
)
def test_both_forms_of_the_length(length: int, head: bytes) -> None:
    filler = length - len(request_json("s", "", 1))
    frame = encode_request("s", "x" * filler, 1)
    assert frame.startswith(b"EaE" + head + b"{")
    assert len(frame) == 3 + len(head) + length + 1
    (found,) = RequestAssembler().feed(frame)
    assert len(found) == length


@given(method_names, json_values, ids)
def test_a_request_survives_its_frame(met: str, par: object, request_id: int) -> None:
    (raw,) = RequestAssembler().feed(encode_request(met, par, request_id))
    assert decode_request(raw) == Request(met, par, request_id)


@pytest.mark.parametrize(
    "frame", [R_DAT, encode_request("s_sch", ["x" * 300], 7), encode_request("w", "é" * 4000, 9)]
)
def test_a_frame_whole_byte_by_byte_and_with_a_tail(frame: bytes) -> None:
    whole = RequestAssembler().feed(frame)
    assert len(whole) == 1
    assert fed(RequestAssembler().feed, [bytes([byte]) for byte in frame]) == whole
    assembler = RequestAssembler()
    assert assembler.feed(frame + R_DAT[:9]) == whole
    assert assembler.feed(R_DAT[9:]) == RequestAssembler().feed(R_DAT)


@given(st.lists(st.tuples(method_names, json_values, ids), max_size=4), cuts)
def test_requests_are_found_however_they_are_cut(
    requests: list[tuple[str, object, int]], at: list[int]
) -> None:
    stream = b"".join(encode_request(*each) for each in requests)
    found = fed(RequestAssembler().feed, pieces(stream, at))
    assert [decode_request(raw) for raw in found] == [Request(*each) for each in requests]


@given(st.binary(max_size=40).filter(lambda noise: b"E" not in noise), cuts)
def test_noise_before_a_frame_is_skipped(noise: bytes, at: list[int]) -> None:
    assert len(fed(RequestAssembler().feed, pieces(noise + b"EEa-" + R_DAT, at))) == 1


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_noise_alone_breaks_nothing(chunks: list[bytes]) -> None:
    assert fed(RequestAssembler().feed, chunks) == [] or b"EaE" in b"".join(chunks)


@given(st.integers(4, len(R_DAT) - 1), st.integers(1, 255))
def test_a_damaged_frame_is_dropped_and_the_next_one_found(at: int, change: int) -> None:
    damaged = bytearray(R_DAT)
    damaged[at] ^= change
    assert RequestAssembler().feed(bytes(damaged) + R_DAT) == [R_DAT[4:-1]]


def test_a_frame_cut_short_costs_only_itself() -> None:
    assembler = RequestAssembler()
    assert assembler.feed(R_DAT[:20]) == []
    assert assembler.feed(R_DAT) == [R_DAT[4:-1]]
    assert assembler.feed(R_DAT) == [R_DAT[4:-1]]


def test_an_unfinished_frame_can_be_forgotten() -> None:
    assembler = RequestAssembler()
    assembler.feed(R_DAT[:20])
    assembler.clear()
    assert assembler.feed(R_DAT[20:]) == []


@pytest.mark.parametrize(
    "head",
    [b"\x00\x00", b"\x000\x00", b"\x008193\x00", b"\x0099999\x00", b"\x00-1\x00", b"\x00 12\x00",
     b"\x00x", b"\x0012x", b"\x0012345"],
)  # fmt: skip
def test_a_length_that_cannot_be_is_passed_over(head: bytes) -> None:
    assert RequestAssembler().feed(b"EaE" + head + R_DAT) == [R_DAT[4:-1]]


def test_the_longest_request() -> None:
    filler = "x" * (REQUEST_MAX_BYTES - len(request_json("s", "", 1)))
    assert len(RequestAssembler().feed(encode_request("s", filler, 1))[0]) == REQUEST_MAX_BYTES
    with pytest.raises(BapiError, match="8192"):
        encode_request("s", filler + "x", 1)


def test_spaces_and_a_missing_par_are_accepted() -> None:
    assert decode_request(b'{ "met": "ping", "id": 7 }') == Request("ping", None, 7)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"{}", b'{"met":"ping"}', b'{"met":1,"id":1}', b'{"met":"","id":1}',
     b'{"met":"ping","id":"1"}', b'{"met":"ping","id":1.5}', b'{"met":"ping","id":true}',
     b'{"met":"ping","id":99999999999999999999}', b'{"met":"\xff","id":1}', b'{"met":"ping","id":1',
     b'{"met":"a","id":1,"par":' + b"[" * 4000 + b"]" * 4000 + b"}",
     b'{"met":"a","id":1,"par":1e999}', b'{"met":"' + b"a" * 65 + b'","id":1}'],
)  # fmt: skip
def test_what_is_no_request(raw: bytes) -> None:
    with pytest.raises(BapiError, match="not a request"):
        decode_request(raw)


@given(st.binary(max_size=80))
def test_no_bytes_do_more_than_fail_to_be_a_message(raw: bytes) -> None:
    for decode in (decode_request, decode_reply, decode_reply_or_event):
        try:
            decode(raw)
        except BapiError as error:
            assert error.__cause__ is None  # noqa: PT017  # nothing quoted, whichever it is


# Replies


@given(ids, json_values)
def test_a_reply_survives(request_id: int, value: object) -> None:
    assert decode_reply(encode_reply(request_id, value)) == Reply(request_id, value)


@given(ids, ids | st.text(max_size=20), st.text(max_size=20))
def test_an_error_survives(request_id: int, code: int | str, message: str) -> None:
    raw = encode_error(request_id, code, message)
    assert decode_reply(raw) == Reply(request_id, error=Refused(code, message))


def test_a_flat_reply_may_have_an_r_of_its_own() -> None:
    raw = encode_flat(3, {"c": "1", "p": "prj15-pulsar-max", "r": "2", "s": "6.11.16"})
    assert raw == b'{"id":3,"c":"1","p":"prj15-pulsar-max","r":"2","s":"6.11.16"}'
    assert decode_reply(raw).value == {"c": "1", "p": "prj15-pulsar-max", "r": "2", "s": "6.11.16"}


def test_replies_as_real_chargers_wrote_them() -> None:
    assert decode_reply(b'{"id":20,"r":{"L1":103,"st":1}}').value == {"L1": 103, "st": 1}
    assert decode_reply(b'{"r":null,"id":9}') == Reply(9, None)
    no_method = decode_reply(b'{"error":{"code":1,"message":"No dispatch method found"},"id":4}')
    assert no_method.error == Refused(1, "No dispatch method found")


def test_events() -> None:
    raw = encode_event("granted", {"role": "user", "generation": 1})
    assert decode_reply_or_event(raw) == Event("granted", {"role": "user", "generation": 1})
    assert decode_reply_or_event(b'{"id":1,"r":2}') == Reply(1, 2)
    with pytest.raises(BapiError):
        decode_reply(raw)


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b'{"r":1}', b'{"id":"1","r":1}', b'{"id":null,"r":1}', b'{"id":1,"error":null}',
     b'{"id":1,"error":{"code":1.5}}', b'{"id":1,"error":{"message":"?"}}', b'{"ev":1}'],
)  # fmt: skip
def test_what_is_no_reply(raw: bytes) -> None:
    for decode in (decode_reply, decode_reply_or_event):
        with pytest.raises(BapiError):
            decode(raw)


TRICKY = rb'{"id":1,"r":{"a":"}{\\\"}{","b":[{},{"c":"\\"}]}}'


def test_a_reply_whole_byte_by_byte_and_with_a_tail() -> None:
    assert ReplyAssembler().feed(TRICKY) == [TRICKY]
    assert fed(ReplyAssembler().feed, [bytes([byte]) for byte in TRICKY]) == [TRICKY]
    assembler = ReplyAssembler()
    assert assembler.feed(TRICKY + TRICKY[:5]) == [TRICKY]
    assert assembler.feed(TRICKY[5:]) == [TRICKY]


@given(st.lists(st.tuples(ids, json_values), max_size=4), cuts)
def test_replies_are_found_however_they_are_cut(
    replies: list[tuple[int, object]], at: list[int]
) -> None:
    stream = b"".join(encode_reply(*each) for each in replies)
    found = fed(ReplyAssembler().feed, pieces(stream, at))
    assert [decode_reply(raw) for raw in found] == [Reply(*each) for each in replies]


def test_text_of_the_module_and_frames_are_skipped() -> None:
    framed = b"EaE" + bytes([len(TRICKY)]) + TRICKY + b"{"  # a checksum that looks like a brace
    assert ReplyAssembler().feed(b"ERR\r\n" + framed + framed) == [TRICKY, TRICKY]
    assert ReplyAssembler().feed(b"{{{ }") == [b"{ }"]


def test_an_unfinished_reply_can_be_forgotten() -> None:
    assembler = ReplyAssembler()
    assembler.feed(b'{"id":1,"r":"')
    assembler.clear()
    assert assembler.feed(TRICKY) == [TRICKY]


def test_a_reply_that_never_ends_is_given_up() -> None:
    assembler = ReplyAssembler()
    assembler.feed(b'{"id":1,"r":"' + b"x" * (REPLY_MAX_BYTES - 13))
    with pytest.raises(BapiError, match="16384"):
        assembler.feed(b"x")
    assert assembler.feed(TRICKY) == [TRICKY]


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_a_reply_found_in_noise_is_at_least_balanced(chunks: list[bytes]) -> None:
    for found in fed(ReplyAssembler().feed, chunks):
        assert found.startswith(b"{")
        assert found.endswith(b"}")


# Methods


def test_who_may_call_what() -> None:
    assert METHODS["r_dat"].role is Role.USER
    assert METHODS["r_dat"].kind is Kind.READ
    assert METHODS["w_cha"].role is Role.USER
    assert METHODS["w_cha"].kind is Kind.WRITE
    assert METHODS["bonds.list"].role is Role.ADMIN
    assert METHODS["g_ocpp"].role is Role.OWNER
    assert METHODS["passcode.set"].role is Role.OWNER
    assert {method.role for method in METHODS.values()} == {Role.USER, Role.ADMIN, Role.OWNER}


def test_an_unknown_method_needs_the_owner() -> None:
    unknown = method_of("format_c")
    assert unknown.role is Role.OWNER
    assert unknown.kind is Kind.WRITE
    assert method_of("r_dat") is METHODS["r_dat"]


def test_our_methods_are_told_by_the_dot_or_the_three_words() -> None:
    for name, method in METHODS.items():
        ours = "." in name or name in {"claim", "release", "reset"}
        assert method.in_records_only is ours


def test_messages_are_compact() -> None:
    assert encode_reply(1, {"a": [1, 2]}) == b'{"id":1,"r":{"a":[1,2]}}'
    assert msgspec.json.decode(encode_error(2, "paused", "wait")) == {
        "error": {"code": "paused", "message": "wait"},
        "id": 2,
    }
