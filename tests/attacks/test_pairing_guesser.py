"""The guesser at the phone's own dialog: it pairs again and again while a window is open.

Each round of passkey entry tells it whether it guessed a bit: the charger reveals its own one, or
breaks off. Against a code that stays, that is the whole code after twenty attempts at most. It
keeps what it learned, whatever window that was in, and so it needs a code that stays.
"""

import random
from collections.abc import Callable, Mapping
from statistics import mean

from bumble import hci

from attacks.bits import ROUNDS, Guesser
from attacks.report import Row, Tell
from chargepin.charger.air import LinkClosed, LinkEnd
from chargepin.charger.bluetooth.pairing import Pairings
from chargepin.charger.bluetooth.smp import Peer
from chargepin.charger.dialog import PairingDialog
from chargepin.charger.rights import Rights
from chargepin.core.catalogue import Version
from chargepin.core.gatt import Layout
from chargepin.core.guard import powered_up
from chargepin.core.pairing_window import ATTEMPTS_MAX, Draw
from charger.rig import BondsInMemory
from core.guard_bench import PROTECTED

WINDOWS = 200
OWNER, STRANGER = 1, 2
OWN = hci.Address("F0:00:00:00:00:01")
SEED = 20_251_103


class Door:
    """A charger's pairing, with a window that an owner opens; heard is what the stranger hears.

    Only the radio is left out: what pairs, what judges and what draws the codes is the charger's.
    """

    def __init__(self, draw: Draw) -> None:
        guard = powered_up(PROTECTED, Version(6, 7, 17), Version(0, 1, 0)).guard
        self.heard: list[bytes] = []
        self.said: list[str] = []
        self.bonds = BondsInMemory()
        self._dialog = PairingDialog(
            self,  # type: ignore[arg-type] # of Air a dialog needs end_pairing and links
            draw,
            now_s=lambda: 0.0,
            guard=lambda: guard,
            say=self._say,
            log=lambda _entry: None,
        )
        rights = Rights(lambda: guard, Layout.BGX, self._dialog)
        self._pairings = Pairings(OWN, self.bonds, rights, bytes(16), self._dialog.heard, lambda: 0)
        address = hci.Address("F0:00:00:00:00:02")
        self._stranger = Peer(STRANGER, address, self.heard.append, lambda: None)

    def open(self) -> None:
        self.said.clear()
        self._dialog.open(OWNER, "")

    def leave(self) -> None:
        """The owner's link ends."""
        self._dialog.heard(LinkClosed(OWNER, LinkEnd.LOST))

    def close(self) -> None:
        self._pairings.closed(self._stranger)

    def end_pairing(self) -> None:
        self.close()

    @property
    def links(self) -> tuple[int, ...]:
        return OWNER, STRANGER

    @property
    def is_open(self) -> bool:
        return self._dialog.is_open

    def ask(self, pdu: bytes) -> bytes:
        self.heard.clear()
        self._pairings.heard(self._stranger, pdu)
        return self.heard[0]

    def _say(self, link: int, event: str, _members: Mapping[str, object]) -> None:
        assert link == OWNER
        self.said.append(event)


def watched(draw: Draw, windows: int) -> Guesser:
    """Let the guesser use every attempt of so many windows, or until it is in."""
    door = Door(draw)
    guesser = Guesser(door, random.Random(SEED))  # noqa: S311 - the same guesses in every run
    for _ in range(windows):
        door.open()
        while door.is_open and guesser.attempts_until_in is None:
            guesser.attempt()
        if guesser.attempts_until_in is None:
            assert door.said == ["pairing_code"] * ATTEMPTS_MAX + ["pairing_closed"]
        assert door.bonds.all() == ()
    return guesser


def left_alone(draw: Draw, windows: int) -> Guesser:
    """Let it use all that is left once whoever opened a window has gone."""
    door = Door(draw)
    guesser = Guesser(door, random.Random(SEED))  # noqa: S311 - the same guesses in every run
    for _ in range(windows):
        door.open()
        door.leave()
        while door.is_open and guesser.attempts_until_in is None:
            guesser.attempt()
        assert door.said == ["pairing_code"]
    return guesser


def drawing(seed: int) -> Draw:
    return random.Random(seed).randrange  # noqa: S311 - the same codes in every run


def constant(code: int) -> Callable[[int], int]:
    return lambda _below: code


async def test_bit_by_bit_against_codes_that_are_used_once(tell: Tell) -> None:
    guesser = watched(drawing(SEED), WINDOWS)
    assert len(guesser.passed) == WINDOWS * ATTEMPTS_MAX
    assert guesser.attempts_until_in is None
    first, last = (guesser.passed[at::ATTEMPTS_MAX] for at in (0, ATTEMPTS_MAX - 1))
    # Whoever tosses a coin for each bit passes one round on average: it knows no more than a coin.
    assert 0.85 < mean(guesser.passed) < 1.15
    assert abs(mean(first) - mean(last)) < 0.5

    draw = random.Random(SEED + 1)  # noqa: S311 - as above
    stayed = [watched(constant(draw.randrange(1_000_000)), 2) for _ in range(30)]
    needed = [each.attempts_until_in or 99 for each in stayed]
    assert max(needed) <= ROUNDS
    tell(
        Row(
            "11 guesser at the phone's dialog",
            len(guesser.passed),
            f"nothing: {WINDOWS} windows, {mean(guesser.passed):.2f} bits per attempt as by"
            f" tossing coins, {mean(first):.2f} in the first and {mean(last):.2f} in the tenth",
            f"a code that stays: in after {mean(needed):.1f} attempts, at most {max(needed)}",
            "a fresh code for every attempt, spent before the charger commits to anything; ten"
            " attempts per window",
        )
    )


async def test_bit_by_bit_against_windows_whose_openers_have_left(tell: Tell) -> None:
    guesser = left_alone(drawing(SEED), WINDOWS)
    assert guesser.attempts_until_in is None
    assert len(guesser.passed) == WINDOWS  # one attempt each, and no more
    assert 0.7 < mean(guesser.passed) < 1.3

    draw = random.Random(SEED + 2)  # noqa: S311 - as above
    stayed = [watched(constant(draw.randrange(1_000_000)), 2) for _ in range(10)]
    needed = [each.attempts_until_in or 99 for each in stayed]
    assert max(needed) <= ROUNDS
    tell(
        Row(
            "11 guesser, nobody looks on",
            len(guesser.passed),
            f"nothing: {WINDOWS} windows that were walked away from, one attempt in each",
            "the code that was shown last, good for more than one attempt: in after"
            f" {mean(needed):.1f} attempts, at most {max(needed)}",
            "whoever opened the window has gone: one attempt with what it was shown, then the"
            " window closes; 1 in 1,000,000",
        )
    )
