"""Smaller changes of a charger, cut off at any write: policy, claim, a pairing window's bond."""

import sqlite3
from contextlib import aclosing, closing, suppress

from bluetooth_phone import BluetoothPhone, bluetooth_phone
from chargepin.app.errors import LinkLost
from chargepin.app.pairing import PairingCode
from chargepin.charger.store import look_into
from e2e.cutting import Person, Scene, account_service, every_cut, holds_for_all
from e2e.programs import NAME
from ends import Phone

ACCOUNT = ("account", "11" * 32, "22" * 32)


async def test_a_policy_and_a_claim_are_kept_or_they_are_not(on: Scene) -> None:
    before = await on.prepared(protected=True)

    async def work(phone: Phone) -> None:
        inside = await phone.enter()
        await inside.set_presence_policy(needed=True)
        await inside.claim(*ACCOUNT)
        await inside.close()

    async def owner() -> Phone:
        return await on.phone(before.owner)

    points = []
    async for cut in every_cut(on, before, owner, work):
        points.append(cut.point)
        holds_for_all(cut)
        assert isinstance(cut.told, LinkLost)
        assert cut.told.may_have_happened
        inside = await cut.phone.enter()
        assert inside.role == "owner"
        await inside.claim(*ACCOUNT)  # whatever had happened, it can be done again
        await inside.close()
    assert points.count("before SQLiteStore.commit") == 2


async def test_a_phone_that_pairs_by_code_is_kept_and_written_down_or_neither(on: Scene) -> None:
    before = await on.prepared(protected=True)
    with closing(sqlite3.connect(before.files / "charger.sqlite")) as connection:
        ((address,),) = connection.execute("SELECT value FROM kept WHERE name = 'address'")

    async def owner() -> Phone:
        return await on.phone(before.owner)

    points = []
    async with bluetooth_phone(on.ends.room.address, bytes(address).decode()) as guest:

        async def work(phone: Phone) -> None:
            await paired(phone, guest)

        async for cut in every_cut(on, before, owner, work):
            points.append(cut.point)
            holds_for_all(cut)
            inside = await cut.phone.enter()
            kinds = [each.kind for each in await inside.phones()]
            assert kinds.count("bluetooth") == len(cut.after.bluetooth_bonds)
            await inside.close()
    assert "after SQLiteStore.put_bluetooth_bond" in points


async def paired(phone: Phone, guest: BluetoothPhone) -> None:
    """The owner opens a window, and a guest's phone pairs in it."""
    inside = await phone.enter()
    async with aclosing(inside.open_pairing("guest's")) as notices:
        async for notice in notices:
            if isinstance(notice, PairingCode):
                link = await guest.connected()
                await link.pair(guest.typist, notice.code)
    with suppress(LinkLost):
        await inside.close()


async def test_whoever_claims_again_after_any_death_of_the_app_has_claimed(on: Scene) -> None:
    account = await (await account_service(on)).ready()
    charger, me = await on.running(), Person(on, on.directory / "me")
    await me.signs_in(account.listen)
    for point in (1, 4):  # before the charger stores the claim, and after
        await charger.arm(f"pause {point}")
        app = await me.starts("claim", NAME)
        assert "SQLiteStore.commit" in await charger.stopped_at()
        await app.kill()
        charger.go()
    assert (await me.done("chargers")) == []
    await me.done("claim", NAME)
    (mine,) = await me.done("chargers")
    assert mine["role"] == "owner"
    kept = look_into(on.files)
    assert kept.durable.claim is not None
