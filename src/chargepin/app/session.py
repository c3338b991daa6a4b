"""The app's half of the passcode service on one link: messages, handshake, requests in records."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from chargepin.app.errors import (
    ChargerRefused,
    IdentityMismatch,
    LinkLost,
    ProtocolError,
    RoleTooLow,
    UpdateNeeded,
)
from chargepin.app.ports import AttRefused, Link
from chargepin.core import bapi, channel, gatt, handshake, identity
from chargepin.core.catalogue import PASSCODE_SINCE, Version
from chargepin.core.identity import Credential, Hello, Hint, MessageType, Params, Refusal

T = TypeVar("T")

ANSWER_WITHIN_S = 10.0
SLOW_ANSWER_WITHIN_S = 30.0
UNANSWERED_CHUNKS = 16
_BETWEEN = (
    "The charger knows of another connection than this one: somebody may stand between this app and"
    " it. Nothing was sent. Go close to the charger and try again."
)


class WasRefused(Exception):
    """The charger answered with a REFUSAL, its signature verified."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.code.name)
        self.refusal = refusal


class Session:
    """One link's passcode service, from the app's side.

    random: bytes from the system's generator. on_event: called for what the charger says unasked.
    unanswered: whether a request that may change something was given up before its answer. raised:
    the role that the charger raised the session to, after it was granted. tampered: whether the
    charger says, to admins, that its housing was opened.
    Every method raises LinkLost when the link goes and ProtocolError for nonsense from the other
    side.
    """

    def __init__(
        self,
        link: Link,
        app: Version,
        random: Callable[[int], bytes],
        on_event: Callable[[bapi.Event], None] = lambda _: None,
    ) -> None:
        self.unanswered = False
        self.tampered = False
        self.raised: str | None = None
        self._link = link
        self._app = app
        self._random = random
        self._on_event = on_event
        self._listeners: list[Callable[[bapi.Event | Exception], None]] = []
        self._assembler = channel.Assembler()
        self._messages: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._sealer: channel.Sealer | None = None
        self._opener: channel.Opener | None = None
        self._waiting: dict[int, asyncio.Future[bapi.Reply]] = {}
        self._granted: asyncio.Future[Mapping[str, object]] | None = None
        self._next_id = 0
        self._writing = asyncio.Lock()
        self._hello = b""
        self._params = b""
        self._hint: Hint | None = None

    async def begin(self) -> Hint:
        """Read the hint and listen. The hint is never a decision."""
        self._link.on_close(self._lost)
        try:
            await self._link.subscribe(gatt.PASSCODE_NOTIFY.uuid, self._heard)
            self._hint = Hint.decode(await self._link.read(gatt.PASSCODE_HINT.uuid))
        except (AttRefused, identity.IdentityError) as error:
            raise ProtocolError(
                f"The charger's passcode service does not work as it should: {error}."
            ) from error
        return self._hint

    async def hello(self, credential: Credential, tag_key: bytes | None = None) -> Params:
        """Say HELLO; returns PARAMS whose signature holds under the identity they name.

        Raises WasRefused, equally verified.
        """
        assert self._hint is not None  # noqa: S101 - begin() comes first
        nonce = self._random(16)
        tag = handshake.bond_tag(tag_key, self._hint.nonce, nonce) if tag_key else bytes(16)
        hello = Hello(credential=credential, app=self._app, nonce=nonce, tag=tag)
        self._hello = hello.encode()
        await self._send(self._hello)
        answer = await self._next()
        try:
            self._refuse_refusal(answer)
            params = Params.decode(answer)
            identity.verify_answer(params.identity, self._hello, answer)
        except identity.IdentityError as error:
            raise ProtocolError(
                f"The charger's answer is not signed as it must be: {error}."
            ) from error
        if (params.protocol, params.suite) != (identity.PROTOCOL, identity.SUITE):
            raise ProtocolError("The charger answers in another version than it was asked in.")
        self._params = answer
        return params

    async def prove(self, witness: handshake.Witness, params: Params) -> Mapping[str, object]:
        """Run the handshake; returns what the charger grants.

        Raises WrongSecret when the charger does not confirm the secret, WasRefused, and
        IdentityMismatch when somebody stands between this app and an open charger.
        """
        try:
            prover = handshake.Prover(witness, params.identity, self._random(48))
            await self._send(bytes([MessageType.SHARE_P]) + prover.start())
            answer = await self._next()
            self._refuse_refusal(answer)
            share_v, confirm_v = identity.decode_share_v(answer)
            context = handshake.context(self._hello, self._params)
            proof = prover.finish(context, share_v, confirm_v)
        except handshake.WrongSecret:
            raise
        except (handshake.HandshakeError, identity.IdentityError) as error:
            raise ProtocolError(f"The charger's proof is malformed: {error}.") from error
        keys = proof.keys
        self._sealer = channel.Sealer(keys.app_to_charger, channel.Direction.APP_TO_CHARGER)
        self._opener = channel.Opener(keys.charger_to_app, channel.Direction.CHARGER_TO_APP)
        self._granted = asyncio.get_running_loop().create_future()
        await self._send(bytes([MessageType.CONFIRM_P]) + proof.confirm_p)
        granted = await self._within(self._granted, may_have_happened=False)
        # With another nonce than the link's, the charger did not know a bond by its tag; whoever
        # falls back on the passcode then would give up a bond that is still good.
        if self._hint is None or granted.get("nonce") != self._hint.nonce.hex():
            raise IdentityMismatch(_BETWEEN)
        if params.credential is Credential.OPEN:
            _refuse_third(params.identity, keys.exporter, granted.get("signature"))
        return granted

    async def request(self, method: str, par: object = None) -> object:
        """Call a method in a record; returns the reply's value.

        Raises ChargerRefused, RoleTooLow or UpdateNeeded for the charger's errors. When the link
        goes before the answer of a method that may change something, LinkLost says so.
        """
        self._next_id += 1
        number = self._next_id
        if self._sealer is None:
            raise ProtocolError("There is no session to ask in.")
        waiting: asyncio.Future[bapi.Reply] = asyncio.get_running_loop().create_future()
        self._waiting[number] = waiting
        changes = bapi.method_of(method).kind is bapi.Kind.WRITE
        try:
            async with self._writing:
                message = self._sealer.seal(bapi.request_json(method, par, number))
                await self._write(channel.encode(message))
            reply = await self._within(waiting, may_have_happened=changes)
        except asyncio.CancelledError:
            self.unanswered = changes
            raise
        except (bapi.BapiError, channel.ChannelError) as error:
            raise ProtocolError(f"The request cannot be sent: {error}.") from error
        finally:
            self._waiting.pop(number, None)
        if reply.error is not None:
            raise refused(reply.error)
        return reply.value

    def listen(self, heard: Callable[[bapi.Event | Exception], None]) -> Callable[[], None]:
        """Hear events, and the error that ends the session; call what it gives to stop."""
        self._listeners.append(heard)
        return lambda: self._listeners.remove(heard)

    # ---- both directions ------------------------------------------------------------------

    async def _send(self, message: bytes) -> None:
        async with self._writing:
            await self._write(channel.encode(message))

    async def _write(self, frame: bytes) -> None:
        """Every 16th chunk waits for its response: a charger drops who floods its inbox of 32."""
        try:
            for number, chunk in enumerate(channel.chunks(frame, self._link.att_mtu), start=1):
                waits = number % UNANSWERED_CHUNKS == 0
                await self._link.write(gatt.PASSCODE_WRITE.uuid, chunk, response=waits)
        except AttRefused as error:
            raise ProtocolError(f"The charger does not take what is written: {error}.") from error

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                message = await self._messages.get()
        except TimeoutError:
            raise LinkLost(
                "The charger does not answer. Nothing was changed; try again.", retry_after_s=0.0
            ) from None
        if isinstance(message, Exception):
            raise message
        return message

    async def _within(self, future: asyncio.Future[T], *, may_have_happened: bool) -> T:
        try:
            async with asyncio.timeout(SLOW_ANSWER_WITHIN_S):
                return await future
        except TimeoutError:
            raise LinkLost(
                "The charger does not answer.",
                may_have_happened=may_have_happened,
                retry_after_s=0.0,
            ) from None
        except LinkLost as lost:
            raise LinkLost(
                str(lost), may_have_happened=may_have_happened, retry_after_s=0.0
            ) from lost

    def _heard(self, chunk: bytes) -> None:
        try:
            for message in self._assembler.feed(chunk):
                if self._opener is None:
                    self._messages.put_nowait(message)
                elif message[0] == channel.RECORD:
                    self._take(bapi.decode_reply_or_event(self._opener.open(message)))
                else:
                    self._refuse_refusal(message)
                    self._fail(ProtocolError("The charger left the session without a reason."))
        except WasRefused as refusal:
            self._fail(refusal)
        except (channel.ChannelError, bapi.BapiError, identity.IdentityError) as error:
            self._fail(ProtocolError(f"What the charger sends cannot be read: {error}."))

    def _take(self, heard: bapi.Reply | bapi.Event) -> None:
        if isinstance(heard, bapi.Reply):
            waiting = self._waiting.pop(heard.id, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(heard)
        elif heard.name == "granted" and self._granted is not None and not self._granted.done():
            self.tampered = heard.members.get("tampered") is True
            self._granted.set_result(heard.members)
        else:
            if heard.name == "role_raised":
                self.raised = str(heard.members.get("role"))
            self.tampered |= heard.name == "tampered"
            self._on_event(heard)
            for listener in tuple(self._listeners):
                listener(heard)

    def _lost(self) -> None:
        self._fail(LinkLost("The connection to the charger broke off.", retry_after_s=0.0))

    def _fail(self, error: Exception) -> None:
        self._messages.put_nowait(error)
        for listener in tuple(self._listeners):
            listener(error)
        pending: list[asyncio.Future[Any]] = [*self._waiting.values()]
        if self._granted is not None:
            pending.append(self._granted)
        for future in pending:
            if not future.done():
                future.set_exception(error)
                future.exception()  # it may be that nobody waits for it any more

    def _refuse_refusal(self, answer: bytes) -> None:
        if answer[0] == MessageType.REFUSAL:
            refusal = Refusal.decode(answer)
            identity.verify_answer(refusal.identity, self._hello, answer)
            raise WasRefused(refusal)


def _refuse_third(charger: bytes, exporter: bytes, signature: object) -> None:
    """Raise IdentityMismatch unless the charger has signed this very session.

    The open handshake keeps listeners out, but anybody can run it: towards the charger, and towards
    the app in the charger's name, to read the passcode's verifier out of a first `passcode.set`.
    """
    try:
        identity.verify_open(charger, exporter, bytes.fromhex(str(signature)))
    except ValueError as error:  # an IdentityError, or no hex
        raise IdentityMismatch(_BETWEEN) from error


def refused(error: bapi.Refused) -> Exception:
    """The exception for an error that the charger answered with."""
    message = error.message or f"The charger refused (code {error.code})."
    if error.code == "role_too_low":
        return RoleTooLow(message)
    if error.code == "update_needed":
        return UpdateNeeded(message, side="charger", needed=str(PASSCODE_SINCE))
    return ChargerRefused(message, refusal=error.code)
