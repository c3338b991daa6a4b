"""The disturber: at the phone's dialog it knows every PDU, and keeps to no order.

It wants what the order protects: to try the other bit after a wrong one, to go on after a failure,
a check before the rounds or after none of them, a twenty-first round, a key in the middle. It
breaks off, comes back, falls silent, and begins on two links at once.
"""

import asyncio
import random
from collections.abc import Callable
from pathlib import Path

from bumble import crypto, hci
from bumble.crypto.cryptography import EccKey

from attacks.bits import FAILED, RANDOM, REQUEST
from attacks.dialog import STOCK_CHARGER, Display, Phones, of, phones, stock_charger, window
from attacks.report import Row, Tell
from attacks.stage import victim
from attacks.test_pairing_guesser import Door, drawing
from attacks.test_pairing_mirror import pairs
from chargepin.app.pairing import PairingCode
from chargepin.charger.bluetooth.pairing import STEP_MAX_S
from chargepin.charger.bluetooth.smp import Peer
from chargepin.core.pairing_window import ATTEMPTS_MAX
from charger.initiator import ROUNDS, Typing
from ends import both_ends
from manual_loop import manual_loop

CODE = 271_828
WALKS, MOVES = 120, 120
SEED = 20_210_524
LUCKY = 0.99  # so that it gets far enough to disturb what comes late
STRAYS = 0.04
RESPONSE, CONFIRM, KEY, CHECK = 0x02, 0x03, 0x0C, 0x0D


class Disturber:
    """One walk through a window. What the charger may say next is judged by what it said before.

    passed: rounds of this attempt, None before its keys. live: an attempt is under way. spent: it
    has got a code of the window.
    """

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - the same in every run
        self.drawn: list[int] = []
        self.draw = drawing(seed)
        self.door = Door(self.drawing)
        self.elsewhere = Peer(
            3, hci.Address("F0:00:00:00:00:03"), self.door.heard.append, lambda: None
        )
        self.key = EccKey.generate()
        self.codes_spent = self.bits = self.keys = 0
        self.over()

    def drawing(self, below: int) -> int:
        self.drawn.append(self.draw(below))
        return self.drawn[-1]

    def over(self) -> None:
        self.live = self.spent = self.committed = self.checked = False
        self.passed: int | None = None
        self.their_key, self.na, self.nb = bytes(64), bytes(16), bytes(16)
        self.ltk = self.ea = bytes(16)

    async def walk(self) -> None:
        self.door.open()
        for _ in range(MOVES):
            move = self.due()
            if self.dice.random() < STRAYS:
                moves = (self.asks, self.shows, self.commits, self.reveals, self.checks)
                strays = (self.identifies, self.gives_up, self.leaves, self.waits)
                move = self.dice.choice((*moves, *strays, self.asks_elsewhere, self.raves))
            move()
            for _ in range(3):
                await asyncio.sleep(0)  # timers that are due run
            self.encrypts()
            name = move.__name__
            assert self.codes_spent <= ATTEMPTS_MAX, name
            assert len(self.drawn) == self.codes_spent + 1, name
            assert self.keys or self.door.bonds.all() == (), name
        self.leaves()

    def due(self) -> Callable[[], None]:
        """The move that an honest phone would make."""
        if not self.live:
            return self.asks
        if self.passed is None:
            return self.shows
        if self.passed < ROUNDS:
            return self.reveals if self.committed else self.commits
        return self.identifies if self.checked else self.checks

    # ---- moves

    def asks(self) -> None:
        self.say(REQUEST)

    def shows(self) -> None:
        self.say(bytes([KEY]) + self.key.x[::-1] + self.key.y[::-1])

    def commits(self) -> None:
        """To the right bit, as a rule: the test knows it."""
        code = self.drawn[-2] if self.spent else self.drawn[-1]
        bit = code >> (self.passed or 0) & 1 ^ (self.dice.random() > LUCKY)
        self.na = crypto.r()
        own_x = self.key.x[::-1]
        commitment = crypto.f4(own_x, self.their_key[:32], self.na, bytes([0x80 | bit]))
        self.say(bytes([CONFIRM]) + commitment)

    def reveals(self) -> None:
        self.say(bytes([RANDOM]) + self.na)

    def checks(self) -> None:
        self.say(bytes([CHECK]) + self.ea)

    def identifies(self) -> None:
        self.say(b"\x08" + bytes(16))
        self.say(b"\x09\x01" + bytes(6))

    def gives_up(self) -> None:
        self.say(bytes([FAILED, 0x08]))
        self.over()

    def leaves(self) -> None:
        self.door.close()
        self.over()

    def waits(self) -> None:
        """Longer than any attempt lasts; who is hung up on would have to come back."""
        manual_loop().advance(STEP_MAX_S + 1)
        self.over()

    def asks_elsewhere(self) -> None:
        self.door.heard.clear()
        self.door._pairings.heard(self.elsewhere, REQUEST)
        (answer,) = self.door.heard
        assert answer[0] == (FAILED if self.live else RESPONSE) or not self.door.is_open
        self.door._pairings.closed(self.elsewhere)

    def raves(self) -> None:
        self.say(self.dice.randbytes(self.dice.randrange(1, 70)))

    # ---- what it hears

    def say(self, pdu: bytes) -> None:
        self.door.heard.clear()
        self.door._pairings.heard(self.door._stranger, pdu)
        for answer in tuple(self.door.heard):
            self.hear(answer)

    def hear(self, answer: bytes) -> None:
        match answer[0], answer[1:]:
            case 0x02, _:
                self.over()
                self.live = True
            case 0x0C, key:
                assert self.live
                self.their_key, self.passed = key, 0
            case 0x03, _:
                assert self.live
                assert not self.committed
                self.codes_spent += not self.spent
                self.spent = self.committed = True
            case 0x04, nb:
                assert self.committed  # to this one bit, and nothing was heard of another
                assert self.passed is not None
                self.committed, self.passed, self.nb = False, self.passed + 1, nb
                self.bits += 1
                if self.passed == ROUNDS:
                    self.derives()
            case 0x0D, _:
                assert self.passed == ROUNDS
                self.checked = True

            case _:
                assert answer[0] == FAILED
                self.over()

    def derives(self) -> None:
        own_x, own_y = self.their_key[:32][::-1], self.their_key[32:][::-1]
        a, b = (bytes(hci.Address(f"F0:00:00:00:00:0{n}")) + b"\x01" for n in (2, 1))
        dhkey = self.key.dh(own_x, own_y)[::-1]
        mac_key, self.ltk = crypto.f5(dhkey, self.na, self.nb, a, b)
        r = self.drawn[-2].to_bytes(16, "little")
        self.ea = crypto.f6(mac_key, self.na, self.nb, r, REQUEST[1:4], a, b)

    def encrypts(self) -> None:
        """At every moment; a key is given to who went all the way."""
        key = self.door._pairings.key(self.door._stranger, bytes(8), 0)
        if key is None:
            return
        assert self.door.bonds.all() or self.checked
        assert key.authenticated
        if not self.door.bonds.all():
            assert key.value == self.ltk
            self.keys += 1
            self.door._pairings.encrypted(self.door._stranger)


async def resumed(attacker: Phones) -> tuple[int, int]:
    """In one session, after a wrong bit the other one; gives what it learned, of how many bits."""
    phone = Typing(await attacker.link())
    await phone.begin()
    code = step = 0
    while step < ROUNDS:
        for bit in (1, 0):
            if (await phone.commit(bit))[0] != CONFIRM:
                await phone.connection.disconnect()
                return code, step
            if (await phone.reveal())[0] == RANDOM:
                break
        code |= bit << step
        step += 1
    await phone.connection.disconnect()
    return code, step


async def test_disturber(tmp_path: Path, tell: Tell) -> None:
    walks = [Disturber(SEED + number) for number in range(WALKS)]
    for each in walks:
        await each.walk()
    attempts = sum(each.codes_spent for each in walks)
    assert attempts > 2 * WALKS
    assert sum(each.keys for each in walks) > 0  # some went all the way, in order

    async with victim(tmp_path / "held", draw=lambda _: CODE) as on:
        owner = await on.owner_in()
        async with window(owner) as shown, phones(on.ends.room.address, of(on)) as attacker:
            learned = [(await resumed(attacker))[1] for _ in range(3)]
            assert max(learned) < ROUNDS
            await shown.until(PairingCode, 1 + len(learned))
            assert shown.spent == len(learned)
        await owner.close()

    async with (
        both_ends(tmp_path / "stock") as ends,
        stock_charger(ends.room.address, Display(CODE)),
        phones(ends.room.address, STOCK_CHARGER) as attacker,
    ):
        assert await resumed(attacker) == (CODE, ROUNDS)
        assert await pairs(attacker, CODE)
    tell(
        Row(
            "14 disturber",
            MOVES * WALKS,
            f"nothing out of its order; {attempts} attempts, each with a code of its own",
            "the whole code in one session of a stock Bumble charger, and then the stock service",
            "each PDU in one step only; whatever fails ends the attempt, and its code is spent",
        )
    )
