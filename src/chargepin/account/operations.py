"""Every operation of the account service, in one table.

Routing, access checks and the OpenAPI document are made from it, so that none of them can say
something else than the others.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import msgspec

from chargepin.account.assigning import Assigning
from chargepin.account.people import People
from chargepin.account.ports import MANAGING, MAY_READ_PASSCODE, Caller, Refused, Session
from chargepin.account.service import Chargers
from chargepin.account.sharing import Sharing
from chargepin.core import messages
from chargepin.core.messages import AccessRole, ProblemCode

STATUS: Final[Mapping[ProblemCode, int]] = {
    ProblemCode.MALFORMED: 400,
    ProblemCode.ASSIGNED_FOR_YOU: 400,
    ProblemCode.NOT_SIGNED_IN: 401,
    ProblemCode.WRONG_PASSWORD: 401,
    ProblemCode.ROLE_TOO_LOW: 403,
    ProblemCode.NOT_FOUND: 404,
    ProblemCode.WRONG_METHOD: 405,
    ProblemCode.NAME_TAKEN: 409,
    ProblemCode.CHANGED: 409,
    ProblemCode.CLAIMED_ELSEWHERE: 409,
    ProblemCode.INVITATION_INVALID: 410,
    ProblemCode.TOO_LARGE: 413,
    ProblemCode.CLAIM_INVALID: 422,
    ProblemCode.RECEIPT_INVALID: 422,
    ProblemCode.UPDATE_NEEDED: 426,
    ProblemCode.TOO_MANY: 429,
    ProblemCode.INTERNAL: 500,
    ProblemCode.STORAGE_FAILED: 503,
    ProblemCode.BUSY: 503,
}

OWNER: Final = frozenset({AccessRole.OWNER})
ANY_ROLE: Final = frozenset(AccessRole)
NO_ROLE: Final[frozenset[AccessRole]] = frozenset()

_ALWAYS: Final = (
    ProblemCode.MALFORMED,
    ProblemCode.UPDATE_NEEDED,
    ProblemCode.STORAGE_FAILED,
    ProblemCode.BUSY,
    ProblemCode.INTERNAL,
)
_CHARGER_ID: Final = re.compile(r"[0-9a-f]{64}")
_Body = TypeVar("_Body", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Services:
    """The use cases that operations run."""

    people: People
    chargers: Chargers
    sharing: Sharing
    assigning: Assigning


@dataclass(frozen=True, slots=True)
class Call:
    """One request: who asks with which roles admitted, what the path names, and what is asked."""

    session: Session | None
    may: frozenset[AccessRole]
    path: Mapping[str, str]
    body: msgspec.Struct | None
    app: str

    @property
    def caller(self) -> Caller:
        if self.session is None:
            raise Refused(ProblemCode.NOT_SIGNED_IN, "Sign in first.")
        return Caller(self.session, self.may)

    @property
    def charger(self) -> str:
        """The charger that the path names."""
        charger_id = self.path["charger"]
        if _CHARGER_ID.fullmatch(charger_id) is None:
            raise Refused(ProblemCode.NOT_FOUND, "A charger's id has 64 hex digits.")
        return charger_id

    def read(self, kind: type[_Body]) -> _Body:
        if not isinstance(self.body, kind):
            raise TypeError(f"the table gives this operation no {kind.__name__}")
        return self.body


Run: TypeAlias = Callable[[Services, Call], Awaitable[msgspec.Struct]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One line of the table.

    public: without signing in. may: the roles for the charger in the path that are let in. run:
    None for the stream of events.
    """

    method: str
    path: str
    summary: str
    response: type[msgspec.Struct]
    run: Run | None
    request: type[msgspec.Struct] | None = None
    may: frozenset[AccessRole] = NO_ROLE
    public: bool = False
    errors: tuple[ProblemCode, ...] = ()

    @property
    def name(self) -> str:
        """A stable name, as OpenAPI wants one: "post_v1_chargers_charger_passcode_assign"."""
        return "_".join([self.method.lower(), *re.findall(r"\w+", self.path)])

    @property
    def problems(self) -> tuple[ProblemCode, ...]:
        """All errors that it may answer with."""
        codes = [*_ALWAYS, *self.errors]
        if not self.public:
            codes.append(ProblemCode.NOT_SIGNED_IN)
        if self.request is not None:
            codes.append(ProblemCode.TOO_LARGE)
        if "{charger}" in self.path:
            codes += [ProblemCode.NOT_FOUND, ProblemCode.ROLE_TOO_LOW]
        return tuple(sorted(set(codes), key=list(ProblemCode).index))


_PEOPLE: Final = (
    Operation(
        "POST",
        "/v1/signup",
        "Make an account and sign in",
        messages.SignedIn,
        lambda s, c: s.people.sign_up(c.read(messages.Credentials), c.app),
        request=messages.Credentials,
        public=True,
        errors=(ProblemCode.NAME_TAKEN,),
    ),
    Operation(
        "POST",
        "/v1/login",
        "Sign in",
        messages.SignedIn,
        lambda s, c: s.people.sign_in(c.read(messages.Credentials), c.app),
        request=messages.Credentials,
        public=True,
        errors=(ProblemCode.WRONG_PASSWORD, ProblemCode.TOO_MANY),
    ),
    Operation(
        "POST",
        "/v1/logout",
        "End this sign-in",
        messages.Done,
        lambda s, c: s.people.sign_out(c.caller),
    ),
    Operation("GET", "/v1/me", "Who is signed in", messages.Me, lambda s, c: s.people.me(c.caller)),
    Operation(
        "GET",
        "/v1/sessions",
        "Where this person is signed in",
        messages.Sessions,
        lambda s, c: s.people.sessions(c.caller),
    ),
    Operation(
        "DELETE",
        "/v1/sessions/{session}",
        "End one sign-in",
        messages.Done,
        lambda s, c: s.people.end_session(c.caller, c.path["session"]),
        errors=(ProblemCode.NOT_FOUND,),
    ),
)

_CHARGERS: Final = (
    Operation(
        "GET",
        "/v1/chargers",
        "Every charger that this person has access to",
        messages.Chargers,
        lambda s, c: s.chargers.mine(c.caller),
    ),
    Operation(
        "POST",
        "/v1/claims",
        "What a charger has to sign to be claimed",
        messages.ClaimChallenge,
        lambda s, c: s.chargers.challenge(c.caller, c.read(messages.ClaimRequest)),
        request=messages.ClaimRequest,
    ),
    Operation(
        "POST",
        "/v1/chargers",
        "Claim a charger with what it signed",
        messages.ChargerView,
        lambda s, c: s.chargers.register(c.caller, c.read(messages.Registration)),
        request=messages.Registration,
        errors=(ProblemCode.CLAIM_INVALID, ProblemCode.CLAIMED_ELSEWHERE),
    ),
    Operation(
        "DELETE",
        "/v1/chargers/{charger}",
        "Release a charger: nobody has access to it any more",
        messages.Done,
        lambda s, c: s.chargers.release(c.caller, c.charger),
        may=OWNER,
    ),
    Operation(
        "GET",
        "/v1/chargers/{charger}/audit",
        "What was done, newest last, from a verified chain",
        messages.Audit,
        lambda s, c: s.chargers.audit(c.caller, c.charger),
        may=MANAGING,
    ),
)

_SHARING: Final = (
    Operation(
        "GET",
        "/v1/chargers/{charger}/members",
        "Who has access",
        messages.Members,
        lambda s, c: s.sharing.members(c.caller, c.charger),
        may=ANY_ROLE,
    ),
    Operation(
        "POST",
        "/v1/chargers/{charger}/invitations",
        "Invite one person by a link that serves once",
        messages.Invitation,
        lambda s, c: s.sharing.invite(c.caller, c.charger, c.read(messages.InvitationRequest)),
        request=messages.InvitationRequest,
        may=MANAGING,
        errors=(ProblemCode.CHANGED, ProblemCode.TOO_MANY),
    ),
    Operation(
        "POST",
        "/v1/invitations/accept",
        "Accept an invitation made for this person",
        messages.ChargerView,
        lambda s, c: s.sharing.accept(c.caller, c.read(messages.Acceptance)),
        request=messages.Acceptance,
        errors=(ProblemCode.INVITATION_INVALID,),
    ),
    Operation(
        "DELETE",
        "/v1/chargers/{charger}/members/{person}",
        "Take somebody's access at once, or leave",
        messages.Done,
        lambda s, c: s.sharing.remove(c.caller, c.charger, c.path["person"]),
        may=ANY_ROLE,
    ),
)

_PASSCODES: Final = (
    Operation(
        "POST",
        "/v1/chargers/{charger}/passcode/assign",
        "Draw the next passcode; pending until the charger's receipt",
        messages.KeptPasscode,
        lambda s, c: s.assigning.assign(c.caller, c.charger, c.read(messages.AssignRequest)),
        request=messages.AssignRequest,
        may=OWNER,
        errors=(ProblemCode.ASSIGNED_FOR_YOU, ProblemCode.CHANGED, ProblemCode.TOO_MANY),
    ),
    Operation(
        "POST",
        "/v1/chargers/{charger}/passcode/receipt",
        "Bring the charger's receipt: its passcode becomes active",
        messages.ChargerView,
        lambda s, c: s.assigning.receive(c.caller, c.charger, c.read(messages.ReceiptDelivery)),
        request=messages.ReceiptDelivery,
        may=MAY_READ_PASSCODE,
        errors=(ProblemCode.RECEIPT_INVALID, ProblemCode.CHANGED),
    ),
    Operation(
        "GET",
        "/v1/chargers/{charger}/passcode",
        "The passcode; both, while a change has not reached the charger",
        messages.Passcodes,
        lambda s, c: s.assigning.read(c.caller, c.charger),
        may=MAY_READ_PASSCODE,
        errors=(ProblemCode.TOO_MANY,),
    ),
)

EVENTS: Final = Operation(
    "GET",
    "/v1/events",
    "Server-sent events for this person, from Last-Event-ID on",
    messages.Event,
    None,
    errors=(ProblemCode.TOO_MANY,),
)

OPERATIONS: Final = (*_PEOPLE, *_CHARGERS, *_SHARING, *_PASSCODES, EVENTS)


def openapi(version: str) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the table."""
    structs: list[type[msgspec.Struct]] = [messages.ProblemReply]
    for operation in OPERATIONS:
        structs += [kind for kind in (operation.request, operation.response) if kind is not None]
    schemas, components = msgspec.json.schema_components(
        structs, ref_template="#/components/schemas/{name}"
    )
    refs = dict(zip(structs, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _described(operation, refs)
    return {
        "openapi": "3.1.0",
        "info": {"title": "chargepin account service", "version": version},
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _described(
    operation: Operation, refs: Mapping[type[msgspec.Struct], dict[str, Any]]
) -> dict[str, Any]:
    media = "text/event-stream" if operation is EVENTS else "application/json"
    problem = {"application/json": {"schema": refs[messages.ProblemReply]}}
    responses: dict[str, Any] = {
        "200": {
            "description": operation.summary,
            "content": {media: {"schema": refs[operation.response]}},
        }
    }
    for code in operation.problems:
        known = responses.setdefault(
            str(STATUS[code]), {"description": code.value, "content": problem}
        )
        if code.value not in known["description"]:
            known["description"] += f", {code.value}"
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "security": [] if operation.public else [{"token": []}],
        "responses": responses,
    }
    if "{charger}" in operation.path:
        described["x-roles"] = [role.value for role in AccessRole if role in operation.may]
    if operation.request is not None:
        described["requestBody"] = {
            "required": True,
            "content": {"application/json": {"schema": refs[operation.request]}},
        }
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    named = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", operation.path)
    ]
    return [
        *named,
        {"name": messages.APP_HEADER, "in": "header", "schema": {"type": "string"}},
    ]
