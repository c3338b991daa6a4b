"""A charger whose power is cut at any write: the entitled still get in, and nobody else does."""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress

import pytest

from chargepin.app.errors import ChargepinError, LinkLost, PasscodeWrong
from chargepin.charger.store import look_into
from chargepin.core.durable import Mode
from e2e.cutting import MOST_POINTS, Scene, every_cut, holds_for_all
from e2e.programs import COMMAND, PATIENCE_S, SERIAL, killed, needed
from ends import Answers, Phone


async def who_gets_in(on: Scene, *codes: str) -> list[str]:
    """Which of these passcodes a stranger could type; each wrong one is charged."""
    right = []
    for code in dict.fromkeys(codes):
        stranger = await on.phone()
        try:
            await (await stranger.enter(Answers([code]))).close()
            right.append(code)
        except PasscodeWrong:
            pass
    return right


async def owner_is_in(owner: Phone) -> None:
    """The owner's app gets in by itself, and knows one passcode, which is in force."""
    inside = await owner.enter()
    assert inside.role == "owner"
    known = owner.vault.known[SERIAL]
    assert [c.state for c in known.candidates if c.generation == inside.generation] == ["active"]
    await inside.close()


async def test_a_set_that_is_cut_off_leaves_an_open_charger_or_an_owner(on: Scene) -> None:
    async def work(phone: Phone) -> None:
        await (await phone.enter()).set_passcode()

    before = await on.prepared(protected=False)
    points = []
    async for cut in every_cut(on, before, on.phone, work):
        points.append(cut.point)
        holds_for_all(cut)
        pending = cut.phone.vault.known[SERIAL].candidates
        if cut.after.durable.mode is Mode.OPEN:
            assert cut.after.durable == cut.before.durable or cut.after.durable.generation == 0
            await (await cut.phone.enter()).set_passcode()
            assert len(await who_gets_in(on, pending[0].passcode)) == 1  # the same, kept
        else:
            assert cut.after.durable.generation == 1
        assert isinstance(cut.told, LinkLost)
        assert cut.told.may_have_happened
        await owner_is_in(cut.phone)
    assert points == [
        "before SQLiteStore.commit",
        "before SQLiteStore._keep_counters",
        "after SQLiteStore._keep_counters",
        "after SQLiteStore.commit",
    ]


async def test_no_cut_makes_a_wrong_attempt_free(on: Scene) -> None:
    before = await on.prepared(protected=True)
    wrong = "482913" if before.code != "482913" else "482914"

    async def work(phone: Phone) -> None:
        await phone.enter(Answers([wrong]))

    points = []
    async for cut in every_cut(on, before, on.phone, work):
        points.append(cut.point)
        holds_for_all(cut)
        charged = cut.after.durable.lockout.charged
        assert charged == (0 if len(points) == 1 else 1)
        if isinstance(cut.told, PasscodeWrong):
            assert charged == 1
        await owner_is_in(await on.phone(before.owner))
    assert len(points) >= 3


async def test_a_success_that_is_cut_off_costs_at_most_its_own_charge(on: Scene) -> None:
    before = await on.prepared(protected=True)

    async def work(phone: Phone) -> None:
        await phone.enter(Answers([before.code]))

    points = []
    async for cut in every_cut(on, before, on.phone, work):
        points.append(cut.point)
        holds_for_all(cut)
        assert cut.after.durable.lockout.charged <= 1
        assert len(cut.after.durable.bonds) in (2, 3)
        inside = await cut.phone.enter(Answers([before.code]))
        assert inside.role == "user"
        await inside.close()
        await owner_is_in(await on.phone(before.owner))
    assert len(points) >= 9  # attempt, success, bond


async def test_a_rotation_that_is_cut_off_leaves_exactly_one_passcode(on: Scene) -> None:
    before = await on.prepared(protected=True)

    async def work(phone: Phone) -> None:
        await (await phone.enter()).rotate_passcode()

    async def owner() -> Phone:
        return await on.phone(before.owner)

    points = []
    async for cut in every_cut(on, before, owner, work):
        points.append(cut.point)
        holds_for_all(cut)
        codes = {c.passcode for c in cut.phone.vault.known[SERIAL].candidates}
        valid = await who_gets_in(on, before.code, *codes)
        assert len(valid) == 1
        assert (valid == [before.code]) is (cut.after.durable.generation == 1)
        await owner_is_in(cut.phone)
        user = await on.phone(before.user)
        assert (await user.enter()).role == "user"  # a routine rotation keeps the bonds
        assert isinstance(cut.told, LinkLost)
        assert cut.told.may_have_happened
    assert len(points) >= 4


async def test_a_phone_is_forgotten_or_it_is_not(on: Scene) -> None:
    before = await on.prepared(protected=True)
    bond = before.user[SERIAL].bond
    assert bond is not None
    forgotten = bond.bond_id

    async def work(phone: Phone) -> None:
        await (await phone.enter()).forget_phone(forgotten)

    async def owner() -> Phone:
        return await on.phone(before.owner)

    async for cut in every_cut(on, before, owner, work):
        holds_for_all(cut)
        left = [kept.bond_id for kept in cut.after.durable.bonds]
        assert len(left) == (2 if cut.point.startswith("before SQLiteStore.commit") else 1)
        inside = await cut.phone.enter()
        assert [each.id for each in await inside.phones()] == left
        await inside.close()


async def test_a_reset_happens_or_it_does_not(on: Scene) -> None:
    before = await on.prepared(protected=True)

    async def work(phone: Phone) -> None:
        await (await phone.enter()).reset()

    async def owner() -> Phone:
        return await on.phone(before.owner)

    async for cut in every_cut(on, before, owner, work):
        holds_for_all(cut)
        if cut.after.durable.mode is Mode.PROTECTED:
            assert cut.after.durable.incarnation == 1
            await owner_is_in(await on.phone(before.owner))
            continue
        assert cut.after.durable.incarnation == 2
        assert cut.after.durable.generation == 1  # never used again
        assert cut.after.durable.bonds == ()
        newcomer = await on.phone()
        assert (await (await newcomer.enter()).set_passcode()).generation == 2
        assert await who_gets_in(on, before.code) == []


async def started_at_last(on: Scene) -> int:
    """Start it again and again, each time killed one point later; gives how many there are."""
    for number in range(1, MOST_POINTS):
        charger, said = await on.switch_on(arm=f"kill {number}")
        if said.startswith("at "):
            await charger.gone()
            continue
        phone = await on.phone()  # its controller is asked in real time, not in jumps
        with suppress(ChargepinError):
            await on.until_cut_off(charger, on.settled(phone))
        if await charger.broken_at() is None:
            await charger.kill()
            return number - 1
        await charger.gone()
    pytest.fail("there is no end of points")


async def test_a_first_start_and_a_restart_may_be_cut_off_anywhere(on: Scene) -> None:
    assert await started_at_last(on) >= 4
    kept = look_into(on.files)
    assert (kept.durable.mode, kept.durable.generation) == (Mode.OPEN, 0)
    charger, owner = await on.running(), await on.phone()
    await (await owner.enter()).set_passcode()
    await charger.kill()
    assert await started_at_last(on) >= 2
    await on.running()
    await owner_is_in(owner)
    assert look_into(on.files).identity == kept.identity


SHARE_P = b"\x00\x42\x04\x04"  # u16 length, type, and how an uncompressed point begins
SHARE_V = b"\x00\x62\x05\x04"


def calls_of(trace: str) -> Iterator[tuple[str, bytes]]:
    """System calls in their order, each with all the bytes of its texts.

    One that another thread's falls into has two lines, and what it heard is in the second.
    """
    for line in trace.splitlines():
        found = re.match(r"\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>)", line)
        texts = re.findall(r'"((?:\\x[0-9a-f]{2})*)"', line)
        if found and (texts or "<unfinished" not in line):
            yield found[1], bytes.fromhex("".join(texts).replace("\\x", ""))


async def test_an_attempt_is_on_disk_before_its_share_is_answered(on: Scene) -> None:
    strace = shutil.which("strace") or ""
    needed("strace", there=bool(strace), install="apt-get install strace")
    before, trace = await on.prepared(protected=True), on.directory / "trace"
    charger = await asyncio.create_subprocess_exec(
        *(strace, "-f", "-xx", "-s", "600", "-o", str(trace)),
        *("-e", "trace=fsync,fdatasync,sendto,recvfrom,write,read", *COMMAND),
        *("serve", "charger", "--serial", SERIAL, "--data", str(on.files)),
        *("--radio", on.ends.room.address),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=on.programs.lifeline.environment(),
        pass_fds=(on.programs.lifeline.reading,),
    )
    try:
        assert charger.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            ready = await charger.stdout.readline()
        needed("tracing of programs", there=b"ready" in ready, install="allow ptrace")
        stranger = await on.phone()
        for wrong in {"482913", "482914", "482915"} - {before.code}:
            with pytest.raises(PasscodeWrong):
                await stranger.enter(Answers([wrong]))
        os.kill(int(trace.read_text().split()[0]), signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            await charger.communicate()
    finally:
        await killed(charger)
    heard, synced, answered = 0, 0, []
    for name, said in calls_of(trace.read_text()):
        if name in ("recvfrom", "read") and SHARE_P in said:
            heard, synced = heard + 1, 0
        elif name in ("fsync", "fdatasync"):
            synced += 1
        elif name in ("sendto", "write") and SHARE_V in said:
            answered.append(synced)
    assert heard == len(answered)
    assert len(answered) >= 2
    assert min(answered) >= 1
    assert answered.count(1) >= len(answered) - 1  # one commit; a checkpoint may come between
