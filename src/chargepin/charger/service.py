"""The inbox: one event at a time goes through the guard; what it changes is stored, then told.

Callbacks from the air only append here. One task takes an event, steps the guard, commits what
changed together with the log's entries, and carries out the effects in order. If the commit
fails, the step never happened and whoever asked is told so.
"""

import asyncio
import traceback
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias, assert_never

from chargepin.charger.air import (
    Air,
    AirEvent,
    AttError,
    BluetoothBonded,
    Door,
    LinkClosed,
    LinkOpened,
    Pairing,
    Secured,
    Written,
)
from chargepin.charger.own import Ask, Caller, Denied, OwnMethods, StartUpdate, Tell
from chargepin.charger.ports import Store, StoreFailed, Unit, UpdateProgress, Updates, UpdateState
from chargepin.charger.session import Session
from chargepin.charger.stock import Action, StockMethods
from chargepin.core import bapi, bonds, channel, commands, guard, identity, slots
from chargepin.core import guard_state as state
from chargepin.core.bapi import method_of
from chargepin.core.catalogue import PASSCODE_SINCE, Version
from chargepin.core.durable import Mode
from chargepin.core.handshake import HandshakeError
from chargepin.core.identity import Credential, Hint, MessageType, State

WRITES_WAITING = 32
TICK_S = 60.0
RESTART_AFTER_S = 0.5


class Ending(Enum):
    """Why the service stopped."""

    STOPPED = "stopped"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Button:
    """held: for ten seconds; else a short press."""

    held: bool


@dataclass(frozen=True, slots=True)
class Timer:
    pass


@dataclass(frozen=True, slots=True)
class End:
    ending: Ending


Item: TypeAlias = AirEvent | Button | Timer | End


@dataclass(frozen=True, slots=True)
class Clocks:
    """running_s: the loop's seconds. unix_s: wall clock, 0 where it is not known."""

    running_s: Callable[[], float]
    unix_s: Callable[[], int]


class Service:
    """One charger's rules at work. report: tells the operator a sentence, never a secret."""

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
    ) -> None:
        self._unit = unit
        self._store = store
        self._air = air
        self._stock = stock
        self._own = OwnMethods(unit, store, updates)
        self._updates = updates
        self._start = start
        self._guard = start.guard
        self._clocks = clocks
        self._report = report
        self._step = step
        self._offset_s = start.guard.started_s - clocks.running_s()
        self._inbox: asyncio.Queue[Item] = asyncio.Queue()
        self._waiting: Counter[int] = Counter()
        self._sessions: dict[int, Session] = {}
        self._hellos: dict[int, identity.Hello] = {}
        self._frames: dict[int, bapi.RequestAssembler] = {}
        self._answers: dict[int, deque[tuple[int, Callable[[state.Guard], object]]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._tick_s = start.guard.started_s + TICK_S
        self._update: asyncio.Task[UpdateProgress] | None = None

    # ---- asked by the adapter, answered at once -------------------------------------------

    def stock(self, link: int, secured: Secured) -> AttError | None:
        """May this link use the stock service now? See design 4.1."""
        _ = link
        if self._guard.durable.mode is Mode.OPEN:
            needed = self._stock.layout.stock.needs_encryption
            return AttError.INSUFFICIENT_ENCRYPTION if needed and not secured.encrypted else None
        return None if secured.authenticated else AttError.INSUFFICIENT_AUTHORIZATION

    def hint(self, nonce: bytes) -> bytes:
        """The passcode service's readable characteristic."""
        mode = self._guard.durable.mode
        shown = State.OPEN if mode is Mode.OPEN else State.PROTECTED
        if self._guard.software < PASSCODE_SINCE:
            shown = State.UNSUPPORTED
        return Hint(shown, self._guard.durable.generation, nonce).encode()

    def pairing(self, link: int) -> Pairing:
        """Just Works while open, where the radio module pairs at all; afterwards nobody does."""
        _ = link
        pairs = self._stock.layout.stock.needs_encryption
        open_now = self._guard.durable.mode is Mode.OPEN
        return Pairing.JUST_WORKS if open_now and pairs else Pairing.REFUSED

    def bond_counts(self) -> bool:
        """Just Works bonds are of the open time."""
        return self._guard.durable.mode is Mode.OPEN

    # ---- told by the outside --------------------------------------------------------------

    def tell(self, event: AirEvent) -> None:
        """Append what happened on the air; a link that floods the inbox is dropped."""
        if isinstance(event, Written):
            self._waiting[event.link] += 1
            if self._waiting[event.link] > WRITES_WAITING:
                self._air.drop(event.link, flush=False)
                return
        self._inbox.put_nowait(event)

    def button(self, *, held: bool) -> None:
        """The button was pressed, or held for ten seconds."""
        self._inbox.put_nowait(Button(held))

    def stop(self, ending: Ending = Ending.STOPPED) -> None:
        """Finish what is in the inbox, then end `run`."""
        self._inbox.put_nowait(End(ending))

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
                item = await self._inbox.get()
                if isinstance(item, End):
                    return item.ending
                await self._take_or_drop(item)
                self._make_room()
        finally:
            if self._timer is not None:
                self._timer.cancel()
            if self._update is not None:
                self._update.cancel()

    async def _take_or_drop(self, item: AirEvent | Button | Timer) -> None:
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

    async def _take(self, item: AirEvent | Button | Timer) -> None:
        match item:
            case LinkOpened(link, _, nonce):
                self._sessions[link] = Session(self._unit, nonce)
                self._frames[link] = bapi.RequestAssembler()
                self._answers[link] = deque()
                await self._put(state.LinkOpened(link))
            case LinkClosed(link):
                for kept in (self._sessions, self._hellos, self._frames, self._answers):
                    kept.pop(link, None)
                del self._waiting[link]
                await self._put(state.LinkClosed(link))
            case Written(link, door, value):
                self._waiting[link] -= 1
                if link in self._sessions:
                    await (self._written_own if door is Door.OWN else self._written_stock)(
                        link, value
                    )
            case BluetoothBonded(link):
                await self._note(state.Entry("bluetooth_bond_added", {"link": link}))
            case Button(held):
                await self._put(state.ButtonHeld() if held else state.ButtonPressed())
            case Timer():
                if self.now_s() >= self._tick_s:
                    self._tick_s = self.now_s() + TICK_S
                    await self._put(state.Ticked())
            case _:
                assert_never(item)

    async def _put(self, event: state.Event) -> None:
        """Step, store, then carry out: the order that everything rests on."""
        after = self._step(self._guard, event, self.now_s())
        changed = after.guard.durable is not self._guard.durable or after.entries
        if changed and not await self._stored(after):
            for effect in guard.storage_failed(event):
                self._carry_out(effect)
            return
        self._guard = after.guard
        for effect in after.effects:
            self._carry_out(effect)

    async def _stored(self, after: state.Step) -> bool:
        try:
            await asyncio.to_thread(
                self._store.commit,
                after.guard.durable,
                after.entries,
                self._clocks.unix_s(),
                forget_bluetooth_bonds=state.ForgetBluetoothBonds() in after.effects,
            )
        except StoreFailed as error:
            self._report(f"storage failed: {error}. Nothing was changed by the last request.")
            return False
        return True

    async def _store_start(self) -> None:
        if not await self._stored(self._start):
            self._report("The start could not be written to the log.")

    async def _note(self, entry: state.Entry) -> None:
        await self._stored(state.Step(self._guard, (), (entry,)))

    # ---- what apps write ------------------------------------------------------------------

    async def _written_own(self, link: int, value: bytes) -> None:
        session = self._sessions[link]
        try:
            for message in session.assembler.feed(value):
                await self._message(link, session, message)
        except (channel.ChannelError, identity.IdentityError, HandshakeError) as error:
            self._report(f"link {link} dropped: {error}")
            self._air.drop(link, flush=False)

    async def _message(self, link: int, session: Session, message: bytes) -> None:
        match message[0]:
            case MessageType.HELLO:
                hello = session.hello(message)
                self._hellos[link] = hello
                table = self._guard.durable.bonds
                bond = None
                if hello.credential is Credential.BOND:
                    nonce = session.connection_nonce
                    bond = bonds.by_tag(table, hello.tag, nonce, hello.nonce)
                known = hello.protocol == identity.PROTOCOL and hello.suite == identity.SUITE
                event = state.HelloReceived(link, hello.credential, hello.app, bond, known)
                await self._put(event)
            case MessageType.SHARE_P:
                session.share(message)
                await self._put(state.ShareReceived(link))
            case MessageType.CONFIRM_P:
                held = session.confirmed(message)
                await self._put(state.ProofChecked(link, held, self._clocks.unix_s()))
            case channel.RECORD:
                await self._request(link, session, session.open_record(message))
            case _:
                raise channel.ChannelError("an unknown type of message")

    async def _request(self, link: int, session: Session, raw: bytes) -> None:
        try:
            request = bapi.decode_request(raw)
        except bapi.BapiError as error:
            raise channel.ChannelError("a record that holds no request") from error
        held = self._guard.links.get(link)
        if held is None:
            return
        denial = self._denial(held, request.met)
        if denial is not None:
            self._reply_denied(session, link, request.id, denial)
        elif self._own.knows(request.met):
            await self._own_request(link, session, held, request)
        else:
            reply = await self._stock_reply(request)
            self._send_record(session, link, reply)

    def _denial(self, held: state.Link, method: str) -> commands.Denial | None:
        if held.role < method_of(method).role:
            return commands.ROLE_TOO_LOW
        if self._guard.downgraded and method not in _WHILE_DOWNGRADED:
            return commands.UPDATE_NEEDED
        return None

    async def _own_request(
        self, link: int, session: Session, held: state.Link, request: bapi.Request
    ) -> None:
        try:
            caller = Caller(held, self._guard, self._clocks.unix_s())
            outcome = await asyncio.to_thread(self._own.take, request, caller)
        except Denied as denied:
            self._reply_denied(session, link, request.id, denied.denial)
            return
        except StoreFailed:
            self._reply_denied(session, link, request.id, commands.STORAGE_FAILED)
            return
        match outcome:
            case Tell(value):
                self._send_record(session, link, bapi.encode_reply(request.id, value))
            case StartUpdate(version):
                self._send_record(session, link, self._begin_update(request.id, version))
            case Ask(command, answer):
                self._answers[link].append((request.id, answer))
                await self._put(state.Commanded(link, command))

    async def _written_stock(self, link: int, value: bytes) -> None:
        if self._guard.durable.mode is not Mode.OPEN:
            return  # it was written just before a passcode was set
        for raw in self._frames[link].feed(value):
            try:
                request = bapi.decode_request(raw)
            except bapi.BapiError:
                continue  # as real chargers do: silence
            self._air.send(link, Door.STOCK, await self._stock_reply(request))

    async def _stock_reply(self, request: bapi.Request) -> bytes:
        now_s = self.now_s()
        reply, action = self._stock.answer(request, now_s, self._clocks.unix_s())
        try:
            await asyncio.to_thread(self._stock.keep, self._store, now_s)
        except StoreFailed as error:
            self._report(f"storage failed: {error}. The last setting holds until a restart.")
        if action is Action.REBOOT:
            self._restart_soon()
        elif action is Action.UPDATE:
            return self._begin_update(request.id, self._stock.update_wish)
        return reply

    # ---- effects --------------------------------------------------------------------------

    def _carry_out(self, effect: state.Effect) -> None:
        match effect:
            case state.SendParams(link):
                session = self._sessions[link]
                self._send(link, session.params(self._guard, effect, self._hellos[link]))
            case state.Refuse(link):
                self._send(link, self._sessions[link].refusal(self._guard, effect))
            case state.Respond(link, verifier):
                self._send(link, self._sessions[link].respond(verifier))
            case state.Grant(link, role, bond_id):
                session = self._sessions[link]
                session.grant()
                generation = self._guard.durable.generation
                members = {"role": role.word, "generation": generation, "bond": bond_id}
                self._send_record(session, link, bapi.encode_event("granted", members))
            case state.Answer(link, denial):
                self._answer(link, denial)
            case state.Drop(link, why):
                self._report(f"link {link} dropped: {why}")
                self._air.drop(link, flush=True)
            case state.DropAll(why):
                self._report(f"every link dropped: {why}")
                for link in tuple(self._air.links):
                    self._air.drop(link, flush=True)
            case state.ForgetBluetoothBonds():
                self._forget_bluetooth_bonds()
            case _:
                assert_never(effect)

    def _forget_bluetooth_bonds(self) -> None:
        """They are gone from the store already; now from memory, and from running pairings."""
        try:
            self._air.forget_bonds()
        except StoreFailed as error:
            self._report(f"storage failed: {error}. The Bluetooth bonds count until a restart.")

    def _answer(self, link: int, denial: commands.Denial | None) -> None:
        request_id, answer = self._answers[link].popleft()
        session = self._sessions[link]
        if denial is not None:
            self._reply_denied(session, link, request_id, denial)
        else:
            value = answer(self._guard)
            self._send_record(session, link, bapi.encode_reply(request_id, value))

    def _reply_denied(
        self, session: Session, link: int, request_id: int, denial: commands.Denial
    ) -> None:
        error = bapi.encode_error(request_id, denial.code, denial.message)
        self._send_record(session, link, error)

    def _send_record(self, session: Session, link: int, text: bytes) -> None:
        self._send(link, session.seal_json(text))

    def _send(self, link: int, message: bytes) -> None:
        self._air.send(link, Door.OWN, channel.encode(message))

    # ---- time, room, updates --------------------------------------------------------------

    def now_s(self) -> float:
        """Running seconds of this charger, all power-ups together."""
        return self._clocks.running_s() + self._offset_s

    def _make_room(self) -> None:
        """On a protected charger an unproved link gives way; see core.slots."""
        links = self._guard.links
        if self._guard.durable.mode is Mode.OPEN:
            self._air.advertise(wanted=len(links) < slots.CAPACITY)
            self._arm(None)
            return
        held = [
            slots.Slot(n, li.opened_s, li.phase is state.Phase.GRANTED, li.bond is not None)
            for n, li in links.items()
        ]
        decision = slots.decide(held, self.now_s())
        for link in decision.drop:
            self._air.drop(link, flush=False)
        self._air.advertise(wanted=decision.advertise)
        self._arm(decision.again_s)

    def _arm(self, again_s: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        due_s = self._tick_s if again_s is None else min(self._tick_s, again_s)
        wait_s = max(0.0, due_s - self.now_s())
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(wait_s, self._inbox.put_nowait, Timer())

    def _begin_update(self, request_id: int, version: str | None) -> bytes:
        if self._update is not None and not self._update.done():
            return bapi.encode_error(request_id, "busy", "An update is already running.")
        try:
            wanted = Version.parse(version) if version is not None else None
        except ValueError:
            return bapi.encode_error(request_id, "bad_parameters", "That is no version.")
        if (wanted or self._updates.newest()) is None:
            return bapi.encode_error(request_id, "no_update", "There is no newer software.")
        self._update = asyncio.create_task(self._updates.run(wanted, self._progressed))
        return bapi.encode_reply(request_id, 0)

    def _progressed(self, progress: UpdateProgress) -> None:
        if progress.state is UpdateState.INSTALLED:
            self._report("The update is installed; the charger restarts.")
            self._restart_soon()
        elif progress.state is UpdateState.FAILED:
            self._report(f"The update failed: {progress.error}. The old software stays.")

    def _restart_soon(self) -> None:
        """Late enough for the reply, and for one more look at the progress, to go out."""
        asyncio.get_running_loop().call_later(RESTART_AFTER_S, self.stop, Ending.RESTART)


_WHILE_DOWNGRADED = (
    *("fw_v_", "r_sn_", "gupdc", "supds", "supdp"),
    *("update.check", "update.start", "update.progress"),
)
