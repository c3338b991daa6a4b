"""The questioner: it compares what the charger answers, and how much work each answer costs it.

It wants to tell a right guess from a wrong one without spending a try, or to read a secret in what
the charger tells its operator, its log or its log file.
"""

import json
import logging
import statistics
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import pytest

from attacks.report import Row, Tell
from attacks.stage import GARBAGE, Line, Victim, code_at, leaks, victim
from chargepin.charger.daemon import Rule
from chargepin.core import guard, lockout, p256
from chargepin.core.guard_state import Entry, Event, Guard, ShareReceived, Step
from chargepin.core.handshake import Proof
from core import spake2plus_oracle as curve
from core.guard_faults import charged_after_the_check
from docs import mini_client as mini

INDEX = 246_810
ROUNDS = 12
Work = Counter[str]


def counted(monkeypatch: pytest.MonkeyPatch, on: Victim) -> Work:
    """Count commits and the curve's operations of the charger; all of them are still done."""
    work = Work()

    def spied(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **named: Any) -> Any:
            work[name] += 1
            return real(*given, **named)

        return call

    for name in ("times", "times_base", "added", "decoded"):
        monkeypatch.setattr(p256, name, spied(name, getattr(p256, name)))
    store = on.daemon._store
    monkeypatch.setattr(store, "commit", spied("commits", store.commit))
    return work


async def asked(line: Line, code: str, work: Work) -> tuple[Work, float, Proof | None]:
    """One SHARE_P: the charger's work for its answer, the seconds, and what the answer is worth."""
    await line.greet()
    prover = line.prover(code)
    work.clear()
    began_s = perf_counter()
    answer = await line.shared(prover)
    took_s = perf_counter() - began_s
    done = Work(work)
    assert isinstance(answer, bytes)
    assert len(answer) == 98
    return done, took_s, line.proof(prover, answer)


async def works(
    directory: Path, monkeypatch: pytest.MonkeyPatch, rule: Rule = guard.step
) -> tuple[dict[str, set[str]], dict[str, list[float]], int]:
    """For right and wrong guesses: the kinds of work seen, the times, and what was charged."""
    seen: dict[str, set[str]] = {"right": set(), "wrong": set()}
    times: dict[str, list[float]] = {"right": [], "wrong": []}
    async with victim(directory, index=INDEX, rule=rule) as on:
        codes = {"right": on.code, "wrong": code_at(INDEX + 1)}
        with monkeypatch.context() as patch:
            work = counted(patch, on)
            phone = await on.ends.phone("questioner")
            for number in range(ROUNDS):
                for kind, code in sorted(codes.items(), reverse=bool(number % 2)):
                    line = await on.line(phone)
                    done, took_s, _ = await asked(line, code, work)
                    seen[kind].add(json.dumps(done, sort_keys=True))
                    times[kind].append(took_s)
                    await line.link.close()  # before it says what it knows
                await on.end_pause()
        return seen, times, on.charged


async def refusals(on: Victim, patch: pytest.MonkeyPatch | None = None) -> dict[str, bytes]:
    """What is refused in different ways; with patch, also once the tries are used up."""
    phone = await on.ends.phone("questioner")
    found: dict[str, bytes] = {}

    async def refused(name: str, *messages: bytes) -> None:
        line = await on.line(phone)
        for message in messages:
            await line.say(message)
            found[name] = await line.answer() or b""
        await line.link.close()

    by_passcode = mini.hello(mini.PASSCODE, bytes(16))
    share = bytes([mini.SHARE_P]) + curve.written(curve.G)
    for name in ("wrong", "wrong again", "wrong once more"):
        await refused(name, by_passcode, share, GARBAGE)

    async def refused_alike(name: str) -> None:
        """Whoever does not know the passcode, and who does."""
        await refused(name, by_passcode, share)
        line = await on.line(phone)
        await line.greet()
        await line.say(bytes([mini.SHARE_P]) + line.prover(on.code).start())
        found[f"{name}, with the right one"] = await line.answer() or b""
        await line.link.close()

    await refused_alike("paused")
    if patch is not None:
        patch.setattr(lockout, "TRIES_PER_GENERATION", on.charged)
        await refused_alike("exhausted")
    for tag in (bytes(16), b"\xff" * 16):
        await refused(f"bond {tag[0]}", mini.hello(mini.BOND, bytes(16), tag))
    await refused("open", mini.hello(mini.OPEN, bytes(16)), share)
    return found


def told(refusal: bytes) -> tuple[int, bytes]:
    """Its code, and everything else but the time to wait and the signature."""
    assert refusal[0] == mini.REFUSAL
    return refusal[2], refusal[3:43] + refusal[47:53]


def talkative(before: Guard, event: Event, now_s: float) -> Step:
    """For the one who looks for faults: the log tells what an attempt is compared with."""
    after = guard.step(before, event, now_s)
    credential = before.durable.credential
    if isinstance(event, ShareReceived) and credential is not None:
        entry = Entry("compared", {"with": credential.verifier.w0.hex()})
        return replace(after, entries=(*after.entries, entry))
    return after


async def overheard(directory: Path, caplog: pytest.LogCaptureFixture, rule: Rule) -> list[str]:
    """The secrets that show in anything the charger tells anybody, after all kinds of misuse."""
    caplog.set_level(logging.DEBUG)
    async with victim(directory, index=INDEX, rule=rule) as on:
        hidden = on.secrets()
        line = await on.line()
        _, _, proof = await asked(line, on.code, Work())
        assert proof is not None
        keys = proof.keys
        hidden |= {"a record key": keys.app_to_charger[:32], "the other": keys.charger_to_app[:32]}
        hidden |= {"the exporter": keys.exporter, "a confirmation": proof.confirm_p}
        await line.say(bytes([mini.CONFIRM_P]) + proof.confirm_p)
        await line.answer()
        await line.say(bytes([mini.RECORD]) + on.code.encode())
        await line.ended()
        await refusals(on)
        await on.cut_power()
        owner = await on.owner_in()
        log = await owner.log()
        await owner.end_pause()
        await owner.close()
        said = [*on.ends.reports, *(repr(entry) for entry in log)]
        said += [record.getMessage() for record in caplog.records if not noise(record)]
        said += [repr(on.daemon.service.guard), repr(on.daemon._unit)]
        return leaks("\n".join(said), hidden)


def noise(record: logging.LogRecord) -> bool:
    """Bumble traces whole packets where it is told to; that is its own, and off by default."""
    return record.name.startswith("bumble")


async def test_questioner(tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, times, charged = await works(tmp_path / "held", monkeypatch)
    assert seen["right"] == seen["wrong"]
    assert len(seen["right"]) == 1
    assert charged == 2 * ROUNDS
    async with victim(tmp_path / "refusals", index=INDEX) as on:
        with monkeypatch.context() as patch:
            answers = await refusals(on, patch)
    assert len({told(each)[1] for each in answers.values()}) == 1
    codes = {name: told(each)[0] for name, each in answers.items()}
    assert list(codes.values()) == [10, 10, 10, 6, 6, 7, 7, 3, 3, 5]

    _, _, free = await works(tmp_path / "free", monkeypatch, charged_after_the_check)
    assert free == 0
    medians = [statistics.median(each) * 1000 for each in times.values()]
    tell(
        Row(
            "9 questioner",
            2 * ROUNDS + len(answers),
            f"the same work for right and wrong; medians {medians[0]:.1f} and {medians[1]:.1f} ms",
            f"{2 * ROUNDS} guesses checked for nothing where only a confirmation is charged",
            "the charge comes before the answer; refusals differ in their code alone, and know"
            " nothing of the guess",
        )
    )


async def test_reader_of_logs(tmp_path: Path, tell: Tell, caplog: pytest.LogCaptureFixture) -> None:
    assert await overheard(tmp_path / "held", caplog, guard.step) == []
    caplog.clear()
    shown = await overheard(tmp_path / "talkative", caplog, talkative)
    assert shown == ["w0"]
    tell(
        Row(
            "10 reader of logs",
            12,
            "no passcode, key or verifier in reports, log and log file",
            "w0, from which the passcode follows, in a log that tells what was compared",
            "secrets have no text of their own; log entries name only counts and ids",
        )
    )
