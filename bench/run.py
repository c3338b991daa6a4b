"""Figures, side by side with a peer in one run: medians of some tens of rounds.

Usage: make bench, or with bench and tests on the path: python bench/run.py [ROUNDS]
"""

import asyncio
import math
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import footprint
import passkey_peer as peer
from chargepin.app.client import find
from chargepin.app.ports import Known
from chargepin.core import handshake
from chargepin.core.passcode import Passcode
from chargepin.machine.controller import quiet
from chargepin.radio import serve_radio
from ends import SERIAL, Ends, both_ends
from manual_loop import ManualLoop

MS = 1000.0
GUESSES = 50  # in each round, since it is their difference that matters
ANSWER = "SPAKE2+, the charger's half, to "
Figures = dict[str, list[float]]


async def timed(figures: Figures, name: str, work: Callable[[], Awaitable[object]]) -> None:
    """Run work, and note how many milliseconds it took."""
    begun = time.perf_counter()
    await work()
    figures.setdefault(name, []).append((time.perf_counter() - begun) * MS)


async def ours(ends: Ends, rounds: int, figures: Figures) -> None:
    """Connecting alone, then connecting to the first answer: with the passcode, with a bond."""
    await ends.switch_on()
    phone = await ends.phone()
    await (await phone.enter()).set_passcode()
    around = phone.surroundings

    async def connect_only() -> None:
        link = await around.radio.connect(await find(around, SERIAL), timeout_s=10)
        await link.close()

    async def first_answer() -> None:
        charger = await phone.enter()
        await charger.call("r_dat")
        await charger.close()

    for _ in range(rounds):
        await timed(figures, "chargepin: connect, discover, hang up", connect_only)
        kept = phone.vault.known[SERIAL]
        phone.vault.known[SERIAL] = Known(SERIAL, candidates=kept.candidates)
        await timed(figures, "chargepin: connect, prove passcode, first answer", first_answer)
        await timed(figures, "chargepin: connect, prove bond, first answer", first_answer)
        bond = phone.vault.known[SERIAL].bond
        assert bond is not None
        inside = await phone.enter()
        await inside.forget_phone(bond.bond_id)


async def theirs(rounds: int, figures: Figures) -> None:
    """The same with a fixed Bluetooth passkey, on stock Bumble at both ends."""
    room = await serve_radio("127.0.0.1", 0)
    async with peer.device(room.address, peer.CHARGER, peer.Shows()) as charger:
        peer.serve(charger)
        await charger.power_on()
        await peer.advertise(charger)
        async with peer.device(room.address, "F0:00:00:00:00:BB", peer.Types()) as phone:
            await phone.power_on()

            async def answer(*, bonded: bool) -> None:
                connection = await peer.reach(phone)
                await peer.first_answer(connection, bonded=bonded)
                await connection.disconnect()

            for _ in range(rounds):
                peer.forget(phone)
                peer.forget(charger)
                name = "fixed passkey: connect, {}, first answer"
                await timed(figures, name.format("pair"), lambda: answer(bonded=False))
                await timed(figures, name.format("encrypt"), lambda: answer(bonded=True))
    await room.close()


def computing(rounds: int, figures: Figures) -> None:
    """What a handshake costs each side, and the passcode's slow hash."""
    identity, salt = bytes(32), bytes(16)
    for _ in range(rounds):
        begun = time.perf_counter()
        witness = handshake.passcode_witness(Passcode("482913"), identity, salt, 1)
        hashed = time.perf_counter()
        verifier = handshake.verifier_of(witness)
        prover = handshake.Prover(witness, identity, bytes(range(48)))
        share = prover.start()
        started = time.perf_counter()
        answer = handshake.respond(verifier, identity, b"bench", share, bytes(range(1, 49)))
        answered = time.perf_counter()
        prover.finish(b"bench", answer.share_v, answer.confirm_v)
        figures.setdefault("Argon2id, 19 MiB", []).append((hashed - begun) * MS)
        figures.setdefault("SPAKE2+, the charger's half", []).append((answered - started) * MS)


def guesses(rounds: int, figures: Figures) -> None:
    """How long the charger computes its answer to a right guess, a wrong one, and to no point.

    Seconds of this thread alone: what else the computer does would hide a difference.
    """
    identity, salt = bytes(32), bytes(16)
    right, wrong = (
        handshake.passcode_witness(Passcode(digits), identity, salt, 1)
        for digits in ("482913", "482914")
    )
    verifier = handshake.verifier_of(right)
    for number in range(rounds):
        shares = [
            ("a right guess", handshake.Prover(right, identity, secrets.token_bytes(48)).start()),
            ("a wrong guess", handshake.Prover(wrong, identity, secrets.token_bytes(48)).start()),
            ("what is no point", b"\4" + secrets.token_bytes(64)),
        ]
        scalar = secrets.token_bytes(48)
        for name, share in shares[:: 1 - 2 * (number % 2)]:  # what comes first may cost more
            begun = time.thread_time()
            with suppress(handshake.HandshakeError):
                handshake.respond(verifier, identity, b"bench", share, scalar)
            took = (time.thread_time() - begun) * MS
            figures.setdefault(f"{ANSWER}{name}", []).append(took)


def apart(one: list[float], other: list[float]) -> float:
    """Welch's t of the faster nine tenths: from 4.5 on, either way, times tell two kinds apart."""
    first, second = (sorted(times)[: len(times) * 9 // 10] for times in (one, other))
    spread = sum(statistics.variance(times) / len(times) for times in (first, second))
    return (statistics.mean(first) - statistics.mean(second)) / math.sqrt(spread)


def command_start(rounds: int, figures: Figures) -> None:
    """How long a person waits for the command's help, and Python alone."""
    for name, argv in {
        "python -c pass": [sys.executable, "-c", "pass"],
        "chargepin --help": [str(Path(sys.executable).with_name("chargepin")), "--help"],
    }.items():
        for _ in range(rounds):
            begun = time.perf_counter()
            subprocess.run(argv, check=True, capture_output=True)
            figures.setdefault(name, []).append((time.perf_counter() - begun) * MS)


def charger_program(rounds: int, figures: Figures) -> None:
    """The charger as a program on its own."""
    with tempfile.TemporaryDirectory() as directory:
        for seconds, mib in footprint.charger(Path(directory), rounds):
            figures.setdefault("charger program: start to ready", []).append(seconds * MS)
            figures.setdefault("charger program: resident, MiB", []).append(mib)


async def on_the_radio(rounds: int, figures: Figures) -> None:
    """Both, one after the other."""
    with tempfile.TemporaryDirectory() as directory:
        async with both_ends(Path(directory)) as ends:
            await ours(ends, rounds, figures)
    await theirs(rounds, figures)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 30
    figures: Figures = {}
    quiet()
    computing(rounds, figures)
    guesses(GUESSES * rounds, figures)
    command_start(max(5, rounds // 3), figures)
    charger_program(max(5, rounds // 3), figures)
    with asyncio.Runner(loop_factory=ManualLoop) as runner:
        runner.run(on_the_radio(rounds, figures))
    print(f"{'median':>9} {'p90':>9}  ms if not said otherwise, {rounds} rounds, all in this run")
    for name, values in figures.items():
        p90 = sorted(values)[int(len(values) * 0.9)]
        print(f"{statistics.median(values):9.3f} {p90:9.3f}  {name}")
    t = apart(figures[f"{ANSWER}a right guess"], figures[f"{ANSWER}a wrong guess"])
    print(f"{t:9.3f} {'':9}  t of a right guess against a wrong one; 4.5 would tell them apart")


if __name__ == "__main__":
    main()
