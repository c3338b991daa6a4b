"""The forger of shares: it sends every point and every order of messages that no honest app sends.

It wants a session, a try that is not charged, or to be taken for a phone that the charger knows.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from attacks.report import Row, Tell
from attacks.stage import GARBAGE, WRONG, Line, Victim, victim
from chargepin.app.errors import LinkLost
from chargepin.core import bonds
from chargepin.core.bonds import Bond, Table
from chargepin.core.guard_state import Phase
from core import spake2plus_oracle as curve
from core.guard_faults import no_proof_is_needed
from docs import mini_client as mini

BOND_UNKNOWN = 3
INDEX = 123_000
M, N = curve.written(curve.M), curve.written(curve.N)


def beyond_the_field(point: curve.Triple) -> bytes:
    """The same point to whoever reduces its x first; some small x there is above p - 2^256."""
    _ = point
    for x in range(1 << 20):
        try:
            y = curve.lifted(x, odd=True)[1]
        except ValueError:
            continue
        return b"\4" + (x + curve.P).to_bytes(32) + y.to_bytes(32)
    raise AssertionError("a small x of the curve")


def off_curve() -> bytes:
    """On another curve that the same formulas would serve, one with points of small order."""
    return M[:-1] + bytes([M[-1] ^ 1])


POINTS: dict[str, bytes] = {
    "off the curve": off_curve(),
    "of another curve": b"\4" + (2).to_bytes(32) + (1).to_bytes(32),
    "x beyond the field": beyond_the_field(curve.G),
    "y beyond the field": b"\4" + M[1:33] + b"\xff" * 32,
    "compressed": b"\2" + M[1:33] + bytes(32),
    "hybrid": bytes([6 + M[-1] % 2]) + M[1:],
    "no form at all": b"\5" + M[1:],
    "infinity, padded": bytes(65),
    "zeros": b"\4" + bytes(64),
    "FF": b"\xff" * 65,
    "4 and FF": b"\4" + b"\xff" * 64,
    "M": M,
    "N": N,
    "-M": curve.written(curve.minus(curve.M)),
    "-N": curve.written(curve.minus(curve.N)),
}
LENGTHS: dict[str, bytes] = {
    "no byte": b"",
    "infinity": b"\0",
    "33 bytes, compressed": b"\2" + M[1:33],
    "64 bytes": M[:-1],
    "66 bytes": M + b"\0",
}
"""Not a message of the protocol: the link ends before anything is an attempt."""


async def said(line: Line, kind: int, body: bytes) -> None:
    await line.say(bytes([kind]) + body)


async def reflected(on: Victim, line: Line) -> None:
    """Its own answer comes back as the next share, and its confirmation as ours."""
    share_v = await line.shared(line.prover("000000"))
    assert isinstance(share_v, bytes)
    await line.greet()
    await said(line, mini.SHARE_P, share_v[1:66])
    again = await line.answer()
    assert again is not None
    assert again[1:66] != share_v[1:66]
    await said(line, mini.CONFIRM_P, again[66:])
    refusal = await line.answer()
    assert refusal is not None
    assert refusal[2] == WRONG
    await line.link.close()
    assert on.charged >= 2


async def unconfirmed(_: Victim, line: Line) -> None:
    await line.shared(line.prover("000000"))
    await line.say(bytes([mini.RECORD]) + secrets.token_bytes(40))
    await line.ended()


async def confirmed_first(_: Victim, line: Line) -> None:
    await line.say(GARBAGE, bytes([mini.SHARE_P]) + M)
    await line.ended()


async def swapped_roles(_: Victim, line: Line) -> None:
    """It answers as if the charger had sent a share."""
    await line.say(bytes([mini.SHARE_V]) + M + bytes(32))
    await line.ended()


async def two_shares(_: Victim, line: Line) -> None:
    """A second share for one charge."""
    await line.shared(line.prover("000000"))
    await said(line, mini.SHARE_P, line.prover("000001").start())
    await line.ended()


async def empty_confirmation(_: Victim, line: Line) -> None:
    await line.shared(line.prover("000000"))
    await said(line, mini.CONFIRM_P, b"")
    await line.ended()


async def confirmation_returned(_: Victim, line: Line) -> None:
    share_v = await line.shared(line.prover("000000"))
    assert isinstance(share_v, bytes)
    await said(line, mini.CONFIRM_P, share_v[66:])
    refusal = await line.answer()
    assert refusal is not None
    assert refusal[2] == WRONG
    await line.link.close()


Order = Callable[[Victim, Line], Awaitable[None]]
ORDERS: dict[Order, int] = {
    reflected: 2,
    unconfirmed: 1,
    confirmed_first: 0,
    swapped_roles: 0,
    two_shares: 1,
    empty_confirmation: 1,
    confirmation_returned: 1,
}
"""What each is charged: as many as it was answered."""


async def greeted(on: Victim) -> Line:
    line = await on.line()
    await line.greet()
    return line


async def replayed_tag(on: Victim) -> mini.Params | mini.Refusal:
    """A HELLO that named the owner's bond, said again on a connection of the attacker's."""
    line = await on.line()
    known = on.owner.vault.known["123456"]
    assert known.bond is not None
    assert known.identity is not None
    key = mini.bond_tag_key(known.bond.secret, known.identity)
    nonce = secrets.token_bytes(16)
    overheard = mini.hello(mini.BOND, nonce, mini.bond_tag(key, (await line.hint()).nonce, nonce))
    await line.say(overheard)
    first = await line.answer()
    assert first is not None
    await line.link.close()
    line = await on.line()
    await line.say(overheard)
    raw = await line.answer()
    assert raw is not None
    await line.link.close()
    return mini.read_answer(overheard, raw)


async def held(directory: Path) -> int:
    async with victim(directory, index=INDEX) as on:
        for name, point in {**POINTS, **LENGTHS}.items():
            before = on.charged
            line = await greeted(on)
            await said(line, mini.SHARE_P, point)
            await line.ended()
            assert on.charged - before == (name in POINTS), name
            await on.end_pause()
        for order, charge in ORDERS.items():
            before = on.charged
            await order(on, await greeted(on))
            assert on.charged - before == charge, order.__name__
            await on.end_pause()
        answer = await replayed_tag(on)
        assert isinstance(answer, mini.Refusal)
        assert answer.code == BOND_UNKNOWN
        charged = on.charged
        old = await greeted(on)  # and a share for the generation before
        prover = old.prover(on.code)
        owner = await on.owner_in()
        on.code = (await owner.rotate_passcode()).passcode
        with pytest.raises(LinkLost):
            await old.shared(prover)
        assert on.charged == 0
        assert charged == len(POINTS) + sum(ORDERS.values())
        await (await on.owner_in()).close()
        return len(POINTS) + len(LENGTHS) + len(ORDERS) + 2


async def granted_without_proof(directory: Path) -> bool:
    async with victim(directory, index=INDEX, rule=no_proof_is_needed) as on:
        line = await greeted(on)
        await line.shared(line.prover("000000"))
        await line.say(GARBAGE)
        await line.answer()
        links = on.daemon.service.guard.links.values()
        return any(link.phase is Phase.GRANTED for link in links)


async def taken_for_a_phone(directory: Path, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Tags that are not bound to a connection: one valid once is valid for ever."""
    bound, nonces = bonds.by_tag, list[bytes]()

    def unbound(table: Table, tag: bytes, nonce: bytes, app_nonce: bytes) -> Bond | None:
        nonces.append(nonce)
        found: Sequence[Bond | None] = [bound(table, tag, each, app_nonce) for each in nonces]
        return next((bond for bond in found if bond is not None), None)

    monkeypatch.setattr(bonds, "by_tag", unbound)
    async with victim(directory, index=INDEX) as on:
        answer = await replayed_tag(on)
    return isinstance(answer, mini.Params) and bool(answer.flags & 4)


async def test_forged_shares(tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = await held(tmp_path / "held")
    assert await granted_without_proof(tmp_path / "unproved")
    assert await taken_for_a_phone(tmp_path / "unbound", monkeypatch)
    tell(
        Row(
            "6 forger of shares",
            attempts,
            "no session, no free try",
            "a session where the confirmation is not compared; taken for the owner's phone where"
            " tags are not bound to a connection",
            "points checked, messages in one order, each answered try stays charged",
        )
    )
