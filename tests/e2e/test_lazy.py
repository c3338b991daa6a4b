"""What a command imports, it makes everybody wait for: `chargepin --help` takes next to nothing."""

import json
import subprocess
import sys

import pytest

HEAVY = (
    *("bumble", "httpx", "starlette", "granian", "keyring", "cryptography", "msgspec"),
    *("asyncio", "sqlite3", "ssl", "logging", "rich"),
    *("chargepin.app", "chargepin.charger", "chargepin.account", "chargepin.radio"),
    *("chargepin.core", "chargepin.machine"),
)
LOOK = """
import json, sys
from chargepin.__main__ import main
sys.argv[0] = "chargepin"
try:
    main()
except SystemExit:
    print(json.dumps(sorted(sys.modules)), file=sys.stderr)
"""


def imported_by(*arguments: str) -> set[str]:
    ended = subprocess.run(
        [sys.executable, "-c", LOOK, *arguments], capture_output=True, text=True, check=True
    )
    return set(json.loads(ended.stderr.splitlines()[-1]))


@pytest.mark.parametrize("command", [("--help",), ("passcode", "--help"), ("--version",)])
def test_help_imports_nothing_heavy(command: tuple[str, ...]) -> None:
    imported = imported_by(*command)
    assert "chargepin.cli.main" in imported
    assert sorted(imported & set(HEAVY)) == []


def test_a_wrong_command_line_imports_nothing_heavy() -> None:
    assert sorted(imported_by("status", "--nonsense") & {"bumble", "httpx", "asyncio"}) == []


def test_the_library_is_imported_at_its_first_use() -> None:
    ended = subprocess.run(
        [sys.executable, "-c", "import chargepin, sys, json; print(json.dumps([*sys.modules]))"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sorted(set(json.loads(ended.stdout)) & set(HEAVY)) == []
