"""An account service that answers without end, or with little that would become much."""

import gzip
from collections.abc import AsyncIterator
from contextlib import aclosing

import httpx
import pytest

from chargepin.app.account import AccountClient
from chargepin.app.answers import LARGEST_BYTES, LONGEST_LINE_BYTES
from chargepin.app.errors import AccountUnreachable
from chargepin.core.messages import Event

PIECE = b" " * 10_000


class Endless(httpx.AsyncByteStream):
    """A body that goes on; read: how much of it was taken."""

    def __init__(self, *first: bytes) -> None:
        self.first = first
        self.read = 0
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.first:
            yield piece
        while True:
            self.read += len(PIECE)
            yield PIECE

    async def aclose(self) -> None:
        self.closed = True


def client(body: httpx.AsyncByteStream | bytes, status: int = 200, **headers: str) -> AccountClient:
    def answer(request: httpx.Request) -> httpx.Response:
        assert request.headers["accept-encoding"] == "identity"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if isinstance(body, bytes):
            return httpx.Response(status, headers=named, content=body)
        return httpx.Response(status, headers=named, stream=body)

    transport = httpx.MockTransport(answer)
    return AccountClient("http://127.0.0.1:8700", app="0.1.0", transport=transport)


@pytest.mark.parametrize("status", [200, 404, 503])
async def test_an_answer_without_end_is_left(status: int) -> None:
    body = Endless(b"{")
    with pytest.raises(AccountUnreachable, match="no account service"):
        await client(body, status).me()
    assert body.read <= LARGEST_BYTES + len(PIECE)
    assert body.closed


async def _fill(events: list[Event], of: AccountClient) -> None:
    async with aclosing(of._stream(None)) as stream:
        async for event in stream:
            events.append(event)  # noqa: PERF401 - the stream ends in an error


async def test_a_line_without_end_is_left_after_the_events_before_it() -> None:
    body = Endless(b'id: 1\ndata: {"id":1,', b'"kind":"ready"}\r\n\ndata:')
    events: list[Event] = []
    with pytest.raises(AccountUnreachable):
        await _fill(events, client(body))
    assert events == [Event(1, "ready")]
    assert body.read <= LONGEST_LINE_BYTES + len(PIECE)
    assert body.closed


async def test_what_is_compressed_unasked_is_not_unpacked() -> None:
    bomb = gzip.compress(b'{"person":"ann","account":"a","created_unix_s":1}')
    with pytest.raises(AccountUnreachable, match="no account service"):
        await client(bomb, content_encoding="gzip").me()


@pytest.mark.parametrize("encoding", ["", "identity"])
async def test_an_honest_answer_says_that_it_is_plain_or_nothing(encoding: str) -> None:
    body = b'{"person":"ann","account":"a","created_unix_s":1}'
    said = client(body, content_encoding=encoding) if encoding else client(body)
    assert (await said.me()).person == "ann"
