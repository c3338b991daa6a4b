"""The third one at the first set: it stands between an app and a charger that has no passcode yet.

It wants the passcode that is about to be assigned. Everybody can run the open handshake, so it runs
one with each of them in the other's name, and reads the verifier in the app's `passcode.set`, from
which the passcode follows by trying them all.
"""

import json
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from attacks.report import Row, Tell
from attacks.stage import Line, code_at, guessed
from attacks.twin import Twin, twin
from chargepin.app import errors
from chargepin.core import gatt, handshake, identity
from chargepin.core.channel import Direction, Opener, Sealer
from chargepin.core.identity import MessageType, Params, Receipt
from docs import mini_client as mini
from ends import SERIAL, Answers, Ends, Phone, both_ends

RIGHT = 40_003
TRIED = tuple(code_at(index) for index in range(40_000, 40_010))
"""Of the 899,989: those around the right one, to save the test the hours."""


@dataclass
class Leg:
    """One of its two sessions: what it seals and opens in it."""

    opener: Opener
    sealer: Sealer


class Third:
    """Stands between. key: of an identity of its own, if it doesn't use the charger's name.

    wish: what the app asked to set. learned: the passcode.
    """

    def __init__(self, line: Line, key: Ed25519PrivateKey | None = None) -> None:
        self.line = line
        self.key = key
        self.wish: dict[str, str] = {}
        self.learned: str | None = None
        self._said = b""
        self._params = self._real = b""
        self._response: handshake.Response | None = None
        self._app: Leg | None = None
        self._charger: Leg | None = None

    async def talk(self, it: Twin, link: int, message: bytes) -> None:
        match message[0]:
            case mini.HELLO:
                self._said = message
                await self.line.say(message)
                self._real = self._params = await self._heard()
                if self.key is not None:
                    self._params = self._renamed(self.key, self._real)
                it.say(link, self._params)
            case mini.SHARE_P:
                own = Params.decode(self._params).identity
                verifier = handshake.verifier_of(handshake.open_witness(own))
                bound = handshake.context(self._said, self._params)
                self._response = handshake.respond(
                    verifier, own, bound, message[1:], secrets.token_bytes(48)
                )
                answer = self._response.share_v + self._response.confirm_v
                it.say(link, bytes([MessageType.SHARE_V]) + answer)
            case mini.CONFIRM_P:
                await self._enter()
                granted = json.loads(await self._from_charger())
                assert self._app is not None
                assert self._response is not None
                if self.key is not None:
                    signature = identity.sign_open(self.key, self._response.keys.exporter)
                    granted["signature"] = signature.hex()
                it.say(link, self._app.sealer.seal(json.dumps(granted).encode()))
            case _:
                await self._pass_on(it, link, message)

    async def _enter(self) -> None:
        """Get into the charger, as anybody may."""
        named = Params.decode(self._real).identity
        prover = handshake.Prover(handshake.open_witness(named), named, secrets.token_bytes(48))
        await self.line.say(bytes([mini.SHARE_P]) + prover.start())
        share_v = await self._heard()
        bound = handshake.context(self._said, self._real)
        proof = prover.finish(bound, share_v[1:66], share_v[66:])
        await self.line.say(bytes([mini.CONFIRM_P]) + proof.confirm_p)
        assert self._response is not None
        up, down = Direction.APP_TO_CHARGER, Direction.CHARGER_TO_APP
        keys = self._response.keys
        self._app = Leg(Opener(keys.app_to_charger, up), Sealer(keys.charger_to_app, down))
        keys = proof.keys
        self._charger = Leg(Opener(keys.charger_to_app, down), Sealer(keys.app_to_charger, up))

    async def _pass_on(self, it: Twin, link: int, message: bytes) -> None:
        assert self._app is not None
        assert self._charger is not None
        asked = self._app.opener.open(message)
        request = json.loads(asked)
        if request["met"] == "passcode.set":
            self.wish = request["par"]
        await self.line.say(self._charger.sealer.seal(asked))
        answer = json.loads(await self._from_charger())
        if self.key is not None and "receipt" in (answer.get("r") or {}):
            real = Receipt.decode(bytes.fromhex(answer["r"]["receipt"]))
            forged = replace(real, identity=self.key.public_key().public_bytes_raw())
            signature = forged.sign(self.key)
            answer["r"] = {"receipt": forged.encode().hex(), "signature": signature.hex()}
        it.say(link, self._app.sealer.seal(json.dumps(answer).encode()))

    async def _from_charger(self) -> bytes:
        assert self._charger is not None
        return self._charger.opener.open(await self._heard())

    async def _heard(self) -> bytes:
        heard = await self.line.answer()
        assert heard is not None
        return heard

    def _renamed(self, key: Ed25519PrivateKey, answer: bytes) -> bytes:
        real = Params.decode(answer)
        own = replace(real, identity=key.public_key().public_bytes_raw(), signature=b"")
        return identity.sign_answer(key, self._said, own.encode())

    def search(self) -> None:
        """Try passcodes on the verifier that was read, without asking anybody."""
        named = Params.decode(self._params).identity
        for code in TRIED if self.wish else ():
            w0 = guessed(code, named, bytes.fromhex(self.wish["salt"])).w0
            if self.wish["verifier"].startswith(w0.hex()):
                self.learned = code


async def set_between(ends: Ends, owner: Phone, key: Ed25519PrivateKey | None = None) -> Third:
    """The owner has a passcode assigned, through the one between."""
    third = Third(await Line.of(await ends.phone("between")), key)
    async with twin(ends, third.talk) as it:
        it.hint_shown = await third.line.link.read(gatt.PASSCODE_HINT.uuid)
        try:
            charger = await it.lure(owner)
            await charger.set_passcode()
        except errors.IdentityMismatch:
            third.wish = {}
        finally:
            await third.line.link.close()
    third.search()
    return third


async def owners(ends: Ends) -> Phone:
    phone = await ends.phone("owner's")
    phone.surroundings = replace(phone.surroundings, randbelow=lambda _: RIGHT)
    return phone


async def test_third_at_the_first_set(
    tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with both_ends(tmp_path / "held") as ends:
        await ends.switch_on()
        owner = await owners(ends)
        held = await set_between(ends, owner)
        assert (held.wish, held.learned) == ({}, None)
        assert owner.vault.get(SERIAL) is None  # it drew none, and pinned nothing
        # Under its own name it gets what it wants of the app, and shows at the charger itself.
        own = await set_between(ends, owner, Ed25519PrivateKey.generate())
        assert own.learned == code_at(RIGHT)
        with pytest.raises(errors.IdentityMismatch):
            await owner.enter(Answers([code_at(RIGHT)]))

    async with both_ends(tmp_path / "free") as ends:  # without: an app that does not look
        await ends.switch_on()
        owner = await owners(ends)
        with monkeypatch.context() as patch:
            patch.setattr(identity, "verify_open", lambda *_: None)
            gains = await set_between(ends, owner)
        assert gains.learned == code_at(RIGHT)
        assert (await owner.enter()).role == "owner"  # who notices nothing
        stranger = await ends.phone("stranger")
        assert (await stranger.enter(Answers([gains.learned]))).role == "user"
    tell(
        Row(
            "26 third at the first",
            2,
            "nothing under the charger's name; under its own, a passcode that the charger itself"
            " refuses at the next visit",
            "the passcode, from the verifier in the first set; the owner notices nothing",
            "the charger signs what ties an open session to its two ends",
        )
    )
