# ruff: noqa: T201 - its result is what it prints
"""`make fuzz`: every target for so many seconds, two at a time, each in a process of its own.

    python tests/fuzz/run.py [--seconds 10] [--seed N] [TARGET ...]

What is found is shown as a line for tests/fuzz/corpus, where it is tried ever after.
"""

import argparse
import json
import logging
import secrets
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from fuzz.driver import MEMORY_MAX_BYTES, fuzzed
from fuzz.targets import TARGETS

AT_ONCE: Final = 2
_TO_BEGIN_AND_END_S: Final = 120.0


def _alone(name: str, seconds: float, seed: int) -> int:
    """Run one target here; the last line tells what it came to."""
    logging.getLogger("bumble").setLevel(logging.CRITICAL + 1)  # phones say how they are treated
    result = fuzzed(TARGETS[name], seed, seconds=seconds)
    for finding in result.findings:
        print(f"{name}: {finding.place}\n{finding.text}# found by seed {seed}\n{finding.data!r}\n")
    grown_mib = result.grown_bytes >> 20
    if result.grown_bytes > MEMORY_MAX_BYTES:
        print(f"{name}: memory grew by {grown_mib} MiB")
    bad = bool(result.findings) or result.grown_bytes > MEMORY_MAX_BYTES
    print(json.dumps([result.inputs, result.edges, grown_mib, len(result.findings)]))
    return int(bad)


def _in_a_process(name: str, seconds: float, seed: int) -> bool:
    command = [sys.executable, __file__, "--alone", "--seconds", str(seconds), "--seed", str(seed)]
    try:
        ended = subprocess.run(
            [*command, name],
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + _TO_BEGIN_AND_END_S,
        )
    except subprocess.TimeoutExpired:
        print(f"{name}: does not end, seed {seed}")
        return False
    *told, last = ended.stdout.splitlines() or [""]
    try:
        inputs, edges, grown_mib, findings = json.loads(last)
    except ValueError:
        print(f"{name}: ended with {ended.returncode}, seed {seed}\n{ended.stdout}{ended.stderr}")
        return False
    print(f"{name:<20} {inputs:>9} {edges:>7} {grown_mib:>4} {findings:>3}", *told, sep="\n")
    if ended.returncode:
        print(ended.stderr)
    return ended.returncode == 0


def main() -> int:
    """Run the command; gives the exit code."""
    parser = argparse.ArgumentParser(description="Fuzz what meets foreign bytes.")
    parser.add_argument("--seconds", type=float, default=10.0, help="for each target")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 32))
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=", ".join(TARGETS))
    options = parser.parse_args()
    names = options.targets or list(TARGETS)
    if options.alone:
        return _alone(names[0], options.seconds, options.seed)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]  # typed as TextIO
    print(f"{len(names)} targets, {options.seconds:g} s each, seed {options.seed}")
    print(f"{'target':<20} {'inputs':>9} {'edges':>7} {'MiB':>4} found")
    with ThreadPoolExecutor(AT_ONCE) as two:
        went_well = two.map(lambda n: _in_a_process(n, options.seconds, options.seed), names)
        return 0 if all(list(went_well)) else 1


if __name__ == "__main__":
    sys.exit(main())
