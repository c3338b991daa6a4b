"""The account service's operations as an ASGI application."""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from chargepin.account.operations import (
    EVENTS,
    OPERATIONS,
    STATUS,
    Call,
    Operation,
    Services,
    openapi,
)
from chargepin.account.ports import Refused, Session, StorageFailed, Store
from chargepin.account.push import Push
from chargepin.core.catalogue import Version
from chargepin.core.messages import APP_HEADER, Problem, ProblemCode, ProblemReply

LARGEST_BODY_BYTES: Final = 16 * 1024

_API_VERSION: Final = "1"
_BODY_S: Final = 30.0
_NO_STORE: Final = {"Cache-Control": "no-store"}
_logger = logging.getLogger(__name__)


class Application:
    """Routes, checks and answers. oldest_app: apps that are older are told to update."""

    def __init__(self, services: Services, push: Push, store: Store, oldest_app: Version) -> None:
        self._services = services
        self._push = push
        self._store = store
        self._oldest_app = oldest_app

    def asgi(self) -> Starlette:
        routes = [self._route(operation) for operation in OPERATIONS]
        document = msgspec.json.encode(openapi(_API_VERSION))
        routes += [
            _plain("/healthz", self._alive),
            _plain("/readyz", self._ready),
            _plain("/openapi.json", _constant(document, "application/json")),
            _plain("/invite", _constant(_INVITED, "text/plain; charset=utf-8")),
        ]
        return Starlette(routes=routes, exception_handlers={HTTPException: _http_exception})

    def _route(self, operation: Operation) -> Route:
        async def endpoint(request: Request) -> Response:
            return await _answered(self._answer(operation, request))

        route = Route(operation.path, endpoint, methods=[operation.method])
        # Starlette lets HEAD in beside GET; reading a passcode to throw it away helps nobody.
        route.methods = {operation.method}
        return route

    async def _answer(self, operation: Operation, request: Request) -> Response:
        app = self._app_version(request)
        session = None if operation.public else await self._session(request)
        if operation is EVENTS and session is not None:
            return self._stream(request, session)
        if operation.run is None:
            raise TypeError(f"nothing runs {operation.name}")
        body = None
        if operation.request is not None:
            body = _decoded(await _body(request), operation.request)
        call = Call(session, operation.may, request.path_params, body, app)
        return _json(200, await operation.run(self._services, call))

    def _app_version(self, request: Request) -> str:
        """The app's version, "" if it does not say. Raises Refused for one that is too old."""
        text = request.headers.get(APP_HEADER, "")
        if not text:
            return ""
        try:
            version = Version.parse(text)
        except ValueError:
            raise Refused(
                ProblemCode.MALFORMED, f"The header {APP_HEADER} is no version."
            ) from None
        if version < self._oldest_app:
            raise Refused(
                ProblemCode.UPDATE_NEEDED,
                f"This app ({version}) is too old for the account service; nothing was changed. "
                f"Update it to {self._oldest_app} or newer.",
                needed=str(self._oldest_app),
            )
        return str(version)

    async def _session(self, request: Request) -> Session:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Refused(ProblemCode.NOT_SIGNED_IN, "Sign in first.")
        return await self._services.people.session(token.strip())

    def _stream(self, request: Request, session: Session) -> Response:
        last_id = request.headers.get("Last-Event-ID")
        if last_id is not None and re.fullmatch(r"[0-9]{1,18}", last_id, re.ASCII) is None:
            raise Refused(ProblemCode.MALFORMED, "The header Last-Event-ID is no event's id.")
        self._push.admit(session)
        return StreamingResponse(
            self._push.stream(session, None if last_id is None else int(last_id)),
            media_type="text/event-stream",
            headers={**_NO_STORE, "X-Accel-Buffering": "no"},
        )

    async def _alive(self, _: Request) -> Response:
        return Response(b'{"status":"ok"}', media_type="application/json")

    async def _ready(self, _: Request) -> Response:
        await self._store.check()
        return Response(b'{"status":"ok"}', media_type="application/json")


# ---- requests and answers ----------------------------------------------------------------------


async def _answered(answer: Awaitable[Response]) -> Response:
    """The answer, or the problem that came instead: nothing else leaves the service."""
    try:
        return await answer
    except Refused as refused:
        return _problem(
            refused.code,
            str(refused),
            retry_after_s=refused.retry_after_s,
            needed=refused.needed,
        )
    except StorageFailed as error:
        _logger.error("storage failed: %s", error)  # noqa: TRY400 -- the message says it all
        return _problem(
            ProblemCode.STORAGE_FAILED,
            "The account service's storage failed; nothing was changed. Try again later.",
            retry_after_s=10.0,
        )
    except ClientDisconnect:
        return _problem(ProblemCode.MALFORMED, "The request ended before it was whole.")
    except Exception:
        _logger.exception("a request failed by a fault of the service")
        return _problem(
            ProblemCode.INTERNAL, "The account service has a fault; the request may have been done."
        )


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            async for chunk in request.stream():
                body += chunk
                if len(body) > LARGEST_BODY_BYTES:
                    raise Refused(
                        ProblemCode.TOO_LARGE,
                        f"A request has at most {LARGEST_BODY_BYTES} bytes.",
                    )
    except TimeoutError:
        raise Refused(ProblemCode.MALFORMED, "The request took too long to arrive.") from None
    return bytes(body)


def _decoded(body: bytes, kind: type[msgspec.Struct]) -> msgspec.Struct:
    """Read a request. What is wrong is told by place and rule, never by repeating a value."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        found = re.sub(r"(Invalid enum value) .*?( - at|$)", r"\1\2", str(error))
        raise Refused(ProblemCode.MALFORMED, f"The request is wrong: {found}.") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refused(ProblemCode.MALFORMED, "The request is no JSON in UTF-8.") from None


def _json(status: int, content: msgspec.Struct, headers: dict[str, str] | None = None) -> Response:
    return Response(
        msgspec.json.encode(content),
        status,
        headers=_NO_STORE | (headers or {}),
        media_type="application/json",
    )


def _problem(
    code: ProblemCode,
    message: str,
    *,
    retry_after_s: float | None = None,
    needed: str | None = None,
) -> Response:
    headers = {}
    if retry_after_s is not None:
        headers["Retry-After"] = f"{retry_after_s:.0f}"
    if code is ProblemCode.NOT_SIGNED_IN:
        headers["WWW-Authenticate"] = "Bearer"
    reply = ProblemReply(Problem(code, message, retry_after_s, needed))
    return _json(STATUS[code], reply, headers)


async def _http_exception(_: Request, error: Exception) -> Response:
    """Starlette's own refusals, in our form."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if status == STATUS[ProblemCode.WRONG_METHOD]:
        return _problem(ProblemCode.WRONG_METHOD, "This address does not take this method.")
    return _problem(ProblemCode.NOT_FOUND, "There is nothing at this address.")


_INVITED: Final = (
    b"You were invited to a charger. Open the whole link of this page in your app, or with\n\n"
    b"    chargepin accept LINK\n\n"
    b"after you have signed in as the person who was invited.\n"
)


def _constant(content: bytes, media_type: str) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(_: Request) -> Response:
        return Response(content, media_type=media_type)

    return endpoint


def _plain(path: str, endpoint: Callable[[Request], Awaitable[Response]]) -> Route:
    async def answered(request: Request) -> Response:
        return await _answered(endpoint(request))

    return Route(path, answered)
