"""A part of a log, as an app reads it that has seen the rest before."""

from dataclasses import dataclass

import msgspec
import pytest

from chargepin.core.log import EMPTY, Entry, Head, LogBroken, append
from chargepin.core.log_summary import check_part


@dataclass(frozen=True)
class Chain:
    entries: tuple[Entry, ...]

    def head(self, sequence: int) -> Head:
        return self.entries[sequence - 1].head if sequence else EMPTY


def chain(length: int) -> Chain:
    head, entries = EMPTY, list[Entry]()
    for at in range(length):
        entries.append(append(head, unix_s=at, running_s=0.0, event="started"))
        head = entries[-1].head
    return Chain(tuple(entries))


LOG = chain(6)
NEWEST = LOG.head(6)


@pytest.mark.parametrize("after", range(7))
def test_any_end_of_an_unbroken_log_holds(after: int) -> None:
    check_part(LOG.entries[after:], after, EMPTY, NEWEST)


def test_evidence_from_before_the_chain_holds_entry_by_entry() -> None:
    begins = LOG.head(4)
    check_part((LOG.entries[1], *LOG.entries[4:]), 0, begins, NEWEST)
    forged = msgspec.structs.replace(LOG.entries[1], event="policy_set")
    with pytest.raises(LogBroken):
        check_part((forged, *LOG.entries[4:]), 0, begins, NEWEST)


@pytest.mark.parametrize(
    "entries", [LOG.entries[:5], LOG.entries[1:], (*LOG.entries[:2], *LOG.entries[3:]), ()]
)
def test_a_part_that_lacks_something_does_not(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(LogBroken):
        check_part(entries, 0, EMPTY, NEWEST)
