"""The guest who guesses: its phone has paired by a code, so that it may use the stock service.

It wants the passcode, which it was not given: `set_pin`, by which clients of real chargers log in,
says whether a passcode is right. It hangs up before the answer, cuts the power, fills the disk, and
has a friend who guesses at the other door meanwhile.
"""

import itertools
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from bumble.core import BaseBumbleError

from attacks.dialog import of, window
from attacks.report import Row, Tell
from attacks.stage import Victim, code_at, victim
from attacks.whole_charger import SMALL
from bluetooth_phone import BluetoothLink, BluetoothPhone, bluetooth_phone
from chargepin.charger.daemon import Rule
from chargepin.charger.own import OwnMethods
from chargepin.charger.ports import StoreFailed
from chargepin.core import bapi, guard, lockout
from chargepin.core.guard_state import Event, Guard, PinOffered, Step
from core.guard_faults import with_lockout

CODE = 271_828
RIGHT = 12
CODES = tuple(code_at(index) for index in range(300, 320))
DAY_S = 24 * 3600.0
TRIES_MAX = 30


def a_pin_is_free(before: Guard, event: Event, now_s: float) -> Step:
    """For the one who looks for faults: only proofs are charged."""
    after = guard.step(before, event, now_s)
    if isinstance(event, PinOffered) and after.guard.links[event.link].pin is not None:
        return with_lockout(after, before.durable.lockout)
    return after


class Guest:
    """looked: what the charger compared with its passcode. unpaid: of it, what was not charged."""

    def __init__(self, on: Victim, phone: BluetoothPhone, patch: pytest.MonkeyPatch) -> None:
        self.on = on
        self.phone = phone
        self.looked: list[str] = []
        self.unpaid = 0
        self.found: str | None = None
        self.link: BluetoothLink | None = None
        compared = OwnMethods.is_passcode

        def watched(own: OwnMethods, passcode: Any, held: Guard) -> bool:
            self.looked.append(passcode.digits)
            return compared(own, passcode, held)

        patch.setattr(OwnMethods, "is_passcode", watched)

    async def here(self) -> BluetoothLink:
        if self.link is None or self.link.gone:
            self.link = await self.phone.connected()
            await self.link.encrypt()
        return self.link

    async def says(self, code: str) -> bool:
        """Whether it was looked at."""
        before = len(self.looked)
        reply = await (await self.here()).ask("set_pin", {"pin": code, "version": 3})
        if reply.error is None:
            self.found = code
        return len(self.looked) > before

    async def hangs_up(self, code: str) -> None:
        link = await self.here()
        await link.value("r_lck")
        frame = bapi.encode_request("set_pin", {"pin": code, "version": 3}, 77)
        with suppress(BaseBumbleError):
            await link.write(frame)
            await link.close()

    async def fills_the_disk(self, codes: Iterator[str]) -> None:
        """From the moment on in which a guess was charged; until the power is cut."""
        await (await self.here()).value("r_lck")  # what it asked before is done
        store = self.on.daemon._store
        commit, full = store.commit, False

        def committed(durable: Any, entries: Any, *given: Any, **named: Any) -> None:
            nonlocal full
            full = full or any(entry.event == "passcode_wrong" for entry in entries)
            if full:
                raise StoreFailed("no space left")
            commit(durable, entries, *given, **named)

        vars(store)["commit"] = committed
        looked, charged = len(self.looked), self.on.charged
        for code in itertools.islice(codes, 4):
            await self.says(code)
        await self.on.cut_power()
        self.unpaid = len(self.looked) - looked - (self.on.charged - charged)
        self.link = None


async def campaign(
    directory: Path, patch: pytest.MonkeyPatch, rule: Rule = guard.step
) -> tuple[Guest, int]:
    """Gives the guest, and how many guesses were charged at both doors."""
    async with (
        victim(directory, index=300 + RIGHT, rule=rule, draw=lambda _: CODE) as on,
        bluetooth_phone(on.ends.room.address, of(on)) as phone,
    ):
        owner = await on.owner_in()
        async with window(owner):
            await (await phone.pair(f"{CODE:06}")).close()
        await owner.close()
        guest, codes = Guest(on, phone, patch), iter(CODES)
        friend = await on.ends.phone("friend's")
        await guest.hangs_up(next(codes))
        await guest.fills_the_disk(codes)
        for number in range(TRIES_MAX):
            code = next(codes, None)
            if code is None or guest.found:
                break
            if not await guest.says(code):
                if number % 4 == 3 and rule is guard.step:
                    line = await on.line(friend)
                    await line.greet()
                    await line.shared(line.prover(code))
                    await line.link.close()
                await on.time_passes(DAY_S)
                codes = itertools.chain((code,), codes)
        charged = on.charged
        await (await on.owner_in()).close()
        return guest, charged


async def test_guest_who_guesses(
    tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in SMALL.items():
        monkeypatch.setattr(lockout, name, value)
    with monkeypatch.context() as patch:
        held, charged = await campaign(tmp_path / "held", patch)
    assert (held.found, held.unpaid) == (None, 0)
    assert len(held.looked) <= charged <= lockout.TRIES_PER_GENERATION
    with monkeypatch.context() as patch:
        free, _ = await campaign(tmp_path / "free", patch, a_pin_is_free)
    assert free.found == CODES[RIGHT]
    tell(
        Row(
            "24 guest who guesses",
            len(held.looked),
            f"{len(held.looked)} guesses looked at, {charged} charged at both doors together, then"
            f" none (of {lockout.TRIES_PER_GENERATION} here, for 80)",
            f"the passcode, after {len(free.looked)} guesses where only a proof is charged",
            "one budget for every way to ask; charged and stored before it is looked at",
        )
    )
