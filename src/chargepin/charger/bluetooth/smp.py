"""One pairing, seen from the charger: the Security Manager Protocol (Core Vol 3, Part H).

Only what a charger may do: LE Secure Connections, 16-byte keys, no out-of-band data; Just Works, or
passkey entry where the charger shows a code and a person types it into the phone. Every PDU is
expected in exactly one step; anything else fails the attempt. Bumble brings the toolbox (f4, f5,
f6, P-256). Its session is not used: it lives on after a failure, knows no order of steps and no
timer, keeps one P-256 key for the life of the process, accepts legacy pairing, short keys and its
own public key, lets a phone without a keyboard off the passkey, never pairs with 000000, and raises
out of unknown PDUs.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from types import MappingProxyType
from typing import Final, TypeAlias

from bumble import crypto
from bumble.crypto.cryptography import EccKey
from bumble.hci import Address
from bumble.smp import SMP_DEBUG_KEY_PUBLIC_X

_BONDING: Final = 0x01  # AuthReq (3.5.1)
_MITM: Final = 0x04
_SECURE_CONNECTIONS: Final = 0x08
_DISPLAY_ONLY: Final = 0x00  # IO capabilities (2.3.2)
_KEYBOARD_ONLY: Final = 0x02
_NO_INPUT_NO_OUTPUT: Final = 0x03
_KEYBOARD_DISPLAY: Final = 0x04
_IO_CAPABILITY_MAX: Final = 0x04
KEYBOARDS: Final = frozenset({_KEYBOARD_ONLY, _KEYBOARD_DISPLAY})
_ID_KEY: Final = 0x02  # key distribution (3.6.1)
_KEY_BYTES: Final = 16
_KEY_BYTES_MIN: Final = 7
_DEBUG_X: Final = SMP_DEBUG_KEY_PUBLIC_X[::-1]
_ROUNDS: Final = 20  # bits of a passkey, the lowest first (2.3.5.6.3)
_BIT: Final = 0x80  # of the passkey, as f4 takes it

UseCode: TypeAlias = Callable[[], int | None]
"""Uses the shown code up and gives it; None if no pairing is wanted any more."""


class Reason(IntEnum):
    """Why pairing failed (3.5.5)."""

    OOB_NOT_AVAILABLE = 0x02
    AUTHENTICATION_REQUIREMENTS = 0x03
    CONFIRM_VALUE_FAILED = 0x04
    PAIRING_NOT_SUPPORTED = 0x05
    ENCRYPTION_KEY_SIZE = 0x06
    COMMAND_NOT_SUPPORTED = 0x07
    UNSPECIFIED_REASON = 0x08
    REPEATED_ATTEMPTS = 0x09
    INVALID_PARAMETERS = 0x0A
    DHKEY_CHECK_FAILED = 0x0B


class Code(IntEnum):
    """The PDUs of a Secure Connections pairing (3.3), and the one that has no place here."""

    REQUEST = 0x01
    RESPONSE = 0x02
    CONFIRM = 0x03
    RANDOM = 0x04
    FAILED = 0x05
    IDENTITY_INFORMATION = 0x08
    IDENTITY_ADDRESS = 0x09
    SECURITY_REQUEST = 0x0B
    PUBLIC_KEY = 0x0C
    DHKEY_CHECK = 0x0D


BODY_BYTES: Final = MappingProxyType(
    {
        Code.REQUEST: 6,
        Code.CONFIRM: 16,
        Code.RANDOM: 16,
        Code.IDENTITY_INFORMATION: 16,
        Code.IDENTITY_ADDRESS: 7,
        Code.SECURITY_REQUEST: 1,
        Code.PUBLIC_KEY: 64,
        Code.DHKEY_CHECK: 16,
    }
)


class Failed(Exception):
    """The attempt ends here."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.name)
        self.reason = reason


@dataclass(frozen=True, slots=True, eq=False)
class Peer:
    """The other end of one link, by the address it connected with."""

    link: int
    address: Address
    send: Callable[[bytes], None]
    hang_up: Callable[[], None]


class Step(Enum):
    """What an attempt waits for."""

    PUBLIC_KEY = auto()
    RANDOM = auto()
    PASSKEY_CONFIRM = auto()
    PASSKEY_RANDOM = auto()
    DHKEY_CHECK = auto()
    ENCRYPTION = auto()
    IDENTITY_INFORMATION = auto()
    IDENTITY_ADDRESS = auto()
    NOTHING = auto()


class Attempt:
    """One pairing on one link, from its request to the last key. Names as in 2.3.5.6.

    last_x: of the public key shown last time. use_code: for passkey entry; None is Just Works. It
    is called once, at the peer's first Confirm: from there on the code is spent, come what may.
    """

    def __init__(
        self,
        peer: Peer,
        own: Address,
        request: bytes,
        last_x: bytes,
        use_code: UseCode | None = None,
    ) -> None:
        """Answer a request. Raises Failed."""
        _refuse(request)
        io_capability, _, auth_req, _, initiator_keys, _ = request
        self.peer = peer
        self.step = Step.PUBLIC_KEY
        self.by_passkey = use_code is not None
        self.bonding = bool(auth_req & _BONDING)
        self.long_term_key = b""  # both ends have checked it from ENCRYPTION on
        self.public_x = last_x
        self.identity_resolving_key: bytes | None = None
        self._identity_comes = self.bonding and bool(initiator_keys & _ID_KEY)
        if use_code is not None:
            self._refuse_unfit(io_capability)
        self._use_code = use_code
        self._passkey: int | None = None
        self._round = 0
        self._a = bytes(peer.address) + bytes([peer.address.is_random])
        self._b = bytes(own) + bytes([own.is_random])
        auth = _SECURE_CONNECTIONS | (_BONDING if self.bonding else 0)
        auth |= _MITM if self.by_passkey else 0
        io = _DISPLAY_ONLY if self.by_passkey else _NO_INPUT_NO_OUTPUT
        keys = _ID_KEY if self._identity_comes else 0
        # We give no identity of our own: our address never changes.
        response = bytes([io, 0, auth, _KEY_BYTES, keys, 0])
        self._io_a, self._io_b = request[:3], response[:3]
        self._send(Code.RESPONSE, response)

    @property
    def code_used(self) -> bool:
        """Whether a code was spent on this attempt."""
        return self._passkey is not None

    @property
    def key_in_use(self) -> bool:
        """Whether the link is encrypted with the new key."""
        return self.step in {
            Step.IDENTITY_INFORMATION,
            Step.IDENTITY_ADDRESS,
            Step.NOTHING,
        }

    def take(self, code: int, body: bytes) -> None:
        """Go on by one PDU of the right length. Raises Failed."""
        match self.step, code:
            case Step.PUBLIC_KEY, Code.PUBLIC_KEY:
                self._exchange_keys(body[:32], body[32:])
                self.step = Step.PASSKEY_CONFIRM if self.by_passkey else Step.RANDOM
            case Step.RANDOM, Code.RANDOM:
                self._send(Code.RANDOM, self._nb)
                self._derive(body, passkey=0)
                self.step = Step.DHKEY_CHECK
            case Step.PASSKEY_CONFIRM, Code.CONFIRM:
                self._commit(body)
                self.step = Step.PASSKEY_RANDOM
            case Step.PASSKEY_RANDOM, Code.RANDOM:
                self._reveal(body)
                self.step = Step.PASSKEY_CONFIRM if self._round < _ROUNDS else Step.DHKEY_CHECK
            case Step.DHKEY_CHECK, Code.DHKEY_CHECK:
                if not hmac.compare_digest(body, self._ea):
                    raise Failed(Reason.DHKEY_CHECK_FAILED)
                self._send(Code.DHKEY_CHECK, self._eb)
                self.step = Step.ENCRYPTION
            case Step.IDENTITY_INFORMATION, Code.IDENTITY_INFORMATION:
                self.identity_resolving_key = body if any(body) else None
                self.step = Step.IDENTITY_ADDRESS
            case Step.IDENTITY_ADDRESS, Code.IDENTITY_ADDRESS:
                # Anyone can claim any identity address, so nothing is filed under it.
                self.step = Step.NOTHING
            case _:
                raise Failed(Reason.UNSPECIFIED_REASON)

    def encrypted(self) -> None:
        """Go on after the link was encrypted with the new key."""
        self.step = Step.IDENTITY_INFORMATION if self._identity_comes else Step.NOTHING

    def _refuse_unfit(self, io_capability: int) -> None:
        """Refuse who could not type a code, or could not be told apart and forgotten later.

        Whether the phone asks for protection (MITM) does not matter: our own bit suffices for
        passkey entry (table 2.6), and a phone that then does anything else fails.
        """
        nameable = self.peer.address.is_public or self.peer.address.is_static
        if (
            io_capability not in KEYBOARDS
            or not self.bonding
            or not (nameable or self._identity_comes)
        ):
            raise Failed(Reason.AUTHENTICATION_REQUIREMENTS)

    def _exchange_keys(self, x: bytes, y: bytes) -> None:
        own = EccKey.generate()  # after theirs came: what they reflect is of another attempt
        own_x, own_y = own.x[::-1], own.y[::-1]
        if x in {own_x, self.public_x, _DEBUG_X}:
            raise Failed(Reason.INVALID_PARAMETERS)
        try:
            self._dhkey = own.dh(x[::-1], y[::-1])[::-1]
        except ValueError:  # not a point of the curve
            raise Failed(Reason.INVALID_PARAMETERS) from None
        self.public_x, self._their_x = own_x, x
        self._nb = crypto.r()
        self._send(Code.PUBLIC_KEY, own_x + own_y)
        if not self.by_passkey:
            self._send(Code.CONFIRM, crypto.f4(own_x, x, self._nb, bytes(1)))

    def _commit(self, confirm: bytes) -> None:
        """Commit to this round's bit after the peer did; the first time spends the code."""
        if self._passkey is None:
            self._passkey = self._use_code() if self._use_code else None
        if self._passkey is None:  # the window closed while the person typed
            raise Failed(Reason.PAIRING_NOT_SUPPORTED)
        self._their_confirm, self._nb = confirm, crypto.r()
        bit = self._bit(self._passkey)
        self._send(Code.CONFIRM, crypto.f4(self.public_x, self._their_x, self._nb, bit))

    def _reveal(self, na: bytes) -> None:
        """Reveal this round's bit only to who has just revealed the same one."""
        assert self._passkey is not None  # noqa: S101 - spent when the round began
        bit = self._bit(self._passkey)
        expected = crypto.f4(self._their_x, self.public_x, na, bit)
        if not hmac.compare_digest(expected, self._their_confirm):
            raise Failed(Reason.CONFIRM_VALUE_FAILED)
        self._send(Code.RANDOM, self._nb)
        self._round += 1
        if self._round == _ROUNDS:
            self._derive(na, self._passkey)

    def _bit(self, passkey: int) -> bytes:
        return bytes([_BIT | (passkey >> self._round) & 1])

    def _derive(self, na: bytes, passkey: int) -> None:
        a, b, nb = self._a, self._b, self._nb
        r = passkey.to_bytes(16, "little")  # zero for Just Works (2.3.5.6.5)
        mac_key, self.long_term_key = crypto.f5(self._dhkey, na, nb, a, b)
        self._ea = crypto.f6(mac_key, na, nb, r, self._io_a, a, b)
        self._eb = crypto.f6(mac_key, nb, na, r, self._io_b, b, a)

    def _send(self, code: Code, body: bytes) -> None:
        self.peer.send(bytes([code]) + body)


def _refuse(request: bytes) -> None:
    """Refuse what no pairing of ours can be. Raises Failed."""
    io_capability, oob, auth_req, key_bytes, _, _ = request
    if oob:
        raise Failed(Reason.OOB_NOT_AVAILABLE)
    if not auth_req & _SECURE_CONNECTIONS:
        raise Failed(Reason.AUTHENTICATION_REQUIREMENTS)
    if _KEY_BYTES_MIN <= key_bytes < _KEY_BYTES:
        raise Failed(Reason.ENCRYPTION_KEY_SIZE)
    if key_bytes != _KEY_BYTES or io_capability > _IO_CAPABILITY_MAX:
        raise Failed(Reason.INVALID_PARAMETERS)
