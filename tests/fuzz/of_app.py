"""Targets in the app: what an account service and a charger answer, what a home's files hold."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from typing import Any, Final

import httpx
import msgspec

from chargepin.app.account import AccountClient, SignIn, open_account
from chargepin.app.client import Charger
from chargepin.app.entering import Inside, Surroundings
from chargepin.app.errors import (
    AccountRefused,
    AccountUnreachable,
    ChargepinError,
    LinkLost,
    UpdateNeeded,
    VaultError,
)
from chargepin.app.ports import Candidate, Found, Known, Link
from chargepin.app.session import Session, WasRefused
from chargepin.app.stock import StockSession
from chargepin.app.vault import open_vault
from chargepin.core import bapi, channel, gatt, handshake
from chargepin.core.catalogue import Version
from chargepin.core.identity import Claim, Credential, Hint, Params, State, sign_answer
from ends import MemoryVault
from fuzz.driver import AsyncTake, Take, Target, hold, on_a_loop, pieces, scratch
from fuzz.of_core import IDENTITY, JSON_WORDS, KEY

APP: Final = Version(0, 1, 0)
_CHARGER_ID: Final = "ab" * 32
_EVENTS_READ: Final = 100


# ---- an account service --------------------------------------------------------------------------


async def _some_events(client: AccountClient) -> None:
    async with aclosing(client._stream(None)) as stream:
        async for _ in stream:
            pass


_ASKED: Final[tuple[Callable[[AccountClient], Awaitable[object]], ...]] = (
    lambda client: client.enter("ann", "password", new=False),
    lambda client: client.me(),
    lambda client: client.sessions(),
    lambda client: client.chargers(),
    lambda client: client.challenge(_CHARGER_ID),
    lambda client: client.register(Claim(IDENTITY, "1", 1, 0, "a", IDENTITY, IDENTITY), "00"),
    lambda client: client.members(_CHARGER_ID),
    lambda client: client.invite(_CHARGER_ID, "bob"),
    lambda client: client.accept("https://a.example/invite#secret"),
    lambda client: client.passcodes(_CHARGER_ID),
    lambda client: client.assign(_CHARGER_ID, 0),
    lambda client: client.deliver(_CHARGER_ID, "00", "00"),
    lambda client: client.audit(_CHARGER_ID),
    lambda client: client.logout(),
    _some_events,
)
_STATUSES: Final = (200, 200, 200, 400, 404, 426, 429, 500, 503, 204, 302, 199, 599)
_HEADERS: Final[tuple[dict[str, str], ...]] = (
    {},
    {},
    {"content-type": "text/event-stream"},
    {"content-encoding": "gzip"},
    {"content-encoding": "deflate"},
    {"content-type": "text/plain; charset=nonsense"},
    {"location": "https://elsewhere.example/"},
)


async def _whole_and_cut(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 7):
        yield body[at : at + 7]


@asynccontextmanager
async def _service() -> AsyncIterator[AsyncTake]:
    async def take(data: bytes) -> None:
        which, status, how = (*data[:3], 0, 0, 0)[:3]
        body = data[3:]

        def answer(_: httpx.Request) -> httpx.Response:
            return httpx.Response(
                _STATUSES[status % len(_STATUSES)],
                headers=_HEADERS[how % len(_HEADERS)],
                content=_whole_and_cut(body) if how & 64 else body,
            )

        client = AccountClient(
            "http://127.0.0.1:8700", app="0.1.0", transport=httpx.MockTransport(answer)
        )
        try:
            with suppress(AccountUnreachable, AccountRefused, UpdateNeeded):
                value = await _ASKED[which % len(_ASKED)](client)
                for candidate in value if isinstance(value, tuple) else ():
                    _usable(candidate)
                await client.me()  # with the token that was just given, if one was
        finally:
            await client.close()

    yield take


def _usable(candidate: Candidate) -> None:
    """A passcode that the account tells has to be one."""
    hold("six digits", held=len(candidate.code.digits) == 6)
    hold("a salt", held=len(candidate.salt) == handshake.SALT_BYTES)


SERVICE_WORDS: Final = (
    *JSON_WORDS,
    *(b'"token":', b'"person":', b'"passcodes":', b'"salt":', b'"passcode":', b'"owner_token":'),
    *(b"data:", b"\n\n", b"event: ", b"\r", b'"00112233445566778899aabbccddeeff"', b'"482913"'),
)


# ---- a charger -----------------------------------------------------------------------------------


class Answering:
    """A link to a charger that answers what a test wants."""

    att_mtu = 247

    def __init__(self, hint: bytes, answer: Callable[[bytes], list[bytes]]) -> None:
        self.closed = False
        self.characteristics = frozenset(
            each.uuid
            for each in (*gatt.Layout.BGX.stock.characteristics, *gatt.PASSCODE_CHARACTERISTICS)
        )
        self._hint = hint
        self._answer = answer
        self._heard: Callable[[bytes], None] = lambda _: None
        self._closing: list[Callable[[], None]] = []

    async def read(self, _: str) -> bytes:
        return self._hint

    async def write(self, uuid: str, value: bytes, *, response: bool) -> None:
        _ = uuid, response
        if self.closed:
            raise LinkLost("gone")
        for chunk in self._answer(value):
            self._heard(chunk)

    async def subscribe(self, _: str, callback: Callable[[bytes], None]) -> None:
        self._heard = callback

    async def pair(self, *, again: bool = False) -> None:
        """There is nothing to it."""

    def on_close(self, callback: Callable[[], None]) -> None:
        self._closing.append(callback)

    async def close(self) -> None:
        self.closed = True
        for callback in self._closing:
            callback()


class NoRadio:
    """A radio that nobody connects with, and on which nothing is heard."""

    description = "none"

    async def scan(self) -> AsyncGenerator[Found, None]:
        heard: tuple[Found, ...] = ()
        for found in heard:
            yield found

    async def connect(self, found: Found, *, timeout_s: float) -> Link:
        raise NotImplementedError

    async def bonded(self, found: Found) -> bool | None:
        raise NotImplementedError

    async def close(self) -> None:
        """There is nothing to it."""


PARAMS: Final = Params(
    credential=Credential.PASSCODE,
    state=State.PROTECTED,
    flags=0,  # type: ignore[arg-type] # no flag is as good as Flag(0)
    identity=IDENTITY,
    incarnation=1,
    generation=1,
    profile=1,
    salt=bytes(16),
    retry_after_s=0,
    tries_left=3,
    software=Version(6, 7, 17),
    oldest_app=APP,
    serial="123456",
    nonce=bytes(16),
)
_KEYS: Final = bytes(range(channel.KEY_BYTES))
_WAYS: Final = channel.Direction

_EVERYDAY: Final[tuple[Callable[[Charger], Awaitable[object]], ...]] = (
    lambda charger: charger.status(),
    lambda charger: charger.phones(),
    lambda charger: charger.log(),
    lambda charger: charger.presence_policy(),
    lambda charger: charger.claim("a", "00", "00"),
    lambda charger: charger.update_offered(),
    lambda charger: charger.rotate_passcode(),
    lambda charger: _all_of(charger.update()),
    lambda charger: _all_of(charger.open_pairing("phone")),
)


async def _all_of(notices: Any) -> None:
    async with aclosing(notices):
        async for _ in notices:
            pass


class Replying:
    """Answers each request in a session with the input's next piece, and then hangs up."""

    def __init__(self, data: bytes) -> None:
        self.link = Answering(b"", self._answer)
        self._assembler = channel.Assembler()
        self._opener = channel.Opener(_KEYS, _WAYS.APP_TO_CHARGER)
        self._sealer = channel.Sealer(_KEYS, _WAYS.CHARGER_TO_APP)
        self._pieces = [body for _, body in pieces(data)]
        self._events = [what & 1 for what, _ in pieces(data)]

    def _answer(self, value: bytes) -> list[bytes]:
        answers: list[bytes] = []
        for message in self._assembler.feed(value):
            request = bapi.decode_request(self._opener.open(message))
            if not self._pieces:
                asyncio.get_running_loop().call_soon(asyncio.ensure_future, self.link.close())
                return answers
            body = self._pieces.pop(0)
            shown = b"{" + body if self._events.pop(0) else b'{"id":%d,"r":%s}' % (request.id, body)
            answers.append(channel.encode(self._sealer.seal(shown)))
        return answers


@asynccontextmanager
async def _session() -> AsyncIterator[AsyncTake]:
    """A charger with which there is a session says in its records what it likes."""

    async def take(data: bytes) -> None:
        replying = Replying(data[1:])
        session = Session(replying.link, APP, bytes)
        await replying.link.subscribe("", session._heard)
        replying.link.on_close(session._lost)
        session._sealer = channel.Sealer(_KEYS, _WAYS.APP_TO_CHARGER)
        session._opener = channel.Opener(_KEYS, _WAYS.CHARGER_TO_APP)
        around = Surroundings(NoRadio(), MemoryVault(), APP, "phone", bytes, randbelow=lambda _: 0)
        inside = Inside(replying.link, session, None, PARAMS, "owner")
        charger = Charger("123456", inside, around, str(PARAMS.software))
        with suppress(ChargepinError, WasRefused):
            await _EVERYDAY[(data or b"\x00")[0] % len(_EVERYDAY)](charger)
        await charger.close()

    yield take


@asynccontextmanager
async def _greeting() -> AsyncIterator[AsyncTake]:
    """A stranger instead of a charger, up to where it would have to know the passcode."""
    witness = handshake.open_witness(IDENTITY)
    hello: list[bytes] = []

    async def take(data: bytes) -> None:
        steps = list(pieces(data))

        def answer(value: bytes) -> list[bytes]:
            hello.append(value[2:])
            answers: list[bytes] = []
            while steps:
                what, body = steps.pop(0)
                message = body
                if what & 1:  # an honest answer
                    message = sign_answer(KEY, hello[0], PARAMS.encode())
                elif what & 2 and body:  # what it says, well signed
                    message = sign_answer(KEY, hello[0], body)
                answers.append(channel.encode(message or b"\x00") if what & 4 == 0 else body)
                if what & 8:
                    break
            if not steps:
                asyncio.get_running_loop().call_soon(asyncio.ensure_future, link.close())
            return answers

        hello.clear()
        hint = Hint(state=State.PROTECTED, generation=1, nonce=bytes(8)).encode()
        bad_hint = steps.pop(0)[1] if steps and steps[0][0] & 16 else hint
        link = Answering(bad_hint, answer)
        session = Session(link, APP, bytes)
        with suppress(ChargepinError, WasRefused, handshake.HandshakeError):
            await session.begin()
            params = await session.hello(Credential.PASSCODE)
            await session.prove(witness, params)
            raise AssertionError("a stranger proved a secret")
        await link.close()

    yield take


@asynccontextmanager
async def _maker() -> AsyncIterator[AsyncTake]:
    """A charger with the maker's software, or what says that it is one."""

    async def take(data: bytes) -> None:
        steps = [body for _, body in pieces(data)]
        frames = bapi.RequestAssembler()

        def answer(value: bytes) -> list[bytes]:
            answers: list[bytes] = []
            for raw in frames.feed(value):
                number = bapi.decode_request(raw).id
                if not steps:
                    asyncio.get_running_loop().call_soon(asyncio.ensure_future, link.close())
                    return answers
                answers.append(b'{"id":%d,"r":%s}' % (number, steps.pop(0)))
            return answers

        link = Answering(b"", answer)
        stock = StockSession(link)
        with suppress(ChargepinError):
            await stock.begin()
            around = Surroundings(NoRadio(), MemoryVault(), APP, "phone", bytes)
            charger = Charger("123456", Inside(link, None, stock, None, "user"), around, "")
            await _EVERYDAY[(data or b"\x00")[0] % len(_EVERYDAY)](charger)
        await link.close()

    yield take


# ---- files of a home -----------------------------------------------------------------------------


@contextmanager
def _home() -> Iterator[Take]:
    known = Known("123456", identity=IDENTITY, generation=3, candidates=(Candidate(3, b"s", "1"),))
    good = msgspec.json.encode({"version": 1, "chargers": {"123456": msgspec.to_builtins(known)}})
    names = ("secrets.json", "vault.json", "account.json")

    def take(data: bytes) -> None:
        with scratch() as directory:
            home = directory
            (home / names[0]).write_bytes(good)
            (home / names[1]).write_bytes(b'{"kind":"file"}')
            (home / names[2]).write_bytes(
                msgspec.json.encode(SignIn("http://127.0.0.1", "ann", "token"))
            )
            name = names[(data or b"\x00")[0] % len(names)]
            (home / name).write_bytes(data[1:])
            with suppress(VaultError):
                vault = open_vault(home, default_home=False)
                for serial in vault.serials():
                    vault.get(serial)
                    vault.update(serial, lambda known: known)
                vault.put(known)
                vault.forget("123456")
            with suppress(VaultError, AccountUnreachable):
                open_account(home)
            kept = any(path.read_bytes() == data[1:] for path in home.glob(f"{name}*"))
            hold("nothing is lost", held=kept or name == names[0])

    yield take


HOME_WORDS: Final = (
    *JSON_WORDS,
    *(b'"version":', b'"chargers":', b'"kind":"file"', b'"keyring"', b'"url":', b'"token":'),
    *(b'"serial":', b'"candidates":', b'"bond":', b'"witnesses":', b'"tries":', b'"identity":'),
)
REPLY_WORDS: Final = (
    *JSON_WORDS,
    *(b'"bonds":', b'"next":', b'"entries":', b'"sequence":', b'"st":', b'"pct":', b'"version":'),
    *(b'"update":true', b'"installed"', b'"ev":"pairing_code"', b'"ev":"pairing_closed"'),
    *(b'"code":"482913"', b'"why":"paired"', b'"receipt":', b'"signature":', b'"role":"owner"'),
)

TARGETS: Final[tuple[Target, ...]] = (
    Target("service", on_a_loop(_service), words=SERVICE_WORDS),
    Target("session", on_a_loop(_session, hurrying=True), words=REPLY_WORDS, cpu_s=1.0),
    Target(
        "greeting",
        on_a_loop(_greeting, hurrying=True),
        words=(b"\x02\x01", b"\x05\x04", b"\x03\x01"),
    ),
    Target("maker", on_a_loop(_maker, hurrying=True), words=REPLY_WORDS),
    Target("home", _home, words=HOME_WORDS, cpu_s=1.0),
)
