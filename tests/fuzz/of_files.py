"""Targets in the charger's files: what a worn-out disk, a careless hand or a thief leaves there."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import msgspec

from chargepin.charger.kept import StoredBonds, address_of
from chargepin.charger.ports import StoreFailed, Unit
from chargepin.charger.setup import first_state, setup_of
from chargepin.charger.stock import kept_hardware, kept_settings
from chargepin.charger.store import SQLiteStore, look_into
from chargepin.charger.update import installed_version
from chargepin.core import guard
from chargepin.core import guard_state as state
from chargepin.core.catalogue import Version
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Entry
from chargepin.core.identity import Credential
from chargepin.core.log import LogBroken
from core.guard_bench import OWNER, passcode
from fuzz.driver import Take, Target, hold, scratch
from fuzz.of_account import damaged
from fuzz.of_core import JSON_WORDS

SOFTWARE: Final = Version(6, 7, 17)
PROTECTED: Final = Durable(
    mode=Mode.PROTECTED, generation=3, credential=passcode(3), bonds=(OWNER,), incarnation=2
)


def _written(directory: Path) -> None:
    """The files of a charger with a passcode."""
    store = SQLiteStore(directory)
    store.commit(PROTECTED, [Entry("started", {"software": "6.7.17"}), Entry("attempt", {})], 1)
    store.commit(PROTECTED, [Entry("attempt", {"charged": 1})], 2)
    bonds = StoredBonds(store)
    address_of(store)
    kept_settings(store)
    _ = bonds
    store.close()
    (directory / "software.json").write_bytes(b'{"version":"6.7.17"}')


_ROWS: Final = (
    "UPDATE kept SET value = ? WHERE name = 'durable'",
    "UPDATE kept SET value = ? WHERE name = 'address'",
    "INSERT OR REPLACE INTO kept VALUES ('hardware', ?)",
    "INSERT OR REPLACE INTO kept VALUES ('settings', ?)",
    "UPDATE kept SET value = ? WHERE name = 'checks'",
    "UPDATE log SET entry = ? WHERE sequence = 3",
    "INSERT OR REPLACE INTO bluetooth_bonds VALUES ('F0:00:00:00:01:02', ?)",
    "UPDATE log SET sequence = ? WHERE sequence = 3",
    "ALTER TABLE kept RENAME TO other",
)


def _row(directory: Path, which: int, how: int, value: bytes) -> None:
    """Put a value where the charger keeps one, as bytes, text or number."""
    given: bytes | str | int = value
    if how % 4 == 1:
        given = value.decode("utf-8", "replace")
    elif how % 4 == 2:
        given = int.from_bytes(value[:7])
    query = _ROWS[which % len(_ROWS)]
    with closing(sqlite3.connect(directory / "charger.sqlite")) as connection:
        with suppress(sqlite3.Error):
            connection.execute(query, (given,) if "?" in query else ())
        connection.commit()


def _change(directory: Path, which: int, how: int, data: bytes) -> None:
    """Change one file, or one row of the database, which then is still well formed."""
    match which % 4:
        case 0:
            path = directory / "charger.sqlite"
            path.write_bytes(damaged(path.read_bytes(), data))
        case 1:
            path = directory / "identity.json"
            path.write_bytes(damaged(path.read_bytes(), data) if how % 2 else data)
        case 2:
            (directory / "software.json").write_bytes(data)
        case _:
            _row(directory, which // 4, how, data)


def _used(store: SQLiteStore, directory: Path) -> Durable:
    """Do with the files what a charger does at its start, and with the first phone."""
    key = store.identity
    unit = Unit(key, key.public_key().public_bytes_raw(), "123456", bytes)
    StoredBonds(store)
    kept_settings(store)
    kept_hardware(store)
    address_of(store)
    durable = first_state(store, unit, None)
    software = installed_version(directory, SOFTWARE)
    at = guard.powered_up(durable, software, Version(0, 1, 0))
    store.commit(at.guard.durable, at.entries, 3)
    now_s = at.guard.started_s
    for event in (
        state.LinkOpened(1),
        state.HelloReceived(1, Credential.PASSCODE, Version(0, 1, 0), None),
        state.ShareReceived(1),
        state.Ticked(),
    ):
        at = guard.step(at.guard, event, now_s)
        store.commit(at.guard.durable, at.entries, 3)
    store.entries(0, 10)
    return durable


@contextmanager
def _files() -> Iterator[Take]:
    with scratch() as made:
        good = made
        _written(good)
        files = {path.name: path.read_bytes() for path in good.iterdir() if path.is_file()}
        identity = look_into(good).identity

        def take(data: bytes) -> None:
            which, how, body = (data or b"\0")[0], data[1:2] or b"\0", data[2:]
            with scratch() as directory:
                for name, content in files.items():
                    (directory / name).write_bytes(content)
                _change(directory, which, how[0], body)
                with suppress(StoreFailed, LogBroken):
                    look_into(directory)
                with suppress(StoreFailed):
                    store = SQLiteStore(directory)
                    same = store.identity.public_key().public_bytes_raw() == identity
                    hold("damage makes no other charger", held=same)
                    try:
                        durable = _used(store, directory)
                    finally:
                        store.close()
                    lost = store.set_aside is not None
                    sealed = durable.mode is Mode.SEALED
                    hold("what is lost is sealed", held=sealed if lost else True)
                    hold("damage opens nothing", held=durable.mode is not Mode.OPEN)
                    hold("damage changes nothing", held=sealed or durable == PROTECTED)

        yield take


@contextmanager
def _factory() -> Iterator[Take]:
    with scratch() as made:
        path = made / "passcode"

        def take(data: bytes) -> None:
            path.write_bytes(data)
            try:
                setup = setup_of(
                    serial="123456",
                    model="pulsar-plus",
                    software="6.7.17",
                    directory=made,
                    factory_passcode_file=path,
                )
            except ValueError as error:
                shown = str(error)
                hold("a sentence", held=shown[:1].isupper() and shown.endswith("."))
                hold("not shown", held=len(data) < 4 or data.decode("latin-1") not in shown)
            else:
                hold("six digits", held=setup.factory_passcode is not None)

        yield take


TARGETS: Final[tuple[Target, ...]] = (
    Target(
        "charger_files",
        _files,
        words=(*JSON_WORDS, b'{"version":"6.7.17"}', msgspec.json.encode(PROTECTED)),
        cpu_s=1.0,
    ),
    Target("factory", _factory, words=(b"482913", b"\xff", b"\n", b"12345678")),
)
