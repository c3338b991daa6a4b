"""A home: the directory in which one person's app keeps its settings and secrets."""

import os
import platform
import secrets
from pathlib import Path

import msgspec

from chargepin.app.errors import VaultError
from chargepin.core.decoding import Undecodable, decoded
from chargepin.machine.files import private_directory, read_private, set_aside, write_private


def home_of(given: Path | None) -> tuple[Path, bool]:
    """The home to use: given, else CHARGEPIN_HOME's, else the default one; and whether it is that.

    The default home is XDG_DATA_HOME's `chargepin`, which is ~/.local/share/chargepin if unset.
    """
    named = given or os.environ.get("CHARGEPIN_HOME")
    if named:
        return Path(named), False
    data = os.environ.get("XDG_DATA_HOME")
    base = Path(data) if data else Path.home() / ".local" / "share"
    return base / "chargepin", True


class Settings(msgspec.Struct, frozen=True):
    """What a home keeps beside its secrets.

    address: the static random address this app connects from. name: how chargers shall list it.
    """

    address: str
    name: str


def settings_of(home: Path) -> Settings:
    """Read a home's settings, drawing them at its first use. Raises VaultError."""
    path = home / "app.json"
    try:
        private_directory(home)
        try:
            return decoded(read_private(path), Settings)
        except FileNotFoundError:
            pass
        except Undecodable:
            set_aside(path)  # it holds nothing that can't be drawn anew
        drawn = Settings(_static_address(), f"chargepin on {platform.node() or 'this computer'}")
        write_private(path, msgspec.json.encode(drawn))
    except OSError as error:
        raise VaultError(f"The home {home} cannot be used: {error}.") from error
    return drawn


def _static_address() -> str:
    """Draw a static random address (Core Vol 6, Part B, 1.3.2.1): its two highest bits are 1."""
    raw = bytearray(secrets.token_bytes(6))
    raw[0] |= 0xC0
    return raw.hex(":").upper()
