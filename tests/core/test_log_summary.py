import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargepin.core.log import EMPTY, Entry, Head, LogBroken, append
from chargepin.core.log_events import (
    CLEARED,
    DAMAGED,
    KINDS,
    STRANGERS,
    TRIMMED,
    kind_of,
    ocpp_of,
)
from chargepin.core.log_summary import (
    KEPT_OF_EACH,
    Summary,
    broken_off,
    check,
    confirm,
    covering,
    summarized,
    summary_in,
)

SUMMARIES = (TRIMMED, CLEARED, DAMAGED)
EVIDENCE = [event for event, kind in KINDS.items() if kind.evidence and event not in SUMMARIES]


class Log:
    """A log that is written and trimmed as a charger does it."""

    def __init__(self) -> None:
        self.rows: list[Entry] = []
        self.summary = Summary()
        self.heads: list[Head] = [EMPTY]
        self.written: list[str] = []

    def write(self, event: str, detail: dict[str, str | int] | None = None) -> Entry:
        entry = append(self.heads[-1], unix_s=7, running_s=1.0, event=event, detail=detail)
        self.rows.append(entry)
        self.heads.append(entry.head)
        self.written.append(event)
        return entry

    def trim(self, count: int, *, reset: bool = False) -> None:
        begins = self.summary.begins.sequence
        evidence = [entry for entry in self.rows if entry.sequence <= begins]
        chain = self.rows[len(evidence) :]
        self.summary, kept = summarized(self.summary, evidence, chain[:count], reset=reset)
        self.rows = [*kept, *chain[count:]]
        self.write(CLEARED if reset else TRIMMED, self.summary.detail())

    def break_off(self) -> None:
        """Begin anew, as a charger does that found it damaged; what it held is elsewhere."""
        self.rows, self.summary = [], Summary(begins=self.heads[-1])
        self.written = []
        self.write(DAMAGED, self.summary.detail())


def trimmed_log() -> Log:
    """Forty attempts after a passcode was set by Anna's phone; half of that was trimmed."""
    log = Log()
    log.write("passcode_set", {"generation": 1})
    log.write("bond_added", {"name": "Anna's phone"})
    for _ in range(40):
        log.write("attempt")
    log.trim(22)
    return log


def test_a_log_that_was_never_trimmed_begins_with_its_first_entry() -> None:
    log = Log()
    assert check([]).head == EMPTY
    entries = [log.write("started"), log.write("attempt")]
    checked = check(entries)
    assert (checked.evidence, checked.chain) == ((), tuple(entries))
    assert checked.summary == Summary()
    with pytest.raises(LogBroken):
        check(entries[1:])


def test_what_was_trimmed_stays_counted_and_evidence_stays() -> None:
    log = trimmed_log()
    checked = check(log.rows)
    assert [entry.event for entry in checked.evidence] == ["passcode_set", "bond_added"]
    assert checked.summary.counts == {"passcode_set": 1, "bond_added": 1, "attempt": 20}
    assert len(checked.chain) == 21
    assert checked.summary.begins == log.heads[22]
    assert checked.head == log.heads[-1]
    log.trim(21)  # the summary itself goes, and the next one counts on
    assert check(log.rows).summary.counts == {
        "passcode_set": 1,
        "bond_added": 1,
        "attempt": 40,
        TRIMMED: 1,
    }


def test_a_reset_leaves_evidence_that_names_nobody() -> None:
    log = trimmed_log()
    log.trim(21, reset=True)
    log.write("reset")
    checked = check(log.rows)
    assert [entry.event for entry in checked.evidence] == ["passcode_set"]
    assert [entry.event for entry in checked.chain] == [CLEARED, "reset"]
    assert "Anna" not in str(log.rows)


@pytest.mark.parametrize("at", range(23))
def test_whatever_is_taken_out_of_a_trimmed_log_is_missed(at: int) -> None:
    rows = trimmed_log().rows
    with pytest.raises(LogBroken):
        check([*rows[:at], *rows[at + 1 :]])
    changed = msgspec.structs.replace(rows[at], unix_s=8)
    with pytest.raises(LogBroken):
        check([*rows[:at], changed, *rows[at + 1 :]])


def test_evidence_out_of_order_is_missed() -> None:
    first, second, *rest = trimmed_log().rows
    with pytest.raises(LogBroken):
        check([second, first, *rest])


def test_evidence_put_in_is_missed() -> None:
    log = trimmed_log()
    forged = append(log.heads[5], unix_s=0, running_s=0.0, event="tampered")
    with pytest.raises(LogBroken, match="kept from before"):
        check([*log.rows[:2], forged, *log.rows[2:]])


def test_what_does_not_hold_is_not_summed_up() -> None:
    log = trimmed_log()
    evidence, chain = log.rows[:2], log.rows[2:]
    changed = msgspec.structs.replace(chain[3], unix_s=8)
    for kept, leaving in (
        (evidence, []),
        (evidence, [*chain[:3], changed, *chain[4:]]),
        (evidence, chain[1:]),
        (evidence[:1], chain),
        ([msgspec.structs.replace(evidence[0], unix_s=8), evidence[1]], chain),
    ):
        with pytest.raises(LogBroken):
            summarized(log.summary, kept, leaving)


def test_a_log_that_was_begun_anew_holds_and_goes_on_behind_the_head_that_was_known() -> None:
    log = trimmed_log()
    assert broken_off(log.rows) is None
    seen = log.heads[-1]
    log.break_off()
    log.write("started")
    checked = check(log.rows)
    assert (checked.summary.begins, checked.evidence) == (seen, ())
    assert [entry.sequence for entry in checked.chain] == [44, 45]
    assert broken_off(log.rows) == log.rows[0]
    for head in log.heads:  # nothing contradicts what was seen, so that an app must ask for it
        confirm(checked, head)
    with pytest.raises(LogBroken, match="another one"):
        confirm(checked, Head(seen.sequence, bytes(32)))
    log.trim(2)
    log.trim(1, reset=True)
    assert broken_off(log.rows) is not None  # it is evidence, and names nobody
    assert check(log.rows).summary.counts == {DAMAGED: 1, "started": 1, TRIMMED: 1}


@pytest.mark.parametrize(
    "detail",
    [
        {},
        {"begins": 1, "hash": "ab", "kept": "00" * 32},
        {"begins": 1, "hash": "zz" * 32, "kept": "00" * 32},
        {"begins": 1, "hash": 7, "kept": "00" * 32},
        {"begins": "1", "hash": "00" * 32, "kept": "00" * 32},
        {"begins": -1, "hash": "00" * 32, "kept": "00" * 32},
        {"begins": 1, "hash": "00" * 32, "kept": "00" * 32},
    ],
)
def test_a_summary_that_makes_no_sense_breaks_the_log(detail: dict[str, str | int]) -> None:
    entry = Log().write(TRIMMED, detail)
    with pytest.raises(LogBroken, match="summary"):
        summary_in(entry)


def test_a_summary_reads_back_as_it_was() -> None:
    log = trimmed_log()
    assert summary_in(log.rows[-1]) == log.summary
    assert log.summary.kept == covering(log.rows[:2])


def test_a_head_that_was_seen_is_still_there_or_was_trimmed() -> None:
    log = trimmed_log()
    checked = check(log.rows)
    for head in log.heads:
        confirm(checked, head)


def test_a_log_that_was_cut_off_or_written_anew_does_not_confirm_what_was_seen() -> None:
    log = trimmed_log()
    seen = log.heads[-1]
    with pytest.raises(LogBroken, match="gone: it reached to 43 before"):
        confirm(check(Log().rows), seen)
    log.write("started")
    other = Log()
    for _ in range(50):
        other.write("started")
    with pytest.raises(LogBroken, match="another one") as broken:
        confirm(check(other.rows), seen)
    assert broken.value.sequence == 43
    with pytest.raises(LogBroken, match="another one"):
        confirm(check(log.rows), Head(log.summary.begins.sequence, bytes(32)))


def test_no_flood_of_one_event_pushes_another_out() -> None:
    log = Log()
    log.write("passcode_set")
    for _ in range(30):
        for _ in range(10):
            log.write("bond_added", {"name": "x"})
        log.trim(5)
    events = [entry.event for entry in check(log.rows).evidence]
    assert events.count("passcode_set") == 1
    assert events.count("bond_added") == KEPT_OF_EACH


@given(st.lists(st.sampled_from([*EVIDENCE, "attempt", "", "R", "D"]), max_size=120))
def test_any_log_holds_and_counts_everything(moves: list[str]) -> None:
    log = Log()
    for move in moves:
        length = len(log.heads) - 1 - log.summary.begins.sequence
        if move in ("", "R"):
            if length:
                log.trim(length if move == "R" else (length + 1) // 2, reset=move == "R")
        elif move == "D":
            log.break_off()
        else:
            log.write(move)
    checked = check(log.rows)
    counted = sum(checked.summary.counts.values()) + len(checked.chain)
    assert counted == len(log.written)
    assert checked.head == log.heads[-1]
    for head in log.heads:
        confirm(checked, head)
    newest = {
        event: max(i for i, e in enumerate(log.written) if e == event)
        for event in EVIDENCE
        if event in log.written and not kind_of(event).personal
    }
    before = len(log.heads) - 1 - len(log.written)
    there = {entry.sequence - 1 - before for entry in log.rows}
    assert there >= set(newest.values())


def test_ocpp_names() -> None:
    assert ocpp_of("tampered", {}) == "TamperDetectionActivated"
    assert ocpp_of("attempt", {}) is None
    assert ocpp_of("of another version", {}) is None
    assert ocpp_of(STRANGERS, {"refused_wrong": 3}) is None
    assert ocpp_of(STRANGERS, {"malformed": 1}) == "InvalidMessages"
    assert ocpp_of(STRANGERS, {"malformed": 1, "record_broken": 1}) == "AttemptedReplayAttacks"
