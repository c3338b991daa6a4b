"""The account service, as one signed-in person's app sees it."""

import asyncio
import ipaddress
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from chargepin.app.answers import Answer, reaching
from chargepin.app.errors import AccountRefused, AccountUnreachable, VaultError
from chargepin.app.ports import SIGN_IN_FILE, Candidate
from chargepin.core import messages
from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.identity import Claim
from chargepin.core.messages import APP_HEADER, AccessRole, Event, ProblemCode
from chargepin.machine.files import private_directory, read_private, set_aside, write_private

_TIMEOUT_S: Final = 15.0
_SILENCE_S: Final = 45.0  # three of the service's heartbeats
_FIRST_DELAY_S: Final = 1.0
_LONGEST_DELAY_S: Final = 60.0
_T = TypeVar("_T", bound=msgspec.Struct)


class SignIn(msgspec.Struct, frozen=True):
    """What a home keeps of its sign-in. Whoever has the token is this person."""

    url: str
    person: str
    token: messages.Token

    def __repr__(self) -> str:
        return f"SignIn(url={self.url!r}, person={self.person!r})"


class AccountClient:
    """Asks the account service; fulfils the port Accounts.

    Every method that asks raises AccountUnreachable (no answer, or none that helps; whether it
    may have happened), AccountRefused (the service's no, with its code) or UpdateNeeded.
    """

    def __init__(
        self,
        url: str,
        *,
        home: Path | None = None,
        sign_in: SignIn | None = None,
        app: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Name a service: https, or http to this computer itself. Raises AccountUnreachable.

        home: where sign_in was read from, and goes with `logout`. app: this app's version.
        """
        self.url = _checked(url)
        self._home = home
        self._sign_in = sign_in
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={APP_HEADER: app or version("chargepin")},
            timeout=_TIMEOUT_S,
            transport=transport,
            # A proxy for everything else must not get to see what stays on this computer.
            trust_env=self.url.startswith("https:"),
        )

    def __repr__(self) -> str:
        return f"AccountClient({self.url!r}, person={self.person!r})"

    @property
    def person(self) -> str | None:
        """Who is signed in."""
        return self._sign_in.person if self._sign_in else None

    async def close(self) -> None:
        await self._http.aclose()

    # ---- people --------------------------------------------------------------------------------

    async def enter(self, person: str, password: str, *, new: bool) -> SignIn:
        """Sign in; new: make the account first. Not written down: `sign_in` does that."""
        path = "/v1/signup" if new else "/v1/login"
        request = messages.Credentials(person, password)
        answer = await self._ask("POST", path, messages.SignedIn, request)
        self._sign_in = SignIn(self.url, answer.person, answer.token)
        return self._sign_in

    async def logout(self) -> None:
        """End this sign-in: here in any case, at the service if it answers."""
        try:
            await self._ask("POST", "/v1/logout", messages.Done)
        except AccountRefused as refused:
            if refused.refusal != ProblemCode.NOT_SIGNED_IN:
                raise
        finally:
            self._sign_in = None
            if self._home is not None:
                (self._home / SIGN_IN_FILE).unlink(missing_ok=True)

    async def me(self) -> messages.Me:
        return await self._ask("GET", "/v1/me", messages.Me)

    async def sessions(self) -> list[messages.SessionView]:
        return (await self._ask("GET", "/v1/sessions", messages.Sessions)).sessions

    async def end_session(self, session_id: str) -> None:
        await self._ask("DELETE", f"/v1/sessions/{quote(session_id, safe='')}", messages.Done)

    # ---- chargers ------------------------------------------------------------------------------

    async def chargers(self) -> list[messages.ChargerView]:
        return (await self._ask("GET", "/v1/chargers", messages.Chargers)).chargers

    async def charger_id(self, serial: str) -> str | None:
        """The id of the charger with this serial; None if there is none, or more than one."""
        ids = [view.id for view in await self.chargers() if view.serial == serial]
        return ids[0] if len(ids) == 1 else None

    async def challenge(self, charger_id: str) -> messages.ClaimChallenge:
        """What the charger has to sign to be claimed. charger_id: its identity in hex."""
        request = messages.ClaimRequest(charger_id)
        return await self._ask("POST", "/v1/claims", messages.ClaimChallenge, request)

    async def register(self, claim: Claim, signature: str, name: str = "") -> messages.ChargerView:
        """Bring a claim and the charger's signature, in hex. name: what it is called at home."""
        request = messages.Registration(
            identity=claim.identity.hex(),
            serial=claim.serial,
            incarnation=claim.incarnation,
            generation=claim.generation,
            account=claim.account,
            root_key=claim.root_key.hex(),
            nonce=claim.nonce.hex(),
            signature=signature,
            name=name,
        )
        return await self._ask("POST", "/v1/chargers", messages.ChargerView, request)

    async def release(self, charger_id: str) -> None:
        await self._ask("DELETE", _path(charger_id), messages.Done)

    async def audit(self, charger_id: str) -> messages.Audit:
        return await self._ask("GET", _path(charger_id, "audit"), messages.Audit)

    # ---- sharing -------------------------------------------------------------------------------

    async def members(self, charger_id: str) -> list[messages.Member]:
        return (await self._ask("GET", _path(charger_id, "members"), messages.Members)).members

    async def invite(
        self,
        charger_id: str,
        person: str,
        role: str = AccessRole.USER,
        *,
        expires_s: int = messages.USUAL_INVITATION_S,
        until_unix_s: int | None = None,
    ) -> messages.Invitation:
        """Make a link for one person. expires_s: of the link. until_unix_s: of the access."""
        if role not in set(AccessRole):
            raise AccountRefused(f"There is no role {role}.", refusal=ProblemCode.MALFORMED)
        request = messages.InvitationRequest(person, AccessRole(role), expires_s, until_unix_s)
        path = _path(charger_id, "invitations")
        return await self._ask("POST", path, messages.Invitation, request)

    async def accept(self, link: str) -> messages.ChargerView:
        """Accept an invitation by its link, or by the secret alone."""
        request = messages.Acceptance(messages.invitation_secret(link))
        path = "/v1/invitations/accept"
        return await self._ask("POST", path, messages.ChargerView, request)

    async def remove(self, charger_id: str, person: str) -> None:
        await self._ask("DELETE", _path(charger_id, "members", person), messages.Done)

    # ---- the passcode --------------------------------------------------------------------------

    async def passcodes(self, charger_id: str) -> Sequence[Candidate]:
        """What this person may know, newest first; empty without access to the passcode."""
        try:
            kept = await self._ask("GET", _path(charger_id, "passcode"), messages.Passcodes)
        except AccountRefused as refused:
            if refused.refusal in {ProblemCode.NOT_FOUND, ProblemCode.ROLE_TOO_LOW}:
                return ()
            raise
        return tuple(map(_candidate, kept.passcodes))

    async def assign(self, charger_id: str, expected_generation: int) -> Candidate | None:
        """Have the next passcode drawn, pending; None if the account has no such charger.

        Asking again is safe: as long as it is pending, it is the same.
        """
        request = messages.AssignRequest(expected_generation, charger_id)
        path = _path(charger_id, "passcode", "assign")
        try:
            return _candidate(await self._ask("POST", path, messages.KeptPasscode, request))
        except AccountRefused as refused:
            if refused.refusal == ProblemCode.NOT_FOUND:
                return None
            raise

    async def deliver(self, charger_id: str, receipt: str, signature: str) -> None:
        """Hand over the charger's receipt. Bringing it again is no error."""
        request = messages.ReceiptDelivery(receipt, signature)
        path = _path(charger_id, "passcode", "receipt")
        await self._ask("POST", path, messages.ChargerView, request)

    # ---- events --------------------------------------------------------------------------------

    async def events(self, last_id: int | None = None) -> AsyncGenerator[Event, None]:
        """What happens, from now on or after an event's id, through losses of the connection.

        Begins, and goes on after each loss, with READY: what was read before may be outdated.
        Waits longer each time that nothing answers. Raises AccountRefused or UpdateNeeded.
        """
        delay_s = _FIRST_DELAY_S
        while True:
            try:
                async with aclosing(self._stream(last_id)) as stream:
                    async for event in stream:
                        last_id, delay_s = event.id, _FIRST_DELAY_S
                        yield event
            except AccountUnreachable:
                pass  # the service or the way to it is gone for a while
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, _LONGEST_DELAY_S)

    async def _stream(self, last_id: int | None) -> AsyncGenerator[Event, None]:
        headers = {} if last_id is None else {"Last-Event-ID": str(last_id)}
        timeout = httpx.Timeout(_TIMEOUT_S, read=_SILENCE_S)
        request = self._request("GET", "/v1/events", headers=headers, timeout=timeout)
        async with self._answer(request) as answer:
            async for line in answer.lines():
                if line.startswith(b"data:"):
                    yield answer.decoded(line.removeprefix(b"data:"), Event)

    # ---- asking --------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        *,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        timeout: httpx.Timeout | float = _TIMEOUT_S,
    ) -> httpx.Request:
        plain = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        headers = {**plain, **(headers or {})}
        if self._sign_in is not None:
            headers["Authorization"] = f"Bearer {self._sign_in.token}"
        return self._http.build_request(
            method, path, content=content, headers=headers, timeout=timeout
        )

    async def _ask(
        self, method: str, path: str, kind: type[_T], body: msgspec.Struct | None = None
    ) -> _T:
        content = None if body is None else msgspec.json.encode(body)
        async with self._answer(self._request(method, path, content=content)) as answer:
            return answer.decoded(await answer.whole(), kind)

    @asynccontextmanager
    async def _answer(self, request: httpx.Request) -> AsyncIterator[Answer]:
        async with reaching(self.url):
            response = await self._http.send(request, stream=True)
            try:
                answer = Answer(response, self.url)
                await answer.accept()
                yield answer
            finally:
                await response.aclose()


async def sign_in(home: Path, url: str, person: str, password: str, *, new: bool) -> None:
    """Sign a home in, or up; another sign-in that it had is forgotten. Raises VaultError too."""
    client = AccountClient(url)
    try:
        entered = await client.enter(person, password, new=new)
        private_directory(home)
        write_private(home / SIGN_IN_FILE, msgspec.json.encode(entered))
    except OSError as error:
        raise VaultError(
            f"You are signed in, but {home / SIGN_IN_FILE} cannot be written ({error.strerror}).",
            may_have_happened=True,
        ) from error
    finally:
        await client.close()


def open_account(home: Path) -> AccountClient | None:
    """The service that this home is signed in to, if it is. Raises VaultError."""
    path = home / SIGN_IN_FILE
    try:
        sign_in = decoded(read_private(path), SignIn)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VaultError(f"{path} cannot be read ({error.strerror}).") from error
    except Undecodable:
        aside = set_aside(path)
        raise VaultError(
            f"This home's sign-in was damaged and is kept as {aside}. Sign in again."
        ) from None
    return AccountClient(sign_in.url, home=home, sign_in=sign_in)


def _checked(url: str) -> str:
    """A service's address, without a slash at the end. Raises AccountUnreachable."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL:
        parsed = httpx.URL("")
    if parsed.scheme not in {"http", "https"} or not parsed.host or parsed.userinfo:
        raise AccountUnreachable("Name an account service as https://HOST or https://HOST:PORT.")
    if parsed.scheme == "http" and not _is_this_computer(parsed.host):
        raise AccountUnreachable(
            f"{parsed.host} is another computer: http would show your password and passcodes to "
            "everybody on the way. Use https."
        )
    return str(parsed).rstrip("/")


def _is_this_computer(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _path(charger_id: str, *rest: str) -> str:
    return "/".join(["/v1/chargers", *(quote(part, safe="") for part in (charger_id, *rest))])


def _candidate(kept: messages.KeptPasscode) -> Candidate:
    token = kept.owner_token
    return Candidate(
        generation=kept.generation,
        salt=bytes.fromhex(kept.salt),
        passcode=kept.passcode,
        state=kept.state,
        profile=kept.profile,
        owner_token=None if token is None else bytes.fromhex(token),
    )
