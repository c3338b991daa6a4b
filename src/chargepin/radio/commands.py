"""The HCI commands: how each is read, what it does to a controller, what is returned.

Source: Core Specification 5.4, Vol 4, Part E, section 7; the places in the table of supported
commands: section 6.27.
"""

import secrets
import struct
from collections.abc import Callable
from dataclasses import dataclass

from chargepin.radio import hci
from chargepin.radio.controller import Controller
from chargepin.radio.hci import Meta, Refused, Status
from chargepin.radio.parts import Advertising, Initiating, Scanning, Timing

_VERSION_4_2, _NO_COMPANY = 8, 0xFFFF
_LE_ONLY = bytes((0, 0, 0, 0, 0x60, 0, 0, 0))
# Encryption, extended reject, features asked by the peripheral, ping, long data packets.
_LE_FEATURES = bytes((0b0011_1101, 0, 0, 0, 0, 0, 0, 0))
_LE_STATES = bytes.fromhex("ffffffffff030000")
_BUFFERS = 64
_LONGEST_DATA = (hci.ACL_MAX_BYTES, 2120)  # bytes, microseconds at 1 Mbit/s

_INTERVAL_S = 0.000625
_SHORTEST_ADVERTISING = 0x20
_LAST_ADVERTISING_TYPE = 4
_ACTIVE_SCAN = 1


_Run = Callable[..., bytes | None]


@dataclass(frozen=True, slots=True)
class _Command:
    """form: of the parameters. later: answered at once, what it brings about comes as an event.

    about_link: a failure is returned with the connection handle that the command named.
    """

    run: _Run
    form: str
    later: bool
    about_link: bool


_COMMANDS: dict[int, _Command] = {}
_SUPPORTED = bytearray(64)


def execute(controller: Controller, packet: bytes) -> None:
    """Carry out a command packet of the host; it always gets exactly one answer."""
    opcode = int.from_bytes(packet[1:3], "little")
    command = _COMMANDS.get(opcode)
    if command is None:
        controller.answer(hci.command_status(opcode, Status.UNKNOWN_COMMAND))
        return
    controller.hold_events()
    status, returned = Status.SUCCESS, b""
    try:
        returned = command.run(controller, *struct.unpack(command.form, packet[4:])) or b""
    except Refused as refusal:
        status = refusal.status
    except struct.error:
        status = Status.INVALID_PARAMETERS
    if command.later:
        controller.answer(hci.command_status(opcode, status))
        return
    if status is not Status.SUCCESS and command.about_link:
        returned = packet[4:6]
    controller.answer(hci.command_complete(opcode, bytes((status,)) + returned))


def _command(
    opcode: int,
    supported: tuple[int, int] | None,
    form: str = "",
    *,
    later: bool = False,
    about_link: bool = False,
) -> Callable[[_Run], _Run]:
    if supported is not None:
        octet, bit = supported
        _SUPPORTED[octet] |= 1 << bit

    def register(run: _Run) -> _Run:
        _COMMANDS[opcode] = _Command(run, f"<{form}", later, about_link)
        return run

    return register


# Links


@_command(0x0406, (0, 5), "HB", later=True)
def _disconnect(controller: Controller, handle: int, reason: int) -> None:
    controller.disconnect(controller.link(handle), reason)


@_command(0x041D, (2, 7), "H", later=True)
def _read_remote_version(controller: Controller, handle: int) -> None:
    controller.link(handle)
    controller.tell(hci.remote_version_complete(handle, _VERSION_4_2, _NO_COMPANY))


@_command(0x2013, (27, 2), "HHHHHHH", later=True)
def _le_connection_update(
    controller: Controller, handle: int, low: int, high: int, latency: int, timeout: int, *_: int
) -> None:
    controller.update_timing(controller.link(handle), _timing(low, high, latency, timeout))


@_command(0x2016, (27, 5), "H", later=True)
def _le_read_remote_features(controller: Controller, handle: int) -> None:
    controller.link(handle)
    parameters = struct.pack("<BH8s", Status.SUCCESS, handle, _LE_FEATURES)
    controller.tell_meta(Meta.REMOTE_FEATURES_COMPLETE, parameters)


@_command(0x2022, (33, 6), "HHH", about_link=True)
def _le_set_data_length(controller: Controller, handle: int, *_: int) -> bytes:
    controller.link(handle)
    parameters = struct.pack("<HHHHH", handle, *_LONGEST_DATA, *_LONGEST_DATA)
    controller.tell_meta(Meta.DATA_LENGTH_CHANGE, parameters)
    return struct.pack("<H", handle)


@_command(0x2015, (27, 4), "H", about_link=True)
def _le_read_channel_map(controller: Controller, handle: int) -> bytes:
    controller.link(handle)
    return struct.pack("<H", handle) + bytes.fromhex("ffffffff1f")


@_command(0x1405, (15, 5), "H", about_link=True)
def _read_rssi(controller: Controller, handle: int) -> bytes:
    return struct.pack("<Hb", handle, controller.rssi(controller.link(handle)))


@_command(0x2019, (28, 0), "H8sH16s", later=True)
def _le_enable_encryption(
    controller: Controller, handle: int, rand: bytes, diversifier: int, key: bytes
) -> None:
    controller.encrypt(controller.link(handle), key, rand, diversifier)


@_command(0x201A, (28, 1), "H16s", about_link=True)
def _le_long_term_key_reply(controller: Controller, handle: int, key: bytes) -> bytes:
    controller.answer_key_request(controller.link(handle), key)
    return struct.pack("<H", handle)


@_command(0x201B, (28, 2), "H", about_link=True)
def _le_long_term_key_negative_reply(controller: Controller, handle: int) -> bytes:
    controller.answer_key_request(controller.link(handle), None)
    return struct.pack("<H", handle)


# The controller itself


@_command(0x0C03, (5, 7))
def _reset(controller: Controller) -> None:
    controller.reset()


@_command(0x0C01, (5, 6), "8s")
def _set_event_mask(_: Controller, __: bytes) -> None:
    """The events sent here are those that every host wants."""


@_command(0x2001, (25, 0), "Q")
def _le_set_event_mask(controller: Controller, mask: int) -> None:
    controller.le_event_mask = mask


@_command(0x1009, (15, 1))
def _read_bd_addr(controller: Controller) -> bytes:
    return controller.public[1:]


@_command(0x2005, (25, 4), "6s")
def _le_set_random_address(controller: Controller, address: bytes) -> None:
    controller.set_random_address(address)


@_command(0x2018, (27, 7))
def _le_rand(_: Controller) -> bytes:
    return secrets.token_bytes(8)


@_command(0x1002, None)
def _read_local_supported_commands(_: Controller) -> bytes:
    return bytes(_SUPPORTED)


def _constant(opcode: int, supported: tuple[int, int], value: bytes, form: str = "") -> None:
    """A command that returns always the same."""
    _command(opcode, supported, form)(lambda *_: value)


_constant(0x1001, (14, 3), struct.pack("<BHBHH", _VERSION_4_2, 0, _VERSION_4_2, _NO_COMPANY, 0))
_constant(0x1003, (14, 5), _LE_ONLY)
_constant(0x1005, (14, 7), struct.pack("<HBHH", hci.ACL_MAX_BYTES, 0, _BUFFERS, 0))
_constant(0x2002, (25, 1), struct.pack("<HB", hci.ACL_MAX_BYTES, _BUFFERS))
_constant(0x2003, (25, 2), _LE_FEATURES)
_constant(0x2007, (25, 6), b"\0")  # advertising power: 0 dBm
_constant(0x2014, (27, 3), b"", "5s")  # channels are not simulated
_constant(0x201C, (28, 3), _LE_STATES)
_constant(0x2023, (33, 7), struct.pack("<HH", *_LONGEST_DATA))
_constant(0x2024, (34, 0), b"", "HH")
_constant(0x202F, (35, 3), struct.pack("<HHHH", *_LONGEST_DATA, *_LONGEST_DATA))


# The accept list


@_command(0x200F, (26, 6))
def _le_read_accept_list_size(controller: Controller) -> bytes:
    return bytes((controller.accept_list_size,))


@_command(0x2010, (26, 7))
def _le_clear_accept_list(controller: Controller) -> None:
    controller.accept_list.clear()


@_command(0x2011, (27, 0), "7s")
def _le_add_to_accept_list(controller: Controller, address: bytes) -> None:
    controller.accept_list_add(address)


@_command(0x2012, (27, 1), "7s")
def _le_remove_from_accept_list(controller: Controller, address: bytes) -> None:
    controller.accept_list.discard(address)


# Advertising


@_command(0x2006, (25, 5), "HHBB7sBB")
def _le_set_advertising_parameters(
    controller: Controller, low: int, high: int, kind: int, own: int, peer: bytes, _: int, only: int
) -> None:
    if controller.advertising is not None:
        raise Refused(Status.COMMAND_DISALLOWED)
    if kind > _LAST_ADVERTISING_TYPE or not _SHORTEST_ADVERTISING <= low <= high:
        raise Refused(Status.INVALID_PARAMETERS)
    controller.advertising_parameters = (low, kind, own, peer, only)


def _advertising_data(data_size: int, data: bytes) -> bytes:
    if data_size > hci.ADVERTISING_MAX_BYTES:
        raise Refused(Status.INVALID_PARAMETERS)
    return data[:data_size]


@_command(0x2008, (25, 7), "B31s")
def _le_set_advertising_data(controller: Controller, size: int, data: bytes) -> None:
    controller.set_advertising_data(_advertising_data(size, data), response=False)


@_command(0x2009, (26, 0), "B31s")
def _le_set_scan_response_data(controller: Controller, size: int, data: bytes) -> None:
    controller.set_advertising_data(_advertising_data(size, data), response=True)


@_command(0x200A, (26, 1), "B")
def _le_set_advertising_enable(controller: Controller, enable: int) -> None:
    if not enable:
        controller.advertise(None)
        return
    interval, kind, own, peer, only = controller.advertising_parameters
    advertising = Advertising(
        kind=kind,
        address=controller.own_address(own),
        interval_s=interval * _INTERVAL_S,
        target=peer,
        data=controller.advertising_data,
        scan_response=controller.scan_response,
        connects_only=controller.accept_list_or_all(filtered=bool(only & 2)),
        answers_only=controller.accept_list_or_all(filtered=bool(only & 1)),
    )
    controller.advertise(advertising)


# Scanning


@_command(0x200B, (26, 2), "BHHBB")
def _le_set_scan_parameters(
    controller: Controller, kind: int, _: int, __: int, own: int, only: int
) -> None:
    if controller.scanning is not None:
        raise Refused(Status.COMMAND_DISALLOWED)
    controller.scan_parameters = (kind, own, only)


@_command(0x200C, (26, 3), "BB")
def _le_set_scan_enable(controller: Controller, enable: int, once: int) -> None:
    if not enable:
        controller.scan(None)
        return
    kind, own, only = controller.scan_parameters
    scanning = Scanning(
        active=kind == _ACTIVE_SCAN,
        own=controller.own_address(own),
        only=controller.accept_list_or_all(filtered=bool(only & 1)),
        seen=set() if once else None,
    )
    controller.scan(scanning)


# Connecting


@_command(0x200D, (26, 4), "HHB7sBHHHHHH", later=True)
def _le_create_connection(
    controller: Controller,
    _: int,
    __: int,
    any_of_list: int,
    peer: bytes,
    own: int,
    low: int,
    high: int,
    latency: int,
    timeout: int,
    *___: int,
) -> None:
    initiating = Initiating(
        own=controller.own_address(own),
        peers=controller.accept_list if any_of_list else {peer},
        named=None if any_of_list else peer,
        timing=_timing(low, high, latency, timeout),
    )
    controller.initiate(initiating)


@_command(0x200E, (26, 5))
def _le_create_connection_cancel(controller: Controller) -> None:
    controller.cancel_initiating()


def _timing(low: int, high: int, latency: int, timeout: int) -> Timing:
    """The shortest interval allowed. Raises Refused for what no controller can keep (7.8.12)."""
    fits = 6 <= low <= high <= 3200 and latency <= 499 and 10 <= timeout <= 3200  # noqa: PLR2004 -- the specification's bounds
    if not fits or timeout * 10 <= (1 + latency) * low * 1.25 * 2:
        raise Refused(Status.INVALID_PARAMETERS)
    return Timing(low, latency, timeout)
