"""One charger: whether it is there, who holds it, what it is, and whether this app gets in.

Nothing here costs a try: a passcode is never tried, only a bond.
"""

from dataclasses import replace
from pathlib import Path
from typing import Final

from chargepin.app.checkup.finding import Finding
from chargepin.app.client import Charger, enter, find
from chargepin.app.entering import CONNECT_WITHIN_S, Surroundings
from chargepin.app.errors import (
    BondUnknown,
    ChargepinError,
    NotFound,
    PasscodeNeeded,
    PasscodeWrong,
    RoleTooLow,
    VaultError,
)
from chargepin.app.lending import held_here
from chargepin.app.ports import NOT_TOLD_DBM, Found, Known, Link
from chargepin.app.session import Session, WasRefused
from chargepin.core import gatt, handshake
from chargepin.core.catalogue import PASSCODE_SINCE, Version, name_of
from chargepin.core.identity import Credential, Flag, Params, RefusalCode, State
from chargepin.machine.clock import unix_s

GOOD_DBM: Final = -75
USABLE_DBM: Final = -85
HOPELESS_DBM: Final = -95
_DRIFT_S: Final = 300
_AGAIN: Final = "Look again; if it stays, switch the charger off and on"


async def look_at_charger(around: Surroundings, home: Path, serial: str) -> list[Finding]:
    """Look at one charger from the air to its clock; ends where it goes on no further."""
    around = replace(around, prompt=None, ask_first=False)
    name = name_of(serial)
    if await held_here(home, serial):
        return [
            Finding(
                "link",
                fine=False,
                text=f"A program of this home holds the connection to {name}.",
                advice=f"chargepin pause {name}; then look again",
            )
        ]
    try:
        found = await find(around, serial)
    except ChargepinError as error:
        return [_not_found(name, error)]
    findings = [_signal(found)]
    try:
        link = await around.radio.connect(found, timeout_s=CONNECT_WITHIN_S)
    except ChargepinError as error:
        return [*findings, _no_link(found, error)]
    params = None
    known, memory = _remembered(around, serial)
    try:
        findings += [_connects(link), _module(link), await _pairing(around, found)]
        if gatt.PASSCODE_HINT.uuid in link.characteristics:
            params, seen = await _seen(link, around, known)
            findings += seen
    except ChargepinError as error:
        findings.append(Finding("service", fine=False, text=str(error), advice=_AGAIN))
    finally:
        await link.close()
    findings += memory
    if all(finding.fine or finding.what in ("signal", "passcode") for finding in findings):
        findings += await _inside(around, found, params)
    return findings


def _remembered(around: Surroundings, serial: str) -> tuple[Known | None, list[Finding]]:
    """What this app knows of it; None, and why, where that cannot be looked up."""
    try:
        return around.vault.get(serial) or Known(serial), []
    except VaultError as error:
        advice = "Do that, then look again"
        return None, [Finding("memory", fine=False, text=str(error), advice=advice)]


def _not_found(name: str, error: ChargepinError) -> Finding:
    if not isinstance(error, NotFound):
        advice = "Look again; if it stays, switch this computer's Bluetooth off and on"
        return Finding("found", fine=False, text=str(error), advice=advice)
    return Finding(
        "found",
        fine=False,
        text=f"{name} does not advertise: it is out of range, switched off, or another phone or"
        " gateway holds its connection.",
        advice="Close the maker's app on phones nearby, stop gateways, stand within ten metres,"
        " switch the charger off and on; then look again",
    )


def _signal(found: Found) -> Finding:
    dbm = found.rssi_dbm
    if dbm == NOT_TOLD_DBM:
        return Finding("signal", fine=True, text="The system does not tell how strong it is.")
    closer = "Move closer, or put a Bluetooth proxy near the charger"
    if dbm >= GOOD_DBM:
        return Finding("signal", fine=True, text=f"{dbm} dBm: good.")
    if dbm >= USABLE_DBM:
        return Finding("signal", fine=True, text=f"{dbm} dBm: usable, some answers take longer.")
    if dbm >= HOPELESS_DBM:
        text = f"{dbm} dBm: weak. Expect requests without an answer and broken connections."
        return Finding("signal", fine=False, text=text, advice=closer)
    return Finding("signal", fine=False, text=f"{dbm} dBm: too weak to use.", advice=closer)


def _no_link(found: Found, error: ChargepinError) -> Finding:
    """What is heard but cannot be connected to."""
    advice = "Close the maker's app on phones nearby and stop gateways, or move closer"
    if not found.connectable:
        text = f"{found.name} is taken: it says that it lets nobody connect now."
        return Finding("link", fine=False, text=text, advice=advice)
    return Finding("link", fine=False, text=str(error), advice=advice)


def _connects(link: Link) -> Finding:
    layout = gatt.layout_of(link.characteristics)
    alone = layout is not None and layout.stock.one_central
    text = "Connects: nobody else holds the connection." if alone else "Connects."
    return Finding("link", fine=True, text=text)


def _module(link: Link) -> Finding:
    layout = gatt.layout_of(link.characteristics)
    ours = gatt.PASSCODE_HINT.uuid in link.characteristics
    passcode = "with" if ours else "without"
    if layout is None and not ours:
        text = "It has none of the services of a charger."
        return Finding("services", fine=False, text=text, advice="See that the name is right")
    module = layout.value if layout is not None else "unknown"
    text = f"Radio module {module}, {passcode} chargepin's passcode service."
    return Finding("services", fine=True, text=text)


async def _pairing(around: Surroundings, found: Found) -> Finding:
    bonded = await around.radio.bonded(found)
    text = {
        True: "This computer has a Bluetooth bond with it.",
        False: "This computer has no Bluetooth bond with it.",
        None: "Whether this computer has a Bluetooth bond with it, the system does not tell.",
    }[bonded]
    return Finding("pairing", fine=True, text=text)


async def _seen(
    link: Link, around: Surroundings, known: Known | None
) -> tuple[Params | None, list[Finding]]:
    """What the charger says of itself before anything is proved."""
    session = Session(link, around.app, around.random)
    await session.begin()
    bond: Finding | None = None
    try:
        params = await session.hello(Credential.PASSCODE)
        if known and known.bond is not None and known.identity == params.identity:
            bond = await _bond(session, known)
    except WasRefused as was:
        needed = f"app {was.refusal.oldest_app} or newer, or its owner's help"
        text = f"The charger refuses this app: {was.refusal.code.name.lower()}."
        return None, [Finding("passcode", fine=False, text=text, advice=f"It needs {needed}")]
    findings = [_software(params), *([_identity(params, known)] if known else [])]
    findings += [*_passcode(params, known), *([bond] if bond else [])]
    return params, findings


async def _bond(session: Session, known: Known) -> Finding:
    assert known.bond is not None  # noqa: S101 - asked before
    assert known.identity is not None  # noqa: S101 - asked before
    try:
        tag_key = handshake.bond_tag_key(known.bond.secret, known.identity)
        await session.hello(Credential.BOND, tag_key)
    except WasRefused as was:
        text = "The charger has forgotten this app."
        if was.refusal.code is not RefusalCode.BOND_UNKNOWN:
            text = f"The charger refuses this app's bond: {was.refusal.code.name.lower()}."
        advice = f"chargepin passcode enter {name_of(known.serial)}"
        return Finding("bond", fine=False, text=text, advice=advice)
    text = f"The charger knows this app, as {known.bond.role}."
    return Finding("bond", fine=True, text=text)


def _software(params: Params) -> Finding:
    newer = bool(params.flags & Flag.UPDATE_AVAILABLE)
    return _of_software(name_of(params.serial), str(params.software), params.software, newer=newer)


def _of_software(name: str, told: str, software: Version | None, *, newer: bool = False) -> Finding:
    advice = f"chargepin update {name}"
    text = f"Software {told}."
    if software is not None and software < PASSCODE_SINCE:
        text = f"Software {told}, but a passcode needs {PASSCODE_SINCE} or newer."
        return Finding("software", fine=False, text=text, advice=advice)
    if newer:
        return Finding("software", fine=True, text=f"{text} There is a newer one.", advice=advice)
    return Finding("software", fine=True, text=text)


def _identity(params: Params, known: Known) -> Finding:
    advice = f"If it was replaced or reset: chargepin phones forget-charger {name_of(known.serial)}"
    if known.identity is None:
        return Finding("identity", fine=True, text="Not met before.")
    if known.identity != params.identity:
        text = "It is another charger than the one that this app knows by that name."
        return Finding("identity", fine=False, text=text, advice=advice)
    older = (params.incarnation, params.generation) < (known.incarnation, known.generation)
    if older or (known.protected and params.state is State.OPEN):
        text = "It answers with an older state than it had, or without the passcode that it had."
        return Finding("identity", fine=False, text=text, advice=advice)
    return Finding("identity", fine=True, text="It is the charger that this app knows.")


def _passcode(params: Params, known: Known | None) -> list[Finding]:
    name = name_of(params.serial)
    if params.state is State.OPEN:
        text = "No passcode is set: anyone within ten metres can connect and change it."
        return [Finding("passcode", fine=False, text=text, advice=f"chargepin passcode set {name}")]
    text = f"Protected by passcode number {params.generation}"
    if known is not None:
        its = params.generation, params.salt
        held = any((each.generation, each.salt) == its for each in known.candidates)
        text += f", which this app {'has' if held else 'has not'}"
    findings = [Finding("passcode", fine=True, text=f"{text}.")]
    if params.flags & Flag.EXHAUSTED:
        text = "It takes no more tries of this passcode, after too many wrong ones."
        advice = f"An owner: chargepin passcode rotate {name}"
        findings.append(Finding("tries", fine=False, text=text, advice=advice))
    elif params.flags & Flag.PAUSED:
        text = f"Somebody entered wrong passcodes: paused for {params.retry_after_s} s more."
        advice = f"Wait, or as an owner: chargepin end-pause {name}"
        findings.append(Finding("tries", fine=False, text=text, advice=advice))
    else:
        text = f"{params.tries_left} tries before a pause."
        findings.append(Finding("tries", fine=True, text=text))
    return findings


async def _inside(around: Surroundings, found: Found, params: Params | None) -> list[Finding]:
    """Get in without typing anything, and look around."""
    known = around.vault.get(found.name.removeprefix("WB"))
    if params is not None and params.state is State.PROTECTED and not (known and known.bond):
        text = "This app has no bond with it, and a look costs no tries of the passcode."
        advice = f"chargepin passcode enter {found.name}"
        return [Finding("way in", fine=False, text=text, advice=advice)]
    try:
        charger = await enter(around, found)
    except ChargepinError as error:
        wanted = isinstance(error, PasscodeNeeded | PasscodeWrong | BondUnknown)
        advice = f"chargepin passcode enter {found.name}" if wanted else _AGAIN
        return [Finding("way in", fine=False, text=str(error), advice=advice)]
    try:
        status = await charger.status()
        role = "" if charger.makers else f" as {charger.role}"
        text = f"Lets this app in{role}; it is {status.state}."
        findings = [Finding("way in", fine=True, text=text)]
        if params is None:
            findings += await _of_the_maker(charger)
        return [*findings, await _clock(charger)]
    except ChargepinError as error:
        return [Finding("way in", fine=False, text=str(error), advice=_AGAIN)]
    finally:
        await charger.close()


async def _of_the_maker(charger: Charger) -> list[Finding]:
    findings = [_of_software(charger.name, charger.software_text, charger.software)]
    has = await charger.has_passcode()
    if has is None:
        text = "The charger does not tell whether it has a passcode."
        return [*findings, Finding("passcode", fine=True, text=text)]
    if has:
        return [*findings, Finding("passcode", fine=True, text="It has a passcode.")]
    text = "No passcode is set: anyone within ten metres can connect and change it."
    advice = "Set one in the maker's app"
    return [*findings, Finding("passcode", fine=False, text=text, advice=advice)]


async def _clock(charger: Charger) -> Finding:
    """When the charger thinks that it last saw this app, which is now; admins are told that."""
    if charger.passcode_state != "protected":
        return Finding("charger's clock", fine=True, text="The charger does not tell its time.")
    try:
        seen = [phone.seen for phone in await charger.phones() if phone.this]
    except RoleTooLow:
        return Finding("charger's clock", fine=True, text="Only admins are told its time.")
    if not seen or not seen[0]:
        return Finding("charger's clock", fine=True, text="The charger does not know the time.")
    drift_s = abs(unix_s() - seen[0])
    if drift_s > _DRIFT_S:
        text = f"It is {drift_s} s apart from this computer's clock."
        advice = "Set whichever is wrong; times in the charger's log follow its own"
        return Finding("charger's clock", fine=False, text=text, advice=advice)
    return Finding("charger's clock", fine=True, text="It agrees with this computer's.")
