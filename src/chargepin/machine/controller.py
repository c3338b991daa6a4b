"""Opens a Bluetooth controller, real or on the virtual radio, and notices when it is gone."""

import asyncio
import contextlib
import errno
import functools
import importlib
import logging
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol, cast

from bumble.core import InvalidPacketError
from bumble.transport import open_transport
from bumble.transport.common import (
    PacketParser,
    Transport,
    TransportSink,
    TransportSource,
    TransportSpecError,
)

_VIRTUAL = "tcp:"
_KERNEL = "hci-socket"
_USB = "usb"
_PATIENCE_S = 1.0
_PACKET_MAX_BYTES = 4096
_PACKETS = (
    ("bumble.hci", "HCI_Packet"),
    ("bumble.smp", "SMP_Command"),
    ("bumble.att", "ATT_PDU"),
    ("bumble.l2cap", "L2CAP_Control_Frame"),
)
_TEXT, _COLOR = "__str__", "color"
_NOT_THERE = "there is no such adapter"
_NO_PERMISSION = "no permission to open it"
_SAID = {
    errno.EPERM: _NO_PERMISSION,
    errno.EACCES: _NO_PERMISSION,
    errno.EBUSY: "another program is using it",
    errno.ENODEV: _NOT_THERE,
    errno.ENOENT: _NOT_THERE,
    errno.ENXIO: _NOT_THERE,
}
_OF_KERNEL = _SAID | {
    errno.EPERM: "no permission; it takes the capability CAP_NET_ADMIN",
    errno.EACCES: "no permission; it takes the capability CAP_NET_ADMIN",
    errno.EBUSY: (
        "it is in use; take it from the system first (systemctl stop bluetooth, then"
        " hciconfig hci0 down)"
    ),
    errno.EAFNOSUPPORT: (
        "this system's kernel has no Bluetooth (modprobe bluetooth), or this program is kept from"
        " it (a container; RestrictAddressFamilies= of a systemd unit)"
    ),
}
_OF_USB = {
    "LIBUSB_ERROR_ACCESS": "no permission to open it; a udev rule can give it to this user",
    "LIBUSB_ERROR_BUSY": "another program, or the kernel's driver (rmmod btusb), is using it",
    "LIBUSB_ERROR_NO_DEVICE": _NOT_THERE,
    "LIBUSB_ERROR_NOT_FOUND": _NOT_THERE,
    "LIBUSB_ERROR_OTHER": "this system has no USB that can be used",
    "device": _NOT_THERE,
}


class ControllerError(OSError):
    """The controller cannot be used; a sentence for a person says why and what to do."""


@dataclass(eq=False, slots=True)
class Controller:
    """An open controller. lost is done once it is gone, by `close` too.

    name: as it was asked for. transport: Bumble's, source and sink of HCI packets.
    """

    name: str
    transport: Transport
    lost: asyncio.Future[None]
    _closed: bool = False

    async def close(self) -> None:
        """Give the controller back, also what a lost one still holds: its socket, its number."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):  # it is gone
            await self.transport.close()
        if isinstance(self.transport.source, asyncio.Protocol):
            # A stream still has to send what was written; what is not taken off is given up.
            await asyncio.wait([self.lost], timeout=_PATIENCE_S)
        _resolve(self.lost)


async def open_controller(name: str) -> Controller:
    """Open a controller by its name.

    name: "tcp:HOST:PORT", a virtual radio; or any of Bumble's transports: "usb:0",
    "hci-socket:0", "serial:/dev/ttyACM0,115200", …
    Raises ControllerError.
    """
    scheme, _, rest = name.partition(":")
    if scheme == _KERNEL and not hasattr(socket, "AF_BLUETOOTH"):
        raise ControllerError(
            f"{name}: this Python was built without Bluetooth sockets; use another build of "
            "Python, or the adapter as usb:0"
        )
    if name.startswith(_VIRTUAL):
        _check_endpoint(name, rest)
    try:
        transport = await open_transport(f"tcp-client:{rest}" if scheme == "tcp" else name)
    except Exception as error:  # every transport has failures of its own
        raise ControllerError(f"{name}: {_explain(name, scheme, error)}") from error
    if scheme == _KERNEL:
        watch_kernel_socket(cast("KernelSource", transport.source))
    transport.sink = FragileSink(transport.sink, transport.source)
    lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    transport.source.terminated.add_done_callback(functools.partial(_terminated, lost))
    return Controller(name, transport, lost)


class FragileSink:
    """Sends to a controller; one that fails at it is gone, which is no error of who sends."""

    def __init__(self, sink: TransportSink, source: TransportSource) -> None:
        self._sink = sink
        self._source = source

    def on_packet(self, packet: bytes) -> None:
        """Send one HCI packet."""
        try:
            self._sink.on_packet(packet)
        except OSError:
            if not self._source.terminated.done():
                self._source.terminated.set_result(None)

    def close(self) -> None:
        """Give back what sending needs, where it is a thing to be given back."""
        close = getattr(self._sink, "close", None)
        if close is not None:
            close()


class KernelSource(Protocol):
    """Bumble's reading end of a kernel's HCI socket."""

    socket: socket.socket
    parser: PacketParser

    def on_transport_lost(self) -> None: ...


def watch_kernel_socket(source: KernelSource) -> None:
    """Read instead of Bumble, which does not notice that an adapter was unplugged."""
    loop = asyncio.get_running_loop()
    descriptor = source.socket.fileno()

    def receive() -> None:
        try:
            packet = source.socket.recv(_PACKET_MAX_BYTES)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            loop.remove_reader(descriptor)
            loop.remove_writer(descriptor)  # or it would be told for ever that it could write
            source.on_transport_lost()
            return
        with contextlib.suppress(InvalidPacketError):  # of a kind that is not for hosts
            source.parser.feed_data(packet)

    loop.add_reader(descriptor, receive)


def _check_endpoint(name: str, endpoint: str) -> None:
    host, _, port = endpoint.rpartition(":")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ControllerError(f"{name} names no radio: tcp:HOST:PORT is needed")


def _terminated(lost: asyncio.Future[None], terminated: asyncio.Future[None]) -> None:
    if not terminated.cancelled():
        terminated.exception()  # looked at: that the controller is gone is all there is to say
    _resolve(lost)


def _resolve(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _explain(name: str, scheme: str, error: Exception) -> str:
    if isinstance(error, TransportSpecError):
        return "no such kind of controller; tcp:HOST:PORT, usb:0 and hci-socket:0 are some"
    if isinstance(error, ImportError):
        return f"this needs the Python package {error.name}, which is not installed"
    if name.startswith(_VIRTUAL) and isinstance(error, OSError):
        return f"no radio answers there ({error.strerror or error}); is 'chargepin serve radio' up?"
    number = error.errno if isinstance(error, OSError) else None
    if number is not None and (said := (_OF_KERNEL if scheme == _KERNEL else _SAID).get(number)):
        return said
    if scheme == _USB:
        said = _OF_USB.get(str(error).partition(" ")[0])
    return said or f"it cannot be opened ({str(error) or type(error).__name__})"


@functools.cache
def quiet(after: str = "bumble.device") -> None:
    """Spare this process the text that Bumble makes of every packet; programs call it at start.

    after: the module of Bumble to import first, so that all that speaks of packets is there.

    Bumble formats each packet for its debug log, in colours, even when nothing is logged: a
    third to a half of the time of a short exchange. There is no switch for it, so the text of
    packets is replaced by their type's name, for the whole process. It is left alone where
    Bumble's debug log is wanted. Bumble's warnings go to whatever logging is set up, but not by
    themselves to a person's terminal.
    """
    log = logging.getLogger("bumble")
    log.addHandler(logging.NullHandler())
    if log.isEnabledFor(logging.DEBUG):
        return
    importlib.import_module(after)
    bases = [getattr(sys.modules[name], base) for name, base in _PACKETS if name in sys.modules]
    for kind in (kind for base in bases for kind in _with_subclasses(base)):
        if _TEXT in vars(kind):
            setattr(kind, _TEXT, _type_name)
    for name, module in list(sys.modules.items()):
        if name.startswith("bumble.") and hasattr(module, _COLOR):
            setattr(module, _COLOR, _plain)


def _with_subclasses(kind: type) -> Iterator[type]:
    yield kind
    subclasses: list[type] = kind.__subclasses__()
    for subclass in subclasses:
        yield from _with_subclasses(subclass)


def _type_name(packet: object) -> str:
    return type(packet).__name__


def _plain(text: str, *_: object, **__: object) -> str:
    return text
