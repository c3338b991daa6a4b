import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import traceback
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from account.world import HandClock, World, new_unit, ok, problem
from chargepin.account import schema
from chargepin.account.api import AccountService, Settings, serve_account
from chargepin.account.custody import MasterKey, load_master_key
from chargepin.account.ports import (
    Account,
    Change,
    Moment,
    Notice,
    Outdated,
    Record,
    ServiceCannotStart,
    Session,
    StorageFailed,
)
from chargepin.account.store import SQLiteStore
from chargepin.core import log
from chargepin.core.messages import EventKind

NOW = Moment(1_800_000_000, 5.5)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SQLiteStore]:
    opened = SQLiteStore(tmp_path / "a.db", lambda _: None)
    yield opened
    opened.close()


def account(number: int = 1) -> Account:
    return Account(f"{number:032x}", f"person {number}", 5, "a hash")


def record(text: str = "x") -> Record:
    return Record(account().account_id, "tried", {"text": text})


async def test_many_changes_at_once_are_each_whole(store: SQLiteStore) -> None:
    await store.commit(Change(NOW, new_account=account()))
    changes = [Change(NOW, records=(record(str(n)), record(str(n)))) for n in range(300)]
    spoiled = Change(NOW, new_account=account(), records=(record("never"),))
    results = await asyncio.gather(
        *(store.commit(change) for change in [*changes, spoiled, *changes]),
        return_exceptions=True,
    )
    assert [type(r) for r in results if r is not None] == [Outdated]
    entries, head = await store.audit(account().account_id)
    assert log.verify(entries) == head
    assert head.sequence == 1200
    assert all(entry.detail["text"] != "never" for entry in entries)


async def test_what_cannot_be_encoded_fails_alone(store: SQLiteStore) -> None:
    await store.commit(Change(NOW, new_account=account()))
    results = await asyncio.gather(
        store.commit(Change(NOW, records=(record("before"),))),
        store.commit(Change(NOW, records=(record("\ud800"),))),
        store.commit(Change(Moment(2**70, 0.0), records=(record(),))),
        store.commit(Change(NOW, records=(record("after"),))),
        return_exceptions=True,
    )
    assert [isinstance(r, ValueError) for r in results] == [False, True, True, False]
    assert [e.detail["text"] for e in (await store.audit(account().account_id))[0]] == [
        "before",
        "after",
    ]


@pytest.mark.parametrize("head", [(-2, bytes(32)), ("x", bytes(32)), (1, b"short"), (1, "text")])
async def test_a_damaged_head_of_the_audit_fails_alone(
    store: SQLiteStore, head: tuple[object, object]
) -> None:
    await store.commit(Change(NOW, new_account=account()))
    await store.commit(Change(NOW, new_account=account(2)))
    store._writer.execute(
        "UPDATE account SET (audit_sequence, audit_hash) = (?, ?) WHERE account_id = ?",
        (*head, account().account_id),
    )
    other = replace(record(), account_id=account(2).account_id)
    results = await asyncio.gather(
        store.commit(Change(NOW, records=(record(),))),
        store.commit(Change(NOW, records=(other,))),
        return_exceptions=True,
    )
    assert isinstance(results[0], StorageFailed)
    assert results[1] is None


async def test_a_value_that_cannot_be_read_is_not_quoted(store: SQLiteStore) -> None:
    await store.commit(Change(NOW, new_account=account()))
    store._writer.execute("UPDATE account SET password = CAST(x'736563726574ff' AS TEXT)")
    with pytest.raises(StorageFailed, match="a value in it is damaged") as failed:
        await store.account(account().person)
    quoted = "".join(traceback.format_exception(failed.value))
    assert "secret" not in quoted


async def test_a_full_disk_loses_nothing_that_was_answered(store: SQLiteStore) -> None:
    await store.commit(Change(NOW, new_account=account(), records=(record(),)))
    pages = store._writer.execute("PRAGMA page_count").fetchone()[0]
    store._writer.execute(f"PRAGMA max_page_count = {pages + 2}")
    answered, full = 0, False
    while not full:
        try:
            await store.commit(Change(NOW, records=(record("x" * 2000),)))
            answered += 1
        except StorageFailed:
            full = True
    results = await asyncio.gather(
        *(store.commit(Change(NOW, records=(record("x" * 2000),))) for _ in range(3)),
        return_exceptions=True,
    )
    assert all(isinstance(result, StorageFailed) for result in results)
    entries, head = await store.audit(account().account_id)
    assert head.sequence == answered + 1
    assert log.verify(entries) == head
    store._writer.execute(f"PRAGMA max_page_count = {pages + 100}")
    await store.commit(Change(NOW, records=(record("x" * 2000),)))


async def test_a_full_disk_is_told_over_http_and_heals(world: World) -> None:
    ann, unit = await world.sign_up("ann"), new_unit()
    writer = world.service._store._writer
    pages = writer.execute("PRAGMA page_count").fetchone()[0]
    writer.execute(f"PRAGMA max_page_count = {pages}")
    body = {"person": "bob" * 80, "password": "x" * 1000}
    statuses = set()
    for number in range(30):
        body["person"] = f"{number} " + "b" * 240
        response = await world.http.post("/v1/signup", json=body)
        statuses.add(response.status_code)
        if response.status_code != 200:
            assert problem(response) == (503, "storage_failed")
            assert response.headers["retry-after"] == "10"
            break
    assert statuses == {200, 503}
    await ann.get("/v1/me")
    writer.execute(f"PRAGMA max_page_count = {pages + 1000}")
    ok(await world.http.post("/v1/signup", json=body))
    await ann.claim(unit)
    assert (await world.http.get("/readyz")).status_code == 200


async def test_a_lost_database_is_not_ready(world: World) -> None:
    ann = await world.sign_up("ann")
    reader = world.service._store._reader
    reader.close()
    assert problem(await world.http.get("/readyz")) == (503, "storage_failed")
    assert problem(await ann.ask("GET", "/v1/me")) == (503, "storage_failed")
    assert (await world.http.get("/healthz")).status_code == 200


async def test_events_are_kept_in_number(store: SQLiteStore) -> None:
    await store.commit(Change(NOW, new_account=account()))
    notice = Notice(account().account_id, EventKind.ACCESS_GRANTED, "00" * 32)
    for _ in range(11):
        await store.commit(Change(NOW, notices=(notice,) * 100))
    assert await store.newest_event(account().account_id) == 1100
    kept = await store.events(account().account_id, 0, 2000)
    assert [event.id for event in kept] == list(range(101, 1101))


async def test_ended_sessions_are_swept(store: SQLiteStore) -> None:
    await store.commit(Change(NOW, new_account=account()))
    for number in range(3):
        session = Session(
            account().account_id,
            "person 1",
            str(number),
            "",
            NOW.unix_s,
            NOW.unix_s + number * 10,
            bytes([number]),
        )
        await store.commit(Change(Moment(NOW.unix_s + 10, 0.0), new_session=session))
    kept = await store.sessions(account().account_id)
    assert [session.session_id for session in kept] == ["2"]


def test_files_are_private(tmp_path: Path) -> None:
    directory = tmp_path / "new" / "data"
    store = SQLiteStore(directory / "a.db", lambda _: None)
    load_master_key(directory / "master.key", None)
    for path in directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    store.close()


def test_two_services_never_share_a_database(tmp_path: Path) -> None:
    store = SQLiteStore(tmp_path / "a.db", lambda _: None)
    with pytest.raises(ServiceCannotStart, match="in use"):
        SQLiteStore(tmp_path / "a.db", lambda _: None)
    store.close()
    SQLiteStore(tmp_path / "a.db", lambda _: None).close()


@pytest.mark.parametrize(
    "damage", [b"", b"garbage" * 1000, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_damaged_database_stops_the_start_and_is_left_alone(
    tmp_path: Path, damage: bytes
) -> None:
    path = tmp_path / "a.db"
    SQLiteStore(path, lambda _: None).close()
    whole = path.read_bytes()
    spoiled = damage or whole[:8192] + b"\xaa" * (len(whole) - 8192)
    path.write_bytes(spoiled)
    with pytest.raises(ServiceCannotStart, match="Restore it from a backup"):
        SQLiteStore(path, lambda _: None)
    assert path.read_bytes() == spoiled
    path.write_bytes(whole)
    SQLiteStore(path, lambda _: None).close()


def test_other_databases_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE theirs (x)")
    database.close()
    with pytest.raises(ServiceCannotStart, match="not an account service's"):
        SQLiteStore(path, lambda _: None)


def test_a_newer_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    SQLiteStore(path, lambda _: None).close()
    with sqlite3.connect(path) as database:
        database.execute(f"PRAGMA user_version = {len(schema.STEPS) + 1}")
    database.close()
    with pytest.raises(ServiceCannotStart, match="newer chargepin"):
        SQLiteStore(path, lambda _: None)


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ServiceCannotStart, match="Cannot open"):
        SQLiteStore(tmp_path / "file" / "a.db", lambda _: None)
    (tmp_path / "a.db").mkdir()
    with pytest.raises(ServiceCannotStart):
        SQLiteStore(tmp_path / "a.db", lambda _: None)


def test_the_master_key_is_never_replaced_silently(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    key = load_master_key(path, None)
    assert load_master_key(path, key.key_id) == key
    assert key.secret.hex() not in repr(key)
    with pytest.raises(ServiceCannotStart, match="another database"):
        load_master_key(path, MasterKey(bytes(32)).key_id)
    for damage in (b"", b"00" * 31, b"zz" * 32, b"\xff" * 64):
        path.write_bytes(damage)
        with pytest.raises(ServiceCannotStart, match="damaged"):
            load_master_key(path, key.key_id)
    path.unlink()
    with pytest.raises(ServiceCannotStart, match="missing"):
        load_master_key(path, key.key_id)
    with pytest.raises(ServiceCannotStart, match="Cannot read"):
        load_master_key(tmp_path, None)


async def test_a_service_without_its_key_does_not_start(world: World) -> None:
    await world.close()
    (world.directory / "master.key").rename(world.directory / "elsewhere.key")
    with pytest.raises(ServiceCannotStart, match="missing"):
        world.open()
    world.settings = Settings(master_key=world.directory / "elsewhere.key")
    world.open()


async def test_a_stored_passcode_that_was_moved_or_damaged_opens_nothing(world: World) -> None:
    ann, one, two = await world.sign_up("ann"), new_unit(), new_unit()
    await ann.claim(one)
    await ann.claim(two)
    await ann.assign_and_confirm(one)
    await ann.assign_and_confirm(two)
    await world.close()
    with sqlite3.connect(world.database) as database:
        database.execute(
            "UPDATE passcode SET sealed = (SELECT sealed FROM passcode WHERE charger_id = ?) "
            "WHERE charger_id = ?",
            (one.id, two.id),
        )
        database.execute(
            "UPDATE charger SET wrapped_key = zeroblob(7) WHERE charger_id = ?", (one.id,)
        )
    database.close()
    world.open()
    ann.http = world.http
    for unit in (one, two):
        response = await ann.ask("GET", f"/v1/chargers/{unit.id}/passcode")
        assert problem(response) == (503, "storage_failed")


KILLED = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from account.world import HandClock, World, new_unit

async def main():
    world = World(Path(sys.argv[1]))
    world.open()
    ann = await world.sign_up("ann")
    unit = new_unit()
    await ann.claim(unit)
    while True:
        kept = await ann.assign(unit)
        print(kept.generation, kept.passcode, "pending", flush=True)
        await ann.post(f"/v1/chargers/{unit.id}/passcode/receipt", unit.receipt(kept))
        print(kept.generation, kept.passcode, "active", flush=True)
        world.hands.advance(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("lines", [1, 2, 5])
async def test_what_was_answered_outlives_kill_9(world: World, lines: int) -> None:
    await world.close()
    tests = str(Path(__file__).parents[1])
    process = subprocess.Popen(  # noqa: ASYNC220 -- the test waits for this program anyway
        [sys.executable, "-c", KILLED, str(world.directory), tests],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    told = [process.stdout.readline().split() for _ in range(lines)]
    os.kill(process.pid, signal.SIGKILL)
    told += [line.split() for line in process.stdout.read().splitlines()]
    process.wait()
    process.stdout.close()

    world.hands.advance(100_000)
    world.open()
    ann = ok(await world.sign_in("ann"))["token"]
    headers = {"Authorization": f"Bearer {ann}"}
    (view,) = (await world.http.get("/v1/chargers", headers=headers)).json()["chargers"]
    answer = await world.http.get(f"/v1/chargers/{view['id']}/passcode", headers=headers)
    shown = {(str(k["generation"]), k["passcode"]) for k in ok(answer)["passcodes"]}
    generation, passcode, _ = told[-1]
    assert (generation, passcode) in shown
    audit = await world.http.get(f"/v1/chargers/{view['id']}/audit", headers=headers)
    events = [entry["event"] for entry in ok(audit)["entries"]]
    assert events.count("passcode_active") >= sum(line[2] == "active" for line in told)


@pytest.mark.parametrize(
    "url", ["", "a.db", "sqlite://", "sqlite:///", "mysql://x", "postgresql://localhost/x"]
)
async def test_databases_that_are_named_wrongly(url: str) -> None:
    with pytest.raises(ServiceCannotStart, match="sqlite:///FILE"):
        await serve_account(url)


async def test_a_service_that_cannot_start_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.mkdir()
    (path / "master.key").write_text("short")
    for _ in range(2):
        with pytest.raises(ServiceCannotStart, match="damaged"):
            AccountService(path / "a.db", "http://x", Settings(), HandClock().clock)


FAILING = """
import asyncio, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from account.world import World

async def main():
    world = World(Path(sys.argv[1]))
    world.open()
    await world.sign_up("ann")
    raise SystemExit(7)

asyncio.run(main())
"""


def test_a_program_that_fails_before_closing_ends(tmp_path: Path) -> None:
    tests = str(Path(__file__).parents[1])
    ended = subprocess.run(
        [sys.executable, "-c", FAILING, str(tmp_path), tests],
        check=False,
        timeout=60,
        capture_output=True,
    )
    assert ended.returncode == 7
