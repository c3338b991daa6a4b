"""One line for every attacker: what it tried, what it gained, and by what it was stopped.

Run as a program it runs the suite and prints the table; each test hands in its line with `Row`.
"""

import sys
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import pytest

PROPERTY = "attack"
HEADINGS = ("attacker", "attempts", "gained", "gained without the defence", "stopped by")
WIDTHS = (22, 8, 30, 42, 60)


@dataclass(frozen=True)
class Row:
    """attempts: of the run with the defence. without: what the same attacker gains without it."""

    attacker: str
    attempts: int
    gained: str
    without: str
    stopped_by: str


Tell = Callable[[Row], None]


class Collector:
    """A plugin of pytest that keeps the lines of the tests that passed."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, ...]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            for name, value in report.user_properties:
                if name == PROPERTY and isinstance(value, list | tuple):
                    self.rows.append(tuple(str(each) for each in value))


def handed_in(row: Row) -> tuple[str, list[str]]:
    """A line as a property of a test, which other processes of pytest pass on."""
    return PROPERTY, [str(each) for each in astuple(row)]


def printed(rows: list[tuple[str, ...]]) -> str:
    """The table, wrapped to its columns."""
    lines = [_line(HEADINGS), _line(tuple("-" * width for width in WIDTHS))]
    lines += [_line(row) for row in sorted(rows, key=lambda row: int(row[0].split()[0]))]
    return "\n".join(lines)


def _line(cells: tuple[str, ...]) -> str:
    columns = [_wrapped(cell, width) for cell, width in zip(cells, WIDTHS, strict=True)]
    height = max(map(len, columns))
    padded = [column + [""] * (height - len(column)) for column in columns]
    return "\n".join(
        "  ".join(part.ljust(width) for part, width in zip(parts, WIDTHS, strict=True)).rstrip()
        for parts in zip(*padded, strict=True)
    )


def _wrapped(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def main() -> int:
    """Run every attack; 0 only if all of them are stopped, and all win without the defence."""
    collector = Collector()
    here = str(Path(__file__).parent)
    options = ["-q", "-n", "2", "--no-header", "-p", "no:cacheprovider", here]
    code = pytest.main([*options, *sys.argv[1:]], plugins=[collector])
    sys.stdout.write("\n" + printed(collector.rows) + "\n")
    return int(code)


if __name__ == "__main__":
    sys.exit(main())
