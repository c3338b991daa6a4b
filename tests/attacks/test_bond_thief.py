"""The thief of a Bluetooth bond: it has a phone's address, or its key, or had them once.

It wants to be that phone: by saying that it is, by a key of zeros, by pairing weaker where a
stronger bond is kept, or with the true key after it was forgotten, the passcode changed by a
revocation, or the charger was reset; also when the power was cut just then.
"""

import asyncio
import secrets
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from bumble import hci
from bumble.device import Device

from attacks.dialog import (
    STOCK_CHARGER,
    Display,
    Phones,
    let_in,
    of,
    phones,
    stock_charger,
    window,
)
from attacks.report import Row, Tell
from attacks.stage import Victim, victim
from attacks.test_pairing_mirror import paired
from bluetooth_phone import bluetooth_phone
from chargepin.app.client import Charger
from chargepin.app.pairing import PhonePaired
from chargepin.charger import daemon
from chargepin.charger.bluetooth.pairing import SEEN_EVERY_S
from chargepin.charger.bluetooth.peripheral import Peripheral
from chargepin.charger.daemon import Rule
from chargepin.charger.store import SQLiteStore
from chargepin.core import bapi, guard
from charger.initiator import PASSKEY_REQUEST, REQUEST, Initiator, Typing, encrypted_with
from core.guard_faults import sessions_outlive_a_rotation
from ends import PATIENCE_S, SERIAL, both_ends

CODE = 271_828
VICTIM = "F2:00:00:00:AA:AA"


async def bonded(on: Victim, attacker: Phones, phone: Device) -> bytes:
    """The victim's phone pairs; gives a copy of its key."""
    owner = await on.owner_in()
    async with window(owner) as shown:
        typing = Typing(await attacker.link(phone))
        await typing.pair(CODE)
        await shown.until(PhonePaired)
        assert await let_in(typing.connection)
        await typing.connection.disconnect()
    await owner.close()
    return typing.ltk


async def enters(attacker: Phones, phone: Device, key: bytes, **legacy: Any) -> bool:
    """Whether the phone, by its address and with that key, gets to the stock service."""
    link = await attacker.link(phone)
    inside = await encrypted_with(link, key, **legacy) and await let_in(link)
    with suppress(hci.HCI_Error):  # hung up on already, perhaps
        await link.disconnect()
    return inside


async def pairs_weaker(attacker: Phones, phone: Device, request: bytes) -> bytes:
    """Pair as in Just Works; gives the key, or nothing where that is refused."""
    thief = Initiator(await attacker.link(phone))
    if (await thief.request(request))[0] == 0x02:
        await thief.exchange_keys()
        await thief.exchange_randoms()
        await thief.check()
        await thief.encrypt()
        thief.give_identity(bytes(16), VICTIM)
        await let_in(thief.connection)  # answered: so the identity has arrived
    await thief.connection.disconnect()
    return thief.ltk


# ---- without the key ----------------------------------------------------------------------------


async def disguised(on: Victim, attacker: Phones, phone: Device) -> int:
    """Everything that needs no key; gives the attempts. The victim's bond is as it was."""
    key = await bonded(on, attacker, phone)
    before = on.daemon._air.phones
    tries = [bytes(16), b"\xff" * 16, secrets.token_bytes(16)]
    for each in tries:
        assert not await enters(attacker, phone, each)
    for rand, ediv in ((bytes(8), 1), (b"\1" + bytes(7), 0)):  # as a key of legacy pairing
        assert not await enters(attacker, phone, key, rand=rand, ediv=ediv)
    for request in (REQUEST, PASSKEY_REQUEST):
        thief = Initiator(await attacker.link(phone))
        assert (await thief.request(request))[0] == 0x05
        await thief.connection.disconnect()
    owner = await on.owner_in()
    async with window(owner) as shown:
        assert not await pairs_weaker(attacker, phone, REQUEST)
        assert await paired(attacker, CODE ^ 1 << 7, phone) is None
        await shown.until(type(shown.codes[0]), 2)
        other = await attacker.phone()  # it was let in by the owner, and says it is the victim
        typing = Typing(await attacker.link(other))
        await typing.begin()
        await typing.rounds(CODE)
        await typing.check()
        await typing.encrypt()
        typing.give_identity(bytes(16), VICTIM)
        await shown.until(PhonePaired)
        await typing.connection.disconnect()
        assert not await enters(attacker, phone, typing.ltk)
    await owner.close()
    mine = [each for each in on.daemon._air.phones if each not in before]
    assert [each.identity for each in mine] == [str(other.random_address)]
    assert await enters(attacker, phone, key)
    return len(tries) + 2 + 2 + 4


# ---- with the key -------------------------------------------------------------------------------


async def forgotten(_: Victim, owner: Charger) -> None:
    for each in await owner.phones():
        if each.kind == "bluetooth":
            await owner.forget_phone(each.id)
    await owner.close()


async def revoked(on: Victim, owner: Charger) -> None:
    bond = on.owner.vault.known[SERIAL].bond
    assert bond is not None
    on.code = (await owner.rotate_passcode(keep=[bond.bond_id])).passcode


async def reset(on: Victim, owner: Charger) -> None:
    await owner.close()
    await on.ends.hold_button()
    on.owner.vault.forget(SERIAL)
    on.code = (await (await on.owner.enter()).set_passcode()).passcode


async def rotated(on: Victim, owner: Charger) -> None:
    """As a matter of routine: whoever is bonded stays."""
    on.code = (await owner.rotate_passcode()).passcode


End = Callable[[Victim, Charger], Awaitable[None]]
ENDS: tuple[End, ...] = (forgotten, revoked, reset)


async def outlived(on: Victim, attacker: Phones, phone: Device, end: End) -> list[bool]:
    """What a stolen key is worth: before it, after it, and after the power was cut as well."""
    key = await bonded(on, attacker, phone)
    worth = [await enters(attacker, phone, key)]
    await end(on, await on.owner_in())
    await (await on.owner_in()).close()
    worth.append(await enters(attacker, phone, key))
    await on.cut_power()
    worth.append(await enters(attacker, phone, key))
    return worth


def cut_before_memory_is_cleared(patch: pytest.MonkeyPatch) -> None:
    """The power goes when the change is stored, and nothing else is done yet."""
    patch.setattr(Peripheral, "forget_bonds", lambda _: None)
    patch.setattr(Peripheral, "forget_phone", lambda *_: ())


def forgotten_in_memory_alone(patch: pytest.MonkeyPatch) -> None:
    """For the one who looks for faults: the store keeps what the charger has forgotten."""
    commit = SQLiteStore.commit

    def committed(self: SQLiteStore, durable: Any, entries: Any, unix_s: int, **_: object) -> None:
        commit(self, durable, entries, unix_s)

    patch.setattr(SQLiteStore, "commit", committed)


async def held(directory: Path, patch: pytest.MonkeyPatch) -> int:
    attempts = 0
    async with (
        victim(directory, draw=lambda _: CODE) as on,
        phones(on.ends.room.address, of(on)) as attacker,
    ):
        phone = await attacker.phone(VICTIM)
        attempts += await disguised(on, attacker, phone)
        assert await outlived(on, attacker, phone, rotated) == [True, True, True]
        for end in ENDS:
            assert await outlived(on, attacker, phone, end) == [True, False, False]
            attempts += 2
        for end in ENDS:
            with patch.context() as cut:
                cut_before_memory_is_cleared(cut)
                worth = await outlived(on, attacker, phone, end)
                assert worth[2] is False, end.__name__
            attempts += 1
    return attempts


async def kept(directory: Path, patch: pytest.MonkeyPatch) -> list[str]:
    """The ends that a stolen key outlives where the store forgets nothing."""
    found = []
    async with (
        victim(directory, draw=lambda _: CODE) as on,
        phones(on.ends.room.address, of(on)) as attacker,
    ):
        phone = await attacker.phone(VICTIM)
        for end in (forgotten, revoked):
            with patch.context() as cut:
                cut_before_memory_is_cleared(cut)
                forgotten_in_memory_alone(cut)
                if (await outlived(on, attacker, phone, end))[2]:
                    found.append(end.__name__)
    return found


Stored = Callable[[Callable[[], None]], None]
"""Is given what stores a revocation, and may do something before and after."""


def watched(on: Victim, stored: Stored) -> None:
    """What the charger does when it stores a revocation, beside its own loop."""
    store = on.daemon._store
    commit = store.commit

    def committed(durable: Any, entries: Any, unix_s: int, **named: Any) -> None:
        if any(entry.event == "passcode_rotated" for entry in entries):
            stored(lambda: commit(durable, entries, unix_s, **named))
        else:
            commit(durable, entries, unix_s, **named)

    vars(store)["commit"] = committed


async def overtaken(directory: Path, rule: Rule = guard.step) -> bool:
    """Whether what it asks for while its revocation is being stored is done when that is stored."""
    async with (
        victim(directory, rule=rule, draw=lambda _: CODE) as on,
        bluetooth_phone(on.ends.room.address, of(on)) as phone,
    ):
        owner = await on.owner_in()
        async with window(owner):
            link = await phone.pair(f"{CODE:06}")
        assert await link.value("r_lck") == 0
        begun, written, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

        def slow(commit: Callable[[], None]) -> None:
            loop.call_soon_threadsafe(begun.set)
            written.wait(PATIENCE_S)
            commit()

        watched(on, slow)
        revoking = asyncio.create_task(revoked(on, owner))
        await begun.wait()
        await link.write(bapi.encode_request("w_lck", 1, 99))
        written.set()
        await revoking
        await (await on.owner_in()).close()
        hardware = on.daemon._hardware
        assert hardware is not None
        return hardware.reading(on.daemon.service.now_s()).locked


async def seen_again(directory: Path, patch: pytest.MonkeyPatch) -> bool:
    """Whether its key is worth something when it came once more just as that was revoked.

    The charger has stored the revocation, still knows the phone, notes that it was here; then the
    power goes.
    """
    clock = [1_750_000_000]
    patch.setattr(daemon, "unix_s", lambda: clock[0])
    async with (
        victim(directory, draw=lambda _: CODE) as on,
        phones(on.ends.room.address, of(on)) as attacker,
    ):
        phone = await attacker.phone(VICTIM)
        key = await bonded(on, attacker, phone)
        clock[0] += SEEN_EVERY_S + 1
        stored, came, loop = asyncio.Event(), threading.Event(), asyncio.get_running_loop()

        def slow(commit: Callable[[], None]) -> None:
            commit()
            loop.call_soon_threadsafe(stored.set)
            came.wait(PATIENCE_S)

        watched(on, slow)
        cut_before_memory_is_cleared(patch)
        revoking = asyncio.create_task(revoked(on, await on.owner_in()))
        await stored.wait()
        assert await encrypted_with(await attacker.link(phone), key)
        came.set()
        await revoking
        await on.cut_power()
        return await enters(attacker, phone, key)


async def replaced(radio: str) -> bool:
    """Whether a stock Bumble charger has the thief for the victim after it paired weaker."""
    async with stock_charger(radio, Display(CODE)), phones(radio, STOCK_CHARGER) as attacker:
        phone = await attacker.phone(VICTIM)
        mine = await paired(attacker, CODE, phone)
        assert mine is not None
        await mine.disconnect()
        key = await pairs_weaker(attacker, phone, REQUEST)
        return bool(key) and await enters(attacker, phone, key)


async def test_bond_thief(tmp_path: Path, tell: Tell, monkeypatch: pytest.MonkeyPatch) -> None:
    attempts = await held(tmp_path / "held", monkeypatch)
    found = await kept(tmp_path / "kept", monkeypatch)
    assert found == ["forgotten", "revoked"]
    with monkeypatch.context() as patch:
        assert not await seen_again(tmp_path / "seen again", patch)
    assert not await overtaken(tmp_path / "overtaken")
    assert await overtaken(tmp_path / "late", sessions_outlive_a_rotation)
    async with both_ends(tmp_path / "stock") as ends:
        assert await replaced(ends.room.address)
    tell(
        Row(
            "16 bond thief",
            attempts + 2,
            "nothing without the key; with it, the stock service until the bond is forgotten",
            "the victim's place, by Just Works, at a stock Bumble charger; and with the key after"
            f" it was {' and '.join(found)}, where the store keeps them; a last request"
            " where links outlive what they are hung up for",
            "bonds by address and proof, never replaced by weaker ones; forgotten in one"
            " transaction with what they belong to",
        )
    )
