"""One link's side of the passcode service: fragments, the handshake's material, records."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import assert_never

from chargepin.charger.ports import Unit
from chargepin.core import bapi, bonds, channel, handshake, identity
from chargepin.core.bonds import Role
from chargepin.core.commands import Denial
from chargepin.core.guard_state import (
    Answer,
    Event,
    Grant,
    Guard,
    HelloReceived,
    OfSession,
    ProofChecked,
    Refuse,
    Respond,
    RoleRaised,
    SendParams,
    ShareReceived,
    Tell,
)
from chargepin.core.handshake import CONFIRM_BYTES, SHARE_BYTES
from chargepin.core.identity import Credential, MessageType


class Session:
    """What one link needs to answer: its nonce, the HELLO, the proof that is expected, its keys.

    Whether a message may come now is the guard's to say; this only remembers and encodes. out:
    takes framed messages. answers: to the commands that wait for the guard, oldest first: a
    request's id, and what makes its reply.
    """

    def __init__(self, unit: Unit, connection_nonce: bytes, out: Callable[[bytes], None]) -> None:
        self.connection_nonce = connection_nonce
        self.answers: deque[tuple[int, Callable[[Guard], object]]] = deque()
        self.assembler = channel.Assembler()
        self._unit = unit
        self._out = out
        self._hello = b""
        self._credential = Credential.OPEN
        self._params = b""
        self._share_p = b""
        self._response: handshake.Response | None = None
        self._sealer: channel.Sealer | None = None
        self._opener: channel.Opener | None = None

    def said(self, link: int, message: bytes, table: bonds.Table, unix_s: int) -> Event:
        """What a message of the handshake is to the guard. table: of the bonds a tag may name.

        Raises IdentityError or ChannelError for what is none.
        """
        match message[0]:
            case MessageType.HELLO:
                self._hello, self._params, self._share_p, self._response = message, b"", b"", None
                hello = identity.Hello.decode(message)
                self._credential = hello.credential
                bond = None
                if hello.credential is Credential.BOND:
                    bond = bonds.by_tag(table, hello.tag, self.connection_nonce, hello.nonce)
                known = hello.protocol == identity.PROTOCOL and hello.suite == identity.SUITE
                return HelloReceived(link, hello.credential, hello.app, bond, known)
            case MessageType.SHARE_P:
                self._share_p = _body(message, SHARE_BYTES)
                return ShareReceived(link)
            case MessageType.CONFIRM_P:
                return ProofChecked(link, self._confirmed(message), unix_s)
            case _:
                raise channel.ChannelError("an unknown type of message")

    def obey(self, effect: OfSession, guard: Guard) -> None:
        """Say what the guard wants said. Raises HandshakeError or ChannelError: hang up then."""
        match effect:
            case SendParams():
                self.send(self._signed_params(guard, effect))
            case Refuse():
                self.send(self._signed_refusal(guard, effect))
            case Respond(_, verifier):
                self.send(self._respond(verifier))
            case Grant():
                self._grant(guard, effect)
            case RoleRaised(_, role):
                self.tell("role_raised", {"role": role.word})
            case Tell(_, event):
                self.tell(event, {})
            case Answer(_, denial):
                self._answer(guard, denial)
            case _:
                assert_never(effect)

    def _signed_params(self, guard: Guard, order: SendParams) -> bytes:
        credential = guard.durable.credential
        params = identity.Params(
            credential=self._credential,
            state=order.state,
            flags=order.flags,
            identity=self._unit.identity,
            incarnation=guard.durable.incarnation,
            generation=guard.durable.generation,
            profile=credential.profile if credential else 0,
            salt=credential.salt if credential else bytes(16),
            retry_after_s=whole_seconds(order.retry_after_s),
            tries_left=min(order.tries_left, 255),
            software=guard.software,
            oldest_app=guard.oldest_app,
            serial=self._unit.serial,
            nonce=self._unit.random(16),
        )
        self._params = identity.sign_answer(self._unit.key, self._hello, params.encode())
        return self._params

    def _signed_refusal(self, guard: Guard, order: Refuse) -> bytes:
        refusal = identity.Refusal(
            code=order.code,
            identity=self._unit.identity,
            incarnation=guard.durable.incarnation,
            generation=guard.durable.generation,
            retry_after_s=whole_seconds(order.retry_after_s),
            oldest_app=guard.oldest_app,
        )
        return identity.sign_answer(self._unit.key, self._hello, refusal.encode())

    def _respond(self, verifier: handshake.Verifier | None) -> bytes:
        """Do the charger's half; None is the open charger."""
        if verifier is None:
            verifier = handshake.verifier_of(handshake.open_witness(self._unit.identity))
        self._response = handshake.respond(
            verifier,
            self._unit.identity,
            handshake.context(self._hello, self._params),
            self._share_p,
            self._unit.random(48),
        )
        share_v, confirm_v = self._response.share_v, self._response.confirm_v
        return bytes([identity.MessageType.SHARE_V]) + share_v + confirm_v

    def _confirmed(self, message: bytes) -> bool:
        confirm_p = _body(message, CONFIRM_BYTES)
        return self._response is not None and self._response.confirmed_by(confirm_p)

    def _grant(self, guard: Guard, order: Grant) -> None:
        """From now on records flow."""
        members: dict[str, object] = {
            "role": order.role.word,
            "generation": guard.durable.generation,
            "bond": order.bond_id,
            "nonce": self.connection_nonce.hex(),
        }
        if self._response is not None:
            keys = self._response.keys
            if self._credential is Credential.OPEN:
                members["signature"] = identity.sign_open(self._unit.key, keys.exporter).hex()
            self._opener = channel.Opener(keys.app_to_charger, channel.Direction.APP_TO_CHARGER)
            self._sealer = channel.Sealer(keys.charger_to_app, channel.Direction.CHARGER_TO_APP)
            self._response = None
        if order.role >= Role.ADMIN and guard.durable.tampered:
            members["tampered"] = True
        self._event("granted", members)

    def _answer(self, guard: Guard, denial: Denial | None) -> None:
        request_id, answer = self.answers.popleft()
        if denial is not None:
            self.deny(request_id, denial)
        else:
            self.reply(request_id, answer(guard))

    def open_record(self, message: bytes) -> bytes:
        """Raises ChannelError; the link must then end."""
        if self._opener is None:
            raise channel.ChannelError("a record outside a session")
        return self._opener.open(message)

    def send(self, message: bytes) -> None:
        """Send a message as it is."""
        self._out(channel.encode(message))

    def send_json(self, text: bytes) -> None:
        """Send JSON in a record. Raises ChannelError outside a session or when too long."""
        if self._sealer is None:
            raise channel.ChannelError("no session to send a record in")
        self.send(self._sealer.seal(text))

    def reply(self, request_id: int, value: object) -> None:
        """Send a reply."""
        self.send_json(bapi.encode_reply(request_id, value))

    def deny(self, request_id: int, denial: Denial) -> None:
        """Send a refusal."""
        self.send_json(bapi.encode_error(request_id, denial.code, denial.message))

    def tell(self, name: str, members: Mapping[str, object]) -> None:
        """Say something unasked, once records flow."""
        if self.granted:
            self._event(name, members)

    def _event(self, name: str, members: Mapping[str, object]) -> None:
        self.send_json(bapi.encode_event(name, members))

    @property
    def granted(self) -> bool:
        """Whether records flow."""
        return self._sealer is not None


def whole_seconds(seconds: float) -> int:
    """Round up, so that nobody comes back too early."""
    return -int(-seconds // 1)


def _body(message: bytes, length: int) -> bytes:
    if len(message) != 1 + length:
        raise channel.ChannelError("a message of the wrong length")
    return message[1:]
