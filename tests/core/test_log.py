import hashlib
import math
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargepin.core.log import EMPTY, Entry, Head, LogBroken, append, verify

details = st.dictionaries(
    st.text(max_size=8),
    st.text(max_size=12) | st.integers(-(2**63) + 1, 2**63 - 1) | st.booleans() | st.none(),
    max_size=4,
)


def chain(length: int, head: Head = EMPTY) -> list[Entry]:
    entries = []
    for number in range(length):
        entry = append(
            head,
            unix_s=1_700_000_000 + number,
            running_s=number / 2,
            event="link_opened",
            detail={"link": number, "name": "Ann"},
        )
        entries.append(entry)
        head = entry.head
    return entries


def test_encoding_is_the_documented_one() -> None:
    entry = append(EMPTY, unix_s=-1, running_s=0.5, event="set", detail={"b": 1, "a": None})
    content = b'{"a":null,"b":1}'
    expected = hashlib.sha256(
        b"chargepin log 1"
        + bytes(32)
        + struct.pack(">Qqd", 1, -1, 0.5)
        + struct.pack(">H", 3)
        + b"set"
        + struct.pack(">I", len(content))
        + content
    ).digest()
    assert entry.hash == expected
    assert entry.previous == bytes(32)
    assert entry.head == Head(1, expected)


def test_an_untouched_chain_holds_and_gives_its_head() -> None:
    entries = chain(5)
    assert verify(entries) == entries[-1].head
    assert verify(entries[2:], entries[1].head) == entries[-1].head
    assert verify([]) == EMPTY


def test_order_of_keys_does_not_matter() -> None:
    one = append(EMPTY, unix_s=0, running_s=0.0, event="e", detail={"a": 1, "b": 2})
    two = append(EMPTY, unix_s=0, running_s=0.0, event="e", detail={"b": 2, "a": 1})
    assert one.hash == two.hash


@pytest.mark.parametrize("at", range(4))
@pytest.mark.parametrize(
    "change",
    [
        {"unix_s": 5},
        {"running_s": 99.0},
        {"event": "other"},
        {"detail": {"link": 9}},
        {"detail": {}},
        {"hash": bytes(32)},
    ],
)
def test_a_changed_entry_is_named(at: int, change: dict[str, object]) -> None:
    entries = chain(4)
    entries[at] = msgspec.structs.replace(entries[at], **change)
    with pytest.raises(LogBroken) as caught:
        verify(entries)
    assert caught.value.sequence == at + 1


def test_a_rewritten_entry_breaks_the_one_after_it() -> None:
    entries = chain(3)
    entries[1] = append(entries[0].head, unix_s=7, running_s=0.0, event="forged")
    with pytest.raises(LogBroken) as caught:
        verify(entries)
    assert caught.value.sequence == 3


def test_a_lost_or_inserted_entry_is_named() -> None:
    entries = chain(4)
    with pytest.raises(LogBroken) as caught:
        verify([entries[0], entries[2], entries[3]])
    assert caught.value.sequence == 2
    with pytest.raises(LogBroken) as caught:
        verify([entries[0], entries[0], entries[1]])
    assert caught.value.sequence == 2
    with pytest.raises(LogBroken):
        verify(entries[1:])


def test_damaged_values_break_the_chain_instead_of_the_reader() -> None:
    entry = chain(1)[0]
    for change in (
        {"detail": {"x": 1.5}},
        {"detail": {"x": "\ud800"}},
        {"unix_s": 2**70},
        {"running_s": math.nan},
        {"event": ""},
        {"event": "x" * 65},
        {"unix_s": "yesterday"},
    ):
        with pytest.raises(LogBroken):
            verify([msgspec.structs.replace(entry, **change)])


@pytest.mark.parametrize(
    ("event", "detail", "unix_s", "running_s"),
    [
        ("", {}, 0, 0.0),
        ("x" * 65, {}, 0, 0.0),
        ("x", {"a": 1.5}, 0, 0.0),
        ("x", {"a": 2**63}, 0, 0.0),
        ("x", {"a": ["nested"]}, 0, 0.0),
        ("x", {"a": "\udc00"}, 0, 0.0),
        ("x", {"a": "y" * 5000}, 0, 0.0),
        ("x", {}, 2**63, 0.0),
        ("x", {}, 0, math.inf),
    ],
)
def test_what_has_no_canonical_encoding_is_refused(
    event: str, detail: dict[str, int], unix_s: int, running_s: float
) -> None:
    with pytest.raises(ValueError, match=r"."):
        append(EMPTY, unix_s=unix_s, running_s=running_s, event=event, detail=detail)


def test_a_head_of_the_wrong_length_or_place_is_refused() -> None:
    for head in (Head(0, b"short"), Head(-1, bytes(32)), Head(2**63 - 1, bytes(32))):
        with pytest.raises(ValueError, match="place"):
            append(head, unix_s=0, running_s=0.0, event="x")


@given(st.lists(st.tuples(st.text(min_size=1, max_size=16), details), max_size=6))
def test_what_was_written_reads_back_the_same(lines: list[tuple[str, dict[str, int]]]) -> None:
    head = EMPTY
    entries = []
    for event, detail in lines:
        entries.append(append(head, unix_s=1, running_s=2.25, event=event, detail=detail))
        head = entries[-1].head
    stored = msgspec.json.decode(msgspec.json.encode(entries), type=list[Entry])
    assert verify(stored) == head
