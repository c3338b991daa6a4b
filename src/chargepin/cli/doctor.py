"""`chargepin doctor`: what is wrong, and what to do about it."""

from typing import TYPE_CHECKING, Annotated

import typer

from chargepin.cli.app import home
from chargepin.cli.options import add, finish, named
from chargepin.cli.terminal import terminal

if TYPE_CHECKING:
    from chargepin.app.checkup import Finding
    from chargepin.app.entering import Surroundings
    from chargepin.app.ports import Radio, Vault


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    add(app, doctor)


def doctor(
    charger: Annotated[
        str | None, typer.Argument(metavar="[CHARGER]", help="WB123456 or 123456", callback=named)
    ] = None,
) -> None:
    """Look for what is wrong with this computer, and with a charger if one is named."""
    findings = finish(_looking(charger))
    import msgspec

    fine = all(finding.fine for finding in findings)
    document = {"fine": fine, "findings": msgspec.to_builtins(findings)}
    terminal().result(document, "\n".join(_lines(findings)))
    if not fine:
        raise typer.Exit(1)


async def _looking(charger: str | None) -> "list[Finding]":
    from chargepin.app.checkup import Finding, NoVault, look_at_charger, look_at_computer
    from chargepin.app.home import home_of
    from chargepin.core.catalogue import serial_of

    serial = serial_of(charger) if charger else None
    place, default_home = home_of(terminal().home)
    if terminal().radio is not None:
        from chargepin.machine.controller import quiet

        quiet()
    async with look_at_computer(place, default_home=default_home, radio=terminal().radio) as (
        findings,
        vault,
        radio,
    ):
        if serial is None:
            return findings
        if radio is None:
            text = "Not looked for: this computer must be put right first."
            advice = "Do what is told above, then look again"
            return [*findings, Finding("charger", fine=False, text=text, advice=advice)]
        around = _surroundings(vault or NoVault(), radio)
        return findings + await look_at_charger(around, home(), serial)


def _surroundings(vault: "Vault", radio: "Radio") -> "Surroundings":
    """What a look needs; what of the home cannot be read was told, and is done without."""
    import secrets
    from contextlib import suppress

    from chargepin.app.connect import APP_VERSION, account_of
    from chargepin.app.entering import Surroundings
    from chargepin.app.errors import VaultError
    from chargepin.app.home import settings_of

    name, account = "chargepin doctor", None
    with suppress(VaultError, OSError):
        name = settings_of(home()).name
        account = account_of(home())
    return Surroundings(radio, vault, APP_VERSION, name, secrets.token_bytes, account)


def _lines(findings: "list[Finding]") -> list[str]:
    wide = max(len(finding.what) for finding in findings)
    lines = []
    for finding in findings:
        mark = "ok  " if finding.fine else "BAD "
        lines.append(f"{mark}{finding.what:<{wide}}  {finding.text}")
        if finding.advice:
            lines.append(f"{'':<{4 + wide}}  -> {finding.advice.rstrip('.')}.")
    return lines
