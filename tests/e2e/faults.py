"""Chargers, apps and people that are wrong in one way each."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from chargepin.charger.air import (
    Air,
    AirEvent,
    Appearance,
    AttError,
    BluetoothBonded,
    Pairing,
    Rules,
    Secured,
)
from chargepin.charger.daemon import Rule
from chargepin.core import commands, guard, handshake
from chargepin.core import guard_state as state
from chargepin.core.catalogue import Version
from chargepin.core.durable import Mode
from chargepin.core.identity import Credential
from chargepin.core.lockout import Lockout
from e2e.one_process import OneProcess
from manual_loop import at_rest, manual_loop

NEWEST_APP = Version(99, 0, 0)


@dataclass
class Switch:
    """Turns a fault on just before a step, so that the steps before it find nothing wrong."""

    on: bool = False

    async def turn(self, _: OneProcess) -> None:
        self.on = True

    def rule(self, faulty: Rule) -> Rule:
        """A rule that is faulty once this is on."""

        def step(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
            chosen = faulty if self.on else guard.step
            return chosen(now, event, now_s)

        return step


async def hurry(_: OneProcess, seconds: float = 15.0) -> None:
    """Let the time pass for which a step waits in vain: once this process has nothing to do."""

    async def pass_time() -> None:
        await at_rest()
        manual_loop().advance(seconds)

    passing = asyncio.create_task(pass_time())
    _PASSING.add(passing)
    passing.add_done_callback(_PASSING.discard)


_PASSING: set[asyncio.Task[None]] = set()


# ---- rules -------------------------------------------------------------------------------------


def any_app(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """No app is too old."""
    if isinstance(event, state.HelloReceived):
        event = replace(event, app=NEWEST_APP)
    return guard.step(now, event, now_s)


def closed_while_open(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """An open charger lets no app in."""
    current = isinstance(event, state.HelloReceived) and event.app >= now.oldest_app
    if isinstance(event, state.HelloReceived) and current:
        event = replace(event, known=event.credential is not Credential.OPEN)
    return guard.step(now, event, now_s)


def other_verifier(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """Another verifier is kept than the one that was sent."""
    if isinstance(event, state.Commanded) and isinstance(event.command, commands.SetPasscode):
        other = handshake.verifier_of(handshake.open_witness(bytes(32)))
        credential = replace(event.command.credential, verifier=other)
        event = replace(event, command=replace(event.command, credential=credential))
    return guard.step(now, event, now_s)


def forgets_attempts(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """Attempts are neither counted nor logged."""
    after = guard.step(now, event, now_s)
    if isinstance(event, state.ShareReceived):
        return replace(after, guard=replace(after.guard, durable=now.durable), entries=())
    return after


def no_owner(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """The one who set the passcode is a user like any other."""
    if isinstance(event, state.Commanded) and isinstance(event.command, commands.AddBond):
        event = replace(event, command=replace(event.command, token_hash=None))
    return guard.step(now, event, now_s)


def no_bonds(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """No bond is known again."""
    if isinstance(event, state.HelloReceived):
        event = replace(event, bond=None)
    return guard.step(now, event, now_s)


def any_bond(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """Any tag is taken for the first bond's."""
    if isinstance(event, state.HelloReceived) and event.credential is Credential.BOND:
        event = replace(event, bond=now.durable.bonds[0])
    return guard.step(now, event, now_s)


def open_to_the_open(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """Whoever proves the empty passcode is let in, as if none were set."""
    link = getattr(event, "link", None)
    held = now.links.get(link) if isinstance(link, int) else None
    said = event.credential if isinstance(event, state.HelloReceived) else None
    if Credential.OPEN not in (said, held.credential if held else None):
        return guard.step(now, event, now_s)
    as_open = replace(now, durable=replace(now.durable, mode=Mode.OPEN))
    after = guard.step(as_open, event, now_s)
    return replace(after, guard=replace(after.guard, durable=now.durable))


def never_pauses(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """Attempts are counted and logged, but nobody has to wait."""
    after = guard.step(now, event, now_s)
    lockout = Lockout(charged=after.guard.durable.lockout.charged)
    if after.guard.durable is now.durable:
        return after
    durable = replace(after.guard.durable, lockout=lockout)
    return replace(after, guard=replace(after.guard, durable=durable))


def pauses_for_ever(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """The end of a pause is logged and answered, but the pause goes on."""
    after = guard.step(now, event, now_s)
    if isinstance(event, state.Commanded) and isinstance(event.command, commands.EndPause):
        durable = replace(after.guard.durable, lockout=now.durable.lockout)
        return replace(after, guard=replace(after.guard, durable=durable))
    return after


def pauses_bonds(now: state.Guard, event: state.Event, now_s: float) -> state.Step:
    """During a pause the bonds are not known either."""
    paused = now.durable.lockout.refusal(now_s) is not None
    return (no_bonds if paused else guard.step)(now, event, now_s)


# ---- the air -----------------------------------------------------------------------------------


class Wrapped:
    """A port handed on as it is, but for what a fault changes."""

    def __init__(self, whole: object, **changed: Callable[..., Any]) -> None:
        self._whole = whole
        self._changed = changed

    def __getattr__(self, name: str) -> Any:
        return self._changed.get(name) or getattr(self._whole, name)


def with_rules(change: Callable[[Rules], Rules]) -> Callable[[Air], Air]:
    """An adapter that asks other rules than the charger's."""

    def wrapped(air: Air) -> Air:
        async def start(
            appearance: Appearance, rules: Rules, tell: Callable[[AirEvent], None]
        ) -> None:
            await air.start(appearance, change(rules), tell)

        return cast("Air", Wrapped(air, start=start))

    return wrapped


def stock_for_all(switch: Switch) -> Callable[[Air], Air]:
    """Anybody may read, write and subscribe the stock service."""

    def change(rules: Rules) -> Rules:
        def stock(link: int, secured: Secured) -> AttError | None:
            return None if switch.on else rules.stock(link, secured)

        return cast("Rules", Wrapped(rules, stock=stock))

    return with_rules(change)


def stock_asks_for_a_code(switch: Switch) -> Callable[[Air], Air]:
    """The stock service answers as if there were a code to type, although no window is open."""

    def change(rules: Rules) -> Rules:
        def stock(link: int, secured: Secured) -> AttError | None:
            prompting = AttError.INSUFFICIENT_AUTHENTICATION
            return prompting if switch.on else rules.stock(link, secured)

        return cast("Rules", Wrapped(rules, stock=stock))

    return with_rules(change)


def pairs_with_all(switch: Switch, how: Pairing = Pairing.JUST_WORKS) -> Callable[[Air], Air]:
    """Anybody may pair."""

    def change(rules: Rules) -> Rules:
        def pairing(link: int) -> Pairing:
            return how if switch.on else rules.pairing(link)

        return cast("Rules", Wrapped(rules, pairing=pairing))

    return with_rules(change)


def keeps_no_bond(switch: Switch) -> Callable[[Air], Air]:
    """Every bond is forgotten as soon as it is made."""

    def wrapped(air: Air) -> Air:
        async def start(
            appearance: Appearance, rules: Rules, tell: Callable[[AirEvent], None]
        ) -> None:
            def hear(event: AirEvent) -> None:
                if switch.on and isinstance(event, BluetoothBonded):
                    air.forget_bonds()
                tell(event)

            await air.start(appearance, rules, hear)

        return cast("Air", Wrapped(air, start=start))

    return wrapped


def another_code(air: Air) -> Air:
    """The charger compares with another code than the one it shows."""

    def change(rules: Rules) -> Rules:
        def code(link: int) -> int | None:
            shown = rules.code(link)
            return None if shown is None else shown ^ 1

        return cast("Rules", Wrapped(rules, code=code))

    return with_rules(change)(air)


def no_passcode_service(air: Air) -> Air:
    """The charger never shows the passcode service, whatever software it runs."""

    async def start(appearance: Appearance, rules: Rules, tell: Callable[[AirEvent], None]) -> None:
        await air.start(replace(appearance, passcode=False), rules, tell)

    return cast("Air", Wrapped(air, start=start))


def silent_about(kind: type[AirEvent]) -> Callable[[Air], Air]:
    """The charger is not told of events of a kind."""

    def wrapped(air: Air) -> Air:
        async def start(
            appearance: Appearance, rules: Rules, tell: Callable[[AirEvent], None]
        ) -> None:
            def hear(event: AirEvent) -> None:
                if not isinstance(event, kind):
                    tell(event)

            await air.start(appearance, rules, hear)

        return cast("Air", Wrapped(air, start=start))

    return wrapped


def keeps_forgotten_phones(air: Air) -> Air:
    """The adapter goes on as if nobody had been forgotten."""

    def forget_phone(_bond_id: str) -> Sequence[int]:
        return []

    return cast("Air", Wrapped(air, forget_phone=forget_phone))


def never_hangs_up(air: Air) -> Air:
    """The order to hang up is ignored."""

    def drop(_link: int, *, flush: bool) -> None:
        _ = flush

    return cast("Air", Wrapped(air, drop=drop))


def hangs_up_on_nobody(switch: Switch) -> Callable[[Air], Air]:
    """The same, from a moment on."""

    def wrapped(air: Air) -> Air:
        def drop(link: int, *, flush: bool) -> None:
            if not switch.on:
                air.drop(link, flush=flush)

        return cast("Air", Wrapped(air, drop=drop))

    return wrapped


# ---- files and people --------------------------------------------------------------------------


def forgets_everything(charger_files: Path) -> None:
    """The charger's state is gone after a restart."""
    for file in charger_files.glob("charger.sqlite*"):
        file.unlink()
