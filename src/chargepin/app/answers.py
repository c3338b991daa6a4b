"""What an account service answers: read with bounds, or one error that says what is wrong."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import httpx
import msgspec

from chargepin.app.errors import AccountRefused, AccountUnreachable, UpdateNeeded
from chargepin.core import messages
from chargepin.core.decoding import Undecodable, decoded
from chargepin.core.messages import ProblemCode

LARGEST_BYTES: Final = 1 << 20
LONGEST_LINE_BYTES: Final = 1 << 16
_T = TypeVar("_T", bound=msgspec.Struct)


class Answer:
    """One answer of the service at url, of which nothing was read yet.

    Everything raises AccountUnreachable for what cannot be an account service's.
    """

    def __init__(self, response: httpx.Response, url: str) -> None:
        self._response = response
        self._url = url

    async def accept(self) -> None:
        """Go on only if it is no refusal. Raises AccountRefused and UpdateNeeded too."""
        if self._response.headers.get("Content-Encoding", "identity") != "identity":
            raise self._no_service()  # nobody asked for it: little of it may become much
        if self._response.is_error:
            raise self._refusal(await self.whole())

    async def whole(self) -> bytes:
        """All of it."""
        content = bytearray()
        async for piece in self._response.aiter_bytes():
            content += piece
            if len(content) > LARGEST_BYTES:
                raise self._no_service()
        return bytes(content)

    async def lines(self) -> AsyncIterator[bytes]:
        """Line by line, as they come."""
        rest = b""
        async for piece in self._response.aiter_bytes():
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.removesuffix(b"\r")
            if len(rest) > LONGEST_LINE_BYTES:
                raise self._no_service()

    def decoded(self, content: bytes, kind: type[_T]) -> _T:
        """Read a part of it."""
        try:
            return decoded(content, kind)
        except Undecodable:
            raise self._no_service() from None

    def _refusal(self, content: bytes) -> Exception:
        """The error that it stands for."""
        try:
            problem = decoded(content, messages.ProblemReply).error
        except Undecodable:
            return self._no_service()
        if self._response.status_code == httpx.codes.UPGRADE_REQUIRED:
            return UpdateNeeded(problem.message, side="app", needed=problem.needed or "")
        if self._response.is_server_error:
            # Not a no, but a service in trouble: what was asked for is worth asking again.
            return AccountUnreachable(
                problem.message,
                may_have_happened=problem.code == ProblemCode.INTERNAL,
                retry_after_s=problem.retry_after_s or 0.0,
            )
        return AccountRefused(
            problem.message, refusal=problem.code, retry_after_s=problem.retry_after_s
        )

    def _no_service(self) -> AccountUnreachable:
        return AccountUnreachable(
            f"What answers at {self._url} is no account service, or one of another time.",
            may_have_happened=True,
        )


@asynccontextmanager
async def reaching(url: str) -> AsyncIterator[None]:
    """Whatever happens on the way becomes AccountUnreachable, without what was sent."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
        raise AccountUnreachable(
            f"The account service at {url} does not answer.", retry_after_s=0.0
        ) from error
    except (httpx.HTTPError, httpx.StreamError) as error:
        raise AccountUnreachable(
            f"The connection to the account service at {url} broke off; what was asked may have "
            "been done.",
            may_have_happened=True,
            retry_after_s=0.0,
        ) from error
