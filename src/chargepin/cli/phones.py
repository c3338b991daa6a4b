"""`chargepin phones …`: the phones that a charger knows, listed and forgotten one by one."""

import re
import time
from typing import TYPE_CHECKING, Annotated

import typer

from chargepin.cli.app import inside, own_vault
from chargepin.cli.options import ChargerName, finish, group
from chargepin.cli.terminal import terminal

if TYPE_CHECKING:
    from chargepin.app.phones import Phone


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    group(app, "phones", "The phones that a charger knows.", list_, forget, forget_charger)


def list_(charger: ChargerName) -> None:
    """List the phones that a charger knows, by this app or by their own dialog. Needs an admin."""

    async def listing() -> "list[Phone]":
        async with inside(charger) as entered:
            return await entered.phones()

    phones = finish(listing())
    import msgspec

    lines = [
        f"{phone.id}  {phone.role:<5}  {_day(phone.seen)}  {phone.name}"
        + ("  (this app)" if phone.this else "")
        + ("  (its own Bluetooth dialog)" if phone.kind == "bluetooth" else "")
        for phone in phones
    ]
    terminal().result(
        msgspec.to_builtins(phones), "\n".join(lines) or "The charger knows no phone."
    )


def forget(
    charger: ChargerName,
    phone: Annotated[str, typer.Argument(metavar="ID", help="As `phones list` shows it.")],
) -> None:
    """Make a charger forget one phone; it must then prove the passcode again."""
    from chargepin.core.catalogue import name_of, serial_of

    if not re.fullmatch("[0-9a-f]{16}", phone):
        raise typer.BadParameter(f"{phone} is no phone's number: `phones list` shows them")
    serial = serial_of(charger)
    known = own_vault().get(serial)
    if known and known.bond and (known.bond.bond_id, known.bond.role) == (phone, "owner"):
        raise typer.BadParameter(
            "that is this app itself, which would be no owner any more; another owner's can do it"
        )

    async def forgetting() -> None:
        async with inside(charger) as entered:
            await entered.forget_phone(phone)

    finish(forgetting())
    terminal().result(
        {"forgotten": phone},
        f"{phone} is forgotten. An app must prove the passcode again; a phone that came by its own"
        " dialog needs a new code. To keep a phone out that has the passcode: `chargepin passcode"
        f" rotate {name_of(serial)} --forget ID`.",
    )


def forget_charger(charger: ChargerName) -> None:
    """Make this app forget a charger: its identity, passcode and bond."""
    from chargepin.core.catalogue import name_of, serial_of

    serial = serial_of(charger)
    own_vault().forget(serial)
    terminal().result({"forgotten": serial}, f"{name_of(serial)} is forgotten in this app.")


def _day(unix_s: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(unix_s)) if unix_s else "unknown   "
