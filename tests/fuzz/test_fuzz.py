"""The kept inputs of every target, and a few new ones; `make fuzz` goes on from there."""

import random
import time

import pytest

from fuzz.driver import CPU_MAX_S, Broken, Mutator, Slow, Take, fuzzed, piece, pieces, plain
from fuzz.targets import TARGETS

SEED = 9383
INPUTS = 200
FEW = {
    "home": 60,
    "air": 20,
    "account_files": 5,
    "charger_files": 20,
    "session": 60,
    "maker": 30,
    "radio": 50,
}
"""Where an input takes milliseconds."""


@pytest.mark.parametrize("name", TARGETS)
def test_no_input_breaks_what_it_meets(name: str) -> None:
    target = TARGETS[name]
    assert target.corpus
    result = fuzzed(target, SEED, inputs=FEW.get(name, INPUTS))
    assert [(finding.place, finding.data) for finding in result.findings] == []


def test_the_corpus_stays_small() -> None:
    sizes = [len(data) for target in TARGETS.values() for data in target.corpus]
    assert sum(sizes) < 100_000


# ---- the fuzzer itself ---------------------------------------------------------------------------


def _fragile(data: bytes) -> None:
    if b"{" in data and data.index(b"{") % 7 == 3:
        raise KeyError("an error that nobody documented")


def test_a_fault_is_found_and_cut_down() -> None:
    found = fuzzed(plain("fragile", _fragile, words=(b"{",)), SEED, inputs=2000)
    (finding,) = found.findings
    assert finding.place[0] == "KeyError"
    assert finding.data.endswith(b"{")


def _endless(data: bytes) -> None:
    while len(data) > 100:
        pass


def _slow(data: bytes) -> None:
    ends_s = time.process_time() + 2 * CPU_MAX_S
    while len(data) > 100 and time.process_time() < ends_s:
        pass


@pytest.mark.parametrize(("take", "error"), [(_endless, Slow), (_slow, Broken)])
def test_what_takes_too_long_is_found(
    take: Take, error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fuzz.driver._HANGS_S", 15 * CPU_MAX_S)
    monkeypatch.setattr("fuzz.driver._MINIMISING_TIMES", 0)
    monkeypatch.setattr("fuzz.driver._FINDINGS_MAX", 1)
    (finding,) = fuzzed(plain("slow", take), SEED, inputs=200).findings[:1]
    assert isinstance(finding.error, error)


def test_code_that_was_not_reached_before_leads_on() -> None:
    watched = fuzzed(TARGETS["messages"], SEED, seconds=0.3)
    assert watched.edges > 50


def test_steps_are_read_as_they_are_written() -> None:
    assert list(pieces(piece(7, b"x" * 300) + piece(1) + b"\x02\x00")) == [
        (7, b"x" * 300),
        (1, b""),
    ]


def test_no_input_is_longer_than_its_target_takes() -> None:
    chance = random.Random(SEED)  # noqa: S311 - to be repeated
    mutated = Mutator(plain("short", _fragile, longest=10), chance)
    assert max(len(mutated([b"0123456789" * 9])) for _ in range(100)) == 10
