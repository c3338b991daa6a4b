"""The service on a real socket: streams, limits and ends of connections."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import msgspec
import pytest

from account.world import PASSWORD, Someone, Unit, new_unit, ok, problem, steady_port
from chargepin.account.api import AccountServer, Settings, serve_account
from chargepin.account.ports import ServiceCannotStart
from chargepin.core.catalogue import Version
from chargepin.core.messages import Event
from manual_loop import ManualLoop, manual_loop
from shown import shows


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, type[ManualLoop]]]:
    return ("asyncio", {"loop_factory": ManualLoop})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AccountServer]:
    async with await serve_account(f"sqlite:///{tmp_path}/a.db") as serving:
        yield serving


@pytest.fixture
async def http(server: AccountServer) -> AsyncIterator[httpx.AsyncClient]:
    no_limit = httpx.Timeout(None)  # the loop's time is moved by hours
    async with httpx.AsyncClient(base_url=server.url, timeout=no_limit) as client:
        yield client


async def sign_up(http: httpx.AsyncClient, person: str) -> Someone:
    response = await http.post("/v1/signup", json={"person": person, "password": PASSWORD})
    return Someone(http, person, ok(response)["token"])


class Stream:
    """An open stream of events."""

    def __init__(self, response: httpx.Response) -> None:
        self.lines = response.aiter_lines()
        self.raw: list[str] = []

    async def line(self) -> str:
        async with asyncio.timeout(3600):
            line = await anext(self.lines)
        self.raw.append(line)
        return line

    async def event(self) -> Event:
        while not (line := await self.line()).startswith("data: "):
            pass
        event = msgspec.json.decode(line.removeprefix("data: "), type=Event)
        assert f"id: {event.id}" in self.raw
        assert f"event: {event.kind}" in self.raw
        return event

    async def end(self) -> None:
        async with asyncio.timeout(3600):
            async for line in self.lines:
                self.raw.append(line)


@asynccontextmanager
async def listening(someone: Someone, after: int | None = None) -> AsyncIterator[Stream]:
    headers = {"Authorization": f"Bearer {someone.token}"}
    if after is not None:
        headers["Last-Event-ID"] = str(after)
    async with someone.http.stream("GET", "/v1/events", headers=headers) as response:
        assert response.status_code == 200
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["cache-control"] == "no-store"
        yield Stream(response)


async def shared(http: httpx.AsyncClient) -> tuple[Someone, Someone, Unit]:
    ann, bob, unit = await sign_up(http, "ann"), await sign_up(http, "bob"), new_unit()
    await ann.claim(unit)
    await bob.accept(await ann.invite(unit, "bob"))
    return ann, bob, unit


async def test_events_arrive_as_they_happen_without_the_passcode(http: httpx.AsyncClient) -> None:
    ann, bob, unit = await shared(http)
    async with listening(bob) as stream:
        ready = await stream.event()
        assert (ready.kind, ready.id) == ("ready", 1)  # access_granted was the first
        kept = await ann.assign_and_confirm(unit)
        pending, active = await stream.event(), await stream.event()
        assert (pending.kind, pending.generation, pending.state, pending.charger) == (
            "passcode_changed",
            1,
            "pending",
            unit.id,
        )
        assert (active.id, active.state) == (3, "active")
        await ann.delete(f"/v1/chargers/{unit.id}/members/bob")
        removed = await stream.event()
        assert (removed.kind, removed.person) == ("access_removed", "bob")
        await ann.assign(unit)  # no longer bob's to know
        await ann.delete(f"/v1/chargers/{unit.id}")
        await bob.claim(new_unit())
        assert (await stream.event()).kind == "access_granted"
        assert not shows("".join(stream.raw), kept.passcode)


async def test_a_stream_resumes_where_it_broke_off(http: httpx.AsyncClient) -> None:
    ann, bob, unit = await shared(http)
    async with listening(bob) as stream:
        last = (await stream.event()).id
    await ann.assign_and_confirm(unit)
    async with listening(bob, last) as stream:
        assert (await stream.event()).kind == "ready"
        missed = [await stream.event(), await stream.event()]
        assert [event.id for event in missed] == [last + 1, last + 2]
        await ann.assign(unit)
        assert (await stream.event()).id == last + 3
    async with listening(bob, last + 2) as stream:
        assert [(await stream.event()).id for _ in range(2)] == [last + 2, last + 3]


async def test_a_gap_too_long_is_told(http: httpx.AsyncClient, server: AccountServer) -> None:
    ann, _, _ = await shared(http)
    async with listening(ann, 10**6) as stream:  # from a state of the service that is gone
        assert (await stream.event()).kind == "ready"
        assert (await stream.event()).kind == "missed"
    writer = server._service._store._writer
    writer.execute("DELETE FROM event WHERE event_id = 1")
    async with listening(ann, 0) as stream:
        assert [(await stream.event()).kind for _ in range(2)] == ["ready", "missed"]
        assert (await stream.event()).id == 2


async def test_a_silent_stream_still_beats(http: httpx.AsyncClient) -> None:
    loop = manual_loop()
    ann = await sign_up(http, "ann")
    async with listening(ann) as stream:
        await stream.event()
        await stream.line()
        for _ in range(3):
            heartbeat = asyncio.create_task(stream.line())
            while not heartbeat.done():
                loop.advance(5)
                await asyncio.wait([heartbeat], timeout=0.01)
            assert heartbeat.result() == ": still here"
            assert await stream.line() == ""


async def test_a_stream_ends_with_its_session(http: httpx.AsyncClient) -> None:
    ann = await sign_up(http, "ann")
    async with listening(ann) as stream:
        await stream.event()
        await ann.post("/v1/logout")
        await stream.end()


async def test_one_person_has_so_many_streams(http: httpx.AsyncClient) -> None:
    ann = await sign_up(http, "ann")
    async with asyncio.timeout(3600):
        streams = [listening(ann) for _ in range(20)]
        opened = [await stream.__aenter__() for stream in streams]
        for stream in opened:
            await stream.event()
        assert problem(await ann.ask("GET", "/v1/events")) == (429, "too_many")
        bob = await sign_up(http, "bob")
        async with listening(bob) as stream:
            await stream.event()
        for closing in streams:
            await closing.__aexit__(None, None, None)


@pytest.mark.parametrize("last_id", ["", "x", "-1", "1.5", "9" * 19])
async def test_last_ids_that_are_none(http: httpx.AsyncClient, last_id: str) -> None:
    ann = await sign_up(http, "ann")
    headers = {"Authorization": f"Bearer {ann.token}", "Last-Event-ID": last_id}
    assert problem(await http.get("/v1/events", headers=headers)) == (400, "malformed")


async def test_closing_ends_streams_and_leaves_no_port_open(tmp_path: Path) -> None:
    server = await serve_account(f"sqlite:///{tmp_path}/a.db", port=steady_port())
    async with httpx.AsyncClient(base_url=server.url) as http:
        ann = await sign_up(http, "ann")
        async with listening(ann) as stream:
            await stream.event()
            closing = asyncio.create_task(server.close())
            await stream.end()
        await closing
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(server.host, server.port)
    again = await serve_account(f"sqlite:///{tmp_path}/a.db", port=server.port)
    assert again.url == server.url
    await again.close()


async def test_two_services_never_share_a_port(server: AccountServer, tmp_path: Path) -> None:
    other = f"sqlite:///{tmp_path}/other.db"
    with pytest.raises(ServiceCannotStart, match="Cannot listen"):
        await serve_account(other, port=server.port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(ServiceCannotStart, match="Cannot listen"):
            await serve_account(other, port=taken.getsockname()[1])
    with pytest.raises(ServiceCannotStart, match="Cannot listen"):
        await serve_account(other, host="no such host.invalid")
    with pytest.raises(ServiceCannotStart, match="Cannot listen"):
        await serve_account(other, port=70_000)
    assert not (tmp_path / "other.db").exists()


def has_ipv6() -> bool:
    with contextlib.suppress(OSError), socket.create_server(("::1", 0), family=socket.AF_INET6):
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="this computer has no IPv6")
async def test_it_listens_on_the_other_protocol_too(tmp_path: Path) -> None:
    async with (
        await serve_account(f"sqlite:///{tmp_path}/a.db", host="::1") as server,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        assert server.url == f"http://[::1]:{server.port}"
        assert (await http.get("/readyz")).json() == {"status": "ok"}


async def test_links_begin_with_the_address_it_has(
    http: httpx.AsyncClient, server: AccountServer
) -> None:
    ann, unit = await sign_up(http, "ann"), new_unit()
    await ann.claim(unit)
    link = await ann.invite(unit, "bob")
    assert link.startswith(f"{server.url}/invite#")
    page = await http.get(link)  # a browser keeps the fragment to itself
    assert page.status_code == 200
    assert "accept" in page.text


async def test_settings_are_used(tmp_path: Path) -> None:
    settings = Settings(base_url="https://account.example/", oldest_app=Version(2, 0, 0))
    async with (
        await serve_account(f"sqlite:///{tmp_path}/a.db", settings=settings) as server,
        httpx.AsyncClient(base_url=server.url) as http,
    ):
        old = await http.get("/v1/me", headers={"Chargepin-App": "1.9.9"})
        assert problem(old) == (426, "update_needed")
        ann, unit = await sign_up(http, "ann"), new_unit()
        await ann.claim(unit)
        assert (await ann.invite(unit, "bob")).startswith("https://account.example/invite#")


async def test_it_prints_nothing(
    http: httpx.AsyncClient, capfd: pytest.CaptureFixture[str]
) -> None:
    await sign_up(http, "ann")
    await http.post("/v1/login", content=b"\xff")
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")


async def raw(server: AccountServer, sent: bytes) -> bytes:
    """What comes back for these bytes until the connection ends."""
    reader, writer = await asyncio.open_connection(server.host, server.port)
    answer = b""
    with contextlib.suppress(OSError):  # it may have hung up already
        writer.write(sent)
        writer.write_eof()
        answer = await reader.read()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return answer


async def test_bytes_that_are_no_http(server: AccountServer, http: httpx.AsyncClient) -> None:
    for sent in (
        b"",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nabc",
        b"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nabc",
        b"POST /v1/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /v1/chargers/%ff%fe/passcode HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET /v1/me HTTP/1.0\r\nHost: x\r\nAuthorization: Bearer \xff\r\n\r\n",
    ):
        assert b"Traceback" not in await raw(server, sent)
    assert (await http.get("/readyz")).status_code == 200


async def test_a_huge_request_is_cut_off_while_it_arrives(http: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(1000):
            yield b"x" * 10_000

    # It may hang up before we are done, which is as good.
    with contextlib.suppress(httpx.TransportError):
        response = await http.post("/v1/login", content=endless())
        assert problem(response) == (413, "too_large")
    assert (await http.get("/readyz")).status_code == 200


async def test_a_request_that_never_ends_is_given_up(server: AccountServer) -> None:
    loop = manual_loop()
    reader, writer = await asyncio.open_connection(server.host, server.port)
    writer.write(b"POST /v1/login HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
    answer = asyncio.create_task(reader.readuntil(b"\r\n"))
    while not answer.done():
        loop.advance(10)
        await asyncio.wait([answer], timeout=0.01)
    assert b" 400 " in answer.result()
    writer.close()
    await writer.wait_closed()
