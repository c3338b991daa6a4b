"""The server side of the Attribute Protocol (Core Vol 3, Part F), over one table of attributes.

A plain function from PDU to PDU. Bumble's own server takes every PDU in a task of its own, so
that writes overtake each other, never looks at READABLE and WRITEABLE, and leaves some requests
without an answer, for which a client waits 30 s. Here every request is answered in the turn it
arrives in, and no value is reached but through `Table.value` and `Table.store`.
"""

import logging
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, TypeAlias

from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.cmac import CMAC

from chargepin.charger.air import Secured
from chargepin.charger.bluetooth.att_pdu import (
    HANDLE,
    RANGE,
    Code,
    Denied,
    handle_range,
    handles,
    of_equal_length,
    on_air,
    uuid_kind,
)
from chargepin.charger.bluetooth.serial import Serial
from chargepin.core.gatt import Characteristic, Property

logger = logging.getLogger(__name__)

DEFAULT_MTU: Final = 23
UNSECURED: Final = Secured(encrypted=False, authenticated=False)
CONFIRMATION: Final = b"\x1e"
INDICATION: Final = 0x1D
_WRITE_COMMAND: Final = 0x52
_PREPARE_WRITE: Final = 0x16
_COMMAND_OR_FROM_SERVER: Final = 0x41  # bits of an opcode (3.3.1); neither is ever answered

# Assigned Numbers, 3.5 and 3.7, in the order of the air: little-endian, like all numbers here.
_PRIMARY_SERVICE: Final = b"\x00\x28"
_SECONDARY_SERVICE: Final = b"\x01\x28"
_CHARACTERISTIC: Final = b"\x03\x28"
_CCCD: Final = b"\x02\x29"
_NO_MORE: Final = 0xFFFF


@dataclass(slots=True, eq=False)
class Client:
    """What the server keeps of one link.

    serial: the radio module's line for it. features: what it said that it supports. subscribed: by
    handle of the characteristic's value, the bits its CCCD was given.
    """

    link: int
    nonce: bytes
    mtu: int = DEFAULT_MTU
    secured: Secured = UNSECURED
    serial: Serial = field(default_factory=Serial)
    features: int = 0
    subscribed: dict[int, int] = field(default_factory=dict)


May: TypeAlias = Callable[[Client], None]
Read: TypeAlias = Callable[[Client], bytes]
Write: TypeAlias = Callable[[Client, bytes], None]


def anyone(_client: Client) -> None:
    """Give everybody the right to an attribute."""


@dataclass(frozen=True, slots=True)
class Attribute:
    """kind: the UUID of its type, 2 or 16 bytes. may, read and write raise Denied.

    read, write and command (a write without response) are None where not permitted at all.
    """

    kind: bytes
    read: Read | None = None
    write: Write | None = None
    command: Write | None = None
    may: May = anyone


class Table:
    """The attributes of one server, in the order they were added; handles count from 1.

    long_write: the error with which prepared writes are refused: no value is longer than the MTU.
    """

    def __init__(self, max_mtu: int, long_write: Code = Code.REQUEST_NOT_SUPPORTED) -> None:
        self._attributes: list[Attribute] = []
        self._long_write = long_write
        self._max_mtu = max_mtu
        self._handlers = MappingProxyType(
            {
                0x02: self._exchange_mtu,
                0x04: self._find_information,
                0x06: self._find_by_type_value,
                0x08: self._read_by_type,
                0x0A: self._read,
                0x0C: self._read_blob,
                0x0E: self._read_multiple,
                0x10: self._read_by_group_type,
                0x12: self._write,
                0x20: self._read_multiple_variable,
            }
        )

    def add_service(self, uuid: str) -> None:
        """Begin a primary service; the characteristics added next are in it."""
        declaration = on_air(uuid)
        self._attributes.append(Attribute(_PRIMARY_SERVICE, lambda _client: declaration))

    def add(
        self,
        characteristic: Characteristic,
        *,
        read: Read | None = None,
        write: Write | None = None,
        may: May = anyone,
        may_subscribe: May | None = None,
    ) -> int:
        """Add a characteristic, with its CCCD if it notifies or indicates; gives its handle.

        What its properties do not name is not permitted. may holds for the CCCD too, unless
        may_subscribe is given.
        """
        kind, properties = on_air(characteristic.uuid), characteristic.properties
        handle = len(self._attributes) + 2
        declaration = bytes([properties]) + HANDLE.pack(handle) + kind
        self._attributes += [
            Attribute(_CHARACTERISTIC, lambda _client: declaration),
            Attribute(
                kind,
                read=read if properties & Property.READ else None,
                write=write if properties & Property.WRITE else None,
                command=write if properties & Property.WRITE_WITHOUT_RESPONSE else None,
                may=may,
            ),
        ]
        if properties & (Property.NOTIFY | Property.INDICATE):
            self._attributes.append(_cccd(handle, properties, may_subscribe or may))
        return handle

    def answer(self, client: Client, pdu: bytes) -> bytes | None:
        """Take one PDU of a client; gives the answer, if it is one that gets an answer."""
        if not pdu:
            return None
        answered = not pdu[0] & _COMMAND_OR_FROM_SERVER and pdu != CONFIRMATION
        failed: Denied | None = None
        try:
            if answered:
                return self._request(client, pdu)
            self._command(client, pdu)
        except Denied as denied:
            failed = denied
        except struct.error:
            failed = Denied(Code.INVALID_PDU)
        except Exception:
            logger.exception("a GATT callback failed on link %d", client.link)
            failed = Denied(Code.UNLIKELY_ERROR)
        if failed is None or not answered:  # a command gets no answer, not even this one
            return None
        return b"\x01" + pdu[:1] + HANDLE.pack(failed.handle) + bytes([failed.code])

    def event(self, client: Client, handle: int, value: bytes) -> bytes | None:
        """Give the notification or indication of a value, if the client subscribed to it."""
        bits = client.subscribed.get(handle, 0)
        if bits & 1:
            return b"\x1b" + HANDLE.pack(handle) + value
        return indication(handle, value) if bits else None

    def digest(self) -> bytes:
        """The Database Hash, 16 bytes (Core Vol 3, Part G, 7.3.1): changes with the services."""
        nobody = Client(0, b"")
        mac = CMAC(AES(bytes(16)))
        for handle, attribute in self._between(1, _NO_MORE):
            if attribute.kind in {_PRIMARY_SERVICE, _CHARACTERISTIC}:
                mac.update(HANDLE.pack(handle) + attribute.kind + self.value(nobody, handle))
            elif attribute.kind == _CCCD:
                mac.update(HANDLE.pack(handle) + attribute.kind)
        return mac.finalize()[::-1]

    def value(self, client: Client, handle: int) -> bytes:
        """Read one attribute. Raises Denied."""
        attribute = self._at(handle)
        if attribute.read is None:
            raise Denied(Code.READ_NOT_PERMITTED, handle)
        try:
            attribute.may(client)
            return attribute.read(client)
        except Denied as denied:
            raise Denied(denied.code, handle) from denied

    def store(self, client: Client, handle: int, value: bytes, *, command: bool) -> None:
        """Write one attribute. Raises Denied."""
        attribute = self._at(handle)
        write = attribute.command if command else attribute.write
        if write is None:
            raise Denied(Code.WRITE_NOT_PERMITTED, handle)
        try:
            attribute.may(client)
            write(client, value)
        except Denied as denied:
            raise Denied(denied.code, handle) from denied

    # ---- the table --------------------------------------------------------------------------

    def _at(self, handle: int) -> Attribute:
        if not 1 <= handle <= len(self._attributes):
            raise Denied(Code.INVALID_HANDLE, handle)
        return self._attributes[handle - 1]

    def _between(
        self, first: int, last: int, kind: bytes | None = None
    ) -> Iterator[tuple[int, Attribute]]:
        for handle, attribute in enumerate(self._attributes, 1):
            if first <= handle <= last and (kind is None or attribute.kind == kind):
                yield handle, attribute

    def _end_of_service(self, handle: int) -> int:
        following = (at for at, _ in self._between(handle + 1, _NO_MORE, _PRIMARY_SERVICE))
        return next(following, len(self._attributes) + 1) - 1

    # ---- requests and commands --------------------------------------------------------------

    def _request(self, client: Client, pdu: bytes) -> bytes:
        if len(pdu) > client.mtu:
            raise Denied(Code.INVALID_PDU)
        handler = self._handlers.get(pdu[0])
        if handler is None:
            raise Denied(
                self._long_write if pdu[0] == _PREPARE_WRITE else Code.REQUEST_NOT_SUPPORTED
            )
        return handler(client, pdu[1:])

    def _command(self, client: Client, pdu: bytes) -> None:
        if pdu[0] == _WRITE_COMMAND and len(pdu) <= client.mtu:
            (handle,) = HANDLE.unpack(pdu[1:3])
            self.store(client, handle, pdu[3:], command=True)

    def _exchange_mtu(self, client: Client, body: bytes) -> bytes:
        (wanted,) = HANDLE.unpack(body)
        client.mtu = max(client.mtu, min(wanted, self._max_mtu))
        return b"\x03" + HANDLE.pack(self._max_mtu)

    def _find_information(self, client: Client, body: bytes) -> bytes:
        first, last = handle_range(body)
        found = list(self._between(first, last))
        room = client.mtu - 2
        size = len(found[0][1].kind) if found else 0
        data = b""
        for handle, attribute in found:
            if len(attribute.kind) != size or len(data) + 2 + size > room:
                break
            data += HANDLE.pack(handle) + attribute.kind
        if not data:
            raise Denied(Code.ATTRIBUTE_NOT_FOUND, first)
        return bytes([0x05, 1 if size == len(_CCCD) else 2]) + data

    def _find_by_type_value(self, client: Client, body: bytes) -> bytes:
        first, last = handle_range(body[:4])
        kind, wanted = body[4:6], body[6:]
        data = b""
        for handle, _ in self._between(first, last, kind):
            try:
                same = self.value(client, handle) == wanted
            except Denied:
                continue  # what may not be read can't be found by guessing either
            if same and len(data) + 4 <= client.mtu - 1:
                end = self._end_of_service(handle) if kind == _PRIMARY_SERVICE else handle
                data += RANGE.pack(handle, end)
        if not data:
            raise Denied(Code.ATTRIBUTE_NOT_FOUND, first)
        return b"\x07" + data

    def _read_by_type(self, client: Client, body: bytes) -> bytes:
        first, last = handle_range(body[:4])
        values: list[tuple[bytes, bytes]] = []
        for handle, _ in self._between(first, last, uuid_kind(body[4:])):
            try:
                value = self.value(client, handle)
            except Denied:
                if values:
                    break
                raise
            values.append((HANDLE.pack(handle), value))
        if not values:
            raise Denied(Code.ATTRIBUTE_NOT_FOUND, first)
        return b"\x09" + of_equal_length(values, client.mtu)

    def _read_by_group_type(self, client: Client, body: bytes) -> bytes:
        first, last = handle_range(body[:4])
        kind = uuid_kind(body[4:])
        if kind not in {_PRIMARY_SERVICE, _SECONDARY_SERVICE}:
            raise Denied(Code.UNSUPPORTED_GROUP_TYPE, first)
        values = [
            (RANGE.pack(handle, self._end_of_service(handle)), self.value(client, handle))
            for handle, _ in self._between(first, last, kind)
        ]
        if not values:
            raise Denied(Code.ATTRIBUTE_NOT_FOUND, first)
        return b"\x11" + of_equal_length(values, client.mtu)

    def _read(self, client: Client, body: bytes) -> bytes:
        (handle,) = HANDLE.unpack(body)
        return b"\x0b" + self.value(client, handle)[: client.mtu - 1]

    def _read_blob(self, client: Client, body: bytes) -> bytes:
        handle, offset = RANGE.unpack(body)
        value = self.value(client, handle)
        if offset > len(value):
            raise Denied(Code.INVALID_OFFSET, handle)
        return b"\x0d" + value[offset : offset + client.mtu - 1]

    def _read_multiple(self, client: Client, body: bytes) -> bytes:
        values = [self.value(client, handle) for handle in handles(body)]
        return b"\x0f" + b"".join(values)[: client.mtu - 1]

    def _read_multiple_variable(self, client: Client, body: bytes) -> bytes:
        values = [self.value(client, handle) for handle in handles(body)]
        data = b"".join(HANDLE.pack(len(value)) + value for value in values)
        return b"\x21" + data[: client.mtu - 1]

    def _write(self, client: Client, body: bytes) -> bytes:
        (handle,) = HANDLE.unpack(body[:2])
        self.store(client, handle, body[2:], command=False)
        return b"\x13"


def _cccd(handle: int, properties: Property, may: May) -> Attribute:
    allowed = bool(properties & Property.NOTIFY) | bool(properties & Property.INDICATE) << 1

    def read(client: Client) -> bytes:
        return HANDLE.pack(client.subscribed.get(handle, 0))

    def write(client: Client, value: bytes) -> None:
        if len(value) != HANDLE.size:
            raise Denied(Code.INVALID_ATTRIBUTE_LENGTH)
        (bits,) = HANDLE.unpack(value)
        if bits & ~allowed:
            raise Denied(Code.VALUE_NOT_ALLOWED)
        client.subscribed[handle] = bits

    return Attribute(_CCCD, read, write, may=may)


def indication(handle: int, value: bytes) -> bytes:
    """Give the PDU that a client must confirm."""
    return bytes([INDICATION]) + HANDLE.pack(handle) + value
