"""The app's client of the account service, against the service on a real socket."""

import asyncio
import logging
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path

import httpx
import pytest

from account.world import Unit, new_unit, steady_port
from chargepin.account.api import AccountServer, Settings, serve_account
from chargepin.app.account import AccountClient, SignIn, open_account, sign_in
from chargepin.app.errors import (
    AccountRefused,
    AccountUnreachable,
    ChargepinError,
    UpdateNeeded,
    VaultError,
)
from chargepin.app.ports import Accounts, Candidate
from chargepin.core.catalogue import Version
from chargepin.core.identity import Claim
from chargepin.core.messages import Event, KeptPasscode
from manual_loop import at_rest, manual_loop

PASSWORD = "correct horse battery"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[AccountServer]:
    async with await serve_account(f"sqlite:///{tmp_path}/service/a.db") as serving:
        yield serving


class Household:
    """Clients that are closed at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.clients: list[AccountClient] = []

    async def sign_up(self, person: str) -> AccountClient:
        client = AccountClient(self.url)
        self.clients.append(client)
        await client.enter(person, PASSWORD, new=True)
        return client


@pytest.fixture
async def household(server: AccountServer) -> AsyncIterator[Household]:
    made = Household(server.url)
    yield made
    for client in made.clients:
        await client.close()


async def claim(client: AccountClient, unit: Unit) -> None:
    asked = await client.challenge(unit.id)
    signed = unit.claim(
        {"account": asked.account, "root_key": asked.root_key, "nonce": asked.nonce}
    )
    raw = Claim(
        identity=bytes.fromhex(unit.id),
        serial=unit.serial,
        incarnation=unit.incarnation,
        generation=unit.generation,
        account=asked.account,
        root_key=bytes.fromhex(asked.root_key),
        nonce=bytes.fromhex(asked.nonce),
    )
    view = await client.register(raw, signed["signature"], "Garage")
    assert (view.id, view.name, view.role) == (unit.id, "Garage", "owner")


async def confirm(client: AccountClient, unit: Unit, candidate: Candidate) -> None:
    kept = KeptPasscode(
        candidate.generation, candidate.salt.hex(), 1, candidate.passcode, candidate.state
    )
    await client.deliver(unit.id, **unit.receipt(kept))


async def test_a_household_from_claim_to_removal(household: Household) -> None:
    ann, bob, unit = await household.sign_up("ann"), await household.sign_up("bob"), new_unit()
    assert (await ann.me()).person == ann.person == "ann"
    assert await ann.passcodes(unit.id) == ()
    assert await ann.assign(unit.id, 0) is None
    assert await ann.charger_id(unit.serial) is None
    await claim(ann, unit)
    assert await ann.charger_id(unit.serial) == unit.id

    candidate = await ann.assign(unit.id, 0)
    assert candidate is not None
    assert (candidate.state, candidate.generation) == ("pending", 1)
    assert len(candidate.salt) == 16
    assert candidate.owner_token is not None
    assert await ann.assign(unit.id, 0) == candidate
    await confirm(ann, unit, candidate)
    (active,) = await ann.passcodes(unit.id)
    assert active.state == "active"
    assert active.code == candidate.code

    invitation = await ann.invite(unit.id, "bob")
    view = await bob.accept(invitation.link)
    assert (view.role, view.reached) == ("user", True)
    assert [m.person for m in await bob.members(unit.id)] == ["ann", "bob"]
    (shown,) = await bob.passcodes(unit.id)
    assert shown.code == candidate.code
    assert shown.owner_token is None
    with pytest.raises(AccountRefused) as refused:
        await bob.assign(unit.id, 1)
    assert refused.value.refusal == "role_too_low"

    await ann.remove(unit.id, "bob")
    assert await bob.passcodes(unit.id) == ()
    assert (await ann.chargers())[0].rotation_needed
    events = [entry.event for entry in (await ann.audit(unit.id)).entries]
    assert events[0] == "charger_claimed"
    assert events[-1] == "access_removed"
    await ann.release(unit.id)
    assert await ann.chargers() == []


async def test_guests_know_of_the_charger_but_no_passcode(household: Household) -> None:
    ann, gus, unit = await household.sign_up("ann"), await household.sign_up("gus"), new_unit()
    await claim(ann, unit)
    await gus.accept((await ann.invite(unit.id, "gus", "guest", expires_s=60)).link)
    assert await gus.passcodes(unit.id) == ()
    (view,) = await gus.chargers()
    assert view.until_unix_s is not None
    with pytest.raises(AccountRefused) as refused:
        await ann.invite(unit.id, "eve", "king")
    assert refused.value.refusal == "malformed"


async def test_two_chargers_of_one_serial_are_told_apart_by_hand(household: Household) -> None:
    ann = await household.sign_up("ann")
    await claim(ann, new_unit())
    await claim(ann, new_unit())
    assert await ann.charger_id("123456") is None


async def test_names_go_through_addresses_unharmed(household: Household) -> None:
    ann, unit = await household.sign_up("ann"), new_unit()
    name = "b+o b?&#%25ü@example.org"
    bob = await household.sign_up(name)
    await claim(ann, unit)
    await bob.accept((await ann.invite(unit.id, name)).link)
    await ann.remove(unit.id, name)
    assert len(await ann.members(unit.id)) == 1


async def test_the_client_fulfils_the_port(household: Household) -> None:
    port: Accounts = await household.sign_up("ann")
    assert await port.passcodes("00" * 32) == ()


# ---- signing in, and what a home keeps ---------------------------------------------------------


async def test_a_home_stays_signed_in(server: AccountServer, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert open_account(home) is None
    await sign_in(home, server.url, "Ann", PASSWORD, new=True)
    assert stat.S_IMODE((home / "account.json").stat().st_mode) == 0o600
    client = open_account(home)
    assert client is not None
    assert client.person == "ann"
    (session,) = await client.sessions()
    assert session.current
    assert session.app == "0.1.0"

    await sign_in(tmp_path / "other", server.url, "ann", PASSWORD, new=False)
    other = next(s for s in await client.sessions() if not s.current)
    await client.end_session(other.id)
    lost = open_account(tmp_path / "other")
    assert lost is not None
    with pytest.raises(AccountRefused) as refused:
        await lost.me()
    assert refused.value.refusal == "not_signed_in"
    await lost.logout()  # it was signed out there already
    assert open_account(tmp_path / "other") is None

    await client.logout()
    assert "person=None" in repr(client)
    assert open_account(home) is None
    await client.close()
    await lost.close()


async def test_signing_out_works_while_the_service_is_gone(tmp_path: Path) -> None:
    server = await serve_account(f"sqlite:///{tmp_path}/a.db")
    await sign_in(tmp_path / "home", server.url, "ann", PASSWORD, new=True)
    await server.close()
    client = open_account(tmp_path / "home")
    assert client is not None
    with pytest.raises(AccountUnreachable):
        await client.logout()
    assert open_account(tmp_path / "home") is None
    await client.close()


async def test_wrong_passwords_are_refused(server: AccountServer, tmp_path: Path) -> None:
    with pytest.raises(AccountRefused) as refused:
        await sign_in(tmp_path, server.url, "ann", PASSWORD, new=False)
    assert refused.value.refusal == "wrong_password"
    assert not (tmp_path / "account.json").exists()
    for _ in range(9):
        with pytest.raises(AccountRefused):
            await sign_in(tmp_path, server.url, "ann", PASSWORD, new=False)
    with pytest.raises(AccountRefused) as refused:
        await sign_in(tmp_path, server.url, "ann", PASSWORD, new=False)
    assert refused.value.refusal == "too_many"
    assert refused.value.retry_after_s is not None
    assert 0 < refused.value.retry_after_s <= 900


@pytest.mark.parametrize("damage", [b"", b"[]", b'{"url": 5}', b"\xff"])
def test_a_damaged_sign_in_is_kept_aside_and_told(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "account.json").write_bytes(damage)
    with pytest.raises(VaultError, match="corrupt-1"):
        open_account(tmp_path)
    assert (tmp_path / "account.json.corrupt-1").read_bytes() == damage
    assert open_account(tmp_path) is None


async def test_a_home_that_cannot_be_written_is_told(server: AccountServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VaultError) as caught:
        await sign_in(tmp_path / "file", server.url, "ann", PASSWORD, new=True)
    assert caught.value.may_have_happened
    with pytest.raises(VaultError):
        open_account(tmp_path / "file")


async def test_the_token_is_shown_nowhere(
    server: AccountServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    client = AccountClient(server.url)
    kept = await client.enter("ann", PASSWORD, new=True)
    seen: list[str] = []

    async def noting(request: httpx.Request) -> None:
        seen.append(str(request.url))

    client._http.event_hooks["request"] = [noting]
    await client.me()
    unit = new_unit()
    await claim(client, unit)
    candidate = await client.assign(unit.id, 0)
    assert candidate is not None
    with pytest.raises(AccountRefused) as refused:
        await client.deliver(unit.id, "00", "00" * 64)
    shown = "\n".join(
        [caplog.text, *seen, repr(client), repr(kept), str(refused.value), repr(refused.value)]
    )
    assert "Bearer" not in shown
    for secret in (kept.token, PASSWORD, candidate.passcode + '"'):
        assert secret not in shown
    await client.close()


# ---- what goes wrong ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "",
        "127.0.0.1:8700",
        "ftp://127.0.0.1",
        "http://",
        "http://example.org",
        "http://192.168.1.5:8700",
        "http://127.0.0.1.example.org",
        "http://0.0.0.0:8700",
        "https://ann:secret@example.org",
        "http://[::2]:8700",
        "https://exa mple.org\x00",
    ],
)
def test_addresses_that_would_show_secrets_or_are_none(url: str) -> None:
    with pytest.raises(AccountUnreachable) as caught:
        AccountClient(url)
    assert "secret@" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:8700/", "http://localhost", "http://[::1]:1", "https://example.org/a/"],
)
async def test_addresses_that_are_fine(url: str) -> None:
    client = AccountClient(url)
    assert not client.url.endswith("/")
    await client.close()


async def test_no_service_there(tmp_path: Path) -> None:
    server = await serve_account(f"sqlite:///{tmp_path}/a.db", port=steady_port())
    await server.close()
    client = AccountClient(server.url)
    with pytest.raises(AccountUnreachable) as caught:
        await client.enter("ann", PASSWORD, new=True)
    assert not caught.value.may_have_happened
    assert server.url in str(caught.value)
    await client.close()


async def test_an_app_that_is_too_old(tmp_path: Path) -> None:
    settings = Settings(oldest_app=Version(3, 2, 1))
    async with await serve_account(f"sqlite:///{tmp_path}/a.db", settings=settings) as server:
        client = AccountClient(server.url, app="3.2.0")
        attempts: list[Callable[[], Awaitable[object]]] = [
            lambda: client.enter("ann", PASSWORD, new=True),
            lambda: anext(client.events()),
        ]
        for attempt in attempts:
            with pytest.raises(UpdateNeeded) as caught:
                await attempt()
            assert (caught.value.side, caught.value.needed) == ("app", "3.2.1")
        newer = AccountClient(server.url, app="3.2.1")
        await newer.enter("ann", PASSWORD, new=True)
        await newer.close()
        await client.close()


def answering(
    raw: bytes,
) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        writer.close()
        await writer.wait_closed()

    return answer


def http(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("raw", "maybe"),
    [
        (b"", True),
        (b"SSH-2.0-OpenSSH\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", True),
        (http("200 OK", b"<html>hello"), True),
        (http("200 OK", b'{"person": 5}'), True),
        (http("200 OK", b"\xff\xfe"), True),
        (http("302 Found", b""), True),
        (http("404 Not Found", b"<html>"), True),
        (http("502 Bad Gateway", b"<html>"), True),
        (http("500 x", b'{"error": {"code": "internal", "message": "m"}}'), True),
        (http("503 x", b'{"error": {"code": "storage_failed", "message": "m"}}'), False),
    ],
)
async def test_other_answers_than_the_service_s(raw: bytes, maybe: bool) -> None:  # noqa: FBT001 -- a row of the table
    stranger = await asyncio.start_server(answering(raw), "127.0.0.1", 0)
    async with stranger:
        port = stranger.sockets[0].getsockname()[1]
        client = AccountClient(f"http://127.0.0.1:{port}")
        with pytest.raises(AccountUnreachable) as caught:
            await client.enter("ann", PASSWORD, new=True)
        assert caught.value.may_have_happened is maybe
        assert PASSWORD not in str(caught.value)
        await client.close()


async def test_a_service_that_never_answers_is_given_up() -> None:
    loop = manual_loop()
    asked = asyncio.Event()
    gone = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read()
        writer.close()
        gone.set()

    stranger = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with stranger:
        port = stranger.sockets[0].getsockname()[1]
        client = AccountClient(f"http://127.0.0.1:{port}")
        asking = asyncio.create_task(client.me())
        await asked.wait()
        while not asking.done():
            loop.advance(5)
            await asyncio.wait([asking], timeout=0.01)
        with pytest.raises(AccountUnreachable) as caught:
            asking.result()
        assert caught.value.may_have_happened
        await gone.wait()
        await client.close()


# ---- events ------------------------------------------------------------------------------------


async def advanced(waiting: Awaitable[Event]) -> Event:
    """Wait for an event, moving time on so that pauses between attempts pass."""
    loop = manual_loop()
    task = asyncio.ensure_future(waiting)
    while not task.done():
        loop.advance(1)
        await asyncio.wait([task], timeout=0.01)
    return task.result()


async def test_events_go_on_through_a_restart_of_the_service(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/a.db"
    server = await serve_account(database, port=steady_port())
    client = AccountClient(server.url)
    await client.enter("ann", PASSWORD, new=True)
    one, two, three = new_unit(), new_unit(), new_unit()
    async with aclosing(client.events()) as events:
        assert (await anext(events)).kind == "ready"
        await claim(client, one)
        first = await anext(events)
        assert (first.kind, first.charger) == ("access_granted", one.id)

        going_on = asyncio.ensure_future(anext(events))
        await server.close()
        server = await serve_account(database, port=server.port)
        await claim(client, two)  # while nobody listens
        assert (await advanced(going_on)).kind == "ready"
        missed = await anext(events)
        assert (missed.id, missed.charger) == (first.id + 1, two.id)
        await claim(client, three)
        assert (await anext(events)).charger == three.id
    async with aclosing(client.events(first.id)) as events:
        got = [await anext(events) for _ in range(3)]
    assert [event.charger for event in got] == [None, two.id, three.id]
    await client.close()
    await server.close()


async def test_a_stream_that_falls_silent_is_opened_anew() -> None:
    streams = 0
    closed: asyncio.Queue[None] = asyncio.Queue()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal streams
        request = await reader.readuntil(b"\r\n\r\n")
        streams += 1
        if streams == 2:
            assert b"Last-Event-ID: 7" in request
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        writer.write(b'id: 7\nevent: ready\ndata: {"id":7,"kind":"ready"}\n\n')
        await reader.read()
        writer.close()
        await writer.wait_closed()
        closed.put_nowait(None)

    stranger = await asyncio.start_server(silent, "127.0.0.1", 0)
    async with stranger:
        port = stranger.sockets[0].getsockname()[1]
        client = AccountClient(f"http://127.0.0.1:{port}")
        async with aclosing(client.events()) as events:
            assert (await anext(events)).id == 7
            assert (await advanced(anext(events))).id == 7
            assert streams == 2
        await client.close()
        for _ in range(streams):
            await closed.get()


async def test_events_end_when_the_sign_in_does(household: Household) -> None:
    ann = await household.sign_up("ann")
    async with aclosing(ann.events()) as events:
        await anext(events)
        waiting = asyncio.ensure_future(anext(events))
        (session,) = await ann.sessions()
        await ann.end_session(session.id)
        with pytest.raises(AccountRefused) as refused:
            await advanced(waiting)
        assert refused.value.refusal == "not_signed_in"


async def test_attempts_grow_rarer_while_nothing_answers() -> None:
    loop = manual_loop()
    attempts: asyncio.Queue[float] = asyncio.Queue()

    async def refusing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.put_nowait(loop.time())
        writer.close()
        await writer.wait_closed()

    stranger = await asyncio.start_server(refusing, "127.0.0.1", 0)
    async with stranger:
        port = stranger.sockets[0].getsockname()[1]
        client = AccountClient(f"http://127.0.0.1:{port}")
        async with aclosing(client.events()) as events:
            waiting = asyncio.ensure_future(anext(events))
            before_s = await attempts.get()
            for least_s in (1, 2, 4, 8, 16, 32, 60, 60, 60):
                await at_rest()  # by now it pauses
                rested_s = loop.time() - before_s
                loop.advance(max(0.0, least_s - rested_s))
                next_s = await attempts.get()
                assert least_s <= next_s - before_s < max(least_s, rested_s) + 3
                before_s = next_s
            waiting.cancel()
            await asyncio.wait([waiting])
        await client.close()


def test_a_sign_in_hides_its_token() -> None:
    assert "t0ken" not in repr(SignIn("https://x", "ann", "t0ken"))
    assert issubclass(AccountUnreachable, ChargepinError)
