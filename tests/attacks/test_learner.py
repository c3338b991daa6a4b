"""The learner: it has thousands of recorded handshakes, and knows under which passcode each was.

It wants to find any pattern that tells one passcode from another, without being told what to look
for; and, with a dictionary, the passcode itself. What it can compute from a guess and from what
was on the air, it looks at too.
"""

import hashlib
import hmac
import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

from attacks.report import Row, Tell
from attacks.stage import code_at
from chargepin.core import handshake, p256
from chargepin.core.p256 import Point
from core import spake2plus_oracle as curve

LEARNED, ASKED = 120, 120
"""Handshakes of each of two passcodes: to learn from, and to be asked about."""
IDENTITY = bytes(range(32))
A, B = 1_000, 700_001
DICTIONARY = tuple(range(1_000, 1_024))
RIGHT = DICTIONARY[17]
HEARD = 16
SEED = 2_026
TOLERANCE = 5  # standard deviations


@dataclass(frozen=True)
class Heard:
    """What a listener has of one handshake: nonces and names, and four values."""

    context: bytes
    values: tuple[bytes, ...]


Protocol: TypeAlias = Callable[[int, random.Random], Heard]
"""Hold one handshake under a passcode."""


def seed_of(index: int) -> bytes:
    """In place of the slow hash, which the learner has computed for every passcode long ago."""
    return hashlib.sha512(code_at(index).encode()).digest()


@cache
def witness(index: int) -> handshake.Witness:
    seed = seed_of(index)
    scalars = (int.from_bytes(half) % (p256.ORDER - 1) + 1 for half in (seed[:32], seed[32:]))
    return handshake.Witness(*(scalar.to_bytes(32) for scalar in scalars))


@cache
def verifier(index: int) -> handshake.Verifier:
    return handshake.verifier_of(witness(index))


def ours(index: int, dice: random.Random) -> Heard:
    """The handshake as both ends hold it."""
    secret, context = witness(index), dice.randbytes(120)
    prover = handshake.Prover(secret, IDENTITY, dice.randbytes(48))
    share_p = prover.start()
    said = handshake.respond(verifier(index), IDENTITY, context, share_p, dice.randbytes(48))
    proof = prover.finish(context, said.share_v, said.confirm_v)
    assert said.confirmed_by(proof.confirm_p)
    return Heard(context, (share_p[1:], said.share_v[1:], said.confirm_v, proof.confirm_p))


def masked(index: int, dice: random.Random) -> Heard:
    """Shares hidden under a hash of the passcode: only the right one uncovers points each time."""
    shares = [p256.times_base(dice.randrange(1, p256.ORDER)) for _ in range(2)]
    mask = int.from_bytes(seed_of(index)[:32])
    hidden = tuple((share.x ^ mask).to_bytes(32) + dice.randbytes(32) for share in shares)
    return Heard(dice.randbytes(120), (*hidden, dice.randbytes(32), dice.randbytes(32)))


def answered(index: int, dice: random.Random) -> Heard:
    """A challenge, answered by a hash of the passcode and the challenge."""
    context = dice.randbytes(120)
    answer = hmac.digest(seed_of(index), context, "sha256")
    return Heard(context, (dice.randbytes(64), dice.randbytes(64), dice.randbytes(32), answer))


# ---- what it looks at ---------------------------------------------------------------------------


class Guess:
    """A passcode, and what it makes of a handshake."""

    def __init__(self, index: int) -> None:
        self.seed = seed_of(index)
        self.mask = int.from_bytes(self.seed[:32])
        w0 = int.from_bytes(witness(index).w0)
        self.blinds = tuple(
            p256.opposite(p256.times(w0, affine(constant))) for constant in (curve.M, curve.N)
        )

    def bare(self, heard: Heard) -> Iterator[bytes]:
        """Both shares without their blinding, had it been this passcode's."""
        for share, blind in zip(heard.values, self.blinds, strict=False):
            point = p256.decoded(b"\4" + share)
            uncovered = p256.added(point, blind) if point else None
            yield bytes(64) if uncovered is None else p256.encoded(uncovered)[1:]

    def fits(self, heard: Heard) -> tuple[bool, ...]:
        """Whether it looks right, in the ways in which other protocols gave themselves away."""
        uncovered = [int.from_bytes(share[:32]) ^ self.mask for share in heard.values[:2]]
        answer = hmac.digest(self.seed, heard.context, "sha256")
        bare = list(self.bare(heard))
        return (
            *(on_curve(x) for x in uncovered),
            any(answer[:8] in value for value in heard.values),
            *(each[31] % 2 == 0 for each in bare),
            *(each[63] % 2 == 0 for each in bare),
        )


def affine(point: curve.Triple) -> Point:
    raw = curve.written(point)
    return Point(int.from_bytes(raw[1:33]), int.from_bytes(raw[33:]))


def on_curve(x: int) -> bool:
    if x >= p256.PRIME:
        return False
    square = (x * x * x - 3 * x + curve.B) % p256.PRIME
    return pow(square, (p256.PRIME - 1) // 2, p256.PRIME) <= 1


def features(heard: Heard, guess: Guess) -> int:
    """Every bit of what was heard and of what a guess makes of it, and whether that looks right."""
    raw = b"".join((*heard.values, *guess.bare(heard)))
    bits = int.from_bytes(raw)
    for fit in guess.fits(heard):
        bits = bits << 1 | fit
    return bits


# ---- what it learns -----------------------------------------------------------------------------


def spread(example: int, count: int) -> str:
    return f"{example:0{count}b}"


def weights(first: Sequence[str], second: Sequence[str]) -> list[tuple[float, float]]:
    """For each feature, how much its absence and presence speak for the first (naive Bayes)."""
    found = []
    for columns in zip(zip(*first, strict=True), zip(*second, strict=True), strict=True):
        shares = [(column.count("1") + 1) / (len(column) + 2) for column in columns]
        absent = math.log((1 - shares[0]) / (1 - shares[1]))
        found.append((absent, math.log(shares[0] / shares[1])))
    return found


def score(example: str, learned: Sequence[tuple[float, float]]) -> float:
    return sum(pair[bit == "1"] for bit, pair in zip(example, learned, strict=True))


def right(protocol: Protocol) -> int:
    """How many of the handshakes that it is asked about it puts under the right passcode."""
    dice = random.Random(SEED)  # noqa: S311 - the same in every run
    guess = Guess(A)
    rows = [
        [features(protocol(index, dice), guess) for _ in range(LEARNED + ASKED)] for index in (A, B)
    ]
    count = max(row.bit_length() for side in rows for row in side)
    examples = [[spread(row, count) for row in side] for side in rows]
    learned = weights(examples[0][:LEARNED], examples[1][:LEARNED])
    said = [[score(each, learned) > 0 for each in side[LEARNED:]] for side in examples]
    return sum(said[0]) + ASKED - sum(said[1])


def found(protocol: Protocol) -> int | None:
    """The passcode of the dictionary that stands out; None where none does."""
    dice = random.Random(SEED + 1)  # noqa: S311 - the same in every run
    heard = [protocol(RIGHT, dice) for _ in range(HEARD)]
    fits: dict[int, list[int]] = {}
    for index in DICTIONARY:
        guess = Guess(index)
        fits[index] = [sum(way) for way in zip(*map(guess.fits, heard), strict=True)]
    for way in zip(*fits.values(), strict=True):
        if max(way) == HEARD and way.count(HEARD) == 1:
            return DICTIONARY[way.index(HEARD)]
    return None


async def test_learner(tell: Tell) -> None:
    held = right(ours)
    assert abs(held - ASKED) <= TOLERANCE * math.sqrt(2 * ASKED) / 2
    assert found(ours) is None
    told = [right(protocol) for protocol in (masked, answered)]
    assert min(told) > ASKED + TOLERANCE * math.sqrt(2 * ASKED) / 2
    assert [found(protocol) for protocol in (masked, answered)] == [RIGHT] * 2
    tell(
        Row(
            "19 learner",
            2 * (LEARNED + ASKED),
            f"right of two: {held} of {2 * ASKED}, as by chance; no passcode of a dictionary",
            f"{told[0]} where shares are masked by a hash of the passcode, {told[1]} where it"
            f" answers a challenge; in both the passcode, from {HEARD} handshakes",
            "SPAKE2+: every value on the air is as likely under any passcode",
        )
    )
