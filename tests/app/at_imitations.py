"""The app at imitated chargers: both in this process, on a virtual radio."""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from chargepin.app.charger import Charger
from chargepin.app.client import enter, find
from chargepin.app.codes import Codes
from chargepin.app.entering import Surroundings
from chargepin.app.link_bumble import BumbleRadio, open_radio
from chargepin.app.ports import Prompt
from charger.imitated import SERIAL, Bench, bench
from ends import APP, MemoryVault

CODE = "482913"


class App:
    """One home. prompt: the person, None if nobody is there."""

    def __init__(self, radio: BumbleRadio, vault: MemoryVault, answers: Prompt | None) -> None:
        self.vault = vault
        self.surroundings = Surroundings(
            radio,
            vault,
            APP,
            "app",
            secrets.token_bytes,
            prompt=answers,
            codes=Codes(vault, answers),
        )

    async def enter(self) -> Charger:
        return await enter(self.surroundings, await find(self.surroundings, SERIAL))


@asynccontextmanager
async def app_at(
    on: Bench,
    answers: Prompt | None = None,
    *,
    vault: MemoryVault | None = None,
    bonds: Path | None = None,
) -> AsyncIterator[App]:
    """A home's app on the bench's radio. bonds: where its Bluetooth bonds are kept."""
    kept = vault or MemoryVault()
    codes = Codes(kept, answers)
    radio = await open_radio(
        on.room.address,
        address="F0:00:00:00:0A:01",
        bonds=bonds,
        ask_code=codes.ask if codes.any else None,
    )
    app = App(radio, kept, answers)
    app.surroundings = Surroundings(
        radio, kept, APP, "app", secrets.token_bytes, prompt=answers, codes=codes
    )
    try:
        yield app
    finally:
        await radio.close()


@asynccontextmanager
async def imitating(
    directory: Path, version: str, passcode: str | None = None, **more: Any
) -> AsyncIterator[Bench]:
    """A radio with a charger that runs this software."""
    async with bench(directory) as on:
        await on.switch_on(version, passcode, **more)
        yield on
