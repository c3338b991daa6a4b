"""A pairing window whose opener has left: one attempt more, with the code that it was shown."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from bumble.smp import ErrorCode

from bluetooth_phone import bluetooth_phone
from chargepin.app import errors
from chargepin.app.client import Charger
from chargepin.app.pairing import PairingCode, PastWindow, WindowLeft
from chargepin.charger.air import LinkClosed, LinkEnd, PairingFailed
from chargepin.charger.bluetooth.pairing import STEP_MAX_S
from chargepin.charger.kept import address_of
from chargepin.core import bapi
from chargepin.core.gatt import Layout
from chargepin.core.pairing_window import WINDOW_S
from charger.initiator import Typing, failed
from ends import SERIAL, Answers, Phone, both_ends
from ends_together.test_pairing_window import (
    NOT_AUTHENTICATED,
    NOT_AUTHORIZED,
    House,
    a_house,
    drawing,
    logged,
)
from manual_loop import manual_loop

CODES = (271_828, 314_159, 141_421)


@asynccontextmanager
async def left(
    directory: Path, *, links: int | None = None, failures: int = 0, by: str = "hang-up"
) -> AsyncIterator[House]:
    """A house whose owner opened a window, saw so many attempts fail, and is gone."""
    async with a_house(directory, drawing(*CODES), links=links) as house:
        charger = await house.owner.enter()
        async with house.window(charger, name="Bob's") as shown:
            for number in range(failures):
                link = await house.phone.connected()
                refused = await link.pair(house.phone.typist, "999999")
                assert refused == ErrorCode.CONFIRM_VALUE_FAILED
                await shown.code(number + 2)
                await link.close()
            if by == "loss":
                await house.owner.surroundings.radio.close()
            elif links != 1:  # else the app makes room by itself
                await charger.close()
            await shown.until(lambda: isinstance(shown.notices[-1], WindowLeft))
            assert shown.notices[-1] == WindowLeft(made_room=links == 1)
        yield house


async def past(house: House) -> PastWindow:
    charger = await (await house.tablet()).enter()
    told = await charger.past_pairing()
    await charger.close()
    return told


async def closings(house: House) -> list[object]:
    charger = await (await house.tablet()).enter()
    found = [each["why"] for each in await logged(charger, "pairing_window_closed")]
    await charger.close()
    return list(found)


@pytest.mark.parametrize(
    ("links", "by"),
    [(None, "hang-up"), (None, "loss"), (1, "hang-up")],
    ids=["hang-up", "loss", "1"],
)
async def test_the_code_that_was_shown_lets_a_phone_in(
    tmp_path: Path, links: int | None, by: str
) -> None:
    async with left(tmp_path, links=links, by=by) as house:
        link = await house.phone.connected()
        assert await link.att_error() == NOT_AUTHENTICATED
        assert await link.pair(house.phone.typist, "271828") is None
        assert await link.value("r_lck") == 0
        await link.close()
        told = await past(house)
        assert (told.open, told.yours, told.why) == (False, True, "paired")
        assert (told.attempts, told.name) == (1, "Bob's")
        assert told.bond is not None
        assert await closings(house) == ["paired"]


async def test_a_wrong_code_closes_it(tmp_path: Path) -> None:
    async with left(tmp_path) as house:
        link = await house.phone.connected()
        refused = await link.pair(house.phone.typist, "271829")
        assert refused == ErrorCode.CONFIRM_VALUE_FAILED
        for code in ("271828", "314159"):
            refused = await link.pair(house.phone.typist, code)
            assert refused == ErrorCode.PAIRING_NOT_SUPPORTED
        assert await link.att_error() == NOT_AUTHORIZED
        told = await past(house)
        assert (told.open, told.why, told.attempts, told.bond) == (False, "attempts", 1, None)


async def test_a_code_that_was_shown_after_failures_is_the_one_that_is_good(tmp_path: Path) -> None:
    async with left(tmp_path, failures=2) as house:
        link = await house.phone.connected()
        assert await link.pair(house.phone.typist, "141421") is None
        assert (await past(house)).attempts == 3


@pytest.mark.parametrize("by", ["leaves", "is silent", "lies"])
@pytest.mark.parametrize("rounds", [0, 19])
async def test_an_attempt_that_does_not_come_to_its_end_was_the_one(
    tmp_path: Path, rounds: int, by: str
) -> None:
    async with left(tmp_path) as house:
        link = await house.phone.connected()
        guesser = Typing(link.connection)
        await guesser.begin()
        await guesser.rounds(CODES[0], rounds)
        assert (await guesser.commit(CODES[0] >> rounds & 1))[0] == 0x03
        if by == "leaves":
            await link.close()
        elif by == "is silent":
            manual_loop().advance(STEP_MAX_S)
            await link.hung_up()
        else:
            assert await guesser.wire.ask(bytes(17)) == b"\x05\x07"
            await link.close()
        told = await past(house)
        assert (told.open, told.why, told.attempts) == (False, "attempts", 1)
        again = Typing((await house.phone.connected()).connection)
        assert await again.request() == failed(ErrorCode.PAIRING_NOT_SUPPORTED)


async def test_who_asks_for_the_dialog_and_no_more_uses_nothing_up(tmp_path: Path) -> None:
    async with left(tmp_path) as house:
        link = await house.phone.connected()
        await Typing(link.connection).begin()
        await link.close()
        assert (await past(house)).open
        link = await house.phone.connected()
        await Typing(link.connection).pair(CODES[0])
        assert await link.att_error() is None


async def test_an_attempt_under_way_when_the_opener_leaves_goes_on_and_is_the_last(
    tmp_path: Path,
) -> None:
    async with a_house(tmp_path, drawing(*CODES)) as house:
        for code, why in ((CODES[0], "paired"), (CODES[2] ^ 1 << 19, "attempts")):
            charger = await house.owner.enter()
            async with house.window(charger) as shown:
                link = await house.phone.connected()
                phone = Typing(link.connection)
                await phone.begin()
                await phone.rounds(code, 19)
                await charger.close()
                await shown.until(lambda: isinstance(shown.notices[-1], WindowLeft))
                assert len(shown.codes) == 1
            assert (await phone.commit(code >> 19))[0] == 0x03
            answer = await phone.reveal()
            if why == "paired":
                phone.derive(answer[1:], code)
                await phone.check()
                await phone.encrypt()
                phone.give_identity(bytes(16), str(link.connection.self_address))
                assert await link.att_error() is None
            else:
                assert answer == failed(ErrorCode.CONFIRM_VALUE_FAILED)
            await link.close()
            assert (await past(house)).why == why
            house.owner = await house.tablet()


async def test_a_code_that_did_not_get_through_is_good_for_nothing(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(*CODES)) as house:
        daemon = house.ends.daemon
        assert daemon is not None
        async with house.window() as shown:
            (opener,) = daemon.service.guard.links
            daemon.service.tell(LinkClosed(opener, LinkEnd.LOST, heard_all=False))
            link = await house.phone.connected()
            assert await link.att_error() == NOT_AUTHORIZED
            await shown.charger.close()
        assert await closings(house) == ["attempts"]


async def test_an_opener_that_is_lost_while_its_own_phone_pairs_leaves_nothing(
    tmp_path: Path,
) -> None:
    """App and dialog of one phone share its link: it could not be shown another code."""
    async with a_house(tmp_path, drawing(*CODES)) as house:
        daemon = house.ends.daemon
        assert daemon is not None
        async with house.window() as shown:
            service, (opener,) = daemon.service, daemon.service.guard.links
            assert service.rights.code(opener) == CODES[0]
            service.tell(LinkClosed(opener, LinkEnd.LOST))
            service.tell(PairingFailed(opener, "F0:00:00:00:00:03"))
            link = await house.phone.connected()
            assert await link.att_error() == NOT_AUTHORIZED
            await shown.charger.close()
            assert len(shown.codes) == 1
        told = await past(house)
        assert (told.why, told.attempts) == ("attempts", 1)


async def test_it_ends_in_time(tmp_path: Path) -> None:
    async with left(tmp_path) as house:
        manual_loop().advance(WINDOW_S - 10)
        told = await past(house)
        assert told.open
        assert 0 < told.seconds_left <= 10
        manual_loop().advance(10.5)
        link = await house.phone.connected()
        refused = await link.pair(house.phone.typist, "271828")
        assert refused == ErrorCode.PAIRING_NOT_SUPPORTED
        assert await closings(house) == ["time"]


async def test_an_admin_closes_it(tmp_path: Path) -> None:
    async with left(tmp_path) as house:
        charger = await house.owner.enter()
        await charger.call("pairing.close")
        assert (await charger.past_pairing()).why == "asked"
        link = await house.phone.connected()
        assert await link.att_error() == NOT_AUTHORIZED


async def test_who_opens_another_replaces_it(tmp_path: Path) -> None:
    async with left(tmp_path) as house, house.window() as shown:
        link = await house.phone.connected()
        refused = await link.pair(house.phone.typist, "271828")
        assert refused == ErrorCode.CONFIRM_VALUE_FAILED
        assert await link.pair(house.phone.typist, (await shown.code(2)).code) is None
        assert await shown.closed() == "paired"
        events = [
            (each.event, each.detail.get("why"))
            for each in await shown.charger.log()
            if each.event.startswith("pairing_window")
        ]
        assert events == [
            ("pairing_window_opened", None),
            ("pairing_window_closed", "asked"),
            ("pairing_window_opened", None),
            ("pairing_window_closed", "paired"),
        ]


async def test_a_rotation_closes_it(tmp_path: Path) -> None:
    async with left(tmp_path) as house:
        await (await house.owner.enter()).rotate_passcode()
        assert await closings(house) == ["passcode_changed"]
        link = await house.phone.connected()
        assert await link.att_error() == NOT_AUTHORIZED
        await link.close()


async def test_a_restart_closes_it(tmp_path: Path) -> None:
    async with left(tmp_path) as house:
        await house.ends.switch_off()
        await house.ends.switch_on()
        link = await house.phone.connected()
        assert await link.att_error() == NOT_AUTHORIZED
        await link.close()
        told = await past(house)
        assert (told.open, told.yours, told.why) == (False, False, None)


async def second_owner(house: House) -> tuple[Phone, Charger]:
    """Somebody who knows the passcode and stands at the button."""
    phone = await house.ends.phone("second owner's")
    charger = await phone.enter(Answers([house.passcode]))
    assert house.ends.daemon is not None
    house.ends.daemon.service.button(held=False)
    async with asyncio.timeout(20):
        while (bond := phone.vault.known[SERIAL].bond) is None or bond.role != "owner":  # noqa: ASYNC110 - no event
            await asyncio.sleep(0)
    return phone, charger


async def test_whose_bond_is_forgotten_has_no_window_any_more(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(*CODES)) as house:
        phone, charger = await second_owner(house)
        for connected in (True, False):
            async with house.window(charger) as shown:
                if not connected:
                    await charger.close()
                    await shown.until(lambda: isinstance(shown.notices[-1], WindowLeft))
                link = await house.phone.connected()
                assert await link.att_error() == NOT_AUTHENTICATED
                owner = await house.owner.enter()
                if not connected:
                    assert (await owner.past_pairing()).open
                    assert not (await owner.past_pairing()).yours
                bond = phone.vault.known[SERIAL].bond
                assert bond is not None
                await owner.forget_phone(bond.bond_id)
                assert await link.att_error() == NOT_AUTHORIZED
                assert (await owner.past_pairing()).why == "forgotten"
                await link.close()
                await owner.close()
            if connected:
                phone, charger = await second_owner(house)


# ---- chargers with one link, and such as never pair ---------------------------------------------


async def test_where_there_is_one_link_the_app_says_so_and_hangs_up(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(*CODES), links=1) as house:
        charger = await house.owner.enter()
        notices = [notice async for notice in charger.open_pairing()]
        assert notices == [PairingCode("271828", 120, 10), WindowLeft(made_room=True)]
        assert charger.closed


async def test_an_app_hangs_up_if_it_is_told_to(tmp_path: Path) -> None:
    """So that the same phone's own dialog can pair."""
    async with a_house(tmp_path, drawing(*CODES)) as house:
        charger = await house.owner.enter()
        notices = [notice async for notice in charger.open_pairing(stay=False)]
        assert notices == [PairingCode("271828", 120, 10), WindowLeft(made_room=True)]
        await house.phone.pair("271828")


async def test_a_connection_that_is_lost_before_a_code_was_shown_is_an_error(
    tmp_path: Path,
) -> None:
    def broken(_below: int) -> int:
        raise RuntimeError

    async with a_house(tmp_path, broken) as house:
        charger = await house.owner.enter()
        with pytest.raises(errors.LinkLost):
            await anext(charger.open_pairing())
        assert not (await past(house)).open


async def told_of_window(charger: Charger, value: object) -> PastWindow:
    """What the app makes of such an answer."""
    session = charger._inside.session
    assert session is not None
    asking = asyncio.create_task(charger.past_pairing())
    while not session._waiting:  # noqa: ASYNC110 - no event tells
        await asyncio.sleep(0)
    session._take(bapi.Reply(next(iter(session._waiting)), value, None))
    return await asking


async def test_what_is_told_in_another_shape_is_not_believed(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(*CODES)) as house:
        charger = await house.owner.enter()
        for value in (
            None,
            {"open": False},
            {"open": 0, "yours": True},
            {"open": False, "yours": True, "why": "\x1b[2J"},
            {"open": False, "yours": True, "bond": "0123456789abcdeg"},
            {"open": False, "yours": True, "name": 7},
        ):
            with pytest.raises(errors.ProtocolError):
                await told_of_window(charger, value)
        named = {"open": False, "yours": True, "name": "Bob's\x1b[2J\nphone"}
        assert (await told_of_window(charger, named)).name == "Bob's [2J phone"


async def test_who_stops_listening_before_it_hangs_up_closes_the_window(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(*CODES), links=1) as house:
        charger = await house.owner.enter()
        async with aclosing(charger.open_pairing()) as notices:
            assert isinstance(await anext(notices), PairingCode)
        assert (await charger.past_pairing()).why == "asked"


async def test_a_zentri_module_is_never_paired_with_and_has_no_window(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on(radio_module="zentri")
        owner = await ends.phone("owner's")
        await (await owner.enter()).set_passcode()
        charger = await owner.enter()
        with pytest.raises(errors.ChargerRefused, match="must not be paired") as refused:
            await anext(charger.open_pairing())
        assert refused.value.refusal == "never_pairs"
        assert await logged(charger, "pairing_window_opened") == []
        await charger.close()
        stock = Layout.ZENTRI.stock
        async with bluetooth_phone(ends.room.address, address_of(daemon._store), stock) as phone:
            link = await phone.connected()
            assert await link.att_error() == NOT_AUTHORIZED
            assert await link.pair(phone.typist, "271828") == ErrorCode.PAIRING_NOT_SUPPORTED
