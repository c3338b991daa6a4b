"""The charger's files: a log that is bounded and still holds, and what is erased is gone."""

from dataclasses import replace
from pathlib import Path

import pytest

from chargepin.charger.store import SQLiteStore, look_into
from chargepin.core import log_summary
from chargepin.core.durable import Durable, Profile
from chargepin.core.guard_state import Entry
from chargepin.core.log import Head
from chargepin.core.log_events import CLEARED, TRIMMED
from chargepin.core.log_summary import KEPT_OF_EACH

STATE = Durable()
KEPT, AT_ONCE = 50, 20


def opened(directory: Path) -> SQLiteStore:
    return SQLiteStore(directory, entries_kept=KEPT, trimmed_at_once=AT_ONCE)


def write(store: SQLiteStore, *events: str) -> None:
    store.commit(STATE, [Entry(event) for event in events], 7)


def test_a_flood_leaves_what_the_owner_did_and_the_log_bounded(tmp_path: Path) -> None:
    store = opened(tmp_path)
    write(store, "started")
    write(store, "passcode_set")
    for _ in range(100):
        write(store, *("strangers" for _ in range(9)), "policy_set")
    heads = [store.head]
    kept = look_into(tmp_path)
    checked = log_summary.check(kept.entries)
    assert checked.head == heads[-1]
    assert checked.summary.begins == store.log_begins
    assert len(checked.chain) <= KEPT + 10
    assert [entry.event for entry in checked.evidence].count("passcode_set") == 1
    assert [entry.event for entry in checked.evidence].count("policy_set") == KEPT_OF_EACH
    chain = [entry.event for entry in checked.chain]
    counts = checked.summary.counts
    assert counts["strangers"] + chain.count("strangers") == 900
    assert counts["policy_set"] + chain.count("policy_set") == 100
    assert counts[TRIMMED] + chain.count(TRIMMED) >= 900 // AT_ONCE
    store.close()


def test_a_restart_goes_on_where_the_log_was(tmp_path: Path) -> None:
    for _ in range(5):
        store = opened(tmp_path)
        write(store, *("started" for _ in range(15)))
        store.close()
    before = look_into(tmp_path)
    store = opened(tmp_path)
    assert store.head == log_summary.check(before.entries).head
    assert store.log_begins.sequence == 2 * AT_ONCE
    assert [entry.sequence for entry in store.entries(40, 3)] == [41, 42, 43]
    store.close()


def test_a_reset_erases_persons_and_the_chain_goes_on(tmp_path: Path) -> None:
    store = opened(tmp_path)
    for number in range(40):
        detail: dict[str, str | int] = {"bond": "ab", "role": "user", "name": f"Anna's {number}"}
        store.commit(STATE, [Entry("passcode_rotated"), Entry("bond_added", detail)], 7)
    assert b"Anna" in on_disk(tmp_path)
    before = store.head
    store.commit(STATE, [Entry("reset", {"incarnation": 2})], 8, clear_log=True)
    checked = log_summary.check(look_into(tmp_path).entries)
    assert [entry.event for entry in checked.chain] == [CLEARED, "reset"]
    assert checked.chain[0].previous == before.hash
    assert {entry.event for entry in checked.evidence} == {"passcode_rotated"}
    assert checked.summary.counts["bond_added"] == 40
    assert b"Anna" not in on_disk(tmp_path)
    store.close()


def on_disk(directory: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(directory.iterdir()))


def test_a_damaged_copy_goes_with_the_reset_after_the_one_that_it_made_necessary(
    tmp_path: Path,
) -> None:
    opened(tmp_path).close()
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"charger.sqlite{suffix}").unlink(missing_ok=True)
    (tmp_path / "charger.sqlite").write_bytes(b"Anna's phone, and nonsense" * 100)
    store = opened(tmp_path)
    store.commit(STATE, [Entry("reset")], 7, clear_log=True)
    assert b"Anna" in on_disk(tmp_path)  # somebody may still save what is in it
    store.commit(STATE, [Entry("reset")], 8, clear_log=True, also={"hardware": b"{}"})
    assert b"Anna" not in on_disk(tmp_path)
    assert store.get("hardware") == b"{}"
    store.close()


def test_a_new_chargers_reset_clears_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.commit(STATE, [Entry("reset")], 8, clear_log=True)
    assert [entry.event for entry in look_into(tmp_path).entries] == ["reset"]
    store.close()


def test_a_bluetooth_bond_comes_with_its_entry(tmp_path: Path) -> None:
    store = opened(tmp_path)
    store.put_bluetooth_bond("a", b"{}", Entry("bluetooth_bond_added", {"bond": "ab"}), 9, 1.5)
    store.put_bluetooth_bond("a", b"{2}")
    store.put_bluetooth_bond("b", None)
    kept = look_into(tmp_path)
    assert kept.bluetooth_bonds == ("a",)
    (entry,) = kept.entries
    assert (entry.event, entry.unix_s, entry.running_s) == ("bluetooth_bond_added", 9, 1.5)
    assert store.head == entry.head
    store.close()


@pytest.mark.parametrize("damage", ["charger.sqlite"])
def test_the_profile_outlives_the_loss_of_the_state(tmp_path: Path, damage: str) -> None:
    store = opened(tmp_path)
    store.commit(replace(STATE, profile=Profile.EU), [], 7)
    store.close()
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"{damage}{suffix}").unlink(missing_ok=True)
    (tmp_path / damage).write_bytes(b"nonsense" * 1000)
    store = opened(tmp_path)
    assert store.set_aside is not None
    lost = store.load()
    assert lost is not None
    assert lost.profile is Profile.EU
    assert store.log_begins == Head(0, bytes(32))
    store.close()
