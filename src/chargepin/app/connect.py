"""Wiring of the app: a home's vault, radio and account; and `connect`, the library's door."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chargepin import __version__
from chargepin.app.client import Charger, enter, find, heard
from chargepin.app.codes import Codes
from chargepin.app.entering import Surroundings
from chargepin.app.errors import AccountRefused
from chargepin.app.holding import Holder, Notice
from chargepin.app.home import home_of, settings_of
from chargepin.app.lending import lendable
from chargepin.app.ports import (
    NOT_TOLD_DBM,
    SIGN_IN_FILE,
    Accounts,
    Candidate,
    Found,
    Prompt,
    Radio,
    Vault,
)
from chargepin.app.radios import RenewedRadio, radio_of
from chargepin.app.vault import open_vault
from chargepin.core import bapi
from chargepin.core.catalogue import Version, name_of, serial_of

if TYPE_CHECKING:
    from chargepin.app.account import AccountClient

APP_VERSION = Version.parse(__version__)


class LateAccount:
    """The account a home is signed in to, opened only when it is asked something.

    A phone that the charger knows needs no account, and loading an HTTP client takes as long as
    the whole connection.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._opened: AccountClient | None = None

    async def charger_id(self, serial: str) -> str | None:
        return await self._client().charger_id(serial)

    async def passcodes(self, charger_id: str) -> Sequence[Candidate]:
        return await self._client().passcodes(charger_id)

    async def assign(self, charger_id: str, expected_generation: int) -> Candidate | None:
        return await self._client().assign(charger_id, expected_generation)

    async def deliver(self, charger_id: str, receipt: str, signature: str) -> None:
        await self._client().deliver(charger_id, receipt, signature)

    async def close(self) -> None:
        """Close what was opened."""
        if self._opened is not None:
            await self._opened.close()

    def _client(self) -> "AccountClient":
        if self._opened is None:
            from chargepin.app.account import open_account  # noqa: PLC0415 - see above

            self._opened = open_account(self._home)
        if self._opened is None:
            raise AccountRefused("This home is signed in no longer.", refusal="not_signed_in")
        return self._opened


def account_of(home: Path) -> LateAccount | None:
    """The account that a home is signed in to, if it is."""
    return LateAccount(home) if (home / SIGN_IN_FILE).exists() else None


@asynccontextmanager
async def surroundings_of(
    home: Path | None,
    *,
    radio: str | Radio | None = None,
    vault: Vault | None = None,
    account: Accounts | None = None,
    prompt: Prompt | None = None,
    seen: object = None,
) -> AsyncIterator[Surroundings]:
    """Open everything that one home's app works with; closes what it opened.

    home: see home_of. account: by default the one that the home is signed in to, if it is. seen:
    see radio_of.
    """
    place, default_home = home_of(home)
    vault = vault or open_vault(place, default_home=default_home)
    late = account_of(place) if account is None else None
    codes = Codes(vault, prompt)
    opened: Radio | None = None
    if radio is None or isinstance(radio, str):
        opening = partial(radio_of, radio, place, codes, seen)
        opened = radio = RenewedRadio(await opening(), opening)
    try:
        yield Surroundings(
            radio=radio,
            vault=vault,
            app=APP_VERSION,
            name=settings_of(place).name,
            random=secrets.token_bytes,
            account=account or late,
            prompt=prompt,
            codes=codes,
        )
    finally:
        if opened is not None:
            await opened.close()
        if late is not None:
            await late.close()


async def scan(
    within_s: float = 5.0, *, home: Path | None = None, radio: str | Radio | None = None
) -> list[Found]:
    """Listen for so many seconds; gives the chargers that were heard, the strongest first.

    Each is what `connect` and `hold` take. Raises NoRadio.
    """
    if radio is not None and not isinstance(radio, str):
        return await heard(radio, within_s)
    opened = await radio_of(radio, home_of(home)[0])
    try:
        return await heard(opened, within_s)
    finally:
        await opened.close()


class Peripheral(Protocol):
    """What bleak's BLEDevice has of what is needed here."""

    @property
    def address(self) -> str: ...

    @property
    def name(self) -> str | None: ...


@asynccontextmanager
async def connect(
    charger: str | Found | Peripheral,
    *,
    home: Path | None = None,
    radio: str | Radio | None = None,
    vault: Vault | None = None,
    account: Accounts | None = None,
    prompt: Prompt | None = None,
    on_event: Callable[[bapi.Event], None] = lambda _: None,
) -> AsyncIterator[Charger]:
    """Connect to a charger and get in; hangs up at the end.

    charger: "WB123456", "123456", what `scan` found, or bleak's BLEDevice. home: where settings
    and secrets are, by default CHARGEPIN_HOME. radio: "tcp:HOST:PORT", a Bumble transport, or one
    that is open; by default CHARGEPIN_RADIO, else the computer's own Bluetooth. Passcodes come
    from the vault, then the account, then the prompt.
    Raises one ChargepinError per cause, see chargepin.errors; ValueError for what is no charger's
    name.
    """
    async with surroundings_of(
        home, radio=radio, vault=vault, account=account, prompt=prompt, seen=charger
    ) as surroundings:
        entered = await _entered(surroundings, charger, on_event)
        try:
            yield entered
        finally:
            await entered.close()


async def _entered(
    surroundings: Surroundings,
    charger: str | Found | Peripheral,
    on_event: Callable[[bapi.Event], None],
) -> Charger:
    if isinstance(charger, str):
        found = await find(surroundings, charger)
    elif isinstance(charger, Found):
        found = charger
    else:
        found = Found(charger.address, name_of(serial_of(charger.name or "")), NOT_TOLD_DBM)
    return await enter(surroundings, found, on_event)


@asynccontextmanager
async def hold(
    charger: str | Found | Peripheral,
    *,
    home: Path | None = None,
    radio: str | Radio | None = None,
    vault: Vault | None = None,
    account: Accounts | None = None,
    prompt: Prompt | None = None,
    on_event: Callable[[bapi.Event], None] = lambda _: None,
    on_notice: Callable[[Notice], None] = lambda _: None,
) -> AsyncIterator[Holder]:
    """Connect and stay connected until the end, whatever the radio does; see Holder.

    The first connection raises as `connect` does, and may ask the prompt; later ones ask nobody.
    `chargepin pause` has it hang up for a while.
    """
    async with surroundings_of(
        home, radio=radio, vault=vault, account=account, prompt=prompt, seen=charger
    ) as surroundings:
        first = await _entered(surroundings, charger, on_event)
        async with holding(home_of(home)[0], surroundings, first, on_event, on_notice) as holder:
            yield holder


@asynccontextmanager
async def holding(
    home: Path,
    surroundings: Surroundings,
    first: Charger,
    on_event: Callable[[bapi.Event], None] = lambda _: None,
    on_notice: Callable[[Notice], None] = lambda _: None,
) -> AsyncIterator[Holder]:
    """Hold a connection that is there, and lend it to whoever of this home asks."""
    alone = replace(surroundings, prompt=None, ask_first=False)

    async def reach() -> Charger:
        found = await find(alone, first.serial)
        return await enter(alone, found, on_event)

    holder = Holder(reach, first, on_notice)
    async with lendable(home, first.serial, holder):
        running = asyncio.create_task(holder.run())
        try:
            yield holder
        finally:
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()  # whoever waited for the connection was told
