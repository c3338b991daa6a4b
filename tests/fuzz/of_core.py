"""Targets in the core: what decodes bytes and texts without doing anything with them."""

from contextlib import suppress
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from chargepin.core import bapi, channel, gatt, handshake, log, messages, release
from chargepin.core.bonds import clean_name
from chargepin.core.catalogue import Version, family_of, name_of, serial_of
from chargepin.core.identity import (
    Claim,
    Hello,
    Hint,
    IdentityError,
    MessageType,
    Params,
    Receipt,
    Refusal,
    decode_share_v,
    verify_answer,
)
from chargepin.core.passcode import Passcode, PasscodeFormatError, entered
from fuzz.driver import Target, hold, plain

JSON_WORDS: Final = (
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"\\", b"null", b"true", b"false", b"1e400"),
    *(b'"id":', b'"r":', b'"ev":', b'"error":', b'"code":', b'"met":', b'"par":', b"\\ud800"),
    *(b"[" * 1500, b'{"a":' * 500, b"-0", b"1.5", b"9" * 400, b"\xff", b"\xc3\xa9", b"\\u0000"),
)
KEY: Final = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
IDENTITY: Final = KEY.public_key().public_bytes_raw()


def cuts(data: bytes) -> tuple[bytes, list[bytes]]:
    """A stream, and the same in pieces whose sizes its first byte gives."""
    stream, size = data[1:], data[0] % 29 + 1 if data else 1
    return stream, [stream[at : at + size] for at in range(0, len(stream), size)]


# ---- streams -------------------------------------------------------------------------------------


def _request_frames(data: bytes) -> None:
    stream, pieces = cuts(data)
    whole, cut = bapi.RequestAssembler(), bapi.RequestAssembler()
    found = whole.feed(stream)
    hold("found however it is cut", held=[r for p in pieces for r in cut.feed(p)] == found)
    longest = bapi.REQUEST_MAX_BYTES
    hold("no more than one request waits", held=len(cut._buffer) <= longest + 64)
    for raw in found:
        hold("no request is longer", held=0 < len(raw) <= longest)
        with suppress(bapi.BapiError):
            request = bapi.decode_request(raw)
            frame = bapi.encode_request(request.met, request.par, request.id)
            (again,) = bapi.RequestAssembler().feed(frame)
            hold("round trip", held=bapi.decode_request(again) == request)
    with suppress(bapi.BapiError):
        bapi.decode_request(stream)


def _replies(data: bytes) -> None:
    stream, pieces = cuts(data)
    assembler = bapi.ReplyAssembler()
    for piece in pieces:
        with suppress(bapi.BapiError):
            for raw in assembler.feed(piece):
                with suppress(bapi.BapiError):
                    bapi.decode_reply(raw)
        hold("bounded", held=len(assembler._buffer) <= bapi.REPLY_MAX_BYTES)
    with suppress(bapi.BapiError):
        heard = bapi.decode_reply_or_event(stream)
        if isinstance(heard, bapi.Reply):
            hold("an error has no value", held=heard.error is None or heard.value is None)
            bapi.method_of(str(heard.value))


def _fed(assembler: channel.Assembler, pieces: list[bytes]) -> tuple[list[bytes], bool]:
    found: list[bytes] = []
    try:
        for piece in pieces:
            found += assembler.feed(piece)
            hold("bounded", held=len(assembler._buffer) <= channel.LONGEST_MESSAGE + 2)
    except channel.ChannelError:
        return found, False
    return found, True


def _channel_stream(data: bytes) -> None:
    stream, pieces = cuts(data)
    cut, cut_whole = _fed(channel.Assembler(), pieces)
    bytewise, whole = _fed(channel.Assembler(), [bytes([byte]) for byte in stream])
    hold("a stream breaks however it is cut", held=cut_whole == whole)
    hold("the same messages come out", held=cut == bytewise[: len(cut)])
    again = b"".join(map(channel.encode, bytewise))
    hold("round trip", held=stream.startswith(again))
    if not whole:
        assembler = channel.Assembler()
        _fed(assembler, pieces)
        hold("broken for good", held=_fed(assembler, [channel.encode(b"x")]) == ([], False))


RECORD_KEY: Final = bytes(range(channel.KEY_BYTES))


def _records(data: bytes) -> None:
    """Two good records, one of ours of the other direction, and what the data makes of them."""
    ways = channel.Direction
    sealer = channel.Sealer(RECORD_KEY, ways.APP_TO_CHARGER)
    sealed = [sealer.seal(plain_text) for plain_text in (b'{"a":1}', b"", b"x" * 40)]
    sealed.append(channel.Sealer(RECORD_KEY, ways.CHARGER_TO_APP).seal(b'{"a":1}'))
    opener = channel.Opener(RECORD_KEY, ways.APP_TO_CHARGER)
    opened, dead = 0, False
    for which, at, change in zip(data[::3], data[1::3], data[2::3], strict=False):
        message = bytearray(sealed[which] if which < len(sealed) else data)
        if change and message:
            message[at % len(message)] ^= change
        try:
            opener.open(bytes(message))
        except channel.ChannelError:
            dead = True
        else:
            hold("only the next record opens", held=not dead and not change and which == opened)
            opened += 1


# ---- messages ------------------------------------------------------------------------------------


def _messages(data: bytes) -> None:
    for kind in (Hint, Hello, Params, Refusal, Receipt, Claim):
        with suppress(IdentityError):
            decoded = kind.decode(data)
            hold("round trip", held=decoded.encode() == data)
    with suppress(IdentityError):
        share, confirmation = decode_share_v(data)
        message = bytes([MessageType.SHARE_V]) + share + confirmation
        hold("round trip", held=message == data)
    with suppress(IdentityError):
        verify_answer(IDENTITY, b"hello", data)
        raise AssertionError("a signature was made up")


# ---- the handshake -------------------------------------------------------------------------------

_VERIFIER: Final = handshake.verifier_of(handshake.open_witness(IDENTITY))
_WITNESS: Final = handshake.open_witness(IDENTITY)
_SCALAR: Final = bytes(range(48))


def _handshake(data: bytes) -> None:
    """Shares, confirmations, verifiers and what leads to them."""
    with suppress(handshake.HandshakeError):
        response = handshake.respond(_VERIFIER, IDENTITY, data, data[:65], _SCALAR)
        hold("nothing is confirmed by chance", held=not response.confirmed_by(data[65:97]))
    with suppress(handshake.HandshakeError):
        prover = handshake.Prover(_WITNESS, IDENTITY, _SCALAR)
        prover.finish(handshake.context(data, data), data[:65], data[65:97])
        raise AssertionError("a charger proved a secret that it was not given")
    with suppress(handshake.HandshakeError):
        hold("round trip", held=handshake.Verifier.decode(data).encode() == data)
    with suppress(handshake.HandshakeError):
        handshake.verifier_of(handshake.Witness(data[:32], data[32:]))
    with suppress(handshake.HandshakeError):
        handshake.bond_tag(data[:32], data[32:40], data[40:])
    with suppress(handshake.HandshakeError):
        handshake.bond_tag_key(data[:32], data[32:])


# ---- what is heard, typed or read ----------------------------------------------------------------


def _advertising(data: bytes) -> None:
    split = data[0] if data else 0
    heard = gatt.parse_advertising(data[1 : 1 + split], data[1 + split :])
    hold("as much text as was sent", held=len(heard.name) <= len(data))
    hold("as many services", held=len(heard.services) <= len(data))
    gatt.layout_of(heard.services)
    with suppress(ValueError):
        packets = gatt.advertising(gatt.Layout.BGX, heard.name, passcode=True)
        again = gatt.parse_advertising(*packets)
        hold("the name comes back", held=again.name == heard.name)
        hold("so does the passcode service", held=gatt.PASSCODE_SERVICE in again.services)


def _typed(data: bytes) -> None:
    """What people type or paste: codes, names, versions, links."""
    text = data.decode("utf-8", "surrogateescape")
    with suppress(PasscodeFormatError):
        code = entered(text)
        hold("round trip", held=entered(code.digits) == code)
    with suppress(PasscodeFormatError):
        Passcode(text)
    with suppress(ValueError):
        hold("round trip", held=Version.parse(str(Version.parse(text))) == Version.parse(text))
    with suppress(ValueError):
        hold("round trip", held=serial_of(name_of(serial_of(text))) == serial_of(text))
    with suppress(ValueError):
        family_of(text)
    hold("a secret holds no #", held="#" not in messages.invitation_secret(text))
    hold("names can be shown", held=clean_name(text).isprintable())


def _log(data: bytes) -> None:
    """A log that came over the air."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        entries = msgspec.json.decode(data, type=list[log.Entry])
        with suppress(log.LogBroken):
            head = log.verify(entries)
            hold("all of it was verified", held=head.sequence == len(entries))


_MAKER: Final = Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key()


def _release(data: bytes) -> None:
    """A description of charger software."""
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        signed = msgspec.json.decode(data, type=release.SignedManifest)
        with suppress(release.ManifestError):
            release.verified(signed, _MAKER)
            raise AssertionError("a signature was made up")


TARGETS: Final[tuple[Target, ...]] = (
    plain("request_frames", _request_frames, words=(*JSON_WORDS, b"EaE", b"\x00", b"8192")),
    plain("replies", _replies, words=JSON_WORDS, longest=20_000),
    plain("channel_stream", _channel_stream, words=(b"\x00\x01", b"\x10\x00", b"\x00\x05hello")),
    plain("records", _records, words=(b"\x00\x00\x00", b"\x01\x00\x00", b"\x02\x00\x00")),
    plain("messages", _messages, words=tuple(bytes([kind, 1, 1]) for kind in range(8))),
    plain("handshake", _handshake, words=(b"\x04", bytes(32), b"\xff" * 32)),
    plain("advertising", _advertising, words=(b"\x02\x01\x06", b"\x11\x07", b"\x09WB123456")),
    plain("typed", _typed, words=(b"WB", b"#", b"6.7.17", b"\xe2\x80\x93", b"\xd9\xa3", b"123456")),
    plain("log", _log, words=JSON_WORDS),
    plain("release", _release, words=(*JSON_WORDS, b'"version":"6.7.17"')),
)
