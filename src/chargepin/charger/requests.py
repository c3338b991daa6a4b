"""Requests, once they are decoded: who may ask for what, and who answers.

They come from two doors. A session asks in its records, by its role. At the stock service whoever
may write there asks: anybody while the charger is open, then phones with a Bluetooth bond by code,
as users.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

from chargepin.charger.air import Air, BluetoothPhone, Door
from chargepin.charger.dialog import PairingDialog
from chargepin.charger.own import (
    Ask,
    Caller,
    Denied,
    ForgetPhone,
    OfWindow,
    OpenWindow,
    Outcome,
    OwnMethods,
    StartUpdate,
    Tell,
)
from chargepin.charger.ports import Store, StoreFailed
from chargepin.charger.session import Session
from chargepin.charger.stock import Action, StockMethods
from chargepin.charger.stock.call import ErrorCode
from chargepin.charger.updating import Updating
from chargepin.core import bapi, channel, commands
from chargepin.core import guard_state as state
from chargepin.core.bapi import method_of
from chargepin.core.bonds import Role
from chargepin.core.durable import Mode
from chargepin.core.pairing_window import Why
from chargepin.core.passcode import Passcode, PasscodeFormatError

_WHILE_DOWNGRADED = (
    *("fw_v_", "r_sn_", "gupdc", "supds", "supdp"),
    *("update.check", "update.start", "update.progress"),
)
_WHILE_UNATTENDED = ("fw_v_", "r_sn_", "ping", "policy.get")


_REPLIES_TOGETHER_BYTES = 64


class Note(Protocol):
    """Write to the security log, and with it forget a phone, if one is named."""

    async def __call__(self, entry: state.Entry, forget: BluetoothPhone | None = None) -> bool:
        """Gives False when it could not be stored: then nothing has happened."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What the one task lets requests do. put: have the guard take an event."""

    guard: Callable[[], state.Guard]
    put: Callable[[state.Event], Awaitable[None]]
    note: Note
    now_s: Callable[[], float]
    unix_s: Callable[[], int]
    report: Callable[[str], None]
    restart: Callable[[], None]


class Requests:
    """Takes one request after another."""

    def __init__(
        self,
        inside: Inside,
        own: OwnMethods,
        stock: StockMethods,
        store: Store,
        air: Air,
        dialog: PairingDialog,
        updating: Updating,
    ) -> None:
        self._inside = inside
        self._own = own
        self._stock = stock
        self._store = store
        self._air = air
        self._dialog = dialog
        self._updating = updating
        self._frames: dict[int, bapi.RequestAssembler] = {}
        self._authenticated: set[int] = set()

    # ---- links ----------------------------------------------------------------------------

    def opened(self, link: int) -> None:
        """Begin to listen to a link."""
        self._frames[link] = bapi.RequestAssembler()

    def closed(self, link: int) -> None:
        """Forget a link."""
        self._frames.pop(link, None)
        self._authenticated.discard(link)

    def authenticated(self, link: int) -> None:
        """Take requests of this link at the stock service from now on."""
        self._authenticated.add(link)

    def is_authenticated(self, link: int) -> bool:
        """Whether a link has a Bluetooth bond by code."""
        return link in self._authenticated

    # ---- in records -----------------------------------------------------------------------

    async def in_record(self, link: int, session: Session, raw: bytes) -> None:
        """Take what a record holds. Raises ChannelError when it is no request."""
        try:
            request = bapi.decode_request(raw)
        except bapi.BapiError as error:
            raise channel.ChannelError("a record that holds no request") from error
        held = self._inside.guard().links.get(link)
        if held is None:
            return
        denial = self._denial(held.role, request.met)
        if denial is not None:
            session.deny(request.id, denial)
        elif self._own.knows(request.met):
            await self._own_request(link, session, held, request)
        else:
            session.send_json(await self._stock_reply(request))

    def _denial(self, role: Role, method: str) -> commands.Denial | None:
        if role < method_of(method).role:
            return commands.ROLE_TOO_LOW
        guard = self._inside.guard()
        if guard.downgraded and method not in _WHILE_DOWNGRADED:
            return commands.UPDATE_NEEDED
        if guard.unattended(self._inside.now_s()) and method not in _WHILE_UNATTENDED:
            return commands.PRESENCE_NEEDED
        return None

    async def _own_request(
        self, link: int, session: Session, held: state.Link, request: bapi.Request
    ) -> None:
        inside = self._inside
        caller = Caller(held, inside.guard(), inside.unix_s(), tuple(self._air.phones))
        try:
            outcome = await asyncio.to_thread(self._own.take, request, caller)
            await self._come_to(outcome, link, session, request.id, state.who(held))
        except Denied as denied:
            session.deny(request.id, denied.denial)
        except StoreFailed:
            session.deny(request.id, commands.STORAGE_FAILED)

    async def _come_to(
        self, outcome: Outcome, link: int, session: Session, request_id: int, by: str
    ) -> None:
        match outcome:
            case Tell(value):
                session.reply(request_id, value)
            case StartUpdate(version):
                session.send_json(self._updating.begin(request_id, version))
            case Ask(command, answer):
                session.answers.append((request_id, answer))
                await self._inside.put(state.Commanded(link, command))
            case OpenWindow(name):
                await self._may_open_window(by)
                session.reply(request_id, self._dialog.terms)
                self._dialog.open(link, name)
            case OfWindow.CLOSE:
                self._dialog.close(Why.ASKED)
                session.reply(request_id, {})
            case OfWindow.TELL:
                held = self._inside.guard().links.get(link)
                session.reply(request_id, self._dialog.last(held.bond if held else None))
            case ForgetPhone(phone):
                detail: dict[str, str | int] = {"bond": phone.bond_id, "by": by}
                entry = state.Entry("bluetooth_bond_forgotten", detail)
                await self._noted(entry, phone)
                session.reply(request_id, {})
                self._forget(phone)
            case _:
                assert_never(outcome)

    async def _may_open_window(self, by: str) -> None:
        """Raise Denied, or make place for a window and write it down.

        One whose opener has left is of no use to that one any more, so it gives way.
        """
        if not self._stock.layout.stock.needs_encryption:
            raise Denied(commands.NEVER_PAIRS)
        if self._dialog.watched:
            raise Denied(commands.WINDOW_OPEN)
        closed = self._dialog.end(Why.ASKED)
        if closed is not None:
            await self._noted(closed)
        await self._noted(state.Entry("pairing_window_opened", {"by": by}))

    async def _noted(self, entry: state.Entry, forget: BluetoothPhone | None = None) -> None:
        if not await self._inside.note(entry, forget):
            raise Denied(commands.STORAGE_FAILED)

    def _forget(self, phone: BluetoothPhone) -> None:
        """It is gone from the store already; now from memory, and from the air."""
        try:
            self._authenticated.difference_update(self._air.forget_phone(phone.bond_id))
        except StoreFailed as error:
            self._inside.report(
                f"storage failed: {error}. The Bluetooth bond counts until a restart."
            )

    # ---- at the stock service -------------------------------------------------------------

    async def at_stock(self, link: int, value: bytes) -> None:
        """Take what was written to the stock service.

        Short replies to what was written in one go follow each other within a notification, as they
        do where a serial line is between.
        """
        replies = b""
        for raw in self._frames[link].feed(value) if self._stock_mode(link) else ():
            mode = self._stock_mode(link)  # again: what was asked before may have changed it
            if mode is None:
                break
            try:
                request = bapi.decode_request(raw)
            except bapi.BapiError:
                continue  # as real chargers do: silence
            replies += await self._at_stock(link, mode, request)
            if len(replies) > _REPLIES_TOGETHER_BYTES:
                self._air.send(link, Door.STOCK, replies)
                replies = b""
        if replies:
            self._air.send(link, Door.STOCK, replies)

    def _stock_mode(self, link: int) -> Mode | None:
        """The charger's mode, if this link may ask at the stock service."""
        guard = self._inside.guard()
        held, mode = guard.links.get(link), guard.durable.mode
        if held is None or held.phase is state.Phase.CLOSED:
            return None  # written before a change that it is being hung up for
        if mode is Mode.OPEN or (mode is Mode.PROTECTED and link in self._authenticated):
            return mode
        return None  # written just before its bond was forgotten

    async def _at_stock(self, link: int, mode: Mode, request: bapi.Request) -> bytes:
        role = Role.OWNER if mode is Mode.OPEN else Role.USER
        denial = self._denial(role, request.met)
        if denial is not None:
            return bapi.encode_error(request.id, denial.code, denial.message)
        if mode is Mode.PROTECTED and request.met == "set_pin":
            return await self._login(link, request)
        return await self._stock_reply(request)

    async def _login(self, link: int, request: bapi.Request) -> bytes:
        """Say whether `set_pin` names the passcode: an attempt like any other, for no gain."""
        pin = request.par.get("pin") if isinstance(request.par, dict) else None
        try:
            passcode = Passcode(pin) if isinstance(pin, str) else None
        except PasscodeFormatError:
            passcode = None
        if passcode is None:
            text = "a pin of six digits is expected"
            return bapi.encode_error(request.id, ErrorCode.WRONG_PARAMETER, text)
        earlier = self._inside.guard().links.get(link)
        await self._inside.put(state.PinOffered(link))
        guard = self._inside.guard()
        held = guard.links.get(link)
        # One that could not be stored leaves what an earlier one was charged with.
        if held is None or held.pin is None or (earlier and held.pin is earlier.pin):
            text = "No passcode is looked at now: there were too many wrong ones. Try again later."
            return bapi.encode_error(request.id, ErrorCode.NOT_NOW, text)
        right = await asyncio.to_thread(self._own.is_passcode, passcode, guard)
        await self._inside.put(state.PinChecked(link, right))
        if right:
            return bapi.encode_reply(request.id, None)
        text = "That is not the passcode. It was counted as an attempt."
        return bapi.encode_error(request.id, ErrorCode.WRONG_PARAMETER, text)

    async def _stock_reply(self, request: bapi.Request) -> bytes:
        now_s = self._inside.now_s()
        reply, action = self._stock.answer(request, now_s, self._inside.unix_s())
        try:
            await asyncio.to_thread(self._stock.keep, self._store, now_s)
        except StoreFailed as error:
            self._inside.report(f"storage failed: {error}. The last setting holds until a restart.")
        if action is Action.REBOOT:
            self._inside.restart()
        elif action is Action.UPDATE:
            return self._updating.begin(request.id, self._stock.update_wish)
        return reply
