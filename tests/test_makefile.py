"""Two people who type `make` at once: the second waits for the first one's set-up."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from needs import not_here

MAKEFILE = Path(__file__).parents[1] / "Makefile"
MAKES = 3
# Stands in for Python where a set-up calls it, and writes down what it is asked.
FAKE = f"""#!/bin/sh
case "$1 $2" in
"-c import fcntl"*) exec {sys.executable} "$@" ;;
"-m venv")
    [ ! -e busy ] || echo overtaken >>log
    touch busy; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
"-m pip") case "$*" in *" -e "*) rm busy ;; esac ;;
esac
echo "$1 $2" | head -n 1 >>log
"""


def test_makes_at_once_set_up_once(tmp_path: Path) -> None:
    make = shutil.which("make")
    if make is None:
        not_here("make is missing")
    shutil.copy(MAKEFILE, tmp_path)
    for name in ("requirements.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    fake = tmp_path / "python"
    fake.write_text(FAKE)
    fake.chmod(0o700)
    running = [
        subprocess.Popen(
            (make, ".venv/.ready", f"PYTHON={fake}"),
            cwd=tmp_path,
            env={"PATH": os.environ["PATH"]},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(MAKES)
    ]
    said = [process.communicate(timeout=60)[0] for process in running]
    assert [process.returncode for process in running] == [0] * MAKES, said
    logged = (tmp_path / "log").read_text().splitlines()
    assert logged.count("-m venv") == 1, said
    assert "overtaken" not in logged
    assert sum("Setting up" in text for text in said) == 1
