"""The computer: the program, its home and secrets, the clock, the account, the radio."""

import errno
import os
import platform
import socket
import stat
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from chargepin import __version__
from chargepin.app.checkup.finding import Finding
from chargepin.app.errors import ChargepinError, NoRadio, VaultError
from chargepin.app.home import settings_of
from chargepin.app.ports import SIGN_IN_FILE, Known, Radio, Vault
from chargepin.app.radios import radio_of
from chargepin.app.vault import open_vault

RFKILL: Final = Path("/sys/class/rfkill")
_PROBE: Final = "doctor"
_WRITTEN_IN: Final = 2026  # no clock is right that says an earlier year
_OTHERS: Final = 0o077
_ANOTHER: Final = "Name one that is yours, by --home"
_REPAIR: Final = "Repair what it names, or name another home, by --home"


class NoVault:
    """Stands for a vault that does not work: whatever is asked of it raises VaultError."""

    description: Final = "nothing"

    def get(self, serial: str) -> Known | None:
        raise self._error(serial)

    def put(self, known: Known) -> None:
        raise self._error(known.serial)

    def update(self, serial: str, change: Callable[[Known], Known]) -> Known:
        _ = change
        raise self._error(serial)

    def forget(self, serial: str) -> None:
        raise self._error(serial)

    def serials(self) -> Sequence[str]:
        raise self._error("chargers")

    def _error(self, what: str) -> VaultError:
        return VaultError(f"What this app remembers of {what} is in the vault: put that right.")


@asynccontextmanager
async def look_at_computer(
    home: Path, *, default_home: bool, radio: str | None
) -> AsyncIterator[tuple[list[Finding], Vault | None, Radio | None]]:
    """Look at everything but chargers; gives vault and radio too, None where they do not work."""
    kept, vault = _vault(home, default_home=default_home)
    findings = [_program(), _home(home), kept, _clock(), await _account(home)]
    chosen = radio or os.environ.get("CHARGEPIN_RADIO")
    if not chosen:
        findings += [*_blocked(), *_kernel()]
    opened: Radio | None = None
    try:
        opened = await radio_of(radio, home)
        findings.append(Finding("radio", fine=True, text=f"Works: {opened.description}."))
    except NoRadio as error:
        findings.append(Finding("radio", fine=False, text=str(error), advice=_advice(chosen)))
    except VaultError as error:  # which address it has is in the home
        findings.append(Finding("radio", fine=False, text=str(error), advice=_REPAIR))
    try:
        yield findings, vault, opened
    finally:
        if opened is not None:
            await opened.close()


def _program() -> Finding:
    system = f"Python {platform.python_version()}, {platform.system()} {platform.release()}"
    return Finding("program", fine=True, text=f"chargepin {__version__} on {system}.")


def _home(home: Path) -> Finding:
    try:
        mode = home.stat().st_mode
    except FileNotFoundError:
        return Finding("home", fine=True, text=f"{home} is made at its first use.")
    except OSError as error:
        text = f"{home} cannot be used: {error.strerror}."
        return Finding("home", fine=False, text=text, advice=_ANOTHER)
    if not stat.S_ISDIR(mode):
        text = f"{home} is no directory."
        return Finding("home", fine=False, text=text, advice=_ANOTHER)
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        text = f"You may not read and write {home}."
        return Finding("home", fine=False, text=text, advice=_ANOTHER)
    try:
        settings_of(home)
    except VaultError as error:
        return Finding("home", fine=False, text=str(error), advice=_REPAIR)
    if sys.platform == "win32":  # where a mode tells nothing
        return Finding("home", fine=True, text=f"{home}. Who may read it, Windows decides.")
    if mode & _OTHERS:
        return Finding(
            "home",
            fine=False,
            text=f"Others on this computer may look into {home}.",
            advice=f"chmod 700 {home}",
        )
    return Finding("home", fine=True, text=f"{home}, readable by you only.")


def _vault(home: Path, *, default_home: bool) -> tuple[Finding, Vault | None]:
    """Write, read and forget something in it."""
    try:
        vault = open_vault(home, default_home=default_home)
        vault.update(_PROBE, lambda known: known)
        vault.forget(_PROBE)
        count = len(vault.serials())
    except VaultError as error:
        return Finding("vault", fine=False, text=str(error), advice=_REPAIR), None
    known = f"{count} charger{'' if count == 1 else 's'}"
    text = f"Secrets are in the {vault.description}; it works and knows {known}."
    return Finding("vault", fine=True, text=text), vault


def _clock() -> Finding:
    now = time.gmtime()
    told = time.strftime("%Y-%m-%d %H:%M UTC", now)
    if now.tm_year < _WRITTEN_IN:
        return Finding(
            "clock",
            fine=False,
            text=f"This computer's clock says {told}, which is wrong.",
            advice="Set it, or have it set from the network: accounts and logs need it.",
        )
    return Finding("clock", fine=True, text=f"This computer's clock says {told}.")


async def _account(home: Path) -> Finding:
    none = Finding("account", fine=True, text="Not signed in. No account is needed.")
    path = home / SIGN_IN_FILE
    try:
        if not path.exists():
            return none
    except OSError as error:
        text = f"{path} cannot be read ({error.strerror})."
        return Finding("account", fine=False, text=text, advice=_REPAIR)
    from chargepin.app.account import open_account  # noqa: PLC0415 - only where one is used

    client = None
    try:
        client = open_account(home)
        if client is None:
            return none
        await client.me()
    except ChargepinError as error:
        advice = "What this app remembers works without it; `chargepin login` signs in anew."
        return Finding("account", fine=False, text=str(error), advice=advice)
    finally:
        if client is not None:
            await client.close()
    return Finding("account", fine=True, text=f"Signed in as {client.person}, and reachable.")


def _blocked() -> list[Finding]:
    """Switches that keep radios silent (Linux's rfkill), where they can be read."""
    found = []
    for switch in sorted(RFKILL.glob("rfkill*")):
        try:
            if (switch / "type").read_text(encoding="ascii").strip() != "bluetooth":
                continue
            soft = (switch / "soft").read_text(encoding="ascii").strip() == "1"
            hard = (switch / "hard").read_text(encoding="ascii").strip() == "1"
        except (OSError, UnicodeError):
            continue
        if hard:
            advice = "Use the computer's switch or key for wireless."
            text = f"Bluetooth is blocked by a switch of this computer ({switch.name})."
            found.append(Finding("rfkill", fine=False, text=text, advice=advice))
        elif soft:
            text = f"Bluetooth is blocked ({switch.name})."
            advice = "rfkill unblock bluetooth"
            found.append(Finding("rfkill", fine=False, text=text, advice=advice))
        else:
            found.append(Finding("rfkill", fine=True, text=f"Not blocked ({switch.name})."))
    return found


def _kernel() -> list[Finding]:
    """Whether the kernel knows Bluetooth at all; only on Linux."""
    if platform.system() != "Linux":
        return []
    family = getattr(socket, "AF_BLUETOOTH", None)
    if family is None:
        text = "This Python was built without Bluetooth sockets; only hci-socket radios need them."
        return [Finding("kernel", fine=True, text=text)]
    try:
        socket.socket(family, socket.SOCK_SEQPACKET, 0).close()  # L2CAP: any user may
    except OSError as error:
        if error.errno not in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT):
            return []
        return [
            Finding(
                "kernel",
                fine=False,
                text="This computer's kernel has no Bluetooth, or its module is not loaded.",
                advice="modprobe bluetooth; in a container or virtual machine, pass the adapter in",
            )
        ]
    return [Finding("kernel", fine=True, text="The kernel knows Bluetooth.")]


def _advice(chosen: str | None) -> str:
    if not chosen:
        return "Without Bluetooth nothing can be asked of a charger; the rest of chargepin works."
    return f"{chosen} was asked for with --radio or CHARGEPIN_RADIO; see that it is right."
