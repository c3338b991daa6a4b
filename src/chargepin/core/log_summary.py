"""A log that does not grow for ever: its oldest entries go, and what went stays counted.

When a log is full, its oldest stretch is taken out. An entry in the chain, the summary, says how
far that reaches, how often each event was among all that ever went, and which entries of that
stretch stay as evidence: the newest of each event that matters, so that no flood of one kind can
push another out. So a log is: evidence, each entry for itself, then an unbroken chain, in which
the newest summary names the head it follows and covers the evidence.

    "chargepin log kept 1" || hash of each kept entry, oldest first      SHA-256 is `kept`

A reset clears the log: all goes but evidence without a person in it. The chain goes on.

A log that the charger itself found damaged is kept elsewhere as it is, and nothing of it is summed
up: the chain goes on behind the head that was known, with a summary of nothing that says so.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from chargepin.core.log import EMPTY, Entry, Head, LogBroken, verify
from chargepin.core.log_events import CLEARED, DAMAGED, TRIMMED, kind_of

KEPT_OF_EACH = 32
_DOMAIN = b"chargepin log kept 1"
_COUNT = "count."
_HASH_BYTES = 32
_CARRIERS = (TRIMMED, CLEARED, DAMAGED)


@dataclass(frozen=True, slots=True)
class Summary:
    """begins: the head that the unbroken chain follows. counts: of all that went, by event.

    kept: 32 bytes that cover the evidence.
    """

    begins: Head = EMPTY
    counts: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    kept: bytes = hashlib.sha256(_DOMAIN).digest()

    def detail(self) -> dict[str, str | int]:
        """What the entry that carries this summary says."""
        counts = {f"{_COUNT}{event}": times for event, times in sorted(self.counts.items())}
        return {
            "begins": self.begins.sequence,
            "hash": self.begins.hash.hex(),
            "kept": self.kept.hex(),
            **counts,
        }


def summary_in(entry: Entry) -> Summary:
    """Read the summary that an entry carries. Raises LogBroken."""
    try:
        begins = entry.detail["begins"]
        hashed, kept = (_bytes(entry.detail[name]) for name in ("hash", "kept"))
    except (KeyError, ValueError) as error:
        raise LogBroken(entry.sequence, "its summary cannot be read") from error
    if not isinstance(begins, int) or not 0 <= begins < entry.sequence:
        raise LogBroken(entry.sequence, "its summary names no place before it")
    counts = {
        name.removeprefix(_COUNT): times
        for name, times in entry.detail.items()
        if name.startswith(_COUNT) and isinstance(times, int)
    }
    return Summary(Head(begins, hashed), MappingProxyType(counts), kept)


def summarized(
    before: Summary, evidence: Sequence[Entry], leaving: Sequence[Entry], *, reset: bool = False
) -> tuple[Summary, tuple[Entry, ...]]:
    """Take the oldest stretch out: the summary that follows, and the evidence that stays.

    before: the last summary. evidence: what it covers. leaving: the entries that follow it in the
    chain, at least one. reset: whatever names a person goes for good, too. Raises LogBroken: what
    does not hold is not summed up.
    """
    _check_evidence(evidence, before)
    if not leaving:
        raise LogBroken(before.begins.sequence + 1, "it is not there")
    verify(leaving, before.begins)
    newest: Counter[str] = Counter()
    staying = []
    for entry in reversed((*evidence, *leaving)):
        kind = kind_of(entry.event)
        if kind.evidence and not (reset and kind.personal) and newest[entry.event] < KEPT_OF_EACH:
            newest[entry.event] += 1
            staying.append(entry)
    kept = tuple(reversed(staying))
    counts = Counter(before.counts)
    counts.update(entry.event for entry in leaving)
    return Summary(leaving[-1].head, MappingProxyType(counts), covering(kept)), kept


def broken_off(entries: Sequence[Entry]) -> Entry | None:
    """The entry with which the charger last began its log anew, because it was damaged."""
    return next((entry for entry in reversed(entries) if entry.event == DAMAGED), None)


def covering(evidence: Iterable[Entry]) -> bytes:
    """What a summary says of the evidence it covers."""
    hashes = (entry.hash for entry in evidence)
    return hashlib.sha256(b"".join((_DOMAIN, *hashes))).digest()


@dataclass(frozen=True, slots=True)
class Checked:
    """A log that holds. evidence: entries from before the unbroken chain; see Summary."""

    evidence: tuple[Entry, ...]
    chain: tuple[Entry, ...]
    summary: Summary
    head: Head


def check(entries: Sequence[Entry]) -> Checked:
    """Check a whole log, as it was read. Raises LogBroken, naming where it does not hold."""
    carrier = next((entry for entry in reversed(entries) if entry.event in _CARRIERS), None)
    summary = Summary() if carrier is None else summary_in(carrier)
    begins = summary.begins
    evidence = tuple(entry for entry in entries if entry.sequence <= begins.sequence)
    chain = tuple(entries[len(evidence) :])
    head = verify(chain, begins)
    _check_evidence(evidence, summary)
    return Checked(evidence, chain, summary, head)


def check_part(entries: Sequence[Entry], after: int, begins: Head, head: Head) -> None:
    """Check what was read of a log from after a sequence on, up to its head. Raises LogBroken.

    begins: what the charger names as the beginning of its unbroken chain. Where the entry before
    the first one is not known, what that one says of it is taken on trust.
    """
    evidence = [entry for entry in entries if entry.sequence <= begins.sequence]
    chain = entries[len(evidence) :]
    for entry in evidence:
        verify((entry,), Head(entry.sequence - 1, entry.previous))
    before = begins
    if not chain and after < head.sequence:
        raise LogBroken(after + 1, "what follows was left out")
    if after >= begins.sequence:
        before = Head(after, chain[0].previous) if chain else head
    if verify(chain, before) != head:
        raise LogBroken(head.sequence, "the log ends elsewhere than it says")


def confirm(checked: Checked, remembered: Head) -> None:
    """See that a log still has what it was known to have. Raises LogBroken.

    remembered: an earlier head of the same log. One that was trimmed since proves nothing.
    """
    if remembered.sequence > checked.head.sequence:
        raise LogBroken(
            checked.head.sequence + 1,
            f"its newest entries are gone: it reached to {remembered.sequence} before",
        )
    held = {entry.sequence: entry.hash for entry in (*checked.evidence, *checked.chain)}
    held[checked.summary.begins.sequence] = checked.summary.begins.hash
    if held.get(remembered.sequence, remembered.hash) != remembered.hash:
        raise LogBroken(remembered.sequence, "it is another one than it was before")


def _check_evidence(evidence: Sequence[Entry], summary: Summary) -> None:
    last = 0
    for entry in evidence:
        if entry.sequence <= last:
            raise LogBroken(entry.sequence, "it stands out of order")
        verify((entry,), Head(entry.sequence - 1, entry.previous))
        last = entry.sequence
    if covering(evidence) != summary.kept:
        raise LogBroken(last, "the evidence kept from before the chain was changed")


def _bytes(value: object) -> bytes:
    raw = bytes.fromhex(value) if isinstance(value, str) else b""
    if len(raw) != _HASH_BYTES:
        raise ValueError("no hash")
    return raw
