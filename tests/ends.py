"""Both ends against each other: a real charger and real apps on a virtual radio, one process.

Their loop's time is moved by hand, so that every wait can be tested without waiting.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from chargepin.app.client import Charger, enter, find
from chargepin.app.entering import Surroundings
from chargepin.app.link_bumble import open_radio
from chargepin.app.ports import Candidate, Known
from chargepin.charger.air import Air
from chargepin.charger.daemon import Daemon, Rule
from chargepin.charger.setup import setup_of
from chargepin.core import guard
from chargepin.core.catalogue import Version
from chargepin.core.pairing_window import Draw
from chargepin.core.passcode import Passcode
from chargepin.radio import Room, serve_radio

SERIAL = "123456"
APP = Version(0, 1, 0)
PATIENCE_S = 20.0


class MemoryVault:
    """The `Vault` port for one test."""

    description = "memory"

    def __init__(self) -> None:
        self.known: dict[str, Known] = {}

    def get(self, serial: str) -> Known | None:
        return self.known.get(serial)

    def put(self, known: Known) -> None:
        self.known[known.serial] = known

    def update(self, serial: str, change: Callable[[Known], Known]) -> Known:
        self.known[serial] = change(self.known.get(serial) or Known(serial))
        return self.known[serial]

    def forget(self, serial: str) -> None:
        self.known.pop(serial, None)

    def serials(self) -> list[str]:
        return list(self.known)


@dataclass
class Answers:
    """The `Prompt` port: gives what a test wrote down, and keeps what was said."""

    passcodes: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    asked: int = 0

    async def confirm(self, question: str, *, default: bool) -> bool:
        self.said.append(question)
        return default

    async def passcode(self, question: str, *, held: Passcode | None = None) -> str:
        _ = held
        self.said.append(question)
        self.asked += 1
        return self.passcodes.pop(0)

    def tell(self, text: str) -> None:
        self.said.append(text)

    def progress(self, text: str, percent: int) -> None:
        self.said.append(f"{text} {percent}")


class Phone:
    """One app: its own vault, address and radio connection."""

    def __init__(self, surroundings: Surroundings, vault: MemoryVault) -> None:
        self.surroundings = surroundings
        self.vault = vault

    async def enter(self, prompt: Answers | None = None, *, ask_first: bool = False) -> Charger:
        """Find the charger and get in."""
        around = replace(self.surroundings, prompt=prompt, ask_first=ask_first)
        async with asyncio.timeout(PATIENCE_S):
            return await enter(around, await find(around, SERIAL))

    def tell(self, code: str, generation: int, salt: bytes) -> None:
        """Put a passcode into its vault, as an account would."""
        candidate = Candidate(generation, salt, code)
        self.vault.update(
            SERIAL, lambda known: msgspec.structs.replace(known, candidates=(candidate,))
        )


class Ends:
    """A radio, a charger on it, and any number of phones."""

    def __init__(self, room: Room, directory: Path) -> None:
        self.room = room
        self.directory = directory
        self.controller = room.address  # the charger's
        self.reports: list[str] = []
        self.daemon: Daemon | None = None
        self._running: asyncio.Task[None] | None = None
        self._phones: list[Phone] = []

    async def switch_on(
        self,
        software: str = "6.7.17",
        *,
        model: str = "pulsar-plus",
        radio_module: str | None = None,
        rule: Rule = guard.step,
        air: Callable[[Air], Air] = lambda air: air,
        factory_passcode_file: Path | None = None,
        profile: str = "none",
        powered_s_ago: float = 0.0,
        links: int | None = None,
        draw: Draw = secrets.randbelow,
    ) -> Daemon:
        """Start the charger, with what its directory remembers."""
        setup = setup_of(
            serial=SERIAL,
            model=model,
            software=software,
            directory=self.directory,
            factory_passcode_file=factory_passcode_file,
            profile=profile,
            powered_s_ago=powered_s_ago,
            radio_module=radio_module,
            links=links,
        )
        daemon = await Daemon.start(
            setup, self.controller, self.reports.append, rule=rule, air=air, draw=draw
        )
        self.daemon = daemon
        self._running = asyncio.create_task(daemon.run())
        return daemon

    async def hold_button(self) -> None:
        """Hold the button for ten seconds, and see the charger erase itself."""
        assert self.daemon is not None
        service = self.daemon.service
        before = service.guard.durable.incarnation
        service.button(held=True)
        async with asyncio.timeout(PATIENCE_S):
            while service.guard.durable.incarnation == before:  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)

    async def switch_off(self) -> None:
        """Stop the charger in good order."""
        if self.daemon is not None and self._running is not None:
            self.daemon.service.stop()
            await self._running
            await self.daemon.close()
        self.daemon = None

    async def phone(self, name: str = "phone", *, app: Version = APP) -> Phone:
        """A new phone, that knows nothing."""
        vault = MemoryVault()
        radio = await open_radio(self.room.address)
        phone = Phone(Surroundings(radio, vault, app, name, secrets.token_bytes), vault)
        self._phones.append(phone)
        return phone

    async def close(self) -> None:
        """End everything."""
        await self.switch_off()
        for phone in self._phones:
            await phone.surroundings.radio.close()
        await self.room.close()


@asynccontextmanager
async def both_ends(directory: Path) -> AsyncIterator[Ends]:
    """A room with nobody in it yet."""
    ends = Ends(await serve_radio("127.0.0.1", 0), directory)
    try:
        yield ends
    finally:
        await ends.close()
