"""The passcode service's byte streams: messages cut into chunks, and records that are sealed.

A message is a type and a body. On the air each is led by its length (u16, big-endian), and the
stream is cut to what the link carries, regardless of where messages end.
"""

from enum import IntEnum
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

LONGEST_MESSAGE: Final = 4096
"""Bytes of type and body: room for every list the charger answers with, and little for a flood."""

RECORD: Final = 0x10
"""The type of a sealed message."""

KEY_BYTES: Final = 44
TAG_BYTES: Final = 16
LONGEST_PLAINTEXT: Final = LONGEST_MESSAGE - 1 - TAG_BYTES

_LENGTH_BYTES: Final = 2
_CIPHER_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_MOST_RECORDS: Final = 2**32

# Bluetooth Core Specification, Vol 3, Part F: 3.2.8 (the smallest ATT_MTU over LE, and the three
# bytes that lead a value) and 3.2.9 (the longest value, whatever the ATT_MTU).
_SMALLEST_MTU: Final = 23
_ATT_HEADER_BYTES: Final = 3
_LONGEST_VALUE: Final = 512


class ChannelError(ValueError):
    """What came cannot be from an honest other side, or what should go cannot go. End the link."""


class Direction(IntEnum):
    """Which way a record goes."""

    APP_TO_CHARGER = 0
    CHARGER_TO_APP = 1


# ---- messages in chunks ------------------------------------------------------------------------


def encode(message: bytes) -> bytes:
    """Lead a message by its length. Raises ChannelError unless it has 1..4096 bytes."""
    if not 1 <= len(message) <= LONGEST_MESSAGE:
        raise ChannelError(f"a message has 1..{LONGEST_MESSAGE} bytes, not {len(message)}")
    return len(message).to_bytes(_LENGTH_BYTES) + message


def chunks(frame: bytes, att_mtu: int) -> list[bytes]:
    """Cut a frame into values that one write or notification carries.

    Raises ChannelError for an ATT_MTU below 23, which no link has.
    """
    if att_mtu < _SMALLEST_MTU:
        raise ChannelError(f"an ATT_MTU is at least {_SMALLEST_MTU}, not {att_mtu}")
    size = min(att_mtu - _ATT_HEADER_BYTES, _LONGEST_VALUE)
    return [frame[start : start + size] for start in range(0, len(frame), size)]


class Assembler:
    """Puts one direction's chunks together again."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._broken = False

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take a chunk; return the messages that it completes.

        Never holds more than one message and the chunk. Raises ChannelError for a length that
        must not be, and for anything after that: the stream has no place to start again.
        """
        if self._broken:
            raise ChannelError("the stream is broken")
        self._buffer += chunk
        messages = []
        while len(self._buffer) >= _LENGTH_BYTES:
            length = int.from_bytes(self._buffer[:_LENGTH_BYTES])
            if not 1 <= length <= LONGEST_MESSAGE:
                self._broken = True
                self._buffer.clear()
                raise ChannelError(f"a message has 1..{LONGEST_MESSAGE} bytes, not {length}")
            end = _LENGTH_BYTES + length
            if len(self._buffer) < end:
                break
            messages.append(bytes(self._buffer[_LENGTH_BYTES:end]))
            del self._buffer[:end]
        return messages


# ---- records -----------------------------------------------------------------------------------


class _Counter:
    """What seals or opens the next record of one direction. Each nonce serves once."""

    def __init__(self, key44: bytes, direction: Direction) -> None:
        if len(key44) != KEY_BYTES:
            raise ChannelError(f"a direction's key has {KEY_BYTES} bytes, not {len(key44)}")
        self._cipher: ChaCha20Poly1305 | None = ChaCha20Poly1305(key44[:_CIPHER_KEY_BYTES])
        self._iv = int.from_bytes(key44[_CIPHER_KEY_BYTES:])
        self._direction = direction
        self._count = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._direction.name}, hidden)"

    def _next(self) -> tuple[ChaCha20Poly1305, bytes, bytes]:
        """Give cipher, nonce and associated data, and count. Raises ChannelError at the end."""
        if self._cipher is None:
            raise ChannelError("the session is over")
        if self._count == _MOST_RECORDS:
            raise ChannelError("the session has carried all the records it may")
        count, self._count = self._count, self._count + 1
        nonce = (self._iv ^ count).to_bytes(_NONCE_BYTES)
        return self._cipher, nonce, bytes([RECORD, self._direction]) + count.to_bytes(8)


class Sealer(_Counter):
    """Seals what goes out in one direction of one session.

    key44: the direction's key and start of nonces, from the handshake.
    """

    def seal(self, plaintext: bytes) -> bytes:
        """Give the next RECORD message. Raises ChannelError for more than 4079 bytes."""
        if len(plaintext) > LONGEST_PLAINTEXT:
            raise ChannelError(
                f"a record holds at most {LONGEST_PLAINTEXT} bytes, not {len(plaintext)}"
            )
        cipher, nonce, associated = self._next()
        return bytes([RECORD]) + cipher.encrypt(nonce, plaintext, associated)


class Opener(_Counter):
    """Opens what comes in in one direction of one session, in order and without a gap."""

    def open(self, message: bytes) -> bytes:
        """Give a RECORD message's plaintext.

        Raises ChannelError for anything but the next record, and from then on always: the key is
        gone.
        """
        cipher, nonce, associated = self._next()
        self._cipher = None  # put back only after success
        if not message.startswith(bytes([RECORD])):
            raise ChannelError("a record was expected")
        try:
            plaintext = cipher.decrypt(nonce, message[1:], associated)
        except InvalidTag:
            raise ChannelError("a record was changed, lost, repeated or made up") from None
        self._cipher = cipher
        return plaintext
