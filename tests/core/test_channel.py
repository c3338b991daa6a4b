import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chargepin.core.channel import (
    LONGEST_MESSAGE,
    LONGEST_PLAINTEXT,
    RECORD,
    Assembler,
    ChannelError,
    Direction,
    Opener,
    Sealer,
    chunks,
    encode,
)

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "records.json").read_text())
KEY = bytes.fromhex(VECTORS["key"])

MESSAGES = {
    "shortest": b"\x06",
    "a confirmation": b"\x06" + bytes(32),
    "a record": b"\x10" + bytes(range(200)),
    "looks like lengths": b"\x00\x01" * 40,
    "longest": b"\x10" + bytes(LONGEST_MESSAGE - 1),
}


def pair() -> tuple[Sealer, Opener]:
    return Sealer(KEY, Direction.APP_TO_CHARGER), Opener(KEY, Direction.APP_TO_CHARGER)


# ---- messages in chunks ------------------------------------------------------------------------


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_message_comes_back_from_one_piece(message: bytes) -> None:
    assert Assembler().feed(encode(message)) == [message]


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_message_comes_back_from_single_bytes(message: bytes) -> None:
    assembler = Assembler()
    frame = encode(message)
    for byte in frame[:-1]:
        assert assembler.feed(bytes([byte])) == []
    assert assembler.feed(frame[-1:]) == [message]


@pytest.mark.parametrize("message", MESSAGES.values(), ids=MESSAGES)
def test_a_tail_is_kept_for_the_next_message(message: bytes) -> None:
    assembler = Assembler()
    frame = encode(message)
    assert assembler.feed(frame + frame[:2]) == [message]
    assert assembler.feed(frame[2:]) == [message]


@given(
    st.lists(st.binary(min_size=1, max_size=200), max_size=8),
    st.lists(st.integers(1, 60), min_size=1, max_size=40),
)
def test_messages_come_back_however_the_stream_is_cut(
    messages: list[bytes], sizes: list[int]
) -> None:
    stream = b"".join(encode(message) for message in messages)
    assembler = Assembler()
    received: list[bytes] = []
    at = turn = 0
    while at < len(stream):
        size = sizes[turn % len(sizes)]
        received += assembler.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert received == messages


@given(st.binary(min_size=1, max_size=LONGEST_MESSAGE), st.integers(23, 600))
def test_chunks_fit_the_link_and_make_up_the_frame(message: bytes, att_mtu: int) -> None:
    frame = encode(message)
    pieces = chunks(frame, att_mtu)
    assert b"".join(pieces) == frame
    assert all(0 < len(piece) <= min(att_mtu - 3, 512) for piece in pieces)
    assert all(len(piece) == len(pieces[0]) for piece in pieces[:-1])


@pytest.mark.parametrize(("att_mtu", "longest"), [(23, 20), (185, 182), (515, 512), (517, 512)])
def test_a_chunk_is_att_mtu_less_3_but_never_beyond_a_value(att_mtu: int, longest: int) -> None:
    assert len(chunks(bytes(2000), att_mtu)[0]) == longest


@pytest.mark.parametrize("att_mtu", [22, 3, 0, -1])
def test_an_impossible_att_mtu_is_refused(att_mtu: int) -> None:
    with pytest.raises(ChannelError):
        chunks(b"frame", att_mtu)


@pytest.mark.parametrize("length", [0, LONGEST_MESSAGE + 1])
def test_a_message_of_a_wrong_length_is_not_sent(length: int) -> None:
    with pytest.raises(ChannelError):
        encode(bytes(length))


@pytest.mark.parametrize("length", [0, LONGEST_MESSAGE + 1, 0xFFFF])
def test_a_wrong_length_breaks_the_stream_for_good(length: int) -> None:
    assembler = Assembler()
    assert assembler.feed(encode(b"fine")) == [b"fine"]
    with pytest.raises(ChannelError):
        assembler.feed(length.to_bytes(2))
    with pytest.raises(ChannelError):
        assembler.feed(encode(b"fine"))


@given(st.lists(st.binary(max_size=600), max_size=30))
def test_noise_gives_messages_or_an_error_and_is_never_hoarded(noise: list[bytes]) -> None:
    assembler = Assembler()
    for chunk in noise:
        try:
            messages = assembler.feed(chunk)
        except ChannelError:
            break
        assert all(1 <= len(message) <= LONGEST_MESSAGE for message in messages)
        assert len(assembler._buffer) < 2 + LONGEST_MESSAGE


# ---- records -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", VECTORS["records"])
def test_records_are_those_of_the_vectors(vector: dict[str, str | int]) -> None:
    direction = Direction(int(vector["direction"]))
    plaintext, message = (bytes.fromhex(str(vector[name])) for name in ("plaintext", "message"))
    sealer, opener = Sealer(KEY, direction), Opener(KEY, direction)
    sealer._count = opener._count = int(vector["count"])
    assert sealer.seal(plaintext) == message
    assert opener.open(message) == plaintext


@given(st.lists(st.binary(max_size=300), max_size=20), st.sampled_from(Direction))
def test_what_is_sealed_opens_in_order(plaintexts: list[bytes], direction: Direction) -> None:
    sealer, opener = Sealer(KEY, direction), Opener(KEY, direction)
    messages = [sealer.seal(plaintext) for plaintext in plaintexts]
    assert len(set(messages)) == len(messages)
    assert [opener.open(message) for message in messages] == plaintexts


def test_the_longest_record_is_a_message() -> None:
    sealer, opener = pair()
    message = sealer.seal(bytes(LONGEST_PLAINTEXT))
    assert len(message) == LONGEST_MESSAGE
    assert Assembler().feed(encode(message)) == [message]
    assert opener.open(message) == bytes(LONGEST_PLAINTEXT)


def test_too_long_a_plaintext_is_refused_and_the_session_goes_on() -> None:
    sealer, opener = pair()
    with pytest.raises(ChannelError):
        sealer.seal(bytes(LONGEST_PLAINTEXT + 1))
    assert opener.open(sealer.seal(b"next")) == b"next"


def changed(message: bytes, bit: int) -> bytes:
    raw = bytearray(message)
    raw[bit // 8] ^= 1 << bit % 8
    return bytes(raw)


@given(st.binary(max_size=60), st.data())
@settings(max_examples=60)
def test_no_bit_of_a_record_can_be_changed(plaintext: bytes, data: st.DataObject) -> None:
    sealer, opener = pair()
    message = sealer.seal(plaintext)
    bit = data.draw(st.integers(0, len(message) * 8 - 1))
    with pytest.raises(ChannelError):
        opener.open(changed(message, bit))


@pytest.mark.parametrize(
    "spoiled",
    [
        lambda messages: messages[1],  # one was lost, or they were reordered
        lambda messages: messages[0][:-1],
        lambda messages: messages[0] + b"\0",
        lambda messages: messages[0][1:],
        lambda _: b"",
        lambda _: bytes([RECORD]),
        lambda _: bytes([RECORD]) + bytes(15),
        lambda _: bytes([RECORD]) + bytes(16),
        lambda _: bytes([RECORD]) + bytes(LONGEST_MESSAGE),
        lambda messages: b"\x06" + messages[0][1:],
        lambda _: Sealer(KEY, Direction.CHARGER_TO_APP).seal(b"first"),  # reflected
        lambda _: Sealer(KEY[::-1], Direction.APP_TO_CHARGER).seal(b"first"),
    ],
)
def test_after_a_failure_nothing_opens_any_more(
    spoiled: Callable[[list[bytes]], bytes],
) -> None:
    sealer, opener = pair()
    messages = [sealer.seal(b"first"), sealer.seal(b"second")]
    with pytest.raises(ChannelError):
        opener.open(spoiled(messages))
    for message in messages:
        with pytest.raises(ChannelError, match="over"):
            opener.open(message)


def test_a_record_opens_once() -> None:
    sealer, opener = pair()
    message = sealer.seal(b"once")
    assert opener.open(message) == b"once"
    with pytest.raises(ChannelError):
        opener.open(message)


def test_a_session_ends_before_a_nonce_could_repeat() -> None:
    sealer, opener = pair()
    sealer._count = opener._count = 2**32 - 1
    assert opener.open(sealer.seal(b"last")) == b"last"
    with pytest.raises(ChannelError, match="all the records"):
        sealer.seal(b"one more")
    with pytest.raises(ChannelError, match="all the records"):
        opener.open(bytes([RECORD]) + bytes(16))


@pytest.mark.parametrize("length", [0, 32, 43, 45])
def test_a_directions_key_has_44_bytes(length: int) -> None:
    with pytest.raises(ChannelError):
        Sealer(bytes(length), Direction.APP_TO_CHARGER)
    with pytest.raises(ChannelError):
        Opener(bytes(length), Direction.APP_TO_CHARGER)


def test_keys_are_never_shown() -> None:
    sealer, opener = pair()
    assert repr(sealer) == "Sealer(APP_TO_CHARGER, hidden)"
    assert repr(opener) == "Opener(APP_TO_CHARGER, hidden)"


# ---- to the last byte --------------------------------------------------------------------------


def test_the_longest_message_is_the_protocols() -> None:
    assert LONGEST_MESSAGE == 4096


def test_a_broken_stream_keeps_nothing() -> None:
    assembler = Assembler()
    with pytest.raises(ChannelError):
        assembler.feed(b"\x00\x00" + bytes(500))
    assert not assembler._buffer


def test_the_first_record_of_a_session_has_the_number_0() -> None:
    sealer, opener = pair()
    first = VECTORS["records"][0]
    assert (first["direction"], first["count"]) == (0, 0)
    message = bytes.fromhex(first["message"])
    assert sealer.seal(bytes.fromhex(first["plaintext"])) == message
    assert opener.open(message) == bytes.fromhex(first["plaintext"])
