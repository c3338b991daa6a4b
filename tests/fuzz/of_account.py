"""Targets in the account service: whole HTTP requests, and what its files hold."""

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import msgspec

from account.test_damaged import GOOD, NASTY
from account.world import World, new_unit
from chargepin.account.api import AccountService, Settings
from chargepin.account.operations import OPERATIONS
from chargepin.account.ports import Clock, ServiceCannotStart
from fuzz.driver import AsyncTake, Target, hold, no_faults_logged, on_a_loop, piece, pieces, scratch
from fuzz.of_core import JSON_WORDS

_PROBLEM_FIELDS: Final = {"code", "message", "retry_after_s", "needed"}
_PUBLIC: Final = {operation.path for operation in OPERATIONS if operation.public}
_METHODS: Final = ("GET", "POST", "DELETE", "PUT", "HEAD", "OPTIONS", "TRACE", "")
_BUSY: Final = 503


async def _asked(app: Any, scope: dict[str, Any], body: list[bytes]) -> tuple[int, bytes]:
    """Speak ASGI to the service: headers, paths and bodies as no client library would send them."""
    waiting, sent = list(body), list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        if waiting:
            more = len(waiting) > 1
            return {"type": "http.request", "body": waiting.pop(0), "more_body": more}
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await app(scope, receive, send)
    starts = [message for message in sent if message["type"] == "http.response.start"]
    hold("one answer", held=len(starts) == 1)
    return starts[0]["status"], b"".join(message.get("body", b"") for message in sent)


def _scope(data: bytes, token: str, charger: str) -> tuple[dict[str, Any], list[bytes]]:
    headers = [(b"host", b"account.example")]
    operation = OPERATIONS[0]
    method, path, query, body = "", "", b"", list[bytes]()
    for what, piece_of_it in pieces(data):
        match what % 8:
            case 0:
                operation = OPERATIONS[(piece_of_it or b"\x00")[0] % len(OPERATIONS)]
            case 1:
                headers.append((b"authorization", b"Bearer " + token.encode()))
            case 2:
                name, _, value = piece_of_it.partition(b":")
                headers.append((name.lower(), value))
            case 3:
                query += piece_of_it
            case 4:
                method = _METHODS[(piece_of_it or b"\x00")[0] % len(_METHODS)]
            case 5:
                path = piece_of_it.decode("utf-8", "replace")
            case _:
                body.append(piece_of_it)
    known = path or operation.path.replace("{charger}", charger)
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method or operation.method,
        "scheme": "https",
        "path": known,
        "raw_path": known.encode(),
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 443),
    }, body or [b""]


@asynccontextmanager
async def _http() -> AsyncIterator[AsyncTake]:
    with scratch() as directory, no_faults_logged("chargepin.account"):
        world = World(directory)
        world.open()
        ann, unit = await world.sign_up("ann"), new_unit()
        await ann.claim(unit)

        async def take(data: bytes) -> None:
            world.hands.advance(100)  # or all but the first few would only be throttled
            scope, body = _scope(data, ann.token, unit.id)
            status, answer = await _asked(world.service.app, scope, body)
            hold(f"{status} is no fault", held=status < 500 or status == _BUSY)
            if status >= 400:
                error = json.loads(answer)["error"]
                hold("one form of errors", held=set(error) <= _PROBLEM_FIELDS)
                hold("with a sentence", held=bool(error["message"]))
            private = scope["path"].startswith("/v1/") and scope["path"] not in _PUBLIC
            if private and len(scope["headers"]) < 2:
                hold("nobody gets in unsigned", held=status != 200)

        try:
            yield take
        finally:
            await world.close()


def _wordy(value: object) -> bytes | None:
    """A value as JSON, if JSON can say it and a word is to be so long."""
    with suppress(msgspec.MsgspecError, UnicodeEncodeError, OverflowError, TypeError):
        written = json.dumps(value).encode()
        return written if len(written) < 100 else None
    return None


def _heading(index: int) -> bytes:
    return piece(0, bytes([index])) + piece(1)


_FIELDS: Final = sorted(
    {
        field.name
        for operation in OPERATIONS
        if operation.request is not None
        for field in msgspec.structs.fields(operation.request)
    }
)
HTTP_WORDS: Final = (
    *JSON_WORDS,
    *(_heading(index) for index in range(len(OPERATIONS))),
    *(b'"%s":' % name.encode() for name in _FIELDS),
    *(json.dumps(value).encode() for value in GOOD.values()),
    *(word for word in map(_wordy, NASTY) if word is not None),
    piece(2, b"last-event-id:1"),
    piece(2, b"x-chargepin-app:0.1.0"),
    piece(2, b"authorization:Bearer \xff"),
)


# ---- its files -----------------------------------------------------------------------------------


@asynccontextmanager
async def _files() -> AsyncIterator[AsyncTake]:
    """A database with bytes changed anywhere, and a master key of any bytes."""
    with scratch() as made:
        good = made
        world = World(good)
        world.open()
        ann, unit = await world.sign_up("ann"), new_unit()
        await ann.claim(unit)
        await ann.assign_and_confirm(unit)
        await world.close()
        database = (good / "account.db").read_bytes()
        key = (good / "master.key").read_bytes()
        scope, body = _scope(_heading(6), ann.token, unit.id)

        async def take(data: bytes) -> None:
            with scratch() as directory:
                path = directory / "account.db"
                path.write_bytes(damaged(database, data[1:]))
                changed = data[1:] if data and data[0] & 1 else key
                path.with_name("master.key").write_bytes(changed)
                clock = Clock(lambda: 1_800_000_000, lambda: 0.0)
                try:
                    service = AccountService(path, "https://a.example", Settings(), clock)
                except ServiceCannotStart as error:
                    hold("it says what to do", held=bool(re.search(r"\w\.$", str(error))))
                    return
                try:
                    for index in range(len(OPERATIONS)):
                        if OPERATIONS[index].method == "GET":
                            scope, body = _scope(_heading(index), ann.token, unit.id)
                            status, _ = await _asked(service.app, scope, body)
                            hold(f"{status} is no fault", held=status < 500 or status == _BUSY)
                finally:
                    await service.close()

        _ = scope, body
        yield take


def damaged(file: bytes, data: bytes) -> bytes:
    """Change a file: pieces of a place (of 65536), and what is put there."""
    changed = bytearray(file)
    for place, patch in pieces(data):
        if len(patch) > 1:
            at = (place << 8 | patch[0]) * len(changed) >> 16
            changed[at : at + len(patch) - 1] = patch[1:]
    return bytes(changed)


TARGETS: Final[tuple[Target, ...]] = (
    Target("http", on_a_loop(_http), words=HTTP_WORDS, cpu_s=0.5),
    Target("account_files", on_a_loop(_files), words=(b"0" * 64,), guided=False, cpu_s=1.0),
)
