import msgspec
import pytest

from chargepin.core import messages
from chargepin.core.messages import (
    Acceptance,
    AssignRequest,
    ChargerView,
    ClaimRequest,
    Credentials,
    Event,
    Invitation,
    InvitationRequest,
    KeptPasscode,
    Problem,
    ReceiptDelivery,
    Registration,
    SignedIn,
    invitation_secret,
)

CANARY = "482913"
REGISTRATION = {
    "identity": "ab" * 32,
    "serial": "123456",
    "incarnation": 1,
    "generation": 0,
    "account": "cd" * 16,
    "root_key": "ef" * 32,
    "nonce": "01" * 32,
    "signature": "23" * 64,
}


@pytest.mark.parametrize(
    "secretive",
    [
        Credentials("ann", CANARY + "xx"),
        SignedIn(CANARY, "ann", "a", "s"),
        Invitation("https://x/invite#" + CANARY, 5),
        Acceptance(CANARY),
        AssignRequest(0, passcode=msgspec.Raw(CANARY.encode())),
        KeptPasscode(1, "00" * 16, 1, CANARY, "active", CANARY),
    ],
)
def test_no_secret_is_shown(secretive: msgspec.Struct) -> None:
    assert CANARY not in repr(secretive)
    assert CANARY not in str([secretive])
    assert CANARY in msgspec.json.encode(secretive).decode()


def test_every_struct_is_frozen() -> None:
    structs = [
        value
        for value in vars(messages).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct)
    ]
    assert len(structs) > 20
    assert all(struct.__struct_config__.frozen for struct in structs)


def test_unknown_fields_are_ignored() -> None:
    raw = b'{"person": "ann", "password": "longenough", "new_in_2": {"a": [1]}}'
    assert msgspec.json.decode(raw, type=Credentials) == Credentials("ann", "longenough")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("identity", "ab" * 31),
        ("identity", "ab" * 33),
        ("identity", "AB" * 32),
        ("identity", "ab" * 32 + "\n"),
        ("identity", "zz" * 32),
        ("identity", 5),
        ("identity", None),
        ("serial", "12a456"),
        ("serial", ""),
        ("serial", "1" * 10),
        ("incarnation", -1),
        ("incarnation", 2**32),
        ("incarnation", True),
        ("generation", 1.5),
        ("signature", "23" * 63),
        ("name", "n" * 81),
    ],
)
def test_a_registration_with_a_wrong_field_is_refused(field: str, value: object) -> None:
    assert msgspec.convert(REGISTRATION, Registration).serial == "123456"
    with pytest.raises(msgspec.ValidationError, match=field):
        msgspec.convert({**REGISTRATION, field: value}, Registration)


@pytest.mark.parametrize("receipt", ["", "a", "abc", "xy", "ab" * 513])
def test_a_receipt_is_whole_bytes_of_hex(receipt: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"receipt": receipt, "signature": "23" * 64}, ReceiptDelivery)


def test_refused_values_are_not_repeated_where_they_may_be_secret() -> None:
    for secret in ("short", "y" * 2000, 123456789):
        with pytest.raises(msgspec.ValidationError) as caught:
            msgspec.convert({"person": "ann", "password": secret}, Credentials)
        assert str(secret) not in str(caught.value)


def test_a_chosen_passcode_is_seen_in_any_form() -> None:
    for chosen in (b'"123456"', b"123456", b"null", b"[]"):
        raw = b'{"expected_generation": 0, "passcode": ' + chosen + b"}"
        request = msgspec.json.decode(raw, type=AssignRequest)
        assert request.passcode is not msgspec.UNSET
    assert AssignRequest(0).passcode is msgspec.UNSET


def test_defaults_of_an_invitation() -> None:
    request = msgspec.json.decode(b'{"person": "bob"}', type=InvitationRequest)
    assert (request.role, request.expires_s, request.until_unix_s) == ("user", 172_800, None)
    for wrong in ({"role": "king"}, {"expires_s": 59}, {"expires_s": 2**40}, {"until_unix_s": -1}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert({"person": "bob", **wrong}, InvitationRequest)


@pytest.mark.parametrize(
    "link",
    ["https://example.org/invite#s3cret", "chargepin:invite#s3cret", " s3cret\n", "#s3cret"],
)
def test_the_secret_of_an_invitation_is_found(link: str) -> None:
    assert invitation_secret(link) == "s3cret"


def test_what_is_absent_is_not_sent() -> None:
    assert msgspec.json.encode(Problem("busy", "later")) == b'{"code":"busy","message":"later"}'
    assert b"until" not in msgspec.json.encode(Event(1, "ready"))


def test_a_newer_service_s_words_are_read_as_text() -> None:
    view = ChargerView("ab" * 32, "1", "", "caretaker", "ann", 1, 0, "moving", True, False)
    again = msgspec.json.decode(msgspec.json.encode(view), type=ChargerView)
    assert (again.role, again.passcode_state) == ("caretaker", "moving")


def test_ids_are_checked_in_requests() -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"identity": "00"}', type=ClaimRequest)
