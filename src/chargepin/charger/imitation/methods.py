"""What an imitated charger answers to requests, where that is not what ours answer."""

from collections.abc import Mapping
from typing import Final

from msgspec.structs import replace

from chargepin.charger.imitation.versions import Imitation, ReadPin
from chargepin.charger.stock import Action, StockMethods, TypePlate
from chargepin.charger.stock.call import Call, Changed, ErrorCode, Flat, Handler, record
from chargepin.charger.stock.reads import g_mac
from chargepin.charger.stock.settings import EcoSmart, Ocpp
from chargepin.charger.stock.writes import WRITES
from chargepin.core.bapi import Kind, Request, encode_error, encode_reply, method_of
from chargepin.core.gatt import Layout
from chargepin.core.passcode import Passcode

PIN_VERSION: Final = 3
_MESSAGES: Final[Mapping[ErrorCode, str]] = {
    ErrorCode.NO_METHOD: "No dispatch method found",
    ErrorCode.NOT_SUPPORTED: "Not supported",
    ErrorCode.NOT_NOW: "Not possible",
}
_ERROR_OF: Final[Mapping[ReadPin, ErrorCode]] = {
    ReadPin.NO_METHOD: ErrorCode.NO_METHOD,
    ReadPin.NOT_SUPPORTED: ErrorCode.NOT_SUPPORTED,
}
_CHARGING: Final = 1
_CONNECTED: Final = 1


class ImitatedMethods:
    """Answers every link's requests. passcode: None where none is set; it never changes here."""

    def __init__(
        self, imitation: Imitation, passcode: Passcode | None, stock: StockMethods
    ) -> None:
        self._imitation = imitation
        self._passcode = passcode
        self._stock = stock
        self._logged_in: set[int] = set()

    def closed(self, link: int) -> None:
        """Forget a link, and that it logged in."""
        self._logged_in.discard(link)

    def answer(
        self, link: int, request: Request, now_s: float, unix_s: int
    ) -> tuple[bytes, Action | None]:
        """Give the reply, and what is to be done after it."""
        error = self._refusal(request)
        if error is not None:
            return encode_error(request.id, error, _MESSAGES[error]), None
        if request.met == "read_pin":
            pin = self._passcode.digits if self._passcode else ""
            return encode_reply(request.id, {"pin": pin, "version": PIN_VERSION}), None
        if request.met == "set_pin":
            return self._login(link, request), None
        if self._ignores(link, request):
            return encode_reply(request.id, None), None
        return self._stock.answer(request, now_s, unix_s)

    def _refusal(self, request: Request) -> ErrorCode | None:
        if request.met in {"read_pin", "set_pin"}:
            return _ERROR_OF.get(self._imitation.read_pin)
        for refusal in self._imitation.refusals:
            if refusal.method == request.met and refusal.only in {None, _number(request.par)}:
                return refusal.code
        return None

    def _login(self, link: int, request: Request) -> bytes:
        par = request.par
        given = par.get("pin") if isinstance(par, dict) else None
        if self._passcode is None or given != self._passcode.digits:
            return encode_error(request.id, ErrorCode.WRONG_PARAMETER, "Wrong PIN")
        self._logged_in.add(link)
        return encode_reply(request.id, None)

    def _ignores(self, link: int, request: Request) -> bool:
        gated = self._imitation.writes_after_set_pin and self._passcode is not None
        write = method_of(request.met).kind is Kind.WRITE and self._stock.knows(request.met)
        return gated and write and link not in self._logged_in


def _number(par: object) -> int | None:
    return par if isinstance(par, int) else None


def handlers(imitation: Imitation, plate: TypePlate) -> Mapping[str, Handler]:
    """The handlers of stock methods that this software has of its own."""

    def versions(call: Call) -> Flat:
        shown, project = imitation.shown, call.plate.family.project_code
        return Flat({"c": "1", "db": "1", "fw": shown, "p": project, "r": "1", "s": shown})

    def toggle(call: Call) -> object:
        if call.reading.status == _CHARGING:
            call.hardware.pause(call.now_s)
        else:
            call.hardware.start(call.now_s)
        return None

    own: dict[str, Handler] = {"fw_v_": versions}
    if imitation.w_cha_toggles:
        own["w_cha"] = toggle
    if plate.layout is not Layout.ZENTRI:  # those have Bluetooth alone
        own |= {"gnsta": _networks, "gwsta": lambda _: _CONNECTED, "s_ocpp": _with_password}
        own["s_ecos"] = _off_in_two_steps
    if "s_sch" not in plate.dialect.unknown:
        own["s_sch"] = _no_times_as_text
    return own


def _with_password(call: Call) -> Changed:
    """Keep the back office's password, for `g_ocpp` to tell."""
    return Changed(replace(call.settings, ocpp=record(call, Ocpp)), 0)


def _off_in_two_steps(call: Call) -> object:
    """Switch Eco-Smart off only where it is not on the sun alone."""
    now, wanted = call.settings.eco_smart, record(call, EcoSmart)
    return 0 if now.ese and now.esm and not wanted.ese else WRITES["s_ecos"](call)


def _no_times_as_text(call: Call) -> object:
    """Take a schedule whose times are texts, and keep nothing of it."""
    entries = call.par.get("schedules") if isinstance(call.par, dict) else None
    for entry in entries if isinstance(entries, list) else ():
        times = (entry.get("start"), entry.get("stop")) if isinstance(entry, dict) else ()
        if any(isinstance(time, str) for time in times):
            return 0
    return WRITES["s_sch"](call)


def _networks(call: Call) -> object:
    """One Wi-Fi network, in the form that is known. Its addresses are those for documents."""
    addresses = g_mac(call).members
    return [
        {
            "ssid": "home",
            "ip": "192.0.2.10",  # RFC 5737
            "gateway": "192.0.2.1",
            "netmask": "255.255.255.0",
            "dns1": "192.0.2.1",
            "dns2": "",
            "mac": addresses["wlan_mac"],
            "channel": 6,
            "signal": 70,
            "type": "wlan",
        }
    ]
