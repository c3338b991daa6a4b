import asyncio
import os
import socket
import subprocess
import sys

import pytest
from bumble.transport.common import ParserSource

from chargepin.machine.controller import ControllerError, open_controller, watch_kernel_socket
from chargepin.radio import serve_radio

_RESET = bytes.fromhex("01030c00")


class Sink:
    """Collects what the controller sends."""

    def __init__(self) -> None:
        self.packets: asyncio.Queue[bytes] = asyncio.Queue()

    def on_packet(self, packet: bytes) -> None:
        self.packets.put_nowait(packet)


async def test_a_virtual_controller_answers() -> None:
    room = await serve_radio("127.0.0.1", 0)
    controller = await open_controller(room.address)
    sink = Sink()
    controller.transport.source.set_packet_sink(sink)
    controller.transport.sink.on_packet(_RESET)
    async with asyncio.timeout(5):
        assert await sink.packets.get() == bytes.fromhex("040e0401030c00")
    await controller.close()
    assert controller.lost.done()
    await controller.close()
    await room.close()


async def test_loss_of_the_radio_is_noticed() -> None:
    room = await serve_radio("127.0.0.1", 0)
    controller = await open_controller(room.address)
    assert not controller.lost.done()
    await room.close()
    async with asyncio.timeout(5):
        await controller.lost
    await controller.close()


async def test_nobody_there_is_explained() -> None:
    with socket.socket() as deaf:  # its port is nobody else's, and nobody listens
        deaf.bind(("127.0.0.1", 0))
        port = deaf.getsockname()[1]
        with pytest.raises(ControllerError, match=r"no radio answers there .* serve radio"):
            await open_controller(f"tcp:127.0.0.1:{port}")


@pytest.mark.parametrize("name", ["tcp:", "tcp:9370", "tcp:host:", "tcp:host:0", "tcp:h:70000"])
async def test_half_an_address_is_explained(name: str) -> None:
    with pytest.raises(ControllerError, match="tcp:HOST:PORT is needed"):
        await open_controller(name)


@pytest.mark.parametrize("name", ["", "carrier-pigeon:0", "tcp", "TCP:127.0.0.1:1"])
async def test_an_unknown_kind_is_explained(name: str) -> None:
    with pytest.raises(ControllerError, match="no such kind of controller"):
        await open_controller(name)


@pytest.mark.parametrize("name", ["usb:", "usb:99", "serial:/dev/no-such-port", "hci-socket:99"])
async def test_what_is_not_there_is_a_sentence(name: str) -> None:
    with pytest.raises(ControllerError, match=f"^{name}: [^!]{{20,}}"):
        await open_controller(name)


async def test_a_python_without_bluetooth_sockets_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(socket, "AF_BLUETOOTH", raising=False)
    with pytest.raises(ControllerError, match="built without Bluetooth sockets"):
        await open_controller("hci-socket:0")


class UnpluggedLater(ParserSource):
    """As Bumble's source for a kernel's socket, on a pair of sockets of the same manners."""

    def __init__(self, end: socket.socket) -> None:
        super().__init__()
        self.socket = end


@pytest.mark.parametrize("how", ["closed", "reset"])
async def test_an_adapter_that_is_unplugged_is_noticed(how: str) -> None:
    here, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with here, kernel:
        here.setblocking(False)
        source, sink = UnpluggedLater(here), Sink()
        source.set_packet_sink(sink)
        watch_kernel_socket(source)
        kernel.send(b"\xff\x00")  # no host's business
        kernel.send(bytes.fromhex("040e0401030c00"))
        async with asyncio.timeout(5):
            assert await sink.packets.get() == bytes.fromhex("040e0401030c00")
            if how == "reset":
                here.send(b"never read")  # closing over unread data resets the other end
            kernel.close()
            await source.terminated


_TEXT_OF_A_PACKET = """
import logging, sys
from bumble.hci import HCI_Reset_Command
from chargepin.machine.controller import quiet
if "debug" in sys.argv:
    logging.getLogger("bumble").setLevel(logging.DEBUG)
quiet()
quiet()
logging.getLogger("bumble.smp").warning("not for a person")
print(HCI_Reset_Command())
"""


@pytest.mark.parametrize(("argument", "quiet"), [("", True), ("debug", False)])
def test_packets_are_not_spelled_out_unless_somebody_reads_it(
    argument: str, *, quiet: bool
) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _TEXT_OF_A_PACKET, argument],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert (ran.stdout == "HCI_Reset_Command\n") is quiet
    assert ran.stderr == ""
