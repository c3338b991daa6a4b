import runpy
from pathlib import Path

from chargepin.core import entry, guard

ROOT = Path(__file__).parents[2]
TOOL = runpy.run_path(str(ROOT / "tools" / "diagrams.py"))


def test_the_diagrams_are_what_the_tables_say() -> None:
    written = (ROOT / "docs" / "diagrams.md").read_text(encoding="utf-8")
    assert written == TOOL["document"](), "run: python tools/diagrams.py"


def test_every_change_of_the_tables_is_drawn_once() -> None:
    arrows = [line.strip() for line in TOOL["document"]().splitlines() if "-->" in line]
    for table in (guard.TRANSITIONS, entry.TRANSITIONS):
        for (source, event), targets in table.items():
            for target in targets:
                start = f"{source.value} --> {target.value}: "
                (arrow,) = (arrow for arrow in arrows if arrow.startswith(start))
                assert event.__name__ in arrow.removeprefix(start).split(" or ")
