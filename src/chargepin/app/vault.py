"""Where one home keeps its secrets: the operating system's keyring, or a private file.

Which of the two is decided at a home's first use and written down in `vault.json`; it is never
decided again. A keyring that fails later is an error and never a reason for a second vault:
there, a passcode would seem forgotten that is only out of reach.
"""

import contextlib
import os
import queue
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import msgspec

from chargepin.app.errors import VaultError
from chargepin.app.ports import Known, Vault
from chargepin.core.decoding import Undecodable, decoded
from chargepin.machine.files import private_directory, read_private, set_aside, write_private
from chargepin.machine.locks import lock

if TYPE_CHECKING:
    from keyring.backend import KeyringBackend

_CHOICE: Final = "vault.json"
_SECRETS: Final = "secrets.json"
_LOCK: Final = "vault.lock"
_SERVICE: Final = "chargepin"
_PROBE_S: Final = 2.0
_VERSION: Final = 1


class _Choice(msgspec.Struct, frozen=True):
    """What `vault.json` says.

    backend: which keyring, by its class. serials: what it holds, since it cannot be listed.
    """

    kind: Literal["file", "keyring"]
    backend: str = ""
    serials: tuple[str, ...] = ()


class _Versioned(msgspec.Struct, frozen=True):
    """What every version of `secrets.json` begins with."""

    version: int = _VERSION


class _Document(_Versioned, frozen=True):
    """What `secrets.json` holds."""

    chargers: dict[str, Known] = msgspec.field(default_factory=dict)

    def __repr__(self) -> str:
        return f"_Document({len(self.chargers)} chargers)"


class _Home:
    """A directory that several processes may use at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep every other process and thread out. Raises VaultError."""
        with _told(f"The home {self.path} cannot be used"):
            private_directory(self.path)
            descriptor = os.open(self.path / _LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            with _told(f"The home {self.path} cannot be locked"):
                lock(descriptor)
            yield
        finally:
            os.close(descriptor)

    def read(self, name: str) -> bytes | None:
        """Read a file; None if there is none. Raises VaultError."""
        with _told(f"{self.path / name} cannot be read"):
            try:
                return read_private(self.path / name)
            except FileNotFoundError:
                return None

    def write(self, name: str, content: msgspec.Struct) -> None:
        """Replace a file. Raises VaultError."""
        with _told(f"{self.path / name} cannot be written; nothing was changed"):
            write_private(self.path / name, msgspec.json.encode(content))

    def choice(self) -> _Choice | None:
        """What was decided for this home. Raises VaultError."""
        raw = self.read(_CHOICE)
        try:
            return None if raw is None else decoded(raw, _Choice)
        except Undecodable:
            raise VaultError(
                f"{self.path / _CHOICE} is damaged: it says where this home keeps its secrets. "
                f'Restore it, or write {{"kind": "file"}} into it, or "keyring".'
            ) from None


class FileVault:
    """A file that only its owner may read, replaced in one step."""

    def __init__(self, home: Path) -> None:
        self._home = _Home(home)

    def get(self, serial: str) -> Known | None:
        return self._read().chargers.get(serial)

    def put(self, known: Known) -> None:
        self.update(known.serial, lambda _: known)

    def update(self, serial: str, change: Callable[[Known], Known]) -> Known:
        with self._home.locked():
            chargers = self._decoded().chargers
            changed = change(chargers.get(serial) or Known(serial))
            self._home.write(_SECRETS, _Document(chargers={**chargers, serial: changed}))
        return changed

    def forget(self, serial: str) -> None:
        with self._home.locked():
            chargers = self._decoded().chargers
            if chargers.pop(serial, None) is not None:
                self._home.write(_SECRETS, _Document(chargers=chargers))

    def serials(self) -> Sequence[str]:
        return sorted(self._read().chargers)

    @property
    def description(self) -> str:
        return f"file {self._home.path / _SECRETS}"

    def _read(self) -> _Document:
        # Without the lock: a file is replaced whole, so either state is a true one.
        try:
            return self._known_version()
        except Undecodable:
            with self._home.locked():
                return self._decoded()

    def _known_version(self) -> _Document:
        raw = self._home.read(_SECRETS)
        if raw is None:
            return _Document()
        if decoded(raw, _Versioned).version > _VERSION:
            raise VaultError(
                f"{self._home.path / _SECRETS} was written by a newer chargepin. Update this one."
            )
        return decoded(raw, _Document)

    def _decoded(self) -> _Document:
        """Read under the lock; what cannot be read is kept aside, and told."""
        try:
            return self._known_version()
        except Undecodable:
            path = self._home.path / _SECRETS
            with _told(f"{path} is damaged and cannot be moved out of the way"):
                aside = set_aside(path)
            raise VaultError(
                f"This home's secrets were damaged. They were kept as {aside}; from now on this "
                "home knows no charger. Enter the passcodes again, or repair that file and "
                f"rename it to {path.name}."
            ) from None


class KeyringVault:
    """The operating system's keyring, one entry for each charger."""

    def __init__(self, home: Path, backend: "KeyringBackend") -> None:
        self._home = _Home(home)
        self._backend = backend

    def get(self, serial: str) -> Known | None:
        with _told("The keyring cannot be read"):
            text = self._backend.get_password(_SERVICE, serial)
        if text is None:
            return None
        try:
            return decoded(text, Known)
        except Undecodable:
            raise VaultError(
                f"The keyring's entry {_SERVICE}/{serial} is damaged. "
                f"Forget the charger {serial}, then enter its passcode again."
            ) from None

    def put(self, known: Known) -> None:
        with self._home.locked():
            self._write(known.serial, known)

    def update(self, serial: str, change: Callable[[Known], Known]) -> Known:
        with self._home.locked():
            changed = change(self.get(serial) or Known(serial))
            self._write(serial, changed)
        return changed

    def forget(self, serial: str) -> None:
        with self._home.locked():
            with _told("The keyring cannot be changed; nothing was forgotten"):
                if self._backend.get_password(_SERVICE, serial) is not None:
                    self._backend.delete_password(_SERVICE, serial)
            self._list(serial, present=False)

    def serials(self) -> Sequence[str]:
        choice = self._home.choice()
        return sorted(choice.serials) if choice else []

    @property
    def description(self) -> str:
        return f"keyring ({self._backend.name})"

    def _write(self, serial: str, known: Known) -> None:
        self._list(serial, present=True)  # before it is there, so that nothing is ever unlisted
        with _told("The keyring cannot be written; nothing was changed"):
            self._backend.set_password(_SERVICE, serial, msgspec.json.encode(known).decode())

    def _list(self, serial: str, *, present: bool) -> None:
        listed = set(self.serials())
        if present is not (serial in listed):
            listed ^= {serial}
            self._home.write(
                _CHOICE, _Choice("keyring", _named(self._backend), tuple(sorted(listed)))
            )


def open_vault(home: Path, *, default_home: bool) -> Vault:
    """Open a home's vault, deciding at its first use where it is.

    The keyring is for the default home only: it belongs to a person, while a home of its own may
    be moved, copied or thrown away. Takes up to 2 s that once, if the keyring does not answer.
    Raises VaultError.
    """
    place = _Home(home)
    choice = place.choice()
    if choice is None:
        with place.locked():
            choice = place.choice()  # another process may have been quicker
            if choice is None:
                backend = _working_keyring() if default_home else None
                choice = _Choice("keyring", _named(backend)) if backend else _Choice("file")
                place.write(_CHOICE, choice)
    if choice.kind == "file":
        return FileVault(home)
    with _told("The keyring cannot be opened"):
        backend = _backend()
    if _named(backend) != choice.backend:
        raise VaultError(
            f"This home keeps its secrets in the keyring {choice.backend}, but the one that "
            f"answers now is {_named(backend)}. Unlock or start the former, then try again."
        )
    return KeyringVault(home, backend)


def _backend() -> "KeyringBackend":
    import keyring  # noqa: PLC0415 - only homes with a keyring pay for its import

    return keyring.get_keyring()


def _named(backend: "KeyringBackend") -> str:
    return f"{type(backend).__module__}.{type(backend).__qualname__}"


def _working_keyring() -> "KeyringBackend | None":
    """The keyring if what is written comes back, within 2 s: some lose silently, some hang."""
    working: queue.SimpleQueue[KeyringBackend] = queue.SimpleQueue()

    def probe() -> None:
        with contextlib.suppress(Exception):  # whatever a backend raises, it does not work
            backend = _backend()
            name, value = f"probe-{secrets.token_hex(8)}", secrets.token_hex(16)
            if backend.priority < 1:
                return
            backend.set_password(_SERVICE, name, value)
            came_back = backend.get_password(_SERVICE, name) == value
            backend.delete_password(_SERVICE, name)
            if came_back and backend.get_password(_SERVICE, name) is None:
                working.put(backend)

    # A daemon: one that hangs for ever must not keep the program from ending.
    thread = threading.Thread(target=probe, name="keyring-probe", daemon=True)
    thread.start()
    thread.join(_PROBE_S)
    return None if working.empty() else working.get()


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn whatever a file system or keyring raises into one error for a person."""
    try:
        yield
    except VaultError:
        raise
    except Exception as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise VaultError(f"{what} ({reason}).") from error
