"""The tables of docs/protocol.md against the code: neither can change alone."""

import inspect
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

import msgspec
import pytest

from chargepin.account.operations import OPERATIONS
from chargepin.charger import (
    daemon,
    dialog,
    inbox,
    kept,
    own,
    requests,
    store,
    updating,
)
from chargepin.charger import parameters as shapes
from chargepin.charger.bluetooth import on_air, pairing
from chargepin.charger.stock.call import ErrorCode
from chargepin.charger.stock.reads import READS
from chargepin.charger.stock.writes import WRITES
from chargepin.core import (
    bapi,
    bonds,
    channel,
    commands,
    entry,
    gatt,
    guard,
    guard_attempts,
    guard_changes,
    guard_state,
    identity,
    lockout,
    log_events,
    log_summary,
    pairing_window,
    passcode,
    slots,
)
from chargepin.core.durable import Policy
from chargepin.core.identity import Credential, Flag, MessageType, RefusalCode, State
from chargepin.core.messages import AccessRole
from docs.document import EXAMPLES, TEXT, table


def numbered(name: str) -> dict[str, int]:
    """A table of numbers and names."""
    return {row[1]: int(row[0], 0) for row in table(name)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("states", State),
        ("credentials", Credential),
        ("flags", Flag),
        ("refusal-codes", RefusalCode),
        ("stock-errors", ErrorCode),
        ("message-types", MessageType),
    ],
)
def test_numbers_have_the_same_names(name: str, kind: Any) -> None:
    assert numbered(name) == {each.name: each.value for each in kind}


def size(text: str, **lengths: int) -> int:
    """A number of bytes: "82 + n"."""
    return sum(int(part) if part.isdigit() else lengths[part] for part in text.split(" + "))


def test_messages_have_the_lengths_that_are_told() -> None:
    told = {row[1]: row[3] for row in table("message-types")}
    assert told.pop("RECORD") == f"17..{channel.LONGEST_MESSAGE}"
    for name, text in told.items():
        assert len(EXAMPLES[name.lower()]) == size(text, n=len("123456"))


@pytest.mark.parametrize(
    ("kind", "example"),
    [
        (identity.Hint, "hint"),
        (identity.Hello, "hello"),
        (identity.Params, "params"),
        (identity.Refusal, "refusal"),
        (identity.Receipt, "receipt"),
        (identity.Claim, "claim"),
    ],
)
def test_each_field_stands_where_the_document_says(
    kind: type[identity._Struct], example: str
) -> None:
    decoded = kind.decode(EXAMPLES[example])
    expected = [("type", kind.lead)] if kind.lead else []
    for name, how in identity._layout(kind).items():
        expected.append((name, how.write(getattr(decoded, name))))
    rows = table(kind.__name__, "layout")
    assert [row[2] for row in rows] == [name for name, _ in expected]
    at = 0
    lengths = {"n": len("123456"), "m": len(EXAMPLES["claim_account"])}
    for (offset, length, _, _), (_, raw) in zip(rows, expected, strict=True):
        assert size(offset, **lengths) == at
        assert size(length, **lengths) == len(raw)
        at += len(raw)
    assert at == len(EXAMPLES[example])


def properties(characteristic: gatt.Characteristic) -> str:
    names = {
        gatt.Property.READ: "read",
        gatt.Property.WRITE: "write",
        gatt.Property.WRITE_WITHOUT_RESPONSE: "write without response",
        gatt.Property.NOTIFY: "notify",
        gatt.Property.INDICATE: "indicate",
    }
    return ", ".join(name for each, name in names.items() if each in characteristic.properties)


def test_services_and_characteristics() -> None:
    expected = []
    for layout in gatt.Layout:
        stock = layout.stock
        expected.append([layout.name, "service", stock.uuid, ""])
        for part in ("write", "notify", "mode", "credits"):
            each = getattr(stock, part)
            if each is not None:
                expected.append([layout.name, part, each.uuid, properties(each)])
    expected.append(["PASSCODE", "service", gatt.PASSCODE_SERVICE, ""])
    for part, each in zip(("write", "notify", "hint"), gatt.PASSCODE_CHARACTERISTICS, strict=True):
        expected.append(["PASSCODE", part, each.uuid, properties(each)])
    assert table("gatt") == expected


def as_told(method: bapi.Method) -> tuple[str, str]:
    return method.role.word, method.kind.value


def test_stock_methods_have_the_roles_that_are_told() -> None:
    answered = {row[0]: (row[1], row[2]) for row in table("stock-methods")}
    unanswered = {row[0]: (row[1], row[2]) for row in table("stock-methods-unanswered")}
    assert answered | unanswered == {
        name: as_told(method) for name, method in bapi.METHODS.items() if not method.in_records_only
    }
    assert answered.keys() == READS.keys() | WRITES.keys()
    assert not unanswered.keys() & answered.keys()
    assert as_told(bapi.method_of("nobody_knows")) == ("owner", "write")


PARAMETERS: Mapping[str, type[msgspec.Struct]] = {
    "passcode.set": shapes.SetParameters,
    "passcode.rotate": shapes.RotateParameters,
    "bond.create": shapes.BondParameters,
    "bonds.list": shapes.PageParameters,
    "bonds.forget": shapes.ForgetParameters,
    "log.read": shapes.PageParameters,
    "passcode.viewed": shapes.ViewedParameters,
    "pairing.open": shapes.PairingParameters,
    "claim": shapes.ClaimParameters,
    "update.start": shapes.VersionParameters,
}


def parameters(method: str) -> str:
    if method == "policy.set":
        return ", ".join(f"[{each.name}]" for each in fields(Policy))
    kind = PARAMETERS.get(method)
    found = msgspec.structs.fields(kind) if kind is not None else ()
    return ", ".join(each.name if each.required else f"[{each.name}]" for each in found)


def test_passcode_methods_have_the_roles_and_parameters_that_are_told() -> None:
    expected = {
        name: (*as_told(method), parameters(name))
        for name, method in bapi.METHODS.items()
        if method.in_records_only
    }
    assert {row[0]: (row[1], row[2], row[3]) for row in table("own-methods")} == expected


def test_errors_of_passcode_methods() -> None:
    denials = {each.code for each in vars(commands).values() if isinstance(each, commands.Denial)}
    for module in (own, requests, updating):
        source = inspect.getsource(module)
        denials |= set(re.findall(r'(?:Denial\(|encode_error\(request_id, )"(\w+)"', source))
    assert {row[0] for row in table("own-errors")} == denials


def test_events_of_the_security_log() -> None:
    rows = {row[0]: row[2] for row in table("log-events")}
    modules = guard, guard_attempts, guard_changes, requests, dialog, store, daemon, kept, updating
    written = "\n".join(inspect.getsource(each) for each in modules)
    noted = set(re.findall(r'\bEntry\(\s*"(\w+)"', written))
    noted |= set(re.findall(r'\b_done\(guard, [^"]*?"(\w+)"', written))
    assert noted <= rows.keys()
    summaries = {log_events.TRIMMED, log_events.CLEARED, log_events.DAMAGED}
    assert {name for name in rows if f'"{name}"' in written} | summaries == rows.keys()
    assert rows.keys() == log_events.KINDS.keys()
    for event, kind in log_events.KINDS.items():
        assert ("**e**" in rows[event], "**p**" in rows[event]) == (kind.evidence, kind.personal)


def phases(text: str) -> Iterable[guard_state.Phase]:
    plain = re.sub(r"\(.*?\)", "", text).replace("the link ends", "closed")
    return (each for each in guard_state.Phase if re.search(rf"\b{each.value}\b", plain))


def test_what_may_come_when() -> None:
    events = {
        "HELLO": guard_state.HelloReceived,
        "SHARE_P": guard_state.ShareReceived,
        "CONFIRM_P": guard_state.ProofChecked,
        "RECORD": guard_state.Commanded,
    }
    told = {
        (guard_state.Phase(phase), events[message]): frozenset(phases(then))
        for phase, message, then in table("phases")
    }
    assert told == dict(guard.TRANSITIONS)


def test_the_waits() -> None:
    for failures, wait in table("waits"):
        count = int(failures.split()[0])
        assert (0 if wait == "none" else int(wait.removesuffix(" s"))) == lockout.wait_s(count)
        if failures.endswith("and more"):
            assert lockout.wait_s(count + 100) == lockout.wait_s(count)


LIMITS = {
    "longest message, type and body": channel.LONGEST_MESSAGE,
    "longest plaintext of a record": channel.LONGEST_PLAINTEXT,
    "records each way in a session": channel._MOST_RECORDS,
    "longest JSON of a stock request": bapi.REQUEST_MAX_BYTES,
    "longest stock reply": bapi.REPLY_MAX_BYTES,
    "writes waiting on one link": inbox.WRITES_WAITING,
    "bytes for the stock service waiting on one link": inbox.STOCK_WAITING_BYTES,
    "links": slots.CAPACITY,
    "link without a session ends after": slots.ENDS_S,
    "link without a session is safe for": slots.SAFE_S,
    "link with a valid tag is safe for": slots.SAFE_TAGGED_S,
    "link that pairs in a window ends after": slots.PAIRING_ENDS_S,
    "link that pairs in a window is safe for": slots.SAFE_PAIRING_S,
    "step of a pairing": pairing.STEP_MAX_S,
    "pairing window": pairing_window.WINDOW_S,
    "codes in a pairing window": pairing_window.ATTEMPTS_MAX,
    "time for what is queued": on_air.FLUSH_MAX_S,
    "time that a client may take nothing": on_air.STALLED_S,
    "tries that cost no wait": lockout.FREE_TRIES,
    "first wait": lockout.FIRST_WAIT_S,
    "longest wait": lockout.LONGEST_WAIT_S,
    "tries in 24 h": lockout.TRIES_PER_DAY,
    "tries in a generation": lockout.TRIES_PER_GENERATION,
    "button window": lockout.WINDOW_S,
    "tries in a button window": lockout.WINDOW_TRIES,
    "button windows in 24 h": lockout.WINDOWS_PER_DAY,
    "button held for a reset, within": guard.RESET_WITHIN_S,
    "presence after a press": guard_state.PRESENCE_S,
    "presence after power-up": guard_state.FIRST_MINUTES_S,
    "automatic tries of an app in a generation": entry.AUTOMATIC_TRIES,
    "typed tries of an app in a generation": entry.TYPED_TRIES,
    "HELLOs of an app on a link": entry.HELLOS_PER_LINK,
    "bonds": bonds.CAPACITY,
    "bonds for admins and owners only": bonds.KEPT_FOR_OWNERS,
    "longest name of a bond": bonds.LONGEST_NAME,
    "bonds on a page": own.BONDS_PAGE,
    "Bluetooth bonds": bonds.BLUETOOTH_CAPACITY,
    "codes that may be drawn": passcode.POSSIBLE_CODES,
    "log entries kept": store.ENTRIES_KEPT,
    "log entries kept of each event that is evidence": log_summary.KEPT_OF_EACH,
}


def test_limits() -> None:
    assert {name: float(value.split()[0]) for name, value in table("limits")} == LIMITS


def test_operations_of_the_account_service() -> None:
    def who(public: bool, may: frozenset[AccessRole]) -> str:  # noqa: FBT001 - as the table has it
        if public:
            return "anybody"
        return ", ".join(role.value for role in AccessRole if role in may) or "signed in"

    assert table("operations") == [
        [
            each.method,
            each.path,
            who(each.public, each.may),
            each.request.__name__ if each.request else "",
            each.response.__name__,
        ]
        for each in OPERATIONS
    ]


def test_the_hashing_of_passcodes_is_told_as_it_is() -> None:
    assert re.search(r"^\| 1 \| 19,456 KiB \| 2 \| 1 \| 80 bytes \|$", TEXT, re.MULTILINE)
    assert f"{passcode.POSSIBLE_CODES:,} codes" in TEXT
