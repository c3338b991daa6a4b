"""Somebody proves the passcode and presses the charger's button: the app learns that it owns it."""

import asyncio
from pathlib import Path

from chargepin.app.charger import Charger
from ends import SERIAL, Answers, Ends, Phone, both_ends

CODE = "482913"


async def raised(ends: Ends, phone: Phone) -> Charger:
    """An app that has just proved the passcode, after a press; its new bond is kept."""
    inside = await phone.enter(Answers([CODE]))
    assert inside.role == "user"
    assert ends.daemon is not None
    ends.daemon.service.button(held=False)
    async with asyncio.timeout(20):
        while (bond := phone.vault.known[SERIAL].bond) is None or bond.role != "owner":  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)
    return inside


async def started(ends: Ends, directory: Path) -> Phone:
    factory = directory / "factory"
    factory.write_text(CODE)
    await ends.switch_on(factory_passcode_file=factory)
    return await ends.phone("owner-to-be")


async def test_a_press_makes_the_app_an_owner_for_good(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        phone = await started(ends, tmp_path)
        inside = await raised(ends, phone)
        assert inside.role == "owner"
        assert (await inside.status()).role == "owner"
        await inside.close()
        again = await phone.enter()
        assert again.role == "owner"
        assert (await again.rotate_passcode()).generation == 2


async def test_the_bond_from_before_the_press_is_given_up_and_the_session_lives(
    tmp_path: Path,
) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        phone = await started(ends, tmp_path)
        inside = await raised(ends, phone)
        listed = await inside.phones()
        assert [(bond.role, bond.this) for bond in listed] == [("owner", True)]
        assert not inside.closed


async def test_an_app_that_is_in_by_its_bond_is_not_raised(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        phone = await started(ends, tmp_path)
        await (await phone.enter(Answers([CODE]))).close()
        inside = await phone.enter()
        assert ends.daemon is not None
        ends.daemon.service.button(held=False)
        await inside.status()
        assert inside.role == "user"


async def test_an_app_that_hangs_up_at_once_is_an_owner_all_the_same(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "charger") as ends:
        phone = await started(ends, tmp_path)
        inside = await phone.enter(Answers([CODE]))
        assert ends.daemon is not None
        ends.daemon.service.button(held=False)
        async with asyncio.timeout(20):
            while inside.role != "owner":  # noqa: ASYNC110 - no event
                await asyncio.sleep(0)
        await inside.close()
        assert (await phone.enter()).role == "owner"
