# ruff: noqa: T201 - its result is what it prints
"""Mutation testing: does a test notice when what everything rests on is changed a little.

    python tests/mutants/run.py [--report] [MODULE ...]

Each mutant runs in a process of its own against the module's own tests, the fast ones first. It is
killed when a test fails or does not end. A survivor has to be explained in
tests/mutants/survivors.json, or this fails; so it does when fewer than 90 of 100 are killed.
--report brings tests/mutants/report.json up to date, which names the sources that it is about.
"""

import argparse
import gc
import hashlib
import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Final, NoReturn

import pytest
from hypothesis import settings

from mutants.mutations import Mutant, mutants

ROOT: Final = Path(__file__).parent.parent.parent
SOURCES: Final = ROOT / "src" / "chargepin" / "core"
EXPLAINED: Final = ROOT / "tests" / "mutants" / "survivors.json"
REPORT: Final = ROOT / "tests" / "mutants" / "report.json"

LEAST_KILLED: Final = 0.90
AT_ONCE: Final = 2
FAST_MAX_S: Final = 30  # of computing: other programs may be at work, too
SLOW_MAX_S: Final = 120
_WAITED_FOR_MAX_S: Final = 600.0
_POLL_S: Final = 0.01
_MEMORY_BYTES: Final = 4 << 30

_GUARD: Final = tuple(
    f"test_guard{part}"
    for part in ("", "_entries", "_attempts", "_changes", "_pause", "_presence", "_log")
)
_ALL_CODES: Final = (
    "--deselect=tests/core/test_passcode.py::test_every_allowed_code_is_drawn_by_exactly_one_number"
)
# Module -> the tests that are tried first, and those that are tried when it survives them.
TESTS: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "passcode": (("test_passcode", _ALL_CODES), ()),
    "lockout": (("test_lockout",), ("test_guard_pause",)),
    "pairing_window": (("test_pairing_window",), ()),
    "guard": (_GUARD, ("test_guard_faults", "test_guard_attack")),
    "guard_attempts": (_GUARD, ("test_guard_faults", "test_guard_attack")),
    "guard_state": (_GUARD, ("test_guard_faults", "test_guard_attack")),
    "guard_changes": (_GUARD, ("test_guard_faults", "test_guard_attack")),
    "handshake": (("test_handshake",), ()),
    "channel": (("test_channel",), ()),
}


# ---- one mutant, in a process of its own ---------------------------------------------------------


class _Mutated(MetaPathFinder, Loader):
    """Imports one module from other source than its file's."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = f"chargepin.core.{mutant.module}"
        self._source = mutant.source
        self._origin = str(SOURCES / f"{mutant.module}.py")

    def find_spec(
        self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        return spec_from_loader(fullname, self, origin=self._origin)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, self._origin, "exec"), module.__dict__)  # noqa: S102 - our own


def _test(mutant: Mutant, tests: Sequence[str], limit_s: int) -> NoReturn:
    """Exit with 0 if no test noticed; killed by the system after limit_s of computing."""
    quiet = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(quiet, stream)
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (limit_s, limit_s))
    sys.meta_path.insert(0, _Mutated(mutant))
    settings.register_profile("mutants", derandomize=True, database=None, deadline=None)
    settings.load_profile("mutants")
    named = [test if test.startswith("-") else f"tests/core/{test}.py" for test in tests]
    options = ["-q", "-x", "--no-header", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist"]
    options += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]  # Hypothesis is imported already
    os._exit(int(pytest.main([*options, *named])) != 0)


@dataclass(slots=True)
class _Running:
    mutant: Mutant
    stage: int
    until_s: float


def _survivors(waiting: Iterable[Mutant]) -> Iterator[Mutant]:
    """Run mutants, two at a time; give those that no test notices."""
    queue = iter(waiting)
    slower: list[tuple[Mutant, int]] = []
    running: dict[int, _Running] = {}
    while True:
        while len(running) < AT_ONCE:
            again = slower.pop() if slower else None
            mutant, stage = again or (next(queue, None), 0)
            if mutant is None:
                break
            pid = os.fork()
            if not pid:
                _test(mutant, TESTS[mutant.module][stage], SLOW_MAX_S if stage else FAST_MAX_S)
            running[pid] = _Running(mutant, stage, time.monotonic() + _WAITED_FOR_MAX_S)
        if not running:
            return
        time.sleep(_POLL_S)
        for pid, each in tuple(running.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                del running[pid]
                if status:
                    continue
                if each.stage == 0 and TESTS[each.mutant.module][1]:
                    slower.append((each.mutant, 1))
                else:
                    yield each.mutant
            elif time.monotonic() > each.until_s:  # a test that does not end has noticed, too
                os.kill(pid, signal.SIGKILL)


# ---- all of them ---------------------------------------------------------------------------------


def _listed(survivor: Mutant, explained: Mapping[str, Mapping[str, str]]) -> dict[str, str | int]:
    why = explained.get(survivor.module, {}).get(survivor.name, "")
    return {"line": survivor.line, "change": survivor.name, "why": why}


def _about(module: str, explained: Mapping[str, Mapping[str, str]]) -> dict[str, object]:
    """Mutate one module; gives what the report says about it."""
    source = (SOURCES / f"{module}.py").read_text(encoding="utf-8")
    whole = Mutant(module, "unchanged", 0, source)
    if not list(_survivors([whole])):
        raise SystemExit(f"{module}: its tests fail without any change")
    made: Counter[str] = Counter()

    def counted() -> Iterator[Mutant]:
        for mutant in mutants(module, source):
            made[module] += 1
            yield mutant

    begun_s = time.monotonic()
    survived = sorted(_survivors(counted()), key=lambda mutant: (mutant.line, mutant.name))
    listed = [_listed(survivor, explained) for survivor in survived]
    total = made[module]
    print(
        f"{module}: {total - len(survived)} of {total} killed, {time.monotonic() - begun_s:.0f} s"
    )
    for each in listed:
        print(
            f"  {'explained' if each['why'] else 'UNEXPLAINED'}  {each['line']}: {each['change']}"
        )
    return {
        "source_sha256": hashlib.sha256(source.encode()).hexdigest(),
        "mutants": total,
        "killed": total - len(survived),
        "survivors": listed,
    }


def _good_enough(about: Mapping[str, object]) -> bool:
    mutated, killed, survivors = about["mutants"], about["killed"], about["survivors"]
    assert isinstance(mutated, int)
    assert isinstance(killed, int)
    assert isinstance(survivors, list)
    return killed >= LEAST_KILLED * mutated and all(each["why"] for each in survivors)


def main() -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(description="Mutation testing of the core.")
    parser.add_argument("--report", action="store_true", help=f"bring {REPORT.name} up to date")
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(TESTS))
    options = parser.parse_args()
    os.chdir(ROOT)
    explained = json.loads(EXPLAINED.read_text(encoding="utf-8"))
    gc.freeze()  # what children share with this process stays shared
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # typed as TextIO
    fine = True
    for module in options.modules or list(TESTS):
        about = _about(module, explained)
        fine = fine and _good_enough(about)
        if options.report:
            _report(module, about)
    return 0 if fine else 1


def _report(module: str, about: Mapping[str, object]) -> None:
    """Put it into the report, at once: the next module takes minutes."""
    known = json.loads(REPORT.read_text(encoding="utf-8")) if REPORT.exists() else {}
    known[module] = about
    whole = {each: known[each] for each in TESTS if each in known}
    REPORT.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
