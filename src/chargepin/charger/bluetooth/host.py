"""The host's end of HCI (Core Vol 4, Part E): Bumble's host, with what a charger needs of it.

Of Bumble come commands, events and the start of a controller. Data goes past it in both
directions as it is, because Bumble's parsers raise at what strangers send.
"""

import asyncio
import logging
from typing import Any, Final, Protocol

from bumble import hci
from bumble.core import BaseBumbleError
from bumble.host import Host
from bumble.transport.common import Transport

from chargepin.machine.controller import ControllerError

logger = logging.getLogger(__name__)

_COMMAND_MAX_S: Final = 5.0
_START_MAX_S: Final = 10.0
_SLOT_MS: Final = 0.625
_ALL_CHANNELS: Final = 0b111


class Listener(Protocol):
    """Whoever hears what the controller has to say. handle: the controller's for a link."""

    def opened(self, handle: int, address: hci.Address) -> None: ...

    def closed(self, handle: int, reason: int) -> None: ...

    def arrived(self, handle: int, boundary: int, data: bytes) -> None:
        """One packet of data, as the controller cut it."""

    def sent(self, handle: int, packets: int) -> None:
        """The controller got rid of so many packets."""

    def key(self, handle: int, rand: bytes, ediv: int) -> bytes | None:
        """Tell which key, if any, to encrypt with, as the peer wants to."""

    def encrypted(self, handle: int, *, encrypted: bool) -> None: ...

    def lost(self) -> None:
        """The controller is gone, or has forgotten everything."""


class ChargerHost(Host):
    """Talks to one controller, from its reset until `close`."""

    def __init__(self, transport: Transport, listener: Listener) -> None:
        super().__init__(transport.source, transport.sink)
        self._listener = listener
        self._closed = False
        self._orders: set[asyncio.Task[bool]] = set()
        self.on("le_connection", self._on_connection)
        self.on("disconnection", listener.closed)
        self.on("connection_encryption_change", self._on_encryption)
        self.on("connection_encryption_key_refresh", self._on_encryption)

    async def begin(
        self, address: hci.Address, advert: bytes, scan_response: bytes, interval_ms: float
    ) -> None:
        """Reset the controller and tell it how to advertise. Raises ControllerError."""
        interval = round(interval_ms / _SLOT_MS)
        try:
            async with asyncio.timeout(_START_MAX_S):
                await self.reset()
                for command in (
                    hci.HCI_LE_Set_Random_Address_Command(random_address=address),
                    hci.HCI_LE_Set_Advertising_Parameters_Command(
                        advertising_interval_min=interval,
                        advertising_interval_max=interval,
                        advertising_type=0,  # connectable, scannable
                        own_address_type=hci.OwnAddressType.RANDOM,
                        peer_address_type=hci.Address.ANY.address_type,
                        peer_address=hci.Address.ANY,
                        advertising_channel_map=_ALL_CHANNELS,
                        advertising_filter_policy=0,
                    ),
                    hci.HCI_LE_Set_Advertising_Data_Command(advertising_data=advert),
                    hci.HCI_LE_Set_Scan_Response_Data_Command(scan_response_data=scan_response),
                ):
                    await self.send_sync_command(command)
        except TimeoutError as error:
            raise ControllerError(
                "the Bluetooth controller does not answer; on a serial line, is its speed right?"
            ) from error
        except BaseBumbleError as error:
            raise ControllerError(f"the Bluetooth controller refused: {error}") from error

    @property
    def buffers(self) -> tuple[int, int]:
        """Bytes per packet of the controller, and how many packets it holds."""
        queue = self.le_acl_packet_queue
        assert queue is not None  # noqa: S101 - begin() has asked for it
        return queue.max_packet_size, queue.max_in_flight

    @property
    def company(self) -> int | None:
        """Who made the controller, by the number that the Bluetooth SIG gave them."""
        version = self.local_version
        return None if version is None else int(version.company_identifier)

    async def advertise(self, *, enable: bool) -> bool:
        """Switch advertising; False if the controller would not."""
        command = hci.HCI_LE_Set_Advertising_Enable_Command(advertising_enable=int(enable))
        return await self.command(command)

    def disconnect(self, handle: int) -> None:
        """End a link as its other side would see a person do it."""
        reason = hci.HCI_REMOTE_USER_TERMINATED_CONNECTION_ERROR
        command = hci.HCI_Disconnect_Command(connection_handle=handle, reason=reason)
        self.order(command)

    def order(self, command: hci.HCI_SyncCommand[Any] | hci.HCI_AsyncCommand) -> None:
        """Give a command whose outcome shows in events, if at all."""
        task = asyncio.create_task(self.command(command))
        self._orders.add(task)
        task.add_done_callback(self._orders.discard)

    async def command(self, command: hci.HCI_SyncCommand[Any] | hci.HCI_AsyncCommand) -> bool:
        """Give a command; False if the controller refused it or is gone."""
        try:
            await self.send_command(command, check_result=True, response_timeout=_COMMAND_MAX_S)
        except TimeoutError:
            self.on_transport_lost()
            return False
        except hci.HCI_Error as error:  # often only late: the link it is about has just ended
            logger.debug("%s: %s", command.name, error)
            return False
        return True

    def close(self) -> None:
        """Hear nothing more."""
        self._closed = True

    # ---- what Bumble calls ------------------------------------------------------------------

    def on_packet(self, packet: bytes) -> None:
        if not self._closed:
            super().on_packet(packet)

    def on_transport_lost(self) -> None:
        if self.pending_response is not None and not self.pending_response.done():
            self.pending_response.set_exception(TimeoutError())
        if not self._closed:
            self._listener.lost()

    def on_hci_event(self, event: hci.HCI_Event) -> None:
        if event.event_code == hci.HCI_HARDWARE_ERROR_EVENT:
            self.on_transport_lost()

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        self._listener.arrived(packet.connection_handle, packet.pb_flag, packet.data)

    def on_hci_number_of_completed_packets_event(
        self, event: hci.HCI_Number_Of_Completed_Packets_Event
    ) -> None:
        super().on_hci_number_of_completed_packets_event(event)
        counts = zip(event.connection_handles, event.num_completed_packets, strict=True)
        for handle, packets in counts:
            self._listener.sent(handle, packets)

    def on_hci_le_long_term_key_request_event(
        self, event: hci.HCI_LE_Long_Term_Key_Request_Event
    ) -> None:
        handle = event.connection_handle
        key = self._listener.key(handle, event.random_number, event.encryption_diversifier)
        if key is None:
            self.order(
                hci.HCI_LE_Long_Term_Key_Request_Negative_Reply_Command(connection_handle=handle)
            )
        else:
            self.order(
                hci.HCI_LE_Long_Term_Key_Request_Reply_Command(
                    connection_handle=handle, long_term_key=key
                )
            )

    def _on_connection(self, handle: int, address: hci.Address, *_: object) -> None:
        self._listener.opened(handle, address)

    def _on_encryption(self, handle: int, enabled: int = 1, *_: object) -> None:
        self._listener.encrypted(handle, encrypted=bool(enabled))
