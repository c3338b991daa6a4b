"""What a charger's GATT server holds, and who may touch it.

The stock service is that of the real radio modules (core/gatt.py); each of its values and CCCDs
asks the rules. The passcode service asks for nothing: its own handshake protects it. It comes
last, so that an update that brings it leaves every other handle where it was.
"""

import struct
from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from typing import Final

from chargepin.charger.air import Appearance, AttError, Door, Rules, Written
from chargepin.charger.bluetooth.att import Client, Read, Table, Write, indication
from chargepin.charger.bluetooth.att_pdu import Code, Denied
from chargepin.charger.bluetooth.serial import Part
from chargepin.core import gatt
from chargepin.core.gatt import Characteristic, Layout, Mode, Property

_MAX_MTU: Final = 247
_ZENTRI_MTU: Final = 23
_EVENT_HEADER_BYTES: Final = 3
_EVERYTHING_CHANGED: Final = b"\x01\x00\xff\xff"  # the range of all handles
_PREFERRED: Final = struct.pack("<4H", 24, 40, 0, 200)  # 30 to 50 ms, no latency, 2 s


_FLOW: Final = (Part.CREDITS, Part.NOTIFY)
_OF_FIRMWARE: Final = frozenset({gatt.FIRMWARE_REVISION, gatt.SOFTWARE_REVISION})


class Touch(Enum):
    """What a client does to the stock service."""

    VALUE = "reads and writes of values"
    SUBSCRIPTION = "CCCDs, and what they bring"
    MODE = "the mode"


class Attributes:
    """The table of one appearance. written is told what clients write; digest tells it apart."""

    def __init__(
        self, appearance: Appearance, rules: Rules, written: Callable[[Written], None]
    ) -> None:
        self._rules = rules
        self._written = written
        self._zentri = appearance.layout is Layout.ZENTRI
        self._table = (
            Table(_ZENTRI_MTU, Code.WRITE_NOT_PERMITTED) if self._zentri else Table(_MAX_MTU)
        )
        stock = appearance.layout.stock
        self._add_generic(stock, appearance.name)
        self._add_information(stock, appearance.module_firmware)
        self._parts = self._add_stock(stock)
        if stock.ota is not None:
            self._add_ota(stock.ota)
        self._own = self._add_passcode() if appearance.passcode else None
        self.digest: Final = self._table.digest()

    def answer(self, client: Client, pdu: bytes) -> bytes | None:
        """Take one PDU; see `att.Table.answer`."""
        answer = self._table.answer(client, pdu)
        if Part.CREDITS in self._parts:
            wanted = (client.subscribed.get(self._parts[part]) for part in _FLOW)
            client.serial.control_flow(on=all(wanted))
        return answer

    def consequences(self, client: Client) -> Iterator[bytes]:
        """Give the events that the radio module itself has for a client after its last PDU."""
        said, client.serial.said = client.serial.said, []
        if said and self.refusal(client, Touch.SUBSCRIPTION) is None:
            for part, value in said:
                event = self._table.event(client, self._parts[part], value)
                if event:
                    yield event

    def events(self, client: Client, door: Door, message: bytes) -> Iterator[bytes]:
        """Cut a message into notifications or indications; none for who is not subscribed.

        Rights are asked again: they may have been lost since the client subscribed.
        """
        handle = self._parts[Part.NOTIFY] if door is Door.STOCK else self._own
        if handle is None or not client.subscribed.get(handle):
            return
        size = client.mtu - _EVENT_HEADER_BYTES
        pieces: Iterator[bytes]
        if door is Door.OWN:
            pieces = (message[at : at + size] for at in range(0, len(message), size))
        elif self.refusal(client, Touch.SUBSCRIPTION) is None:
            pieces = client.serial.send(message, size)
        else:
            return
        for piece in pieces:
            event = self._table.event(client, handle, piece)
            if event:
                yield event

    def refusal(self, client: Client, touch: Touch) -> AttError | None:
        """Say why a client may not touch the stock service now, if so: all touches are alike."""
        _ = touch
        return self._rules.stock(client.link, client.secured)

    def services_changed(self) -> bytes:
        """Give the indication for a bonded client that knows another list of services."""
        return indication(self._service_changed, _EVERYTHING_CHANGED)

    def _add_generic(self, stock: gatt.StockService, name: str) -> None:
        reads = {
            gatt.DEVICE_NAME: _fixed(name.encode()),
            gatt.APPEARANCE: _fixed(bytes(2)),  # unknown
            gatt.PREFERRED_PARAMETERS: _fixed(_PREFERRED),
            gatt.DATABASE_HASH: lambda _client: self.digest,
            gatt.CLIENT_FEATURES: lambda client: bytes([client.features]),
        }
        handles: dict[Characteristic, int] = {}
        self._table.add_service(gatt.GENERIC_SERVICE)
        for each in stock.generic:
            handles[each] = self._table.add(each, read=reads.get(each), write=_set_features)
        self._service_changed = handles[gatt.SERVICE_CHANGED]
        self._table.add_service(gatt.ACCESS_SERVICE)
        for each in stock.access:
            self._table.add(each, read=reads[each])

    def _add_information(self, stock: gatt.StockService, firmware: str | None) -> None:
        self._table.add_service(gatt.DEVICE_INFORMATION_SERVICE)
        for uuid, usual in stock.information:
            text = firmware if firmware and uuid in _OF_FIRMWARE else usual
            self._table.add(Characteristic(uuid, Property.READ), read=_fixed(text.encode()))

    def _may(self, touch: Touch, client: Client) -> None:
        error = self.refusal(client, touch)
        if error is not None:
            raise Denied(error.value)

    def _add_stock(self, stock: gatt.StockService) -> dict[Part, int]:
        self._table.add_service(stock.uuid)
        handles: dict[Characteristic, int] = {}
        for each in stock.characteristics:
            read: Read = _last if each == stock.notify and self._zentri else _fixed(b"")
            write: Write = _ignored
            if each == stock.write:
                write = self._take
            elif each == stock.mode:
                read, write = _mode, self._set_mode
            elif each == stock.credits:
                write = _get_credits
            handles[each] = self._table.add(
                each,
                read=read,
                write=write,
                may=partial(self._may, Touch.MODE if each == stock.mode else Touch.VALUE),
                may_subscribe=partial(self._may, Touch.SUBSCRIPTION),
            )
        parts = {Part.NOTIFY: stock.notify, Part.MODE: stock.mode, Part.CREDITS: stock.credits}
        return {part: handles[each] for part, each in parts.items() if each is not None}

    def _add_ota(self, ota: gatt.Service) -> None:
        """Add the service for updates of the module; nothing is ever updated by it."""
        self._table.add_service(ota.uuid)
        for each in ota.characteristics:
            self._table.add(
                each,
                read=_fixed(b""),
                write=_refused,
                may=partial(self._may, Touch.VALUE),
                may_subscribe=partial(self._may, Touch.SUBSCRIPTION),
            )

    def _take(self, client: Client, value: bytes) -> None:
        reaching = client.serial.take(value)
        if reaching:
            self._written(Written(client.link, Door.STOCK, reaching))

    def _set_mode(self, client: Client, value: bytes) -> None:
        if len(value) != 1:
            raise Denied(Code.INVALID_ATTRIBUTE_LENGTH)
        if value[0] not in set(Mode):
            raise Denied(Code.VALUE_NOT_ALLOWED)
        if self._zentri and not client.subscribed.get(self._parts[Part.NOTIFY]):
            raise Denied(Code.WRITE_NOT_PERMITTED)
        client.serial.switch(Mode(value[0]))

    def _add_passcode(self) -> int:
        def hint(client: Client) -> bytes:
            return self._rules.hint(client.nonce)

        def chunk(client: Client, value: bytes) -> None:
            self._written(Written(client.link, Door.OWN, value))

        self._table.add_service(gatt.PASSCODE_SERVICE)
        self._table.add(gatt.PASSCODE_WRITE, write=chunk)
        handle = self._table.add(gatt.PASSCODE_NOTIFY)
        self._table.add(gatt.PASSCODE_HINT, read=hint)
        return handle


def _fixed(value: bytes) -> Read:
    return lambda _client: value


def _ignored(_client: Client, _value: bytes) -> None:
    """Take what real modules take without the charger behind them hearing of it."""


def _refused(_client: Client, _value: bytes) -> None:
    raise Denied(Code.WRITE_NOT_PERMITTED)


def _last(client: Client) -> bytes:
    return client.serial.last


def _mode(client: Client) -> bytes:
    return bytes([client.serial.mode])


def _get_credits(client: Client, value: bytes) -> None:
    if len(value) != 1:
        raise Denied(Code.INVALID_ATTRIBUTE_LENGTH)
    client.serial.get(value[0])


def _set_features(client: Client, value: bytes) -> None:
    """Take what a client supports; it may not take back what it said (Vol 3, Part G, 7.2)."""
    if not value:
        raise Denied(Code.INVALID_ATTRIBUTE_LENGTH)
    if client.features & ~value[0]:
        raise Denied(Code.VALUE_NOT_ALLOWED)
    client.features = value[0]
