"""What commands say of outcomes that are neither a success nor a plain failure."""

import asyncio
import io
import json
from pathlib import Path

from chargepin.cli.main import PASSCODE, run
from chargepin.cli.terminal import Terminal
from chargepin.cli.tour.world import Outcome
from e2e.programs import NAME, Stage, stage

PEOPLE = ("owner", "next")


async def types(on: Stage, *arguments: str, stdin: str = "", who: str = "owner") -> Outcome:
    """Have the owner, or somebody else, run a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(io.StringIO(stdin), out, err)
    code = await asyncio.to_thread(run, [*arguments, *on.options(who)], terminal)
    return Outcome(code, out.getvalue(), err.getvalue())


async def test_what_commands_say_and_come_to(tmp_path: Path) -> None:
    async with stage(tmp_path / "stage") as on:
        await on.start_radio()
        await on.start_charger()
        await a_conversation_has_a_document(on)
        await nothing_is_erased_unasked(on)
        await an_account_service_that_is_gone_takes_nothing_away(on)


async def a_conversation_has_a_document(on: Stage) -> None:
    for more in ((), ("--no-input",)):
        talk = await types(on, "connect", NAME, "--json", *more, stdin="n\nlock\nquit\n")
        assert (talk.code, json.loads(talk.out)["locked"]) == (0, True)


async def nothing_is_erased_unasked(on: Stage) -> None:
    unasked = await types(on, "reset", NAME, "--no-input")
    assert (unasked.code, unasked.out) == (1, "")
    refused = await types(on, "reset", NAME, stdin="\n")
    assert (refused.code, "Not done." in refused.out) == (1, True)
    erased = await types(on, "reset", NAME, stdin="y\n")
    assert (erased.code, "the charger is open" in erased.out) == (0, True)


async def an_account_service_that_is_gone_takes_nothing_away(on: Stage) -> None:
    account = await on.start_account()
    signup = ("signup", "somebody", "--account", on.account)
    assert (await types(on, *signup, stdin="a long password\n")).code == 0
    assert (await types(on, "claim", NAME)).code == 0
    code = json.loads((await types(on, "passcode", "set", NAME, "--json")).out)["passcode"]
    await account.end()
    shown = await types(on, "passcode", "show", NAME)
    assert (shown.code, shown.out) == (0, f"{code}\n")
    assert "does not answer. This is what this app remembers" in shown.err
    out = await types(on, "logout")
    assert out.code == 1
    assert "Here you are signed out." in out.err
    assert "not signed in" in (await types(on, "chargers")).err


async def test_nothing_is_closed_unasked(tmp_path: Path) -> None:
    async with stage(tmp_path / "stage") as on:
        await on.start_radio()
        await on.start_charger()
        code = json.loads((await types(on, "passcode", "set", NAME, "--json")).out)["passcode"]
        assert (await types(on, "passcode", "enter", NAME, stdin=f"{code}\n")).code == 0
        for more, said in ((("--no-input",), "a yes is needed"), ((), "keeps the software")):
            older = await types(on, "update", NAME, "--to", "6.7.10", *more, stdin="\n")
            assert older.code == 1
            assert said in older.err
            assert "closed to everybody until an owner updates it" in older.err + older.out
        assert "software 6.7.17, protected" in (await types(on, "status", NAME)).out
        older = await types(on, "update", NAME, "--to", "6.7.10", stdin="y\n")
        assert (older.code, "6.7.10 is installed" in older.out) == (0, True)
        closed = json.loads((await types(on, "status", NAME, "--json")).out)
        assert closed["error"]["code"] == "update_needed"
        newer = await types(on, "update", NAME, "--no-input")
        assert newer.code == 0, newer.err
        assert (await types(on, "status", NAME)).code == 0


async def test_a_passcode_that_somebody_changed_is_needed_anew(tmp_path: Path) -> None:
    async with stage(tmp_path / "stage") as on:
        await on.start_radio()
        await on.start_charger()
        code = json.loads((await types(on, "passcode", "set", NAME, "--json")).out)["passcode"]
        for who in ("owner", "user"):
            entered = await types(on, "passcode", "enter", NAME, stdin=f"{code}\n", who=who)
            assert entered.code == 0
        assert (await types(on, "passcode", "rotate", NAME, "--forget-others")).code == 0
        status = await types(on, "status", NAME, "--no-input", "--json", who="user")
        assert json.loads(status.out)["error"]["code"] == "changed_elsewhere"
        assert status.code == PASSCODE


async def test_an_owner_who_cannot_be_removed_is_told_the_way_out(tmp_path: Path) -> None:
    async with stage(tmp_path / "stage") as on:
        await on.start_radio()
        await on.start_charger()
        await on.start_account()
        for who in PEOPLE:
            signup = ("signup", who, "--account", on.account)
            assert (await types(on, *signup, stdin="a long password\n", who=who)).code == 0
        assert (await types(on, "claim", NAME)).code == 0
        stays = await types(on, "remove", NAME, "owner")
        assert stays.code == 1
        assert "by `chargepin reset`, or hold its button" in stays.err
        assert (await types(on, "reset", NAME, stdin="y\n")).code == 0
        assert (await types(on, "claim", NAME, who="next")).code == 0
        listed = [json.loads((await types(on, "chargers", "--json", who=w)).out) for w in PEOPLE]
        assert [len(chargers) for chargers in listed] == [0, 1]
