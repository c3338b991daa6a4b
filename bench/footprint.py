"""What a charger's program costs the computer inside it: time until it is ready, and memory."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

COMMAND = str(Path(sys.executable).with_name("chargepin"))
KIB_PER_MIB = 1024


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[int, str]]:
    """Run a part until the block ends; gives its process and where it is found."""
    program = subprocess.Popen([COMMAND, *arguments], stdout=subprocess.PIPE, text=True)
    try:
        assert program.stdout is not None
        yield program.pid, json.loads(program.stdout.readline())["listen"]
    finally:
        program.terminate()
        program.communicate()


def resident_mib(process: int) -> float:
    """Its resident memory by the kernel's count, pages shared with others included."""
    status = Path(f"/proc/{process}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / KIB_PER_MIB


def charger(directory: Path, rounds: int) -> Iterator[tuple[float, float]]:
    """Start a charger again and again; yields seconds until it is ready, and MiB then."""
    with ExitStack() as stack:
        _, radio = stack.enter_context(serving("serve", "radio", "--listen", "tcp:127.0.0.1:0"))
        about = ("serve", "charger", "--serial", "123456", "--data", str(directory))
        for _ in range(rounds):
            begun = time.perf_counter()
            with serving("--radio", radio, *about) as (process, _):
                yield time.perf_counter() - begun, resident_mib(process)
