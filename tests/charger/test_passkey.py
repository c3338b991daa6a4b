"""Passkey entry: the code that the charger shows is typed into the phone's own dialog."""

from collections.abc import AsyncIterator

import pytest
from bumble import crypto, hci, pairing
from bumble.core import ProtocolError
from bumble.device import Connection, Device
from bumble.smp import ErrorCode

from chargepin.charger.air import (
    AirEvent,
    BluetoothBonded,
    LinkAuthenticated,
    LinkClosed,
    LinkEnd,
    Pairing,
    PairingBegun,
    PairingFailed,
    Secured,
)
from chargepin.charger.bluetooth.att import UNSECURED
from chargepin.charger.bluetooth.pairing import SEEN_EVERY_S, BluetoothBond, BluetoothBonds
from chargepin.charger.ports import StoreFailed
from chargepin.core.bonds import BLUETOOTH_CAPACITY
from chargepin.core.gatt import Layout
from charger.initiator import (
    PASSKEY_REQUEST,
    REQUEST,
    ROUNDS,
    Initiator,
    Typing,
    encrypted_with,
    failed,
    refusal_of,
)
from charger.rig import BondsInMemory, Rig, charger_and_phones, explored, found
from manual_loop import manual_loop

CODE = 271_828
STOCK_WRITE = Layout.BGX.stock.write.uuid


async def a_window(rig: Rig) -> None:
    await rig.start()
    rig.rules.pairs = Pairing.PASSKEY
    rig.rules.counts = False
    rig.rules.codes = [CODE]


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with charger_and_phones() as rig:
        await a_window(rig)
        yield rig


class Zero(int):
    """The code 000000 for a Bumble phone, which takes a plain zero for no code at all."""

    def __bool__(self) -> bool:
        return True


class Person(pairing.PairingDelegate):
    """Types the same number into every dialog."""

    def __init__(
        self,
        number: int,
        keyboard: pairing.PairingDelegate.IoCapability = (
            pairing.PairingDelegate.KEYBOARD_INPUT_ONLY
        ),
    ) -> None:
        super().__init__(keyboard)
        self.number = number
        self.asked = 0

    async def get_number(self) -> int:
        self.asked += 1
        return self.number or Zero()


def typed(device: Device, person: Person, *, sc: bool = True, mitm: bool = True) -> None:
    device.pairing_config_factory = lambda _: pairing.PairingConfig(
        sc=sc,
        mitm=mitm,
        bonding=True,
        delegate=person,
        identity_address_type=pairing.PairingConfig.AddressType.RANDOM,
    )


async def typing_phone(rig: Rig, number: int = CODE, *, private: bool = False) -> Device:
    phone = await rig.phone(private=private)
    typed(phone, Person(number))
    return phone


def told(rig: Rig, *kinds: type[AirEvent]) -> list[AirEvent]:
    return [event for event in rig.events if isinstance(event, kinds)]


async def stock_write(connection: Connection) -> None:
    write = found(await explored(connection), STOCK_WRITE)
    await write.write_value(b"frame", with_response=True)


# ---- the right code ---------------------------------------------------------------------------


@pytest.mark.parametrize("code", [CODE, 0, 1, 12_345, 999_999, 524_288])
async def test_the_right_code_pairs_and_its_bond_is_authenticated(rig: Rig, code: int) -> None:
    rig.rules.codes = [code]
    connection = await rig.connected(await typing_phone(rig, code))
    await connection.pair()
    (bonded,) = await rig.told(BluetoothBonded)
    (bond,) = rig.bonds.all()
    assert bond.authenticated
    assert bonded.phone == bond.phone
    assert (bond.phone.identity, bond.phone.name) == (str(connection.self_address), "Anna's phone")
    assert len(bond.bond_id) == 16
    assert rig.charger.phones == [bond.phone]
    assert rig.rules.codes == []
    assert [type(each) for each in told(rig, PairingBegun, LinkAuthenticated, PairingFailed)] == [
        PairingBegun,
        LinkAuthenticated,
    ]
    await stock_write(connection)
    assert rig.rules.asked[-1] == (1, Secured(encrypted=True, authenticated=True))


async def test_a_phone_with_a_display_and_one_that_asks_for_no_protection_type_it_too(
    rig: Rig,
) -> None:
    phone = await rig.phone()
    both = Person(CODE, pairing.PairingDelegate.DISPLAY_OUTPUT_AND_KEYBOARD_INPUT)
    typed(phone, both, mitm=False)
    connection = await rig.connected(phone)
    await connection.pair()
    assert both.asked == 1
    assert rig.bonds.all()[0].authenticated


async def test_the_charger_says_that_it_shows_a_code_and_wants_protection(rig: Rig) -> None:
    initiator = Typing(await rig.connected())
    answered = await initiator.request()
    assert answered == bytes([0x02, 0x00, 0x00, 0x0D, 16, 0x02, 0x00])


async def test_a_bonded_phone_comes_back_without_a_window(rig: Rig) -> None:
    phone = await typing_phone(rig)
    connection = await rig.connected(phone)
    await connection.pair()
    await connection.disconnect()
    rig.rules.pairs = Pairing.REFUSED
    connection = await rig.connected(phone)
    peer = await explored(connection)
    write = found(peer, STOCK_WRITE)
    await write.write_value(b"frame", with_response=True)
    assert rig.rules.asked[-1] == (2, Secured(encrypted=False, authenticated=False, known=True))
    await connection.encrypt()
    await write.write_value(b"frame", with_response=True)
    assert rig.rules.asked[-1] == (2, Secured(encrypted=True, authenticated=True))
    assert len(told(rig, BluetoothBonded)) == 1
    assert told(rig, LinkAuthenticated) == [LinkAuthenticated(1), LinkAuthenticated(2)]


async def test_a_phone_with_private_addresses_is_known_again(rig: Rig) -> None:
    phone = await typing_phone(rig, private=True)
    connection = await rig.connected(phone)
    await connection.pair()
    assert rig.bonds.all()[0].identity.startswith("resolvable ")
    await connection.disconnect()
    phone.random_address = hci.Address.generate_private_address(phone.irk)
    await phone.send_sync_command(
        hci.HCI_LE_Set_Random_Address_Command(random_address=phone.random_address)
    )
    rig.rules.pairs = Pairing.REFUSED
    connection = await rig.connected(phone)
    await connection.encrypt()
    await stock_write(connection)
    assert rig.rules.asked[-1] == (2, Secured(encrypted=True, authenticated=True))


# ---- the wrong code ---------------------------------------------------------------------------


async def test_a_wrong_code_fails_with_0x04_and_leaves_nothing(rig: Rig) -> None:
    connection = await rig.connected(await typing_phone(rig, CODE + 1))
    assert await refusal_of(connection) == ErrorCode.CONFIRM_VALUE_FAILED
    assert rig.rules.codes == []
    assert rig.bonds.all() == ()
    assert told(rig, PairingFailed) == [PairingFailed(1, str(connection.self_address))]
    assert not connection.is_encrypted


@pytest.mark.parametrize("wrong_bit", [0, 1, 10, 19])
async def test_a_second_guess_in_the_same_session_is_not_looked_at(
    rig: Rig, wrong_bit: int
) -> None:
    initiator = Typing(await rig.connected())
    await initiator.begin()
    await initiator.rounds(CODE, wrong_bit)
    other = 1 - (CODE >> wrong_bit & 1)
    assert (await initiator.commit(other))[0] == 0x03
    assert await initiator.reveal() == failed(ErrorCode.CONFIRM_VALUE_FAILED)
    right = CODE >> wrong_bit & 1
    assert await initiator.commit(right) == failed(ErrorCode.UNSPECIFIED_REASON)
    assert await initiator.reveal() == failed(ErrorCode.UNSPECIFIED_REASON)
    assert len(told(rig, PairingFailed)) == 1


@pytest.mark.parametrize("done", range(ROUNDS))
async def test_an_attempt_that_was_broken_off_is_not_resumed(rig: Rig, done: int) -> None:
    """After each number of rounds: by leaving the attempt, then by leaving the link."""
    rig.rules.codes = [CODE] * (3 if done else 2)
    initiator = Typing(await rig.connected())
    await initiator.begin()
    await initiator.rounds(CODE, done)
    if done:
        initiator.wire.send(failed(ErrorCode.UNSPECIFIED_REASON))
        bit = CODE >> done & 1
        assert await initiator.commit(bit) == failed(ErrorCode.UNSPECIFIED_REASON)
        assert len(rig.rules.codes) == 2  # of three
        assert len(told(rig, PairingFailed)) == 1
        await initiator.begin()
    assert (await initiator.commit(CODE & 1))[0] == 0x03  # this one has a code of its own
    await initiator.connection.disconnect()
    await rig.told(LinkClosed)
    # First that the link is over: whoever is on it cannot be shown another code.
    ended = [type(each) for each in told(rig, LinkClosed, PairingFailed)]
    assert ended == [PairingFailed] * bool(done) + [LinkClosed, PairingFailed]
    again = Typing(await rig.connected())
    assert await again.commit(CODE >> done & 1) == failed(ErrorCode.UNSPECIFIED_REASON)
    await again.pair(CODE)
    await rig.told(BluetoothBonded)
    assert rig.rules.codes == []


async def test_the_code_is_used_up_before_the_charger_commits_to_anything(rig: Rig) -> None:
    initiator = Typing(await rig.connected())
    await initiator.begin()
    assert rig.rules.codes == [CODE]
    await initiator.commit(0)
    assert rig.rules.codes == []


async def test_a_request_that_comes_again_begins_anew_with_another_code(rig: Rig) -> None:
    rig.rules.codes = [CODE, 314_159]
    initiator = Typing(await rig.connected())
    await initiator.begin()
    await initiator.rounds(CODE, 5)
    assert await initiator.request() == failed(ErrorCode.UNSPECIFIED_REASON)
    await initiator.pair(314_159)
    await rig.told(BluetoothBonded)


async def test_the_code_of_a_previous_attempt_is_refused(rig: Rig) -> None:
    rig.rules.codes = [CODE, CODE ^ (1 << 7)]
    connection = await rig.connected(await typing_phone(rig, CODE + 1))
    assert await refusal_of(connection) == ErrorCode.CONFIRM_VALUE_FAILED
    other = await rig.connected(await typing_phone(rig, CODE))
    assert await refusal_of(other) == ErrorCode.CONFIRM_VALUE_FAILED
    assert rig.bonds.all() == ()


async def test_without_a_code_nobody_gets_as_far_as_a_commitment(rig: Rig) -> None:
    rig.rules.codes = []  # the window closed while the person typed
    connection = await rig.connected(await typing_phone(rig))
    assert await refusal_of(connection) == ErrorCode.PAIRING_NOT_SUPPORTED
    assert not told(rig, PairingFailed)


async def test_a_wrong_check_at_the_end_costs_the_code(rig: Rig) -> None:
    initiator = Typing(await rig.connected())
    await initiator.begin()
    await initiator.rounds(CODE)
    wrong = b"\x0d" + bytes(16)
    assert await initiator.wire.ask(wrong) == failed(ErrorCode.DHKEY_CHECK_FAILED)
    assert await initiator.wire.ask(b"\x0d" + initiator.ea) == failed(ErrorCode.UNSPECIFIED_REASON)
    assert not await encrypted_with(initiator.connection, initiator.ltk)
    assert len(told(rig, PairingFailed)) == 1


async def test_a_twenty_first_round_is_refused(rig: Rig) -> None:
    initiator = Typing(await rig.connected())
    await initiator.begin()
    await initiator.rounds(CODE)
    assert await initiator.commit(0) == failed(ErrorCode.UNSPECIFIED_REASON)


async def test_a_commitment_to_just_works_is_a_wrong_code(rig: Rig) -> None:
    initiator = Typing(await rig.connected())
    await initiator.begin()
    na, own_x = crypto.r(), initiator.key.x[::-1]
    value = crypto.f4(own_x, initiator.their_key[1:33], na, bytes(1))
    assert (await initiator.wire.ask(b"\x03" + value))[0] == 0x03
    assert await initiator.wire.ask(b"\x04" + na) == failed(ErrorCode.CONFIRM_VALUE_FAILED)


# ---- order, time, one at a time ---------------------------------------------------------------

PDUS = {
    "confirm": b"\x03" + bytes(16),
    "random": b"\x04" + bytes(16),
    "check": b"\x0d" + bytes(16),
    "key": b"\x0c" + bytes(64),
    "identity": b"\x08" + bytes(16),
    "request": PASSKEY_REQUEST,
    "security request": b"\x0b\x09",
}
STEPS = ("requested", "keys", "committed", "a round", "all rounds", "checked")
IN_ORDER = {
    ("requested", "key"),
    ("keys", "confirm"),
    ("committed", "random"),
    ("a round", "confirm"),
    ("all rounds", "check"),
}


@pytest.mark.parametrize(
    ("step", "name"),
    [(step, name) for step in STEPS for name in PDUS if (step, name) not in IN_ORDER],
)
async def test_a_pdu_out_of_its_step_ends_the_attempt(rig: Rig, step: str, name: str) -> None:
    initiator = Typing(await rig.connected())
    await initiator.request()
    at = STEPS.index(step)
    if at >= 1:
        await initiator.exchange_keys()
    if at == 2:
        await initiator.commit(CODE & 1)
    if at >= 3:
        await initiator.rounds(CODE, 1 if at == 3 else ROUNDS)
    if at == 5:
        await initiator.check()
    assert await initiator.wire.ask(PDUS[name]) == failed(ErrorCode.UNSPECIFIED_REASON)
    assert not await encrypted_with(initiator.connection, initiator.ltk or bytes(16))
    assert bool(told(rig, PairingFailed)) == (at >= 2)
    assert rig.bonds.all() == ()


async def test_a_phone_that_waits_too_long_is_hung_up_on_and_its_code_is_gone(rig: Rig) -> None:
    rig.rules.codes = [CODE, 314_159]
    initiator = Typing(await rig.connected())
    await initiator.begin()
    manual_loop().advance(20)
    await initiator.round(CODE & 1)
    manual_loop().advance(31)
    (closed,) = await rig.told(LinkClosed)
    assert closed == LinkClosed(1, LinkEnd.DROPPED)
    assert len(told(rig, PairingFailed)) == 1
    connection = await rig.connected(await typing_phone(rig, 314_159))
    await connection.pair()


async def test_a_pairing_on_a_second_link_is_refused_and_costs_no_code(rig: Rig) -> None:
    first = Typing(await rig.connected())
    await first.begin()
    await first.rounds(CODE, 10)
    second = await rig.connected(await typing_phone(rig))
    assert await refusal_of(second) == ErrorCode.REPEATED_ATTEMPTS
    for step in range(10, ROUNDS):
        await first.round(CODE >> step & 1)
    first.derive(first.nb, CODE)
    await first.check()
    await first.encrypt()
    first.give_identity(bytes(16), str(first.connection.self_address))
    await rig.told(BluetoothBonded)


async def test_the_end_of_a_window_fails_what_is_under_way(rig: Rig) -> None:
    initiator = Typing(await rig.connected())
    await initiator.begin()
    await initiator.rounds(CODE, 3)
    rig.charger.end_pairing()
    assert await initiator.wire.hear() == failed(ErrorCode.PAIRING_NOT_SUPPORTED)
    assert await initiator.commit(CODE >> 3 & 1) == failed(ErrorCode.UNSPECIFIED_REASON)
    assert len(told(rig, PairingFailed)) == 1
    rig.charger.end_pairing()  # does nothing without a pairing
    await rig.charger.stop()
    rig.charger.end_pairing()  # nor off the air


# ---- less than a code -------------------------------------------------------------------------


def requested(**fields: int) -> bytes:
    at = {"io": 1, "oob": 2, "auth": 3, "key": 4, "keys": 5}
    pdu = bytearray(PASSKEY_REQUEST)
    for name, value in fields.items():
        pdu[at[name]] = value
    return bytes(pdu)


@pytest.mark.parametrize(
    ("request_pdu", "reason"),
    [
        (requested(io=0x00), ErrorCode.AUTHENTICATION_REQUIREMENTS),
        (requested(io=0x01), ErrorCode.AUTHENTICATION_REQUIREMENTS),
        (requested(io=0x03), ErrorCode.AUTHENTICATION_REQUIREMENTS),
        (REQUEST, ErrorCode.AUTHENTICATION_REQUIREMENTS),  # no keyboard, and no protection asked
        (requested(auth=0x05), ErrorCode.AUTHENTICATION_REQUIREMENTS),  # legacy
        (requested(auth=0x0C), ErrorCode.AUTHENTICATION_REQUIREMENTS),  # no bond to forget later
        (requested(key=7), ErrorCode.ENCRYPTION_KEY_SIZE),
        (requested(key=15), ErrorCode.ENCRYPTION_KEY_SIZE),
        (requested(oob=1), ErrorCode.OOB_NOT_AVAILABLE),
        (requested(io=0x05), ErrorCode.INVALID_PARAMETERS),
    ],
)
async def test_a_downgrade_is_refused_and_costs_no_code(
    rig: Rig, request_pdu: bytes, reason: ErrorCode
) -> None:
    initiator = Typing(await rig.connected())
    assert await initiator.request(request_pdu) == failed(reason)
    assert rig.rules.codes == [CODE]
    assert not told(rig, PairingBegun)
    await initiator.pair(CODE)  # and it leaves nothing behind
    await rig.told(BluetoothBonded)


async def test_a_stock_phone_without_a_keyboard_is_refused(rig: Rig) -> None:
    connection = await rig.connected()
    assert await refusal_of(connection) == ErrorCode.AUTHENTICATION_REQUIREMENTS
    assert not connection.is_encrypted


async def test_a_phone_that_leaves_the_protection_out_after_all_is_refused(rig: Rig) -> None:
    """It asks with a keyboard and without the bit, then goes on as for Just Works."""
    initiator = Initiator(await rig.connected())
    assert (await initiator.request(requested(auth=0x09)))[0] == 0x02
    initiator.their_key = await initiator.wire.ask(initiator.public_key)
    assert await initiator.wire.ask(b"\x04" + initiator.na) == failed(ErrorCode.UNSPECIFIED_REASON)


async def test_a_private_phone_that_gives_no_identity_is_refused(rig: Rig) -> None:
    initiator = Typing(await rig.connected(await rig.phone(private=True)))
    refused = failed(ErrorCode.AUTHENTICATION_REQUIREMENTS)
    assert await initiator.request(requested(keys=0)) == refused


async def test_a_private_phone_with_another_key_than_its_own_is_hung_up_on(rig: Rig) -> None:
    initiator = Typing(await rig.connected(await rig.phone(private=True)))
    await initiator.pair(CODE)  # with an identity key of zeros, which resolves nothing
    (closed,) = await rig.told(LinkClosed)
    assert closed == LinkClosed(1, LinkEnd.DROPPED)
    assert rig.bonds.all() == ()
    assert len(told(rig, PairingFailed)) == 1


async def test_a_reflected_public_key_is_refused(rig: Rig) -> None:
    rig.rules.codes = [CODE, CODE]
    initiator = Typing(await rig.connected())
    await initiator.begin()
    theirs = initiator.their_key
    await initiator.commit(CODE & 1)
    assert await initiator.wire.ask(b"\x0d" + bytes(16)) == failed(ErrorCode.UNSPECIFIED_REASON)
    await initiator.request()
    assert await initiator.exchange_keys(theirs) == failed(ErrorCode.INVALID_PARAMETERS)
    await initiator.request()
    flipped = theirs[:33] + bytes(byte ^ 0xFF for byte in theirs[33:])
    assert await initiator.exchange_keys(flipped) == failed(ErrorCode.INVALID_PARAMETERS)
    assert rig.rules.codes == [CODE]


# ---- bonds ------------------------------------------------------------------------------------


class OneDiskFull(BondsInMemory):
    def put(self, bond: BluetoothBond) -> None:
        raise StoreFailed(f"no space left for {bond.identity}")


async def refused_at_the_end(bonds: BluetoothBonds) -> None:
    """All went well, but the bond cannot be kept: then its key must not count either."""
    async with charger_and_phones(bonds) as rig:
        await a_window(rig)
        before = rig.bonds.all()
        initiator = Typing(await rig.connected())
        await initiator.pair(CODE)
        (closed,) = await rig.told(LinkClosed)
        assert closed == LinkClosed(1, LinkEnd.DROPPED)
        assert rig.bonds.all() == before
        assert len(told(rig, PairingFailed)) == 1
        assert not told(rig, BluetoothBonded)


async def test_a_bond_that_cannot_be_stored_is_no_bond() -> None:
    await refused_at_the_end(OneDiskFull())


async def test_a_full_table_makes_room_for_nobody() -> None:
    full = BondsInMemory()
    for number in range(BLUETOOTH_CAPACITY):
        full.put(BluetoothBond(f"F0:00:00:00:03:{number:02X}", bytes(16), None, True, bytes(16)))
    await refused_at_the_end(full)


async def test_a_phone_that_breaks_off_after_the_encryption_is_hung_up_on(rig: Rig) -> None:
    initiator = Typing(await rig.connected())
    await initiator.begin()
    await initiator.rounds(CODE)
    await initiator.check()
    await initiator.encrypt()
    initiator.wire.send(failed(ErrorCode.UNSPECIFIED_REASON))  # instead of its identity
    (closed,) = await rig.told(LinkClosed)
    assert closed == LinkClosed(1, LinkEnd.DROPPED)
    assert rig.bonds.all() == ()


async def test_just_works_never_replaces_a_bond_by_code_and_a_window_may(rig: Rig) -> None:
    phone = await typing_phone(rig)
    connection = await rig.connected(phone)
    await connection.pair()
    (before,) = rig.bonds.all()
    rig.rules.pairs = Pairing.JUST_WORKS
    assert await Initiator(connection).request() == failed(ErrorCode.AUTHENTICATION_REQUIREMENTS)
    assert rig.bonds.all() == (before,)
    rig.rules.pairs, rig.rules.codes = Pairing.PASSKEY, [314_159]
    await Typing(connection).pair(314_159)
    await rig.told(BluetoothBonded, 2)
    (after,) = rig.bonds.all()
    assert after.long_term_key != before.long_term_key
    assert after.bond_id == before.bond_id


async def test_a_guest_who_claims_the_identity_of_another_gets_a_bond_of_its_own(rig: Rig) -> None:
    rig.rules.codes = [CODE, 314_159]
    first = await rig.connected(await typing_phone(rig))
    await first.pair()
    (before,) = rig.bonds.all()
    guest = await typing_phone(rig, 314_159)
    own, guest.static_address = str(guest.random_address), hci.Address(before.identity)
    await (await rig.connected(guest)).pair()
    assert await rig.told(BluetoothBonded, 2)
    kept, added = rig.bonds.all()
    assert kept == before
    assert added.identity == own


async def test_a_stranger_at_a_bonded_address_does_not_overwrite_its_bond(rig: Rig) -> None:
    victim = await typing_phone(rig)
    connection = await rig.connected(victim)
    await connection.pair()
    before = rig.bonds.all()
    await connection.disconnect()
    await rig.told(LinkClosed)
    rig.rules.codes = [314_159]
    stranger = await rig.connected(victim)  # by its address: the key is not used below
    attempt = Typing(stranger)
    await attempt.begin()
    await attempt.rounds(314_159, 4)
    assert (await attempt.commit(1 - (314_159 >> 4 & 1)))[0] == 0x03
    assert await attempt.reveal() == failed(ErrorCode.CONFIRM_VALUE_FAILED)
    assert rig.bonds.all() == before
    assert not await encrypted_with(stranger, bytes(16))  # it has not the key either


async def test_a_forgotten_phone_is_hung_up_on_at_once_and_is_a_stranger(rig: Rig) -> None:
    phone, other = await typing_phone(rig), await typing_phone(rig, 314_159)
    rig.rules.codes = [CODE, 314_159]
    connection = await rig.connected(phone)
    await connection.pair()
    staying = await rig.connected(other)
    await staying.pair()
    forgotten, kept = rig.charger.phones
    assert rig.charger.forget_phone(forgotten.bond_id) == [1]
    assert await rig.told(LinkClosed) == [LinkClosed(1, LinkEnd.DROPPED)]
    assert rig.charger.phones == [kept]
    assert rig.charger.forget_phone(forgotten.bond_id) == []
    connection = await rig.connected(phone)
    with pytest.raises(hci.HCI_Error):
        await connection.encrypt()
    await stock_write(staying)
    assert rig.rules.asked[-1] == (2, Secured(encrypted=True, authenticated=True))
    await rig.charger.stop()
    assert rig.charger.forget_phone(kept.bond_id) == ()


async def test_what_a_phone_may_ends_with_its_bond_and_not_with_its_link(rig: Rig) -> None:
    connection = await rig.connected(await typing_phone(rig))
    await connection.pair()
    (phone,) = rig.charger.phones
    on_air = rig.charger._on_air
    assert on_air is not None
    link = on_air.links[1]
    assert link.client.secured.authenticated
    rig.charger.forget_phone(phone.bond_id)
    assert link.client.secured == UNSECURED
    await rig.told(LinkClosed)


async def test_forgetting_a_phone_ends_its_pairing_that_is_under_way(rig: Rig) -> None:
    rig.rules.codes = [CODE, 314_159]
    connection = await rig.connected(await typing_phone(rig))
    await connection.pair()
    (known,) = rig.charger.phones
    again = Typing(connection)
    await again.begin()
    await again.rounds(314_159, 2)
    rig.charger.forget_phone(known.bond_id)
    assert await again.wire.hear() == failed(ErrorCode.UNSPECIFIED_REASON)
    await rig.told(LinkClosed)
    assert rig.bonds.all() == ()


async def test_when_a_phone_was_last_here_is_stored_once_an_hour() -> None:
    async with charger_and_phones() as rig:
        clock = [1_700_000_000]
        rig.charger._unix_s = lambda: clock[0]
        await a_window(rig)
        phone = await typing_phone(rig)
        connection = await rig.connected(phone)
        await connection.pair()
        (paired,) = rig.charger.phones
        assert (paired.created_s, paired.seen_s) == (clock[0], clock[0])
        for later_s, expected_s in ((SEEN_EVERY_S - 1, 0), (SEEN_EVERY_S, SEEN_EVERY_S)):
            await connection.disconnect()
            clock[0] = paired.created_s + later_s
            connection = await rig.connected(phone)
            await connection.encrypt()
            (seen,) = rig.charger.phones
            assert seen.seen_s == paired.created_s + expected_s
            assert seen.created_s == paired.created_s


async def test_a_phone_that_nobody_named_is_called_by_its_address() -> None:
    bond = BluetoothBond("F0:00:00:00:02:01/P", bytes(16), None, True, bytes(16))
    assert bond.phone.name == "F0:00:00:00:02:01"
    assert bond.phone.bond_id != BluetoothBond("other", bytes(16), None, True, bytes(16)).bond_id


async def test_a_code_is_in_no_log(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    connection = await rig.connected(await typing_phone(rig, CODE + 1))
    with pytest.raises(ProtocolError), caplog.at_level(0):
        await connection.pair()
    ours = [each for each in caplog.records if each.name.startswith("chargepin")]
    assert not any(str(CODE) in each.getMessage() for each in ours)
