"""The charger's button, and who must stand at it before anything is set up."""

import asyncio
from pathlib import Path

import pytest

from bluetooth_phone import bluetooth_phone
from chargepin.app import errors
from chargepin.app.client import find
from chargepin.charger.button import HELD_S, Presses
from chargepin.charger.kept import address_of
from chargepin.charger.store import look_into
from chargepin.core.durable import Mode, Profile
from chargepin.core.guard_state import FIRST_MINUTES_S
from chargepin.machine.clock import since_boot_s
from ends import SERIAL, Ends, both_ends
from manual_loop import manual_loop

PATIENCE_S = 20.0


async def noted(ends: Ends, event: str) -> None:
    """Wait until the log has an event."""
    async with asyncio.timeout(PATIENCE_S):
        while not any(  # noqa: ASYNC110 - no event tells
            entry.event == event for entry in look_into(ends.directory).entries
        ):
            await asyncio.sleep(0)


async def test_a_charger_of_the_eu_profile_wants_somebody_at_its_button(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on(profile="eu")
        phone = await ends.phone()
        manual_loop().advance(FIRST_MINUTES_S)
        inside = await phone.enter()
        assert inside.presence_needed
        for asked in (inside.set_passcode, inside.status, inside.update_offered):
            with pytest.raises(errors.ChargerRefused) as refused:
                await asked()
            assert refused.value.refusal == "presence_needed"
        assert await inside.presence_policy()
        daemon._press()
        await noted(ends, "button_pressed")
        assert (await inside.status()).passcode == "open"
        with pytest.raises(errors.ChargerRefused) as refused:
            await inside.set_presence_policy(needed=False)
        assert refused.value.refusal == "profile_decides"
        await inside.set_passcode()

        await ends.switch_off()  # the profile is the unit's, whatever it is started with
        daemon = await ends.switch_on()
        await ends.hold_button()
        durable = daemon.service.guard.durable
        assert (durable.mode, durable.profile) == (Mode.OPEN, Profile.EU)
        assert durable.policy.first_set_needs_presence


async def test_without_presence_the_stock_service_answers_nothing_either(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on(profile="eu")
        async with bluetooth_phone(ends.room.address, address_of(daemon._store)) as phone:
            link = await phone.connected()
            await link.connection.pair()
            assert isinstance(await link.value("r_dat"), dict)
            manual_loop().advance(FIRST_MINUTES_S)
            for method in ("r_dat", "w_lck", "rebot"):
                assert await link.refusal(method) == "presence_needed"
            assert (await link.ask("r_sn_")).error is None
            await link.close()


async def test_a_restart_by_software_is_no_power_up(tmp_path: Path) -> None:
    """Else whoever may restart an open charger would be taken for somebody who stands there."""
    async with both_ends(tmp_path) as ends:
        await ends.switch_on()
        phone = await ends.phone()
        inside = await phone.enter()
        await inside.set_presence_policy(needed=True)
        await inside.close()
        for _ in range(2):
            manual_loop().advance(FIRST_MINUTES_S - 1)
            inside = await phone.enter()
            gone = asyncio.Event()
            inside.on_close(gone.set)
            await inside.call("rebot")
            async with asyncio.timeout(PATIENCE_S):
                await gone.wait()
                await find(phone.surroundings, SERIAL)  # it is back, and time may go on
        inside = await phone.enter()
        assert inside.presence_needed
        await inside.close()
        assert ends.daemon is not None
        before = ends.daemon.service.guard.durable.incarnation
        ends.daemon.service.button(held=True)
        await noted(ends, "reset_refused")
        assert ends.daemon.service.guard.durable.incarnation == before


async def test_a_program_that_is_started_anew_is_no_power_up_where_it_is_told_so(
    tmp_path: Path,
) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on(profile="eu", powered_s_ago=FIRST_MINUTES_S)
        assert (await (await ends.phone()).enter()).presence_needed
        daemon.service.button(held=True)
        await noted(ends, "reset_refused")
        assert since_boot_s() > 0


async def test_a_short_press_and_one_of_ten_seconds_are_told_apart() -> None:
    told: list[bool] = []
    presses = Presses(told.append)
    presses.moved(True)
    manual_loop().advance(HELD_S - 1)
    await turns()
    presses.moved(False)
    assert told == [False]
    presses.moved(True)
    manual_loop().advance(HELD_S)
    await turns()
    assert told == [False, True]
    presses.moved(False)
    assert told == [False, True]


async def turns() -> None:
    for _ in range(3):
        await asyncio.sleep(0)
