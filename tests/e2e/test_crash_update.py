"""A charger whose power is cut during an update: old software or new, and its log says which."""

from chargepin.core.catalogue import Version
from e2e.cutting import Scene, every_cut, holds_for_all
from ends import Phone

OLD, NEW = "6.7.17", "6.11.16"


async def test_an_update_is_in_or_it_is_not_and_has_one_end_in_the_log(on: Scene) -> None:
    before = await on.prepared(protected=True)

    async def work(phone: Phone) -> None:
        async for _ in (await phone.enter()).update(Version.parse(NEW)):
            pass

    async def owner() -> Phone:
        return await on.phone(before.owner)

    outcomes = []
    async for cut in every_cut(on, before, owner, work):
        holds_for_all(cut)
        events = [e.event for e in cut.after.entries if e.event.startswith("update_")]
        inside = await cut.phone.enter()
        assert inside.role == "owner"
        outcomes.append((inside.software_text, *events))
        await inside.close()
    assert set(outcomes) == {
        (OLD,),
        (OLD, "update_started", "update_failed"),
        (NEW, "update_started", "update_installed"),
    }
