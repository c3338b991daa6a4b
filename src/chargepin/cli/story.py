"""`chargepin tour` and `chargepin demo`: the maker's help article, as programs that check it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chargepin.cli.options import add, finish, not_on_windows
from chargepin.cli.terminal import terminal

if TYPE_CHECKING:
    from chargepin.cli.tour.steps_open import Saw
    from chargepin.cli.tour.touring import Report, Step, StepResult

REPORT = "report.json"


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    for command in (tour, demo):
        add(app, command)


def tour(
    keep: Annotated[
        Path | None,
        typer.Option(help="Leave stores, logs, capture and outputs in this new directory."),
    ] = None,
) -> None:
    """Run the article's steps between real programs, each judged from the far side."""
    import msgspec

    from chargepin.machine.files import write_private

    not_on_windows("chargepin tour")
    with _stage(keep, "tour") as directory:
        report = finish(_toured(directory))
        if keep is not None:
            write_private(directory / REPORT, msgspec.json.format(msgspec.json.encode(report)))
            terminal().say(f"The evidence is in {keep}.")
    conclude(report)


def conclude(report: "Report") -> None:
    """Print what a tour found. Raises typer.Exit for the exit code unless every step holds."""
    import msgspec

    held = sum(step.ok for step in report.steps)
    text = f"{held} of {len(report.steps)} steps hold."
    terminal().result(msgspec.to_builtins(report), text)
    if not report.ok:
        raise typer.Exit(1)


def demo() -> None:
    """See the article's steps happen, told for a person; leaves everything running to try."""
    not_on_windows("chargepin demo")
    from chargepin.cli.tour.demo import shown

    with _stage(None, "demo") as directory:
        held = finish(shown(directory))
    if not held:
        raise typer.Exit(1)


async def _toured(directory: Path) -> "Report":
    from chargepin.cli.tour.world_programs import programs

    async with programs(directory) as world:
        from chargepin.cli.tour.touring import tour

        return await tour(world, Lines())


class Lines:
    """An audience that is told each step in a line or two."""

    async def begins(self, step: "Step") -> None:
        """Nothing is said before it is known how it ends."""

    async def ended(self, step: "Step", result: "StepResult", saw: "Saw") -> None:
        """Say how a step ended, and who saw it."""
        _ = saw
        mark = "ok  " if result.ok else "FAIL"
        terminal().say(f"{mark} {step.name} ({result.seconds:.1f} s)\n     {result.detail}")


@contextmanager
def _stage(keep: Path | None, purpose: str) -> Iterator[Path]:
    """A directory for one world: the one to keep, or one that is removed at the end."""
    if keep is None:
        from chargepin.cli.tour.scratch import scratch

        with scratch(f"chargepin-{purpose}-") as made:
            yield made
        return
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise typer.BadParameter(f"{keep} is there already and not empty; name a new directory")
    yield keep
