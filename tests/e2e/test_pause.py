"""The connection of a live view is lent, as people type it."""

import json
from pathlib import Path

from e2e.programs import NAME, AtTerminal, stage


async def test_a_live_view_hangs_up_and_comes_back_when_asked(tmp_path: Path) -> None:
    async with stage(tmp_path / "stage") as on:
        await on.start_radio()
        await on.start_charger()
        nobody = await on.type("owner", "pause", NAME)
        assert nobody.code == 1
        assert "No program of this home holds" in nobody.err
        async with AtTerminal.of("connect", NAME, *on.options("owner")) as live:
            await live.expect("Set the passcode?")
            live.press("n\n")
            await live.expect("> ")
            lent = await on.type("owner", "pause", NAME, "--minutes", "10", "--json")
            assert json.loads(lent.out) == {"charger": NAME, "holders": 1, "minutes": 10.0}
            await live.expect("lent: hung up for ")  # 10 minutes, or what is left of them
            live.press("status\n")
            await live.expect("The connection is lent for another")
            back = await on.type("owner", "pause", NAME, "--minutes", "0")
            assert back.code == 0
            await live.expect("Connected.")
            live.press("lock\n")
            await live.expect("locked")
            live.press("quit\n")
            assert await live.end() == 0
