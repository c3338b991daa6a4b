"""Passkey entry gives a code away bit by bit: to who pairs, to who is paired with, to who listens.

Each side of a round shows with its nonce what it had committed to, and so which bit it took.
"""

import random
from collections.abc import Sequence
from typing import Protocol

from bumble import crypto
from bumble.crypto.cryptography import EccKey

ROUNDS = 20
EVEN_BITS = 16
REQUEST = bytes([0x01, 0x02, 0x00, 0x0D, 16, 0x02, 0x00])  # a keyboard, MITM, bonding
RESPONSE = bytes([0x02, 0x00, 0x00, 0x0D, 16, 0x02, 0x00])  # a display
PUBLIC_KEY, CONFIRM, RANDOM, FAILED = 0x0C, 0x03, 0x04, 0x05
DISAGREED = bytes([FAILED, 0x04])


class Charger(Protocol):
    """What a guesser pairs with: it answers each PDU with one."""

    def ask(self, pdu: bytes) -> bytes: ...

    def close(self) -> None: ...


class Guesser:
    """known: the bits that it takes for the code's, lowest first. passed: rounds per attempt."""

    def __init__(self, on: Charger, bits: random.Random) -> None:
        self.on = on
        self.bits = bits
        self.key = EccKey.generate()
        self.known: list[int] = []
        self.passed: list[int] = []
        self.attempts_until_in: int | None = None

    @property
    def code(self) -> int:
        """What it takes for the code."""
        return number(self.known)

    def _guess(self) -> int:
        """Toss a coin; of the highest bits, fewer are ones."""
        return self.bits.randrange(2) if len(self.known) < EVEN_BITS else 0

    def attempt(self) -> None:
        """Pair as far as it goes, and keep the first bit that was wrong."""
        x, y = self.key.x[::-1], self.key.y[::-1]
        assert self.on.ask(REQUEST)[0] == 0x02
        their_x = self.on.ask(bytes([PUBLIC_KEY]) + x + y)[1:33]
        for step in range(ROUNDS):
            if step == len(self.known):
                self.known.append(self._guess())
            na = crypto.r()
            commitment = crypto.f4(x, their_x, na, bytes([0x80 | self.known[step]]))
            assert self.on.ask(bytes([CONFIRM]) + commitment)[0] == CONFIRM
            if self.on.ask(bytes([RANDOM]) + na)[0] == FAILED:
                self.known[step] ^= 1
                del self.known[step + 1 :]  # of another code, perhaps; of this one never tested
                self.passed.append(step)
                return
        self.passed.append(ROUNDS)
        self.attempts_until_in = self.attempts_until_in or len(self.passed)
        self.on.close()


class Collector:
    """It answers phones that think it their charger. known: the bits that it has seen."""

    def __init__(self, bits: random.Random) -> None:
        self.known: list[int] = []
        self._bits = bits
        self._key = EccKey.generate()
        self._their_x = self._confirm = self._nonce = b""
        self._round = self._guess = 0

    @property
    def code(self) -> int | None:
        """The code, once every bit was seen."""
        return number(self.known) if len(self.known) == ROUNDS else None

    def answer(self, pdu: bytes) -> bytes | None:
        """Give the next PDU; None to hang up, which tells the phone less than a refusal would."""
        own_x = self._key.x[::-1]
        match pdu[0]:
            case 0x01:
                self._round = 0
                return RESPONSE
            case code if code == PUBLIC_KEY:
                self._their_x = pdu[1:33]
                return bytes([PUBLIC_KEY]) + own_x + self._key.y[::-1]
            case code if code == CONFIRM:
                seen = self._round < len(self.known)
                self._guess = self.known[self._round] if seen else self._bits.randrange(2)
                self._confirm, self._nonce = pdu[1:], crypto.r()
                bit = bytes([0x80 | self._guess])
                return bytes([CONFIRM]) + crypto.f4(own_x, self._their_x, self._nonce, bit)
            case code if code == RANDOM:
                bit_shown = shown(self._their_x, own_x, pdu[1:], self._confirm)
                if self._round == len(self.known):
                    self.known.append(bit_shown)
                self._round += 1
                return bytes([RANDOM]) + self._nonce if bit_shown == self._guess else None
            case _:
                return None


def overheard(heard: Sequence[bytes], said: Sequence[bytes]) -> int:
    """The code of a pairing that succeeded, from the PDUs that one side heard and said."""
    (x,), (their_x,) = (
        [pdu[1:33] for pdu in side if pdu[0] == PUBLIC_KEY] for side in (heard, said)
    )
    commitments, nonces = (
        [pdu[1:] for pdu in heard if pdu[0] == kind] for kind in (CONFIRM, RANDOM)
    )
    assert len(commitments) == len(nonces) == ROUNDS
    pairs = zip(nonces, commitments, strict=True)
    return number([shown(x, their_x, nonce, commitment) for nonce, commitment in pairs])


def shown(x: bytes, their_x: bytes, nonce: bytes, commitment: bytes) -> int:
    """The bit that whoever has the key x had committed to."""
    bit = int(crypto.f4(x, their_x, nonce, b"\x81") == commitment)
    assert commitment == crypto.f4(x, their_x, nonce, bytes([0x80 | bit]))
    return bit


def number(bits: Sequence[int]) -> int:
    """Bits as a number, lowest first."""
    return sum(bit << at for at, bit in enumerate(bits))
