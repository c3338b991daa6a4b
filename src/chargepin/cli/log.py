"""`chargepin log`: a charger's security log, verified, for people and for programs."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

import typer

from chargepin.cli.app import inside
from chargepin.cli.options import ChargerName, add, finish
from chargepin.cli.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from chargepin.app.log import SecurityLog
    from chargepin.core.log import Entry

STANDARD_OUTPUT = Path("-")
_NOBODY: "Mapping[str, str]" = MappingProxyType({})

SAID = MappingProxyType(
    {
        "started": "switched on, software {software}",
        "downgraded": "software {software} is too old for the passcode: stays closed",
        "passcode_set": "passcode set (generation {generation}) by {by}",
        "passcode_rotated": "passcode changed (generation {generation}) by {by};"
        " {bonds} phones stay, {forgotten} forgotten",
        "passcode_viewed": "passcode shown {times}x by {by}",
        "attempt": "a passcode was tried, number {charged} of 80",
        "attempts_warning": "{charged} of 80 tries are used: change the passcode",
        "paused": "the next try must wait {seconds} s, unless this one was right",
        "exhausted": "no more tries for this passcode, unless this one was right",
        "passcode_wrong": "it was wrong",
        "passcode_unproved": "it was wrong, or given up",
        "passcode_entered": "it was right",
        "bond_added": "phone added: {name} as {role} ({bond}), by {by}",
        "bond_forgotten": "phone forgotten ({bond}) by {by}",
        "bluetooth_bond_added": "phone paired by its own dialog: {name} ({bond})",
        "bluetooth_bond_forgotten": "phone of a dialog of its own forgotten ({bond}) by {by}",
        "pairing_window_opened": "pairing window opened by {by}",
        "pairing_window_closed": "pairing window closed ({why}), {attempts} codes used up",
        "pairing_failed": "pairing failed, from {address}",
        "pause_ended": "pause ended by {by}",
        "policy_set": "a first passcode needs presence: {first_set_needs_presence}; set by {by}",
        "claimed": "claimed for account {account} by {by}",
        "released": "released from its account by {by}",
        "button_pressed": "button pressed",
        "button_window_opened": "the press allows {tries} tries in spite of the pause",
        "owner_by_button": "the press made {by} an owner",
        "reset": "reset by {by}: passcode, phones and account erased",
        "reset_refused": "reset refused: {why}",
        "update_started": "update to {software} started",
        "update_installed": "update to {software} installed",
        "update_failed": "update failed: {why}",
        "tampered": "HOUSING OPENED",
        "tamper_ended": "housing closed",
        "tamper_seen": "the notice of the opened housing was put away by {by}",
        "state_lost": "the memory was damaged ({kept_aside_as}): closed to everybody",
        "log_trimmed": "the log was full: entries up to {begins} were summed up",
        "log_cleared": "names up to entry {begins} were erased from the log",
        "log_damaged": "THE LOG WAS DAMAGED ({found}) and begins anew; what was left of it up to"
        " entry {begins} is in the charger's file {kept_aside_as}",
    }
)
"""What each event says to a person; one that is not here is shown as it is."""


def add_to(app: typer.Typer) -> None:
    """Hang the commands of this module into the tree."""
    add(app, log)


def log(
    charger: ChargerName,
    after: Annotated[int, typer.Option(min=0, help="Only entries after this number.")] = 0,
    export: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write JSON Lines, with OCPP's names; - to the screen."),
    ] = None,
) -> None:
    """Read a charger's security log, and say whether it can be trusted. Needs an admin."""

    async def reading() -> "SecurityLog":
        async with inside(charger) as entered:
            progress = _progress(f"Reading the log of {entered.name}")
            found = await entered.security_log(after, progress)
            if export is None:
                _print(entered.name, found)
            else:
                _export(export, entered.name, (entered.identity or b"").hex(), found)
            if entered.tampered:  # not before somebody has what was read
                await entered.tamper_seen()
            return found

    found = finish(reading())
    if found.finding is not None:
        terminal().warn(found.finding)
        raise typer.Exit(1)


def _print(name: str, found: "SecurityLog") -> None:
    document = {
        "charger": name,
        "entries": [_document(entry) for entry in found.entries],
        "head": {"sequence": found.head.sequence, "hash": found.head.hash.hex()},
        "begins": found.begins.sequence,
        "counting": found.counting,
        "broken_off": _broken_off(found),
        "verified": found.finding is None,
        "finding": found.finding,
    }
    terminal().result(document, "\n".join(_lines(found)))


def _progress(text: str) -> "Callable[[int], None]":
    """Draw a bar for a person who waits; nothing into a pipe."""
    if not terminal().counts_down:
        return lambda _: None
    return lambda percent: terminal().progress(text, percent)


def _lines(found: "SecurityLog") -> Iterable[str]:
    names = names_in(found.entries)
    for entry in found.entries:
        if entry.sequence == found.begins.sequence + 1 and found.begins.sequence:
            yield f"{'':>7}  (before this, only what matters most was kept)"
        yield f"{entry.sequence:>6}  {when(entry)}  {sentence(entry, names)}"
    if found.counting:
        yield f"{'':>7} not yet written down: {_counted(found.counting)}"
    if found.finding is None:
        broken_off = _broken_off(found)
        since = "" if broken_off is None else f" since entry {broken_off}, where it was begun anew"
        yield f"{len(found.entries)} entries, and the chain of them holds{since}."


def _broken_off(found: "SecurityLog") -> int | None:
    """The entry with which the charger last began its log anew, because it was damaged."""
    from chargepin.core.log_summary import broken_off

    entry = broken_off(found.entries)
    return None if entry is None else entry.sequence


def when(entry: "Entry") -> str:
    """UTC where the charger's clock was set, and the charger's running time always."""
    utc = "clock not set      "
    if entry.unix_s:
        utc = f"{datetime.fromtimestamp(entry.unix_s, UTC):%Y-%m-%d %H:%M:%S}"
    return f"{utc}  {entry.running_s:>11.1f} s"


def names_in(entries: "Iterable[Entry]") -> dict[str, str]:
    """What phones are called, by their bonds, and those that have none."""
    names = {"passcode": "whoever typed the passcode", "open": "an app, while it was open"}
    named = [each.detail for each in entries if {"bond", "name"} <= each.detail.keys()]
    return names | {str(detail["bond"]): str(detail["name"]) for detail in named}


def sentence(entry: "Entry", names: "Mapping[str, str]" = _NOBODY) -> str:
    """What an entry says to a person, and the event's name, to look it up by."""
    if entry.event == "strangers":
        said = f"strangers: {_counted(entry.detail)}"
    else:
        try:
            by = str(entry.detail.get("by"))
            said = SAID[entry.event].format(**entry.detail | {"by": names.get(by, by)})
        except KeyError:
            said = json.dumps(entry.detail, ensure_ascii=False)
    return f"{entry.event:<24} {''.join(c if c.isprintable() else ' ' for c in said)}"


def _counted(counts: "dict[str, int] | dict[str, str | int | bool | None]") -> str:
    return ", ".join(f"{times}x {name}" for name, times in sorted(counts.items()))


def _document(entry: "Entry") -> dict[str, object]:
    from chargepin.core.log_events import ocpp_of

    timestamp = None
    if entry.unix_s:
        timestamp = f"{datetime.fromtimestamp(entry.unix_s, UTC):%Y-%m-%dT%H:%M:%SZ}"
    return {
        "sequence": entry.sequence,
        "timestamp": timestamp,
        "running_s": entry.running_s,
        "event": entry.event,
        "ocpp": ocpp_of(entry.event, entry.detail),
        "detail": entry.detail,
        "previous": entry.previous.hex(),
        "hash": entry.hash.hex(),
    }


def _export(to: Path, name: str, identity: str, found: "SecurityLog") -> None:
    about = {"charger": name, "identity": identity}
    lines = "".join(json.dumps(about | _document(entry)) + "\n" for entry in found.entries)
    if to == STANDARD_OUTPUT:
        terminal().stdout.write(lines)
        return
    from chargepin.machine.files import write_private

    try:
        write_private(to, lines.encode())
    except OSError as error:  # it names a file of its own, which nobody has heard of
        raise OSError(error.errno, error.strerror, str(to)) from error
    document = {"exported": len(found.entries), "file": str(to), "verified": found.finding is None}
    terminal().result(document, f"{len(found.entries)} entries are in {to}.")
