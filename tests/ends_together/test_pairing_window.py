"""A pairing window between an owner's app, the charger, and a phone that has no app."""

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
from bumble.smp import ErrorCode

from bluetooth_phone import BluetoothPhone, bluetooth_phone
from chargepin.app import errors
from chargepin.app.client import Charger
from chargepin.app.pairing import PairingCode, PairingNotice, PhonePaired, WindowClosed
from chargepin.charger.air import Door, Written
from chargepin.charger.bluetooth.pairing import BluetoothBond
from chargepin.charger.kept import address_of
from chargepin.charger.service import TICK_S
from chargepin.core import bapi, log
from chargepin.core.bonds import BLUETOOTH_CAPACITY
from chargepin.core.guard import COUNT_FOR_S
from chargepin.core.slots import ENDS_S, PAIRING_ENDS_S
from ends import Answers, Ends, Phone, both_ends
from manual_loop import manual_loop
from shown import shows

NOT_AUTHENTICATED, NOT_AUTHORIZED, NOT_ENCRYPTED = 0x05, 0x08, 0x0F
PATIENCE_S = 200.0


def drawing(*codes: int) -> Callable[[int], int]:
    """Give these codes, then ones that nobody types."""
    following = itertools.chain(codes, itertools.cycle([999_990]))
    return lambda _below: next(following)


@dataclass
class Shown:
    """What the owner's app was told of its window, in order."""

    charger: Charger
    notices: list[PairingNotice] = field(default_factory=list)
    failed: Exception | None = None
    _more: asyncio.Event = field(default_factory=asyncio.Event)

    async def listen(self, name: str = "") -> None:
        try:
            async for notice in self.charger.open_pairing(name):
                self.notices.append(notice)
                self._more.set()
        except errors.ChargepinError as error:
            self.failed = error
        self._more.set()

    async def until(self, enough: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not enough():
                self._more.clear()
                await self._more.wait()

    async def code(self, number: int = 1) -> PairingCode:
        """The code of that number, once it is shown."""
        await self.until(lambda: len(self.codes) >= number)
        return self.codes[number - 1]

    async def closed(self) -> str:
        await self.until(lambda: isinstance(self.notices[-1], WindowClosed))
        closed = self.notices[-1]
        assert isinstance(closed, WindowClosed)
        return closed.why

    @property
    def codes(self) -> list[PairingCode]:
        return [notice for notice in self.notices if isinstance(notice, PairingCode)]


@dataclass
class House:
    """A protected charger, its owner, and somebody's phone that has no app."""

    ends: Ends
    owner: Phone
    passcode: str
    phone: BluetoothPhone

    @property
    def address(self) -> str:
        assert self.ends.daemon is not None
        return address_of(self.ends.daemon._store)

    async def tablet(self) -> Phone:
        """The owner's second device."""
        tablet = await self.ends.phone("owner's tablet")
        tablet.vault.known = dict(self.owner.vault.known)
        return tablet

    @asynccontextmanager
    async def window(self, charger: Charger | None = None, name: str = "") -> AsyncIterator[Shown]:
        """A pairing window that an owner opened, with its first code shown."""
        entered = charger or await self.owner.enter()
        shown = Shown(entered)
        listening = asyncio.create_task(shown.listen(name))
        await shown.code()
        try:
            yield shown
        finally:
            listening.cancel()
            await asyncio.wait({listening})
            if charger is None:
                await entered.close()


async def logged(charger: Charger, event: str) -> list[log.Detail]:
    """What the security log says about such events. Asked in order: it has all that came before."""
    return [entry.detail for entry in await charger.log() if entry.event == event]


@asynccontextmanager
async def a_house(
    directory: Path, draw: Callable[[int], int], *, links: int | None = None
) -> AsyncIterator[House]:
    async with both_ends(directory) as ends:
        daemon = await ends.switch_on(draw=draw, links=links)
        owner = await ends.phone("owner's")
        active = await (await owner.enter()).set_passcode()
        await (await owner.enter()).close()
        async with bluetooth_phone(ends.room.address, address_of(daemon._store)) as phone:
            yield House(ends, owner, active.passcode, phone)


# ---- a phone gets in --------------------------------------------------------------------------


async def test_the_code_lets_a_phone_use_the_stock_service_as_a_user(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(12_345)) as house, house.window() as shown:
        link = await house.phone.connected()
        assert await link.att_error() == NOT_AUTHENTICATED  # so that the phone raises its dialog
        first = await shown.code()
        assert (first.code, first.seconds_left, first.attempts_left) == ("012345", 120, 10)
        assert await link.pair(house.phone.typist, first.code) is None
        assert await shown.closed() == "paired"
        done = shown.notices[-2]
        assert isinstance(done, PhonePaired)

        assert isinstance(await link.value("r_dat"), dict)
        assert await link.value("w_lck", 1) is None
        assert await link.value("r_lck") == 1
        assert await link.value("read_pin") == {"pin": "", "version": 3}
        for too_much in ("s_tzn", "rebot", "supds", "w_hsh", "nobody_knows"):
            assert await link.refusal(too_much) == "role_too_low"
        for ours in ("bond.create", "passcode.receipt", "policy.get"):
            assert await link.refusal(ours) == 1  # of sessions only
        for ours in ("bonds.list", "pairing.open", "reset"):
            assert await link.refusal(ours) == "role_too_low"

        assert house.phone.typist.asked == 1
        phones = {each.kind: each for each in await shown.charger.phones()}
        assert phones["bluetooth"].id == done.id
        assert phones["bluetooth"].name == done.name
        assert phones["bluetooth"].role == "user"
        assert phones["bluetooth"].created > 1_600_000_000
        assert phones["app"].this
        charger = shown.charger
        bonded, closed = {"bond": done.id, "name": done.name}, {"why": "paired", "attempts": 1}
        assert await logged(charger, "bluetooth_bond_added") == [bonded]
        assert await logged(charger, "pairing_window_closed") == [closed]


@pytest.mark.parametrize("code", [0, 1])
async def test_codes_that_are_nearly_nothing_work(tmp_path: Path, code: int) -> None:
    async with a_house(tmp_path, drawing(code)) as house, house.window() as shown:
        text = (await shown.code()).code
        assert text == f"00000{code}"
        link = await house.phone.pair(text)
        assert await link.value("r_lck") == 0


async def test_a_phone_is_called_what_the_owner_says(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(1)) as house:
        async with house.window(name="  Anna's\nphone ") as shown:
            await house.phone.pair("000001")
            await shown.closed()
            assert isinstance(shown.notices[-2], PhonePaired)
            assert shown.notices[-2].name == "Anna's phone"
        names = [each.name for each in await (await house.owner.enter()).phones()]
        assert names == ["owner's", "Anna's phone"]


async def test_a_bonded_phone_comes_back_without_a_window_also_after_a_restart(
    tmp_path: Path,
) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house:
        async with house.window():
            await (await house.phone.pair("271828")).close()
        for restart in (False, True):
            if restart:
                await house.ends.switch_off()
                await house.ends.switch_on()
            link = await house.phone.connected()
            assert await link.att_error() == NOT_ENCRYPTED  # it has a key, and is to use it
            await link.encrypt()
            assert await link.att_error() is None
            assert await link.value("r_lck") == 0
            await link.close()
        assert house.phone.typist.asked == 1


async def test_only_the_chargers_own_files_have_its_key_and_nobody_else_reads_them(
    tmp_path: Path,
) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house, house.window() as shown:
        await house.phone.pair("271828")
        assert await shown.closed() == "paired"  # it is kept
        assert house.ends.daemon is not None
        (value,) = house.ends.daemon._store.bluetooth_bonds().values()
        key = msgspec.json.decode(value, type=BluetoothBond).long_term_key
        encoded = base64.b64encode(key)
        kept = [each for each in tmp_path.rglob("*") if each.is_file()]
        holding = [each for each in kept if any(k in each.read_bytes() for k in (key, encoded))]
        assert holding
        assert all(each.name.startswith("charger.sqlite") for each in holding)
        assert all(not each.stat().st_mode & 0o077 for each in kept)


async def test_a_paired_phone_stays_and_a_pairing_one_has_a_minute(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house, house.window():
        link = await house.phone.connected()
        pairing = asyncio.Event()
        typed = asyncio.Event()

        async def person() -> int:
            pairing.set()
            await typed.wait()
            return 271_828

        house.phone.typist.get_number = person  # type: ignore[method-assign] # a slow person
        attempt = asyncio.create_task(link.connection.pair())
        await pairing.wait()
        manual_loop().advance(ENDS_S + 5)
        assert await link.att_error() == NOT_AUTHENTICATED
        typed.set()
        await attempt
        manual_loop().advance(PAIRING_ENDS_S)
        assert await link.att_error() is None


# ---- nobody else does -------------------------------------------------------------------------


async def test_outside_a_window_phones_are_refused_and_counted(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing()) as house:
        link = await house.phone.connected()
        assert await link.att_error() == NOT_AUTHORIZED
        for _ in range(3):
            refused = await link.pair(house.phone.typist, "271828")
            assert refused == ErrorCode.PAIRING_NOT_SUPPORTED
        assert house.phone.typist.asked == 0
        assert await link.att_error() == NOT_AUTHORIZED
        await link.close()
        charger = await house.owner.enter()
        for seconds in (TICK_S + 1, COUNT_FOR_S, TICK_S + 1):
            manual_loop().advance(seconds)
            counted = await logged(charger, "strangers")
        assert counted == [{"pairing_refused": 3}]


async def test_after_a_wrong_code_there_is_another_and_the_old_one_is_worth_nothing(
    tmp_path: Path,
) -> None:
    draw = drawing(271_828, 314_159, 141_421)
    async with a_house(tmp_path, draw) as house, house.window() as shown:
        link = await house.phone.connected()
        failed = ErrorCode.CONFIRM_VALUE_FAILED
        assert await link.pair(house.phone.typist, "271829") == failed
        second = await shown.code(2)
        assert (second.code, second.attempts_left) == ("314159", 9)
        assert await link.pair(house.phone.typist, "271828") == failed
        third = await shown.code(3)
        assert (third.code, third.attempts_left) == ("141421", 8)
        assert await link.att_error() == NOT_AUTHENTICATED
        assert await link.pair(house.phone.typist, "141421") is None
        assert await shown.closed() == "paired"
        failure: log.Detail = {"address": str(link.connection.self_address)}
        assert await logged(shown.charger, "pairing_failed") == [failure, failure]


async def test_ten_attempts_close_the_window(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing()) as house, house.window() as shown:
        link = await house.phone.connected()
        for number in range(10):
            assert (await shown.code(number + 1)).attempts_left == 10 - number
            refused = await link.pair(house.phone.typist, "271828")
            assert refused == ErrorCode.CONFIRM_VALUE_FAILED
        assert await shown.closed() == "attempts"
        refused = await link.pair(house.phone.typist, "271828")
        assert refused == ErrorCode.PAIRING_NOT_SUPPORTED
        assert await link.att_error() == NOT_AUTHORIZED
        closed: log.Detail = {"why": "attempts", "attempts": 10}
        assert await logged(shown.charger, "pairing_window_closed") == [closed]


async def test_a_window_closes_after_two_minutes(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house, house.window() as shown:
        manual_loop().advance(110)
        link = await house.phone.connected()
        assert await link.att_error() == NOT_AUTHENTICATED
        manual_loop().advance(10.5)
        refused = await link.pair(house.phone.typist, "271828")
        assert refused == ErrorCode.PAIRING_NOT_SUPPORTED
        assert await shown.closed() == "time"
        assert await link.att_error() == NOT_AUTHORIZED
        assert len(await logged(shown.charger, "pairing_window_opened")) == 1


async def test_a_code_typed_too_late_is_refused(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house, house.window() as shown:
        manual_loop().advance(110)
        link = await house.phone.connected()

        def late() -> int:
            manual_loop().advance(15)
            return 271_828

        house.phone.typist.code = late
        pairing = asyncio.create_task(link.connection.pair())
        assert await shown.closed() == "time"
        await asyncio.wait({pairing})
        error = pairing.exception()
        assert getattr(error, "error_code", None) == ErrorCode.PAIRING_NOT_SUPPORTED
        assert (await shown.charger.phones())[-1].kind == "app"


async def test_who_stops_listening_closes_the_window(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house:
        charger = await house.owner.enter()
        async with house.window(charger):
            pass
        link = await house.phone.connected()
        assert await link.att_error() == NOT_AUTHORIZED
        (closed,) = await logged(charger, "pairing_window_closed")
        assert closed["why"] == "asked"
        async with house.window(charger) as shown:  # and the session may open another
            await charger.call("pairing.close")
            assert await shown.closed() == "asked"
        await charger.call("pairing.close")  # there is none any more


# ---- who may open one -------------------------------------------------------------------------


async def test_a_user_may_not_open_a_window(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing()) as house:
        guest = await house.ends.phone("guest's")
        charger = await guest.enter(Answers([house.passcode]))
        assert charger.role == "user"
        with pytest.raises(errors.RoleTooLow):
            await anext(charger.open_pairing())
        for method in ("pairing.close", "bonds.list"):
            with pytest.raises(errors.RoleTooLow):
                await charger.call(method)


async def test_only_one_window_is_open_at_a_time_and_another_app_does_not_close_it(
    tmp_path: Path,
) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house:
        second = await (await house.tablet()).enter()
        async with house.window() as shown:
            with pytest.raises(errors.ChargerRefused) as busy:
                await anext(second.open_pairing())
            assert busy.value.refusal == "busy"
            await house.phone.pair("271828")
            assert await shown.closed() == "paired"


async def test_an_open_charger_has_no_window(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        await ends.switch_on()
        charger = await (await ends.phone()).enter()
        with pytest.raises(errors.PasscodeNotSet):
            charger.open_pairing()
        with pytest.raises(errors.ChargerRefused) as not_set:
            await charger.call("pairing.open")
        assert not_set.value.refusal == "not_set"


def full_of_phones(house: House) -> None:
    assert house.ends.daemon is not None
    for number in range(BLUETOOTH_CAPACITY):
        identity = f"F0:00:00:00:03:{number:02X}"
        bond = BluetoothBond(identity, bytes(16), None, True, bytes(16), name="\N{BELL}" * 40)
        house.ends.daemon._bonds.put(bond)


async def test_where_no_bond_has_room_no_window_is_opened(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing()) as house:
        full_of_phones(house)
        charger = await house.owner.enter()
        with pytest.raises(errors.ChargerRefused) as full:
            await anext(charger.open_pairing())
        assert full.value.refusal == "bonds_full"
        phones = await charger.phones()  # in as many messages as it takes
        assert [each.kind for each in phones] == ["app"] + ["bluetooth"] * BLUETOOTH_CAPACITY
        await charger.forget_phone(phones[-1].id)
        async with house.window(charger):
            pass


@pytest.mark.parametrize(
    "members",
    [
        {"code": "12345"},
        {"code": "123456\n"},
        {"code": 123456},
        {},
        {"code": "123456", "seconds_left": "1"},
    ],
)
async def test_a_charger_that_shows_no_code_is_not_believed(
    tmp_path: Path, members: dict[str, object]
) -> None:
    async with a_house(tmp_path, drawing()) as house, house.window() as shown:
        session = shown.charger._inside.session
        assert session is not None
        session._take(bapi.Event("weather", {}))  # which an app ignores
        session._take(bapi.Event("pairing_code", members))
        await shown.until(lambda: shown.failed is not None)
        assert isinstance(shown.failed, errors.ProtocolError)


async def test_a_window_that_cannot_be_logged_is_not_opened(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing()) as house:
        charger = await house.owner.enter()
        daemon = house.ends.daemon
        assert daemon is not None
        daemon._store._connection.execute("PRAGMA query_only = 1")
        with pytest.raises(errors.ChargerRefused) as failed:
            await anext(charger.open_pairing())
        assert failed.value.refusal == "storage_failed"
        daemon._store._connection.execute("PRAGMA query_only = 0")
        async with house.window(charger):
            pass


async def test_no_code_is_written_anywhere(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828, 314_159)) as house:
        async with house.window() as shown:
            link = await house.phone.connected()
            await link.pair(house.phone.typist, "271829")
            await shown.code(2)
            assert await link.pair(house.phone.typist, "314159") is None
            await shown.closed()
        await house.ends.switch_off()
        kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        said = "\n".join(house.ends.reports)
        assert b"pairing_failed" in kept
        for code in ("271828", "314159"):
            assert not shows(kept, code)
            assert not shows(said, code)
            assert not shows(repr(shown.notices), code)


# ---- when a bond ends -------------------------------------------------------------------------


async def test_a_forgotten_phone_is_hung_up_on_and_finds_the_stock_service_closed(
    tmp_path: Path,
) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house:
        async with house.window():
            link = await house.phone.pair("271828")
        charger = await house.owner.enter()
        (listed,) = [each for each in await charger.phones() if each.kind == "bluetooth"]
        await charger.forget_phone(listed.id)
        await link.hung_up()
        await house.phone.cannot_encrypt()
        again = await house.phone.connected()
        assert await again.att_error() == NOT_AUTHORIZED
        assert [each.kind for each in await charger.phones()] == ["app"]
        with pytest.raises(errors.ChargerRefused) as unknown:
            await charger.forget_phone(listed.id)
        assert unknown.value.refusal == "no_such_bond"
        by = (await charger.phones())[0].id
        assert await logged(charger, "pairing_window_opened") == [{"by": by}]
        forgotten = {"bond": listed.id, "by": by}
        assert await logged(charger, "bluetooth_bond_forgotten") == [forgotten]
        await house.ends.switch_off()
        await house.ends.switch_on()
        await house.phone.cannot_encrypt()


async def test_what_a_phone_wrote_while_it_was_forgotten_is_ignored(tmp_path: Path) -> None:
    """It waits in the inbox, behind the request to forget, when the bond goes."""
    async with a_house(tmp_path, drawing(271_828)) as house:
        async with house.window():
            link = await house.phone.pair("271828")
        charger = await house.owner.enter()
        assert await link.value("r_lck") == 0
        (listed,) = [each for each in await charger.phones() if each.kind == "bluetooth"]
        assert house.ends.daemon is not None
        service, air = house.ends.daemon.service, house.ends.daemon._lasting
        hung_up_on: list[int] = []

        def forget_phone(bond_id: str) -> Sequence[int]:
            hung_up_on.extend(type(air).forget_phone(air, bond_id))
            frame = bapi.encode_request("w_lck", 1, 7)
            service.tell(Written(hung_up_on[0], Door.STOCK, frame))
            return hung_up_on

        vars(air)["forget_phone"] = forget_phone
        await charger.forget_phone(listed.id)
        assert await charger.call("r_lck") == 0
        assert len(hung_up_on) == 1


async def test_a_user_may_not_forget_somebody_elses_phone(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house:
        async with house.window() as shown:
            link = await house.phone.pair("271828")
            await shown.closed()
            assert isinstance(shown.notices[-2], PhonePaired)
            bond_id = shown.notices[-2].id
        guest = await (await house.ends.phone("guest's")).enter(Answers([house.passcode]))
        with pytest.raises(errors.RoleTooLow):
            await guest.forget_phone(bond_id)
        assert await link.att_error() is None


async def test_a_bond_that_cannot_be_deleted_is_not_said_to_be(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house:
        async with house.window():
            link = await house.phone.pair("271828")
        charger = await house.owner.enter()
        (listed,) = [each for each in await charger.phones() if each.kind == "bluetooth"]
        daemon = house.ends.daemon
        assert daemon is not None
        daemon._store._connection.execute("PRAGMA query_only = 1")
        with pytest.raises(errors.ChargerRefused) as failed:
            await charger.forget_phone(listed.id)
        assert failed.value.refusal == "storage_failed"
        assert await link.att_error() is None
        daemon._store._connection.execute("PRAGMA query_only = 0")


async def test_a_routine_rotation_closes_the_window_and_keeps_the_bond(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828, 1, 314_159)) as house:
        async with house.window():
            link = await house.phone.pair("271828")
        rotating = await (await house.tablet()).enter()
        async with house.window() as shown:
            await rotating.rotate_passcode()
            assert await shown.closed() == "passcode_changed"
        await link.hung_up()
        back = await house.phone.connected()
        await back.encrypt()
        assert await back.value("r_lck") == 0
        closed = await logged(await house.owner.enter(), "pairing_window_closed")
        assert [each["why"] for each in closed] == ["paired", "passcode_changed"]


async def test_a_revocation_ends_every_bluetooth_bond(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house:
        async with house.window():
            link = await house.phone.pair("271828")
        charger = await house.owner.enter()
        keep = [each.id for each in await charger.phones()]  # naming it does not help
        await charger.rotate_passcode(keep=keep)
        await link.hung_up()
        await house.phone.cannot_encrypt()
        assert [each.kind for each in await (await house.owner.enter()).phones()] == ["app"]


async def test_a_reset_ends_every_bluetooth_bond(tmp_path: Path) -> None:
    async with a_house(tmp_path, drawing(271_828)) as house:
        async with house.window():
            link = await house.phone.pair("271828")
        await house.ends.hold_button()
        await link.hung_up()
        await house.phone.cannot_encrypt()


async def test_the_first_passcode_ends_the_bonds_of_the_open_time(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on()
        async with bluetooth_phone(ends.room.address, address_of(daemon._store)) as phone:
            link = await phone.connected()
            assert await link.pair(phone.typist, "0") is None  # Just Works: no dialog asks
            assert phone.typist.asked == 0
            assert await link.value("r_lck") == 0
            (bond,) = daemon._bonds.all()
            owner = await ends.phone("owner's")
            await (await owner.enter()).set_passcode()
            await link.hung_up()
            await phone.cannot_encrypt()
            daemon._bonds.put(bond)  # as when it was made while the passcode was being stored
            await phone.cannot_encrypt()
            back = await phone.connected()
            assert await back.att_error() == NOT_AUTHORIZED


async def test_what_reaches_the_stock_service_without_a_bond_is_ignored(tmp_path: Path) -> None:
    """As when it was written just before a bond was forgotten, or on a link with a session."""
    async with a_house(tmp_path, drawing(271_828)) as house, house.window() as shown:
        link = await house.phone.pair("271828")
        await shown.closed()
        assert await link.value("r_lck") == 0
        assert house.ends.daemon is not None
        service = house.ends.daemon.service
        session, paired = sorted(service.guard.links)
        frame = bapi.encode_request("w_lck", 1, 7)
        service.tell(Written(session, Door.STOCK, frame))
        assert await shown.charger.call("r_lck") == 0
        service.tell(Written(paired, Door.STOCK, frame))
        assert await shown.charger.call("r_lck") == 1
