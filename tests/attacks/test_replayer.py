"""The replayer: it kept everything that the charger ever accepted, from any phone and any day.

It wants any of it to be accepted once more: after a rotation, after its bond was forgotten, after
a power cut, after a reset.
"""

import secrets
from pathlib import Path

import msgspec
import pytest

from attacks.report import Row, Tell
from attacks.stage import WRONG, Line, Victim, victim
from attacks.test_middle import foreign
from chargepin.app import errors
from chargepin.app.ports import KeptBond
from chargepin.charger.daemon import Rule
from chargepin.core import commands, guard
from chargepin.core.guard_state import Commanded, Event, Guard, Step
from core.guard_faults import with_durable
from docs import mini_client as mini
from ends import SERIAL, Answers, Phone

INDEX = 555_555
NOT_SET, BOND_UNKNOWN = 4, 3


def nothing_is_forgotten(before: Guard, event: Event, now_s: float) -> Step:
    """A bond that is forgotten goes from the list alone."""
    after = guard.step(before, event, now_s)
    if isinstance(event, Commanded) and isinstance(event.command, commands.ForgetBond):
        return with_durable(after, before.durable)
    return after


async def by_bond(on: Victim, bond: KeptBond, identity: bytes) -> int:
    """Come with an old bond; the refusal's code, or 0 for being let in as far as a share."""
    line = await on.line()
    nonce = secrets.token_bytes(16)
    tag = mini.bond_tag(mini.bond_tag_key(bond.secret, identity), (await line.hint()).nonce, nonce)
    line.said = mini.hello(mini.BOND, nonce, tag)
    await line.say(line.said)
    raw = await line.answer()
    assert raw is not None
    answer = mini.read_answer(line.said, raw)
    await line.link.close()
    return answer.code if isinstance(answer, mini.Refusal) else 0


async def by_passcode(on: Victim, code: str) -> int:
    """Come with an old passcode; the code of the refusal, 0 for being let in."""
    line = await on.line()
    await line.greet()
    prover = line.prover(code)
    answer = await line.shared(prover)
    if isinstance(answer, mini.Refusal):
        return answer.code
    found = line.proof(prover, answer)
    confirm = found.confirm_p if found else bytes(32)
    await line.say(bytes([mini.CONFIRM_P]) + confirm)
    raw = await line.answer()
    assert raw is not None
    await line.link.close()
    return raw[2] if raw[0] == mini.REFUSAL else 0


class Tape:
    """A whole way in, as it was on the air; played on another link message by message."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []

    async def record(self, line: Line, code: str) -> None:
        await line.greet()
        prover = line.prover(code)
        share_v = await line.shared(prover)
        assert isinstance(share_v, bytes)
        proof = line.proof(prover, share_v)
        assert proof is not None
        self.messages = [
            line.said,
            bytes([mini.SHARE_P]) + prover.start(),
            bytes([mini.CONFIRM_P]) + proof.confirm_p,
        ]
        await line.say(self.messages[-1])
        granted = await line.answer()
        assert granted is not None
        assert granted[0] == mini.RECORD
        await line.link.close()

    async def play(self, line: Line) -> int:
        """Gives the code of the refusal that ends it; 0 for a session."""
        for message in self.messages:
            await line.say(message)
            answer = await line.answer()
            if answer is None or answer[0] == mini.REFUSAL:
                await line.link.close()
                return answer[2] if answer else -1
        return 0


async def stolen(on: Victim, name: str) -> tuple[Phone, KeptBond, bytes]:
    phone = await on.ends.phone(name)
    await (await phone.enter(Answers([on.code]))).close()
    known = phone.vault.known[SERIAL]
    assert known.bond is not None
    assert known.identity is not None
    return phone, known.bond, known.identity


async def forgotten(directory: Path, rule: Rule) -> int:
    """A phone is stolen and its bond forgotten; gives what comes of the bond after a power cut."""
    async with victim(directory, index=INDEX, rule=rule) as on:
        _, bond, identity = await stolen(on, "stolen")
        owner = await on.owner_in()
        await owner.forget_phone(bond.bond_id)
        await owner.close()
        await on.cut_power()
        return await by_bond(on, bond, identity)


async def test_replayer(tmp_path: Path, tell: Tell) -> None:
    async with victim(tmp_path / "held", index=INDEX) as on:
        tape, first = Tape(), on.code
        await tape.record(await on.line(), first)
        codes = [await tape.play(await on.line())]
        await on.cut_power()
        codes.append(await tape.play(await on.line()))
        assert codes == [WRONG, WRONG]
        assert on.charged == 2
        await on.end_pause()

        inside = await on.owner_in()
        record = foreign(inside)
        await inside.close()
        _, bond, identity = await stolen(on, "left behind")
        owner = await on.owner_in()
        kept = on.owner.vault.known[SERIAL].bond
        assert kept is not None
        on.code = (await owner.rotate_passcode(keep=[kept.bond_id])).passcode
        for _ in range(2):
            line = await on.line()
            await line.say(mini.hello(mini.PASSCODE, secrets.token_bytes(16)), record)
            await line.ended()
            assert await tape.play(await on.line()) == WRONG
            assert await by_passcode(on, first) == WRONG
            assert await by_bond(on, bond, identity) == BOND_UNKNOWN
            await on.cut_power()
            await on.end_pause()

        second, owners = on.code, kept
        await on.ends.hold_button()
        assert await by_passcode(on, second) == NOT_SET
        assert await by_bond(on, owners, identity) == BOND_UNKNOWN
        known = on.owner.vault.known[SERIAL]
        on.owner.vault.put(msgspec.structs.replace(known, bond=None))
        with pytest.raises(errors.IdentityMismatch):
            await on.owner.enter()
        on.owner.vault.forget(SERIAL)
        on.code = (await (await on.owner.enter()).set_passcode()).passcode
        await (await on.owner.enter()).close()
        for old in (first, second):
            assert await by_passcode(on, old) == WRONG
        assert await by_bond(on, owners, identity) == BOND_UNKNOWN
    assert await forgotten(tmp_path / "forgotten", guard.step) == BOND_UNKNOWN
    won = await forgotten(tmp_path / "kept", nothing_is_forgotten)
    assert won == 0
    tell(
        Row(
            "8 replayer",
            16,
            "nothing: refused, or the link ends",
            "a stolen phone is greeted as known where a forgotten bond stays in the table",
            "nonces of both sides in every proof; rotation, forgetting and reset stored first",
        )
    )
