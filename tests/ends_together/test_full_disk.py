"""A charger and an app whose disk is full: nothing granted, nothing lost, and said so."""

import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from chargepin.app import errors
from chargepin.app.ports import Candidate, Known
from chargepin.app.vault import FileVault
from chargepin.charger.store import look_into
from chargepin.core.log import LogBroken
from chargepin.core.log_events import DAMAGED
from ends import SERIAL, Answers, both_ends
from needs import not_here

SIZE = "1m"
RIGHT = "482913"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte."""
    disk = tmp_path / "small"
    disk.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={SIZE},mode=0700", "tmpfs", str(disk)]
    mounted = subprocess.run(mounting, capture_output=True, text=True, check=False)
    if mounted.returncode:
        not_here(f"mounting a tmpfs needs root: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def fill(disk: Path) -> Path:
    """Take every byte that is left."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return filler


async def test_a_charger_that_cannot_store_lets_nobody_in_and_forgets_nothing(
    small_disk: Path, tmp_path: Path
) -> None:
    factory = tmp_path / "factory"
    factory.write_text(RIGHT)
    async with both_ends(small_disk / "charger") as ends:
        daemon = await ends.switch_on(factory_passcode_file=factory)
        bonded = await ends.phone("bonded")
        await (await bonded.enter(Answers([RIGHT]))).close()
        before = daemon.service.guard.durable

        filler = fill(small_disk)
        phone = await ends.phone("new")
        for _ in range(4):  # what is left in pages already taken may hold an attempt or two
            with pytest.raises(errors.ProtocolError, match="cannot store or read"):
                await phone.enter(Answers([RIGHT]))
        assert any("storage failed" in told for told in ends.reports)
        assert daemon.service.guard.durable.bonds == before.bonds
        inside = await bonded.enter()  # a bond writes nothing
        with pytest.raises(errors.ChargerRefused, match="could not store"):
            await inside.forget_phone(before.bonds[0].bond_id)
        await inside.close()

        filler.unlink()
        await (await phone.enter(Answers([RIGHT]))).close()
        await ends.switch_off()
        daemon = await ends.switch_on(factory_passcode_file=factory)
        assert {bond.name for bond in daemon.service.guard.durable.bonds} == {"bonded", "new"}
        assert (await bonded.enter()).role == "user"


async def test_a_damaged_log_on_a_full_disk_is_mended_when_there_is_room(
    small_disk: Path, tmp_path: Path
) -> None:
    factory = tmp_path / "factory"
    factory.write_text(RIGHT)
    files = small_disk / "charger"
    async with both_ends(files) as ends:
        await ends.switch_on(factory_passcode_file=factory)
        bonded = await ends.phone("bonded")
        await (await bonded.enter(Answers([RIGHT]))).close()
        await ends.switch_off()
        with closing(sqlite3.connect(files / "charger.sqlite")) as connection:
            connection.execute("DELETE FROM log WHERE sequence = 2")
            connection.commit()

        room = small_disk / "room"  # for SQLite to open it, not for a commit
        room.write_bytes(bytes(40_000))
        filler = fill(small_disk)
        room.unlink()
        daemon = await ends.switch_on(factory_passcode_file=factory)
        await (await bonded.enter()).close()  # a bond writes nothing
        phone = await ends.phone("new")
        for _ in range(4):
            with pytest.raises(errors.ProtocolError, match="cannot store or read"):
                await phone.enter(Answers([RIGHT]))
        with pytest.raises(LogBroken):
            look_into(files)

        filler.unlink()
        await (await phone.enter(Answers([RIGHT]))).close()
        assert {bond.name for bond in daemon.service.guard.durable.bonds} == {"bonded", "new"}
        entries = look_into(files).entries
        assert [entry.event for entry in entries].count(DAMAGED) == 1
        assert len(list(files.glob("security-log.corrupt-*"))) == 1


async def test_an_app_that_cannot_store_sets_nothing(small_disk: Path, tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        daemon = await ends.switch_on()
        phone = await ends.phone()
        vault = FileVault(small_disk)
        vault.put(Known(SERIAL, candidates=(Candidate(9, bytes(16), RIGHT),)))
        inside = await phone.enter()
        inside._with = replace(inside._with, vault=vault)
        filler = fill(small_disk)
        with pytest.raises(errors.VaultError):
            await inside.set_passcode()
        assert daemon.service.guard.durable.generation == 0
        filler.unlink()
        kept = vault.get(SERIAL)
        assert kept is not None
        assert [candidate.generation for candidate in kept.candidates] == [9]
        assert (await inside.set_passcode()).generation == 1
