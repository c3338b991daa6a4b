"""The library's heart: find a charger, get in, ask it things, give it a passcode."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass

import msgspec

from chargepin.app import assigning, pairing
from chargepin.app.entering import Inside, Surroundings, WayIn
from chargepin.app.errors import (
    ChargerRefused,
    LinkLost,
    NotFound,
    PasscodeNotSet,
    ProtocolError,
    RoleTooLow,
    UpdateNeeded,
)
from chargepin.app.ports import Candidate, Found
from chargepin.core import bapi
from chargepin.core.catalogue import PASSCODE_SINCE, Version, name_of, serial_of
from chargepin.core.identity import Flag, State
from chargepin.core.log import Entry as LogEntry
from chargepin.core.log import Head, LogBroken, verify

SEEK_FOR_S = 10.0
PROGRESS_EVERY_S = 0.2
RESTART_WITHIN_S = 10.0


class Status(msgspec.Struct, frozen=True):
    """One look at a charger.

    state: what it is doing, in words. power_kw, current_a (the limit), energy_kwh (this session).
    passcode: "open", "protected" or "unsupported". role: of this session.
    """

    name: str
    software: str
    state: str
    power_kw: float
    current_a: int
    energy_kwh: float
    locked: bool
    passcode: str
    role: str


class Phone(msgspec.Struct, frozen=True):
    """One phone that the charger knows; created and seen are Unix seconds, 0 unknown.

    kind: "app" for a bond of ours, "bluetooth" for a phone that paired by its own dialog.
    """

    id: str
    name: str
    role: str
    created: int
    seen: int
    this: bool
    kind: str = "app"


@dataclass(frozen=True, slots=True)
class _Update:
    percent: int
    state: str
    error: str | None


class Charger:
    """A connection to one charger that may be asked things. Made by `enter`."""

    def __init__(
        self,
        serial: str,
        inside: Inside,
        surroundings: Surroundings,
        randbelow: Callable[[int], int],
        software: Version,
    ) -> None:
        self.serial = serial
        self.name = name_of(serial)
        self.software = software
        self._inside = inside
        self._with = surroundings
        self._randbelow = randbelow

    @property
    def role(self) -> str:
        """What this app may do: "user", "admin" or "owner"."""
        return self._inside.role

    @property
    def passcode_state(self) -> str:
        """Say "open", "protected", or "unsupported" for software older than 6.7.17."""
        params = self._inside.params
        if params is None:
            return "unsupported"
        return "open" if params.state is State.OPEN else "protected"

    @property
    def generation(self) -> int:
        """Of the charger's passcode; 0 before the first."""
        return self._inside.params.generation if self._inside.params else 0

    @property
    def identity(self) -> bytes | None:
        """The charger's Ed25519 public key, None without the passcode service."""
        return self._inside.params.identity if self._inside.params else None

    @property
    def presence_needed(self) -> bool:
        """Whether a first passcode needs somebody at the charger's button."""
        params = self._inside.params
        return params is not None and bool(params.flags & Flag.PRESENCE_NEEDED)

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._inside.link.closed

    @property
    def unanswered(self) -> bool:
        """Whether a change was asked for and given up before the charger's answer."""
        return self._inside.session is not None and self._inside.session.unanswered

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once when the connection is gone."""
        self._inside.link.on_close(callback)

    async def close(self) -> None:
        """Hang up."""
        await self._inside.link.close()

    # ---- everyday -------------------------------------------------------------------------

    async def call(self, method: str, par: object = None) -> object:
        """Call any method, stock or ours; returns the reply's value."""
        if self._inside.session is not None:
            return await self._inside.session.request(method, par)
        assert self._inside.stock is not None  # noqa: S101 - one of the two is there
        return await self._inside.stock.request(method, par)

    async def status(self) -> Status:
        """Read what the charger is doing."""
        data = _object(await self.call("r_dat"))
        locked = await self.call("r_lck")
        number = _number(data, "st")
        return Status(
            name=self.name,
            software=str(self.software),
            state=STATES.get(int(number), f"state {int(number)}"),
            power_kw=_number(data, "cp"),
            current_a=int(_number(data, "cur")),
            energy_kwh=_number(data, "en") / 100,
            locked=locked == 1,
            passcode=self.passcode_state,
            role=self.role,
        )

    # ---- passcode -------------------------------------------------------------------------

    async def set_passcode(self) -> Candidate:
        """Have a passcode assigned; the charger then hangs up on everybody, this app included.

        Raises UpdateNeeded below 6.7.17, ChargerRefused, ChangedElsewhere, and LinkLost with
        may_have_happened when the answer was lost.
        """
        return await self._assign(first=True, keep=None)

    async def rotate_passcode(self, *, keep: Sequence[str] | None = None) -> Candidate:
        """Replace the passcode. keep: ids of the bonds that live on; None keeps them all."""
        return await self._assign(first=False, keep=keep)

    async def _assign(self, *, first: bool, keep: Sequence[str] | None) -> Candidate:
        session, params = self._inside.session, self._inside.params
        if session is None or params is None:
            raise UpdateNeeded(
                f"{self.name} runs {self.software}; a passcode needs {PASSCODE_SINCE} or newer."
                " Update the charger first. Nothing was changed.",
                side="charger",
                needed=str(PASSCODE_SINCE),
            )
        if not first and params.state is State.OPEN:
            raise PasscodeNotSet(f"{self.name} has no passcode yet. Set one first.")
        if first and params.state is not State.OPEN:
            raise ChargerRefused(
                f"{self.name} has a passcode already. It can be rotated, not set again.",
                refusal="already_set",
            )
        if self.role != "owner":
            raise RoleTooLow(
                f"This app is a {self.role} of {self.name}; only an owner may do that."
            )
        active = await assigning.assign(
            self.serial, session, params, self._with, self._randbelow, keep=keep, first=first
        )
        await self.close()
        return active

    async def end_pause(self) -> None:
        """End the pause after wrong passcodes. Needs an admin."""
        await self.call("pause.end")

    async def claim(self, account: str, root_key: str, nonce: str) -> tuple[str, str]:
        """Have the charger sign that it belongs to an account: claim and signature, in hex."""
        wish = {"account": account, "root_key": root_key, "nonce": nonce}
        value = _object(await self.call("claim", wish))
        return str(value.get("claim", "")), str(value.get("signature", ""))

    # ---- phones, log, update --------------------------------------------------------------

    async def phones(self) -> list[Phone]:
        """List the bonds. Needs an admin."""
        phones: list[Phone] = []
        after: object = 0
        while after is not None:
            page = _object(await self.call("bonds.list", {"after": after}))
            phones += msgspec.convert(page.get("bonds", []), list[Phone])
            after = page.get("next")
        return phones

    async def forget_phone(self, bond_id: str) -> None:
        """Forget one bond: the own one, or any as an admin."""
        await self.call("bonds.forget", {"id": bond_id})

    def open_pairing(self, name: str = "") -> AsyncGenerator[pairing.PairingNotice, None]:
        """Open a pairing window of two minutes, for a phone's own dialog. Needs an admin.

        Yields a PairingCode for each attempt, and at last a WindowClosed, after a PhonePaired if a
        phone did pair. Closing the generator closes the window. name: what the phone shall be
        called. Raises PasscodeNotSet on an open charger, which phones pair with as they are.
        """
        session = self._inside.session
        if session is None or self.passcode_state != "protected":
            raise PasscodeNotSet(f"{self.name} has no passcode yet. Set one first.")
        return pairing.window(session, name)

    async def presence_policy(self) -> bool:
        """Whether a first passcode needs somebody at the charger's button."""
        return _object(await self.call("policy.get")).get("first_set_needs_presence") is True

    async def set_presence_policy(self, *, needed: bool) -> None:
        """Decide it. Needs an owner."""
        await self.call("policy.set", {"first_set_needs_presence": needed})

    async def log(self, after: int = 0) -> list[LogEntry]:
        """Read the security log from after a sequence on, its chain verified. Needs an admin.

        Raises ProtocolError when the chain does not hold.
        """
        entries: list[LogEntry] = []
        while True:
            page = _object(await self.call("log.read", {"after": after}))
            read = msgspec.convert(page.get("entries", []), list[LogEntry])
            if not read:
                break
            entries += read
            after = read[-1].sequence
        if entries:
            before = Head(entries[0].sequence - 1, entries[0].previous)
            try:
                verify(entries, before)
            except LogBroken as broken:
                raise ProtocolError(f"The charger's log was tampered with: {broken}.") from broken
        return entries

    async def reset(self) -> None:
        """Erase passcode, bonds, policy and claim; this app forgets the charger. Needs an owner."""
        await self.call("reset")
        self._with.vault.forget(self.serial)
        await self.close()

    async def update_offered(self) -> Version | None:
        """The newest software that the charger could install, None if it runs that."""
        value = _object(await self.call("gupdc"))
        version = value.get("version")
        return Version.parse(str(version)) if value.get("update") and version else None

    async def update(self, version: Version | None = None) -> AsyncGenerator[int, None]:
        """Install software (None: the newest), yielding percent until the charger restarts."""
        gone = asyncio.Event()
        self.on_close(gone.set)
        await self.call("supds", str(version) if version else None)
        percent = 0
        yield percent
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            try:
                seen = _progress(_object(await self.call("supdp")))
            except LinkLost:
                break  # it restarts
            if seen.error:
                raise ChargerRefused(
                    f"The update failed: {seen.error}. The old software stays.", refusal="update"
                )
            if seen.percent != percent:
                percent = seen.percent
                yield percent
            if seen.state == "installed":
                break
        try:
            async with asyncio.timeout(RESTART_WITHIN_S):
                await gone.wait()  # it hangs up to restart; whoever connects before finds the old
        except TimeoutError:
            await self.close()


def _progress(value: dict[str, object]) -> _Update:
    error = value.get("err")
    return _Update(int(_number(value, "pct")), str(value.get("st")), str(error) if error else None)


async def find(surroundings: Surroundings, charger: str, within_s: float = SEEK_FOR_S) -> Found:
    """Look for a charger by name or serial. Raises NotFound after within_s seconds."""
    name = name_of(serial_of(charger))
    try:
        async with asyncio.timeout(within_s), aclosing(surroundings.radio.scan()) as seen:
            async for found in seen:
                if found.name == name:
                    return found
    except TimeoutError:
        pass
    raise NotFound(
        f"{name} is not in range, or switched off. Stand within ten metres, and see that no other"
        " phone or gateway holds its connection.",
        retry_after_s=0.0,
    )


async def enter(
    surroundings: Surroundings,
    found: Found,
    randbelow: Callable[[int], int],
    on_event: Callable[[bapi.Event], None] = lambda _: None,
) -> Charger:
    """Connect to a charger and get in, or raise the one error that says why not."""
    serial = serial_of(found.name)
    inside = await WayIn(surroundings, found, serial, on_event).enter()
    try:
        if inside.session is not None and inside.params is not None:
            await assigning.settle(serial, inside.session, inside.params, surroundings)
        if inside.params is not None:
            software = inside.params.software
        else:
            assert inside.stock is not None  # noqa: S101 - one of the two is there
            software = _software(await inside.stock.request("fw_v_"))
    except BaseException:
        await inside.link.close()
        raise
    return Charger(serial, inside, surroundings, randbelow, software)


def _software(value: object) -> Version:
    try:
        return Version.parse(str(_object(value).get("s", "")))
    except ValueError as error:
        raise ProtocolError("The charger does not tell its software version.") from error


def _object(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ProtocolError("The charger's answer has another shape than it should.")
    return value


def _number(value: dict[str, object], name: str) -> float:
    number = value.get(name, 0)
    return float(number) if isinstance(number, int | float) else 0.0


STATES = {
    0: "ready",
    1: "charging",
    2: "connected, waiting for the car",
    3: "connected, waiting for its schedule",
    4: "paused",
    5: "schedule ended",
    6: "locked",
    7: "error",
    8: "waiting for current (power sharing)",
    9: "power sharing not configured",
    10: "queued by Power Boost",
    11: "discharging",
    12: "waiting for an admin's authorisation",
    13: "MID safety margin exceeded",
    14: "OCPP unavailable",
    15: "OCPP finishing",
    16: "reserved by OCPP",
    17: "updating",
    18: "queued by Eco-Smart",
    19: "connected, no current",
}
