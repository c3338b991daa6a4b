"""The listener at the phone's dialog: it has a recording of one pairing, and wants the passcode.

Where the passcode is the passkey, that recording is enough. Of a one-time code it learns a code
that is dead already.
"""

import struct
import time
from collections import defaultdict
from pathlib import Path

from bumble.smp import SMP_CID, ErrorCode

from attacks.bits import ROUNDS, overheard
from attacks.dialog import of, phones, window
from attacks.report import Row, Tell
from attacks.stage import victim
from attacks.test_pairing_mirror import pairs
from captures import read_capture
from chargepin.app.pairing import PhonePaired
from charger.imitated import bench
from charger.initiator import Typing, failed

VERSION = "6.11.26"
PASSCODE = "382913"
SENT, RECEIVED = 4, 5  # records of a capture
RESPONSE, RANDOM = 0x02, 0x04
CONTINUED = 0b01


def pairings(capture: Path) -> list[tuple[list[bytes], list[bytes]]]:
    """Every pairing that got through its rounds: what a charger heard, and what it said."""
    pdus: dict[tuple[int, int, int], list[bytes]] = defaultdict(list)
    for record in read_capture(capture.read_bytes()):
        if record.opcode not in {SENT, RECEIVED}:
            continue
        handle, _ = struct.unpack_from("<HH", record.data)
        packets = pdus[record.adapter, handle & 0x0FFF, record.opcode]
        if handle >> 12 & 0b11 == CONTINUED:
            packets[-1] += record.data[4:]
        else:
            packets.append(record.data[4:])
    found = []
    for (adapter, handle, opcode), packets in pdus.items():
        said = _pairing(packets)
        if opcode == SENT and [pdu[0] for pdu in said].count(RANDOM) == ROUNDS:
            heard = _pairing(pdus[adapter, handle, RECEIVED])
            found += [(heard, said)] if said[0][0] == RESPONSE else []
    return found


def _pairing(packets: list[bytes]) -> list[bytes]:
    """The PDUs of SMP among whole packets of L2CAP."""
    return [packet[4:] for packet in packets if packet[2:4] == struct.pack("<H", SMP_CID)]


async def test_listener_at_the_dialog(tmp_path: Path, tell: Tell) -> None:
    codes = iter((271_828, *range(100)))
    capture = tmp_path / "held.btsnoop"
    async with victim(tmp_path / "held", draw=lambda _: next(codes), capture=capture) as on:
        owner, radio = await on.owner_in(), on.ends.room.address
        async with window(owner) as shown, phones(radio, of(on)) as phone:
            assert await pairs(phone, int(shown.codes[-1].code))
            await shown.until(PhonePaired)
        ((heard, said),) = pairings(capture)
        code = overheard(heard, said)
        assert code == 271_828
        async with phones(radio, of(on)) as attacker:
            late = Typing(await attacker.link())
            assert await late.request() == failed(ErrorCode.PAIRING_NOT_SUPPORTED)
            async with window(owner):
                assert not await pairs(attacker, code)
        assert on.charged == 0
        await owner.close()

    capture = tmp_path / "imitated.btsnoop"
    async with bench(tmp_path, capture=capture) as there:
        charger = await there.switch_on(VERSION, PASSCODE)
        async with phones(there.room.address, charger.address) as phone:
            assert await pairs(phone, int(PASSCODE))
            ((heard, said),) = pairings(capture)
            begun = time.perf_counter()
            code = overheard(heard, said)
            took_ms = (time.perf_counter() - begun) * 1000
            assert code == int(PASSCODE)
            assert await pairs(phone, code)
    tell(
        Row(
            "22 listener at the dialog",
            1,
            "a code that is used up: it pairs neither outside a window nor in the next one",
            f"the whole passcode from one recorded pairing, in {took_ms:.1f} ms; it pairs for good",
            "a fresh code for every attempt; the passcode is proved by SPAKE2+ and never typed"
            " into a pairing",
        )
    )
