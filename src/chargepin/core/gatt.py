"""What both ends need to know of GATT: services, characteristics, advertising data.

UUIDs are lower case text. A client picks the layout by the characteristics it finds, never by the
charger's model or software: the same model has shipped with different radio modules.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, IntEnum, IntFlag
from types import MappingProxyType


class Property(IntFlag):
    """Characteristic properties, Core Vol 3, Part G, 3.3.1.1."""

    READ = 0x02
    WRITE_WITHOUT_RESPONSE = 0x04
    WRITE = 0x08
    NOTIFY = 0x10
    INDICATE = 0x20


_ANY_WRITE = Property.WRITE | Property.WRITE_WITHOUT_RESPONSE


@dataclass(frozen=True, slots=True)
class Characteristic:
    """One characteristic of a service definition."""

    uuid: str
    properties: Property


class Mode(IntEnum):
    """Values of the mode characteristic: only in STREAM do bytes reach the charger."""

    STREAM = 0x01
    LOCAL_COMMAND = 0x02
    REMOTE_COMMAND = 0x03


@dataclass(frozen=True, slots=True)
class Service:
    """A service that is there and serves nobody here."""

    uuid: str
    characteristics: tuple[Characteristic, ...]


@dataclass(frozen=True, slots=True)
class StockService:
    """How one radio module carries the stock frames.

    write takes requests, notify gives replies (the same one on u-blox). mode switches the module
    between streaming and its command shell; credits belongs to u-blox flow control, which stays
    off until a client subscribes to it. needs_encryption: an open charger still wants a Just Works
    link. information: of the module, in the order of Device Information. access, generic: what
    there is in Generic Access and Generic Attribute. ota: for updates of the module.
    one_central: it carries one phone at a time, and does not advertise meanwhile.
    """

    uuid: str
    write: Characteristic
    notify: Characteristic
    mode: Characteristic | None
    credits: Characteristic | None
    needs_encryption: bool
    information: tuple[tuple[str, str], ...]
    access: tuple[Characteristic, ...]
    generic: tuple[Characteristic, ...]
    ota: Service | None
    one_central: bool

    @property
    def characteristics(self) -> tuple[Characteristic, ...]:
        """Every characteristic once, in the order they are defined."""
        found = (self.write, self.notify, self.mode, self.credits)
        return tuple(dict.fromkeys(each for each in found if each is not None))


class Layout(Enum):
    """The three radio modules; see `stock` for what each looks like."""

    BGX = "bgx"
    """Silicon Labs BGX13P, Xpress Streaming Service: two characteristics and a mode."""

    UBLOX = "ublox"
    """u-blox NINA-B22, Serial Port Service: one characteristic both ways, and credits."""

    ZENTRI = "zentri"
    """Zentri AMS, TruConnect: like BGX, on links that must not pair."""

    @property
    def stock(self) -> StockService:
        """The service that carries stock frames on this module."""
        return _STOCK[self]


# Assigned Numbers, 3.8.1.
_SIG = "-0000-1000-8000-00805f9b34fb"
DEVICE_NAME = Characteristic("00002a00" + _SIG, Property.READ)
APPEARANCE = Characteristic("00002a01" + _SIG, Property.READ)
PREFERRED_PARAMETERS = Characteristic("00002a04" + _SIG, Property.READ)
SERVICE_CHANGED = Characteristic("00002a05" + _SIG, Property.INDICATE)
CLIENT_FEATURES = Characteristic("00002b29" + _SIG, Property.READ | Property.WRITE)
DATABASE_HASH = Characteristic("00002b2a" + _SIG, Property.READ)
MODEL_NUMBER = "00002a24" + _SIG
FIRMWARE_REVISION = "00002a26" + _SIG
SOFTWARE_REVISION = "00002a28" + _SIG
MANUFACTURER_NAME = "00002a29" + _SIG

_BGX_OTA = Service(
    "169b52a0-b7fd-40da-998c-dd9238327e55",
    (
        Characteristic("902ee692-6ef9-48a8-a430-5212eeb3e5a2", Property.WRITE),
        Characteristic("503a5d70-b443-466e-9aeb-c342802b184e", _ANY_WRITE),
        Characteristic("12e868e7-c926-4906-96c8-a7ee81d4b1b3", Property.READ),
    ),
)
_ZENTRI_OTA = Service(
    "b2e7d564-c077-404e-9d29-b547f4512dce",
    (
        Characteristic(
            "48cbe15e-642d-4555-ac66-576209c50c1e",
            _ANY_WRITE | Property.NOTIFY | Property.INDICATE,
        ),
        Characteristic("db96492d-cf53-4a43-b896-14cbbf3bf4f3", _ANY_WRITE),
        Characteristic(
            "66bd7ef2-c449-4e84-b203-fa5915709826",
            _ANY_WRITE | Property.NOTIFY | Property.INDICATE,
        ),
        Characteristic("b3f86901-61cc-48f1-aa20-8e8b59d49d40", Property.READ),
    ),
)
_UBLOX_FIFO = Characteristic(
    "2456e1b9-26e2-8f83-e744-f34f01e9d703", Property.READ | _ANY_WRITE | Property.NOTIFY
)

_STOCK = MappingProxyType(
    {
        Layout.BGX: StockService(
            uuid="331a36f5-2459-45ea-9d95-6142f0c4b307",
            write=Characteristic(
                "a9da6040-0823-4995-94ec-9ce41ca28833", _ANY_WRITE | Property.NOTIFY
            ),
            notify=Characteristic(
                "a73e9a10-628f-4494-a099-12efaf72258f",
                Property.WRITE_WITHOUT_RESPONSE | Property.NOTIFY | Property.INDICATE,
            ),
            mode=Characteristic(
                "75a9f022-af03-4e41-b4bc-9de90a47d50b",
                Property.READ | _ANY_WRITE | Property.NOTIFY | Property.INDICATE,
            ),
            credits=None,
            needs_encryption=True,
            information=(
                (MANUFACTURER_NAME, "Silicon Labs"),
                (MODEL_NUMBER, "Bluetooth Xpress"),
                (FIRMWARE_REVISION, "BGX13P.1.2.2045.0-1261-2045"),
            ),
            access=(DEVICE_NAME, APPEARANCE),
            generic=(SERVICE_CHANGED, DATABASE_HASH, CLIENT_FEATURES),
            ota=_BGX_OTA,
            one_central=False,
        ),
        Layout.UBLOX: StockService(
            uuid="2456e1b9-26e2-8f83-e744-f34f01e9d701",
            write=_UBLOX_FIFO,
            notify=_UBLOX_FIFO,
            mode=None,
            credits=Characteristic(
                "2456e1b9-26e2-8f83-e744-f34f01e9d704", _ANY_WRITE | Property.NOTIFY
            ),
            needs_encryption=True,
            information=(
                (MANUFACTURER_NAME, "u-blox"),
                (MODEL_NUMBER, "NINA-B22"),
                (FIRMWARE_REVISION, "6.0.1-002"),
                (SOFTWARE_REVISION, "6.0.1-002"),
            ),
            access=(DEVICE_NAME, APPEARANCE, PREFERRED_PARAMETERS),
            generic=(SERVICE_CHANGED,),
            ota=None,
            one_central=False,
        ),
        Layout.ZENTRI: StockService(
            uuid="175f8f23-a570-49bd-9627-815a6a27de2a",
            write=Characteristic("1cce1ea8-bd34-4813-a00a-c76e028fadcb", _ANY_WRITE),
            notify=Characteristic(
                "cacc07ff-ffff-4c48-8fae-a9ef71b75e26",
                Property.READ | Property.NOTIFY | Property.INDICATE,
            ),
            mode=Characteristic(
                "20b9794f-da1a-4d14-8014-a0fb9cefb2f7",
                Property.READ | _ANY_WRITE | Property.NOTIFY | Property.INDICATE,
            ),
            credits=None,
            needs_encryption=False,
            information=(  # padded, as it was seen
                (MANUFACTURER_NAME, "Zentri"),
                (FIRMWARE_REVISION, "3.0.0.23            "),
                (MODEL_NUMBER, "ZENTRI-AMS002        "),
                (SOFTWARE_REVISION, "3.0.0.23            "),
            ),
            access=(DEVICE_NAME, APPEARANCE),
            generic=(SERVICE_CHANGED,),
            ota=_ZENTRI_OTA,
            one_central=True,
        ),
    }
)

PASSCODE_SERVICE = "f61a0001-15e1-47c2-87fe-b9b33a47d941"
PASSCODE_WRITE = Characteristic("f61a0002-15e1-47c2-87fe-b9b33a47d941", _ANY_WRITE)
PASSCODE_NOTIFY = Characteristic("f61a0003-15e1-47c2-87fe-b9b33a47d941", Property.NOTIFY)
PASSCODE_HINT = Characteristic("f61a0004-15e1-47c2-87fe-b9b33a47d941", Property.READ)
PASSCODE_CHARACTERISTICS = (PASSCODE_WRITE, PASSCODE_NOTIFY, PASSCODE_HINT)

# Assigned Numbers, 3.4.2.
ACCESS_SERVICE = "00001800" + _SIG
GENERIC_SERVICE = "00001801" + _SIG
DEVICE_INFORMATION_SERVICE = "0000180a" + _SIG


def layout_named(name: str) -> Layout:
    """Look a layout up by the name of its radio module. Raises ValueError that lists the names."""
    try:
        return Layout(name)
    except ValueError:
        names = ", ".join(layout.value for layout in Layout)
        raise ValueError(f"no radio module of that name; there are {names}") from None


def layout_of(characteristics: Iterable[str]) -> Layout | None:
    """Tell the layout by the characteristics found; None if there is no stock service.

    Both the characteristic to write and the one that notifies must be there.
    """
    found = {uuid.lower() for uuid in characteristics}
    for layout, stock in _STOCK.items():
        if {stock.write.uuid, stock.notify.uuid} <= found:
            return layout
    return None


# Core Vol 3, Part C, 11: one advertising packet or scan response holds 31 bytes.
_PACKET_MAX = 31
_NAME_IN_ADVERT_MAX = 8
_FLAGS = bytes([0x06])  # LE General Discoverable, BR/EDR not supported


class _Field(IntEnum):
    """AD types, Core Specification Supplement, Part A, 1."""

    FLAGS = 0x01
    SOME_UUIDS_16 = 0x02
    ALL_UUIDS_16 = 0x03
    SOME_UUIDS_32 = 0x04
    ALL_UUIDS_32 = 0x05
    SOME_UUIDS_128 = 0x06
    ALL_UUIDS_128 = 0x07
    SHORT_NAME = 0x08
    NAME = 0x09


_UUID_BYTES = MappingProxyType(
    {
        _Field.SOME_UUIDS_16: 2,
        _Field.ALL_UUIDS_16: 2,
        _Field.SOME_UUIDS_32: 4,
        _Field.ALL_UUIDS_32: 4,
        _Field.SOME_UUIDS_128: 16,
        _Field.ALL_UUIDS_128: 16,
    }
)
_BLUETOOTH_BASE = bytes.fromhex("00001000800000805f9b34fb")


@dataclass(frozen=True, slots=True)
class Advertised:
    """What both packets of a charger say together. name is "" where none was heard."""

    name: str
    services: frozenset[str]


def advertising(layout: Layout, name: str, *, passcode: bool) -> tuple[bytes, bytes]:
    """Give the advertising packet and the scan response, 31 bytes each at most.

    The advertisement has the flags, the stock service and a name of up to 8 characters; the scan
    response has the passcode service and a longer name. Raises ValueError if that does not fit or
    the name is not printable ASCII.
    """
    if not (name and name.isascii() and name.isprintable()):
        raise ValueError("a charger's name is printable ASCII")
    name_field = _field(_Field.NAME, name.encode("ascii"))
    advert = _field(_Field.FLAGS, _FLAGS)
    advert += _field(_Field.ALL_UUIDS_128, _uuid_bytes(layout.stock.uuid))
    response = _field(_Field.ALL_UUIDS_128, _uuid_bytes(PASSCODE_SERVICE)) if passcode else b""
    if len(name) <= _NAME_IN_ADVERT_MAX:
        advert += name_field
    else:
        response += name_field
    if len(response) > _PACKET_MAX:
        raise ValueError(f"the name has {len(response) - _PACKET_MAX} characters too many")
    return advert, response


def parse_advertising(advert: bytes, scan_response: bytes = b"") -> Advertised:
    """Merge what both packets say. Whatever is malformed is skipped: anyone may send it."""
    services: set[str] = set()
    full_name = short_name = ""
    for kind, value in (*_fields(advert), *_fields(scan_response)):
        if kind == _Field.NAME:
            full_name = value.decode("utf-8", "replace")
        elif kind == _Field.SHORT_NAME:
            short_name = value.decode("utf-8", "replace")
        elif size := _UUID_BYTES.get(kind):
            starts = range(0, len(value) - size + 1, size)
            services.update(_uuid_text(value[start : start + size]) for start in starts)
    return Advertised(full_name or short_name, frozenset(services))


def _field(kind: _Field, value: bytes) -> bytes:
    return bytes([1 + len(value), kind]) + value


def _fields(packet: bytes) -> Iterator[tuple[_Field, bytes]]:
    at = 0
    while at < len(packet):
        end = at + 1 + packet[at]
        if end == at + 1 or end > len(packet):
            return  # early termination (Part C, 11), or cut off
        if packet[at + 1] in _KNOWN_FIELDS:
            yield _Field(packet[at + 1]), packet[at + 2 : end]
        at = end


_KNOWN_FIELDS = frozenset(_Field)


def _uuid_bytes(uuid: str) -> bytes:
    return bytes.fromhex(uuid.replace("-", ""))[::-1]


def _uuid_text(raw: bytes) -> str:
    full = raw[::-1] if len(raw) == len(_BLUETOOTH_BASE) + 4 else _short_uuid(raw)
    text = full.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _short_uuid(raw: bytes) -> bytes:
    return raw[::-1].rjust(4, b"\0") + _BLUETOOTH_BASE
