"""`chargepin passcode …`: set, enter, show, rotate."""

from typing import TYPE_CHECKING, Annotated

import typer

from chargepin.cli.app import inside, own_vault, signed_in
from chargepin.cli.options import ChargerName, finish, group
from chargepin.cli.shown import CUT_OFF
from chargepin.cli.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chargepin.app.phones import Phone
    from chargepin.app.ports import Candidate


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    group(app, "passcode", "A charger's Bluetooth passcode.", set_, enter, show, rotate)


def set_(
    charger: ChargerName,
    passcode: Annotated[str | None, typer.Argument(hidden=True)] = None,
) -> None:
    """Have a passcode assigned to a charger."""
    if passcode is not None:
        raise typer.BadParameter("a passcode is not chosen: it is assigned for you")

    async def setting() -> "tuple[str, Candidate]":
        async with inside(charger) as entered:
            return entered.name, await entered.set_passcode()

    name, active = finish(setting())
    terminal().result(
        {"charger": name, "generation": active.generation, "passcode": active.passcode},
        f"The passcode of {name} is {active.passcode}. {CUT_OFF.format(name=name)}",
    )


def enter(charger: ChargerName) -> None:
    """Enter a charger's passcode: asked for, or read from standard input."""

    async def entering() -> tuple[str, str, str]:
        async with inside(charger) as entered:
            role = "" if entered.makers else f" as {entered.role}"
            return entered.name, entered.role, role

    name, role, told = finish(entering())
    terminal().result(
        {"charger": name, "role": role},
        f"{name} let this app in{told}. It will not be asked again.",
    )


def show(charger: ChargerName) -> None:
    """Show the passcode that this app or its account knows."""

    async def looking() -> "tuple[str, list[Candidate]]":
        from chargepin.app.errors import AccountUnreachable
        from chargepin.core.catalogue import name_of, serial_of

        serial = serial_of(charger)
        known = own_vault().get(serial)
        held = list(known.candidates) if known else []
        async with signed_in() as account:
            if account is not None:
                identity = known.identity.hex() if known and known.identity else None
                try:
                    found = identity or await account.charger_id(serial)
                    held = list(await account.passcodes(found)) or held if found else held
                except AccountUnreachable as error:
                    if not held:
                        raise
                    terminal().warn(f"{error} This is what this app remembers of it.")
        return name_of(serial), held

    from chargepin.app.errors import PasscodeNeeded

    name, held = finish(looking())
    if held:
        _viewed(charger)
    if not held:
        raise PasscodeNeeded(f"Neither this app nor its account knows a passcode of {name}.")
    document = [
        {"generation": each.generation, "passcode": each.passcode, "state": each.state}
        for each in held
    ]
    lines = [
        each.passcode + ("" if each.state == "active" else "  (charger not reached yet)")
        for each in held
    ]
    terminal().result({"charger": name, "passcodes": document}, "\n".join(lines))


def _viewed(charger: str) -> None:
    """Keep for the charger's log that its passcode was shown; it is told at the next connection."""
    from msgspec.structs import replace

    from chargepin.core.catalogue import serial_of

    serial, vault = serial_of(charger), own_vault()
    if vault.get(serial) is not None:  # else this app never met it
        vault.update(serial, lambda known: replace(known, viewed=known.viewed + 1))


def rotate(
    charger: ChargerName,
    forget: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Forget this phone with it; see `phones list`."),
    ] = None,
    forget_others: Annotated[
        bool, typer.Option("--forget-others", help="Forget every phone but this one with it.")
    ] = False,
) -> None:
    """Replace a charger's passcode; phones that the charger knows stay known, if not forgotten."""

    async def rotating() -> "tuple[str, Candidate, list[Phone]]":
        async with inside(charger) as entered:
            if not forget and not forget_others:
                return entered.name, await entered.rotate_passcode(), []
            known = await entered.phones()
            going = _going(known, None if forget_others else forget)
            # In one step with the passcode: whoever is forgotten first comes back by the old one.
            kept = [phone.id for phone in known if phone not in going]
            return entered.name, await entered.rotate_passcode(keep=kept), going

    name, active, gone = finish(rotating())
    said = f"The new passcode of {name} is {active.passcode}. Phones it knows need not enter it."
    if gone:
        said += " Forgotten: " + ", ".join(f"{phone.name} ({phone.id})" for phone in gone) + "."
    terminal().result(
        {
            "charger": name,
            "generation": active.generation,
            "passcode": active.passcode,
            "forgotten": [phone.id for phone in gone],
        },
        said,
    )


def _going(known: "Sequence[Phone]", wanted: "Sequence[str] | None") -> "list[Phone]":
    """Who is forgotten with the passcode: those wanted, or all but this app.

    And whoever paired by a phone's own dialog: what is not named to the charger goes, and those
    can't be named.
    """
    missing = set(wanted or ()) - {phone.id for phone in known if not phone.this}
    if missing:
        raise typer.BadParameter(f"no other phone is known as {', '.join(sorted(missing))}")
    return [
        phone
        for phone in known
        if phone.kind == "bluetooth" or (not phone.this if wanted is None else phone.id in wanted)
    ]
