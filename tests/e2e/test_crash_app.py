"""An app that is killed at any write, or between a set and its receipt, is owner afterwards."""

import shutil

import pytest

from chargepin.charger.store import look_into
from e2e.cutting import MOST_POINTS, Person, Scene, account_service, copied
from e2e.programs import NAME


@pytest.mark.parametrize("point", [1, 4])
async def test_an_app_that_is_killed_before_its_receipt_is_owner_afterwards(
    on: Scene, point: int
) -> None:
    charger, me = await on.running(), Person(on, on.directory / "me")
    await charger.arm(f"pause {point}")
    app = await me.starts("passcode", "set", NAME)
    assert "SQLiteStore.commit" in await charger.stopped_at()
    await app.kill()
    charger.go()
    await me.is_owner()
    kept = look_into(on.files)
    assert kept.durable.generation == 1
    assert kept.durable.lockout.charged == 0


@pytest.mark.parametrize("command", ["set", "rotate"])
async def test_whoever_shares_the_account_gets_in_though_the_app_was_killed(
    on: Scene, command: str
) -> None:
    account = await (await account_service(on)).ready()
    charger, me = await on.running(), Person(on, on.directory / "me")
    await me.signs_in(account.listen)
    await me.done("claim", NAME)
    if command == "rotate":
        await me.done("passcode", "set", NAME)
        await me.done("status", NAME)
    other = Person(on, on.directory / "my-other-phone")
    await other.signs_in(account.listen, new=False)
    if command == "rotate":
        await other.done("status", NAME)  # it has a bond, which a rotation keeps
    await charger.arm("pause 4")
    app = await me.starts("passcode", command, NAME)
    assert await charger.stopped_at() == "after SQLiteStore.commit"
    await app.kill()
    charger.go()
    await other.done("status", NAME)
    if command == "set":
        (shown,) = (await other.done("passcode", "show", NAME))["passcodes"]
        assert shown["state"] == "active"  # the charger's receipt was fetched and delivered
    # Whoever of the account comes first after a set is the charger's owner.
    owner, another = (other, me) if command == "set" else (me, other)
    await owner.is_owner()
    rotated = await owner.done("passcode", "rotate", NAME)
    assert rotated["generation"] == look_into(on.files).durable.generation
    newest = (await another.done("passcode", "show", NAME))["passcodes"]
    assert [each["passcode"] for each in newest] == [rotated["passcode"]]


@pytest.mark.parametrize("command", ["set", "rotate"])
async def test_an_app_may_be_killed_at_every_write_of_its_vault(on: Scene, command: str) -> None:
    before, home = await on.prepared(protected=False), on.directory / "home"
    if command == "rotate":
        charger, me = await on.running(), Person(on, home)
        await me.done("passcode", "set", NAME)
        await me.done("status", NAME)
        await charger.kill()
        shutil.rmtree(before.files)
        copied(on.files, before.files)
    points = []
    for number in range(1, MOST_POINTS):
        on.begin_from(before)
        charger, me = await on.running(), Person(on, on.directory / f"home-{number}")
        if home.exists():
            shutil.copytree(home, me.home)
        code, said = await me.types("passcode", command, NAME, arm=f"kill {number}")
        if code != 0:
            points.append(said)
            if command == "set" and (await me.done("status", NAME))["passcode"] == "open":
                await me.done("passcode", "set", NAME)
            await me.is_owner()
            assert look_into(on.files).durable.lockout.charged == 0
        await charger.kill()
        if code == 0:
            break
    assert len(points) >= 4, points


async def test_a_charger_that_dies_before_its_receipt_makes_exit_code_3(on: Scene) -> None:
    charger, me = await on.running(), Person(on, on.directory / "me")
    await charger.arm("kill 4")
    app = await me.starts("passcode", "set", NAME)
    await charger.stopped_at()
    await on.off_the_air()
    code, document = await app.outcome()
    assert code == 3
    assert document["error"]["code"] == "link_lost"
    assert document["error"]["may_have_happened"] is True
    await on.running()
    await me.is_owner()
