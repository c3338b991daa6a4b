"""A guard on a bench: a store that keeps, a clock moved by hand, a mains switch."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from chargepin.core import bonds, commands, guard
from chargepin.core import guard_state as state
from chargepin.core.bonds import Bond, Role
from chargepin.core.catalogue import Version
from chargepin.core.durable import ClaimKept, Durable, Factory, Mode, PasscodeCredential
from chargepin.core.handshake import Verifier
from chargepin.core.identity import Credential

SOFTWARE = Version(6, 7, 17)
OLDER_SOFTWARE = Version(6, 7, 16)
APP = Version(1, 0, 0)
UNIX_S = 1_700_000_000
TICK_S = 600.0

StepFunction = Callable[[state.Guard, state.Event, float], state.Step]
PowerUp = Callable[[Durable, Version, Version], state.Step]


def verifier(number: int) -> Verifier:
    """Of a made-up secret: to prove it is to know its number."""
    return Verifier(number.to_bytes(32), bytes(65))


def passcode(number: int) -> PasscodeCredential:
    return PasscodeCredential(verifier(number), number.to_bytes(16), profile=1)


def bond(number: int, role: Role = Role.USER) -> Bond:
    return Bond(
        bond_id=f"{number:016x}",
        name=f"phone {number}",
        role=role,
        verifier=verifier(1_000_000 + number),
        tag_key=number.to_bytes(32),
        generation=1,
        created_s=UNIX_S,
        seen_s=UNIX_S,
    )


OWNER = bond(1, Role.OWNER)
ADMIN = bond(2, Role.ADMIN)
USER = bond(3, Role.USER)
PROTECTED = Durable(
    mode=Mode.PROTECTED, generation=1, credential=passcode(1), bonds=(OWNER, ADMIN, USER)
)

OPEN = Durable()
SEALED = Durable(mode=Mode.SEALED, incarnation=2, generation=5)
FACTORY = Durable(
    mode=Mode.PROTECTED, generation=1, credential=passcode(7), factory=Factory(passcode(7))
)
CLAIM = ClaimKept("account", b"r" * 32)
TOKEN = b"t" * 32
FIRST = commands.SetPasscode(passcode(1), 1, owner_token_hash=TOKEN)


class Bench:
    """Does what the charger's inbox does: step, store what changed, then carry out the effects.

    real_s counts seconds with power on, whatever the charger's running seconds say. failing: the
    next commits fail. responded: against which verifier each link's proof will be compared.
    """

    def __init__(
        self,
        durable: Durable = PROTECTED,
        *,
        step: StepFunction = guard.step,
        power_up: PowerUp = guard.powered_up,
        software: Version = SOFTWARE,
    ) -> None:
        self.step = step
        self.power_up = power_up
        self.software = software
        self.stored = durable
        self.real_s = 0.0
        self.failing = False
        self.entries: list[state.Entry] = []
        self.responded: dict[int, Verifier | None] = {}
        self._next_link = 0
        self.restart()

    # ---- the charger ----------------------------------------------------------------------

    def restart(self) -> None:
        """Cut the power and switch it on: what was not stored is gone."""
        start = self.power_up(self.stored, self.software, APP)
        self.guard = start.guard
        self.stored = start.guard.durable
        self.entries += start.entries
        self.responded.clear()
        self.now_s = self.guard.started_s

    def take(self, event: state.Event) -> tuple[state.Effect, ...]:
        """Give the effects that would be carried out."""
        after = self.step(self.guard, event, self.now_s)
        if after.guard.durable is not self.guard.durable or after.entries:
            if self.failing:
                self.guard = guard.unstored(self.guard, event)
                return guard.storage_failed(event)
            self.stored = after.guard.durable
            self.entries += after.entries
        self.guard = after.guard
        for effect in after.effects:
            if isinstance(effect, state.Respond):
                self.responded[effect.link] = effect.verifier
        return after.effects

    def wait(self, seconds: float) -> None:
        """Let time pass, with the ticks that come in it."""
        while seconds > 0:
            part = min(seconds, TICK_S)
            self.now_s += part
            self.real_s += part
            seconds -= part
            self.take(state.Ticked())

    @property
    def durable(self) -> Durable:
        return self.guard.durable

    def phase(self, link: int) -> state.Phase:
        return self.guard.links[link].phase

    def role(self, link: int) -> Role:
        return self.guard.links[link].role

    def logged(self) -> list[str]:
        return [entry.event for entry in self.entries]

    # ---- apps -----------------------------------------------------------------------------

    def open(self) -> int:
        self._next_link += 1
        self.take(state.LinkOpened(self._next_link))
        return self._next_link

    def close(self, link: int) -> None:
        self.take(state.LinkClosed(link))

    def hello(
        self, link: int, credential: Credential, tagged: Bond | None = None
    ) -> tuple[state.Effect, ...]:
        return self.take(state.HelloReceived(link, credential, APP, tagged))

    def share(self, link: int) -> tuple[state.Effect, ...]:
        return self.take(state.ShareReceived(link))

    def proof(self, link: int, knows: Iterable[Verifier] = ()) -> tuple[state.Effect, ...]:
        """End the handshake; it holds if the app knows the secret it is compared with."""
        wanted = self.responded.get(link)
        held = link in self.responded and (wanted is None or wanted in frozenset(knows))
        return self.take(state.ProofChecked(link, held, UNIX_S))

    def command(self, link: int, command: commands.Command) -> tuple[state.Effect, ...]:
        return self.take(state.Commanded(link, command))

    def press(self) -> tuple[state.Effect, ...]:
        return self.take(state.ButtonPressed())

    def hold(self) -> tuple[state.Effect, ...]:
        return self.take(state.ButtonHeld())

    # ---- whole ways in --------------------------------------------------------------------

    def attempt(self, number: int) -> state.Effect:
        """Try a passcode on a new link; give the last effect: Grant or Refuse."""
        link = self.open()
        self.hello(link, Credential.PASSCODE)
        answer = self.share(link)
        if isinstance(answer[-1], state.Respond):
            answer = self.proof(link, {verifier(number)})
        return answer[-1]

    def guess(self) -> state.Effect:
        """Try a wrong passcode."""
        return self.attempt(0)

    def by_passcode(self) -> int:
        """Get in with the right passcode; give the link."""
        credential = self.durable.credential
        assert credential is not None
        effect = self.attempt(int.from_bytes(credential.verifier.w0))
        assert isinstance(effect, state.Grant)
        return effect.link

    def by_bond(self, held: Bond = OWNER) -> int:
        """Get in with a bond; give the link."""
        link = self.open()
        self.hello(link, Credential.BOND, held)
        self.share(link)
        effects = self.proof(link, {held.verifier})
        assert effects == (state.Grant(link, held.role, held.bond_id),)
        return link

    def by_nothing(self) -> int:
        """Get into an open charger; give the link."""
        link = self.open()
        self.hello(link, Credential.OPEN)
        self.share(link)
        effects = self.proof(link)
        assert effects == (state.Grant(link, Role.OWNER, None),)
        return link


def rotation(
    durable: Durable, number: int, keep: frozenset[str] | None = None
) -> commands.SetPasscode:
    """Command the next generation; number names its passcode."""
    return commands.SetPasscode(passcode(number), durable.generation + 1, rotation=True, keep=keep)


def full_table(users: int, admins: int) -> bonds.Table:
    table = [bond(100 + number) for number in range(users)]
    return (*table, *(bond(200 + number, Role.ADMIN) for number in range(admins)))


def with_charged(durable: Durable, charged: int) -> Durable:
    return replace(durable, lockout=replace(durable.lockout, charged=charged))


def params_of(bench: Bench, credential: Credential = Credential.PASSCODE) -> state.SendParams:
    (effect,) = bench.hello(bench.open(), credential)
    assert isinstance(effect, state.SendParams)
    return effect


def done(link: int) -> tuple[state.Answer]:
    return (state.Answer(link),)


def denied(link: int, denial: commands.Denial) -> tuple[state.Answer]:
    return (state.Answer(link, denial),)
