"""Targets in the charger: what phones send it, part by part and as a whole."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import replace
from typing import Final

import msgspec
from bumble.hci import Address

from chargepin.app.errors import LinkLost
from chargepin.app.ports import AttRefused
from chargepin.charger.air import AirEvent, AttError, Door, Pairing, Secured, Written
from chargepin.charger.bluetooth import l2cap
from chargepin.charger.bluetooth.att import Client
from chargepin.charger.bluetooth.attributes import Attributes
from chargepin.charger.bluetooth.pairing import Pairings
from chargepin.charger.bluetooth.smp import BODY_BYTES, Peer
from chargepin.charger.hardware import SimulatedHardware
from chargepin.charger.own import Ask, Caller, Denied, OwnMethods, Tell
from chargepin.charger.ports import HardwareState, Unit
from chargepin.charger.stock import StockMethods, StockSettings, TypePlate
from chargepin.charger.store import SQLiteStore
from chargepin.charger.update import ShippedImages, Updater
from chargepin.core import bapi, channel, gatt, guard
from chargepin.core import guard_state as state
from chargepin.core.bonds import Role
from chargepin.core.catalogue import FAMILIES, Version
from chargepin.core.durable import Durable, Mode
from chargepin.core.guard_state import Guard, Link, Phase
from chargepin.core.identity import MessageType
from chargepin.core.lockout import Lockout
from charger.rig import CHARGER, OPEN_BGX, BondsInMemory, ScriptedRules
from core.guard_bench import OWNER, passcode
from ends import both_ends
from ends_together.test_damaged_input import SHARE, Raw, hello
from fuzz.driver import (
    AsyncTake,
    Take,
    Target,
    hold,
    no_faults_logged,
    on_a_loop,
    piece,
    pieces,
    plain,
    scratch,
)
from fuzz.of_core import JSON_WORDS

SOFTWARE: Final = Version(6, 7, 17)
OLDEST_APP: Final = Version(0, 1, 0)


# ---- ATT and L2CAP -------------------------------------------------------------------------------


@contextmanager
def _att() -> Iterator[Take]:
    written: list[Written] = []
    rules = ScriptedRules()
    servers = [
        Attributes(replace(OPEN_BGX, layout=layout), rules, written.append)
        for layout in gatt.Layout
    ]

    def take(data: bytes) -> None:
        written.clear()
        chosen = data[0] if data else 0
        rules.refuse = AttError.INSUFFICIENT_AUTHORIZATION if chosen & 4 else None
        server = servers[chosen % 4 % len(servers)]
        client = Client(1, bytes(8))
        for secured, pdu in pieces(data[1:]):
            client.secured = Secured(encrypted=bool(secured & 1), authenticated=bool(secured & 2))
            answer = server.answer(client, pdu)
            asked = bool(pdu) and not pdu[0] & 0x41 and pdu != b"\x1e"
            hold("every request is answered, and nothing else", held=(answer is not None) is asked)
            hold("an answer fits the MTU", held=answer is None or len(answer) <= client.mtu)
            hold("the MTU is one", held=23 <= client.mtu <= 247)
        if rules.refuse:
            hold("refused is refused", held=all(each.door is Door.OWN for each in written))
            hold("nothing is told", held=not list(server.events(client, Door.STOCK, b"x")))

    with no_faults_logged("chargepin.charger.bluetooth.att"):
        yield take


ATT_WORDS: Final = (
    *(bytes([code]) for code in range(2, 0x25, 2)),
    *(b"\x52\x10\x00", b"\x12\x10\x00", b"\x01\x00\xff\xff", b"\x00\x28", b"\x03\x28", b"\x02\x29"),
)


def _l2cap(data: bytes) -> None:
    assembly = l2cap.Assembly()
    for boundary, packet in pieces(data):
        whole = assembly.feed(boundary & 3, packet)
        kept = len(assembly._pdu or b"")
        hold("bounded", held=kept <= 4 + 512)
        if whole is not None:
            answer = l2cap.answer_signal(whole[1])
            hold("a short answer", held=answer is None or len(answer) == 6)
    payload = data[:512]
    frame = len(payload).to_bytes(2, "little") + b"\x04\x00" + payload
    assembly.feed(0, frame[:1])
    hold("round trip", held=assembly.feed(1, frame[1:]) == (4, payload))


# ---- pairing -------------------------------------------------------------------------------------


@asynccontextmanager
async def _smp() -> AsyncIterator[AsyncTake]:
    """Two phones that pair; neither can do the arithmetic, so neither ever gets a bond."""
    rules = ScriptedRules()
    told: list[AirEvent] = []
    sent: list[bytes] = []

    async def take(data: bytes) -> None:
        bonds = BondsInMemory()
        chosen = data[0] if data else 0
        rules.pairs = (Pairing.JUST_WORKS, Pairing.PASSKEY, Pairing.REFUSED)[chosen % 3]
        rules.codes = [482913, 1]
        told.clear()
        sent.clear()
        pairings = Pairings(Address(CHARGER), bonds, rules, bytes(16), told.append, lambda: 0)
        addresses = ("F0:00:00:00:01:01", "F0:00:00:00:01:02/P", "40:00:00:00:01:02")
        peers = [
            Peer(number, Address(address), sent.append, lambda: None)
            for number, address in enumerate(addresses, 1)
        ]
        for what, body in pieces(data[1:]):
            peer = peers[what % len(peers)]
            if what < 0xF0:
                pairings.heard(peer, body)
            elif what < 0xF4:
                hold("no key", held=pairings.key(peer, bytes(8), 0) is None)
            elif what < 0xF8:
                pairings.encrypted(peer)
            elif what < 0xFC:
                pairings.services_told(peer)
            else:
                pairings.closed(peer)
        for peer in peers:
            pairings.closed(peer)
        hold("no bond was made", held=not bonds.all())
        hold("one code an attempt", held=len(rules.codes) >= 2 - _begun(sent))
        known = {2, 3, 4, 5, 8, 9, 12, 13}
        hold("only PDUs that exist", held=all(pdu[0] in known for pdu in sent))
        hold("nobody is let in", held=not any("Authenticated" in repr(each) for each in told))

    yield take


def _begun(sent: list[bytes]) -> int:
    return sum(pdu[0] == 0x02 for pdu in sent)


PAIRING_REQUEST: Final = bytes([0x01, 0x04, 0x00, 0x0D, 16, 0x02, 0x00])
SMP_WORDS: Final = (
    piece(0, PAIRING_REQUEST),
    piece(1, PAIRING_REQUEST),
    *(piece(0, bytes([code]) + bytes(size)) for code, size in BODY_BYTES.items()),
    piece(0xF4),
    piece(0xFC),
)


# ---- requests ------------------------------------------------------------------------------------


@contextmanager
def _stock() -> Iterator[Take]:
    """The stock methods; what they keep must be read again after a restart."""
    with scratch() as directory:
        family, images = FAMILIES["pulsar-max"], ShippedImages()
        updates = Updater(directory, family, SOFTWARE, images, images.maker_key)
        hardware = SimulatedHardware(family, HardwareState(), 0.0, 1_800_000_000)
        plate = TypePlate("123456", family, SOFTWARE, family.layout)
        hardware.plug_in(0.0)
        seconds = itertools.count()

        def take(data: bytes) -> None:
            with suppress(bapi.BapiError):
                stock = StockMethods(plate, hardware, updates, StockSettings())
                request = bapi.decode_request(data)
                now_s = float(next(seconds))
                reply, _ = stock.answer(request, now_s, 1_800_000_000)
                hold("the reply is to the request", held=bapi.decode_reply(reply).id == request.id)
                hold("it fits a record", held=len(reply) <= channel.LONGEST_PLAINTEXT)
                for kept in (stock.settings, hardware.state(now_s)):
                    stored = msgspec.json.encode(kept)
                    again = msgspec.json.decode(stored, type=type(kept))
                    hold("it survives a restart", held=again == kept)

        yield take


def _inside(role: Role, mode: Mode) -> Guard:
    """A guard with one link that was granted a session."""
    protected = mode is Mode.PROTECTED
    durable = Durable(
        mode=mode,
        generation=1 if protected else 0,
        credential=passcode(1) if protected else None,
        bonds=(OWNER,) if protected else (),
    )
    begun = guard.powered_up(durable, SOFTWARE, OLDEST_APP).guard
    return state.with_link(begun, 1, Link(0.0, phase=Phase.GRANTED, role=role))


@contextmanager
def _own() -> Iterator[Take]:
    """The passcode methods, on to the guard and back."""
    with scratch() as directory:
        store = SQLiteStore(directory)
        images = ShippedImages()
        family = FAMILIES["pulsar-max"]
        updates = Updater(directory, family, SOFTWARE, images, images.maker_key)
        key = store.identity
        unit = Unit(key, key.public_key().public_bytes_raw(), "123456", bytes)
        methods = OwnMethods(unit, store, updates)
        guards = [_inside(role, mode) for role in Role for mode in Mode]

        def take(data: bytes) -> None:
            with suppress(bapi.BapiError, Denied):
                request = bapi.decode_request(data[1:])
                if not methods.knows(request.met):
                    return
                before = guards[data[0] % len(guards)]
                allowed = before.links[1].role >= bapi.method_of(request.met).role
                outcome = methods.take(request, Caller(before.links[1], before, 0))
                if isinstance(outcome, Tell):
                    _fits(request.id, outcome.value)
                elif isinstance(outcome, Ask):
                    after = guard.step(before, state.Commanded(1, outcome.command), 1.0)
                    _stays_or_answers(before, after, outcome, request.id, allowed=allowed)

        try:
            yield take
        finally:
            store.close()


def _fits(request_id: int, value: object) -> None:
    reply = bapi.encode_reply(request_id, value)
    hold("it fits a record", held=len(reply) <= channel.LONGEST_PLAINTEXT)


def _stays_or_answers(
    before: Guard, after: state.Step, asked: Ask, request_id: int, *, allowed: bool
) -> None:
    denied = [each.denial for each in after.effects if isinstance(each, state.Answer)]
    hold("one answer", held=len(denied) == 1)
    if denied[0] is not None:
        hold("nothing changes when it is denied", held=after.guard == before)
        return
    hold("only who may", held=allowed)
    old, new = before.durable, after.guard.durable
    hold("a generation never falls", held=old.generation <= new.generation <= old.generation + 1)
    hold("nothing is charged", held=new.lockout.charged == 0)
    stored = msgspec.json.encode(new)
    hold("it survives a restart", held=msgspec.json.decode(stored, type=Durable) == new)
    _fits(request_id, asked.answer(after.guard))


# ---- the whole charger ---------------------------------------------------------------------------


def _without_time(durable: Durable) -> Durable:
    return replace(durable, running_s=0.0, lockout=Lockout())


@asynccontextmanager
async def _air() -> AsyncIterator[AsyncTake]:
    """A stranger's link to a protected charger, from the radio to the database."""
    with scratch() as directory:
        async with both_ends(directory) as ends:
            daemon = await ends.switch_on()
            owner = await ends.phone("owner's")
            await (await owner.enter()).set_passcode()
            stranger = await ends.phone("stranger")

            async def take(data: bytes) -> None:
                service = daemon.service
                calm = replace(service.guard.durable, lockout=Lockout())
                service._guard = replace(service.guard, durable=calm)
                raw = await Raw.of(stranger)
                shares = 0
                with suppress(LinkLost, AttRefused):
                    for what, body in pieces(data):
                        shares += await _done(raw, what, body)
                    await raw.link.read(gatt.PASSCODE_HINT.uuid)
                await raw.link.close()
                while service.guard.links:  # noqa: ASYNC110 - what it left behind is taken first
                    await asyncio.sleep(0)
                after = service.guard.durable
                hold("nothing changed", held=_without_time(after) == _without_time(calm))
                hold("no more is charged than was tried", held=after.lockout.charged <= shares)
                faults = [text for text in ends.reports if text.startswith("fault")]
                ends.reports.clear()
                hold(f"no {faults}", held=not faults)

            yield take


async def _done(raw: Raw, what: int, body: bytes) -> int:
    """Do one thing on a link; gives how many shares were in it at most."""
    messages: tuple[bytes, ...]
    match what % 8:
        case 0:
            await raw.write(body)
            return 1 + len(body) // 68
        case 1:
            messages = (body[:200] or b"\x00",)
        case 2:
            messages = (hello(),)
        case 3:
            messages = (hello(), SHARE)
        case 4:
            messages = (bytes([MessageType.CONFIRM_P]) + body[:32],)
        case 5:
            messages = (bytes([channel.RECORD]) + body,)
        case 6:
            stock = next(each for each in gatt.Layout if each.stock.write.uuid in _known(raw))
            await raw.link.write(stock.stock.write.uuid, body[:20], response=bool(what & 8))
            return 0
        case _:
            uuid = sorted(_known(raw))[what // 8 % len(_known(raw))]
            await raw.link.write(uuid, body[:20], response=True)
            return 1
    await raw.say(*messages)
    return sum(message[0] == MessageType.SHARE_P for message in messages)


def _known(raw: Raw) -> frozenset[str]:
    return raw.link.characteristics


REQUEST_WORDS: Final = tuple(b'"%s"' % name.encode() for name in bapi.METHODS)
_FIELDS: Final = (
    *("verifier", "salt", "profile", "generation", "keep", "name", "owner_token", "role", "id"),
    *("after", "account", "root_key", "nonce", "version", "first_set_needs_presence"),
)
OWN_WORDS: Final = (
    *JSON_WORDS,
    *REQUEST_WORDS,
    *(b'"%s":' % name.encode() for name in _FIELDS),
    *(b'"%s"' % (b"0" * digits) for digits in (16, 32, 64, 194)),
)

TARGETS: Final[tuple[Target, ...]] = (
    Target("att", _att, words=ATT_WORDS),
    plain("l2cap", _l2cap, words=(piece(0, b"\x04\x00\x05\x00"), b"\xff\xff", b"\x00\x02")),
    Target("smp", on_a_loop(_smp), words=SMP_WORDS),
    Target("stock", _stock, words=(*JSON_WORDS, *REQUEST_WORDS)),
    Target("own", _own, words=OWN_WORDS),
    Target(
        "air",
        on_a_loop(_air),
        words=(piece(2), piece(3), piece(6, b"EaE")),
        guided=False,
        cpu_s=1.0,
    ),
)
