"""The security log between a charger and apps: what it says, and when it can't be trusted."""

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from chargepin.app import errors
from chargepin.app.client import Charger, find
from chargepin.app.log import SecurityLog
from chargepin.app.ports import Link
from chargepin.charger.store import look_into
from chargepin.core import gatt
from chargepin.core.log_events import CLEARED, DAMAGED
from ends import SERIAL, Answers, Ends, Phone, both_ends
from shown import shows

PATIENCE_S = 20.0


async def protected(ends: Ends) -> tuple[Phone, str]:
    """A charger whose passcode the owner's phone has set and proved."""
    await ends.switch_on()
    owner = await ends.phone("owner's")
    active = await (await owner.enter()).set_passcode()
    await (await owner.enter()).close()
    return owner, active.passcode


async def read_by(phone: Phone) -> SecurityLog:
    inside = await phone.enter()
    found = await inside.security_log()
    await inside.close()
    return found


def rewrite(ends: Ends, *statements: str) -> None:
    """Change the charger's database behind its back."""
    with closing(sqlite3.connect(ends.directory / "charger.sqlite")) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()


async def test_the_log_tells_who_did_what(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, code = await protected(ends)
        found = await read_by(owner)
        assert found.finding is None
        assert [entry.event for entry in found.entries] == [
            *("started", "passcode_set", "attempt", "passcode_entered", "bond_added"),
        ]
        by = [entry.detail.get("by") for entry in found.entries]
        assert by == [None, "open", None, None, "passcode"]
        assert all(entry.unix_s > 0 for entry in found.entries)
        times = [entry.running_s for entry in found.entries]
        assert times == sorted(times)
        assert not shows(str(found), code)
        known = owner.vault.known[SERIAL]
        assert known.log_head == (found.head.sequence, found.head.hash)
        assert known.log_receipt == found.entries[1].hash


async def test_a_long_log_is_read_page_by_page(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        assert ends.daemon is not None
        for _ in range(60):
            ends.daemon.service.housing(opened=False)
        inside = await owner.enter()
        percents: list[int] = []
        found = await inside.security_log(0, percents.append)
        assert found.finding is None
        assert len(found.entries) == 65
        assert percents == sorted(percents)
        assert len(percents) > 3
        rest = await inside.security_log(60)
        assert [entry.sequence for entry in rest.entries] == [61, 62, 63, 64, 65]
        assert rest.finding is None
        assert (await inside.security_log(65)).entries == ()


async def test_only_an_admin_reads_it(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        _, code = await protected(ends)
        user = await ends.phone("user's")
        inside = await user.enter(Answers([code]))
        with pytest.raises(errors.RoleTooLow):
            await inside.security_log()


TAKEN_OVER = ("DELETE FROM kept WHERE name = 'checks'", "PRAGMA user_version = 0")
"""Whoever can write to the disk can make the charger believe what is there."""


async def test_entries_that_were_cut_off_are_missed(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        assert (await read_by(owner)).finding is None
        await ends.switch_off()
        rewrite(ends, "DELETE FROM log WHERE sequence > 2", *TAKEN_OVER)
        await ends.switch_on()
        found = await read_by(owner)
        assert found.finding is not None
        assert "another one" in found.finding or "gone" in found.finding
        inside = await owner.enter()
        with pytest.raises(errors.ProtocolError, match="can't be trusted"):
            await inside.log()


async def test_a_log_that_was_begun_anew_does_not_fit_the_receipt(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)  # it never read the log
        await ends.switch_off()
        rewrite(ends, "DELETE FROM log", *TAKEN_OVER)
        await ends.switch_on()
        found = await read_by(owner)
        assert found.finding is not None
        assert "receipt" in found.finding


async def test_a_changed_entry_is_missed(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        rewrite(ends, "UPDATE log SET entry = CAST(replace(entry, 'started', 'starred') AS BLOB)")
        found = await read_by(owner)
        assert found.finding is not None
        assert "its content was changed" in found.finding
        assert (await (await owner.enter()).security_log(3)).finding is None  # nor is all in doubt


@pytest.mark.parametrize("read_before", [True, False])
async def test_a_log_that_the_charger_found_damaged_is_told_once_to_who_saw_it(
    tmp_path: Path, *, read_before: bool
) -> None:
    async with both_ends(tmp_path) as ends:
        owner, code = await protected(ends)  # at least a receipt names an entry
        if read_before:
            assert (await read_by(owner)).finding is None
        await ends.switch_off()
        rewrite(ends, "DELETE FROM log WHERE sequence = 2")
        await ends.switch_on()
        found = await read_by(owner)
        assert found.finding is not None
        assert "was broken off" in found.finding
        assert "security-log.corrupt-1" in found.finding
        assert "broken at entry 2" in found.finding
        assert [entry.event for entry in found.entries] == [DAMAGED, "started"]
        assert any("security log was damaged" in told for told in ends.reports)
        assert (await read_by(owner)).finding is None
        rewrite(ends, "UPDATE log SET entry = CAST(replace(entry, 'started', 'starred') AS BLOB)")
        again = (await read_by(owner)).finding
        assert again is not None  # the new one is not taken on trust either
        assert "its content was changed" in again
        stranger = await ends.phone()
        await (await stranger.enter(Answers([code]))).close()  # nobody is kept out by it


async def test_damage_that_comes_while_the_charger_runs_keeps_nobody_out(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, code = await protected(ends)
        rewrite(ends, "UPDATE log SET entry = CAST('{' AS BLOB) WHERE sequence = 2")
        inside = await owner.enter()
        with pytest.raises(errors.ChargepinError):
            await inside.security_log()
        await inside.close()
        stranger = await ends.phone()
        await (await stranger.enter(Answers([code]))).close()
        found = await read_by(owner)
        assert found.entries[0].event == DAMAGED
        assert found.finding is not None
        assert "was broken off" in found.finding
        assert (await read_by(owner)).finding is None


async def test_tampering_is_told_at_once_and_until_an_admin_has_seen_it(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, code = await protected(ends)
        assert ends.daemon is not None
        watching = await owner.enter()
        assert not (await watching.status()).tampered
        await opened(ends, watching)
        assert (await watching.status()).tampered
        await watching.close()
        await ends.switch_off()
        await ends.switch_on()
        again = await owner.enter()
        assert (await again.status()).tampered
        user = await (await ends.phone("user's")).enter(Answers([code]))
        assert not (await user.status()).tampered
        with pytest.raises(errors.RoleTooLow):
            await user.tamper_seen()
        await user.close()
        await again.tamper_seen()
        await again.close()
        after = await owner.enter()
        assert not (await after.status()).tampered
        await after.close()
        events = [entry.event for entry in (await read_by(owner)).entries]
        assert events.count("tampered") == events.count("tamper_seen") == 1


async def opened(ends: Ends, watching: Charger) -> None:
    """Take the cover off, and wait until an app has heard of it."""
    assert ends.daemon is not None
    session = watching._inside.session
    assert session is not None
    heard = asyncio.Event()
    session.listen(lambda _: heard.set())
    ends.daemon._housing(opened=True)
    async with asyncio.timeout(PATIENCE_S):
        await heard.wait()


async def test_showing_the_passcode_is_told_at_the_next_connection(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        owner.vault.update(SERIAL, lambda known: msgspec.structs.replace(known, viewed=2))
        found = await read_by(owner)
        viewed = [entry.detail for entry in found.entries if entry.event == "passcode_viewed"]
        bond = owner.vault.known[SERIAL].bond
        assert bond is not None
        assert viewed == [{"times": 2, "by": bond.bond_id}]
        assert owner.vault.known[SERIAL].viewed == 0
        assert len((await read_by(owner)).entries) == len(found.entries)


async def test_a_reset_erases_names_and_the_chain_goes_on(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        before = await read_by(owner)
        await ends.hold_button()
        kept = look_into(tmp_path)
        events = [entry.event for entry in kept.entries]
        assert events == ["passcode_set", CLEARED, "reset"]
        assert kept.entries[1].previous == before.head.hash
        assert kept.entries[2].detail["by"] == "button"
        newcomer = await ends.phone("newcomer's")
        found = await read_by(newcomer)  # an open charger's owner is whoever comes
        assert found.finding is None
        assert found.begins == before.head


async def test_a_reset_erases_who_charged_and_when_but_no_limit(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        inside = await owner.enter()
        await inside.call("suser", 4711)
        await inside.call("w_hsh", 16)
        assert ends.daemon is not None
        ends.daemon._plug()
        ends.daemon._unplug()
        assert len(ends.daemon.hardware.sessions()) == 1
        await inside.close()
        await ends.hold_button()
        for _ in range(2):  # in memory, and after a power cut
            stock = ends.daemon.service._stock
            assert stock.settings.user_id == 1
            assert stock.settings.house_limit_a == 16
            assert not ends.daemon.hardware.sessions()
            await ends.switch_off()
            await ends.switch_on()


async def test_an_update_is_written_down(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        await ends.switch_on("6.7.16")
        phone = await ends.phone()
        inside = await phone.enter()
        async for _ in inside.update():
            pass
        async with asyncio.timeout(PATIENCE_S):
            while _starts(tmp_path) < 2:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
        entries = [e for e in look_into(tmp_path).entries if e.event.startswith("update")]
        assert [entry.event for entry in entries] == ["update_started", "update_installed"]
        assert entries[0].detail == entries[1].detail


def _starts(directory: Path) -> int:
    return [entry.event for entry in look_into(directory).entries].count("started")


async def test_a_wrong_passcode_is_written_down_and_strangers_are_counted(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, code = await protected(ends)
        wrong = "482913" if code != "482913" else "482914"
        stranger = await ends.phone()
        for _ in range(3):
            with pytest.raises(errors.PasscodeWrong):
                await stranger.enter(Answers([wrong]))
        with pytest.raises(errors.Paused):
            await stranger.enter(Answers([wrong]))
        link = await stranger.surroundings.radio.connect(
            await find(stranger.surroundings, SERIAL), timeout_s=PATIENCE_S
        )
        await link.write(gatt.PASSCODE_WRITE.uuid, b"\0\1\x77", response=True)
        await hung_up(link)
        found = await read_by(owner)
        events = [entry.event for entry in found.entries]
        tried = ["attempt", "passcode_unproved"]
        assert events[-7:] == [*tried, *tried, "attempt", "paused", "passcode_unproved"]
        assert found.counting == {"malformed": 1}
        await ends.switch_off()
        last = look_into(tmp_path).entries[-1]
        assert (last.event, last.detail) == ("strangers", {"malformed": 1})


async def hung_up(link: Link) -> None:
    gone = asyncio.Event()
    link.on_close(gone.set)
    async with asyncio.timeout(PATIENCE_S):
        await gone.wait()
