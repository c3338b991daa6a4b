"""The downgrader: it stands between an app and its charger and may change what the charger says.

It wants the app to fall back: to a weaker way, an older state, an open charger, no passcode at all.
Whatever makes the app send a share, or a stock request, is a win.
"""

import secrets
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attacks.report import Row, Tell
from attacks.stage import Line, Victim, code_at, victim
from attacks.twin import Twin, twin
from chargepin.app import errors
from chargepin.core import gatt
from chargepin.core.catalogue import Version
from chargepin.core.identity import Credential, Flag, Params, Refusal, RefusalCode, State
from chargepin.core.identity import sign_answer as signed
from docs import mini_client as mini
from ends import SERIAL, Phone

INDEX = 700_000
Change = Callable[[Params], Params]
Answer = Callable[[bytes, bytes], bytes]
"""From the app's HELLO and the charger's true answer, what the app is told instead."""

CHANGES: dict[str, Change] = {
    "unsigned": lambda p: replace(p, signature=bytes(64)),
    "open": lambda p: replace(p, state=State.OPEN),
    "no passcodes": lambda p: replace(p, state=State.UNSUPPORTED),
    "an older generation": lambda p: replace(p, generation=0),
    "a later generation": lambda p: replace(p, generation=p.generation + 1),
    "an older incarnation": lambda p: replace(p, incarnation=0),
    "another salt": lambda p: replace(p, salt=bytes(16)),
    "another profile": lambda p: replace(p, profile=2),
    "no profile": lambda p: replace(p, profile=0),
    "another suite": lambda p: replace(p, suite=2),
    "another protocol": lambda p: replace(p, protocol=2),
    "the open credential": lambda p: replace(p, credential=Credential.OPEN),
    "downgraded": lambda p: replace(p, flags=Flag.DOWNGRADED),
    "older software": lambda p: replace(p, software=Version(6, 7, 10)),
    "a newer app needed": lambda p: replace(p, oldest_app=Version(9, 0, 0)),
    "more tries": lambda p: replace(p, tries_left=99),
}
RESTORED: tuple[str, ...] = ("open", "an older generation", "an older incarnation")
"""What even the charger's own key can't make an app believe."""


def tampered(change: Change) -> Answer:
    return lambda _, heard: change(Params.decode(heard)).encode()


def by_its_own_key(key: Ed25519PrivateKey, change: Change) -> Answer:
    identity = key.public_key().public_bytes_raw()

    def answer(hello: bytes, heard: bytes) -> bytes:
        fake = replace(change(Params.decode(heard)), identity=identity, signature=b"")
        return signed(key, hello, fake.encode())

    return answer


def by_the_chargers_key(on: Victim, change: Change) -> Answer:
    """As a charger that was restored from an older copy would."""

    def answer(hello: bytes, heard: bytes) -> bytes:
        fake = replace(change(Params.decode(heard)), signature=b"")
        return signed(on.daemon._unit.key, hello, fake.encode())

    return answer


def refusing(code: RefusalCode) -> Answer:
    def answer(_: bytes, heard: bytes) -> bytes:
        true = Params.decode(heard)
        refusal = Refusal(
            code=code,
            identity=true.identity,
            incarnation=true.incarnation,
            generation=true.generation,
            retry_after_s=0,
            oldest_app=true.oldest_app,
            signature=secrets.token_bytes(64),
        )
        return refusal.encode()

    return answer


def answers(on: Victim) -> dict[str, Answer]:
    key = Ed25519PrivateKey.generate()
    found = {f"tampered: {name}": tampered(change) for name, change in CHANGES.items()}
    found |= {f"its key: {name}": by_its_own_key(key, change) for name, change in CHANGES.items()}
    found |= {f"restored: {name}": by_the_chargers_key(on, CHANGES[name]) for name in RESTORED}
    found |= {f"refused: {code.name}": refusing(code) for code in RefusalCode}
    return found


class Downgrader:
    """Fetches the true answer and tells another. first: the first that it fetched."""

    def __init__(self, on: Victim) -> None:
        self.on = on
        self.change: Answer = lambda _, heard: heard
        self.first: bytes | None = None
        self.line: Line
        self._radio: Phone | None = None

    async def reach(self, it: Twin) -> None:
        """Connect to the charger, and show the hint that it shows."""
        if self._radio is None:
            self._radio = await self.on.ends.phone("between")
        else:
            await self.line.link.close()
        self.line = await self.on.line(self._radio, lambda found: not it.is_me(found))
        it.hint_shown = await self.line.link.read(gatt.PASSCODE_HINT.uuid)

    async def talk(self, it: Twin, link: int, message: bytes) -> None:
        if message[0] != mini.HELLO:
            return
        await self.line.say(message)
        heard = await self.line.answer()
        assert heard is not None
        self.first = self.first or heard
        it.say(link, self.change(message, heard))

    def replay(self, _: bytes, __: bytes) -> bytes:
        assert self.first is not None
        return self.first


async def apps(on: Victim) -> list[Phone]:
    """One that would enter by bond, one that would enter by passcode."""
    known = on.owner.vault.get(SERIAL)
    assert known is not None
    phones = [await on.ends.phone("bonded"), await on.ends.phone("forgotten")]
    phones[0].vault.put(known)
    phones[1].vault.put(msgspec.structs.replace(known, bond=None))
    return phones


async def test_downgrader(tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    async with victim(tmp_path, index=INDEX) as on:
        between = Downgrader(on)
        attempts = 0
        async with twin(on.ends, between.talk) as it:
            for phone in await apps(on):
                for name, change in {**answers(on), "replayed": between.replay}.items():
                    between.change = change
                    await between.reach(it)
                    with pytest.raises(
                        (errors.IdentityMismatch, errors.ProtocolError, errors.UpdateNeeded)
                    ):
                        await it.lure(phone)
                    assert it.shares == [], name
                    attempts += 1
            hellos = len(it.heard)
        async with twin(on.ends, between.talk, service=False) as it:
            for phone in await apps(on):
                with pytest.raises(errors.IdentityMismatch, match="no longer offers"):
                    await it.lure(phone)
                attempts += 1
            assert (it.heard, it.stock_bytes) == ([], 0)
        assert hellos >= attempts - 2
        assert on.charged == 0

        # Without: an independent client that reads the answers and skips the signature.
        monkeypatch.setattr(mini, "check", lambda *_: None)
        async with twin(on.ends, between.talk) as it:
            phone = await on.ends.phone("careless")
            for change in map(tampered, CHANGES.values()):
                between.change = change
                await between.reach(it)
                line = await Line.of(phone, it.is_me)
                try:
                    await line.greet()
                    await line.say(bytes([mini.SHARE_P]) + line.prover(code_at(INDEX)).start())
                    await line.hint()  # by its answer the share has arrived
                except mini.Broken:
                    pass
                await line.link.close()
            won = len(it.shares)
        assert won >= len(CHANGES) - 4
        tell(
            Row(
                "7 downgrader",
                attempts,
                "no share, no stock request; the app says what is wrong",
                f"{won} of {len(CHANGES)} changes get a share of a client that checks no signature",
                "each answer signed with its HELLO; what was seen once is never taken back",
            )
        )
