"""The app's half of the stock service on one link: frames out, bare JSON back, one at a time.

Chargers with the maker's own software answer a write that they ignored as if it were done, so
that writes are read back; and some ignore writes until the connection has logged in with the
passcode that they themselves tell (`read_pin`, then `set_pin` with that very one).
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping
from enum import Enum

from chargepin.app.errors import (
    ChargepinError,
    ChargerRefused,
    Ignored,
    LinkLost,
    MakersAppNeeded,
    NotAnswered,
    PasscodeNeeded,
    ProtocolError,
)
from chargepin.app.ports import PAIR_IN_SETTINGS, AttRefused, Link
from chargepin.app.readback import READ_BACK, ReadBack, by_zentri
from chargepin.app.session import refused
from chargepin.core import bapi, gatt
from chargepin.core.gatt import Layout, StockService

CHUNK_BYTES = 20  # what every radio module accepts
ANSWER_WITHIN_S = 5.0
LOGIN_WITHIN_S = 2.0
LOOK_AGAIN_S = 0.5
_WANTS_PAIRING = (0x05, 0x0F)  # insufficient authentication, encryption
_NO_WINDOW = 0x08  # insufficient authorization: a charger of this project, to who may not pair now


class Login(Enum):
    """How far this connection got with the charger's own passcode login."""

    NOT_TRIED = "not tried"
    NOT_NEEDED = "not needed"
    DONE = "done"
    REFUSED = "refused"


class StockSession:
    """One link's stock service. name: the charger's.

    unanswered: whether a write was given up before its answer. Raises LinkLost, NotAnswered,
    PasscodeNeeded, Ignored, ChargerRefused and ProtocolError.
    """

    def __init__(self, link: Link, name: str = "The charger") -> None:
        layout = gatt.layout_of(link.characteristics)
        if layout is None:
            raise ProtocolError(f"{name} is no charger: it has none of the services of one.")
        self.unanswered = False
        self._layout: Layout = layout
        self._service: StockService = layout.stock
        self._link = link
        self._name = name
        self._unpaired: ChargerRefused | None = None
        self._paired_again = False
        self._login = Login.NOT_TRIED
        self._heard_once = False
        self._replies = bapi.ReplyAssembler()
        self._heard: asyncio.Queue[bapi.Reply | None] = asyncio.Queue()
        self._ids = itertools.count(1)
        self._one_at_a_time = asyncio.Lock()

    async def begin(self) -> None:
        """Secure the link where the module needs it, subscribe, switch to streaming.

        A charger that does not pair may work all the same: only what it then refuses counts.
        """
        self._link.on_close(lambda: self._heard.put_nowait(None))
        if self._service.needs_encryption:
            try:
                await self._link.pair()
            except ChargerRefused as refusal:
                if self._link.closed:  # some systems hang up on who would not pair
                    raise PasscodeNeeded(
                        f"{self._name} does not pair without its 6-digit passcode, or not now:"
                        f" {_enter(self._name)}. Nothing was changed."
                    ) from refusal
                self._unpaired = refusal
        await self._insist(lambda: self._link.subscribe(self._service.notify.uuid, self._take))
        mode = self._service.mode
        if mode is not None:
            stream = bytes([gatt.Mode.STREAM])
            await self._insist(lambda: self._link.write(mode.uuid, stream, response=True))

    async def request(self, method: str, par: object = None) -> object:
        """Call a method; returns the reply's value, None both for "done" and for "ignored"."""
        return await self._request(method, par, ANSWER_WITHIN_S)

    async def change(self, method: str, par: object) -> object:
        """Call a method that may change something, and read back whether it did."""
        if method == "set_pin":
            return await self._set_pin_again(par)
        if self._login is Login.NOT_TRIED:
            await self._log_in()
        back = READ_BACK.get(method)
        if back is not None and back.already is not None:
            read, _ = back.reads[0]
            if back.already(par, await self._look(read)):
                return None
        value = await self.request(method, par)
        if value is not None or back is None or await self._took_effect(method, par, back):
            return value
        if back.repeatable and self._login is Login.DONE:
            await self._log_in()  # some forget it while the connection lasts
            await self.request(method, par)
            if await self._took_effect(method, par, back):
                return value
        raise self._ignored(method, back)

    async def has_passcode(self) -> bool | None:
        """Whether the charger has one, None where it does not tell."""
        try:
            value = await self._request("read_pin", None, LOGIN_WITHIN_S)
        except (ChargerRefused, NotAnswered):
            return None
        return bool(value.get("pin")) if isinstance(value, Mapping) else None

    async def keep_alive(self) -> None:
        """Ask the smallest thing that this module's chargers answer; an error will do."""
        try:
            await self.request(self._liveness)
        except ChargerRefused:
            return

    # ---- one request ----------------------------------------------------------------------

    async def _request(self, method: str, par: object, within_s: float) -> object:
        async with self._one_at_a_time:
            try:
                reply = await self._asked(method, par, within_s)
            except TimeoutError:
                raise await self._silence(method) from None
        if reply.error is not None:
            raise refused(reply.error)
        return reply.value

    async def _asked(self, method: str, par: object, within_s: float) -> bapi.Reply:
        """Send and wait. Raises TimeoutError."""
        changes = _changes(method)
        number = next(self._ids)
        try:
            frame = bapi.encode_request(method, par, number)
        except bapi.BapiError as error:
            raise ProtocolError(f"The request cannot be sent: {error}.") from error
        try:
            await self._insist(lambda: self._write(frame, within_s))
            async with asyncio.timeout(within_s):
                while (reply := await self._heard.get()) is not None:
                    if reply.id == number:  # a late reply to an earlier request is dropped
                        self._heard_once = True
                        return reply
        except TimeoutError:
            self._replies.clear()
            raise
        except asyncio.CancelledError:
            self.unanswered = changes
            raise
        raise _lost(self._name, may_have_happened=changes)

    async def _write(self, frame: bytes, within_s: float) -> None:
        async with asyncio.timeout(within_s):
            for start in range(0, len(frame), CHUNK_BYTES):
                chunk = frame[start : start + CHUNK_BYTES]
                await self._link.write(self._service.write.uuid, chunk, response=True)

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do it; if the charger wants another pairing than the one there is, pair once more.

        A pairing from before the passcode was set, or with a passcode that has changed since,
        would else stand in the way for ever. Where none was made, because such modules have none,
        one is.
        """
        try:
            await work()
        except AttRefused as refusal:
            if refusal.error not in _WANTS_PAIRING or self._paired_again:
                raise self._closed(refusal) from refusal
            self._paired_again = True
            try:
                await self._link.pair(again=self._service.needs_encryption)
                await work()
            except AttRefused as error:
                raise self._closed(refusal) from error
            except ChargerRefused as error:
                how = str(error) if error.refusal == PAIR_IN_SETTINGS else _enter(self._name)
                raise self._closed(refusal, how) from error

    async def _silence(self, method: str) -> ChargepinError:
        """No answer came: find out whether the charger answers at all; a dead link is closed."""
        changes = _changes(method)
        alive = False
        if method != self._liveness:
            try:
                await self._asked(self._liveness, None, ANSWER_WITHIN_S)
                alive = True
            except (TimeoutError, LinkLost):
                pass
        if alive:
            return NotAnswered(
                f"{self._name} answers, but not to {method}: its software does not know that"
                " method, or keeps silent about it.",
                may_have_happened=changes,
            )
        await self._link.close()
        if self._heard_once:
            return _lost(self._name, may_have_happened=changes)
        return PasscodeNeeded(
            f"{self._name} is connected and answers nothing. Chargers do that to phones that have"
            f" not paired with their passcode: {_enter(self._name)}. If it is paired, switch the"
            " charger off and on.",
            may_have_happened=changes,
        )

    @property
    def _liveness(self) -> str:
        return "ping" if self._layout is Layout.UBLOX else "r_dat"

    def _take(self, chunk: bytes) -> None:
        try:
            found = self._replies.feed(chunk)
        except bapi.BapiError:
            return  # noise without an end; the request it spoils times out
        for raw in found:
            try:
                self._heard.put_nowait(bapi.decode_reply(raw))
            except bapi.BapiError:
                continue

    # ---- writes ---------------------------------------------------------------------------

    async def _took_effect(self, method: str, par: object, back: ReadBack) -> bool:
        """Look until it shows. What no read of this charger tells is taken for done."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + back.within_s
        try:
            while True:
                shown = await self._shown(par, back)
                if shown is not False:
                    return True
                if loop.time() >= until_s:
                    return False
                await asyncio.sleep(LOOK_AGAIN_S)
        except LinkLost as lost:
            raise LinkLost(
                f"{self._name} took {method}, and the connection broke off before its effect could"
                " be read back.",
                may_have_happened=True,
                retry_after_s=0.0,
            ) from lost

    async def _shown(self, par: object, back: ReadBack) -> bool | None:
        for read, shows in back.reads:
            try:
                return shows(par, await self._look(read))
            except (ChargerRefused, NotAnswered):
                continue  # this charger does not know it
        return None

    async def _look(self, read: str) -> object:
        value = await self.request(read)
        return by_zentri(value) if self._layout is Layout.ZENTRI else value

    def _ignored(self, method: str, back: ReadBack) -> Ignored:
        reads = back.reads[0][0]
        match self._login:
            case Login.DONE:
                why = (
                    "It has a passcode and this app has logged in with it, so its settings, its"
                    " state or your rights in the maker's app may not allow it now"
                )
            case Login.REFUSED:
                why = f"It has a passcode and did not take this app's login: {_enter(self._name)}"
            case _ if self._unpaired is not None:
                why = f"It did not pair with this app, as it wants before: {_enter(self._name)}"
            case _:
                why = (
                    "Most likely it wants this app to be paired with its passcode first:"
                    f" {_enter(self._name)}; or its state does not allow it now"
                )
        slow = " It may still do it by itself." if not back.repeatable else ""
        return Ignored(
            f"{self._name} ignored {method}: it answered, but {reads} shows that nothing has"
            f" changed. {why}.{slow}",
            reads=reads,
            may_have_happened=not back.repeatable,
        )

    # ---- the passcode login ---------------------------------------------------------------

    async def _log_in(self) -> None:
        """Hand the charger the passcode that it has told, and never another one.

        What `set_pin` does with another one is not known. The passcode is neither kept nor shown.
        """
        told = await self._told_pin()
        if told is None:
            self._login = Login.NOT_NEEDED
            return
        try:
            await self._request("set_pin", told, LOGIN_WITHIN_S)
            self._login = Login.DONE
        except (ChargerRefused, NotAnswered):
            self._login = Login.REFUSED

    async def _told_pin(self) -> dict[str, object] | None:
        """What the charger says that its passcode is; None if it has none or does not tell."""
        try:
            value = await self._request("read_pin", None, LOGIN_WITHIN_S)
        except (ChargerRefused, NotAnswered):
            return None
        pin = value.get("pin") if isinstance(value, Mapping) else None
        if not isinstance(value, Mapping) or not isinstance(pin, str) or not pin:
            return None
        return {"pin": pin, "version": value.get("version")}

    async def _set_pin_again(self, par: object) -> object:
        """Somebody calls `set_pin` by hand: only what changes nothing is sent."""
        told = await self._told_pin()
        given = par.get("pin") if isinstance(par, Mapping) else None
        if told is None or given != told["pin"]:
            raise MakersAppNeeded(
                f"set_pin was not sent: that is not what {self._name} has, and nobody knows what it"
                " does with another passcode. Passcodes are set in the maker's app."
            )
        return await self.request("set_pin", told)

    def _closed(self, error: AttRefused, how: str | None = None) -> ChargepinError:
        if error.error == _NO_WINDOW:
            return ChargerRefused(
                f"{self._name} lets phones without this app pair only while its owner shows a code:"
                f" `chargepin pairing open {self._name}`. Nothing was changed.",
                refusal=_NO_WINDOW,
            )
        if error.error in _WANTS_PAIRING:
            return PasscodeNeeded(
                f"{self._name} wants to be paired with its 6-digit passcode before it answers"
                f" ({error}): {how or _enter(self._name)}. Nothing was changed."
            )
        return ProtocolError(f"{self._name} does not take what is written: {error}.")


def _changes(method: str) -> bool:
    return bapi.method_of(method).kind is bapi.Kind.WRITE


def _enter(name: str) -> str:
    return f"run `chargepin passcode enter {name}`; the maker's app shows the passcode"


def _lost(name: str, *, may_have_happened: bool) -> LinkLost:
    return LinkLost(
        f"{name} does not answer any more: the connection is dead.",
        may_have_happened=may_have_happened,
        retry_after_s=0.0,
    )
