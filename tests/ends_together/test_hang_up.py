"""Both ends hang up at the same moment: the app's adapter goes on as if nothing had happened."""

import asyncio
from pathlib import Path

from bumble import hci

from chargepin.app.link_bumble import BumbleRadio
from ends import both_ends

TURNS = 20
DISCONNECTING = hci.HCI_DISCONNECT_COMMAND.to_bytes(2, "little")
STATUS = bytes([hci.HCI_EVENT_PACKET, hci.HCI_COMMAND_STATUS_EVENT])


class SlowToAnswer:
    """Stands before a host: the answer to a command to hang up comes after everything else."""

    def __init__(self, radio: BumbleRadio) -> None:
        self._host = radio._device.host
        self._loop = asyncio.get_running_loop()
        self.held_back = 0
        radio._controller.transport.source.set_packet_sink(self)

    def on_packet(self, packet: bytes) -> None:
        if packet.startswith(STATUS) and packet[5:7] == DISCONNECTING:
            self.held_back += 1
            self._later(packet, TURNS)
        else:
            self._host.on_packet(packet)

    def _later(self, packet: bytes, turns: int) -> None:
        if turns:
            self._loop.call_soon(self._later, packet, turns - 1)
        else:
            self._host.on_packet(packet)


async def test_the_late_answer_to_hanging_up_is_not_taken_for_another_commands(
    tmp_path: Path,
) -> None:
    async with both_ends(tmp_path) as ends:
        daemon = await ends.switch_on()
        phone = await ends.phone()
        assert isinstance(phone.surroundings.radio, BumbleRadio)
        slow = SlowToAnswer(phone.surroundings.radio)
        for _ in range(3):
            inside = await phone.enter()
            for link in daemon._air.links:
                daemon._air.drop(link, flush=False)
            await asyncio.sleep(0)
            await inside.close()
        await (await phone.enter()).close()
        assert slow.held_back
