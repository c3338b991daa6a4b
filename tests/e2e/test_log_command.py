"""`chargepin log`, as people and programs use it."""

import json
import sqlite3
from contextlib import closing

from chargepin.app.log import SecurityLog
from chargepin.cli.log import SAID, _lines, names_in, sentence, when
from chargepin.core.log import EMPTY, Detail, Head, append
from chargepin.core.log_events import DAMAGED, KINDS, STRANGERS
from e2e.cutting import Person, Scene
from e2e.programs import NAME


def line(event: str, detail: Detail, unix_s: int = 0) -> str:
    entry = append(EMPTY, unix_s=unix_s, running_s=3.25, event=event, detail=detail)
    return f"{when(entry)}  {sentence(entry)}"


def test_lines_are_for_people() -> None:
    told = line("passcode_set", {"generation": 1, "by": "open"}, 1_790_000_000)
    assert told.startswith("2026-09-21 14:13:20")
    assert told.endswith("3.2 s  passcode_set             passcode set (generation 1) by open")
    assert line("started", {"software": "6.7.17"}).startswith("clock not set")
    assert "2x malformed" in line(STRANGERS, {"malformed": 2})
    assert '{"a": 1}' in line("of a later version", {"a": 1})
    assert "{}" in line("paused", {})  # less than it should say, but no fault
    assert "\x1b" not in line("bond_added", {"name": "\x1b[2J"})


def test_phones_are_called_by_their_names() -> None:
    added = append(
        EMPTY,
        unix_s=0,
        running_s=0.0,
        event="bond_added",
        detail={"bond": "ab", "role": "owner", "name": "Anna's", "by": "passcode"},
    )
    names = names_in([added])
    assert sentence(added, names).endswith("owner (ab), by whoever typed the passcode")
    later = append(added.head, unix_s=0, running_s=1.0, event="released", detail={"by": "ab"})
    assert sentence(later, names).endswith("released from its account by Anna's")


def test_every_event_has_a_sentence() -> None:
    assert SAID.keys() == KINDS.keys() - {STRANGERS}


async def test_the_log_is_read_exported_and_puts_the_notice_of_tampering_away(on: Scene) -> None:
    charger, me = await on.running(), Person(on, on.directory / "me")
    await me.done("passcode", "set", NAME)
    await me.done("passcode", "show", NAME)
    await on.by_hand("tamper")
    await on.by_hand("cover")
    code, document = await me.types("log", NAME, "--export", "/dev/null/log")
    assert code != 0, document
    assert (await me.done("status", NAME))["tampered"] is True

    document = await me.done("log", NAME)
    assert document["verified"] is True
    assert document["finding"] is None
    events = [entry["event"] for entry in document["entries"]]
    assert {"passcode_set", "tampered", "tamper_ended", "passcode_viewed"} <= set(events)
    ocpp = {entry["event"]: entry["ocpp"] for entry in document["entries"]}
    assert ocpp["tampered"] == "TamperDetectionActivated"
    assert ocpp["attempt"] is None
    assert (await me.done("status", NAME))["tampered"] is False

    to = on.directory / "log.jsonl"
    exported = await me.done("log", NAME, "--export", str(to))
    lines = [json.loads(text) for text in to.read_text().splitlines()]
    assert exported == {"exported": len(lines), "file": str(to), "verified": True}
    assert to.stat().st_mode & 0o777 == 0o600
    assert [each["sequence"] for each in lines] == list(range(1, len(lines) + 1))
    assert {each["charger"] for each in lines} == {NAME}
    assert all(each["timestamp"].endswith("Z") for each in lines)

    newest = await me.done("log", NAME, "--after", str(len(lines) - 1))
    assert [entry["sequence"] for entry in newest["entries"]] == [len(lines)]
    await charger.kill()


async def test_a_log_that_was_damaged_is_told_for_what_it_is(on: Scene) -> None:
    charger, me = await on.running(), Person(on, on.directory / "me")
    await me.done("passcode", "set", NAME)
    assert (await me.done("log", NAME))["broken_off"] is None
    await charger.kill()
    with closing(sqlite3.connect(on.files / "charger.sqlite")) as connection:
        connection.execute("DELETE FROM log WHERE sequence = 2")
        connection.commit()
    charger = await on.running()
    code, document = await me.types("log", NAME)
    assert (code, document["verified"]) == (1, False)
    assert "was broken off" in document["finding"]
    first = document["entries"][0]
    assert (first["event"], first["ocpp"]) == ("log_damaged", "SecurityLogWasCleared")
    aside = on.files / first["detail"]["kept_aside_as"]
    assert b"passcode_entered" in aside.read_bytes()
    assert aside.stat().st_mode & 0o777 == 0o600

    again = await me.done("log", NAME)
    assert (again["verified"], again["broken_off"]) == (True, first["sequence"])
    await charger.kill()


def test_what_is_shown_of_it_is_never_plainly_well() -> None:
    detail: Detail = {"begins": 4, "found": "it is", "kept_aside_as": "security-log.corrupt-1"}
    first = append(Head(4, bytes(32)), unix_s=0, running_s=0.0, event=DAMAGED, detail=detail)
    found = SecurityLog((first,), Head(4, bytes(32)), first.head, {})
    *_, told, last = _lines(found)
    assert "THE LOG WAS DAMAGED (it is)" in told
    assert "up to entry 4 is in the charger's file security-log.corrupt-1" in told
    assert last == "1 entries, and the chain of them holds since entry 5, where it was begun anew."
