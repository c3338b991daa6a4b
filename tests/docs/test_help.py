"""The help page names commands that exist, links that lead somewhere, and every exit code."""

import re
from pathlib import Path

import typer
from typer.main import get_command

from chargepin.cli.main import build

DOCS = Path(__file__).parents[2] / "docs"
HELP = (DOCS / "help.md").read_text()
README = (DOCS.parent / "README.md").read_text()


def commands() -> dict[str, object]:
    """Every command by what is typed, "passcode enter"; groups too."""
    found: dict[str, object] = {}

    def walk(command: object, path: tuple[str, ...]) -> None:
        for name, each in getattr(command, "commands", {}).items():
            found[" ".join((*path, name))] = each
            walk(each, (*path, name))

    walk(get_command(build()), ())
    return found


def test_every_command_of_the_page_exists() -> None:
    known = commands()
    typed = re.findall(r"chargepin ((?:[a-z-]+ ?){1,2})", HELP)
    named = [line.strip() for line in typed if line.split()[0] in known]
    assert len(named) > 10
    for words in named:
        first, *rest = words.split()
        is_group = hasattr(known[first], "commands")
        assert not is_group or f"{first} {rest[0]}" in known, words
    for word in re.findall(r"`chargepin ([a-z-]+)", HELP):
        assert word in known, word
    options = {
        option
        for line in re.findall(r"^chargepin .*$", HELP, re.MULTILINE)
        for option in re.findall(r"--[a-z-]+", line)
    }
    for option in options:
        assert any(
            option in each.opts
            for command in known.values()
            for each in getattr(command, "params", ())
        ), option


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\(([a-z./-]+)\)", HELP):
        assert (DOCS / link).exists(), link
    assert "docs/help.md" in README


def test_lines_are_readable_and_the_tree_is_a_typer() -> None:
    assert isinstance(build(), typer.Typer)
    assert max(len(line) for line in HELP.splitlines()) <= 120
