"""The charger is killed while it mends its files: before every other call that may write.

With CHARGEPIN_EVERY_BYTE in the environment, before each of them.
"""

import os
import signal
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from types import FrameType

from chargepin.charger.store import SQLiteStore, look_into
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Entry
from chargepin.core.log_events import DAMAGED
from core.guard_bench import PROTECTED

KEPT, AT_ONCE = 6, 3
CALLS = {"execute", "executemany", "rename", "replace", "fsync", "open", "unlink", "write"}
MOST_POINTS = 200
STEP = 1 if os.environ.get("CHARGEPIN_EVERY_BYTE") else 2
AFTER = replace(PROTECTED, running_s=9.0)


def opened(directory: Path) -> SQLiteStore:
    return SQLiteStore(directory, entries_kept=KEPT, trimmed_at_once=AT_ONCE)


def goes_on(store: SQLiteStore) -> None:
    store.commit(AFTER, [Entry("attempt")], 9)


def written(directory: Path) -> None:
    store = opened(directory)
    for number in range(5):
        store.commit(PROTECTED, [Entry("policy_set", {"number": number})], 7)
    store.close()


def damage(directory: Path, query: str) -> None:
    with closing(sqlite3.connect(directory / "charger.sqlite")) as connection:
        connection.execute(query)
        connection.commit()


def killed_at(point: int, work: Callable[[], None]) -> bool:
    """Do the work in a process of its own that dies before its Nth such call; whether it did."""
    child = os.fork()
    if child == 0:
        left = point

        def look(_: FrameType, event: str, called: object) -> None:
            nonlocal left
            if event == "c_call" and getattr(called, "__name__", "") in CALLS:
                left -= 1
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)

        try:
            sys.setprofile(look)
            work()
        finally:
            os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def every_kill(directory: Path, work: Callable[[], None]) -> Iterator[int]:
    """Begin from the same files again and again, each time killed a call later."""
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    for point in range(1, MOST_POINTS, STEP):
        for path in directory.iterdir():
            path.unlink()
        for name, content in files.items():
            (directory / name).write_bytes(content)
        if not killed_at(point, work):
            return
        yield point
    raise AssertionError("there is no end of points")


def starts(directory: Path) -> Durable:
    store = opened(directory)
    found = store.load()
    store.close()
    assert found is not None
    return found


def test_a_log_that_is_begun_anew(tmp_path: Path) -> None:
    written(tmp_path)
    damage(tmp_path, "UPDATE log SET entry = CAST('{' AS BLOB) WHERE sequence = 2")

    def work() -> None:
        goes_on(opened(tmp_path))

    points = 0
    for points in every_kill(tmp_path, work):  # noqa: B007 - how many there were
        assert starts(tmp_path) in (PROTECTED, AFTER)
        store = opened(tmp_path)
        goes_on(store)
        store.close()
        events = [entry.event for entry in look_into(tmp_path).entries]
        assert events.count(DAMAGED) == 1
        (aside,) = tmp_path.glob("security-log.corrupt-*")
        assert aside.read_bytes().count(b"policy_set") == 4
    assert points > 20


def test_a_log_that_is_begun_anew_while_it_is_trimmed(tmp_path: Path) -> None:
    written(tmp_path)
    goes_on(store := opened(tmp_path))
    store.close()

    def work() -> None:
        store = opened(tmp_path)
        damage(tmp_path, "DELETE FROM log WHERE sequence = 2")
        goes_on(store)

    points = 0
    for points in every_kill(tmp_path, work):  # noqa: B007 - how many there were
        store = opened(tmp_path)
        goes_on(store)
        goes_on(store)
        store.close()
        events = [entry.event for entry in look_into(tmp_path).entries]
        assert events.count(DAMAGED) == len(list(tmp_path.glob("security-log.corrupt-*")))
    assert points > 20


def test_a_state_that_is_sealed(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(Durable(), [Entry("started")], 7)  # no counter in another file tells of it
    store.close()
    damage(tmp_path, "UPDATE kept SET value = CAST('{}' AS BLOB) WHERE name = 'durable'")
    damaged = (tmp_path / "charger.sqlite").read_bytes()

    def work() -> None:
        opened(tmp_path)

    points = 0
    for points in every_kill(tmp_path, work):  # noqa: B007 - how many there were
        sealed = starts(tmp_path)
        assert sealed.mode is Mode.SEALED
        assert starts(tmp_path) == sealed
        assert (tmp_path / "charger.sqlite.corrupt-1").read_bytes() == damaged
        events = [entry.event for entry in look_into(tmp_path).entries]
        assert events == ["state_lost"]
    assert points > 20


def test_files_that_get_their_checksums(tmp_path: Path) -> None:
    written(tmp_path)
    damage(tmp_path, "DELETE FROM kept WHERE name = 'checks'")
    damage(tmp_path, "PRAGMA user_version = 0")

    def work() -> None:
        goes_on(opened(tmp_path))

    for _ in every_kill(tmp_path, work):
        assert starts(tmp_path) in (PROTECTED, AFTER)
        assert not list(tmp_path.glob("*corrupt*"))
        assert look_into(tmp_path).entries


def test_a_state_that_goes_on_without_its_log(tmp_path: Path) -> None:
    """Cut off before it is in its new file, the charger is sealed; and never open."""
    written(tmp_path)
    damage(tmp_path, "ALTER TABLE log RENAME TO lof")

    def work() -> None:
        opened(tmp_path)

    modes = []
    for _ in every_kill(tmp_path, work):
        found = starts(tmp_path)
        assert starts(tmp_path) == found
        events = [entry.event for entry in look_into(tmp_path).entries]
        if found.mode is Mode.SEALED:
            assert events == ["state_lost"]
        else:
            assert (found, events) == (PROTECTED, [DAMAGED])
        modes.append(found.mode)
    assert set(modes) == {Mode.SEALED, Mode.PROTECTED}
