import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keyring
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from keyring.backend import KeyringBackend
from keyring.backends import fail, null

from chargepin.app import vault as of_vault
from chargepin.app.errors import VaultError
from chargepin.app.ports import Candidate, KeptBond, Known, Vault
from chargepin.app.vault import FileVault, KeyringVault, open_vault

CANARY = "482913"
FULL = Known(
    serial="123456",
    identity=bytes(range(32)),
    incarnation=2,
    generation=7,
    protected=True,
    candidates=(Candidate(7, bytes(16), CANARY, owner_token=bytes(32)),),
    bond=KeptBond("00" * 8, bytes(32), "owner", 7),
    witnesses={"7:00": bytes(64)},
    tries={"7": (1, 2)},
    undelivered=("00", "11"),
)


class MemoryKeyring(KeyringBackend):
    """A keyring for tests, as keyring wants its backends to be."""

    priority: float = 5
    kept: dict[tuple[str, str], str]
    broken: Exception | None
    hold: threading.Event

    def get_password(self, service: str, username: str) -> str | None:
        self.hold.wait()
        if self.broken:
            raise self.broken
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        if self.broken:
            raise self.broken
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


class ForgetfulKeyring(MemoryKeyring):
    """Takes everything and keeps nothing, at a high priority."""

    def set_password(self, service: str, username: str, password: str) -> None:
        pass


class WeakKeyring(MemoryKeyring):
    priority = 0.5


def keyring_of(kind: Any) -> MemoryKeyring:
    """The library's constructors have no types."""
    backend = kind()
    assert isinstance(backend, MemoryKeyring)
    backend.kept, backend.broken, backend.hold = {}, None, threading.Event()
    backend.hold.set()
    return backend


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy computer one that works may take its time to show it."""
    monkeypatch.setattr(of_vault, "_PROBE_S", 60.0)


@pytest.fixture
def use_keyring() -> Iterator[Callable[[KeyringBackend], None]]:
    before = keyring.get_keyring()
    yield keyring.set_keyring
    keyring.set_keyring(before)


@pytest.fixture(params=["file", "keyring"])
def vault(request: pytest.FixtureRequest, tmp_path: Path) -> Vault:
    if request.param == "file":
        return FileVault(tmp_path / "home")
    (tmp_path / "home").mkdir()
    return KeyringVault(tmp_path / "home", keyring_of(MemoryKeyring))


# ---- what both kinds do ------------------------------------------------------------------------


def test_what_is_put_comes_back(vault: Vault) -> None:
    assert vault.get("123456") is None
    assert list(vault.serials()) == []
    vault.put(FULL)
    vault.put(Known("000001"))
    assert vault.get("123456") == FULL
    assert list(vault.serials()) == ["000001", "123456"]


def test_a_change_starts_from_what_is_known(vault: Vault) -> None:
    first = vault.update("1", lambda known: msgspec.structs.replace(known, generation=1))
    assert first == Known("1", generation=1)
    second = vault.update("1", lambda known: msgspec.structs.replace(known, protected=True))
    assert second == vault.get("1") == Known("1", generation=1, protected=True)


def test_a_change_that_fails_writes_nothing(vault: Vault) -> None:
    def failing(_: Known) -> Known:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        vault.update("1", failing)
    assert vault.get("1") is None
    vault.put(Known("1"))  # nor is it left locked


def test_what_is_forgotten_is_gone(vault: Vault) -> None:
    vault.put(FULL)
    vault.put(Known("1"))
    vault.forget("123456")
    vault.forget("999999")
    assert vault.get("123456") is None
    assert list(vault.serials()) == ["1"]


def test_threads_lose_nothing_of_each_other(vault: Vault) -> None:
    def count() -> None:
        for _ in range(25):
            vault.update("1", lambda k: msgspec.structs.replace(k, generation=k.generation + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert vault.get("1") == Known("1", generation=100)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(
    serial=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    secret=st.binary(max_size=64),
    name=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_any_content_comes_back(vault: Vault, serial: str, secret: bytes, name: str) -> None:
    known = Known(serial, bond=KeptBond(name, secret, "user", 1), witnesses={name: secret})
    vault.put(known)
    assert vault.get(serial) == known


def test_secrets_are_not_shown(vault: Vault) -> None:
    vault.put(FULL)
    assert CANARY not in repr(vault) + repr(vault.get("123456")) + vault.description
    assert vault.description


# ---- the file ----------------------------------------------------------------------------------

COUNTING = """
import sys, msgspec
from pathlib import Path
from chargepin.app.vault import FileVault
vault = FileVault(Path(sys.argv[1]))
for _ in range(25):
    vault.update("1", lambda k: msgspec.structs.replace(k, generation=k.generation + 1))
"""


def test_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    programs = [subprocess.Popen([sys.executable, "-c", COUNTING, str(tmp_path)]) for _ in range(3)]
    assert [program.wait() for program in programs] == [0, 0, 0]
    assert FileVault(tmp_path).get("1") == Known("1", generation=75)


def test_files_are_private(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    open_vault(home, default_home=False).put(FULL)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    names = {path.name for path in home.iterdir()}
    assert names == {"secrets.json", "vault.json", "vault.lock"}
    for path in home.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe\x00",
        b'{"version": "x"}',
        b'{"chargers": {"1": {}}}',
        b'{"chargers": {"1": {"serial": "1", "identity": "not base64!"}}}',
        b"\x00" * 4096,
    ],
)
def test_a_damaged_file_is_kept_aside_and_told_once(tmp_path: Path, damage: bytes) -> None:
    vault = FileVault(tmp_path)
    vault.put(FULL)
    (tmp_path / "secrets.json").write_bytes(damage)
    with pytest.raises(VaultError, match=r"secrets\.json\.corrupt-1"):
        vault.get("123456")
    assert (tmp_path / "secrets.json.corrupt-1").read_bytes() == damage
    assert vault.get("123456") is None
    vault.put(FULL)
    (tmp_path / "secrets.json").write_bytes(damage)
    with pytest.raises(VaultError, match="corrupt-2"):
        vault.update("1", lambda known: known)


def test_a_newer_file_is_left_alone(tmp_path: Path) -> None:
    newer = b'{"version": 2, "chargers": [["something else"]]}'
    (tmp_path / "secrets.json").write_bytes(newer)
    attempts: list[Callable[[], object]] = [
        lambda: FileVault(tmp_path).get("1"),
        lambda: FileVault(tmp_path).put(FULL),
    ]
    for attempt in attempts:
        with pytest.raises(VaultError, match="newer"):
            attempt()
    assert (tmp_path / "secrets.json").read_bytes() == newer


def test_a_home_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VaultError):
        open_vault(tmp_path / "file", default_home=False)
    with pytest.raises(VaultError):
        FileVault(tmp_path / "file").put(FULL)
    (tmp_path / "secrets.json").mkdir()
    with pytest.raises(VaultError, match="cannot be read"):
        FileVault(tmp_path).get("1")


# ---- the choice --------------------------------------------------------------------------------


def test_a_home_of_its_own_uses_a_file(
    tmp_path: Path, use_keyring: Callable[[KeyringBackend], None]
) -> None:
    backend = keyring_of(MemoryKeyring)
    use_keyring(backend)
    open_vault(tmp_path, default_home=False).put(FULL)
    assert backend.kept == {}
    assert isinstance(open_vault(tmp_path, default_home=True), FileVault)  # as was decided


@pytest.mark.usefixtures("patient")
def test_the_default_home_uses_a_keyring_that_works(
    tmp_path: Path, use_keyring: Callable[[KeyringBackend], None]
) -> None:
    backend = keyring_of(MemoryKeyring)
    use_keyring(backend)
    vault = open_vault(tmp_path, default_home=True)
    assert isinstance(vault, KeyringVault)
    assert backend.kept == {}  # the probe is gone
    vault.put(FULL)
    assert list(backend.kept) == [("chargepin", "123456")]
    assert CANARY not in "".join(path.read_text() for path in tmp_path.iterdir())
    again = open_vault(tmp_path, default_home=False)
    assert again.get("123456") == FULL
    assert list(again.serials()) == ["123456"]
    assert "MemoryKeyring" in again.description


def hanging() -> MemoryKeyring:
    backend = keyring_of(MemoryKeyring)
    backend.hold.clear()
    return backend


def failing() -> MemoryKeyring:
    backend = keyring_of(MemoryKeyring)
    backend.broken = OSError("no bus")
    return backend


@pytest.mark.parametrize(
    "make",
    [
        null.Keyring,
        fail.Keyring,
        lambda: keyring_of(ForgetfulKeyring),
        lambda: keyring_of(WeakKeyring),
        hanging,
        failing,
    ],
)
def test_a_keyring_that_does_not_work_is_not_used(
    tmp_path: Path,
    use_keyring: Callable[[KeyringBackend], None],
    make: Any,
) -> None:
    backend = make()
    use_keyring(backend)
    vault = open_vault(tmp_path, default_home=True)
    assert isinstance(vault, FileVault)
    use_keyring(keyring_of(MemoryKeyring))  # one that works later changes nothing
    assert isinstance(open_vault(tmp_path, default_home=True), FileVault)
    if isinstance(backend, MemoryKeyring):
        backend.hold.set()


@pytest.mark.usefixtures("patient")
def test_a_keyring_that_fails_later_is_an_error_and_no_second_vault(
    tmp_path: Path, use_keyring: Callable[[KeyringBackend], None]
) -> None:
    backend = keyring_of(MemoryKeyring)
    use_keyring(backend)
    vault = open_vault(tmp_path, default_home=True)
    vault.put(FULL)
    backend.broken = RuntimeError(f"locked {CANARY}")
    attempts: list[Callable[[], object]] = [
        lambda: vault.get("123456"),
        lambda: vault.put(FULL),
        lambda: vault.update("1", lambda known: known),
        lambda: vault.forget("123456"),
    ]
    for attempt in attempts:
        with pytest.raises(VaultError) as caught:
            attempt()
        assert CANARY not in str(caught.value)
    no_types: Any = null.Keyring
    use_keyring(no_types())
    with pytest.raises(VaultError, match="answers now"):
        open_vault(tmp_path, default_home=True)
    assert not (tmp_path / "secrets.json").exists()
    backend.broken = None
    use_keyring(backend)
    assert open_vault(tmp_path, default_home=True).get("123456") == FULL


def test_a_damaged_entry_of_the_keyring_is_told(tmp_path: Path) -> None:
    backend = keyring_of(MemoryKeyring)
    vault = KeyringVault(tmp_path, backend)
    vault.put(FULL)
    backend.kept["chargepin", "123456"] = '{"serial": 5}'
    with pytest.raises(VaultError, match="damaged"):
        vault.get("123456")
    with pytest.raises(VaultError, match="damaged"):
        vault.update("123456", lambda known: known)
    vault.forget("123456")
    vault.put(FULL)
    assert vault.get("123456") == FULL


@pytest.mark.parametrize("damage", ["", "{}", '{"kind": "cloud"}', "\x00"])
def test_a_damaged_choice_is_told_and_left_alone(tmp_path: Path, damage: str) -> None:
    (tmp_path / "vault.json").write_text(damage)
    with pytest.raises(VaultError, match="damaged"):
        open_vault(tmp_path, default_home=True)
    assert (tmp_path / "vault.json").read_text() == damage


def test_two_processes_decide_the_same(tmp_path: Path) -> None:
    opened: list[Vault] = []
    threads = [
        threading.Thread(target=lambda: opened.append(open_vault(tmp_path, default_home=False)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    opened[0].put(FULL)
    assert all(vault.get("123456") == FULL for vault in opened)
