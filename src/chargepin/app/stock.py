"""The app's half of the stock service on one link: frames out, bare JSON back, one at a time."""

import asyncio
import itertools

from chargepin.app.errors import LinkLost, PasscodeNeeded, ProtocolError
from chargepin.app.ports import AttRefused, Link
from chargepin.app.session import refused
from chargepin.core import bapi, gatt
from chargepin.core.gatt import StockService

CHUNK_BYTES = 20  # what every radio module accepts
ANSWER_WITHIN_S = 5.0
INSUFFICIENT_AUTHENTICATION = 0x05
INSUFFICIENT_AUTHORIZATION = 0x08
INSUFFICIENT_ENCRYPTION = 0x0F


class StockSession:
    """One link's stock service. Raises LinkLost, PasscodeNeeded and ProtocolError."""

    def __init__(self, link: Link) -> None:
        layout = gatt.layout_of(link.characteristics)
        if layout is None:
            raise ProtocolError("This is no charger: it has none of the services of one.")
        self._service: StockService = layout.stock
        self._link = link
        self._replies = bapi.ReplyAssembler()
        self._heard: asyncio.Queue[bapi.Reply | None] = asyncio.Queue()
        self._ids = itertools.count(1)
        self._one_at_a_time = asyncio.Lock()

    async def begin(self) -> None:
        """Secure the link where the module needs it, subscribe, switch to streaming."""
        self._link.on_close(lambda: self._heard.put_nowait(None))
        try:
            if self._service.needs_encryption:
                await self._link.pair()
            await self._link.subscribe(self._service.notify.uuid, self._take)
            if self._service.mode is not None:
                stream = bytes([gatt.Mode.STREAM])
                await self._link.write(self._service.mode.uuid, stream, response=True)
        except AttRefused as error:
            raise _closed(error) from error

    async def request(self, method: str, par: object = None) -> object:
        """Call a method; returns the reply's value, None both for "done" and for "ignored"."""
        async with self._one_at_a_time:
            number = next(self._ids)
            frame = bapi.encode_request(method, par, number)
            try:
                for start in range(0, len(frame), CHUNK_BYTES):
                    chunk = frame[start : start + CHUNK_BYTES]
                    await self._link.write(self._service.write.uuid, chunk, response=True)
            except AttRefused as error:
                raise _closed(error) from error
            reply = await self._reply_to(number, method)
        if reply.error is not None:
            raise refused(reply.error)
        return reply.value

    async def _reply_to(self, number: int, method: str) -> bapi.Reply:
        changes = bapi.method_of(method).kind is bapi.Kind.WRITE
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                while (reply := await self._heard.get()) is not None:
                    if reply.id == number:  # a late reply to an earlier request is dropped
                        return reply
        except TimeoutError:
            self._replies.clear()
        raise LinkLost("The charger does not answer.", may_have_happened=changes, retry_after_s=0.0)

    def _take(self, chunk: bytes) -> None:
        try:
            for raw in self._replies.feed(chunk):
                self._heard.put_nowait(bapi.decode_reply(raw))
        except bapi.BapiError:
            return  # noise between replies; the request it spoils times out


def _closed(error: AttRefused) -> Exception:
    if error.error in (
        INSUFFICIENT_AUTHENTICATION,
        INSUFFICIENT_AUTHORIZATION,
        INSUFFICIENT_ENCRYPTION,
    ):
        return PasscodeNeeded(
            "The charger is closed to this connection: it wants its passcode first."
        )
    return ProtocolError(f"The charger does not take what is written: {error}.")
