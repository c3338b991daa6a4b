"""`chargepin pause`: lend a charger's connection to another phone."""

from typing import Annotated

import typer

from chargepin.cli.app import home
from chargepin.cli.options import ChargerName, add, finish
from chargepin.cli.terminal import terminal

SECONDS_PER_MINUTE = 60
MINUTES_MAX = 24 * 60


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    add(app, pause)


def pause(
    charger: ChargerName,
    minutes: Annotated[
        float,
        typer.Option(min=0, max=MINUTES_MAX, help="How long to stay away; 0 to come back now."),
    ] = 5.0,
) -> None:
    """Lend the connection to another phone: what holds it here hangs up for some minutes.

    (`end-pause` is another thing: it ends the pause that a charger makes after wrong passcodes.)
    """

    async def asking() -> tuple[str, int]:
        from chargepin.app.lending import ask_holders
        from chargepin.core.catalogue import name_of, serial_of

        serial = serial_of(charger)
        return name_of(serial), await ask_holders(home(), serial, minutes * SECONDS_PER_MINUTE)

    name, asked = finish(asking())
    if not asked:
        from chargepin.app.errors import NotHeld

        raise NotHeld(
            f"No program of this home holds the connection to {name}, so there is nothing to lend."
            " If the charger is taken, another phone, gateway or home has it."
        )
    away = f"stays away for {minutes:g} minutes" if minutes else "comes back now"
    terminal().result(
        {"charger": name, "holders": asked, "minutes": minutes},
        f"{name} is free: what held it hung up and {away}."
        if minutes
        else f"What held {name} {away}.",
    )
