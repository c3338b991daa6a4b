"""What chargers' Bluetooth adapters heard and said, read from the radio's capture.

The capture is what passed between each program and its controller (btsnoop, datalink 2001), so it
shows a connection as the charger itself had it, whatever the charger or the app say about it.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from chargepin.core import channel, gatt
from chargepin.core.identity import (
    Hello,
    IdentityError,
    MessageType,
    Params,
    Refusal,
    verify_answer,
)

_FILE_HEADER_BYTES: Final = 16
_RECORD: Final = struct.Struct(">IIIIQ")
_EVENT, _SENT, _RECEIVED = 3, 4, 5  # kinds of record
_ATT_CHANNEL: Final = 0x0004
_SMP_CHANNEL: Final = 0x0006
_CONTINUED: Final = 0b01
_PERIPHERAL: Final = 0x01

# Core Vol 4, Part E, 7.7: events of the controller.
_DISCONNECTED: Final = 0x05
_ENCRYPTION: Final = (0x08, 0x59)
_META: Final = 0x3E
_CONNECTED: Final = (0x01, 0x0A)

# Core Vol 3, Part F, 3.4: the PDUs that carry values.
_ERROR_RESPONSE: Final = 0x01
_READ_BY_TYPE_RESPONSE: Final = 0x09
_WRITES: Final = (0x12, 0x52)
_NOTIFICATION: Final = 0x1B
_DECLARATION: Final = struct.Struct("<HBH16s")

# Core Vol 3, Part H, 3.3 and 3.5.5: pairing.
_PAIRING_FAILED: Final = 0x05
_PAIRING_ROUND: Final = 0x03  # Confirm: one for each bit of a typed code


@dataclass(slots=True)
class Talk:
    """One connection of a charger. peer: the other's address as the charger saw it, upper case.

    heard, said: the ATT PDUs from and to the other side, in their order; pairing: those of SMP
    that the charger sent. encrypted: whether the link ever was.
    """

    peer: str
    heard: list[bytes] = field(default_factory=list)
    said: list[bytes] = field(default_factory=list)
    pairing: list[bytes] = field(default_factory=list)
    encrypted: bool = False
    ended: bool = False

    @property
    def pairing_refusals(self) -> list[int]:
        """Why the charger ended pairings, as numbers of SMP."""
        return [pdu[1] for pdu in self.pairing if pdu[0] == _PAIRING_FAILED]

    @property
    def pairing_rounds(self) -> int:
        """For how many bits of a typed code the charger answered."""
        return sum(pdu[0] == _PAIRING_ROUND for pdu in self.pairing)

    @property
    def att_errors(self) -> list[int]:
        """What the charger answered on ATT instead of what was asked."""
        return [pdu[4] for pdu in self.said if pdu[0] == _ERROR_RESPONSE]

    @property
    def messages(self) -> "Messages":
        """What was exchanged on the passcode service."""
        write, notify = self._handle(gatt.PASSCODE_WRITE.uuid), self._handle(_NOTIFY)
        heard = [pdu[3:] for pdu in self.heard if pdu[0] in _WRITES and _names(pdu, write)]
        said = [pdu[3:] for pdu in self.said if pdu[0] == _NOTIFICATION and _names(pdu, notify)]
        return Messages(_assembled(heard), _assembled(said))

    @property
    def notified(self) -> bool:
        """Whether the charger sent anything by itself, other than on the passcode service."""
        own = self._handle(_NOTIFY)
        return any(pdu[0] == _NOTIFICATION and not _names(pdu, own) for pdu in self.said)

    def _handle(self, uuid: str) -> int:
        """The value handle that the charger declared for a characteristic; 0 for none."""
        wanted = bytes.fromhex(uuid.replace("-", ""))[::-1]
        for pdu in self.said:
            if pdu[0] != _READ_BY_TYPE_RESPONSE or pdu[1] != _DECLARATION.size:
                continue
            whole = len(pdu) - (len(pdu) - 2) % _DECLARATION.size
            for _, _, handle, found in _DECLARATION.iter_unpack(pdu[2:whole]):
                if found == wanted:
                    return int(handle)
        return 0


_NOTIFY: Final = gatt.PASSCODE_NOTIFY.uuid


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages (type and body) that an app sent to a charger, and those that it got."""

    heard: Sequence[bytes]
    said: Sequence[bytes]

    @property
    def hellos(self) -> list[Hello]:
        """Every HELLO that can be read."""
        return [Hello.decode(m) for m in self.heard if m[0] == MessageType.HELLO and _is_hello(m)]

    @property
    def params(self) -> list[Params]:
        """Every PARAMS, as the charger signed them."""
        return [Params.decode(m) for m in self.said if m[0] == MessageType.PARAMS]

    @property
    def refusals(self) -> list[Refusal]:
        """Every REFUSAL, as the charger signed them."""
        return [Refusal.decode(m) for m in self.said if m[0] == MessageType.REFUSAL]

    def signed_by(self, identity: bytes) -> bool:
        """Whether the charger's first answer is signed, as the answer to the app's first HELLO."""
        try:
            verify_answer(identity, self.heard[0], self.said[0])
        except (IndexError, IdentityError):
            return False
        return True

    @property
    def tried(self) -> bool:
        """Whether the app sent a share, which is what costs a try."""
        return any(m[0] == MessageType.SHARE_P for m in self.heard)

    @property
    def granted(self) -> bool:
        """Whether sealed records went both ways: there are none without a proof that held."""
        both = (self.heard, self.said)
        return all(any(m[0] == MessageType.RECORD for m in side) for side in both)


def talks(capture: Path) -> list[Talk]:
    """Every connection of every charger on the radio so far, oldest first. Raises OSError."""
    found: list[Talk] = []
    held: dict[tuple[int, int], Talk] = {}
    partial: dict[tuple[int, int, int], bytes] = {}
    for adapter, kind, data in _records(capture.read_bytes()):
        if kind == _EVENT:
            _take_event(adapter, data, found, held)
        elif kind in (_SENT, _RECEIVED):
            handle, length = struct.unpack_from("<HH", data)
            talk = held.get((adapter, handle & 0x0FFF))
            if talk is None:
                continue
            key = (adapter, handle & 0x0FFF, kind)
            continued = handle >> 12 & 0b11 == _CONTINUED
            whole = (partial.get(key, b"") if continued else b"") + data[4 : 4 + length]
            partial[key] = whole
            size, cid = struct.unpack_from("<HH", whole)
            if len(whole) == 4 + size and size:
                _take_pdu(talk, kind, cid, whole[4:])
    return found


def _take_pdu(talk: Talk, kind: int, channel_id: int, pdu: bytes) -> None:
    if channel_id == _ATT_CHANNEL:
        (talk.heard if kind == _RECEIVED else talk.said).append(pdu)
    elif channel_id == _SMP_CHANNEL and kind == _SENT:
        talk.pairing.append(pdu)


def _take_event(
    adapter: int, data: bytes, found: list[Talk], held: dict[tuple[int, int], Talk]
) -> None:
    if data[0] == _META and data[2] in _CONNECTED:
        status, handle, role = struct.unpack_from("<BHB", data, 3)
        if not status and role == _PERIPHERAL:
            talk = Talk(data[8:14][::-1].hex(":").upper())
            found.append(talk)
            held[adapter, handle & 0x0FFF] = talk
    elif data[0] == _DISCONNECTED:
        (handle,) = struct.unpack_from("<H", data, 3)
        talk_ended = held.pop((adapter, handle & 0x0FFF), None)
        if talk_ended is not None:
            talk_ended.ended = True
    elif data[0] in _ENCRYPTION:
        status, handle, enabled = struct.unpack_from("<BHB", data, 2)
        changed = held.get((adapter, handle & 0x0FFF))
        if changed is not None and not status and enabled:
            changed.encrypted = True


def _records(content: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Adapter, kind and data of each record; the newest may be half written, and is left out."""
    at = _FILE_HEADER_BYTES
    while at + _RECORD.size <= len(content):
        _, length, flags, _, _ = _RECORD.unpack_from(content, at)
        at += _RECORD.size
        if at + length > len(content):
            return
        yield flags >> 16, flags & 0xFFFF, content[at : at + length]
        at += length


def _names(pdu: bytes, handle: int) -> bool:
    return handle != 0 and int.from_bytes(pdu[1:3], "little") == handle


def _assembled(chunks: Sequence[bytes]) -> list[bytes]:
    assembler = channel.Assembler()
    messages: list[bytes] = []
    try:
        for chunk in chunks:
            messages += assembler.feed(chunk)
    except channel.ChannelError:
        pass  # whatever came after that was not a message
    return messages


def _is_hello(message: bytes) -> bool:
    try:
        Hello.decode(message)
    except IdentityError:
        return False
    return True
