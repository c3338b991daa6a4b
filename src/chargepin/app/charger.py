"""A connection to a charger: ask it things, have it do things, give it a passcode."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress

from chargepin.app import assigning, pairing, phones, updating
from chargepin.app import log as security_log
from chargepin.app.entering import Inside, Surroundings, bonding_of
from chargepin.app.errors import (
    ChargepinError,
    ChargerRefused,
    MakersAppNeeded,
    NotAnswered,
    PasscodeNotSet,
    ProtocolError,
    RoleTooLow,
    UpdateNeeded,
)
from chargepin.app.everyday import is_locked, pause_value
from chargepin.app.phones import Phone
from chargepin.app.ports import Candidate
from chargepin.app.session import Session
from chargepin.app.status import (
    Status,
    number_of,
    object_of,
    power_kw,
    state_of,
    version_of,
)
from chargepin.core import bapi, gatt
from chargepin.core.catalogue import PASSCODE_SINCE, Version, name_of
from chargepin.core.identity import Flag, State
from chargepin.core.log import Entry as LogEntry
from chargepin.machine.clock import running_s

RESTART_WITHIN_S = 10.0
_KEEPS_ROLE_WITHIN_S = 3.0


class Charger:
    """A connection to one charger that may be asked things. Made by `enter`.

    software: as the charger tells it; None where that is no version. asked_s: running seconds at
    which it was last asked something.
    """

    def __init__(
        self,
        serial: str,
        inside: Inside,
        surroundings: Surroundings,
        software: str,
    ) -> None:
        self.serial = serial
        self.name = name_of(serial)
        self.software = version_of(software)
        self.software_text = software or "unknown"
        self._inside = inside
        self._with = surroundings
        self._raising: asyncio.Task[None] | None = None
        self.asked_s = running_s()
        if inside.session is not None:
            inside.session.listen(lambda _: self._look_at_role())
            self._look_at_role()

    @property
    def role(self) -> str:
        """What this app may do: "user", "admin" or "owner"."""
        session = self._inside.session
        return (session.raised if session is not None else None) or self._inside.role

    @property
    def makers(self) -> bool:
        """Whether only the maker's own service is here: its passcode is set in the maker's app."""
        return self._inside.session is None and (
            self.software is None or self.software >= PASSCODE_SINCE
        )

    @property
    def passcode_state(self) -> str:
        """Say "open" or "protected"; "unsupported" for software older than 6.7.17.

        "unknown" for a charger with the maker's own software, which does not say.
        """
        params = self._inside.params
        if params is None:
            return "unknown" if self.makers else "unsupported"
        return "open" if params.state is State.OPEN else "protected"

    @property
    def layout(self) -> gatt.Layout | None:
        """The radio module, by what it offers."""
        return gatt.layout_of(self._inside.link.characteristics)

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
        asked = self._inside.session or self._inside.stock
        return asked is not None and asked.unanswered

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once when the connection is gone."""
        self._inside.link.on_close(callback)

    async def close(self) -> None:
        """Hang up, once what the button gave this app is kept."""
        if self._raising is not None:
            await asyncio.wait([self._raising], timeout=_KEEPS_ROLE_WITHIN_S)
            self._raising.cancel()
        await self._inside.link.close()

    def _look_at_role(self) -> None:
        """Somebody pressed the charger's button: keep what that gave this app."""
        session, params = self._inside.session, self._inside.params
        if self._raising is not None or session is None or session.raised is None:
            return
        if params is not None:
            self._raising = asyncio.create_task(self._keep_role(session, params.generation))

    async def _keep_role(self, session: Session, generation: int) -> None:
        bonding = bonding_of(self.serial, self._with)
        await bonding.raise_to(self.role, session, generation)

    # ---- everyday -------------------------------------------------------------------------

    async def call(self, method: str, par: object = None) -> object:
        """Call any method, stock or ours; returns the reply's value.

        At the maker's own service a write is read back, since "done" and "ignored" look the same
        there: raises Ignored.
        """
        self.asked_s = running_s()
        if self._inside.session is not None:
            return await self._inside.session.request(method, par)
        stock = self._inside.stock
        assert stock is not None  # noqa: S101 - one of the two is there
        known = bapi.method_of(method)
        if known.in_records_only:
            raise self._not_here()
        if known.kind is bapi.Kind.WRITE:
            return await stock.change(method, par)
        return await stock.request(method, par)

    async def start(self) -> None:
        """Start or resume charging."""
        await self.call("w_cha", 1)

    async def stop(self) -> None:
        """Pause charging. Families differ in what they call it."""
        await self.call("w_cha", await pause_value(self.call, self.layout))

    async def lock(self, *, locked: bool = True) -> None:
        """Lock or unlock."""
        await self.call("w_lck", int(locked))

    async def limit_current(self, amperes: int) -> None:
        """Set the most current per phase, in A."""
        await self.call("w_mxI", amperes)

    async def has_passcode(self) -> bool | None:
        """Whether the charger has a passcode, None where it does not tell."""
        if self._inside.stock is not None:
            return await self._inside.stock.has_passcode()
        return self.passcode_state == "protected"

    async def keep_alive(self) -> None:
        """Ask something small, so that a connection that died silently is noticed: LinkLost."""
        self.asked_s = running_s()
        if self._inside.stock is not None:
            await self._inside.stock.keep_alive()
            return
        with suppress(ChargerRefused, RoleTooLow, UpdateNeeded):  # an answer all the same
            await self.call("r_dat")

    def _not_here(self) -> ChargepinError:
        if not self.makers:
            return UpdateNeeded(
                f"{self.name} runs {self.software}; a passcode needs {PASSCODE_SINCE} or newer."
                " Update the charger first. Nothing was changed.",
                side="charger",
                needed=str(PASSCODE_SINCE),
            )
        return MakersAppNeeded(
            f"{self.name} runs the maker's own software. Its passcode, phones, users and updates"
            " are for the maker's app; chargepin can enter the passcode: `chargepin passcode enter"
            f" {self.name}`. Nothing was changed."
        )

    async def status(self) -> Status:
        """Read what the charger is doing."""
        data = object_of(await self.call("r_dat"))
        return Status(
            name=self.name,
            software=self.software_text,
            state=state_of(int(number_of(data, "st")), self.layout),
            power_kw=power_kw(data),
            current_a=int(number_of(data, "cur")),
            energy_kwh=number_of(data, "en") / 100,
            locked=await is_locked(self.call, data),
            passcode=self.passcode_state,
            role=self.role,
            tampered=self.tampered,
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
            raise self._not_here()
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
            self.serial, session, params, self._with, keep=keep, first=first
        )
        await self.close()
        return active

    async def end_pause(self) -> None:
        """End the pause after wrong passcodes. Needs an admin."""
        await self.call("pause.end")

    async def claim(self, account: str, root_key: str, nonce: str) -> tuple[str, str]:
        """Have the charger sign that it belongs to an account: claim and signature, in hex."""
        wish = {"account": account, "root_key": root_key, "nonce": nonce}
        value = object_of(await self.call("claim", wish))
        return str(value.get("claim", "")), str(value.get("signature", ""))

    # ---- phones, log, update --------------------------------------------------------------

    async def phones(self) -> list[Phone]:
        """List the bonds. Needs an admin."""
        return await phones.read(self.call)

    async def forget_phone(self, bond_id: str) -> None:
        """Forget one bond: the own one, or any as an admin."""
        await self.call("bonds.forget", {"id": bond_id})

    def open_pairing(
        self, name: str = "", *, stay: bool = True
    ) -> AsyncGenerator[pairing.PairingNotice, None]:
        """Open a pairing window of two minutes, for a phone's own dialog. Needs an admin.

        Yields a PairingCode for each attempt, and at last a WindowClosed, after a PhonePaired if a
        phone did pair; or WindowLeft, if the connection was lost or had to make room: ask another
        one for `past_pairing` then. Closing the generator closes the window. name: what the phone
        shall be called. stay: else it hangs up anyway, for the dialog of this very phone. Raises
        PasscodeNotSet on an open charger, which phones pair with as it is.
        """
        session = self._inside.session
        if session is None:
            raise self._not_here()
        if self.passcode_state != "protected":
            raise PasscodeNotSet(f"{self.name} has no passcode yet. Set one first.")
        return pairing.window(session, self.close, name, stay=stay)

    async def past_pairing(self) -> pairing.PastWindow:
        """Say what became of the newest pairing window. Needs an admin."""
        if self._inside.session is None:
            raise self._not_here()
        return await pairing.past_window(self._inside.session)

    async def presence_policy(self) -> bool:
        """Whether a first passcode needs somebody at the charger's button."""
        return object_of(await self.call("policy.get")).get("first_set_needs_presence") is True

    async def set_presence_policy(self, *, needed: bool) -> None:
        """Decide it. Needs an owner."""
        await self.call("policy.set", {"first_set_needs_presence": needed})

    async def log(self, after: int = 0) -> Sequence[LogEntry]:
        """Read the security log from after a sequence on, and verify it. Needs an admin.

        Raises ProtocolError when it can't be trusted.
        """
        found = await self.security_log(after)
        if found.finding is not None:
            raise ProtocolError(found.finding)
        return found.entries

    async def security_log(
        self, after: int = 0, progress: Callable[[int], None] = lambda _: None
    ) -> security_log.SecurityLog:
        """Read the security log, and say what is wrong with it, if anything. Needs an admin."""
        if self._inside.session is None:
            raise self._not_here()
        vault = self._with.vault
        return await security_log.read(self._inside.session, self.serial, vault, after, progress)

    @property
    def tampered(self) -> bool:
        """Whether the charger's housing was opened and no admin has put that away yet."""
        return self._inside.session is not None and self._inside.session.tampered

    async def tamper_seen(self) -> None:
        """Put that away. Needs an admin."""
        await self.call("tamper.seen")

    async def reset(self) -> None:
        """Erase passcode, bonds, policy and claim; this app forgets the charger. Needs an owner."""
        await self.call("reset")
        self._with.vault.forget(self.serial)
        await self.close()

    async def update_offered(self) -> Version | None:
        """The newest software that the charger could install, None if it runs that.

        Raises MakersAppNeeded where it does not tell, as the maker's may not.
        """
        if self.makers:
            raise self._not_here()
        try:
            return await self._offered()
        except (ChargerRefused, NotAnswered, ProtocolError) as error:
            if self._inside.stock is None:
                raise
            raise MakersAppNeeded(
                f"{self.name} does not tell what it could be updated to. Update it in the maker's"
                " app. Nothing was changed."
            ) from error

    async def _offered(self) -> Version | None:
        value = object_of(await self.call("gupdc"))
        version = value.get("version")
        try:
            return Version.parse(str(version)) if value.get("update") and version else None
        except ValueError as error:
            raise ProtocolError("The charger offers software without a version.") from error

    async def update(self, version: Version | None = None) -> AsyncGenerator[int, None]:
        """Install software (None: the newest), yielding percent until the charger restarts.

        Where the connection breaks off before it says that it is done, it is looked at again:
        raises LinkLost if it does not come back with what was wanted.
        """
        if self.makers:
            raise self._not_here()
        gone = asyncio.Event()
        self.on_close(gone.set)
        percent, before = 0, self.software
        async for percent in updating.update(self.call, version):
            yield percent
        if percent != updating.DONE_PERCENT:
            await updating.came_back(
                self._with,
                self.name,
                self.identity,
                lambda runs: runs == version if version else runs != before,
            )
        try:
            async with asyncio.timeout(RESTART_WITHIN_S):
                await gone.wait()  # it hangs up to restart; whoever connects before finds the old
        except TimeoutError:
            await self.close()
