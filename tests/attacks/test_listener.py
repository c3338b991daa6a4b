"""The listener: it records all that is on the air and has any number of passcodes to compare with.

It wants to know which of two passcodes is the right one, and then which of all.
"""

import hashlib
import hmac
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from pathlib import Path

import msgspec

from attacks.report import Row, Tell
from attacks.stage import code_at, victim
from chargepin.cli.tour.overheard import Messages, talks
from chargepin.core import p256
from chargepin.core.p256 import Point
from core import spake2plus_oracle as curve
from docs import mini_client as mini
from ends import SERIAL, Answers, Phone

TRANSCRIPTS = 60
RIGHT = 1_000
DECOYS = (1_001, 7, 382_913, 899_988)
WINDOW = 8  # octets that no two values share by chance


@dataclass(frozen=True)
class Heard:
    """One handshake as it was on the air; each message is type and body."""

    hello: bytes
    params: mini.Params
    rest: tuple[bytes, ...]

    @classmethod
    def of(cls, messages: Messages) -> "Heard":
        hello, *sent = messages.heard
        params, *answers = messages.said
        read = mini.read_answer(hello, params)
        assert isinstance(read, mini.Params)
        return cls(hello, read, (*sent, *answers))

    def one(self, kind: int) -> bytes:
        return next(m for m in self.rest if m[0] == kind)

    @cached_property
    def windows(self) -> frozenset[bytes]:
        """Every run of octets in what depends on the passcode."""
        return frozenset(
            m[at : at + WINDOW] for m in self.rest for at in range(1, len(m) - WINDOW + 1)
        )


@dataclass(frozen=True)
class Guess:
    """A passcode, and all that follows from it and from what is public."""

    seed: bytes
    w0: int
    w1: int

    @classmethod
    def of(cls, index: int, params: mini.Params) -> "Guess":
        digits = code_at(index).encode()
        seed = mini.passcode_seed(digits, params.identity, params.salt, params.profile)
        return cls(seed, *mini.witness(seed))

    @cached_property
    def points(self) -> tuple[Point, ...]:
        base, m, n = (affine(point) for point in (curve.G, curve.M, curve.N))
        blinds = [p256.times(self.w0, base), p256.times(self.w1, base)]
        blinds += [p256.times(self.w0, m), p256.times(self.w0, n)]
        sums = [p256.added(one, other) for one, other in product([base, *blinds], blinds)]
        return (*blinds, *(point for point in sums if point is not None))

    def bare(self, heard: Heard) -> tuple[Point, Point]:
        """Both shares without the blinding that this guess says they have."""
        found = []
        for kind, constant in ((mini.SHARE_P, curve.M), (mini.SHARE_V, curve.N)):
            share = heard.one(kind)[1:66]
            blind = curve.multiple(self.w0, constant)
            found.append(affine(curve.plus(curve.read(share), curve.minus(blind))))
        return found[0], found[1]

    def computable(self, heard: Heard) -> set[bytes]:
        """The beginnings of everything that can be computed without the two scalars."""
        bare = self.bare(heard)
        bound = mini.context(heard.hello, heard.params.raw)
        shares = (heard.one(mini.SHARE_P)[1:66], heard.one(mini.SHARE_V)[1:66])
        v = p256.encoded(p256.times(self.w1, bare[1]))
        known = [self.seed, self.w0.to_bytes(32), self.w1.to_bytes(32), v]
        known += [p256.encoded(point) for point in (*self.points, *bare)]
        keys = [*known, *(hashlib.sha256(value).digest() for value in known)]
        said = [heard.hello, heard.params.raw, heard.hello[10:26], bound, *shares]
        macs = [hmac.digest(key, text, "sha256") for key, text in product(keys, said)]
        for z in known[3:]:
            outcome = mini.schedule(bound, heard.params.identity, shares, z, v, self.w0)
            macs += [outcome.confirm_p, outcome.confirm_v, outcome.k_shared, outcome.exporter]
        values = [*keys, *macs]
        found = {value[at : at + WINDOW] for value in values for at in (0, 1, 16)}
        return {value for value in found if len(value) == WINDOW}


def affine(point: curve.Triple) -> Point:
    raw = curve.written(point)
    return Point(int.from_bytes(raw[1:33]), int.from_bytes(raw[33:]))


Strategy = Callable[[Heard, Guess], bool]
"""Whether a guess looks right in one way."""


def computable(heard: Heard, guess: Guess) -> bool:
    return bool(guess.computable(heard) & heard.windows)


STRATEGIES: dict[str, Strategy] = {
    "something is computable": computable,
    "bare shareP has an even x": lambda heard, guess: guess.bare(heard)[0].x % 2 == 0,
    "bare shareP has an even y": lambda heard, guess: guess.bare(heard)[0].y % 2 == 0,
    "bare shareV has a small x": lambda heard, guess: guess.bare(heard)[1].x < p256.PRIME // 2,
    "bare shareV has an even y": lambda heard, guess: guess.bare(heard)[1].y % 2 == 0,
    "confirmV begins like w0": lambda heard, guess: (
        (heard.one(mini.SHARE_V)[66] ^ guess.w0.to_bytes(32)[0]) < 128
    ),
}


def right_guesses(
    strategy: Strategy, heard: Sequence[Heard], right: Guess, decoys: Sequence[Guess], seed: int
) -> int:
    """How often the listener names the right one of two; it tosses a coin where both look alike."""
    coin, won = random.Random(seed), 0  # noqa: S311 - the same in every run
    for number, each in enumerate(heard):
        fits = strategy(each, right), strategy(each, decoys[number % len(decoys)])
        won += coin.random() < 0.5 if fits[0] == fits[1] else fits[0]
    return won


async def overheard(directory: Path, count: int, *, careless: bool = False) -> list[Heard]:
    """Record an app that enters the passcode, time after time. careless: it draws no scalars."""
    directory.mkdir()
    capture = directory / "air.btsnoop"
    async with victim(directory / "charger", index=RIGHT, capture=capture) as on:
        phone = await on.ends.phone("visitor")
        if careless:
            phone.surroundings = replace(phone.surroundings, random=bytes)
        for _ in range(count):
            await entered(phone, on.code)
        radio = phone.surroundings.radio
        peer = str(getattr(radio, "address", "")).partition("/")[0].upper()
        heard = [talk.messages for talk in talks(capture) if talk.peer == peer]
        proved = [Heard.of(m) for m in heard if any(x[0] == mini.CONFIRM_P for x in m.heard)]
        assert len(proved) == count
        assert on.code.encode() not in b"".join(b"".join(m.heard) + b"".join(m.said) for m in heard)
        return proved


async def entered(phone: Phone, code: str) -> None:
    """By passcode each time: the bond is thrown away, the slow hash is kept."""
    known = phone.vault.get(SERIAL)
    if known is not None:
        phone.vault.put(msgspec.structs.replace(known, bond=None))
    await (await phone.enter(Answers([code]))).close()


def answering(heard: Heard, guess: Guess) -> Heard:
    """The same meeting, had the app answered a challenge with HMAC(slow hash, both messages)."""
    response = hmac.digest(guess.seed, heard.params.raw, "sha256")
    shares = tuple(m for m in heard.rest if m[0] in {mini.SHARE_P, mini.SHARE_V})
    return replace(heard, rest=(*shares, bytes([mini.RECORD]) + response))


async def test_listener(tmp_path: Path, tell: Tell) -> None:
    heard = await overheard(tmp_path / "held", TRANSCRIPTS)
    right = Guess.of(RIGHT, heard[0].params)
    decoys = [Guess.of(index, heard[0].params) for index in DECOYS]
    assert right.computable(heard[0]).isdisjoint(heard[0].windows)
    most = 6 * math.sqrt(TRANSCRIPTS) / 2  # standard deviations: once in 10^9 runs by chance
    names = []
    for seed, (name, strategy) in enumerate(STRATEGIES.items()):
        won = right_guesses(strategy, heard, right, decoys, seed)
        assert abs(won - TRANSCRIPTS / 2) <= most, name
        names.append(won)

    toys = [answering(each, right) for each in heard]
    toy = right_guesses(computable, toys, right, decoys, 0)
    assert toy == TRANSCRIPTS
    careless = await overheard(tmp_path / "careless", 4, careless=True)
    right = Guess.of(RIGHT, careless[0].params)
    decoys = [Guess.of(index, careless[0].params) for index in DECOYS]
    assert right_guesses(computable, careless, right, decoys, 0) == len(careless)
    assert [computable(careless[0], each) for each in decoys] == [False] * len(decoys)
    tell(
        Row(
            "2 listener",
            TRANSCRIPTS * len(STRATEGIES),
            f"right of two: {min(names)} to {max(names)} of {TRANSCRIPTS}, as by chance",
            f"{toy} of {TRANSCRIPTS} against a challenge answered by HMAC; all against an app"
            " that draws no scalars",
            "SPAKE2+: nothing on the air follows from the passcode and what is public",
        )
    )
