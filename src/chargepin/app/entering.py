"""The way in: carries out what core.entry decides, on links, vault, account and person."""

import asyncio
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import msgspec

from chargepin.app.bonding import Bonding
from chargepin.app.codes import Codes, asked
from chargepin.app.endings import ended
from chargepin.app.errors import (
    AccountRefused,
    AccountUnreachable,
    Cancelled,
    LinkLost,
    ProtocolError,
    UpdateNeeded,
)
from chargepin.app.ports import (
    Accounts,
    Candidate,
    Found,
    Known,
    Link,
    Prompt,
    Radio,
    Vault,
)
from chargepin.app.session import Session, WasRefused
from chargepin.app.stock import StockSession
from chargepin.core import bapi, entry, gatt, handshake
from chargepin.core.catalogue import Version
from chargepin.core.entry import Entry, Facts, Offer
from chargepin.core.identity import Credential, Params, State

CONNECT_WITHIN_S = 10.0
LOSSES_FORGIVEN = 2


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an app works with.

    random: the system's bytes. app: its version. name: how the charger's list of phones shall call
    it. ask_first: ask a person for a passcode that was set here, too, once. codes: what a charger
    with the maker's own software may want typed to pair. randbelow: what passcodes are drawn by.
    """

    radio: Radio
    vault: Vault
    app: Version
    name: str
    random: Callable[[int], bytes]
    account: Accounts | None = None
    prompt: Prompt | None = None
    ask_first: bool = False
    codes: Codes | None = None
    randbelow: Callable[[int], int] = secrets.randbelow


@dataclass(frozen=True, slots=True)
class Inside:
    """A granted session, or the stock service of a charger that has no passcodes.

    params: the charger's own words, None on the stock service. role: of this session.
    """

    link: Link
    session: Session | None
    stock: StockSession | None
    params: Params | None
    role: str


class WayIn:
    """One app's attempt to get a session with one charger."""

    def __init__(
        self,
        surroundings: Surroundings,
        found: Found,
        serial: str,
        on_event: Callable[[bapi.Event], None],
    ) -> None:
        self._with = surroundings
        self._found = found
        self._serial = serial
        self._on_event = on_event
        self._typed: str | None = None
        self._supplied: tuple[Candidate, ...] = ()
        self._params: Params | None = None
        self._proving = False
        self._witness: handshake.Witness | None = None

    async def enter(self) -> Inside:
        """Go all the way, or raise the one error that says why not."""
        known = self._with.vault.get(self._serial) or Known(self._serial)
        way = Entry(replace(self._facts(known), identity=await self._identity(known)))
        losses = 0
        while True:
            link = await self._with.radio.connect(self._found, timeout_s=CONNECT_WITHIN_S)
            try:
                outcome = await self._on_link(link, way)
            except LinkLost:
                await link.close()  # it may have fallen silent only, and must not be held
                # A charger that just changed its passcode hangs up on everybody, newcomers too.
                # Before anything was proved, coming back costs nothing.
                losses += 1
                if self._proving or losses > LOSSES_FORGIVEN:
                    raise
                continue
            except BaseException:
                await link.close()
                raise
            if isinstance(outcome, Inside):
                return outcome
            await link.close()
            way = await self._asked(*outcome)

    async def _identity(self, known: Known) -> bytes | None:
        """The charger's that this app knows by this serial, or that its account knows."""
        if known.identity is not None or self._with.account is None:
            return known.identity
        try:
            charger_id = await self._with.account.charger_id(self._serial)
        except (AccountUnreachable, AccountRefused):
            return None  # it is told where the passcode is fetched
        return bytes.fromhex(charger_id) if charger_id else None

    def _facts(self, known: Known) -> Facts:
        automatic, typed = _tries(known, known.generation)
        newest_first = sorted(known.candidates, key=lambda c: -c.generation)
        # Whoever set the passcode must enter it like everybody; who got it shared need not.
        set_here = any(c.owner_token is not None for c in known.candidates)
        return Facts(
            generation=known.generation,
            incarnation=known.incarnation,
            protected=known.protected,
            bonded=known.bond is not None,
            offers=tuple(Offer(c.generation, c.salt) for c in newest_first),
            account=self._with.account is not None,
            person=self._with.prompt is not None,
            ask_first=self._with.ask_first and known.bond is None and set_here,
            automatic_tries=automatic,
            typed_tries=typed,
        )

    # ---- on one link ----------------------------------------------------------------------

    async def _on_link(self, link: Link, way: Entry) -> Inside | tuple[Entry, int]:
        """Carry out actions until inside, or until a person must be asked (tries left)."""
        session = Session(link, self._with.app, self._with.random, self._on_event)
        ours = gatt.PASSCODE_HINT.uuid in link.characteristics
        hint = await session.begin() if ours else None
        way, action = entry.step(way, entry.Reached(hint))
        granted: Mapping[str, object] = {}
        while True:
            event: entry.Event
            match action:
                case entry.UseStock():
                    stock = StockSession(link, self._found.name)
                    await stock.begin()
                    return Inside(link, None, stock, None, "owner")
                case entry.SayHello(credential):
                    event = await self._hello(session, credential)
                case entry.Fetch():
                    event = await self._fetch()
                case entry.Prove(credential, offer):
                    event, granted = await self._prove(session, credential, offer)
                case entry.Enter():
                    return await self._entered(link, session, granted)
                case entry.Ask(tries_left):
                    return way, tries_left
                case entry.End():
                    raise ended(action, self._found.name)
                case entry.Reach():
                    raise ProtocolError("The app lost its way; try again.")
            if isinstance(event, entry.Answered):
                way = self._counting(way, event.params)
            way, action = entry.step(way, event)

    def _counting(self, way: Entry, params: Params) -> Entry:
        """Only PARAMS tell which generation's tries count now."""
        known = self._with.vault.get(self._serial) or Known(self._serial)
        automatic, typed = _tries(known, params.generation)
        return replace(way, facts=replace(way.facts, automatic_tries=automatic, typed_tries=typed))

    async def _hello(self, session: Session, credential: Credential) -> entry.Event:
        tag_key = None
        known = self._with.vault.get(self._serial)
        if credential is Credential.BOND and known and known.bond and known.identity:
            tag_key = handshake.bond_tag_key(known.bond.secret, known.identity)
        try:
            self._params = await session.hello(credential, tag_key)
        except WasRefused as was:
            return entry.WasRefused(was.refusal)
        return entry.Answered(self._params)

    async def _fetch(self) -> entry.Event:
        assert self._params is not None  # noqa: S101 - only after PARAMS
        if self._with.account is None:
            return entry.Supplied(())
        try:
            supplied = await self._with.account.passcodes(self._params.identity.hex())
        except (AccountUnreachable, AccountRefused) as error:
            if self._with.prompt is not None:
                self._with.prompt.tell(f"{error} Going on with what this app remembers.")
            supplied = ()
        self._supplied = tuple(supplied)
        return entry.Supplied(tuple(Offer(c.generation, c.salt) for c in supplied))

    async def _prove(
        self, session: Session, credential: Credential, offer: Offer | None
    ) -> tuple[entry.Event, Mapping[str, object]]:
        params = self._params
        assert params is not None  # noqa: S101 - only after PARAMS
        self._proving = True
        known = self._with.vault.get(self._serial) or Known(self._serial)
        match credential:
            case Credential.OPEN:
                witness = handshake.open_witness(params.identity)
            case Credential.BOND:
                assert known.bond is not None  # noqa: S101 - its tag was in HELLO
                witness = handshake.bond_witness(known.bond.secret, params.identity)
            case Credential.PASSCODE:
                assert offer is not None  # noqa: S101 - Prove carries one
                witness = self._witness = await self._hashed(known, params, offer)
        self._count_try(offer, params, 1)
        try:
            granted = await session.prove(witness, params)
        except handshake.WrongSecret:
            return entry.ProofEnded(held=False), {}
        except (WasRefused, LinkLost) as ended_early:
            self._count_try(offer, params, -1)  # no guess was answered
            if isinstance(ended_early, LinkLost):
                raise
            return entry.WasRefused(ended_early.refusal), {}
        self._count_try(offer, params, -1)
        return entry.ProofEnded(held=True), granted

    async def _hashed(self, known: Known, params: Params, offer: Offer) -> handshake.Witness:
        """The slow hash, from the vault if it is kept, else computed beside the event loop."""
        if not offer.typed:
            kept = known.witnesses.get(_witness_name(params))
            if kept is not None:
                return handshake.Witness(kept[:32], kept[32:])
        candidate = self._candidate(known, params, offer)
        try:
            return await asyncio.to_thread(
                handshake.passcode_witness,
                candidate.code,
                params.identity,
                params.salt,
                params.profile,
            )
        except handshake.HandshakeError as error:
            raise UpdateNeeded(
                f"The charger wants a way of hashing that this app does not know: {error}.",
                side="app",
                needed="a newer one",
            ) from error

    def _candidate(self, known: Known, params: Params, offer: Offer) -> Candidate:
        if offer.typed:
            assert self._typed is not None  # noqa: S101 - Typed was reported
            return Candidate(params.generation, params.salt, self._typed)
        held = (*known.candidates, *self._supplied)
        return next(c for c in held if (c.generation, c.salt) == (offer.generation, offer.salt))

    def _count_try(self, offer: Offer | None, params: Params, change: int) -> None:
        """Before anything is sent: a charger that never confirms can't collect many guesses.

        What is confirmed gives back itself and no other, or whoever stands between could guess,
        let one try through to the charger, and guess again.
        """
        if offer is None:  # not by passcode
            return
        generation = str(params.generation)

        def counted(known: Known) -> Known:
            automatic, by_hand = known.tries.get(generation, (0, 0))
            now = (automatic, by_hand + change) if offer.typed else (automatic + change, by_hand)
            return msgspec.structs.replace(known, tries={**known.tries, generation: now})

        self._with.vault.update(self._serial, counted)

    # ---- after the proof ------------------------------------------------------------------

    async def _entered(self, link: Link, session: Session, granted: Mapping[str, object]) -> Inside:
        params = self._params
        assert params is not None  # noqa: S101 - only after PARAMS
        role = str(granted.get("role", "user"))
        if params.state is State.OPEN:
            return Inside(link, session, None, params, role)
        if params.credential is Credential.PASSCODE:
            role = await self._remember(session, params, role)
        else:
            self._note_newer(params)
        return Inside(link, session, None, params, role)

    def _note_newer(self, params: Params) -> None:
        """A bond outlives a routine rotation; the highest generation seen must not be forgotten."""
        known = self._with.vault.get(self._serial) or Known(self._serial)
        if (known.incarnation, known.generation) == (params.incarnation, params.generation):
            return
        self._with.vault.update(
            self._serial,
            lambda known: msgspec.structs.replace(
                known, incarnation=params.incarnation, generation=params.generation
            ),
        )

    async def _remember(self, session: Session, params: Params, role: str) -> str:
        """Pin the identity, keep what was proved, and get a bond so that nobody is asked again."""
        known = self._with.vault.get(self._serial) or Known(self._serial)
        offer = Offer(params.generation, params.salt, typed=self._typed is not None)
        proved = self._candidate(known, params, offer)
        held = (*known.candidates, *self._supplied)
        token = next((c.owner_token for c in held if _same(c, proved)), None)
        token = token or proved.owner_token
        proved = msgspec.structs.replace(proved, owner_token=token)
        witness = self._witness
        assert witness is not None  # noqa: S101 - it is what was proved

        now = str(params.generation)

        def pinned(known: Known) -> Known:
            others = tuple(c for c in known.candidates if not _same(c, proved))
            return msgspec.structs.replace(
                known,
                identity=params.identity,
                incarnation=params.incarnation,
                generation=params.generation,
                protected=True,
                candidates=(proved, *(c for c in others if c.generation > params.generation)),
                witnesses={_witness_name(params): witness.w0 + witness.w1},
                tries={now: known.tries[now]} if now in known.tries else {},
            )

        self._with.vault.update(self._serial, pinned)
        bonding = bonding_of(self._serial, self._with)
        return await bonding.draw(session, params.generation, token=token) or role

    # ---- a person -------------------------------------------------------------------------

    async def _asked(self, way: Entry, tries_left: int) -> Entry:
        """Ask without holding the link; what is no passcode is explained and asked again."""
        prompt, params = self._with.prompt, self._params
        assert prompt is not None  # noqa: S101 - Ask is only for a person
        assert params is not None  # noqa: S101 - Ask comes after PARAMS
        known = self._with.vault.get(self._serial) or Known(self._serial)
        candidates = (*known.candidates, *self._supplied)
        held = next((c for c in candidates if (c.generation, c.salt) == _names(params)), None)
        tries = "1 try" if tries_left == 1 else f"{tries_left} tries"
        question = f"Passcode of {self._found.name} (6 digits, {tries} before a pause): "
        try:
            code = await asked(prompt, question, held=held.code if held else None)
        except Cancelled:
            _, action = entry.step(way, entry.Declined())
            assert isinstance(action, entry.End)  # noqa: S101 - nothing else follows
            raise ended(action, self._found.name) from None
        self._typed = code.digits
        way, _ = entry.step(way, entry.Typed(Offer(params.generation, params.salt, typed=True)))
        return way


def bonding_of(serial: str, surroundings: Surroundings) -> Bonding:
    """What draws and keeps bonds with one charger."""
    return Bonding(serial, surroundings.vault, surroundings.name, surroundings.prompt)


def _tries(known: Known, generation: int) -> tuple[int, int]:
    """Automatic and typed tries that no charger answered rightly.

    Until an identity is pinned a generation is what anybody may say, so that all of them count.
    """
    counted = known.tries.get(str(generation), (0, 0))
    each = [counted] if known.identity is not None else known.tries.values()
    return sum(automatic for automatic, _ in each), sum(typed for _, typed in each)


def _witness_name(params: Params) -> str:
    return f"{params.generation}:{params.salt.hex()}"


def _names(params: Params) -> tuple[int, bytes]:
    return params.generation, params.salt


def _same(one: Candidate, other: Candidate) -> bool:
    return (one.generation, one.salt) == (other.generation, other.salt)
