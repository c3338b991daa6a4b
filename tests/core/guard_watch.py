"""The rules of the design, checked from outside after every event that a guard takes.

What is allowed is worked out anew from what was seen, in seconds with power on: never from the
guard's own figures. Running seconds fall behind these when power is cut, so that whatever the
guard allows must be allowed here too.
"""

from dataclasses import dataclass, replace

from chargepin.core import commands
from chargepin.core import guard_state as state
from chargepin.core.bonds import Role
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Phase
from chargepin.core.handshake import Verifier
from chargepin.core.identity import Credential
from core.guard_bench import APP, UNIX_S, Bench

DAY_S = 24 * 3600.0
WINDOW_S = 120.0


class Broken(AssertionError):
    """A rule of the design does not hold."""


def hold(rule: str, *, held: bool) -> None:
    if not held:
        raise Broken(rule)


@dataclass
class Attempt:
    """A passcode tried: against which verifier, and whether a success gave it back."""

    link: int
    real_s: float
    secret: Verifier
    returned: bool = False


@dataclass
class Pace:
    """How fast attempts may follow each other: failures in a row, and from where days count."""

    failures: int = 0
    last_s: float = 0.0
    next_s: float = 0.0
    since_s: float = 0.0
    taken: int = 0
    first_of_day: int = 0

    def clear(self, real_s: float) -> None:
        self.failures, self.next_s, self.since_s, self.taken = 0, real_s, real_s, 0

    def count(self, real_s: float) -> None:
        fallen = int((real_s - self.last_s) // DAY_S)
        self.failures = max(0, self.failures - fallen) + 1
        wait_s = min(30.0 * 2 ** (self.failures - 3), 3600.0) if self.failures >= 3 else 0.0
        self.last_s, self.next_s = real_s, real_s + wait_s


class Watched(Bench):
    """A bench that raises Broken as soon as a rule does not hold."""

    attempts: list[Attempt]

    def restart(self) -> None:
        if not hasattr(self, "attempts"):
            self._begin()
        before = self.stored
        self.pressed_s: float | None = None
        self.sessions.clear()
        super().restart()
        self._counters_only_rise(before)
        self._all_attempts_are_charged()

    def _begin(self) -> None:
        self.attempts = []
        self.pace = Pace()
        self.sessions: dict[int, tuple[Verifier | None, int]] = {}
        self.credentials: dict[int, Credential] = {}
        self.asked: dict[int, tuple[Pace, int]] = {}
        self.windowed: list[float] = []
        self.used_before = 0

    def take(self, event: state.Event) -> tuple[state.Effect, ...]:
        before, stored = self.guard, self.stored
        effects = super().take(event)
        if isinstance(event, state.HelloReceived):
            self.credentials[event.link] = event.credential
        if isinstance(event, state.ButtonPressed) and not self.failing:
            self.pressed_s, self.used_before = self.real_s, len(self.windowed)
        if isinstance(event, state.Ticked) and self.stored is stored:
            return effects
        for effect in effects:
            if isinstance(effect, state.Respond):
                self._responding(effect)
            if isinstance(effect, state.Grant):
                self._granting(effect, event)
        if isinstance(event, state.PinOffered | state.PinChecked):
            self._pin(before, event)
        self._only_what_may_write_writes(before, stored, event)
        self._counters_only_rise(stored)
        self._commanded(before, event, effects)
        self._all_attempts_are_charged()
        self._sessions_are_of_now(effects, stored)
        if not isinstance(event, state.Ticked):
            self._owners_get_in()
        return effects

    # ---- attempts -------------------------------------------------------------------------

    def _responding(self, effect: state.Respond) -> None:
        credential = self.stored.credential
        if credential is None or effect.verifier != credential.verifier:
            return
        self._the_pace_is_kept()
        self.pace.count(self.real_s)
        self.attempts.append(Attempt(effect.link, self.real_s, credential.verifier))

    def _pin(self, before: state.Guard, event: state.PinOffered | state.PinChecked) -> None:
        """A passcode said at the stock service is an attempt; a right one leaves no trace."""
        known, now = before.links.get(event.link), self.guard.links.get(event.link)
        pending = known is not None and known.pin is not None
        if isinstance(event, state.PinOffered):
            if now is not None and now.pin is not None and not pending:
                self.asked[event.link] = (replace(self.pace), len(self.windowed))
                credential = self.stored.credential
                assert credential is not None
                self._the_pace_is_kept()
                self.pace.count(self.real_s)
                self.attempts.append(Attempt(event.link, self.real_s, credential.verifier))
        elif pending and event.held and not self.failing:
            self.pace, windowed = self.asked.pop(event.link)
            del self.windowed[windowed:]
            self.attempts[-1].returned = True

    def _the_pace_is_kept(self) -> None:
        """3 free, then 30 s doubling to 1 h, 10 a day; else within what the button allows."""
        counted = [a for a in self.attempts[self.pace.first_of_day :] if not a.returned]
        today = sum(a.real_s > self.real_s - DAY_S for a in counted)
        if self.real_s >= self.pace.next_s and today < 10:
            self.pace.taken += 1
            elapsed_s = self.real_s - self.pace.since_s
            hold("few tries at first", held=self.pace.taken <= 3 + 1 + elapsed_s / 30)
            return
        pressed_s = self.pressed_s
        self.windowed.append(self.real_s)
        if pressed_s is None or self.real_s >= pressed_s + WINDOW_S:
            raise Broken("no attempt in a pause, unless the button was pressed")
        hold("five tries in a window", held=len(self.windowed) <= self.used_before + 5)
        # windows opened within 24 hours lie in any shorter span, however long each was used
        in_day = sum(at_s > self.real_s - (DAY_S - WINDOW_S) for at_s in self.windowed)
        hold("three windows a day", held=in_day <= 15)

    def _all_attempts_are_charged(self) -> None:
        """Each is, durably, before its answer; a success returned its own, nothing else any."""
        credential = self.stored.credential
        if credential is None:
            return
        spent = sum(a.secret == credential.verifier and not a.returned for a in self.attempts)
        charged = self.stored.lockout.charged
        hold("each attempt is charged, and no other's returned", held=charged == spent)
        hold("80 attempts for a passcode", held=spent <= 80)

    # ---- what is granted ------------------------------------------------------------------

    def _valid(self) -> dict[Verifier | None, Role]:
        """Whoever proves one of these now is let in, with that role."""
        durable = self.stored
        if durable.mode is Mode.OPEN:
            return {None: Role.OWNER}
        valid: dict[Verifier | None, Role] = {bond.verifier: bond.role for bond in durable.bonds}
        if durable.credential is not None:
            valid[durable.credential.verifier] = Role.USER
        return valid

    def _granting(self, effect: state.Grant, event: state.Event) -> None:
        proved = isinstance(event, state.ProofChecked) and event.held
        hold("nobody gets in without a proof", held=proved)
        secret = self.responded.get(effect.link)
        valid = self._valid()
        hold("nobody gets in by what is no longer valid", held=secret in valid)
        hold("nobody gets a higher role", held=effect.role == valid[secret])
        self.sessions[effect.link] = (secret, self.stored.generation)
        for attempt in reversed(self.attempts):
            if attempt.link == effect.link and attempt.secret == secret:
                attempt.returned = True
                self.pace.clear(self.real_s)
                break

    def _sessions_are_of_now(self, effects: tuple[state.Effect, ...], before: Durable) -> None:
        durable, valid = self.stored, self._valid()
        for number, link in self.guard.links.items():
            if link.phase is Phase.GRANTED:
                secret, generation = self.sessions[number]
                hold("no session outlives what it proved", held=secret in valid)
                hold("no session outlives its generation", held=generation == durable.generation)
        if (before.generation, before.incarnation) != (durable.generation, durable.incarnation):
            dropped = any(isinstance(effect, state.DropAll) for effect in effects)
            hold("a change of passcode drops everybody", held=dropped)
            self.pace.clear(self.real_s)
            self.pace.first_of_day = len(self.attempts)

    def _owners_get_in(self) -> None:
        """Whatever strangers did: a bond opens the charger at once, without a trace in it."""
        for bond in self.stored.bonds:
            if bond.role is not Role.OWNER:
                continue
            guard = self.guard
            effects: tuple[state.Effect, ...] = ()
            hello = state.HelloReceived(-1, Credential.BOND, APP, bond)
            proof = state.ProofChecked(-1, held=True, unix_s=UNIX_S)
            for event in (state.LinkOpened(-1), hello, state.ShareReceived(-1), proof):
                after = self.step(guard, event, self.now_s)
                guard, effects = after.guard, after.effects
                hold("a bond writes nothing", held=not after.entries)
            expected = (state.Grant(-1, Role.OWNER, bond.bond_id),)
            hold("an owner's bond always gets in", held=effects == expected)
            hold("a bond charges nothing", held=guard.durable is self.guard.durable)

    # ---- what is changed ------------------------------------------------------------------

    def _only_what_may_write_writes(
        self, before: state.Guard, stored: Durable, event: state.Event
    ) -> None:
        hold("what is in force is what is stored", held=self.guard.durable == self.stored)
        match event:
            case state.LinkOpened() | state.LinkClosed() | state.HelloReceived():
                quiet = True
            case state.ShareReceived(link):
                quiet = self.credentials.get(link) is not Credential.PASSCODE
            case state.ProofChecked(link, held):
                quiet = not held or self.credentials.get(link) is not Credential.PASSCODE
            case state.Commanded(link):
                known = before.links.get(link)
                quiet = known is None or known.phase is not Phase.GRANTED
            case _:
                quiet = False
        hold("a stranger's event changes nothing", held=not quiet or self.stored is stored)

    def _counters_only_rise(self, before: Durable) -> None:
        now = self.stored
        hold("a generation never falls", held=now.generation >= before.generation)
        hold("an incarnation never falls", held=now.incarnation >= before.incarnation)
        hold("running time never falls", held=now.running_s >= before.running_s)
        if now.credential is not None and now.credential != before.credential:
            hold("a generation has one passcode", held=now.generation > before.generation)

    def _commanded(
        self, before: state.Guard, event: state.Event, effects: tuple[state.Effect, ...]
    ) -> None:
        if not isinstance(event, state.Commanded) or state.Answer(event.link) not in effects:
            return
        role = before.links[event.link].role
        needed = commands.ROLE_NEEDED[type(event.command)]
        hold("a command needs its role", held=role >= needed)
        command = event.command
        if isinstance(command, commands.EndPause):
            self.pace.clear(self.real_s)
            self.pace.first_of_day = len(self.attempts)
        if isinstance(command, commands.SetPasscode) and command.keep is not None:
            left = {bond.bond_id for bond in self.stored.bonds}
            hold("a revocation keeps only those named", held=left <= command.keep)
