"""What attackers have: a radio, the protocol's document, and a charger that somebody relies on."""

import asyncio
import base64
import itertools
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from chargepin.app import client
from chargepin.app.client import Charger
from chargepin.app.errors import LinkLost
from chargepin.app.ports import Found, Link
from chargepin.charger.air import Air
from chargepin.charger.daemon import Daemon, Rule
from chargepin.core import gatt, guard, handshake
from chargepin.core.catalogue import name_of
from chargepin.core.pairing_window import Draw
from chargepin.core.passcode import Passcode
from chargepin.core.passcode import draw as drawn
from chargepin.radio import serve_radio
from docs import mini_client as mini
from ends import PATIENCE_S, SERIAL, Ends, Phone
from manual_loop import manual_loop
from shown import shows

PAUSED, EXHAUSTED, WRONG = 6, 7, 10  # codes of a REFUSAL
GARBAGE = bytes([mini.CONFIRM_P]) + bytes(32)


def code_at(index: int) -> str:
    """One of the passcodes that may be drawn."""
    return drawn(lambda _: index).digits


async def seen(phone: Phone, wanted: Callable[[Found], bool]) -> Found:
    """Scan until a charger is seen that is wanted."""
    async with (
        asyncio.timeout(PATIENCE_S),
        aclosing(phone.surroundings.radio.scan()) as chargers,
    ):
        async for found in chargers:
            if found.name == name_of(SERIAL) and wanted(found):
                return found
    raise AssertionError("the radio fell silent")


class Line:
    """A link to a charger on which an attacker says what it likes."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.said = b""
        self.params: mini.Params | None = None
        self._stream = mini.Stream()
        self._heard: asyncio.Queue[bytes | None] = asyncio.Queue()
        link.on_close(lambda: self._heard.put_nowait(None))

    @classmethod
    async def of(cls, phone: Phone, wanted: Callable[[Found], bool] = lambda _: True) -> Self:
        found = await seen(phone, wanted)
        async with asyncio.timeout(PATIENCE_S):
            line = cls(await phone.surroundings.radio.connect(found, timeout_s=PATIENCE_S))
            await line.link.subscribe(gatt.PASSCODE_NOTIFY.uuid, line._hear)
        return line

    def _hear(self, chunk: bytes) -> None:
        for message in self._stream.feed(chunk):
            self._heard.put_nowait(message)

    async def hint(self) -> mini.Hint:
        return mini.read_hint(await self.link.read(gatt.PASSCODE_HINT.uuid))

    async def write(self, stream: bytes) -> None:
        """Send bytes as they are; the charger may hang up in the middle."""
        with suppress(LinkLost):
            for chunk in mini.cut(stream, self.link.att_mtu):
                await self.link.write(gatt.PASSCODE_WRITE.uuid, chunk, response=False)

    async def say(self, *messages: bytes) -> None:
        await self.write(b"".join(map(mini.framed, messages)))

    async def answer(self) -> bytes | None:
        """Hear the next message, or None when the link is over."""
        async with asyncio.timeout(PATIENCE_S):
            message = await self._heard.get()
        if message is None:
            self._heard.put_nowait(None)
        return message

    async def ended(self) -> None:
        """Hear everything that is still said, until the charger hangs up."""
        while await self.answer() is not None:
            pass

    async def greet(
        self, credential: int = mini.PASSCODE, tag: bytes = bytes(16)
    ) -> mini.Params | mini.Refusal:
        self.said = mini.hello(credential, secrets.token_bytes(16), tag)
        await self.say(self.said)
        raw = await self.answer()
        if raw is None:
            raise LinkLost("The charger hung up.")
        answer = mini.read_answer(self.said, raw)
        self.params = answer if isinstance(answer, mini.Params) else None
        return answer

    def prover(self, code: str) -> handshake.Prover:
        """Begin an exchange with a guess at the passcode."""
        assert self.params is not None
        params = self.params
        witness = guessed(code, params.identity, params.salt)
        return handshake.Prover(witness, params.identity, secrets.token_bytes(48))

    async def shared(self, prover: handshake.Prover) -> bytes | mini.Refusal:
        """Send SHARE_P; gives SHARE_V or the refusal. Raises LinkLost."""
        await self.say(bytes([mini.SHARE_P]) + prover.start())
        raw = await self.answer()
        if raw is None:
            raise LinkLost("The charger hung up.")
        if raw[0] == mini.SHARE_V:
            return raw
        refusal = mini.read_answer(self.said, raw)
        assert isinstance(refusal, mini.Refusal)
        return refusal

    def proof(self, prover: handshake.Prover, share_v: bytes) -> handshake.Proof | None:
        """Check a guess: the charger confirms first, so nothing more need be said to it."""
        assert self.params is not None
        bound = mini.context(self.said, self.params.raw)
        try:
            return prover.finish(bound, share_v[1:66], share_v[66:])
        except handshake.WrongSecret:
            return None


_hashed: dict[tuple[str, bytes, bytes], handshake.Witness] = {}


def guessed(code: str, identity: bytes, salt: bytes) -> handshake.Witness:
    """The slow hash of a guess; an attacker computes each once."""
    name = (code, identity, salt)
    if name not in _hashed:
        _hashed[name] = handshake.passcode_witness(Passcode(code), identity, salt, profile=1)
    return _hashed[name]


@dataclass
class Victim:
    """A protected charger and its owner. rule, air, draw: as it is switched on again with."""

    ends: Ends
    owner: Phone
    code: str
    rule: Rule
    air: Callable[[Air], Air]
    draw: Draw = secrets.randbelow

    @property
    def daemon(self) -> Daemon:
        assert self.ends.daemon is not None
        return self.ends.daemon

    @property
    def charged(self) -> int:
        return self.daemon.service.guard.durable.lockout.charged

    async def cut_power(self) -> None:
        """Cut the power at this very moment, and switch it on again."""
        daemon, running = self.daemon, self.ends._running
        assert running is not None
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await daemon.close()
        self.ends.daemon = self.ends._running = None
        await self.ends.switch_on(rule=self.rule, air=self.air, draw=self.draw)

    async def time_passes(self, seconds: float) -> None:
        """Move time, once the charger has done what it was told and waits for no controller.

        Or what is on its way would be late by as much: it would hang up on a link, or think its
        controller gone.
        """
        await self.daemon.service.settled()
        async with asyncio.timeout(PATIENCE_S):
            while self._under_way():  # noqa: ASYNC110 - no event tells
                await asyncio.sleep(0)
        manual_loop().advance(seconds)

    def _under_way(self) -> bool:
        on_air = self.daemon._lasting._peripheral._on_air
        if on_air is None or on_air.host.pending_response is not None:
            return True
        return any(not link.outbox.empty for link in on_air.links.values())

    async def line(
        self, phone: Phone | None = None, wanted: Callable[[Found], bool] = lambda _: True
    ) -> Line:
        """A link of a stranger whose address nobody has seen before."""
        return await Line.of(phone or await self.ends.phone("stranger"), wanted)

    async def owner_in(self) -> Charger:
        """The owner comes by bond, whatever strangers did."""
        charger = await self.owner.enter()
        assert charger.role == "owner"
        return charger

    async def end_pause(self) -> None:
        charger = await self.owner_in()
        await charger.end_pause()
        await charger.close()

    def secrets(self) -> dict[str, bytes]:
        """What nobody but the two ends may ever read, by name."""
        daemon = self.daemon
        found = {
            "the passcode": self.code.encode(),
            "the identity's key": daemon._store.identity.private_bytes_raw(),
        }
        durable = daemon.service.guard.durable
        if durable.credential is not None:
            found["w0"] = durable.credential.verifier.w0
            found["L"] = durable.credential.verifier.L
        for bond in durable.bonds:
            found[f"tag key {bond.bond_id}"] = bond.tag_key
            found[f"verifier {bond.bond_id}"] = bond.verifier.w0
        known = self.owner.vault.get(SERIAL)
        assert known is not None
        if known.bond is not None:
            found["a bond's secret"] = known.bond.secret
        for candidate in known.candidates:
            if candidate.owner_token is not None:
                found["the owner's token"] = candidate.owner_token
        for witness in known.witnesses.values():
            found["w1"] = witness[32:]
        return found


def leaks(text: str, hidden: dict[str, bytes]) -> list[str]:
    """The names of secrets that a text shows, in any spelling."""
    low = text.lower()
    return [
        name
        for name, raw in hidden.items()
        if (shows(low, raw.decode()) if len(raw) == 6 else any(s in low for s in _spellings(raw)))
    ]


def _spellings(raw: bytes) -> set[str]:
    octets = {raw.hex(), raw.hex(":"), raw.hex(" "), repr(raw)[2:-1].lower()}
    coded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()}
    return octets | {each.rstrip("=").lower() for each in coded} | {str(int.from_bytes(raw))}


@asynccontextmanager
async def victim(
    directory: Path,
    *,
    index: int = 382_913,
    rule: Rule = guard.step,
    air: Callable[[Air], Air] = lambda air: air,
    draw: Draw = secrets.randbelow,
    capture: Path | None = None,
) -> AsyncIterator[Victim]:
    """A charger whose owner was assigned the passcode `code_at(index)`, and has entered it.

    Those that the owner is assigned later are the ones after it.

    At the end nothing that the charger said to its operator holds a secret or tells of a fault.
    """
    ends = Ends(await serve_radio("127.0.0.1", 0, capture=capture), directory)
    try:
        await ends.switch_on(rule=rule, air=air, draw=draw)
        owner = await ends.phone("owner's")
        found = await client.find(owner.surroundings, SERIAL)
        draws = itertools.count(index)  # no two passcodes are the same, as by chance they could be
        owner.surroundings = replace(owner.surroundings, randbelow=lambda _: next(draws))
        first = await client.enter(owner.surroundings, found)
        code = (await first.set_passcode()).passcode
        assert code == code_at(index)
        await (await owner.enter()).close()
        on = Victim(ends, owner, code, rule, air, draw)
        yield on
        told = "\n".join(ends.reports)
        assert "fault" not in told
        assert leaks(told, on.secrets()) == []
    finally:
        await ends.close()
