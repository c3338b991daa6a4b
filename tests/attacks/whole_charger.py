"""A whole charger in the hands of people and an attacker, and what an observer makes of it.

Everything is real: the programs of both ends, the radio between them, the files. What is allowed
is worked out anew from what came over the air, never from the charger's own figures.
"""

import asyncio
import itertools
import shutil
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec

from attacks.dialog import of, phones, window
from attacks.stage import EXHAUSTED, GARBAGE, PAUSED, Line, Victim, code_at, leaks, victim
from attacks.test_mains import Mains
from attacks.test_pairing_mirror import paired
from attacks.test_slots import round_trips
from chargepin.app import errors
from chargepin.app.client import Charger
from chargepin.app.errors import LinkLost
from chargepin.app.pairing import PhonePaired
from chargepin.app.ports import Known
from chargepin.charger.daemon import Rule
from chargepin.charger.ports import ChargeStatus
from chargepin.charger.store import look_into
from chargepin.core import lockout
from chargepin.core.lockout import DAY_S
from chargepin.core.pairing_window import WINDOW_S
from chargepin.radio import serve_radio
from charger.initiator import Typing
from docs import mini_client as mini
from ends import PATIENCE_S, SERIAL, Answers, Ends, Phone
from manual_loop import manual_loop
from shown import shows

STRANGERS = 4
HALF_OPEN_MAX = 2
SHORT_OF_A_WAIT_S = lockout.FIRST_WAIT_S - 5  # answers are heard later than they were charged
CAR_FULL_S = 3600.0
LATER_CODES = 500_000  # nobody in a story guesses these
PAIRING_FAILED = 0x05
SMALL = {
    "FREE_TRIES": 2,
    "LONGEST_WAIT_S": 60.0,
    "TRIES_PER_DAY": 4,
    "TRIES_PER_GENERATION": 7,
    "WINDOW_TRIES": 2,
    "WINDOWS_PER_DAY": 1,
}
"""The lockout's figures made small, so that a short story reaches all of them."""


class Broken(AssertionError):
    """A rule does not hold."""


def hold(rule: str, *, held: bool) -> None:
    if not held:
        raise Broken(rule)


@dataclass(frozen=True)
class Before:
    """What a story begins with: a charger's files, what two phones remember, an old passcode."""

    files: Path
    owner: Known
    guest: Known
    old: str
    code: str


async def prepared(directory: Path) -> Before:
    """A charger whose passcode was changed once, with an owner and a guest, charging a car."""
    async with victim(directory / "charger") as on:
        guest = await on.ends.phone("guest's")
        await (await guest.enter(Answers([on.code]))).close()
        owner, old = await on.owner_in(), on.code
        on.code = (await owner.rotate_passcode()).passcode
        await (await on.owner.enter()).close()
        await (await guest.enter()).close()
        on.daemon._plug()
        known = on.owner.vault.known[SERIAL], guest.vault.known[SERIAL]
        before = Before(directory / "before", *known, old, on.code)
    shutil.copytree(directory / "charger", before.files)
    return before


@dataclass
class Seen:
    """What an observer counts of the passcode in force.

    answers: to guesses, all; day: when the latest were heard, without those that the button
    allowed. row_s: since when failures are in a row. pressed_s: when the button was last pressed.
    """

    answers: int = 0
    day: list[float] = field(default_factory=list)
    row_s: float = -WINDOW_S
    pressed_s: float = -WINDOW_S

    def answered(self, now_s: float) -> None:
        self.answers += 1
        hold("the budget of a generation", held=self.answers <= lockout.TRIES_PER_GENERATION)
        if now_s < self.pressed_s + WINDOW_S + 1:
            return
        self.day = [at_s for at_s in self.day if at_s > now_s - DAY_S + 60] + [now_s]
        hold("the budget of a day", held=len(self.day) <= lockout.TRIES_PER_DAY)
        row = [at_s for at_s in self.day if at_s > max(self.row_s, now_s - SHORT_OF_A_WAIT_S)]
        hold("the free tries", held=len(row) <= lockout.FREE_TRIES)

    def excused(self) -> None:
        """An owner ended the pause."""
        self.day = []


class Story:
    """One charger, from power-up to the end; every deed is told with what must hold after it."""

    def __init__(self, on: Victim, mains: Mains, guest: Phone, strangers: list[Phone]) -> None:
        self.on = on
        self.mains = mains
        self.guest = guest
        self.free = strangers
        self.taken: dict[Line, Phone] = {}
        self.half_open: list[Line] = []
        self.seen = Seen()
        self.old: list[str] = []
        self.secrets = on.secrets()
        self.guesses = 0
        self.guest_known = True
        self.paired = False

    @classmethod
    async def begin(cls, before: Before, directory: Path, rule: Rule) -> "Story":
        shutil.copytree(before.files, directory, ignore=shutil.ignore_patterns("button"))
        ends, mains = Ends(await serve_radio("127.0.0.1", 0), directory), Mains()
        await ends.switch_on(rule=rule, air=mains.air)
        owner, guest = await ends.phone("owner's"), await ends.phone("guest's")
        draws = itertools.count(LATER_CODES)
        owner.surroundings = replace(owner.surroundings, randbelow=lambda _: next(draws))
        owner.vault.put(before.owner)
        guest.vault.put(before.guest)
        on = Victim(ends, owner, before.code, rule, mains.air)
        mains.store(on)
        strangers = [await ends.phone("stranger") for _ in range(STRANGERS)]
        story = cls(on, mains, guest, strangers)
        story.old.append(before.old)
        return story

    async def end(self) -> None:
        """However it went, the owner gets in."""
        try:
            await (await self.owner_in()).close()
            hold("no fault", held="fault" not in "\n".join(self.on.ends.reports))
        finally:
            await self.on.ends.close()

    # ---- the attacker

    async def line(self, which: int = 0) -> Line | None:
        """A stranger's link, greeted; None where all its radios are on half open ones."""
        if not self.free:
            return None
        phone = self.free.pop(which % len(self.free))
        line = await self.on.line(phone)
        self.taken[line] = phone
        await line.greet()
        return line

    async def leave(self, line: Line) -> None:
        await line.link.close()
        self.free.append(self.taken.pop(line))

    async def guesses_code(self, which: int, code: str, manner: str) -> None:
        """One attempt. A code that is valid no more is a guess like any other."""
        line = await self.line(which)
        if line is None:
            return
        refusal = await self.compares(line, code)
        if refusal is None and manner == "greets again":
            await line.greet()
            await self.compares(line, code_at(self.guesses))
        elif refusal is None and manner == "confirms":
            await line.say(GARBAGE)
            await line.answer()
        elif manner == "cuts the power":
            await self.cut_power()
        if manner == "stays" and len(self.half_open) < HALF_OPEN_MAX:
            self.half_open.append(line)
        elif line in self.taken:
            await self.leave(line)

    async def compares(self, line: Line, code: str) -> int | None:
        """Send a share and see what comes; gives a refusal's code."""
        self.guesses += 1
        prover = line.prover(code)
        try:
            answer = await line.shared(prover)
        except LinkLost:
            return 0
        if isinstance(answer, mini.Refusal):
            hold("refused for a reason", held=answer.code in {PAUSED, EXHAUSTED})
            return answer.code
        self.seen.answered(manual_loop().time())
        hold("only one passcode is valid", held=line.proof(prover, answer) is None)
        return None

    async def guesses_at_once(self, code: str) -> None:
        lines = [await self.line() for _ in range(len(self.free))]
        held = [line for line in lines if line is not None]
        await asyncio.gather(*(self.compares(line, code) for line in held))
        for line in held:
            await self.leave(line)

    async def leaves_half_open(self, which: int) -> None:
        if len(self.half_open) < HALF_OPEN_MAX and (line := await self.line(which)):
            self.half_open.append(line)

    async def goes_on(self, code: str) -> None:
        """With a handshake that was begun before whatever has happened since."""
        line = self.half_open.pop(0)
        prover = line.prover(code)
        with suppress(LinkLost):
            answer = await line.shared(prover)
            if not isinstance(answer, mini.Refusal):
                self.guesses += 1
                self.seen.answered(manual_loop().time())
                hold("only one passcode is valid", held=line.proof(prover, answer) is None)
        await self.leave(line)

    async def guesses_until_cut(self, which: int, number: int) -> None:
        """The power is cut at the number-th thing that the charger stores or says."""
        line = await self.line(which)
        if line is None:
            return
        self.mains.cut_at(number)
        guessing = asyncio.create_task(self.compares(line, code_at(self.guesses)))
        cutting = asyncio.create_task(self.mains.gone.wait())
        await asyncio.wait({guessing, cutting}, return_when=asyncio.FIRST_COMPLETED)
        for _ in range(5):  # what had been said by then is still on its way
            if not guessing.done():
                await round_trips(self.on.owner)
        cutting.cancel()
        self.mains.cut_at(0)
        await self.cut_power()
        await asyncio.gather(guessing, return_exceptions=True)
        if error := guessing.exception():
            raise error

    # ---- people

    async def owner_in(self) -> Charger:
        async with asyncio.timeout(PATIENCE_S):
            charger = await self.on.owner.enter()
        hold("the owner comes as an owner", held=charger.role == "owner")
        return charger

    async def owner_does(self, what: str) -> None:
        charger = await self.owner_in()
        match what:
            case "rotate":
                await self.new_passcode((await charger.rotate_passcode()).passcode)
                return
            case "revoke":
                bond = self.on.owner.vault.known[SERIAL].bond
                assert bond is not None
                await self.new_passcode(
                    (await charger.rotate_passcode(keep=[bond.bond_id])).passcode
                )
                self.guest_known = self.paired = False
                return
            case "forget":
                for phone in await charger.phones():
                    if not phone.this:
                        await charger.forget_phone(phone.id)
                self.guest_known = self.paired = False
            case "end the pause":
                await charger.end_pause()
                self.seen.excused()
            case _:
                hold("charging goes on", held=(await charger.status()).state == "charging")
        await charger.close()

    async def new_passcode(self, code: str) -> None:
        self.old.append(self.on.code)
        self.on.code = code
        self.seen = Seen(pressed_s=self.seen.pressed_s)
        self.secrets |= self.on.secrets()

    async def guest_comes(self) -> None:
        """By bond where there is one; else by passcode, unless that is paused."""
        known = self.guest.vault.known[SERIAL]
        if not self.guest_known:
            self.guest.vault.put(msgspec.structs.replace(known, bond=None, candidates=()))
        try:
            charger = await self.guest.enter(Answers([self.on.code] * 2))
        except (errors.Paused, errors.Exhausted):
            hold("a bond is never paused", held=not self.guest_known)
            return
        hold("a guest stays a guest", held=charger.role == "user")
        if not self.guest_known:
            self.seen.row_s, self.guest_known = manual_loop().time(), True
        await charger.close()

    async def phone_pairs(self, how: str) -> None:
        """By its own dialog: in a window of the owner's, with its code or without; or unasked."""
        owner = await self.owner_in()
        radio, charger = self.on.ends.room.address, of(self.on)
        async with AsyncExitStack() as stack:
            attacker = await stack.enter_async_context(phones(radio, charger))
            if how == "uninvited":
                phone = Typing(await attacker.link())
                hold("nobody pairs uninvited", held=(await phone.request())[0] == PAIRING_FAILED)
            else:
                shown = await stack.enter_async_context(window(owner))
                code, right = int(shown.codes[-1].code), how == "invited"
                link = await paired(attacker, code if right else code ^ 1 << self.guesses % 20)
                hold("a wrong code pairs nobody", held=right is (link is not None))
                if right:
                    await shown.until(PhonePaired)
                    self.paired = True
        kinds = {phone.kind for phone in await owner.phones()}
        hold("nobody paired but who was invited", held=("bluetooth" in kinds) is self.paired)
        await owner.close()

    async def presses(self) -> None:
        self.on.daemon.service.button(held=False)
        await self.on.daemon.service.settled()
        if self.seen.pressed_s + WINDOW_S <= manual_loop().time():
            self.seen.pressed_s = manual_loop().time()

    async def is_reset(self) -> None:
        """Somebody holds the button after a power cut; then the owner sets a passcode again."""
        await self.cut_power()
        await self.on.ends.hold_button()
        self.on.owner.vault.forget(SERIAL)
        self.guest.vault.forget(SERIAL)
        self.guest.vault.put(Known(SERIAL))
        self.guest_known = self.paired = False
        await self.new_passcode((await (await self.on.owner.enter()).set_passcode()).passcode)
        await (await self.on.owner.enter()).close()
        self.secrets |= self.on.secrets()

    # ---- the charger

    async def cut_power(self) -> None:
        await self.on.cut_power()
        self.mains.store(self.on)
        self.half_open.clear()
        for line in tuple(self.taken):
            await line.ended()
            await self.leave(line)

    async def time_passes(self, seconds: float) -> None:
        await round_trips(self.on.owner)  # what is under way on the air ends before
        await self.on.time_passes(seconds)
        if seconds > CAR_FULL_S:  # another one comes
            self.on.daemon._unplug()
            self.on.daemon._plug()
        for _ in range(5):
            await asyncio.sleep(0)

    async def holds(self) -> None:
        """What is true after every deed."""
        daemon = self.on.daemon
        kept = look_into(self.on.ends.directory)  # verifies the chain of the log
        charged = kept.durable.lockout.charged
        hold("each answer is charged and stored", held=charged >= self.seen.answers)
        hold("the budget is stored", held=charged <= lockout.TRIES_PER_GENERATION)
        hardware = daemon._hardware
        assert hardware is not None
        status = hardware.reading(daemon.service.now_s()).status
        hold("charging never stops", held=status is ChargeStatus.CHARGING)
        told = [f"{entry.event} {entry.detail}" for entry in kept.entries]
        told += self.on.ends.reports
        told_all = "\n".join(told)
        shown = [code for code in (*self.old, self.on.code) if shows(told_all, code)]
        hold("no passcode is told", held=not shown)
        raw = (self.on.ends.directory / "charger.sqlite-wal").read_bytes()
        text = "\n".join((*told, raw.decode("latin-1")))
        private = {n: s for n, s in self.secrets.items() if n in PRIVATE}
        hold("no secret is told or kept", held=leaks(text, private) == [])


PRIVATE = {"the identity's key", "a bond's secret", "the owner's token", "w1"}
"""What a charger must not have in its database at all."""
