"""The article's steps between a charger and apps, each looked at from the other side."""

import asyncio
from pathlib import Path

import pytest

from chargepin.app import errors
from chargepin.app.client import Charger
from chargepin.app.ports import Known
from chargepin.core.catalogue import Version
from chargepin.core.durable import Mode
from chargepin.core.passcode import entered
from ends import SERIAL, Answers, Ends, Phone, both_ends
from manual_loop import manual_loop


async def closed(charger: Charger) -> None:
    gone = asyncio.Event()
    charger.on_close(gone.set)
    async with asyncio.timeout(20):
        await gone.wait()


async def protected(ends: Ends) -> tuple[Phone, str]:
    """A charger whose passcode the owner's phone has set and proved."""
    await ends.switch_on()
    owner = await ends.phone("owner's")
    active = await (await owner.enter()).set_passcode()
    await (await owner.enter()).close()
    return owner, active.passcode


def wrong_for(right: str) -> str:
    return "482913" if right != "482913" else "482914"


async def test_set_drops_every_phone_and_makes_the_setter_owner(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on()
        owner, other = await ends.phone("owner's"), await ends.phone("other")
        watching, setting = await other.enter(), await owner.enter()
        assert setting.passcode_state == "open"
        active = await setting.set_passcode()
        await asyncio.gather(closed(watching), closed(setting))
        assert daemon.service.guard.durable.mode is Mode.PROTECTED
        assert daemon.service.guard.durable.generation == 1
        assert entered(active.passcode).digits == active.passcode
        again = await owner.enter()
        assert (again.role, again.passcode_state) == ("owner", "protected")
        assert [phone.name for phone in await again.phones()] == ["owner's"]


async def test_a_phone_without_the_passcode_is_told_so_and_sends_nothing(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        await protected(ends)
        assert ends.daemon is not None
        stranger = await ends.phone("stranger")
        with pytest.raises(errors.PasscodeNeeded):
            await stranger.enter()
        assert ends.daemon.service.guard.durable.lockout.charged == 0


async def test_a_wrong_passcode_costs_a_try_and_a_right_one_gives_it_back(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        _, right = await protected(ends)
        assert ends.daemon is not None
        phone = await ends.phone("new")
        with pytest.raises(errors.PasscodeWrong) as wrong:
            await phone.enter(Answers([wrong_for(right)]))
        assert wrong.value.tries_left == 2
        assert ends.daemon.service.guard.durable.lockout.charged == 1
        charger = await phone.enter(Answers([right[:3] + "-" + right[3:]]))
        assert charger.role == "user"
        await charger.close()
        assert ends.daemon.service.guard.durable.lockout.charged == 1
        assert phone.vault.known[SERIAL].tries == {"1": (0, 1)}  # the app, too, forgives but one
        assert (await (await phone.enter()).status()).passcode == "protected"


async def test_what_is_no_passcode_is_explained_and_costs_nothing(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        _, right = await protected(ends)
        assert ends.daemon is not None
        phone, answers = await ends.phone(), Answers(["12345", "12345678", "1234", "12345६", right])
        await phone.enter(answers)
        told = "\n".join(answers.said)
        assert "PUK" in told
        assert "user" in told
        assert answers.asked == 5
        assert ends.daemon.service.guard.durable.lockout.charged == 0


async def test_three_wrong_ones_pause_strangers_but_not_the_owner(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, right = await protected(ends)
        stranger = await ends.phone("stranger")
        for _ in range(3):
            with pytest.raises(errors.PasscodeWrong):
                await stranger.enter(Answers([wrong_for(right)]))
        with pytest.raises(errors.Paused) as paused:
            await stranger.enter(Answers([right]))
        assert paused.value.retry_after_s is not None
        assert 0 < paused.value.retry_after_s <= 30
        inside = await owner.enter()
        assert inside.role == "owner"
        await inside.end_pause()
        await inside.close()
        assert (await stranger.enter(Answers([right]))).role == "user"


async def test_a_pause_ends_by_itself_and_survives_a_restart(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        _, right = await protected(ends)
        stranger = await ends.phone("stranger")
        for _ in range(3):
            with pytest.raises(errors.PasscodeWrong):
                await stranger.enter(Answers([wrong_for(right)]))
        manual_loop().advance(20)
        await ends.switch_off()
        await ends.switch_on()
        with pytest.raises(errors.Paused) as paused:
            await stranger.enter(Answers([right]))
        assert paused.value.retry_after_s is not None
        assert 25 < paused.value.retry_after_s <= 30
        manual_loop().advance(30)
        await stranger.enter(Answers([right]))


async def test_the_setter_is_asked_once_with_the_code_at_hand(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        await ends.switch_on()
        owner = await ends.phone()
        active = await (await owner.enter()).set_passcode()
        answers = Answers([active.passcode])
        await (await owner.enter(answers, ask_first=True)).close()
        assert answers.asked == 1
        await owner.enter(answers, ask_first=True)
        assert answers.asked == 1


async def test_two_apps_setting_at_once_leave_one_passcode_and_one_explanation(
    tmp_path: Path,
) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on()
        one, other = await ends.phone("one"), await ends.phone("other")
        first, second = await one.enter(), await other.enter()
        outcomes = await asyncio.gather(
            first.set_passcode(), second.set_passcode(), return_exceptions=True
        )
        refused = [each for each in outcomes if isinstance(each, BaseException)]
        assert len(refused) == 1
        assert isinstance(refused[0], errors.ChangedElsewhere | errors.LinkLost)
        assert daemon.service.guard.durable.generation == 1
        winner, loser = (one, other) if refused[0] is outcomes[1] else (other, one)
        assert (await winner.enter()).role == "owner"
        with pytest.raises((errors.PasscodeNeeded, errors.ChangedElsewhere)):
            await loser.enter()


async def test_a_rotation_keeps_the_phones_and_ends_the_old_passcode(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, old = await protected(ends)
        user = await ends.phone("user")
        await (await user.enter(Answers([old]))).close()
        new = (await (await owner.enter()).rotate_passcode()).passcode
        assert (await user.enter()).generation == 2
        fresh = await ends.phone("fresh")
        with pytest.raises(errors.PasscodeWrong):
            await fresh.enter(Answers([old]))
        await fresh.enter(Answers([new]))


async def test_a_forgotten_phone_must_enter_the_passcode_again(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, right = await protected(ends)
        user = await ends.phone("user")
        inside = await user.enter(Answers([right]))
        listed = await owner.enter()
        (bond,) = [phone for phone in await listed.phones() if phone.name == "user"]
        await listed.forget_phone(bond.id)
        await closed(inside)
        await listed.close()
        user.vault.update(
            SERIAL, lambda known: Known(SERIAL, bond=known.bond, identity=known.identity)
        )
        with pytest.raises(errors.PasscodeNeeded):
            await user.enter()


async def test_a_user_may_not_do_what_needs_an_owner(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        _, right = await protected(ends)
        user = await ends.phone("user")
        inside = await user.enter(Answers([right]))
        for method in ("bonds.list", "log.read", "pause.end", "release", "reset", "no_such"):
            with pytest.raises(errors.RoleTooLow):
                await inside.call(method)
        with pytest.raises(errors.RoleTooLow):
            await inside.rotate_passcode()


async def test_an_app_that_is_too_old_is_told_so(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on()
        old = await ends.phone(app=Version(0, 0, 1))
        with pytest.raises(errors.UpdateNeeded) as told:
            await old.enter()
        assert told.value.side == "app"
        assert daemon.service.guard.durable.generation == 0


async def test_another_charger_of_that_name_gets_nothing(tmp_path: Path) -> None:
    async with both_ends(tmp_path / "real") as ends:
        owner, _ = await protected(ends)
        await ends.switch_off()
        ends.directory = tmp_path / "imitation"
        imitation = await ends.switch_on()
        with pytest.raises(errors.IdentityMismatch):
            await owner.enter()
        assert imitation.service.guard.durable.lockout.charged == 0


async def test_a_reset_charger_is_not_taken_for_the_one_it_was(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        await ends.hold_button()
        with pytest.raises(errors.IdentityMismatch, match="no passcode any more"):
            await owner.enter()
        owner.vault.forget(SERIAL)
        inside = await owner.enter()
        assert inside.passcode_state == "open"
        assert (await inside.set_passcode()).generation == 2


async def test_a_downgrade_stays_closed_and_can_only_be_updated(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        await ends.switch_off()
        await ends.switch_on("6.7.10")
        inside = await owner.enter()
        with pytest.raises(errors.UpdateNeeded):
            await inside.status()
        assert await inside.update_offered() is not None
        assert any("stays closed" in text for text in ends.reports)


async def test_a_damaged_state_is_kept_aside_and_nobody_gets_in(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, _ = await protected(ends)
        await ends.switch_off()
        (tmp_path / "charger.sqlite").write_bytes(b"not a database" * 1000)
        await ends.switch_on()
        assert list(tmp_path.glob("charger.sqlite.corrupt-*"))
        assert any("kept aside" in text for text in ends.reports)
        with pytest.raises(errors.ProtocolError, match="cannot store or read its state"):
            await owner.enter()
        await ends.hold_button()
        owner.vault.forget(SERIAL)
        inside = await owner.enter()
        assert inside.passcode_state == "open"
        assert (await inside.set_passcode()).generation > 1


async def test_the_log_tells_the_story_and_its_chain_holds(tmp_path: Path) -> None:
    async with both_ends(tmp_path) as ends:
        owner, right = await protected(ends)
        stranger = await ends.phone()
        with pytest.raises(errors.PasscodeWrong):
            await stranger.enter(Answers([wrong_for(right)]))
        events = [entry.event for entry in await (await owner.enter()).log()]
        assert events == [
            "started",
            "passcode_set",
            "attempt",
            "passcode_entered",
            "bond_added",
            "attempt",
            "passcode_unproved",
        ]


async def test_a_person_may_read_the_pop_up_for_a_minute(tmp_path: Path) -> None:
    """The receipt goes out before the charger hangs up, however old the link is."""
    async with both_ends(tmp_path) as ends:
        await ends.switch_on()
        owner = await ends.phone()
        inside = await owner.enter()
        manual_loop().advance(60)
        assert (await inside.set_passcode()).state == "active"
        again = await owner.enter()
        manual_loop().advance(60)
        assert (await again.rotate_passcode()).state == "active"


async def test_a_factory_passcode_outlives_a_damaged_state(tmp_path: Path) -> None:
    factory = tmp_path / "factory"
    factory.write_text("482913\n")
    async with both_ends(tmp_path / "charger") as ends:
        await ends.switch_on(factory_passcode_file=factory)
        phone = await ends.phone()
        await (await phone.enter(Answers(["482913"]))).close()
        await ends.switch_off()
        (tmp_path / "charger" / "charger.sqlite").write_bytes(b"not a database" * 1000)
        daemon = await ends.switch_on()
        await ends.hold_button()
        assert daemon.service.guard.durable.mode is Mode.PROTECTED
        phone.vault.forget(SERIAL)
        await phone.enter(Answers(["482913"]))
