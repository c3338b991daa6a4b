import struct

from hypothesis import given
from hypothesis import strategies as st

from chargepin.charger.bluetooth.l2cap import (
    ATT_CHANNEL,
    SMP_CHANNEL,
    Assembly,
    Outbox,
    answer_signal,
)

FIRST, CONTINUED = 0b10, 0b01


def framed(channel: int, payload: bytes) -> bytes:
    return struct.pack("<HH", len(payload), channel) + payload


@given(st.binary(max_size=300), st.integers(1, 40))
def test_what_was_cut_is_put_together(payload: bytes, size: int) -> None:
    assembly = Assembly()
    data = framed(ATT_CHANNEL, payload)
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    results = [assembly.feed(CONTINUED if at else FIRST, piece) for at, piece in enumerate(pieces)]
    assert results == [None] * (len(pieces) - 1) + [(ATT_CHANNEL, payload)]


@given(st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=30)), max_size=10))
def test_nonsense_is_dropped_up_to_the_next_beginning(packets: list[tuple[int, bytes]]) -> None:
    assembly = Assembly()
    for boundary, data in packets:
        assembly.feed(boundary, data)
    assert assembly.feed(FIRST, framed(SMP_CHANNEL, b"good")) == (SMP_CHANNEL, b"good")


def test_a_length_beyond_reason_is_not_collected() -> None:
    assembly = Assembly()
    assert assembly.feed(FIRST, b"\xff\xff\x04\x00start") is None
    assert assembly.feed(CONTINUED, b"more") is None
    assert assembly.feed(FIRST, framed(ATT_CHANNEL, b"x") + b"surplus") is None


class Controller:
    """What a link's outbox has handed over."""

    def __init__(self, packet_bytes: int = 27, share: int = 2) -> None:
        self.got: list[bytes] = []
        self.outbox = Outbox(lambda _channel, pdu: self.got.append(pdu), packet_bytes, share)


def test_no_more_than_the_share_is_handed_over() -> None:
    controller = Controller()
    outbox = controller.outbox
    for number in range(5):
        outbox.put(ATT_CHANNEL, bytes([number]))
    assert controller.got == [b"\0", b"\1"]
    outbox.done(1)
    assert controller.got == [b"\0", b"\1", b"\2"]
    outbox.done(2)
    assert len(controller.got) == 5
    assert outbox.waiting_bytes == 0
    assert not outbox.empty
    outbox.done(2)
    assert outbox.empty


def test_a_pdu_bigger_than_the_share_goes_alone() -> None:
    controller = Controller()
    outbox = controller.outbox
    outbox.put(ATT_CHANNEL, b"a")
    outbox.put(ATT_CHANNEL, bytes(200))  # eight packets
    assert controller.got == [b"a"]
    outbox.done(1)
    assert outbox.held == 8
    outbox.put(ATT_CHANNEL, b"c")
    outbox.done(7)
    assert controller.got[-1] == b"c"
    outbox.done(99)  # a controller that can't count
    assert outbox.held == 0


def test_indications_go_one_at_a_time_and_answers_pass_them() -> None:
    controller = Controller(share=9)
    outbox = controller.outbox
    outbox.put_indication(b"i1")
    outbox.put_indication(b"i2")
    outbox.put(ATT_CHANNEL, b"answer")
    outbox.done(2)
    assert controller.got == [b"i1", b"answer"]
    assert not outbox.empty
    assert outbox.confirmed() == b"i1"
    assert controller.got == [b"i1", b"answer", b"i2"]
    assert outbox.confirmed() == b"i2"
    assert outbox.confirmed() is None
    outbox.done(1)
    assert outbox.empty


def test_signalling_is_rejected_but_never_answered_twice() -> None:
    credit_based_request = struct.pack("<BBH", 0x14, 7, 10) + bytes(10)
    assert answer_signal(credit_based_request) == b"\x01\x07\x02\x00\x00\x00"
    assert answer_signal(b"\x01\x07\x02\x00\x00\x00") is None  # a reject
    assert answer_signal(b"\x14\x00\x00\x00") is None  # identifier 0 is not allowed
    assert answer_signal(b"\x14\x07\x00") is None
    assert answer_signal(b"") is None
