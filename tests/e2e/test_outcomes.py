"""What commands say of outcomes that are neither a success nor a plain failure."""

import asyncio
import io
import json
from pathlib import Path

from chargepin.cli.main import run
from chargepin.cli.terminal import Terminal
from chargepin.cli.tour.world import Outcome
from e2e.programs import NAME, Stage, stage


async def types(on: Stage, *arguments: str, stdin: str = "") -> Outcome:
    """Have the owner run a command, in this process."""
    out, err = io.StringIO(), io.StringIO()
    terminal = Terminal(io.StringIO(stdin), out, err)
    code = await asyncio.to_thread(run, [*arguments, *on.options("owner")], terminal)
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
