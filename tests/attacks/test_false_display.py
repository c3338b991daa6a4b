"""The false display: a charger of the attacker's that shows no code, and has one typed into it.

It wants the code that a person types into this app's pairing: of a real charger that is its
passcode for good. It sends the app's public key back, pairs the legacy way, or goes on after an
attempt has failed.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack, aclosing
from pathlib import Path

import pytest
from bumble import crypto, hci
from bumble.crypto.cryptography import EccKey
from bumble.gatt import Characteristic, Service
from bumble.smp import SMP_CID, ErrorCode, Session

from attacks.dialog import STOCK, device
from attacks.report import Row, Tell
from chargepin.app import errors
from chargepin.app.link_bumble import central, open_radio
from chargepin.core.catalogue import name_of
from chargepin.core.gatt import Layout, advertising
from charger.initiator import ROUNDS, failed
from ends import PATIENCE_S, SERIAL, both_ends

FALSE = "F2:00:00:00:EE:EE"
CODE = 271_828
LIST = range(CODE - 150, CODE + 50)
"""Codes that it tries to open a legacy pairing with; all million would take it half a minute."""
REQUEST, RESPONSE, CONFIRM, RANDOM, FAILED, KEY = 0x01, 0x02, 0x03, 0x04, 0x05, 0x0C
AGREED = bytes([RESPONSE, 0x00, 0x00, 0x0D, 16, 0x00, 0x00])
LEGACY = bytes([RESPONSE, 0x00, 0x00, 0x05, 16, 0x00, 0x00])


class Display:
    """One attempt of an app's. bits: of the code, as far as they are certain, lowest first."""

    def __init__(self, app: bytes) -> None:
        self.app = app
        self.bits: list[int] = []

    @property
    def code(self) -> int | None:
        whole = len(self.bits) == ROUNDS
        return sum(bit << at for at, bit in enumerate(self.bits)) if whole else None

    def answers(self, pdu: bytes) -> Iterable[bytes]:
        raise NotImplementedError


class Mirror(Display):
    """Returns what it is sent."""

    key = confirm = b""

    def answers(self, pdu: bytes) -> Iterable[bytes]:
        match pdu[0]:
            case 0x01:
                yield AGREED
            case 0x0C:
                self.key = pdu[1:33]
                yield pdu
            case 0x03:
                self.confirm = pdu[1:]
                yield pdu
            case 0x04:
                bit = crypto.f4(self.key, self.key, pdu[1:], b"\x81") == self.confirm
                self.bits.append(int(bit))
                yield pdu
            case 0x0D:
                yield failed(ErrorCode.DHKEY_CHECK_FAILED)
            case _:
                pass


class Stubborn(Display):
    """Commits to a bit; where that was the wrong one, it commits to the other one as well."""

    def __init__(self, app: bytes) -> None:
        super().__init__(app)
        self.own = EccKey.generate()
        self.theirs = self.heard = b""
        self.na = b""
        self.nb = crypto.r()
        self.again = False

    def commitment(self, bit: int) -> bytes:
        own_x = self.own.x[::-1]
        return bytes([CONFIRM]) + crypto.f4(own_x, self.theirs, self.nb, bytes([0x80 | bit]))

    def answers(self, pdu: bytes) -> Iterable[bytes]:
        match pdu[0]:
            case 0x01:
                yield AGREED
            case 0x0C:
                self.theirs = pdu[1:33]
                yield bytes([KEY]) + self.own.x[::-1] + self.own.y[::-1]
            case 0x03:
                self.heard, self.again = pdu[1:], False
                yield self.commitment(1)
            case 0x04 if not self.again:
                own_x = self.own.x[::-1]
                bit = int(crypto.f4(self.theirs, own_x, pdu[1:], b"\x81") == self.heard)
                self.bits.append(bit)
                yield bytes([RANDOM]) + self.nb
                if not bit:
                    self.again = True
                    yield self.commitment(0)
            case 0x04:
                yield bytes([RANDOM]) + self.nb
            case 0x0D:
                yield failed(ErrorCode.DHKEY_CHECK_FAILED)
            case _:
                pass


class OldFashioned(Display):
    """Knows only legacy pairing: the code is what a commitment is encrypted with."""

    request = confirm = b""

    def answers(self, pdu: bytes) -> Iterable[bytes]:
        match pdu[0]:
            case 0x01:
                self.request = pdu
                yield LEGACY
            case 0x03:
                self.confirm = pdu[1:]
                yield bytes([CONFIRM]) + bytes(16)
            case 0x04:
                ends = bytes(hci.Address(FALSE))
                for code in LIST:
                    key = code.to_bytes(16, "little")
                    given = crypto.c1(key, pdu[1:], self.request, LEGACY, 1, 1, self.app, ends)
                    if given == self.confirm:
                        self.bits = [code >> at & 1 for at in range(ROUNDS)]
                yield failed(ErrorCode.CONFIRM_VALUE_FAILED)
            case 0x0D:
                yield failed(ErrorCode.DHKEY_CHECK_FAILED)
            case _:
                pass


Kind = Callable[[bytes], Display]
KINDS: tuple[Kind, ...] = (Mirror, Stubborn, OldFashioned)


async def shown(radio: str, kind: Kind) -> Display:
    """Somebody types a code into the app, for a charger by the right name; gives what it had."""

    async def typed(_: str) -> int:
        return CODE

    async with AsyncExitStack() as stack:
        own = await device(stack, radio, FALSE)
        plain = Characteristic.Permissions.READABLE | Characteristic.Permissions.WRITEABLE
        values = [
            Characteristic(each.uuid, Characteristic.Properties(each.properties), plain, b"\x01")
            for each in STOCK.characteristics
        ]
        own.add_service(Service(STOCK.uuid, values))
        advert, scan_response = advertising(Layout.BGX, name_of(SERIAL), passcode=False)
        await own.start_advertising(
            advertising_data=advert,
            scan_response_data=scan_response,
            advertising_interval_min=20,
            advertising_interval_max=20,
        )
        app = await open_radio(radio, ask_code=typed)
        stack.push_async_callback(app.close)
        display = kind(bytes(hci.Address(app.address)))

        def heard(handle: int, pdu: bytes) -> None:
            for answer in display.answers(pdu):
                own.connections[handle].send_l2cap_pdu(SMP_CID, answer)

        own.l2cap_channel_manager.register_fixed_channel(SMP_CID, heard)
        async with asyncio.timeout(PATIENCE_S), aclosing(app.scan()) as found:
            charger = await anext(found)
        link = await app.connect(charger, timeout_s=PATIENCE_S)
        with pytest.raises((errors.ChargerRefused, errors.PasscodeWrong)):
            await link.pair()
        assert STOCK.mode is not None
        for _ in range(4 * ROUNDS):  # the app does not hang up at once
            await link.read(STOCK.mode.uuid)
        await link.close()
        return display


async def test_false_display(tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    async with both_ends(tmp_path) as ends:
        held = [await shown(ends.room.address, kind) for kind in KINDS]
        bits = [len(each.bits) for each in held]
        assert bits == [0, 1, 0]  # CODE ends on 0: the first guess is wrong, and it was the last
        with monkeypatch.context() as patch:
            patch.setattr(central, "CarefulSession", Session)
            won = [(await shown(ends.room.address, kind)).code for kind in KINDS]
        assert won == [CODE] * len(KINDS)
    tell(
        Row(
            "23 false display",
            len(KINDS),
            f"{bits[0]}, {bits[1]} and {bits[2]} bits of the code that a person types into the app",
            "of Bumble's own pairing the whole code, in one attempt by each of its three ways",
            "own and known keys refused, an attempt ends where it fails, no code the legacy way",
        )
    )
