"""What a charger's GATT server holds, and who may touch it.

The stock service is that of the real radio modules (core/gatt.py); each of its values and CCCDs
asks the rules. The passcode service asks for nothing: its own handshake protects it. It comes
last, so that an update that brings it leaves every other handle where it was.
"""

from collections.abc import Callable, Iterator
from enum import Enum
from functools import partial
from typing import Final

from chargepin.charger.air import Appearance, AttError, Door, Rules, Written
from chargepin.charger.att import Client, Code, Denied, Read, Table, indication
from chargepin.core import gatt
from chargepin.core.gatt import Characteristic, Layout, Mode, Property

# Assigned Numbers, 3.4 and 3.8.
_GAP: Final = "00001800-0000-1000-8000-00805f9b34fb"
_GATT: Final = "00001801-0000-1000-8000-00805f9b34fb"
_DEVICE_NAME: Final = Characteristic("00002a00-0000-1000-8000-00805f9b34fb", Property.READ)
_APPEARANCE: Final = Characteristic("00002a01-0000-1000-8000-00805f9b34fb", Property.READ)
_SERVICE_CHANGED: Final = Characteristic("00002a05-0000-1000-8000-00805f9b34fb", Property.INDICATE)
_DATABASE_HASH: Final = Characteristic("00002b2a-0000-1000-8000-00805f9b34fb", Property.READ)

_MAX_MTU: Final = 247
_ZENTRI_MTU: Final = 23
_STOCK_PIECE_BYTES: Final = 20  # what real modules notify at once, whatever the MTU
_EVENT_HEADER_BYTES: Final = 3
_EVERYTHING_CHANGED: Final = b"\x01\x00\xff\xff"  # the range of all handles


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
        layout = appearance.layout
        self._table = Table(_ZENTRI_MTU if layout is Layout.ZENTRI else _MAX_MTU)
        self._add_generic(appearance.name)
        self._add_information(layout.stock, appearance.software)
        self._events = {Door.STOCK: self._add_stock(layout.stock)}
        if appearance.passcode:
            self._events[Door.OWN] = self._add_passcode()
        self.digest: Final = self._table.digest()

    def answer(self, client: Client, pdu: bytes) -> bytes | None:
        """Take one PDU; see `att.Table.answer`."""
        return self._table.answer(client, pdu)

    def events(self, client: Client, door: Door, message: bytes) -> Iterator[bytes]:
        """Cut a message into notifications or indications; none for who is not subscribed.

        Rights are asked again: they may have been lost since the client subscribed.
        """
        handle = self._events.get(door)
        size = client.mtu - _EVENT_HEADER_BYTES
        if door is Door.STOCK:
            size = min(size, _STOCK_PIECE_BYTES)
            if self.refusal(client, Touch.SUBSCRIPTION) is not None:
                return
        for at in range(0, len(message), size):
            event = handle and self._table.event(client, handle, message[at : at + size])
            if event:
                yield event

    def refusal(self, client: Client, touch: Touch) -> AttError | None:
        """Say why a client may not touch the stock service now, if so: all touches are alike."""
        _ = touch
        return self._rules.stock(client.link, client.secured)

    def services_changed(self) -> bytes:
        """Give the indication for a bonded client that knows another list of services."""
        return indication(self._service_changed, _EVERYTHING_CHANGED)

    def _add_generic(self, name: str) -> None:
        self._table.add_service(_GAP)
        self._table.add(_DEVICE_NAME, read=_fixed(name.encode()))
        self._table.add(_APPEARANCE, read=_fixed(bytes(2)))  # unknown
        self._table.add_service(_GATT)
        self._service_changed = self._table.add(_SERVICE_CHANGED)
        self._table.add(_DATABASE_HASH, read=lambda _client: self.digest)

    def _add_information(self, stock: gatt.StockService, software: str) -> None:
        self._table.add_service(gatt.DEVICE_INFORMATION_SERVICE)
        for uuid, text in (
            (gatt.MANUFACTURER_NAME, stock.manufacturer),
            (gatt.MODEL_NUMBER, stock.model),
            (gatt.FIRMWARE_REVISION, stock.firmware),
            (gatt.SOFTWARE_REVISION, software),
        ):
            self._table.add(Characteristic(uuid, Property.READ), read=_fixed(text.encode()))

    def _add_stock(self, stock: gatt.StockService) -> int:
        def may(touch: Touch, client: Client) -> None:
            error = self.refusal(client, touch)
            if error is not None:
                raise Denied(error.value)

        def frames(client: Client, value: bytes) -> None:
            if client.mode is Mode.STREAM:  # else they go to the radio module's own shell
                self._written(Written(client.link, Door.STOCK, value))

        self._table.add_service(stock.uuid)
        subscribe = partial(may, Touch.SUBSCRIPTION)
        handles: dict[Characteristic, int] = {}
        for each in stock.characteristics:
            is_mode = each == stock.mode
            taken = frames if each == stock.write else _ignored
            handles[each] = self._table.add(
                each,
                read=_mode if is_mode else _fixed(b""),
                write=_set_mode if is_mode else taken,
                may=partial(may, Touch.MODE if is_mode else Touch.VALUE),
                may_subscribe=subscribe,
            )
        return handles[stock.notify]

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


def _mode(client: Client) -> bytes:
    return bytes([client.mode])


def _set_mode(client: Client, value: bytes) -> None:
    if len(value) != 1:
        raise Denied(Code.INVALID_ATTRIBUTE_LENGTH)
    if value[0] not in {Mode.STREAM, Mode.REMOTE_COMMAND}:
        raise Denied(Code.VALUE_NOT_ALLOWED)
    client.mode = Mode(value[0])
