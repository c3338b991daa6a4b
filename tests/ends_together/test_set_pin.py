"""`set_pin` at the stock service: how clients of real chargers log in, here only a question.

A phone with a bond by code may ask whether a passcode is right. It costs what every attempt costs.
"""

from pathlib import Path

import pytest

from bluetooth_phone import BluetoothLink, bluetooth_phone
from chargepin.charger.kept import address_of
from chargepin.core.lockout import FIRST_WAIT_S, FREE_TRIES
from chargepin.core.passcode import Passcode
from ends import both_ends
from ends_together.test_pairing_window import House, a_house, drawing, logged
from manual_loop import manual_loop

CODE = 271_828
WRONG_PARAMETER, NOT_SUPPORTED, NOT_NOW = 2, 4, 5


def pin(digits: object) -> dict[str, object]:
    return {"pin": digits, "version": 3}


def charged(house: House) -> int:
    assert house.ends.daemon is not None
    return house.ends.daemon.service.guard.durable.lockout.charged


async def bonded(house: House) -> BluetoothLink:
    async with house.window():
        return await house.phone.pair(str(CODE))


def other_than(passcode: str) -> str:
    return "314159" if passcode != "314159" else "271828"


async def test_a_right_one_changes_nothing_and_a_wrong_one_is_charged(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(CODE)) as house:
        link = await bonded(house)
        assert house.ends.daemon is not None
        before = house.ends.daemon.service.guard.durable
        for _ in range(FREE_TRIES + 2):
            assert await link.value("set_pin", pin(house.passcode)) is None
        after = house.ends.daemon.service.guard.durable
        assert (after.lockout, after.generation) == (before.lockout, before.generation)
        assert after.credential == before.credential
        for malformed in (None, {}, pin(482_913), pin("48291"), pin("4829130"), [house.passcode]):
            assert await link.refusal("set_pin", malformed) == WRONG_PARAMETER
        assert charged(house) == 0

        wrong = pin(other_than(house.passcode))
        for count in range(1, FREE_TRIES + 1):
            assert await link.refusal("set_pin", wrong) == WRONG_PARAMETER
            assert charged(house) == count
        # Paused now, for everybody's passcode: the right one is not looked at either.
        for digits in (wrong, pin(house.passcode)):
            assert await link.refusal("set_pin", digits) == NOT_NOW
        assert charged(house) == FREE_TRIES
        manual_loop().advance(FIRST_WAIT_S + 1)
        assert await link.value("set_pin", pin(house.passcode)) is None
        assert charged(house) == FREE_TRIES  # nobody's failures are forgiven by it
        assert await link.value("read_pin") == {"pin": "", "version": 3}

        owner = await house.owner.enter()
        assert len(await logged(owner, "passcode_wrong")) == FREE_TRIES
        assert len(await logged(owner, "paused")) >= 1
        assert all(house.passcode not in line for line in house.ends.reports)
        await owner.close()


async def test_what_could_not_be_stored_is_not_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with a_house(tmp_path, drawing(CODE)) as house:
        link = await bonded(house)
        assert house.ends.daemon is not None
        service = house.ends.daemon.service
        looked: list[Passcode] = []
        monkeypatch.setattr(service._requests._own, "is_passcode", lambda p, _: looked.append(p))
        monkeypatch.setattr(service, "_stored", _not_stored)
        assert await link.refusal("set_pin", pin(house.passcode)) == NOT_NOW
        assert looked == []


async def _not_stored(*_: object) -> bool:
    return False


async def test_an_open_charger_has_no_such_login(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on()
        async with bluetooth_phone(ends.room.address, address_of(daemon._store)) as phone:
            link = await phone.connected()
            await link.connection.pair()
            assert await link.refusal("set_pin", pin("482913")) == NOT_SUPPORTED
            assert daemon.service.guard.durable.lockout.charged == 0


async def test_a_session_has_no_such_login_either(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(CODE)) as house:
        owner = await house.owner.enter()
        with pytest.raises(Exception, match="assigned for you"):
            await owner.call("set_pin", pin(house.passcode))
        assert charged(house) == 0
        await owner.close()
