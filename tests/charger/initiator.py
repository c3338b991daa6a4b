"""The phone's side of a pairing, one PDU at a time: a test may get any of them wrong."""

import asyncio
from contextlib import closing

import pytest
from bumble import crypto, hci
from bumble.core import ProtocolError
from bumble.crypto.cryptography import EccKey
from bumble.device import Connection
from bumble.smp import SMP_CID, ErrorCode
from bumble.utils import EventWatcher

from charger.rig import PATIENCE_S, Wire

REQUEST = bytes([0x01, 0x03, 0x00, 0x09, 16, 0x02, 0x00])
PASSKEY_REQUEST = bytes([0x01, 0x02, 0x00, 0x0D, 16, 0x02, 0x00])  # keyboard, MITM, bonding
ROUNDS = 20


def failed(reason: ErrorCode) -> bytes:
    return bytes([0x05, reason])


class Initiator:
    """The phone's side of a pairing, one PDU at a time: a test may get any of them wrong."""

    def __init__(self, connection: Connection) -> None:
        self.wire = Wire(connection, SMP_CID)
        self.connection = connection
        self.key = EccKey.generate()
        self.na = crypto.r()
        self.ltk = b""
        self.their_key = b""

    @property
    def public_key(self) -> bytes:
        return b"\x0c" + self.key.x[::-1] + self.key.y[::-1]

    async def request(self, pdu: bytes = REQUEST) -> bytes:
        self.asked = pdu
        self.answered = await self.wire.ask(pdu)
        return self.answered

    async def exchange_keys(self, pdu: bytes | None = None) -> bytes:
        self.their_key = await self.wire.ask(pdu or self.public_key)
        if self.their_key[0] == 0x0C:
            self.confirm = await self.wire.hear()
        return self.their_key

    async def exchange_randoms(self) -> None:
        nb = await self.wire.ask(b"\x04" + self.na)
        their_x = self.their_key[1:33]
        assert self.confirm == b"\x03" + crypto.f4(their_x, self.key.x[::-1], nb[1:], bytes(1))
        self.derive(nb[1:], passkey=0)

    def derive(self, nb: bytes, passkey: int) -> None:
        their_x, their_y = self.their_key[1:33], self.their_key[33:]
        dhkey = self.key.dh(their_x[::-1], their_y[::-1])[::-1]
        a = bytes(self.connection.self_address) + b"\x01"
        b = bytes(self.connection.peer_address) + b"\x01"
        mac_key, self.ltk = crypto.f5(dhkey, self.na, nb, a, b)
        r = passkey.to_bytes(16, "little")
        self.ea = crypto.f6(mac_key, self.na, nb, r, self.asked[1:4], a, b)
        self.eb = crypto.f6(mac_key, nb, self.na, r, self.answered[1:4], b, a)

    async def check(self) -> None:
        assert await self.wire.ask(b"\x0d" + self.ea) == b"\x0d" + self.eb

    async def up_to_the_key(self, request: bytes = REQUEST) -> None:
        assert (await self.request(request))[0] == 0x02
        await self.exchange_keys()
        await self.exchange_randoms()
        await self.check()

    async def encrypt(self) -> None:
        assert await encrypted_with(self.connection, self.ltk)

    def give_identity(self, irk: bytes, identity: str) -> None:
        self.wire.send(b"\x08" + irk)
        self.wire.send(b"\x09\x01" + bytes(hci.Address(identity)))


class Typing(Initiator):
    """A phone into which a code is typed: 20 rounds instead of one."""

    async def request(self, pdu: bytes = PASSKEY_REQUEST) -> bytes:
        return await super().request(pdu)

    async def exchange_keys(self, pdu: bytes | None = None) -> bytes:
        self.their_key = await self.wire.ask(pdu or self.public_key)
        return self.their_key

    async def commit(self, bit: int) -> bytes:
        """Commit to a bit; gives the charger's commitment, or its refusal."""
        self.na = crypto.r()
        own_x, their_x = self.key.x[::-1], self.their_key[1:33]
        value = crypto.f4(own_x, their_x, self.na, bytes([0x80 | bit]))
        return await self.wire.ask(b"\x03" + value)

    async def reveal(self) -> bytes:
        """Reveal it; gives what the charger reveals, or its refusal."""
        return await self.wire.ask(b"\x04" + self.na)

    async def round(self, bit: int) -> None:
        """One round that the charger agrees to, its own commitment checked."""
        confirm = await self.commit(bit)
        assert confirm[0] == 0x03
        self.nb = (await self.reveal())[1:]
        own_x, their_x = self.key.x[::-1], self.their_key[1:33]
        assert confirm[1:] == crypto.f4(their_x, own_x, self.nb, bytes([0x80 | bit]))

    async def begin(self, request: bytes = PASSKEY_REQUEST) -> None:
        assert (await self.request(request))[0] == 0x02
        assert (await self.exchange_keys())[0] == 0x0C

    async def rounds(self, code: int, count: int = ROUNDS) -> None:
        for step in range(count):
            await self.round(code >> step & 1)
        if count == ROUNDS:
            self.derive(self.nb, code)

    async def pair(self, code: int) -> None:
        """All of it, up to the bond."""
        await self.begin()
        await self.rounds(code)
        await self.check()
        await self.encrypt()
        self.give_identity(bytes(16), str(self.connection.self_address))


async def encrypted_with(
    connection: Connection, key: bytes, *, rand: bytes = bytes(8), ediv: int = 0
) -> bool:
    """Ask for encryption below Bumble's key store; False if the charger has no key for it."""
    outcome: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    with closing(EventWatcher()) as watcher:
        changed, failed = "connection_encryption_change", "connection_encryption_failure"
        watcher.on(connection, changed, lambda: outcome.set_result(True))
        watcher.on(connection, failed, lambda _error: outcome.set_result(False))
        watcher.on(connection, "disconnection", lambda _: outcome.set_result(False))  # another key
        await connection.device.host.send_async_command(
            hci.HCI_LE_Enable_Encryption_Command(
                connection_handle=connection.handle,
                random_number=rand,
                encrypted_diversifier=ediv,
                long_term_key=key,
            )
        )
        async with asyncio.timeout(PATIENCE_S):
            return await outcome


async def refusal_of(connection: Connection) -> int | None:
    """The reason that a stock phone was given when it tried to pair."""
    with pytest.raises(ProtocolError) as caught:
        await connection.pair()
    return caught.value.error_code
