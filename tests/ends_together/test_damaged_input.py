"""What no honest app sends, on a real link: it costs whoever sends it, and nobody else."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chargepin.app.client import Charger, find
from chargepin.app.errors import ChargepinError, LinkLost
from chargepin.app.ports import AttRefused, Link
from chargepin.app.session import Session
from chargepin.core import channel, gatt, handshake
from chargepin.core.bapi import METHODS, ReplyAssembler, encode_request
from chargepin.core.catalogue import Version
from chargepin.core.identity import (
    Credential,
    Hello,
    Hint,
    MessageType,
    Params,
    Refusal,
    RefusalCode,
)
from chargepin.core.passcode import Passcode
from ends import PATIENCE_S, SERIAL, Answers, Ends, Phone, both_ends
from manual_loop import ManualLoop, manual_loop


class Raw:
    """A link on which a test says what it likes, and hears every message or the end."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.gone = asyncio.Event()
        link.on_close(self.gone.set)
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        self._assembler = channel.Assembler()

    @classmethod
    async def of(cls, phone: Phone) -> Self:
        around = phone.surroundings
        async with asyncio.timeout(PATIENCE_S):
            raw = cls(await around.radio.connect(await find(around, SERIAL), timeout_s=PATIENCE_S))
            await raw.link.subscribe(gatt.PASSCODE_NOTIFY.uuid, raw._hear)
        return raw

    def _hear(self, chunk: bytes) -> None:
        for message in self._assembler.feed(chunk):
            self._heard.put_nowait(message)

    async def write(self, stream: bytes) -> None:
        """Send bytes as they are; the charger may hang up in the middle."""
        with suppress(LinkLost):
            for chunk in channel.chunks(stream, self.link.att_mtu):
                await self.link.write(gatt.PASSCODE_WRITE.uuid, chunk, response=False)

    async def say(self, *messages: bytes) -> None:
        await self.write(b"".join(channel.encode(message) for message in messages))

    async def answer(self) -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            return await self._heard.get()

    async def refusal(self) -> RefusalCode:
        return Refusal.decode(await self.answer()).code

    async def ended(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.gone.wait()

    async def greet(self, credential: Credential = Credential.PASSCODE) -> tuple[bytes, bytes]:
        """HELLO and the PARAMS that answer it."""
        message = hello(credential)
        await self.say(message)
        return message, await self.answer()

    async def share(self, code: Passcode) -> handshake.Proof | bytes:
        """Go as far as the charger's SHARE_V; gives it back when the passcode is wrong."""
        said, heard = await self.greet()
        params = Params.decode(heard)
        witness = handshake.passcode_witness(code, params.identity, params.salt, params.profile)
        prover = handshake.Prover(witness, params.identity, secrets.token_bytes(48))
        await self.say(bytes([MessageType.SHARE_P]) + prover.start())
        answer = await self.answer()
        try:
            return prover.finish(handshake.context(said, heard), answer[1:66], answer[66:])
        except handshake.WrongSecret:
            return answer


def hello(credential: Credential = Credential.PASSCODE, **other: Any) -> bytes:
    return Hello(
        credential=credential, app=other.pop("app", Version(0, 1, 0)), nonce=bytes(16), **other
    ).encode()


def of_type(kind: int, body: bytes = b"") -> bytes:
    return bytes([kind]) + body


class Scene:
    """A protected charger, its owner inside all the time, and a stranger who misbehaves."""

    def __init__(self, ends: Ends, owner: Phone, watching: Charger, code: str) -> None:
        self.ends = ends
        self.owner = owner
        self.watching = watching
        self.code = code
        self.stranger: Phone

    @property
    def charged(self) -> int:
        assert self.ends.daemon is not None
        return self.ends.daemon.service.guard.durable.lockout.charged

    async def raw(self) -> Raw:
        return await Raw.of(self.stranger)

    async def stands(self) -> None:
        """The charger goes on: for who was inside, and for who comes now."""
        assert [text for text in self.ends.reports if text.startswith("fault")] == []
        assert not self.watching.closed, self.ends.reports
        assert (await self.watching.status()).passcode == "protected"
        inside = await self.owner.enter()
        assert inside.role == "owner"
        await inside.close()

    async def newcomer(self) -> Charger:
        return await (await self.ends.phone("newcomer")).enter(Answers([self.code]))


@asynccontextmanager
async def scene(directory: Path) -> AsyncIterator[Scene]:
    async with both_ends(directory) as ends:
        await ends.switch_on()
        owner = await ends.phone("owner's")
        code = (await (await owner.enter()).set_passcode()).passcode
        await (await owner.enter()).close()
        watching = await ends.phone("watching")
        watching.vault.known = dict(owner.vault.known)
        on = Scene(ends, owner, await watching.enter(), code)
        on.stranger = await ends.phone("stranger")
        yield on
        await on.stands()


# ---- before a session ----------------------------------------------------------------------------

SHARE = of_type(MessageType.SHARE_P, b"\x04" + bytes(64))
BREACHES: dict[str, bytes] = {
    "no length": b"\0\0",
    "4097 bytes": b"\x10\x01" + bytes(200),
    "the longest length": b"\xff\xff" + bytes(20),
    **{
        f"type 0x{kind:02x}": channel.encode(of_type(kind, bytes(40)))
        for kind in (0x00, 0x07, 0x0F, 0x11, 0xFF)
    },
    "PARAMS from an app": channel.encode(of_type(MessageType.PARAMS, bytes(220))),
    "REFUSAL from an app": channel.encode(of_type(MessageType.REFUSAL, bytes(116))),
    "SHARE_V from an app": channel.encode(of_type(MessageType.SHARE_V, bytes(97))),
    "a short HELLO": channel.encode(hello()[:-1]),
    "a long HELLO": channel.encode(hello() + b"\0"),
    "an empty HELLO": channel.encode(of_type(MessageType.HELLO)),
    "a HELLO of no credential": channel.encode(hello()[:3] + b"\x03" + hello()[4:]),
    "a record before a session": channel.encode(of_type(channel.RECORD, bytes(64))),
    "an empty record": channel.encode(of_type(channel.RECORD)),
    "SHARE_P before HELLO": channel.encode(SHARE),
    "CONFIRM_P before HELLO": channel.encode(of_type(MessageType.CONFIRM_P, bytes(32))),
    "CONFIRM_P without a share": channel.encode(hello())
    + channel.encode(of_type(MessageType.CONFIRM_P, bytes(32))),
    "a record after HELLO": channel.encode(hello())
    + channel.encode(of_type(channel.RECORD, bytes(64))),
    "a share of 64 bytes": channel.encode(hello()) + channel.encode(SHARE[:-1]),
    "a share of 66 bytes": channel.encode(hello()) + channel.encode(SHARE + b"\0"),
    "an empty share": channel.encode(hello()) + channel.encode(SHARE[:1]),
}


async def test_a_breach_before_a_session_ends_that_link_alone_and_costs_no_try(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path) as on:
        for name, stream in BREACHES.items():
            raw = await on.raw()
            await raw.write(stream)
            try:
                await raw.ended()
            except TimeoutError:
                pytest.fail(f"the link lives on after {name}")
            assert on.charged == 0, name
        await (await on.newcomer()).close()


async def test_what_is_well_formed_but_not_served_is_refused_by_name(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        raw = await on.raw()
        for message, code in (
            (hello(protocol=2), RefusalCode.UNSUPPORTED),
            (hello(suite=2), RefusalCode.UNSUPPORTED),
            (hello(app=Version(0, 0, 1)), RefusalCode.APP_TOO_OLD),
            (hello(Credential.BOND, tag=secrets.token_bytes(16)), RefusalCode.BOND_UNKNOWN),
        ):
            await raw.say(message)
            assert await raw.refusal() is code
        await raw.greet(Credential.OPEN)
        await raw.say(SHARE)
        assert await raw.refusal() is RefusalCode.PASSCODE_NEEDED
        assert on.charged == 0
        await raw.link.close()


async def test_a_frame_that_never_ends_holds_its_place_for_15_seconds(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        raw, other = await on.raw(), await Raw.of(await on.ends.phone())
        await raw.write(channel.encode(hello())[:-5])
        await other.write(b"\x0f\xff" + bytes(3000))
        manual_loop().advance(16)
        await asyncio.gather(raw.ended(), other.ended())


async def test_a_flood_of_hellos_drops_the_flooder_or_is_answered(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        raw = await on.raw()
        await raw.write(channel.encode(hello()) * 200)
        for _ in range(200):
            answered = asyncio.create_task(raw.answer())
            ended = asyncio.create_task(raw.gone.wait())
            await asyncio.wait({answered, ended}, return_when=asyncio.FIRST_COMPLETED)
            answered.cancel()
            if raw.gone.is_set():
                break
        await raw.link.close()


# ---- proving -------------------------------------------------------------------------------------

POINTS = {
    "not on the curve": b"\x04" + bytes(31) + b"\x01" + bytes(31) + b"\x01",
    "at infinity": bytes(65),
    "compressed": b"\x02" + bytes(64),
    "beyond the field": b"\x04" + b"\xff" * 64,
}


@pytest.mark.parametrize("point", POINTS)
async def test_a_share_that_is_no_point_is_charged_and_ends_the_link(
    tmp_path: Path, point: str
) -> None:
    async with scene(tmp_path) as on:
        raw = await on.raw()
        await raw.greet()
        await raw.say(of_type(MessageType.SHARE_P, POINTS[point]))
        await raw.ended()
        assert on.charged == 1
        await (await on.newcomer()).close()
        assert on.charged == 1


async def test_every_way_to_leave_a_proof_unfinished_stays_charged(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        wrong = Passcode("482913" if on.code != "482913" else "482914")
        leaving = await on.raw()
        await leaving.share(wrong)
        await leaving.link.close()
        twice = await on.raw()
        await twice.share(wrong)
        await twice.say(SHARE)
        await twice.ended()
        confirming = await on.raw()
        await confirming.share(wrong)
        await confirming.say(of_type(MessageType.CONFIRM_P, bytes(32)))
        assert await confirming.refusal() is RefusalCode.WRONG
        await confirming.say(of_type(MessageType.CONFIRM_P, bytes(32)))
        await confirming.ended()
        assert on.charged == 3
        paused = await on.raw()
        await paused.greet()
        await paused.say(SHARE)
        assert await paused.refusal() is RefusalCode.PAUSED
        assert on.charged == 3


async def test_both_messages_of_a_proof_at_once_and_the_second_twice(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        raw = await on.raw()
        proof = await raw.share(Passcode(on.code))
        assert isinstance(proof, handshake.Proof)
        confirmation = of_type(MessageType.CONFIRM_P, proof.confirm_p)
        await raw.say(confirmation, confirmation)
        await raw.ended()
        assert on.charged == 0  # it was right
        blind = await on.raw()
        await blind.say(hello(), SHARE, of_type(MessageType.CONFIRM_P, bytes(32)))
        await blind.ended()
        assert on.charged == 1


# ---- inside a session ----------------------------------------------------------------------------


class Inside:
    """A granted session of which a test seals the records itself."""

    def __init__(self, charger: Charger) -> None:
        session = charger._inside.session
        assert isinstance(session, Session)
        assert session._sealer is not None
        self.charger = charger
        self.sealer = session._sealer
        self.raw = Raw(charger._inside.link)

    def record(self, text: bytes) -> bytes:
        return channel.encode(self.sealer.seal(text))


PING = b'{"met":"r_sn_","id":1000}'


def _replayed(inside: Inside) -> bytes:
    return inside.record(PING) * 2


def _swapped(inside: Inside) -> bytes:
    first, second = inside.record(PING), inside.record(PING)
    return second + first


def _changed(inside: Inside) -> bytes:
    record = bytearray(inside.record(PING))
    record[-1] ^= 1
    return bytes(record)


def _shortened(inside: Inside) -> bytes:
    return channel.encode(inside.sealer.seal(PING)[:-1])


IN_SESSION: dict[str, Callable[[Inside], bytes]] = {
    "replayed": _replayed,
    "swapped": _swapped,
    "changed": _changed,
    "shortened": _shortened,
    "one too few": lambda inside: inside.record(PING) and inside.record(PING),
    "empty": lambda _: channel.encode(of_type(channel.RECORD)),
    "of nothing": lambda inside: inside.record(b""),
    "no JSON": lambda inside: inside.record(b"\xff\xfe{"),
    "a list": lambda inside: inside.record(b"[1,2,3]"),
    "no method": lambda inside: inside.record(b'{"id":1}'),
    "a method that is a number": lambda inside: inside.record(b'{"met":7,"id":1}'),
    "a long method": lambda inside: inside.record(b'{"met":"%s","id":1}' % (b"m" * 65)),
    "no id": lambda inside: inside.record(b'{"met":"r_dat"}'),
    "an id that is text": lambda inside: inside.record(b'{"met":"r_dat","id":"1"}'),
    "an id too large": lambda inside: inside.record(b'{"met":"r_dat","id":9223372036854775808}'),
    "deep": lambda inside: inside.record(b'{"met":"r_dat","id":1,"par":' + b"[" * 4000),
    "HELLO": lambda _: channel.encode(hello()),
    "SHARE_P": lambda _: channel.encode(SHARE),
    "CONFIRM_P": lambda _: channel.encode(of_type(MessageType.CONFIRM_P, bytes(32))),
    "PARAMS": lambda _: channel.encode(of_type(MessageType.PARAMS, bytes(220))),
}


async def test_anything_but_the_next_good_record_ends_the_session(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        for name, made in IN_SESSION.items():
            inside = Inside(await on.owner.enter())
            await inside.raw.write(made(inside))
            try:
                await inside.raw.ended()
            except TimeoutError:
                pytest.fail(f"the session lives on after a record that is {name}")


async def test_a_record_of_another_session_is_worth_nothing(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        mine = Inside(await on.owner.enter())
        foreign = channel.encode(mine.sealer.seal(b'{"met":"reset","id":1}'))
        raw = await on.raw()
        await raw.write(foreign)
        await raw.ended()
        other = await on.ends.phone()
        other.vault.known = dict(on.owner.vault.known)
        theirs = Inside(await other.enter())
        await theirs.raw.write(foreign)
        await theirs.raw.ended()
        await mine.charger.close()


# ---- parameters ----------------------------------------------------------------------------------

DESTRUCTIVE = ("reset", "rebot", "supds", "update.start")
LONE_SURROGATE = '"\\ud800"'
ZEROS = "00" * 32
ODD_VALUES = (
    *("null", "true", "0", "-1", "1e400", "1.5", "9223372036854775808", "-9223372036854775809"),
    *('""', '"\\u0000"', LONE_SURROGATE, '"x"', f'"{"9" * 300}"', "[]", "[[]]", "{}"),
    *('{"after":-1}', '{"after":9223372036854775807}', '{"after":9223372036854775808}'),
    *('{"id":"0123456789abcdef\\n"}', '{"id":7}', '{"name":null}', '{"name":"\\u202e\\u0007"}'),
    *('{"name":""}', f'{{"name":"{"😀" * 200}"}}', '{"first_set_needs_presence":"yes"}'),
    '{"name":"x","owner_token":"zz","role":"owner"}',
    f'{{"name":"x","owner_token":"{ZEROS}\\n","role":7}}',
    f'{{"generation":-1,"verifier":"{ZEROS * 3}00","salt":"{ZEROS[:32]}","profile":1}}',
    f'{{"generation":2,"verifier":"{ZEROS * 3}00","salt":"{ZEROS[:32]}\\n","profile":99999999}}',
    f'{{"generation":4294967296,"verifier":"{ZEROS * 3}00\\n","salt":"","profile":1}}',
    '{"account":"","root_key":"","nonce":""}',
    f'{{"account":"{"😀" * 64}","root_key":"{ZEROS}","nonce":"{ZEROS}"}}',
    f'{{"account":"\\u001b[2J","root_key":"{ZEROS}","nonce":"{ZEROS}"}}',
    f'{{"account":"me\\n","root_key":"{ZEROS}","nonce":"{ZEROS}"}}',
    f'{{"account":"me","root_key":"{ZEROS}\\n","nonce":"{ZEROS}\\n"}}',
)


async def asked(inside: Inside, method: str, par: str) -> None:
    """Send parameters as they stand; the charger answers, one way or another."""
    session = inside.charger._inside.session
    assert session is not None
    session._next_id += 1
    number = session._next_id
    waiting: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    session._waiting[number] = waiting
    text = f'{{"met":{json.dumps(method)},"id":{number},"par":{par}}}'.encode()
    await inside.raw.write(inside.record(text))
    async with asyncio.timeout(PATIENCE_S):
        await waiting


async def test_no_parameter_makes_a_method_fail_to_answer(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        ours = [name for name, method in METHODS.items() if method.in_records_only]
        stock = [name for name in METHODS if name not in ours]
        inside = Inside(await on.owner.enter())
        for method in (*ours, *stock, "no_such_method"):
            for par in ODD_VALUES if method in ours else ODD_VALUES[:22]:
                if method in DESTRUCTIVE:
                    continue
                try:
                    await asked(inside, method, par)
                except LinkLost:  # no JSON at all, such as half a character
                    assert par in (LONE_SURROGATE, "1e400"), (method, par)
                    inside = Inside(await on.owner.enter())
                except TimeoutError:
                    pytest.fail(f"{method} with {par} is not answered")
        assert [text for text in on.ends.reports if text.startswith("fault")] == []
        await inside.charger.close()


async def test_what_restarts_the_charger_is_not_begun_by_nonsense(tmp_path: Path) -> None:
    async with scene(tmp_path) as on:
        inside = Inside(await on.owner.enter())
        for par in ("true", "7", '"x"', '"6.7"', '"9999.0.0"', "[]", '{"version":7}', "[null]"):
            for method in ("supds", "update.start"):
                if (method, par) != ("update.start", "[]"):
                    await asked(inside, method, par)
        progress = await inside.charger.call("update.progress")
        assert isinstance(progress, dict)
        assert progress["state"] == "idle"
        await inside.charger.close()


STOCK_VALUES: tuple[object, ...] = (
    *(None, True, -1, 2**63, 1.5, "", "x" * 300, [], [[]]),
    *({}, {"a": [{}]}),
)


class Answered:
    """The stock service of an open charger: one request, then its reply."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.layout = next(x for x in gatt.Layout if x.stock.write.uuid in link.characteristics)
        self._replies: asyncio.Queue[bytes] = asyncio.Queue()
        self._assembler = ReplyAssembler()

    def _hear(self, chunk: bytes) -> None:
        for reply in self._assembler.feed(chunk):
            self._replies.put_nowait(reply)

    async def begin(self) -> None:
        if self.layout.stock.needs_encryption:
            await self.link.pair()
        await self.link.subscribe(self.layout.stock.notify.uuid, self._hear)

    async def ask(self, method: str, par: object) -> bytes:
        for chunk in channel.chunks(encode_request(method, par, 1), self.link.att_mtu):
            await self.link.write(self.layout.stock.write.uuid, chunk, response=True)
        async with asyncio.timeout(PATIENCE_S):
            return await self._replies.get()


async def test_every_parameter_of_a_stock_request_is_answered_by_an_open_charger(
    tmp_path: Path,
) -> None:
    async with both_ends(tmp_path) as ends:
        await ends.switch_on()
        phone = await ends.phone()
        around = phone.surroundings
        link = await around.radio.connect(await find(around, SERIAL), timeout_s=PATIENCE_S)
        stock = Answered(link)
        await stock.begin()
        for name in METHODS:
            if name in DESTRUCTIVE:
                continue
            for par in STOCK_VALUES:
                await stock.ask(name, par)
        await link.close()
        assert (await (await phone.enter()).status()).passcode == "open"
        assert [text for text in ends.reports if text.startswith("fault")] == []


# ---- garbage -------------------------------------------------------------------------------------


def test_no_garbage_on_either_service_stops_the_charger(tmp_path: Path) -> None:
    loop = ManualLoop()
    stack = AsyncExitStack()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(work)

    on: Scene = run(stack.enter_async_context(scene(tmp_path)))
    messages = st.builds(of_type, st.integers(0, 255), st.binary(max_size=120))
    pieces = st.one_of(
        st.binary(max_size=200),
        messages.map(channel.encode),
        st.sampled_from([*BREACHES.values(), channel.encode(hello()), channel.encode(SHARE)]),
    )

    async def thrown(stream: list[bytes], mine: bytes) -> None:
        raw = await on.raw()
        for piece in stream:
            await raw.write(piece)
        with suppress(LinkLost, AttRefused):
            for uuid in raw.link.characteristics:
                await raw.link.write(uuid, mine[:20], response=True)
        with suppress(LinkLost):
            Hint.decode(await raw.link.read(gatt.PASSCODE_HINT.uuid))
        await raw.link.close()

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(pieces, max_size=6), st.binary(max_size=20))
    def garbage(stream: list[bytes], mine: bytes) -> None:
        run(thrown(stream, mine))

    try:
        garbage()
        run(on.stands())
    finally:
        run(stack.aclose())
        loop.close()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=8,
)


def test_garbage_inside_records_is_answered(tmp_path: Path) -> None:
    loop = ManualLoop()
    stack = AsyncExitStack()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return loop.run_until_complete(work)

    on: Scene = run(stack.enter_async_context(scene(tmp_path)))
    charger: Charger = run(on.owner.enter())
    names = st.sampled_from([name for name in METHODS if name not in DESTRUCTIVE])
    keys = st.sampled_from(
        ["after", "id", "name", "role", "owner_token", "generation", "verifier", "salt", "profile"]
    )
    par = JSON | st.dictionaries(keys, JSON, max_size=6)

    async def call(method: str, value: object) -> None:
        with suppress(ChargepinError):
            await charger.call(method, value)
        assert not charger.closed

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(names | st.text(min_size=1, max_size=20), par)
    def garbage(method: str, value: object) -> None:
        run(call(method, value))

    try:
        garbage()
        run(charger.close())
        run(on.stands())
    finally:
        run(stack.aclose())
        loop.close()
