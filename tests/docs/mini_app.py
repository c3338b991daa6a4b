"""An app on one link, written from docs/protocol.md alone: sections 9 to 13 of that document."""

import json
from collections.abc import Callable
from typing import Any, Protocol

from docs.mini_client import (
    CONFIRM_P,
    OPEN,
    REFUSAL,
    SHARE_P,
    Broken,
    Params,
    Records,
    Refusal,
    Stream,
    bond_tag,
    bond_tag_key,
    check,
    context,
    cut,
    framed,
    hello,
    prove,
    read_answer,
    read_hint,
    scalar,
    share_p,
)


class Link(Protocol):
    """One connection, subscribed to the charger's notifications."""

    att_mtu: int

    def hint(self) -> bytes: ...

    async def write(self, chunk: bytes, *, response: bool) -> None: ...

    async def heard(self) -> bytes: ...


class ChargerError(Exception):
    """An error object: what the charger answered to a request."""

    def __init__(self, code: object) -> None:
        super().__init__(str(code))
        self.code = code


class Client:
    """An app on one link."""

    def __init__(self, link: Link, random: Callable[[int], bytes]) -> None:
        self._link = link
        self._random = random
        self._stream = Stream()
        self._waiting: list[bytes] = []
        self._sends: Records | None = None
        self._hears: Records | None = None
        self._id = 0
        self.said = b""
        self.hint = read_hint(link.hint())

    async def hello(
        self, credential: int, bond: tuple[bytes, bytes] | None = None
    ) -> Params | Refusal:
        """Say HELLO; bond: its secret and the charger's identity."""
        nonce, tag = self._random(16), bytes(16)
        if bond is not None:
            tag = bond_tag(bond_tag_key(*bond), self.hint.nonce, nonce)
        self.said = hello(credential, nonce, tag)
        await self.send(self.said)
        answer = read_answer(self.said, await self.message())
        if isinstance(answer, Params) and answer.credential != credential:
            raise Broken("another credential is asked for than was offered")
        return answer

    async def enter(self, params: Params, secret: tuple[int, int]) -> dict[str, Any] | Refusal:
        """Prove a secret; gives the event `granted`. Raises WrongSecret."""
        x = scalar(self._random(48))
        await self.send(bytes([SHARE_P]) + share_p(secret[0], x))
        answer = await self.message()
        if answer[0] == REFUSAL:
            return self._refusal(answer)
        bound = context(self.said, params.raw)
        outcome = prove(bound, params.identity, secret, x, answer)
        self._sends = Records(outcome.app_to_charger, 0)
        self._hears = Records(outcome.charger_to_app, 1)
        await self.send(bytes([CONFIRM_P]) + outcome.confirm_p)
        answer = await self.message()
        if answer[0] == REFUSAL:
            return self._refusal(answer)
        granted = self.opened(answer)
        if granted.get("ev") != "granted":
            raise Broken("the first record is the event granted")
        if bytes.fromhex(granted.pop("nonce")) != self.hint.nonce:
            raise Broken("the charger's link is another one")
        if params.credential == OPEN:
            signature = bytes.fromhex(granted.pop("signature"))
            check(params.identity, signature, b"chargepin open 1" + outcome.exporter)
        return granted

    async def ask(self, method: str, par: object = None) -> Any:
        """Call a method; gives the value. Raises ChargerError."""
        if self._sends is None:
            raise Broken("there is no session")
        self._id += 1
        request = json.dumps({"met": method, "par": par, "id": self._id}).encode()
        await self.send(self._sends.seal(request))
        reply = self.opened(await self.message())
        while "ev" in reply:
            reply = self.opened(await self.message())
        if reply.pop("id") != self._id:
            raise Broken("a reply to another request")
        if "error" in reply:
            raise ChargerError(reply["error"]["code"])
        return reply["r"] if reply.keys() == {"r"} else reply

    async def send(self, message: bytes) -> None:
        chunks = cut(framed(message), self._link.att_mtu)
        for number, chunk in enumerate(chunks, start=1):
            await self._link.write(chunk, response=number % 16 == 0)

    async def message(self) -> bytes:
        while not self._waiting:
            self._waiting += self._stream.feed(await self._link.heard())
        return self._waiting.pop(0)

    def opened(self, message: bytes) -> dict[str, Any]:
        if self._hears is None:
            raise Broken("a record outside a session")
        opened = json.loads(self._hears.open(message))
        if not isinstance(opened, dict):
            raise Broken("a record that holds no object")
        return opened

    def _refusal(self, message: bytes) -> Refusal:
        refusal = read_answer(self.said, message)
        if not isinstance(refusal, Refusal):
            raise Broken("a REFUSAL was expected")
        return refusal
