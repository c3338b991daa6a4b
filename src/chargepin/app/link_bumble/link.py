"""One connection to one charger: GATT requests, notifications, pairing, and how it ends."""

import asyncio
import logging
import struct
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, NoReturn, TypeVar

from bumble import att, core, gatt, hci
from bumble.device import Connection

from chargepin.app.errors import (
    LinkLost,
    ProtocolError,
)
from chargepin.app.link_bumble.asking import Asking
from chargepin.app.link_bumble.endings import ENDINGS
from chargepin.app.ports import AttRefused
from chargepin.app.unattended import as_given, call, look_at

_log = logging.getLogger(__name__)
_T = TypeVar("_T")

WANTED_MTU = 247
_PATIENCE_S = 2.0
_PAIRING_WITHIN_S = 30.0  # Core Vol 3, Part H, 3.4
_LAST_HANDLE = 0xFFFF
_DECLARATION_BYTES = (5, 19)  # properties, value handle, UUID of 2 or 16 bytes
_NOTIFY, _INDICATE = 0x10, 0x20


@dataclass(slots=True)
class _Found:
    """A characteristic of the charger. end: last handle that can be a descriptor of it."""

    properties: int
    handle: int
    end: int = _LAST_HANDLE


class BumbleLink:
    """Implements chargepin.app.ports.Link. Made by BumbleRadio.connect.

    asking: gives the number that the charger may want typed.
    """

    def __init__(
        self,
        connection: Connection,
        name: str,
        asking: Asking,
    ) -> None:
        self._connection = connection
        self._client = connection.gatt_client
        self._name = name
        self.asking = asking
        self._found: dict[str, _Found] = {}
        self._running: set[asyncio.Task[Any]] = set()
        self._asked: set[asyncio.Task[Any]] = set()
        self._on_close: list[Callable[[], None]] = []
        self._ending: str | None = None
        self._reason = 0
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        connection.on(connection.EVENT_DISCONNECTION, self._disconnected)
        if connection.device.connections.get(connection.handle) is not connection:
            self._disconnected(0)  # it was gone before anybody looked

    # What the port promises

    @property
    def att_mtu(self) -> int:
        """Bytes, header of 3 included."""
        return self._connection.att_mtu

    @property
    def characteristics(self) -> frozenset[str]:
        """Lower case UUIDs of every characteristic found."""
        return frozenset(self._found)

    @property
    def closed(self) -> bool:
        """Whether the connection is gone."""
        return self._gone.done()

    async def read(self, uuid: str) -> bytes:
        """Read a whole value, in parts where it is longer than one answer."""
        handle = self._characteristic(uuid).handle
        answer = await self._ask(att.ATT_Read_Request(attribute_handle=handle))
        value = _answered(answer, att.ATT_Read_Response).attribute_value
        part = value
        while len(part) == self.att_mtu - 1:
            request = att.ATT_Read_Blob_Request(attribute_handle=handle, value_offset=len(value))
            try:
                answer = await self._ask(request)
            except AttRefused as refusal:
                if refusal.error in (
                    att.ATT_ATTRIBUTE_NOT_LONG_ERROR,
                    att.ATT_INVALID_OFFSET_ERROR,
                ):
                    break  # it ended exactly with the part before
                raise
            part = _answered(answer, att.ATT_Read_Blob_Response).part_attribute_value
            value += part
        return bytes(value)

    async def write(self, uuid: str, value: bytes, *, response: bool) -> None:
        """Write one chunk. Raises ValueError for one that is too long for this link."""
        handle = self._characteristic(uuid).handle
        if len(value) > self.att_mtu - 3:
            raise ValueError(f"{len(value)} bytes do not fit an ATT MTU of {self.att_mtu}")
        if response:
            request = att.ATT_Write_Request(attribute_handle=handle, attribute_value=value)
            _answered(await self._ask(request, changes=True), att.ATT_Write_Response)
        else:
            command = att.ATT_Write_Command(attribute_handle=handle, attribute_value=value)
            self._client.send_gatt_pdu(bytes(command))

    async def subscribe(self, uuid: str, callback: Callable[[bytes], None]) -> None:
        """Call back within the turn in which a notification arrives, until the link closes."""
        found = self._characteristic(uuid)
        configuration, told = await self._configuration_of(found), as_given(callback)

        def heard(value: bytes) -> None:
            if not self.closed:
                call(told, bytes(value))

        notified = found.properties & _NOTIFY
        subscribers = (
            self._client.notification_subscribers
            if notified
            else self._client.indication_subscribers
        )
        subscribers.setdefault(found.handle, set()).add(heard)
        request = att.ATT_Write_Request(
            attribute_handle=configuration,
            attribute_value=struct.pack("<H", 1 if notified else 2),
        )
        try:
            _answered(await self._ask(request, changes=True), att.ATT_Write_Response)
        except BaseException:
            subscribers[found.handle].discard(heard)
            raise

    async def pair(self, *, again: bool = False) -> None:
        """LE Secure Connections; nothing on a link that is encrypted already.

        By a number where the charger wants one. Raises ChargerRefused when the charger does not
        pair now, PasscodeWrong when it did not take the number, Cancelled when the person said no.
        """
        self._check()
        if again:
            self.asking.check()
        if self._connection.is_encrypted and not again:
            return
        try:
            async with asyncio.timeout(_PAIRING_WITHIN_S):
                await self._request(self._connection.pair(), changes=True)
        except TimeoutError:
            await self.close()
            raise LinkLost(
                f"{self._name} did not finish pairing within {_PAIRING_WITHIN_S:.0f} s. Try again.",
                retry_after_s=0.0,
            ) from None
        except core.ProtocolError as error:
            raise self.asking.failed(error.error_name) from error

    def is_on(self, connection: Connection) -> bool:
        """Whether this is the link of that connection."""
        return self._connection is connection

    def on_close(self, callback: Callable[[], None]) -> None:
        """Call back once when the link is gone, at once if it is already."""
        if self.closed:
            call(callback)
        else:
            self._on_close.append(as_given(callback))

    async def close(self) -> None:
        """Hang up; the charger is told."""
        if self.closed:
            return
        if self._ending is None:
            self._ending = ENDINGS[hci.HCI_CONNECTION_TERMINATED_BY_LOCAL_HOST_ERROR]
            self._start(self._connection.disconnect())
        await asyncio.wait([self._gone], timeout=_PATIENCE_S)
        if not self.closed:
            self._disconnected(0)  # the adapter does not answer: there is nothing to wait for

    # Setting up

    async def prepare(self) -> None:
        """Agree on a longer MTU and find the characteristics. Raises as the port's methods."""
        answer = await self._ask(
            att.ATT_Exchange_MTU_Request(client_rx_mtu=WANTED_MTU), refusable=True
        )
        if isinstance(answer, att.ATT_Exchange_MTU_Response):
            agreed = max(att.ATT_DEFAULT_MTU, min(WANTED_MTU, answer.server_rx_mtu))
            self._connection.on_att_mtu_update(agreed)
        await self._discover()

    async def encrypt(self) -> bool:
        """Encrypt with the kept key. False when the charger has forgotten it."""
        try:
            await self._request(self._connection.encrypt())
        except hci.HCI_Error as error:
            if error.error_code == hci.HCI_PIN_OR_KEY_MISSING_ERROR:
                return False
            await self.close()
            raise LinkLost(
                f"The connection to {self._name} could not be encrypted ({error.error_name}).",
                retry_after_s=0.0,
            ) from error
        return True

    @property
    def key_differs(self) -> bool:
        """Whether the link ended because the charger holds another key than this app."""
        return self._reason == hci.HCI_CONNECTION_TERMINATED_DUE_TO_MIC_FAILURE_ERROR

    async def _discover(self) -> None:
        """All characteristics of all services at once: fewer requests than service by service."""
        start, previous = 1, None
        while start <= _LAST_HANDLE:
            request = att.ATT_Read_By_Type_Request(
                starting_handle=start,
                ending_handle=_LAST_HANDLE,
                attribute_type=gatt.GATT_CHARACTERISTIC_ATTRIBUTE_TYPE,
            )
            try:
                answer = await self._ask(request)
            except AttRefused as refusal:
                if refusal.error == att.ATT_ATTRIBUTE_NOT_FOUND_ERROR:
                    return
                raise
            declared = _answered(answer, att.ATT_Read_By_Type_Response).attributes
            for handle, value in declared:
                if handle < start or len(value) not in _DECLARATION_BYTES:
                    self._misbehaved()
                properties, value_handle = struct.unpack_from("<BH", value)
                found = _Found(properties, value_handle)
                if previous is not None:
                    previous.end = handle - 1
                previous = self._found.setdefault(_uuid_text(value[3:]), found)
                start = handle + 1
            if not declared:
                self._misbehaved()

    async def _configuration_of(self, found: _Found) -> int:
        """The descriptor that turns notifications on, nearly always the next handle."""
        start = found.handle + 1
        while found.properties & (_NOTIFY | _INDICATE) and start <= found.end:
            request = att.ATT_Find_Information_Request(
                starting_handle=start, ending_handle=found.end
            )
            answer = _answered(await self._ask(request), att.ATT_Find_Information_Response)
            for handle, kind in answer.information:
                if handle < start:
                    self._misbehaved()
                if kind == gatt.GATT_CLIENT_CHARACTERISTIC_CONFIGURATION_DESCRIPTOR.to_bytes():
                    return handle
                start = handle + 1
            if not answer.information:
                self._misbehaved()
        raise ProtocolError(f"{self._name} offers no notifications where they are needed.")

    # Requests and their end

    def _characteristic(self, uuid: str) -> _Found:
        self._check()
        try:
            return self._found[uuid]
        except KeyError:
            raise ProtocolError(f"{self._name} has no characteristic {uuid}.") from None

    def _check(self) -> None:
        if self._ending is not None:
            raise LinkLost(f"Not connected to {self._name}: {self._ending}", retry_after_s=0.0)

    async def _ask(
        self, request: att.ATT_PDU, *, changes: bool = False, refusable: bool = False
    ) -> att.ATT_PDU:
        """Send a request of ATT. changes: it may have taken effect though the answer is lost."""
        try:
            sent = self._client.send_request(request)
            answer: att.ATT_PDU = await self._request(sent, changes=changes, of_att=True)
        except core.TimeoutError as error:
            await self.close()
            raise LinkLost(
                f"{self._name} stopped answering.", may_have_happened=changes, retry_after_s=0.0
            ) from error
        if isinstance(answer, att.ATT_Error_Response) and not refusable:
            raise AttRefused(int(answer.error_code))
        return answer

    async def _request(
        self, work: Coroutine[Any, Any, _T], *, changes: bool = False, of_att: bool = False
    ) -> _T:
        """Wait for something of Bumble's, but not beyond the end of the link.

        It runs in its own task: a caller that gives up must not leave a request open, whose late
        answer would be taken for the next one's (ATT is strictly one by one).
        """
        if self._ending is not None:
            work.close()
            self._check()
        task = self._start(work)
        if of_att:
            self._asked.add(task)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            current = asyncio.current_task()
            if not self.closed or (current is not None and current.cancelling()):
                raise
            raise LinkLost(
                f"The connection to {self._name} broke off: {self._ending}",
                may_have_happened=changes,
                retry_after_s=0.0,
            ) from None

    def _start(self, work: Coroutine[Any, Any, _T]) -> "asyncio.Task[_T]":
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(self._asked.discard)
        task.add_done_callback(look_at)
        return task

    def _misbehaved(self) -> NoReturn:
        raise ProtocolError(f"{self._name} describes its services in a way that makes no sense.")

    def _disconnected(self, reason: int) -> None:
        """Bumble says that the link is gone; reason 0 when the adapter itself is."""
        if self.closed:
            return
        self._reason = reason
        if self._ending is None:
            self._ending = ENDINGS.get(reason, f"Bluetooth error 0x{reason:02x}.")
            if not reason:
                self._ending = "The Bluetooth adapter is gone."
        self._gone.set_result(None)
        # Not within this turn: Bumble is still telling its own futures that the link is gone.
        asyncio.get_running_loop().call_soon(self._cancel_requests)
        callbacks, self._on_close = self._on_close, []
        for callback in callbacks:
            call(callback)

    def _cancel_requests(self) -> None:
        """Of ATT only: what asks the adapter ends by itself when the link does.

        Broken off, it would leave an answer that Bumble takes for the next command's.
        """
        for task in list(self._asked):
            task.cancel()


_Answer = TypeVar("_Answer", bound=att.ATT_PDU)


def _answered(answer: att.ATT_PDU, kind: type[_Answer]) -> _Answer:
    if not isinstance(answer, kind):
        raise ProtocolError("The charger gave an answer that does not fit the question.")
    return answer


def _uuid_text(raw: bytes) -> str:
    return str(uuid.UUID(bytes=core.UUID.from_bytes(raw).to_bytes(force_128=True)[::-1]))
