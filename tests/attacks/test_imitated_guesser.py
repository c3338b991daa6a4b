"""The guesser at a charger whose passcode is its passkey: it has a radio, and wants the passcode.

It pairs, bit by bit, as at our window (test_pairing_guesser.py); here the code stays.
"""

import random
from pathlib import Path
from statistics import mean

from bumble import hci

from attacks.bits import FAILED, ROUNDS, Guesser, number
from attacks.dialog import Phones, let_in, phones
from attacks.report import Row, Tell
from chargepin.charger.bluetooth.smp import Peer
from chargepin.charger.imitation import IMITATIONS
from chargepin.charger.imitation.rules import ImitatedRules, pairings_by
from chargepin.core.passcode import Passcode, draw
from charger.imitated import bench
from charger.initiator import Typing
from charger.rig import BondsInMemory

VERSION = "6.11.26"
CODES = 150
SEED = 20_260_101
OWN = hci.Address("F0:00:00:00:00:01")


class Door:
    """The pairing of an imitated charger; only the radio is left out."""

    def __init__(self, passcode: Passcode) -> None:
        self._heard: list[bytes] = []
        rules = ImitatedRules(IMITATIONS[VERSION], passcode)
        self._pairings = pairings_by(rules)(
            OWN, BondsInMemory(), rules, bytes(16), lambda _event: None, lambda: 0
        )
        address = hci.Address("F0:00:00:00:00:02")
        self._peer = Peer(1, address, self._heard.append, lambda: None)

    def ask(self, pdu: bytes) -> bytes:
        self._heard.clear()
        self._pairings.heard(self._peer, pdu)
        return self._heard[0]

    def close(self) -> None:
        self._pairings.closed(self._peer)


def attempts_at(passcode: Passcode, bits: random.Random) -> int:
    """How many attempts a guesser needs; the last one pairs."""
    guesser = Guesser(Door(passcode), bits)
    while guesser.attempts_until_in is None:
        guesser.attempt()
    assert guesser.code == int(passcode.digits)
    return guesser.attempts_until_in


async def on_the_air(attacker: Phones) -> tuple[int, int]:
    """The same over the radio, until it reads what only paired phones may; code and attempts."""
    known: list[int] = []
    attempts = 0
    while True:
        attempts += 1
        phone = Typing(await attacker.link())
        await phone.begin()
        for step in range(ROUNDS):
            if step == len(known):
                known.append(0)
            await phone.commit(known[step])
            answer = await phone.reveal()
            if answer[0] == FAILED:
                known[step] ^= 1
                break
            phone.nb = answer[1:]
        else:
            phone.derive(phone.nb, number(known))
            await phone.check()
            await phone.encrypt()
            phone.give_identity(bytes(16), str(phone.connection.self_address))
            assert await let_in(phone.connection)
            return number(known), attempts
        assert not await let_in(phone.connection)
        await phone.connection.disconnect()


async def test_guesser_at_an_imitated_charger(tmp_path: Path, tell: Tell) -> None:
    rng = random.Random(SEED)  # noqa: S311 - the same codes and guesses in every run
    needed = [attempts_at(draw(rng.randrange), rng) for _ in range(CODES)]
    assert max(needed) <= ROUNDS
    assert 10.4 < mean(needed) < 11.4  # 1 + 9.885 by computation

    async with bench(tmp_path) as on:
        charger = await on.switch_on(VERSION, "555555")
        async with phones(on.room.address, charger.address) as attacker:
            code, attempts = await on_the_air(attacker)
    assert code == 555_555
    assert attempts <= ROUNDS
    tell(
        Row(
            "20 guesser at an imitated charger",
            0,
            "nothing: ours has no passkey that stays (see 11)",
            f"the passcode, after {mean(needed):.1f} attempts on average, at most {max(needed)};"
            f" on the air after {attempts}",
            "the passcode is never a passkey; --imitate runs on a virtual radio only",
        )
    )
