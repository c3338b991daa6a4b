"""The fake charger: it has the victim's name, its signed answers to relay, and phones that come by.

It wants their passcode: each share that an app sends it lets it check one guess.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attacks.report import Row, Tell
from attacks.stage import Line, Victim, code_at, guessed, seen, victim
from attacks.twin import Twin, twin
from chargepin.app import client, errors
from chargepin.app.entering import LOSSES_FORGIVEN
from chargepin.app.ports import Candidate
from chargepin.app.session import ANSWER_WITHIN_S
from chargepin.core import handshake
from chargepin.core.catalogue import Version
from chargepin.core.identity import Credential, Flag, MessageType, Params, State, sign_answer
from docs import mini_client as mini
from ends import PATIENCE_S, SERIAL, Answers, Phone
from manual_loop import manual_loop

RIGHT = 40_030
SKIPPED = 20  # guesses that the test saves itself
LIST = tuple(code_at(index) for index in range(40_000, 40_040))
"""What it guesses, one after the other; the right one is beyond what an app lets out."""

Answer = Callable[[bytes], Awaitable[bytes]]


@dataclass
class Collector:
    """It answers HELLO as it was told, and each share with its next guess.

    salt: of the charger that it imitates; it needs no secret of it to check a guess.
    """

    answer: Answer
    said: bytes = b""
    params: bytes = b""
    expected: handshake.Response | None = None
    tried: int = 0
    learned: list[str] = field(default_factory=list)

    async def talk(self, it: Twin, link: int, message: bytes) -> None:
        match message[0]:
            case mini.HELLO:
                self.said, self.params = message, await self.answer(message)
                it.say(link, self.params)
            case mini.SHARE_P:
                read = Params.decode(self.params)
                witness = guessed(LIST[self.tried], read.identity, read.salt)
                self.tried += 1
                bound = mini.context(self.said, self.params)
                self.expected = handshake.respond(
                    handshake.verifier_of(witness),
                    read.identity,
                    bound,
                    message[1:],
                    secrets.token_bytes(48),
                )
                share_v = self.expected.share_v + self.expected.confirm_v
                it.say(link, bytes([MessageType.SHARE_V]) + share_v)
            case mini.CONFIRM_P if self.expected and self.expected.confirmed_by(message[1:]):
                self.learned.append(LIST[self.tried - 1])
                it.air.drop(link, flush=False)
            case _:
                pass


@dataclass
class Account:
    """One that knows the charger, and gives no passcode."""

    identity: str

    async def charger_id(self, serial: str) -> str | None:
        return self.identity if serial == SERIAL else None

    async def passcodes(self, charger_id: str) -> Sequence[Candidate]:
        _ = charger_id
        return ()

    async def assign(self, charger_id: str, expected_generation: int) -> Candidate | None:
        _ = charger_id, expected_generation
        return None

    async def deliver(self, charger_id: str, receipt: str, signature: str) -> None: ...


def params_of(key: Ed25519PrivateKey, hello: bytes, **other: object) -> bytes:
    """PARAMS that claim what the attacker likes, signed by a key of its own."""
    fields: dict[str, object] = {
        "credential": Credential(hello[3]),
        "state": State.PROTECTED,
        "flags": Flag(0),
        "identity": key.public_key().public_bytes_raw(),
        "incarnation": 1,
        "generation": 1,
        "profile": 1,
        "salt": bytes(16),
        "retry_after_s": 0,
        "tries_left": 3,
        "software": Version(6, 7, 17),
        "oldest_app": Version(0, 1, 0),
        "serial": SERIAL,
        "nonce": secrets.token_bytes(16),
        **other,
    }
    unsigned = Params(**fields)  # type: ignore[arg-type]  # as a wire would carry them
    return sign_answer(key, hello, unsigned.encode())


def relayed(on: Victim, phone: Phone) -> Answer:
    """Its answers are the real charger's, fetched over a link of its own."""
    lines: list[Line] = []

    async def answer(hello: bytes) -> bytes:
        while True:
            if not lines:
                lines.append(await on.line(phone))
            await lines[0].say(hello)
            heard = await lines[0].answer()
            if heard is not None:
                return heard
            lines.clear()  # the charger has hung up on who proves nothing for 15 s

    return answer


async def knowing(on: Victim, *, typed: bool) -> Phone:
    """An app that has proved the charger before, and whose bond was forgotten."""
    phone = await on.ends.phone("visitor")
    known = on.owner.vault.get(SERIAL)
    assert known is not None
    candidates = () if typed else known.candidates
    older = known.generation if typed else 0  # as after a change whose answer was lost
    phone.vault.put(
        msgspec.structs.replace(known, bond=None, candidates=candidates, generation=older)
    )
    return phone


async def lured(it: Twin, phone: Phone, answers: Answers | None, times: int) -> list[type]:
    """Let the app come back and back; gives how each visit ended."""
    ends: list[type] = []
    for _ in range(times):
        with pytest.raises(errors.ChargepinError) as ended:
            await (await it.lure(phone, answers)).close()
        ends.append(ended.type)
    return ends


async def test_fake_charger(tmp_path: Path, tell: Tell) -> None:
    async with victim(tmp_path, index=RIGHT) as on:
        key, real = Ed25519PrivateKey.generate(), on.daemon._unit.identity
        salt = on.owner.vault.known[SERIAL].candidates[0].salt

        async def own(hello: bytes) -> bytes:
            return params_of(key, hello, salt=salt)

        async def claimed(hello: bytes) -> bytes:
            return params_of(key, hello, salt=salt, identity=real)

        for answer, expected in ((own, errors.IdentityMismatch), (claimed, errors.ProtocolError)):
            collector = Collector(answer)
            async with twin(on.ends, collector.talk) as it:
                for typed in (False, True):
                    ends = await lured(it, await knowing(on, typed=typed), Answers([on.code]), 2)
                    assert ends == [expected] * 2
                assert it.shares == []

        # An app that has never met the charger, and whose account has.
        collector = Collector(own)
        async with twin(on.ends, collector.talk) as it:
            member = await on.ends.phone("member")
            member.surroundings = replace(member.surroundings, account=Account(real.hex()))
            ends = await lured(it, member, Answers([on.code]), 2)
            assert ends == [errors.IdentityMismatch] * 2
            assert it.shares == []

        # It relays the charger's own words: then each try of the app is one guess for it.
        tried = 0
        relay = relayed(on, await on.ends.phone("relay"))
        collector = Collector(relay)
        async with twin(on.ends, collector.talk) as it:
            ends = await lured(it, await knowing(on, typed=False), None, 5)
            assert ends == [errors.PasscodeWrong] * 3 + [errors.Exhausted] * 2
            ends = await lured(it, await knowing(on, typed=True), Answers([on.code] * 22), 22)
            assert ends == [errors.PasscodeWrong] * 20 + [errors.Exhausted] * 2
            assert (len(it.shares), collector.learned) == (23, [])
            tried += collector.tried
        assert on.charged == 0  # the real charger was asked for its name only

        # An app that does not know the charger: whatever generation it is told, 20 typed.
        generations = iter(range(1, 100))

        async def rising(hello: bytes) -> bytes:
            return params_of(key, hello, generation=next(generations), salt=salt)

        collector = Collector(rising)
        async with twin(on.ends, collector.talk) as it:
            stranger = await on.ends.phone("stranger")
            ends = await lured(it, stranger, Answers([on.code] * 22), 22)
            assert ends == [errors.PasscodeWrong] * 20 + [errors.Exhausted] * 2
            assert (len(it.shares), collector.learned) == (20, [])
            tried += collector.tried

        # Without: an app that pins nothing and counts nothing.
        careless = Collector(own, tried=SKIPPED)
        async with twin(on.ends, careless.talk) as it:
            while not careless.learned:
                phone = await on.ends.phone("careless")
                await lured(it, phone, Answers([on.code]), 1)
        assert careless.learned == [on.code]
        tell(
            Row(
                "3 fake charger",
                tried,
                "no passcode; 3 automatic and 20 typed tries per app, each worth one guess",
                f"the passcode, from guess {careless.tried} of an app that neither pins nor counts",
                "identity pinned and signed for each HELLO; tries without an answer counted",
            )
        )


async def test_a_charger_that_falls_silent_is_hung_up_on(tmp_path: Path) -> None:
    async def silent(*_: object) -> None: ...

    async with victim(tmp_path) as on, twin(on.ends, silent) as it:
        phone = await knowing(on, typed=True)
        found = await seen(phone, it.is_me)
        coming = asyncio.create_task(client.enter(phone.surroundings, found))
        for _ in range(1 + LOSSES_FORGIVEN):
            async with asyncio.timeout(PATIENCE_S):
                link = await it.greeted.get()
            manual_loop().advance(ANSWER_WITHIN_S + 1)
            async with asyncio.timeout(PATIENCE_S):
                assert await it.gone.get() == link
        with pytest.raises(errors.LinkLost):
            await coming
