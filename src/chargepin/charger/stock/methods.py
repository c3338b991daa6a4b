"""Answering requests by the tables, and keeping what they change."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec

from chargepin.charger.ports import (
    Hardware,
    HardwareState,
    NotPossible,
    Store,
    StoreFailed,
    Updates,
)
from chargepin.charger.stock.call import (
    UNEXPECTED,
    Action,
    Call,
    Changed,
    ErrorCode,
    Flat,
    Handler,
    Refused,
    TypePlate,
    no_method,
    not_supported,
)
from chargepin.charger.stock.dialect import Dialect
from chargepin.charger.stock.reads import READS
from chargepin.charger.stock.settings import StockSettings
from chargepin.charger.stock.writes import WRITES
from chargepin.core.bapi import Request, encode_error, encode_flat, encode_reply
from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.gatt import Layout

KEEP_EVERY_S = 600.0
"""How much metering a power cut may cost at most, while somebody is connected."""

_HANDLERS: Mapping[str, Handler] = MappingProxyType({**READS, **WRITES})
_NONE: Mapping[str, Handler] = MappingProxyType({})
_WRONG = ErrorCode.WRONG_PARAMETER
_SETTINGS = "stock settings"
_HARDWARE = "hardware"

_Kept = TypeVar("_Kept", StockSettings, HardwareState)


class StockMethods:
    """Answers the stock methods of one charger.

    settings is what survives a restart besides the power side's state. instead: handlers that go
    before the usual ones of the same name. bare: what is wrong with a parameter is not told, as
    real chargers do not. Whether the caller may call a method is not looked at here.
    """

    def __init__(
        self,
        plate: TypePlate,
        hardware: Hardware,
        updates: Updates,
        settings: StockSettings,
        *,
        now_s: float = 0.0,
        instead: Mapping[str, Handler] = _NONE,
        bare: bool = False,
    ) -> None:
        hardware.obey(now_s, settings.rules)
        self.settings = settings
        self._handlers = {**_HANDLERS, **_missing(plate.dialect), **instead}
        self._bare = bare
        self.update_wish: str | None = None
        self._plate = plate
        self._hardware = hardware
        self._updates = updates
        self._changed = False
        self._kept_s: float | None = None

    @property
    def layout(self) -> Layout:
        """The radio module."""
        return self._plate.layout

    def knows(self, method: str) -> bool:
        """Whether it is answered with anything but "No dispatch method found"."""
        return self._handlers.get(method, no_method) is not no_method

    def answer(self, request: Request, now_s: float, unix_s: int) -> tuple[bytes, Action | None]:
        """Give the reply to send, and what is to be done after it. Never raises.

        With Action.UPDATE, update_wish is the version that was asked for, None for the newest.
        """
        _ = unix_s  # no stock method needs it: the power side dates its sessions itself
        handler = self._handlers.get(request.met, no_method)
        plate, hardware, updates = self._plate, self._hardware, self._updates
        call = Call(request.par, now_s, plate, hardware, updates, self.settings)
        try:
            outcome = handler(call)
        except Refused as refused:
            told = UNEXPECTED if self._bare and refused.code is _WRONG else str(refused)
            return encode_error(request.id, refused.code, told), None
        except NotPossible as error:
            return encode_error(request.id, ErrorCode.NOT_NOW, str(error)), None
        match outcome:
            case Changed(settings, value, action, version):
                self.settings = settings
                hardware.obey(now_s, settings.rules)
                self.update_wish = version
                self._changed = True
                return self._encoded(request, value), action
            case Flat(members):
                return encode_flat(request.id, members), None
            case value:
                return self._encoded(request, value), None

    def _encoded(self, request: Request, value: object) -> bytes:
        return encode_reply(request.id, value, value_first=self._plate.dialect.value_first)

    def keep(self, store: Store, now_s: float, *, at_once: bool = False) -> None:
        """Store settings and power side if something was changed, else every ten minutes.

        at_once: in any case, as before the program ends. Raises StoreFailed; then the next call
        tries again.
        """
        due = self._kept_s is None or now_s - self._kept_s >= KEEP_EVERY_S
        if not (self._changed or due or at_once):
            return
        self._changed = False  # before it is read: a change during the writing counts again
        try:
            store.put(_HARDWARE, msgspec.json.encode(self._hardware.state(now_s)))
            store.put(_SETTINGS, msgspec.json.encode(self.settings))
        except StoreFailed:
            self._changed = True
            raise
        self._kept_s = now_s

    def without_persons(self, now_s: float) -> Mapping[str, bytes]:
        """What `forget_persons` would leave, to be put with the change that asks for it."""
        settings = self.settings.without_persons
        state = msgspec.structs.replace(
            self._hardware.state(now_s), sessions=(), rules=settings.rules
        )
        return {_HARDWARE: msgspec.json.encode(state), _SETTINGS: msgspec.json.encode(settings)}

    def forget_persons(self, now_s: float) -> None:
        """Forget who charged, and when: sessions, schedules, the back office."""
        self.settings = self.settings.without_persons
        self._hardware.forget_sessions(now_s)
        self._hardware.obey(now_s, self.settings.rules)


def _missing(dialect: Dialect) -> Mapping[str, Handler]:
    """Handlers for what this charger does not have."""
    unsupported = dict.fromkeys(dialect.unsupported, not_supported)
    return {**unsupported, **dict.fromkeys(dialect.unknown, no_method)}


def kept_settings(store: Store) -> StockSettings:
    """What `keep` has stored, or a new charger's settings. Raises StoreFailed."""
    return _kept(store, _SETTINGS, StockSettings)


def kept_hardware(store: Store) -> HardwareState:
    """What `keep` has stored, or a new charger's power side. Raises StoreFailed."""
    return _kept(store, _HARDWARE, HardwareState)


def _kept(store: Store, name: str, kind: type[_Kept]) -> _Kept:
    raw = store.get(name)
    if raw is None:
        return kind()
    try:
        return decoded(raw, kind)
    except Undecodable:
        store.put(f"{name} that could not be read", raw)
        return kind()
