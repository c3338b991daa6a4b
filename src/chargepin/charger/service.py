"""The inbox: one event at a time goes through the guard; what it changes is stored, then told.

Callbacks from the air only append here. One task takes an event, steps the guard, commits what
changed together with the log's entries, and carries out the effects in order. If the commit
fails, the step never happened and whoever asked is told so.
"""

import asyncio
import secrets
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, assert_never

from chargepin.charger.air import (
    Air,
    AirEvent,
    BluetoothBonded,
    BluetoothPhone,
    Door,
    LinkAuthenticated,
    LinkClosed,
    LinkOpened,
    Written,
)
from chargepin.charger.dialog import PairingDialog
from chargepin.charger.inbox import (
    Button,
    Counted,
    End,
    Ending,
    Housing,
    Inbox,
    Noted,
    Timer,
    Told,
)
from chargepin.charger.own import OwnMethods
from chargepin.charger.ports import Store, StoreFailed, Unit, Updates
from chargepin.charger.requests import Inside, Requests
from chargepin.charger.rights import Rights
from chargepin.charger.session import Session
from chargepin.charger.stock import StockMethods
from chargepin.charger.updating import UNDER_WAY, Updating, cut_off, kept_with
from chargepin.core import channel, guard, identity, slots
from chargepin.core import guard_state as state
from chargepin.core.durable import Mode
from chargepin.core.handshake import HandshakeError
from chargepin.core.log_events import REPLAYED
from chargepin.core.pairing_window import Draw, Why

TICK_S = 60.0
RESTART_AFTER_S = 0.5


@dataclass(frozen=True, slots=True)
class Clocks:
    """running_s: the loop's seconds. unix_s: wall clock, 0 where it is not known."""

    running_s: Callable[[], float]
    unix_s: Callable[[], int]


Taken: TypeAlias = Told | Button | Housing | Timer | Noted | Counted

# A closed link still gets what is queued for it, such as a receipt, before it is hung up.
_SETTLED = (state.Phase.GRANTED, state.Phase.CLOSED)


class Service:
    """One charger's rules at work. report: tells the operator a sentence, never a secret.

    draw: makes pairing codes, of randomness that nobody can foresee. capacity: how many links the
    radio carries at a time.
    """

    def __init__(
        self,
        unit: Unit,
        store: Store,
        air: Air,
        stock: StockMethods,
        updates: Updates,
        start: state.Step,
        clocks: Clocks,
        report: Callable[[str], None],
        *,
        step: Callable[[state.Guard, state.Event, float], state.Step] = guard.step,
        draw: Draw = secrets.randbelow,
        capacity: int = slots.CAPACITY,
    ) -> None:
        self._unit = unit
        self._store = store
        self._stock = stock
        self._air = air
        self._start = start
        self._guard = start.guard
        self._clocks = clocks
        self._report = report
        self._step = step
        began_s = start.guard.durable.running_s
        self._offset_s = began_s - clocks.running_s()
        self._inbox = Inbox(partial(air.drop, flush=False))
        self._sessions: dict[int, Session] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tick_s = began_s + TICK_S
        self._capacity = capacity
        self._dialog = PairingDialog(
            air, draw, self.now_s, lambda: self._guard, self._say, self._log, stays=capacity > 1
        )
        self.rights = Rights(lambda: self._guard, stock.layout, self._dialog)
        self._updating = Updating(updates, report, self._restart_soon, self._log)
        inside = Inside(
            guard=lambda: self._guard,
            put=self._put,
            note=self._note,
            now_s=self.now_s,
            unix_s=clocks.unix_s,
            report=report,
            restart=self._restart_soon,
        )
        own = OwnMethods(unit, store, updates)
        self._requests = Requests(inside, own, stock, store, air, self._dialog, self._updating)

    # ---- told by the outside --------------------------------------------------------------

    def tell(self, event: AirEvent) -> None:
        """Append what happened on the air; a link that floods the inbox is dropped."""
        self._dialog.heard(event)
        if isinstance(event, BluetoothBonded) and event.phone is None:
            self._inbox.put(Counted("just_works_bond"))
        if isinstance(event, LinkOpened | LinkClosed | Written | LinkAuthenticated):
            self._inbox.put(event)

    def button(self, *, held: bool) -> None:
        """The button was pressed, or held for ten seconds."""
        self._inbox.put(Button(held))

    def housing(self, *, opened: bool) -> None:
        """The tamper switch says that the housing was opened, or closed again."""
        self._inbox.put(Housing(opened))

    async def settled(self) -> None:
        """Wait until all that was told before is done. Raises NotPossible when `run` ends first."""
        await self._inbox.settled()

    def stop(self, ending: Ending = Ending.STOPPED) -> None:
        """Finish what is in the inbox, then end `run`."""
        self._inbox.put(End(ending))

    @property
    def guard(self) -> state.Guard:
        """The state as it is now, for the operator's eyes."""
        return self._guard

    # ---- the one task ---------------------------------------------------------------------

    async def run(self) -> Ending:
        """Take one event after another until stopped."""
        await self._store_start()
        self._arm(None)
        try:
            while True:
                item = await self._inbox.take()
                if isinstance(item, End):
                    await self._flush()
                    return item.ending
                await self._take_or_drop(item)
                self._dialog.look()
                self._make_room()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            self._updating.cancel()
            self._inbox.close()

    async def _take_or_drop(self, item: Taken) -> None:
        """The one boundary: whatever a link may do to us costs that link, and nobody else."""
        try:
            await self._take(item)
        except Exception as error:  # noqa: BLE001 - see above
            where = traceback.extract_tb(error.__traceback__)[-1]
            self._report(
                f"fault: {type(error).__name__} in {where.name}, line {where.lineno}, at"
                f" {type(item).__name__}. Please report it."
            )
            link = getattr(item, "link", None)
            if link is not None:
                self._air.drop(link, flush=False)

    async def _take(self, item: Taken) -> None:
        match item:
            case LinkOpened(link, _, nonce):
                out = partial(self._air.send, link, Door.OWN)
                self._sessions[link] = Session(self._unit, nonce, out)
                self._requests.opened(link)
                await self._put(state.LinkOpened(link))
            case LinkClosed(link):
                self._sessions.pop(link, None)
                self._requests.closed(link)
                await self._put(state.LinkClosed(link))
            case Written(link, door, value):
                if link in self._sessions:
                    own = door is Door.OWN
                    await (self._written_own if own else self._requests.at_stock)(link, value)
            case LinkAuthenticated(link):
                self._requests.authenticated(link)
            case Noted(entry):
                await self._note(entry)
            case Button(held):
                await self._put(state.ButtonHeld() if held else state.ButtonPressed())
            case Housing(opened):
                await self._put(state.TamperChanged(opened))
            case Counted(name):
                await self._put(state.StrangersCounted(name, 1))
            case Timer():
                await self._tick()
            case _:
                assert_never(item)

    async def _tick(self) -> None:
        if self.now_s() < self._tick_s:
            return  # it was about a link, or about the window
        self._tick_s = self.now_s() + TICK_S
        if refused := self.rights.take_refused():
            await self._put(state.StrangersCounted("pairing_refused", refused))
        await self._put(state.Ticked())

    async def _put(self, event: state.Event) -> None:
        """Step, store, then carry out: the order that everything rests on."""
        after = self._step(self._guard, event, self.now_s())
        if any(isinstance(effect, state.DropAll) for effect in after.effects):
            self._dialog.close(Why.PASSCODE_CHANGED)  # now: no bond is made while it is stored
        changed = after.guard.durable is not self._guard.durable or after.entries
        if changed and not await self._stored(after):
            self._guard = guard.unstored(self._guard, event)
            for effect in guard.storage_failed(event):
                self._carry_out(effect)
            return
        self._guard = after.guard
        for effect in after.effects:
            self._carry_out(effect)

    async def _stored(self, after: state.Step, forget: BluetoothPhone | None = None) -> bool:
        now_s = self.now_s()
        durable = replace(after.guard.durable, running_s=now_s)  # the entries' time, too
        erase = state.ErasePersons() in after.effects
        also: dict[str, bytes] = {}
        for entry in after.entries:
            also |= kept_with(entry)
        if erase:
            also |= self._stock.without_persons(now_s)
        try:
            await asyncio.to_thread(
                self._store.commit,
                durable,
                after.entries,
                self._clocks.unix_s(),
                forget_bluetooth_bonds=state.ForgetBluetoothBonds() in after.effects,
                forget_bluetooth_bond=forget.identity if forget else None,
                clear_log=erase,
                also=also,
            )
        except StoreFailed as error:
            self._report(f"storage failed: {error}. Nothing was changed by the last request.")
            return False
        return True

    async def _store_start(self) -> None:
        ended = cut_off(self._store.get(UNDER_WAY), self._start.guard.software)
        start = replace(self._start, entries=(*self._start.entries, *ended))
        if not await self._stored(start):
            self._report("The start could not be written to the log.")

    async def _flush(self) -> None:
        """Put down what was counted of strangers and would be lost."""
        after = guard.flushed(self._guard, self.now_s())
        if after.entries and await self._stored(after):
            self._guard = after.guard

    def _log(self, entry: state.Entry) -> None:
        self._inbox.put(Noted(entry))

    async def _note(self, entry: state.Entry, forget: BluetoothPhone | None = None) -> bool:
        return await self._stored(state.Step(self._guard, (), (entry,)), forget)

    # ---- what apps write ------------------------------------------------------------------

    async def _written_own(self, link: int, value: bytes) -> None:
        session = self._sessions[link]
        try:
            for message in session.assembler.feed(value):
                await self._message(link, session, message)
        except (channel.ChannelError, identity.IdentityError, HandshakeError) as error:
            self._report(f"link {link} dropped: {error}")
            self._air.drop(link, flush=False)
            name = REPLAYED if session.granted else "malformed"
            await self._put(state.StrangersCounted(name, 1))

    async def _message(self, link: int, session: Session, message: bytes) -> None:
        if message[0] == channel.RECORD:
            await self._requests.in_record(link, session, session.open_record(message))
        else:
            table, unix_s = self._guard.durable.bonds, self._clocks.unix_s()
            await self._put(session.said(link, message, table, unix_s))

    # ---- effects --------------------------------------------------------------------------

    def _carry_out(self, effect: state.Effect) -> None:
        match effect:
            case state.Drop(link, why):
                self._report(f"link {link} dropped: {why}")
                self._air.drop(link, flush=True)
            case state.DropAll(why):
                self._report(f"every link dropped: {why}")
                for link in tuple(self._air.links):
                    self._air.drop(link, flush=True)
            case state.ForgetBluetoothBonds():
                self._forget_bluetooth_bonds()
            case state.ErasePersons():  # in memory; the rest was done in the transaction
                self._stock.forget_persons(self.now_s())
            case _:
                self._sessions[effect.link].obey(effect, self._guard)

    def _forget_bluetooth_bonds(self) -> None:
        """They are gone from the store already; now from memory, and from running pairings."""
        try:
            self._air.forget_bonds()
        except StoreFailed as error:
            self._report(f"storage failed: {error}. The Bluetooth bonds count until a restart.")

    def _say(self, link: int, event: str, members: Mapping[str, object]) -> None:
        session = self._sessions.get(link)
        if session is not None:
            session.tell(event, members)

    # ---- time and room --------------------------------------------------------------------

    def now_s(self) -> float:
        """Running seconds of this charger, all power-ups together."""
        return self._clocks.running_s() + self._offset_s

    def _make_room(self) -> None:
        """On a protected charger an unproved link gives way; see core.slots."""
        links = self._guard.links
        if self._guard.durable.mode is Mode.OPEN:
            self._air.advertise(wanted=len(links) < self._capacity)
            self._arm(None)
            return
        held = [
            slots.Slot(
                n,
                li.opened_s,
                proved=li.phase in _SETTLED or self._requests.is_authenticated(n),
                tagged=li.bond is not None,
                pairing_s=self._dialog.pairing_s(n),
            )
            for n, li in links.items()
        ]
        decision = slots.decide(held, self.now_s(), self._capacity)
        for link in decision.drop:
            self._air.drop(link, flush=False)
        self._air.advertise(wanted=decision.advertise)
        self._arm(decision.again_s)

    def _arm(self, again_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        times = (self._tick_s, again_s, self._dialog.closes_s)
        due_s = min(time_s for time_s in times if time_s is not None)
        wait_s = max(0.0, due_s - self.now_s())
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(wait_s, self._inbox.put, Timer())

    def _restart_soon(self) -> None:
        """Late enough for the reply, and for one more look at the progress, to go out."""
        asyncio.get_running_loop().call_later(RESTART_AFTER_S, self.stop, Ending.RESTART)
