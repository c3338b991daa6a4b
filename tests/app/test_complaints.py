"""What users of these chargers complain about most, one test for each: it does not happen here.

The complaints and their ranking are those of public threads about clients for real chargers; the
charger is an imitated one where the complaint is about the maker's software.
"""

import asyncio
import re
from collections.abc import Awaitable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bleak.exc import BleakError

from app.at_imitations import CODE, App, app_at, imitating
from chargepin.app import errors
from chargepin.app.charger import Charger
from chargepin.app.client import find
from chargepin.app.codes import MISTYPED_MAX, NO_GENERATION, GivenPasscode
from chargepin.app.connect import holding
from chargepin.app.hearing import is_charger
from chargepin.app.lending import ask_holders, seek
from chargepin.app.link_bleak.systems import Elsewhere
from chargepin.app.ports import Candidate, Found, Known, Radio
from chargepin.charger.imitation import IMITATIONS, Imitator
from chargepin.charger.imitation.methods import ImitatedMethods
from chargepin.charger.stock.call import Handler, no_method
from chargepin.cli.export import Kind, configuration
from chargepin.core.bapi import Request
from chargepin.core.catalogue import serial_of
from chargepin.core.gatt import Layout
from chargepin.core.passcode import Passcode
from ends import SERIAL, Answers, MemoryVault, both_ends
from manual_loop import manual_loop, unwaited

HELP = (Path(__file__).parents[2] / "docs" / "help.md").read_text()
LOCKED_BY_PAIRING = ("6.11.16", "6.11.26", "6.13")


def answered(heading: str, *words: str) -> None:
    """The help page has a section of that heading, and it says these things."""
    sections = re.split(r"^## ", HELP, flags=re.MULTILINE)[1:]
    (section,) = [each for each in sections if each.lower().startswith(heading.lower())]
    text = " ".join(section.lower().split())
    missing = [word for word in words if word.lower() not in text]
    assert not missing


async def passing(charger: Charger, work: Awaitable[object]) -> None:
    """Have a work done. Time goes on while the app asks nothing: an answer has all it needs."""
    stock = charger._inside.stock
    assert stock is not None
    task = asyncio.ensure_future(work)
    while not task.done():
        if not stock._one_at_a_time.locked():
            manual_loop().advance(0.02)
        await asyncio.sleep(0)
    task.result()


def charger_of(app: object) -> Imitator:
    assert isinstance(app, Imitator)
    return app


async def got_in(app: App) -> None:
    await (await app.enter()).close()


# ---- 1 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", LOCKED_BY_PAIRING)
async def test_1_connected_but_nothing_responds(version: str, tmp_path: Path) -> None:
    """Connects but no data, because pairing or passcode is missing; the error doesn't say so."""
    async with imitating(tmp_path, version, CODE) as on:
        async with app_at(on) as nobody:
            with pytest.raises(errors.PasscodeNeeded) as told:
                await nobody.enter()
            assert "wants to be paired with its 6-digit passcode" in str(told.value)
            assert "chargepin passcode enter WB123456" in str(told.value)
        async with app_at(on, Answers([CODE])) as app:
            assert (await (await app.enter()).status()).state == "ready"
    answered("It connects, but nothing responds", "old pairing", "passcode enter", "375")


class Through:
    """A radio that does what another one does."""

    def __init__(self, radio: Radio) -> None:
        self.radio = radio

    def __getattr__(self, name: str) -> Any:
        return getattr(self.radio, name)


class LikeLinux(Through):
    """A radio whose links are hung up when pairing is refused, as Linux does it."""

    async def connect(self, found: Found, *, timeout_s: float) -> Any:
        link: Any = await self.radio.connect(found, timeout_s=timeout_s)
        pair = link.pair

        async def pair_or_end(**how: bool) -> None:
            try:
                await pair(**how)
            except errors.ChargerRefused:
                await link.close()
                raise

        link.pair = pair_or_end
        return link


async def test_1_a_system_that_hangs_up_does_not_hide_the_cause(tmp_path: Path) -> None:
    """The same, where the operating system ends the connection that was refused."""
    async with imitating(tmp_path, "6.11.26", CODE) as on, app_at(on) as nobody:
        around = nobody.surroundings
        radio: Any = LikeLinux(around.radio)
        nobody.surroundings = replace(around, radio=radio)
        with pytest.raises(errors.PasscodeNeeded, match="does not pair without its 6-digit"):
            await nobody.enter()


@pytest.mark.parametrize("version", LOCKED_BY_PAIRING)
async def test_1_a_wrong_code_is_told_as_a_wrong_code(version: str, tmp_path: Path) -> None:
    """Asked for: a clear, distinct error for a wrong passcode."""
    async with (
        imitating(tmp_path, version, CODE) as on,
        app_at(on, Answers(["482914", CODE])) as app,
    ):
        with pytest.raises(errors.PasscodeWrong, match="did not take that code"):
            await app.enter()
        await got_in(app)


async def test_1_an_old_pairing_does_not_hide_the_passcode(tmp_path: Path) -> None:
    """Paired by Just Works before the passcode was set, as phones stay that never forget."""
    bonds = tmp_path / "bluetooth.json"
    async with imitating(tmp_path, "6.13") as on:
        async with app_at(on, Answers(), bonds=bonds) as app:
            await got_in(app)
        assert bonds.exists()
        await on.switch_off()
        await on.switch_on("6.13", CODE)
        async with app_at(on, bonds=bonds) as nobody:
            with pytest.raises(errors.PasscodeNeeded):
                await nobody.enter()
        answers = Answers([CODE])
        async with app_at(on, answers, bonds=bonds) as app:
            await got_in(app)
            await got_in(app)  # the new pairing holds: nobody is asked again
            assert answers.asked == 1


async def test_1_a_module_in_its_command_shell_is_switched_to_streaming(tmp_path: Path) -> None:
    """The same, where what is written goes to the radio module and never to the charger."""
    async with imitating(tmp_path, "6.11.26", command_mode=True) as on, app_at(on) as app:
        assert (await (await app.enter()).status()).state == "ready"


# ---- 2 -----------------------------------------------------------------------------------------


async def test_2_a_proxy_cannot_enter_a_passkey(tmp_path: Path) -> None:
    """Home Assistant or an ESPHome proxy can't pair or enter a passkey."""
    makers = configuration("WB123456", "54:64:DE:01:02:03", Kind.MAKERS)
    assert "keyboard_only" in makers
    assert "on_passkey_request" in makers
    answered("Home Assistant or an ESPHome proxy", "export esphome", "!secret", "keyboard_only")
    async with both_ends(tmp_path) as ends:  # with ours nothing is ever paired
        await ends.switch_on()
        owner, guest = await ends.phone(), await ends.phone()
        code = (await (await owner.enter()).set_passcode()).passcode
        await (await guest.enter(Answers([code]))).close()
        radio = guest.surroundings.radio
        assert await radio.bonded(await find(guest.surroundings, SERIAL)) is False


# ---- 3 -----------------------------------------------------------------------------------------


async def test_3_writes_are_not_ignored_in_silence(tmp_path: Path) -> None:
    """Writes silently ignored (lock, current, schedule) though reads are fine."""
    async with imitating(tmp_path, "6.7.38", CODE) as on, app_at(on) as app:
        charger = await app.enter()
        methods = charger_of(on.charger)._methods
        await charger.lock()
        await charger.limit_current(10)
        status = await charger.status()
        assert (status.locked, status.current_a) == (True, 10)
        methods._logged_in.clear()  # as was seen after some minutes
        await passing(charger, charger.limit_current(12))
        assert (await charger.status()).current_a == 12


async def test_3_what_is_ignored_all_the_same_is_told(tmp_path: Path) -> None:
    """The same, where the login is not taken either."""

    class Nobody(set[int]):
        def add(self, _: int) -> None:
            """Forget it at once."""

    async with imitating(tmp_path, "6.7.38", CODE) as on, app_at(on) as app:
        charger = await app.enter()
        charger_of(on.charger)._methods._logged_in = Nobody()
        with pytest.raises(errors.Ignored, match="r_lck shows that nothing has changed") as told:
            await passing(charger, charger.lock())
        assert not told.value.may_have_happened
        assert (await charger.status()).locked is False
        with pytest.raises(errors.Ignored, match="r_schs shows that nothing has changed"):
            await passing(charger, charger.call("w_sch", "0006000700002"))
    answered("Reading works, but lock, current", "reads back", "logs in")


async def test_3_set_pin_is_sent_with_the_chargers_own_passcode_only(tmp_path: Path) -> None:
    """Nobody knows what it does with another one; so it never gets one."""
    async with imitating(tmp_path, "6.7.38", CODE) as on, app_at(on) as app:
        charger = await app.enter()
        for other in ("482914", "", None, 482913, "048291"):
            with pytest.raises(errors.MakersAppNeeded, match="was not sent"):
                await charger.call("set_pin", {"pin": other, "version": 3})
        assert not charger_of(on.charger)._methods._logged_in
        for asking in (charger.update_offered(), charger.phones(), charger.set_passcode()):
            with pytest.raises(errors.MakersAppNeeded, match="the maker's app"):
                await asking
        await charger.call("set_pin", {"pin": CODE})
        assert charger_of(on.charger)._methods._logged_in


# ---- 4 -----------------------------------------------------------------------------------------


async def test_4_which_number_is_the_passcode(tmp_path: Path) -> None:
    """Where is the PIN? 6 or 8 digits? PUK or PIN; unknown when somebody else owns the account."""
    answers = Answers(["12345678", "1234", CODE])
    async with imitating(tmp_path, "6.11.26", CODE) as on, app_at(on, answers) as app:
        await got_in(app)
    said = "\n".join(answers.said)
    assert "PUK" in said
    assert "user" in said
    assert answers.said[0].startswith("WB123456 wants a Bluetooth code")
    assert "the maker's app or the charger's owner has it" in answers.said[0]
    answered("Where is the passcode", "8 digits: the PUK", "4 digits", "lost-passcode", "invite")


async def test_4_a_program_that_answers_the_same_for_ever_is_not_asked_for_ever(
    tmp_path: Path,
) -> None:
    """Asked for: a passcode field. It may hold nonsense, and nobody mends it."""

    class Field(Answers):
        async def passcode(self, question: str, *, held: Passcode | None = None) -> str:
            await super().passcode(question, held=held)
            return "12345"

    field = Field([""] * (2 * MISTYPED_MAX))
    async with imitating(tmp_path, "6.13", CODE) as on, app_at(on, field) as app:
        with pytest.raises(errors.PasscodeNeeded, match="none was given"):
            await app.enter()
    async with both_ends(tmp_path / "ours") as ends:
        await ends.switch_on()
        await (await (await ends.phone()).enter()).set_passcode()
        with pytest.raises(errors.PasscodeNeeded, match="is protected"):
            await (await ends.phone()).enter(field)
        assert field.asked == 2 * MISTYPED_MAX
        with pytest.raises(ValueError, match="exactly 6 digits"):
            GivenPasscode("12345")


async def test_4_a_passcode_from_a_form_is_tried_once(tmp_path: Path) -> None:
    """The same, where it is well formed."""
    async with imitating(tmp_path, "6.13", CODE) as on:
        async with app_at(on, GivenPasscode("482-914")) as app:
            with pytest.raises(errors.PasscodeWrong):
                await app.enter()
            with pytest.raises(errors.PasscodeNeeded):
                await app.enter()
        async with app_at(on, GivenPasscode("482 913")) as app:
            await got_in(app)
            await got_in(app)


async def test_4_another_chargers_passcode_in_the_vault_changes_no_error(tmp_path: Path) -> None:
    """A home with a passcode of one charger is told of the next one what a new home is told."""
    vault = MemoryVault()
    vault.put(Known("999", candidates=(Candidate(NO_GENERATION, b"", "314159"),)))
    async with imitating(tmp_path, "6.13", CODE) as on, app_at(on, vault=vault) as app:
        with pytest.raises(errors.PasscodeNeeded, match="none was given"):
            await app.enter()


async def test_4_a_passcode_that_let_in_once_is_remembered_and_a_changed_one_asked_for(
    tmp_path: Path,
) -> None:
    """Asked for: storing the PIN, and noticing that it changed."""
    async with imitating(tmp_path, "6.13", CODE) as on:
        async with app_at(on, Answers([CODE])) as app:
            await got_in(app)
        vault = app.vault
        charger_of(on.charger).reset()  # it has forgotten every pairing
        async with app_at(on, vault=vault) as alone:
            await got_in(alone)
        await on.switch_off()
        await on.switch_on("6.13", "314159")
        async with app_at(on, Answers(["314159"]), vault=vault) as again:
            with pytest.raises(errors.PasscodeWrong):
                await again.enter()
            await got_in(again)
        assert [each.passcode for each in vault.known[SERIAL].candidates] == ["314159"]
        assert CODE not in repr(vault.known)


# ---- 5 -----------------------------------------------------------------------------------------


async def test_5_local_control_without_cloud_or_internet(tmp_path: Path) -> None:
    """Local control without cloud or internet."""
    async with both_ends(tmp_path) as ends:
        await ends.switch_on()
        phone = await ends.phone()
        assert phone.surroundings.account is None
        await (await phone.enter()).set_passcode()
        charger = await phone.enter()
        await charger.lock()
        assert (await charger.status()).locked
    answered("Does it work without cloud", "Bluetooth is all that is needed")


# ---- 6 -----------------------------------------------------------------------------------------


async def test_6_only_one_connection_and_it_can_be_lent(tmp_path: Path) -> None:
    """Only one BLE connection: app and gateway block each other."""
    async with imitating(tmp_path, "6.13") as on, app_at(on) as gateway:
        first = await gateway.enter()
        async with holding(tmp_path, gateway.surroundings, first) as held, app_at(on) as app:
            with pytest.raises(errors.NotFound, match="no other phone or gateway holds"):
                await unwaited(app.enter(), 11)
            with pytest.raises(errors.Busy, match="chargepin pause WB123456"):
                await unwaited(seek(app.surroundings, tmp_path, SERIAL), 11)
            assert await ask_holders(tmp_path, SERIAL, 300) == 1
            await unwaited(got_in(app))
            manual_loop().advance(301)
            again = await unwaited(held.connected())
            assert (await again.status()).state == "ready"
    answered("The app and my gateway block each other", "chargepin pause", "end-pause")


# ---- 7 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", Layout)
async def test_7_any_model_with_any_module(layout: Layout, tmp_path: Path) -> None:
    """New or other model not working."""
    module = {"model": "copper-sb", "radio_module": layout.value}
    async with imitating(tmp_path, "6.1.12", **module) as on, app_at(on) as app:
        charger = await app.enter()
        assert charger.layout is layout
        await charger.limit_current(8)
        assert (await charger.status()).current_a == 8
    answered("A new or another model", "what the charger offers", "imitate.md")


@pytest.mark.parametrize("version", IMITATIONS)
async def test_7_every_software_that_is_known(version: str, tmp_path: Path) -> None:
    """The same, by software: status, lock and current work, without a passcode."""
    async with imitating(tmp_path, version) as on, app_at(on) as app:
        charger = await app.enter()
        await charger.lock()
        status = await charger.status()
        assert (status.locked, status.software) == (True, IMITATIONS[version].shown)


@pytest.mark.parametrize("answer", [no_method, lambda _: {"update": 1, "version": "new"}])
async def test_7_old_software_that_does_not_tell_of_updates(
    answer: Handler, tmp_path: Path
) -> None:
    """The same: what a charger from before 6.7.17 answers here is not known."""
    async with imitating(tmp_path, "6.1.12") as on, app_at(on) as app:
        charger_of(on.charger)._stock._handlers["gupdc"] = answer
        charger = await app.enter()
        with pytest.raises(errors.MakersAppNeeded, match="Update it in the maker's app"):
            await charger.update_offered()
        assert (await charger.status()).passcode == "unsupported"


# ---- 8 -----------------------------------------------------------------------------------------


async def test_8_no_silent_stall(tmp_path: Path) -> None:
    """Reconnect loops, weak radio, silent stalls, hung automations."""
    async with imitating(tmp_path, "6.13") as on, app_at(on) as app:
        charger = await app.enter()
        imitator = charger_of(on.charger)
        imitator._rules.dead.update(imitator.air.links)  # not even the Bluetooth stack answers
        began_s = manual_loop().time()
        with pytest.raises(errors.LinkLost) as lost:
            await unwaited(charger.lock())
        assert manual_loop().time() - began_s < 15
        assert lost.value.retry_after_s == 0
        assert charger.closed
    answered("It reconnects over and over", "-75 dBm", "30 s")


@pytest.mark.parametrize("layout", Layout)
async def test_8_it_is_kept_alive_by_what_its_software_knows(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same: only u-blox ones know `ping`, and some keep silent about what they do not know."""
    asked: list[str] = []
    answer = ImitatedMethods.answer

    def noting(self: ImitatedMethods, link: int, request: Request, *when: Any) -> Any:
        asked.append(request.met)
        return answer(self, link, request, *when)

    monkeypatch.setattr(ImitatedMethods, "answer", noting)
    async with (
        imitating(tmp_path, "6.1.12", radio_module=layout.value) as on,
        app_at(on) as app,
    ):
        charger = await app.enter()
        asked.clear()
        await charger.keep_alive()
        assert asked == ["ping" if layout is Layout.UBLOX else "r_dat"]


# ---- 9 to 12 -----------------------------------------------------------------------------------


def test_9_the_cloud_throttles() -> None:
    """Cloud throttling, 403, 429 pushes people to Bluetooth."""
    answered('The cloud says "too many requests"', "403", "429", "does not use it")


async def test_10_a_passer_by_can_connect_and_the_owner_is_told(tmp_path: Path) -> None:
    """No PIN: any passer-by can connect."""
    async with both_ends(tmp_path) as ends:
        await ends.switch_on()
        owner, passer_by = await ends.phone(), await ends.phone()
        await (await passer_by.enter()).close()
        await (await owner.enter()).set_passcode()
        with pytest.raises(errors.PasscodeNeeded):
            await passer_by.enter()
    answered("Can anybody connect to my charger", "Without a passcode: yes", "offers to set one")


@pytest.mark.parametrize("version", LOCKED_BY_PAIRING)
@pytest.mark.parametrize(("pairs", "said"), [(True, "Settings, Bluetooth"), (False, "of macOS")])
async def test_11_where_the_system_pairs_its_settings_are_named(
    version: str,
    pairs: bool,  # noqa: FBT001
    said: str,
    tmp_path: Path,
) -> None:
    """Windows pairing ("Unreachable"), and macOS, where the system pairs too."""
    told: list[str] = []
    system = Elsewhere(told.append, pairs=pairs)

    class Unreachable:
        """Bleak's client of a charger that Windows can't pair with."""

        async def pair(self) -> None:
            raise BleakError("Could not pair with device: 19: FAILED")

    class Its(Through):
        """A radio whose links the system pairs."""

        async def connect(self, found: Found, *, timeout_s: float) -> Any:
            link: Any = await self.radio.connect(found, timeout_s=timeout_s)
            its: Any = SimpleNamespace(name=found.name, client=Unreachable())
            link.pair = lambda *, again=False: system.pair(its, again)
            return link

    async with imitating(tmp_path, version, CODE) as on, app_at(on) as app:
        radio: Any = Its(app.surroundings.radio)
        app.surroundings = replace(app.surroundings, radio=radio)
        with pytest.raises(errors.PasscodeNeeded, match=said):
            await app.enter()
    assert any("Settings" in each for each in told) is pairs


def test_11_windows_does_not_pair() -> None:
    """Windows pairing ("Unreachable")."""
    answered("Windows", "Settings", "not been run on Windows", "no pairing on Windows")


def test_12_easywallbox_is_another_charger() -> None:
    """EasyWallbox PIN confusion, silence after AUTH."""
    assert not is_charger("eWB12345")
    with pytest.raises(ValueError, match="WB123456"):
        serial_of("eWB12345")
    assert Found("F0:00:00:00:00:01", "WB12345", -50).name == "WB12345"
    answered("EasyWallbox", "001234", "another protocol")
