"""A stranger with many links, a stopwatch and the mains switch, beside people who may get in."""

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from chargepin.core import commands, guard
from chargepin.core.bonds import Role
from chargepin.core.durable import Factory
from chargepin.core.guard_state import Answer, Grant, PinChecked, PinOffered, Refuse
from chargepin.core.identity import Credential, RefusalCode
from core.guard_bench import (
    PROTECTED,
    PowerUp,
    StepFunction,
    bond,
    passcode,
    rotation,
    verifier,
)
from core.guard_watch import Watched

LINKS = st.integers(0, 7)
SECONDS = st.sampled_from([1.0, 29.0, 30.0, 119.0, 121.0, 3600.0, 7 * 3600.0, 24 * 3600.0])
COMMANDS = st.sampled_from(["rotate", "revoke", "forget", "add", "end pause", "nothing"])


class Attack(RuleBasedStateMachine):
    """step, power_up: the rules under attack. outsiders: secrets that are valid no longer."""

    step: StepFunction = staticmethod(guard.step)
    power_up: PowerUp = staticmethod(guard.powered_up)

    @initialize(from_factory=st.booleans())
    def unpack(self, *, from_factory: bool) -> None:
        durable = PROTECTED
        if from_factory:
            durable = replace(durable, factory=Factory(passcode(1)))
        self.bench = Watched(durable, step=self.step, power_up=self.power_up)
        self.strange: list[int] = []
        self.outsiders = {verifier(0)}
        self.visiting: int | None = None
        self.drawn = 10

    # ---- strangers ------------------------------------------------------------------------

    def link(self, which: int) -> int:
        return self.strange[which % len(self.strange)]

    @precondition(lambda self: len(self.strange) < 8)
    @rule()
    def stranger_opens(self) -> None:
        self.strange.append(self.bench.open())

    @precondition(lambda self: self.strange)
    @rule(which=LINKS, credential=st.sampled_from(Credential))
    def stranger_greets(self, which: int, credential: Credential) -> None:
        self.bench.hello(self.link(which), credential)

    @precondition(lambda self: self.strange)
    @rule(which=LINKS)
    def stranger_shares(self, which: int) -> None:
        self.bench.share(self.link(which))

    @precondition(lambda self: self.strange)
    @rule(which=LINKS)
    def stranger_proves(self, which: int) -> None:
        self.bench.proof(self.link(which), self.outsiders)

    @precondition(lambda self: self.strange)
    @rule(which=LINKS)
    def stranger_commands(self, which: int) -> None:
        self.bench.command(self.link(which), commands.EndPause())

    @precondition(lambda self: self.strange)
    @rule(which=LINKS)
    def stranger_leaves(self, which: int) -> None:
        link = self.link(which)
        self.strange.remove(link)
        self.bench.close(link)

    @rule(
        tries=st.sampled_from([1, 3, 5, 12, 80]),
        patient=st.booleans(),
        manner=st.sampled_from(["proves", "breaks off", "greets again", "cuts the power"]),
    )
    def stranger_guesses(self, tries: int, *, patient: bool, manner: str) -> None:
        for _ in range(tries):
            link = self.bench.open()
            self.bench.hello(link, Credential.PASSCODE)
            (effect,) = self.bench.share(link)
            if isinstance(effect, Refuse) and not patient:
                break
            if isinstance(effect, Refuse):
                self.bench.wait(effect.retry_after_s)
            elif manner == "proves":
                self.bench.proof(link, self.outsiders)
            elif manner == "greets again":
                self.bench.hello(link, Credential.PASSCODE)
            elif manner == "cuts the power":
                self.power_is_cut()
            self.bench.close(link)

    @rule(tries=st.integers(1, 5), right=st.booleans(), breaks_off=st.booleans())
    def bonded_phone_asks(self, tries: int, *, right: bool, breaks_off: bool) -> None:
        for _ in range(tries):
            link = self.bench.open()
            self.bench.take(PinOffered(link))
            if self.bench.guard.links[link].pin is not None and not breaks_off:
                self.bench.take(PinChecked(link, right))
            self.bench.close(link)

    # ---- people ---------------------------------------------------------------------------

    @precondition(lambda self: self.visiting is None)
    @rule(by_bond=st.booleans(), goes_on=st.booleans())
    def visitor_begins(self, *, by_bond: bool, goes_on: bool) -> None:
        """Somebody who may get in, now, and perhaps no longer before the end of the handshake."""
        self.visiting = self.bench.open()
        users = [held for held in self.bench.stored.bonds if held.role is Role.USER]
        if by_bond and users:
            self.bench.hello(self.visiting, Credential.BOND, users[0])
        else:
            self.bench.hello(self.visiting, Credential.PASSCODE)
        self.bench.share(self.visiting)
        if goes_on:
            self.visitor_goes_on()

    @precondition(lambda self: self.visiting is not None)
    @rule()
    def visitor_goes_on(self) -> None:
        assert self.visiting is not None
        secret = self.bench.responded.get(self.visiting)
        self.bench.proof(self.visiting, set() if secret is None else {secret})
        self.visiting = None

    @precondition(lambda self: self.bench.guard.links)
    @rule(command=st.sampled_from([commands.EndPause(), commands.Release(), commands.Reset()]))
    def users_ask_for_more(self, command: commands.Command) -> None:
        """Whoever is inside as a user asks for what only others may do."""
        for number, link in self.bench.guard.links.items():
            if link.role is Role.USER:
                (answer,) = self.bench.command(number, command)
                assert answer == Answer(number, commands.ROLE_TOO_LOW)

    @rule()
    def somebody_enters_the_passcode(self) -> None:
        credential = self.bench.stored.credential
        assert credential is not None
        effect = self.bench.attempt(int.from_bytes(credential.verifier.w0))
        if isinstance(effect, Refuse):
            assert effect.code in {RefusalCode.PAUSED, RefusalCode.EXHAUSTED}

    @precondition(lambda self: self.owner_is_known())
    @rule(command=COMMANDS)
    def owner_comes(self, command: str) -> None:
        bench = self.bench
        owner = next(held for held in bench.stored.bonds if held.role is Role.OWNER)
        link = bench.by_bond(owner)
        self.drawn += 1
        match command:
            case "rotate":
                self.expire()
                bench.command(link, rotation(bench.stored, self.drawn))
            case "revoke":
                self.expire()
                self.outsiders |= {held.verifier for held in bench.stored.bonds if held != owner}
                keep = frozenset({owner.bond_id})
                bench.command(link, rotation(bench.stored, self.drawn, keep))
            case "forget":
                for held in bench.stored.bonds:
                    if held.role is Role.USER:
                        self.outsiders.add(held.verifier)
                        bench.command(link, commands.ForgetBond(held.bond_id))
            case "add":
                bench.command(link, commands.AddBond(bond(self.drawn)))
            case "end pause":
                bench.command(link, commands.EndPause())
            case _:
                pass
        bench.close(link)

    @precondition(lambda self: self.visiting is None and self.owner_is_known())
    @rule(by_bond=st.booleans(), command=COMMANDS)
    def owner_overtakes_a_visitor(self, command: str, *, by_bond: bool) -> None:
        self.visitor_begins(by_bond=by_bond, goes_on=False)
        self.owner_comes(command)
        self.visitor_goes_on()

    def owner_is_known(self) -> bool:
        return any(held.role is Role.OWNER for held in self.bench.stored.bonds)

    def expire(self) -> None:
        """From now on, who knows the passcode of today is a stranger."""
        durable = self.bench.stored
        assert durable.credential is not None
        if durable.factory is None or durable.credential != durable.factory.credential:
            self.outsiders.add(durable.credential.verifier)

    @precondition(lambda self: not self.owner_is_known())
    @rule()
    def owner_returns_by_the_button(self) -> None:
        bench, credential = self.bench, self.bench.stored.credential
        assert credential is not None
        effect = bench.attempt(int.from_bytes(credential.verifier.w0))
        if isinstance(effect, Grant):
            bench.press()
            self.drawn += 1
            bench.command(effect.link, commands.AddBond(bond(self.drawn, Role.OWNER)))
            bench.close(effect.link)

    # ---- the charger ----------------------------------------------------------------------

    @rule(seconds=SECONDS)
    def time_passes(self, seconds: float) -> None:
        self.bench.wait(seconds)

    @rule()
    def power_is_cut(self) -> None:
        self.bench.restart()
        self.strange.clear()
        self.visiting = None

    @rule(presses=st.integers(1, 4), guesses=st.sampled_from([0, 4, 6]))
    def button_is_pressed(self, presses: int, guesses: int) -> None:
        for _ in range(presses):
            self.bench.press()
            for _ in range(guesses):
                self.bench.guess()

    @precondition(lambda self: self.bench.stored.factory is not None)
    @rule()
    def charger_is_reset(self) -> None:
        self.bench.restart()
        self.strange.clear()
        self.visiting = None
        self.expire()
        self.outsiders |= {held.verifier for held in self.bench.stored.bonds}
        self.bench.hold()

    @rule()
    def storage_fails(self) -> None:
        self.bench.failing = True
        self.bench.guess()
        self.bench.press()
        if self.visiting is not None:
            self.visitor_goes_on()
        self.bench.failing = False


TestAttack = Attack.TestCase
TestAttack.settings = settings(
    max_examples=80,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
