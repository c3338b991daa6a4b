"""Each step of the tour goes red when exactly what it is about is broken, and the exit code too.

Every test breaks one thing in a world and goes through the story up to the step that is about it.
"""

import contextvars
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from chargepin.account.api import Settings
from chargepin.charger.air import LinkAuthenticated, Pairing
from chargepin.charger.bluetooth.pairing import Pairings
from chargepin.cli.story import conclude
from chargepin.cli.terminal import Terminal, use
from chargepin.cli.tour.touring import STEPS, Report, tour
from chargepin.cli.tour.world import NAME
from chargepin.core.catalogue import Version
from e2e import faults
from e2e.faults import Switch, hurry
from e2e.one_process import Faults, OneProcess, Saboteur, one_process


async def found_by(directory: Path, broken: Faults, *, until: str) -> dict[str, str]:
    """The steps that do not hold in a world with faults; nothing before `until` may be red."""
    async with one_process(directory, broken) as world:
        return red_in(await tour(world, Saboteur(world), until), until)


async def found_from(first: str, directory: Path, broken: Faults, *, until: str) -> dict[str, str]:
    """The same from a step on, for faults that begin there or later.

    The world is one where a passcode is set and its owner known.
    """
    async with one_process(directory, replace(broken, software="6.7.17")) as world:
        for command in ("passcode set", "status --no-input"):
            assert (await world.type("owner", *command.split(), NAME)).code == 0
        steps = STEPS[[step.name for step in STEPS].index(first) :]
        return red_in(await tour(world, Saboteur(world), until, steps), until)


async def found_at_dialog(directory: Path, broken: Faults, *, until: str) -> dict[str, str]:
    return await found_from("phone-dialog-refused-outside", directory, broken, until=until)


def red_in(report: Report, until: str) -> dict[str, str]:
    assert report.steps[-1].name == until
    assert exit_code(report) == 1
    return {step.name: step.detail for step in report.steps if not step.ok}


def exit_code(report: Report) -> int:
    """What `chargepin tour` ends with after this report."""

    def concluding() -> int:
        use(Terminal(io.StringIO(), io.StringIO(), io.StringIO()))
        try:
            conclude(report)
        except typer.Exit as ended:
            return ended.exit_code
        return 0

    return contextvars.copy_context().run(concluding)


def typing_at(step: str, who: str, replacement: tuple[str, str] | None) -> Faults:
    """From a step on, somebody types something else; None for nothing at all.

    replacement: an argument that is added, and the keys that are pressed instead.
    """
    switch = Switch()

    def typing(
        person: str, arguments: tuple[str, ...], keys: str
    ) -> tuple[tuple[str, ...], str] | None:
        if not switch.on or person != who:
            return arguments, keys
        if replacement is None:
            return None
        added, pressed = replacement
        return (*arguments, *([added] if added else [])), pressed

    return Faults(typing=typing, before={step: switch.turn})


async def test_update_offered_on_new_software(tmp_path: Path) -> None:
    red = await found_by(tmp_path, Faults(software="6.7.17"), until="update-offered")
    assert red == {"update-offered": "the app offered no update"}


async def test_updated_by_words_only(tmp_path: Path) -> None:
    red = await found_by(tmp_path, typing_at("updated", "owner", None), until="updated")
    assert red == {"updated": "the charger advertises no passcode service"}


async def test_updated_without_the_passcode_service(tmp_path: Path) -> None:
    broken = Faults(air=faults.no_passcode_service)
    assert list(await found_by(tmp_path, broken, until="updated")) == ["updated"]


async def test_app_version_unchecked_by_the_charger(tmp_path: Path) -> None:
    red = await found_by(tmp_path, Faults(rule=faults.any_app), until="app-version-checked")
    assert red == {"app-version-checked": "an app of version 0.0.1 was let in"}


async def test_app_version_unchecked_by_the_account(tmp_path: Path) -> None:
    broken = Faults(account=Settings(oldest_app=Version(0, 0, 0)))
    red = await found_by(tmp_path, broken, until="app-version-checked")
    assert red == {"app-version-checked": "an app of version 0.0.1 was let in"}


async def test_nothing_is_believed_without_a_capture(tmp_path: Path) -> None:
    red = await found_by(tmp_path, Faults(capture=False), until="connected-open")
    assert set(red) == {"app-version-checked", "pairing-accepted", "connected-open"}
    assert set(red.values()) == {"the radio left no capture to look at"}


async def test_pairing_that_the_charger_does_not_take(tmp_path: Path) -> None:
    switch = Switch()
    refuses = faults.pairs_with_all(switch, Pairing.REFUSED)
    broken = Faults(air=refuses, before={"pairing-accepted": switch.turn})
    red = await found_by(tmp_path, broken, until="pairing-accepted")
    assert red == {"pairing-accepted": "TurnedAway: pairing_not_supported"}


async def test_pairing_that_the_charger_forgets(tmp_path: Path) -> None:
    switch = Switch()
    broken = Faults(air=faults.keeps_no_bond(switch), before={"pairing-accepted": switch.turn})
    red = await found_by(tmp_path, broken, until="pairing-accepted")
    assert red == {"pairing-accepted": "the charger kept no bond"}


async def test_open_charger_that_lets_nobody_in(tmp_path: Path) -> None:
    broken = Faults(rule=faults.closed_while_open)
    assert list(await found_by(tmp_path, broken, until="connected-open")) == ["connected-open"]


async def test_passcode_set_against_the_owners_will(tmp_path: Path) -> None:
    broken = typing_at("passcode-offered", "owner", ("", "y\n"))
    assert list(await found_by(tmp_path, broken, until="passcode-offered")) == ["passcode-offered"]


async def test_pop_up_that_is_not_shown(tmp_path: Path) -> None:
    broken = typing_at("passcode-offered", "owner", ("--no-input", ""))
    red = await found_by(tmp_path, broken, until="passcode-offered")
    assert red == {"passcode-offered": "no pop-up was shown"}


async def test_another_verifier_than_that_of_the_passcode(tmp_path: Path) -> None:
    broken = Faults(rule=faults.other_verifier)
    red = await found_by(tmp_path, broken, until="passcode-assigned")
    assert list(red) == ["passcode-assigned"]


async def test_passcode_that_the_account_does_not_have(tmp_path: Path) -> None:
    def unclaimed(
        _: str, arguments: tuple[str, ...], keys: str
    ) -> tuple[tuple[str, ...], str] | None:
        return None if arguments[0] == "claim" else (arguments, keys)

    red = await found_by(tmp_path, Faults(typing=unclaimed), until="passcode-assigned")
    assert red == {"passcode-assigned": "the account has another passcode than was shown"}


async def test_charger_that_hangs_up_on_nobody(tmp_path: Path) -> None:
    broken = Faults(air=faults.never_hangs_up, before={"phones-disconnected": hurry})
    red = await found_by(tmp_path, broken, until="phones-disconnected")
    assert list(red) == ["phones-disconnected"]
    assert red["phones-disconnected"].startswith("still connected: a phone without the app, ")


async def test_setter_who_is_not_asked(tmp_path: Path) -> None:
    broken = typing_at("entry-required", "owner", ("--no-input", ""))
    assert list(await found_by(tmp_path, broken, until="entry-required")) == ["entry-required"]


async def test_attempt_that_is_not_charged(tmp_path: Path) -> None:
    broken = Faults(rule=faults.forgets_attempts)
    red = await found_by(tmp_path, broken, until="wrong-passcode-refused")
    (told,) = red.values()
    assert red.keys() == {"wrong-passcode-refused"}
    assert told in {"the charger's log has nothing", "the charger's log has passcode_unproved"}


async def test_setter_who_is_no_owner(tmp_path: Path) -> None:
    red = await found_by(tmp_path, Faults(rule=faults.no_owner), until="passcode-entered")
    assert red == {"passcode-entered": "the charger's bonds have the roles ['user']"}


async def test_phone_that_is_asked_again(tmp_path: Path) -> None:
    red = await found_by(tmp_path, Faults(rule=faults.no_bonds), until="bonded-reconnect")
    assert list(red) == ["bonded-reconnect"]


async def test_charger_that_forgets_in_a_power_cut(tmp_path: Path) -> None:
    broken = Faults(after_power_cut=faults.forgets_everything)
    red = await found_by(tmp_path, broken, until="same-passcode-later")
    assert list(red) == ["same-passcode-later"]


async def test_share_that_is_taken_away(tmp_path: Path) -> None:
    async def remove(world: OneProcess) -> None:
        assert (await world.type("owner", "remove", NAME, "second")).code == 0

    broken = Faults(before={"shared-with-second-user": remove})
    red = await found_by(tmp_path, broken, until="shared-with-second-user")
    assert list(red) == ["shared-with-second-user"]


async def test_second_user_who_shares_a_vault(tmp_path: Path) -> None:
    broken = Faults(homes=lambda who: {"second": "tablet"}.get(who, who))
    red = await found_by(tmp_path, broken, until="shared-with-second-user")
    assert red == {"shared-with-second-user": "the second user's app was not off"}


async def test_invitation_that_gives_no_access(tmp_path: Path) -> None:
    broken = typing_at("same-passcode-later", "third", None)
    red = await found_by(tmp_path, broken, until="invited-later-has-it")
    assert list(red) == ["invited-later-has-it"]


@pytest.mark.parametrize(
    ("fault", "doors"),
    [
        ("stock", ["stock read", "stock write", "stock subscribe"]),
        ("pairing", ["Just Works pairing", "passkey pairing"]),
        ("open", ["our service, as if open"]),
        ("bond", ["our service, guessed bond"]),
        ("proof", ["our service, no proof"]),
    ],
)
async def test_door_that_stands_open(tmp_path: Path, fault: str, doors: list[str]) -> None:
    switch = Switch()

    async def now(world: OneProcess) -> None:
        await switch.turn(world)
        if fault == "proof":
            await hurry(world)  # nobody hangs up, for which the step waits

    before = {"stranger-refused": now}
    broken = {
        "stock": Faults(air=faults.stock_for_all(switch), before=before),
        "pairing": Faults(air=faults.pairs_with_all(switch), before=before),
        "open": Faults(rule=switch.rule(faults.open_to_the_open), before=before),
        "bond": Faults(rule=switch.rule(faults.any_bond), before=before),
        "proof": Faults(air=faults.hangs_up_on_nobody(switch), before=before),
    }[fault]
    step = "stranger-refused"
    red = await found_from(step, tmp_path, broken, until=step)
    assert red == {"stranger-refused": f"let a stranger in: {', '.join(doors)}"}


async def test_guessing_without_a_pause(tmp_path: Path) -> None:
    broken = Faults(rule=faults.never_pauses)
    red = await found_by(tmp_path, broken, until="owner-still-in")
    assert set(red) == {"paused-after-failures", "owner-still-in"}


async def test_pause_that_the_owner_cannot_end(tmp_path: Path) -> None:
    broken = Faults(rule=faults.pauses_for_ever)
    red = await found_by(tmp_path, broken, until="owner-still-in")
    assert red == {"owner-still-in": "a stranger is told that the pause goes on"}


async def test_pause_that_keeps_the_owner_out(tmp_path: Path) -> None:
    broken = Faults(rule=faults.pauses_bonds)
    red = await found_by(tmp_path, broken, until="owner-still-in")
    assert list(red) == ["owner-still-in"]


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ("pairs", "the charger let the guest's phone pair"),
        ("prompts", "the phone asked for a code that nobody can know"),
        ("tempts", "the guest's phone was told: insufficient_authentication, "),
        ("mute", "the guest's phone was told: insufficient_authorization, no answer"),
    ],
)
async def test_dialog_outside_a_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, finding: str
) -> None:
    step, switch = "phone-dialog-refused-outside", Switch()

    async def now(world: OneProcess) -> None:
        await switch.turn(world)
        if fault == "mute":
            monkeypatch.setattr(Pairings, "heard", lambda *_: None)
            await hurry(world, 11.0)  # then phones give up, and the charger does not yet hang up

    air = {
        "pairs": faults.pairs_with_all(switch),
        "prompts": faults.pairs_with_all(switch, Pairing.PASSKEY),
        "tempts": faults.stock_asks_for_a_code(switch),
        "mute": Faults().air,
    }[fault]
    red = await found_at_dialog(tmp_path, Faults(air=air, before={step: now}), until=step)
    assert list(red) == [step]
    assert red[step].startswith(finding)


async def test_code_that_is_not_the_one_shown(tmp_path: Path) -> None:
    red = await found_at_dialog(
        tmp_path, Faults(air=faults.another_code), until="phone-dialog-code"
    )
    assert red == {"phone-dialog-code": "the guest's phone was turned away: confirm_value_failed"}


async def test_window_that_is_not_opened(tmp_path: Path) -> None:
    broken = typing_at("phone-dialog-code", "owner", None)
    red = await found_at_dialog(tmp_path, broken, until="phone-dialog-bonded")
    assert red == {
        "phone-dialog-code": "the owner was shown no code",
        "phone-dialog-bonded": "cannot be tried: no phone has paired by its own dialog",
    }


async def test_phone_that_paired_for_nothing(tmp_path: Path) -> None:
    broken = Faults(air=faults.silent_about(LinkAuthenticated), before={"phone-dialog-code": hurry})
    red = await found_at_dialog(tmp_path, broken, until="phone-dialog-code")
    assert red == {"phone-dialog-code": "the guest's phone was turned away: no answer to r_dat"}


async def test_bond_that_does_not_last(tmp_path: Path) -> None:
    async def forget(world: OneProcess) -> None:
        listed = await world.type("owner", "phones", "list", NAME, "--json")
        (bond,) = (each["id"] for each in json.loads(listed.out) if each["kind"] == "bluetooth")
        assert (await world.type("owner", "phones", "forget", NAME, bond)).code == 0

    broken = Faults(before={"phone-dialog-bonded": forget})
    red = await found_at_dialog(tmp_path, broken, until="phone-dialog-bonded")
    assert red == {
        "phone-dialog-bonded": "the guest's phone was turned away: pin_or_key_missing_error"
    }


async def test_phone_that_is_forgotten_and_stays(tmp_path: Path) -> None:
    broken = Faults(air=faults.keeps_forgotten_phones, before={"phone-dialog-bonded": hurry})
    red = await found_at_dialog(tmp_path, broken, until="phone-dialog-bonded")
    assert red == {"phone-dialog-bonded": "the phone is forgotten and still connected"}


async def test_later_steps_still_run_or_say_why_they_cannot(tmp_path: Path) -> None:
    broken = Faults(rule=faults.other_verifier)
    red = await found_by(tmp_path, broken, until=STEPS[-1].name)
    assert next(iter(red)) == "passcode-assigned"
    cannot = {name for name, detail in red.items() if detail.startswith("cannot be tried: ")}
    assert cannot >= {"wrong-passcode-refused", "passcode-entered", "same-passcode-later"}
    held = {step.name for step in STEPS} - set(red)
    assert held >= {"phones-disconnected", "entry-required"}
