"""How commands show what they found and what they are doing."""

from contextlib import aclosing
from typing import TYPE_CHECKING

from chargepin.cli.terminal import terminal

if TYPE_CHECKING:
    from chargepin.app.client import Charger
    from chargepin.app.status import Status

CUT_OFF = (
    "{name} has hung up on every phone, this one too. To reconnect, the passcode must be entered."
)

TAMPERED = (
    "Its housing was opened: look at the charger, then at `chargepin log {name}`, which also puts"
    " this notice away."
)


def told(found: "Status") -> str:
    """A status in a line."""
    lock = {True: ", locked", False: ", unlocked", None: ""}[found.locked]
    match found.passcode:
        case "unknown":
            rest = "for its passcode see the maker's app"
        case "unsupported":
            rest = "too old for a passcode"
        case known:
            rest = f"{known}, you are {found.role}"
    if found.tampered:
        rest += ". " + TAMPERED.format(name=found.name)
    return (
        f"{found.name}: {found.state}, {found.power_kw:.1f} kW, limit {found.current_a} A,"
        f" {found.energy_kwh:.2f} kWh{lock}; software {found.software}, {rest}"
    )


async def install(entered: "Charger", version: str) -> None:
    """Install software, drawing a bar."""
    from chargepin.core.catalogue import Version

    terminal().progress(f"Installing {version}", 0)
    async with aclosing(entered.update(Version.parse(version))) as progress:
        async for percent in progress:
            terminal().progress(f"Installing {version}", percent)
