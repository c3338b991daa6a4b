"""`chargepin export …`: configuration of other programs, to paste."""

from enum import Enum
from typing import TYPE_CHECKING, Annotated

import typer

from chargepin.cli.app import surroundings
from chargepin.cli.options import ChargerName, finish, group
from chargepin.cli.terminal import terminal

if TYPE_CHECKING:
    from chargepin.app.ports import Found

SECRET = "wallbox_passcode"  # noqa: S105 - the name of one, not one
CLIENT = "charger_passcode"
HEARS_OUT_S = 2.0

PROXY = """\
# A Bluetooth proxy that can type the passcode of {name}.
# Made by: chargepin export esphome {name}. Needs ESPHome {since} or newer.
#
# A proxy has no message that carries a passcode, so that the passcode must be on the ESP32
# itself. The ble_client below never connects: it only answers when {name} asks for its
# passcode, on the connection that the proxy makes for Home Assistant.

esp32_ble:
  io_capability: keyboard_only  # the default "none" cannot type
  auth_req_mode: bond_mitm  # keep the pairing, and insist on the passcode
  max_connections: 4  # 3 of the proxy and 1 for the ble_client, although it never connects

esp32_ble_tracker:

bluetooth_proxy:
  active: true

ble_client:
  - id: {client}
    mac_address: "{address}"
    auto_connect: false
    on_passkey_request:
      then:
"""
MAKERS = """\
        - ble_client.passkey_reply:
            id: {client}
            passkey: !secret {secret}

# Put the passcode that the maker's app shows into secrets.yaml, without leading zeros:
#   {secret}: ...
#
# What it cannot do: tell a wrong passcode from a charger that does not pair. If the log says
# "numeric comparison" instead, use on_numeric_comparison_request.
"""
OURS = """\
        - logger.log: "{name} asks for a code. Run: chargepin pairing open {name}"

# {name} has chargepin's passcode service. Its passcode is never typed into a Bluetooth pairing,
# so that it is not here: a pairing takes a one-time code, good for one attempt. Open a window with
# `chargepin pairing open {name}` and, within 30 seconds of the log line above, call the action
# esphome.<node>_{action} of Home Assistant with the code that is shown. Once
# paired, the proxy is not asked again.
#
# What it cannot do: open the window by itself, or have the role of an owner; a phone that paired
# by its own dialog is a user. Programs with chargepin's library need no pairing: any proxy will do.

api:
  actions:
    - action: {action}
      variables:
        code: int
      then:
        - ble_client.passkey_reply:
            id: {client}
            passkey: !lambda "return code;"
"""


class Kind(Enum):
    """Whose charger it is."""

    OURS = "ours"
    MAKERS = "makers"


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    group(app, "export", "Configuration of other programs, to paste.", esphome)


def esphome(
    charger: ChargerName,
    address: Annotated[
        str | None,
        typer.Option(
            help="Its Bluetooth address, such as 54:64:DE:01:02:03; else it is looked for.",
            metavar="ADDRESS",
        ),
    ] = None,
) -> None:
    """Print what makes an ESPHome Bluetooth proxy answer a charger's passcode request.

    With --address nothing is looked for, and the charger is taken to run the maker's software.
    """
    from chargepin.core.catalogue import name_of
    from chargepin.core.gatt import PASSCODE_SERVICE

    name = name_of(charger)
    kind = Kind.MAKERS
    if address is None:
        found = finish(_sought(charger))
        address = found.address
        kind = Kind.OURS if PASSCODE_SERVICE in found.services else Kind.MAKERS
    plain = _plain(address)
    text = configuration(name, plain, kind)
    document = {"charger": name, "address": plain, "kind": kind.value, "yaml": text}
    terminal().result(document, text.rstrip("\n"))


def configuration(name: str, address: str, kind: Kind) -> str:
    """The YAML. It has no secret in it."""
    template = PROXY + (OURS if kind is Kind.OURS else MAKERS)
    return template.format(
        name=name,
        address=address,
        client=CLIENT,
        secret=SECRET,
        action="charger_pairing_code",
        since="2024.8.0" if kind is Kind.OURS else "2024.3.0",
    )


def _plain(address: str) -> str:
    """The six bytes, without how a stack marks public ones."""
    import re

    plain = address.partition("/")[0].upper()
    if not re.fullmatch(r"[0-9A-F]{2}(:[0-9A-F]{2}){5}", plain):
        raise typer.BadParameter(
            f"{address} is no Bluetooth address, such as 54:64:DE:01:02:03. macOS does not tell"
            " them: look it up elsewhere, and give it with --address."
        )
    return plain


async def _sought(charger: str) -> "Found":
    """Find it, and hear it out: its second packet tells whether it is ours."""
    import asyncio
    from contextlib import aclosing

    from chargepin.app.client import find
    from chargepin.core.gatt import PASSCODE_SERVICE

    async with surroundings() as around:
        found = await find(around, charger)
        try:
            async with asyncio.timeout(HEARS_OUT_S), aclosing(around.radio.scan()) as seen:
                async for heard in seen:
                    if heard.address == found.address:
                        found = heard
                    if PASSCODE_SERVICE in found.services:
                        break
        except TimeoutError:
            pass
        return found
