"""docs/tested.md against the catalogue and the tests that it names: neither can go stale."""

import inspect
import io
import re
from pathlib import Path
from typing import Any, get_args

import pytest

from chargepin.charger.imitation import IMITATIONS
from chargepin.cli import serve
from chargepin.cli.main import run
from chargepin.cli.terminal import Terminal
from chargepin.core.catalogue import FAMILIES, Evidence, Family
from chargepin.core.gatt import Layout
from charger.desk import NEW
from charger.test_dialects import GREEN, LISTS, OLD
from charger.test_public_clients import CLIENTS
from docs.document import table_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "tested.md").read_text(encoding="utf-8")


def sightings(family: Family) -> str:
    return "; ".join(
        f"{each.layout.name} {each.project_code or 'of an unknown code'}"
        f" ({', '.join(each.software) or 'software not told'})"
        for each in family.seen
    )


def test_families_are_those_of_the_catalogue() -> None:
    assert table_of(TEXT, "families") == [
        [
            family.key,
            family.display_name,
            family.evidence.value,
            family.layout.name,
            sightings(family) or "none",
            family.why,
        ]
        for family in FAMILIES.values()
    ]


def test_every_module_is_there_and_its_clients_are_counted() -> None:
    rows = table_of(TEXT, "modules")
    assert {row[0] for row in rows} == {layout.name for layout in Layout}
    numbers = {"four": 4, "five": 5, "six": 6, "seven": 7}
    for module, what, _, _ in rows:
        counted = re.search(r"habits of (\w+) published clients", what)
        if counted is not None:
            its = {each.client for each in CLIENTS if each.layout is Layout[module]}
            assert numbers[counted[1]] == len(its)


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`(tests/[\w/.]+)`", TEXT))))
def test_every_test_that_is_named_is_there(path: str) -> None:
    assert (ROOT / path).exists()


def test_software_is_that_of_the_tests() -> None:
    assert f"| {OLD}, {NEW}, {LISTS}, {GREEN} of every family" in TEXT
    assert f"| {', '.join(IMITATIONS)} |" in TEXT


def test_nothing_is_claimed_of_real_chargers() -> None:
    assert "**Nobody has tried chargepin with a real charger" in TEXT


def test_the_command_tells_which_families_are_only_simulated() -> None:
    option: Any = get_args(inspect.signature(serve.charger).parameters["model"].annotation)[1]
    seen, _, unseen = option.help.partition("simulated only")
    for key, family in FAMILIES.items():
        told = seen if family.evidence is Evidence.SEEN else unseen
        assert re.search(rf"\b{key}\b(?!-)", told)


@pytest.mark.parametrize("more", [(), ("--imitate", "6.13")])
def test_a_charger_that_is_only_simulated_says_so(tmp_path: Path, more: tuple[str, ...]) -> None:
    unit = ("--serial", "123456", "--data", str(tmp_path), "--model", "commander-2")
    command = ["--radio", "tcp:127.0.0.1:1", "serve", "charger", *unit, *more]
    said = io.StringIO()
    assert run(command, Terminal(io.StringIO(), io.StringIO(), said)) == 1
    assert f"Commander 2: simulated only, {FAMILIES['commander-2'].why}." in said.getvalue()
