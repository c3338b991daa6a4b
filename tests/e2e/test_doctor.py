"""`chargepin doctor` as people type it: with a radio, and where there is none at all."""

import json
from pathlib import Path

from e2e.programs import NAME, stage, typed


async def test_export_tells_our_charger_from_the_makers(tmp_path: Path) -> None:
    async with stage(tmp_path / "stage") as on:
        await on.start_radio()
        await on.start_charger()
        ours = json.loads((await on.type("owner", "export", "esphome", NAME, "--json")).out)
        assert (ours["charger"], ours["kind"]) == (NAME, "ours")
        assert f'mac_address: "{ours["address"]}"' in ours["yaml"]


async def test_doctor_with_a_radio_and_without(tmp_path: Path) -> None:
    async with stage(tmp_path / "stage") as on:
        await on.start_radio()
        fine = await on.type("owner", "doctor", "--json")
        assert fine.code == 0, fine.out
        assert json.loads(fine.out)["fine"] is True
        home = ("--home", str(on.home("owner")))
        without = await typed("doctor", NAME, *home, "--radio", "tcp:127.0.0.1:1", "--json")
        assert without.code == 1
        bad = {each["what"]: each for each in json.loads(without.out)["findings"]}
        assert "no radio answers there" in bad["radio"]["text"]
        assert bad["charger"]["fine"] is False
        nonsense = await typed("doctor", "eWB12345", *home)
        assert nonsense.code == 2
        assert "EasyWallbox" in nonsense.err


async def test_doctor_goes_on_without_a_home_that_works(tmp_path: Path) -> None:
    async with stage(tmp_path / "stage") as on:
        await on.start_radio()
        await on.start_charger()
        home = on.home("owner")
        home.mkdir(parents=True, mode=0o700)
        for name in ("vault.json", "account.json"):
            (home / name).write_text("{")
        looked = await on.type("owner", "doctor", NAME, "--json")
        assert looked.code == 1, looked.err
        seen = {each["what"]: each["fine"] for each in json.loads(looked.out)["findings"]}
        assert [what for what, fine in seen.items() if not fine] == [
            *("vault", "account", "passcode", "memory")  # the charger is open
        ]
        assert {"radio", "signal", "link", "services", "software"} <= seen.keys()
