"""A radio module's line for one link: cutting, command mode, credits."""

from hypothesis import given
from hypothesis import strategies as st

from chargepin.charger.bluetooth.serial import (
    CREDITS_AT_ONCE,
    FIRST_CREDITS,
    HELD_MAX_BYTES,
    Part,
    Serial,
)
from chargepin.core.gatt import Mode


@given(st.binary(max_size=400), st.integers(20, 244))
def test_pieces_have_16_to_20_bytes_whatever_the_mtu(message: bytes, most: int) -> None:
    line = Serial()
    pieces = list(line.send(message, most))
    assert b"".join(pieces) == message
    assert all(16 <= len(piece) <= 20 for piece in pieces[:-1])
    assert line.last == (pieces[-1] if pieces else b"")


def test_the_shell_gets_what_is_written_outside_of_streaming() -> None:
    for mode in (Mode.LOCAL_COMMAND, Mode.REMOTE_COMMAND):
        line = Serial()
        line.switch(mode)
        assert line.take(b"frame") == b""
        assert list(line.send(b"reply", 20)) == []
        line.switch(mode)
        line.switch(Mode.STREAM)
        assert line.take(b"frame") == b"frame"
        assert line.said == [
            (Part.MODE, bytes([mode])),
            (Part.NOTIFY, b"ready\r\n"),
            (Part.NOTIFY, b"ERR\r\n"),
            (Part.MODE, b"\x01"),
        ]


def test_without_flow_control_credits_mean_nothing() -> None:
    line = Serial()
    for _ in range(100):
        assert line.take(b"x") == b"x"
    assert b"".join(line.send(b"y" * 100, 20)) == b"y" * 100
    assert line.said == []


def test_a_client_has_to_wait_for_credits() -> None:
    line = Serial()
    line.control_flow(on=True)
    assert line.said == [(Part.CREDITS, bytes([FIRST_CREDITS]))]
    for _ in range(CREDITS_AT_ONCE):
        assert line.take(b"x") == b"x"
    assert line.said[1:] == [(Part.CREDITS, bytes([CREDITS_AT_ONCE]))]
    taken = 0
    line.given = 3
    for _ in range(5):
        taken += len(line.take(b"x"))
    assert taken == 3


def test_the_charger_has_to_wait_for_credits() -> None:
    line = Serial()
    line.control_flow(on=True)
    line.said.clear()
    assert list(line.send(b"a" * 60, 20)) == []
    line.get(2)
    assert [len(piece) for _, piece in line.said] == [20, 16]
    line.get(0xFF)  # which refuses
    assert len(line.said) == 2
    line.get(3)
    assert b"".join(piece for _, piece in line.said) == b"a" * 60
    assert [*line.send(b"b" * 30, 20)] == [b"b" * 20]
    line.said.clear()
    line.control_flow(on=False)
    assert line.said == [(Part.NOTIFY, b"b" * 10)]
    assert line.got == 0


def test_what_is_held_is_bounded() -> None:
    line = Serial()
    line.control_flow(on=True)
    for _ in range(HELD_MAX_BYTES // 1000 + 5):
        assert list(line.send(bytes(1000), 20)) == []
    assert sum(map(len, line.held)) <= HELD_MAX_BYTES


packets = st.lists(
    st.one_of(
        st.tuples(st.just("take"), st.integers(1, 20)),
        st.tuples(st.just("send"), st.integers(0, 100)),
        st.tuples(st.just("get"), st.integers(0, 20)),
        st.tuples(st.just("flow"), st.integers(0, 1)),
    ),
    max_size=60,
)


@given(packets)
def test_whatever_is_sent_arrives_once_and_in_order(events: list[tuple[str, int]]) -> None:
    line, sent, heard = Serial(), bytearray(), bytearray()
    number = 0
    for what, count in events:
        if what == "take":
            line.take(bytes(count))
        elif what == "send":
            message = bytes((number + at) % 256 for at in range(count))
            number += count
            sent += message
            for piece in line.send(message, 20):
                heard += piece
        elif what == "get":
            line.get(count)
        else:
            line.control_flow(on=bool(count))
        heard += b"".join(value for part, value in line.said if part is Part.NOTIFY)
        line.said.clear()
        assert line.given >= 0
        assert line.got >= 0
    line.control_flow(on=False)
    heard += b"".join(value for part, value in line.said if part is Part.NOTIFY)
    assert heard == sent
