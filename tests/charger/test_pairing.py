"""Pairing and bonds, with stock Bumble phones and with PDUs that no honest phone sends."""

import asyncio
import secrets
from collections.abc import AsyncIterator

import pytest
from bumble import hci, pairing
from bumble.device import Device
from bumble.smp import SMP_CID, SMP_DEBUG_KEY_PUBLIC_X, SMP_DEBUG_KEY_PUBLIC_Y, ErrorCode

from chargepin.charger.air import BluetoothBonded, LinkClosed, LinkEnd, LinkOpened, Pairing, Secured
from chargepin.charger.bluetooth.pairing import BluetoothBond
from chargepin.charger.ports import StoreFailed
from chargepin.core.bonds import BLUETOOTH_CAPACITY
from chargepin.core.gatt import Layout
from charger.initiator import REQUEST, Initiator, encrypted_with, failed, refusal_of
from charger.rig import BondsInMemory, Rig, Wire, charger_and_phones, explored, found
from manual_loop import manual_loop

STOCK_WRITE = Layout.BGX.stock.write.uuid


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with charger_and_phones() as rig:
        await rig.start()
        yield rig


def configure(device: Device, *, sc: bool = True, bonding: bool = True) -> None:
    device.pairing_config_factory = lambda _: pairing.PairingConfig(
        sc=sc,
        bonding=bonding,
        identity_address_type=pairing.PairingConfig.AddressType.RANDOM,
    )


# ---- what works -------------------------------------------------------------------------------


async def test_a_stock_phone_pairs_and_its_bond_is_kept(rig: Rig) -> None:
    connection = await rig.connected()
    await connection.pair()
    assert connection.is_encrypted
    (bonded,) = await rig.told(BluetoothBonded)
    assert bonded.link == 1
    (bond,) = rig.bonds.all()
    assert bond.identity == str(connection.self_address)
    assert not bond.authenticated
    assert bond.long_term_key.hex() not in repr(bond)
    write = found(await explored(connection), STOCK_WRITE)
    await write.write_value(b"frame", with_response=True)
    assert rig.rules.asked[-1] == (1, Secured(encrypted=True, authenticated=False))


async def test_a_bonded_phone_comes_back_without_pairing(rig: Rig) -> None:
    phone = await rig.phone()
    connection = await rig.connected(phone)
    await connection.pair()
    await connection.disconnect()
    connection = await rig.connected(phone)
    await connection.encrypt()
    rig.rules.encrypted_only = True
    write = found(await explored(connection), STOCK_WRITE)
    await write.write_value(b"frame", with_response=True)
    assert rig.rules.asked[-1] == (2, Secured(encrypted=True, authenticated=False))
    assert len(await rig.told(BluetoothBonded)) == 1


async def test_a_phone_with_private_addresses_is_known_again_by_its_key(rig: Rig) -> None:
    phone = await rig.phone(private=True)
    connection = await rig.connected(phone)
    first = connection.self_address
    await connection.pair()
    (bond,) = rig.bonds.all()
    assert bond.identity.startswith("resolvable ")
    await connection.disconnect()
    phone.random_address = hci.Address.generate_private_address(phone.irk)
    await phone.send_sync_command(
        hci.HCI_LE_Set_Random_Address_Command(random_address=phone.random_address)
    )
    connection = await rig.connected(phone)
    assert connection.self_address != first
    await connection.encrypt()
    await connection.pair()
    assert len(rig.bonds.all()) == 1  # renewed, not added


async def test_a_private_phone_with_another_key_than_its_own_is_not_kept(rig: Rig) -> None:
    initiator = Initiator(await rig.connected(await rig.phone(private=True)))
    await initiator.up_to_the_key()
    await initiator.encrypt()
    initiator.give_identity(secrets.token_bytes(16), "F0:00:00:00:01:99")
    initiator.wire.send(b"\x09" + bytes(7))  # not awaited any more: tells that all was taken
    assert await initiator.wire.hear() == failed(ErrorCode.UNSPECIFIED_REASON)
    assert rig.bonds.all() == ()


async def test_a_key_of_zeros_makes_nobody_known(rig: Rig) -> None:
    """Anyone can resolve, and make, the addresses that go with it."""
    phone = await rig.phone(private=True)
    phone.random_address = hci.Address.generate_private_address(bytes(16))
    await phone.send_sync_command(
        hci.HCI_LE_Set_Random_Address_Command(random_address=phone.random_address)
    )
    initiator = Initiator(await rig.connected(phone))
    await initiator.up_to_the_key()
    await initiator.encrypt()
    initiator.give_identity(bytes(16), "F0:00:00:00:01:99")
    initiator.wire.send(b"\x09" + bytes(7))  # not awaited any more: tells that all was taken
    assert await initiator.wire.hear() == failed(ErrorCode.UNSPECIFIED_REASON)
    assert rig.bonds.all() == ()


async def test_a_phone_that_gives_another_identity_than_its_address_is_known_again(
    rig: Rig,
) -> None:
    phone = await rig.phone()
    phone.pairing_config_factory = lambda _: pairing.PairingConfig(
        identity_address_type=pairing.PairingConfig.AddressType.PUBLIC
    )
    connection = await rig.connected(phone)
    await connection.pair()
    await connection.disconnect()
    (bond,) = rig.bonds.all()
    assert bond.identity == str(connection.self_address)
    connection = await rig.connected(phone)
    await connection.encrypt()


async def test_a_pairing_without_bonding_encrypts_and_leaves_nothing(rig: Rig) -> None:
    phone = await rig.phone()
    configure(phone, bonding=False)
    connection = await rig.connected(phone)
    await connection.pair()
    assert connection.is_encrypted
    assert rig.bonds.all() == ()
    assert not [each for each in rig.events if isinstance(each, BluetoothBonded)]


async def test_a_bond_that_a_person_confirmed_counts_as_authenticated_and_always(rig: Rig) -> None:
    phone = await rig.phone()
    connection = await rig.connected(phone)
    key = secrets.token_bytes(16)
    rig.bonds.put(BluetoothBond(str(connection.self_address), key, None, True, bytes(16)))
    rig.rules.counts = False
    assert await encrypted_with(connection, key)
    write = found(await explored(connection), STOCK_WRITE)
    await write.write_value(b"frame", with_response=True)
    assert rig.rules.asked[-1] == (1, Secured(encrypted=True, authenticated=True))


# ---- what is refused --------------------------------------------------------------------------


async def test_pairing_is_refused_at_once_when_the_rules_say_so(rig: Rig) -> None:
    rig.rules.pairs = Pairing.REFUSED
    connection = await rig.connected()
    assert await refusal_of(connection) == ErrorCode.PAIRING_NOT_SUPPORTED
    wire = Wire(connection, SMP_CID)
    assert await wire.ask(b"\x0b\x09") == failed(ErrorCode.PAIRING_NOT_SUPPORTED)
    assert not connection.is_encrypted


async def test_a_just_works_bond_encrypts_only_while_it_counts(rig: Rig) -> None:
    phone = await rig.phone()
    connection = await rig.connected(phone)
    await connection.pair()
    await connection.disconnect()
    rig.rules.counts = False
    connection = await rig.connected(phone)
    with pytest.raises(hci.HCI_Error):
        await connection.encrypt()
    assert not connection.is_encrypted


async def test_legacy_pairing_is_refused(rig: Rig) -> None:
    phone = await rig.phone()
    configure(phone, sc=False)
    connection = await rig.connected(phone)
    assert await refusal_of(connection) == ErrorCode.AUTHENTICATION_REQUIREMENTS


@pytest.mark.parametrize(
    ("at", "value", "reason"),
    [
        (4, 7, ErrorCode.ENCRYPTION_KEY_SIZE),
        (4, 15, ErrorCode.ENCRYPTION_KEY_SIZE),
        (4, 6, ErrorCode.INVALID_PARAMETERS),
        (4, 17, ErrorCode.INVALID_PARAMETERS),
        (1, 5, ErrorCode.INVALID_PARAMETERS),
        (2, 1, ErrorCode.OOB_NOT_AVAILABLE),
        (3, 0x01, ErrorCode.AUTHENTICATION_REQUIREMENTS),
    ],
)
async def test_a_request_for_less_is_refused(
    rig: Rig, at: int, value: int, reason: ErrorCode
) -> None:
    initiator = Initiator(await rig.connected())
    request = bytearray(REQUEST)
    request[at] = value
    assert await initiator.request(bytes(request)) == failed(reason)
    await initiator.up_to_the_key()  # and it leaves nothing behind


async def test_the_mitm_bit_and_a_keyboard_change_nothing(rig: Rig) -> None:
    initiator = Initiator(await rig.connected())
    await initiator.up_to_the_key(bytes([0x01, 0x04, 0x00, 0x3D, 16, 0x0F, 0x0F]))
    assert initiator.answered == bytes([0x02, 0x03, 0x00, 0x09, 16, 0x02, 0x00])


async def test_a_reflected_public_key_is_refused(rig: Rig) -> None:
    initiator = Initiator(await rig.connected())
    await initiator.request()
    theirs = await initiator.exchange_keys()
    assert await initiator.wire.ask(b"\x0d" + bytes(16)) == failed(ErrorCode.UNSPECIFIED_REASON)
    await initiator.request()
    assert await initiator.exchange_keys(theirs) == failed(ErrorCode.INVALID_PARAMETERS)
    await initiator.request()
    flipped = theirs[:33] + bytes(byte ^ 0xFF for byte in theirs[33:])
    assert await initiator.exchange_keys(flipped) == failed(ErrorCode.INVALID_PARAMETERS)


@pytest.mark.parametrize(
    "key",
    [
        bytes(64),
        b"\xff" * 64,
        b"\x01" * 64,
        SMP_DEBUG_KEY_PUBLIC_X[::-1] + SMP_DEBUG_KEY_PUBLIC_Y[::-1],
    ],
)
async def test_a_public_key_off_the_curve_or_known_to_all_is_refused(rig: Rig, key: bytes) -> None:
    initiator = Initiator(await rig.connected())
    await initiator.request()
    assert await initiator.exchange_keys(b"\x0c" + key) == failed(ErrorCode.INVALID_PARAMETERS)
    await initiator.up_to_the_key()


async def test_every_pairing_has_a_key_of_its_own(rig: Rig) -> None:
    phone = await rig.phone()
    shown: set[bytes] = set()
    for _ in range(3):
        connection = await rig.connected(phone)
        initiator = Initiator(connection)
        await initiator.request()
        shown.add((await initiator.exchange_keys())[1:33])
        await connection.disconnect()
    assert len(shown) == 3


async def test_a_second_pairing_at_the_same_time_is_refused(rig: Rig) -> None:
    first = Initiator(await rig.connected())
    await first.request()
    phone = await rig.phone()
    connection = await rig.connected(phone)
    assert await refusal_of(connection) == ErrorCode.REPEATED_ATTEMPTS
    await first.exchange_keys()  # the first one is not disturbed
    await first.connection.disconnect()
    await rig.told(LinkClosed)
    await connection.pair()


# ---- order, garbage, time ---------------------------------------------------------------------

GARBAGE = {
    b"": ErrorCode.INVALID_PARAMETERS,
    b"\x00": ErrorCode.COMMAND_NOT_SUPPORTED,
    b"\xff" * 20: ErrorCode.COMMAND_NOT_SUPPORTED,
    b"\x0f": ErrorCode.COMMAND_NOT_SUPPORTED,
    b"\x02" + bytes(6): ErrorCode.COMMAND_NOT_SUPPORTED,  # a response, to the one who responds
    b"\x03" + bytes(16): ErrorCode.UNSPECIFIED_REASON,
    b"\x06" + bytes(16): ErrorCode.COMMAND_NOT_SUPPORTED,  # of legacy pairing
    b"\x0e\x00": ErrorCode.COMMAND_NOT_SUPPORTED,
    b"\x01": ErrorCode.INVALID_PARAMETERS,
    REQUEST + b"\x00": ErrorCode.INVALID_PARAMETERS,
    b"\x0c" + bytes(63): ErrorCode.INVALID_PARAMETERS,
    b"\x04": ErrorCode.INVALID_PARAMETERS,
    b"\x0b\x09": ErrorCode.COMMAND_NOT_SUPPORTED,
    b"\x04" + bytes(16): ErrorCode.UNSPECIFIED_REASON,
    b"\x08" + bytes(16): ErrorCode.UNSPECIFIED_REASON,
    b"\x0d" + bytes(16): ErrorCode.UNSPECIFIED_REASON,
}


async def test_garbage_is_answered_and_does_no_harm(
    rig: Rig, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await rig.connected()
    initiator = Initiator(connection)
    for pdu, reason in GARBAGE.items():
        assert await initiator.wire.ask(pdu) == failed(reason), pdu.hex()
    initiator.wire.send(b"\x05\x08")  # a failure is not answered, or two ends would never stop
    initiator.wire.send(b"\x05")
    await initiator.up_to_the_key()
    await initiator.encrypt()
    assert not [each for each in caplog.records if each.name.startswith(("chargepin", "asyncio"))]


async def test_a_bug_is_answered_and_ends_the_attempt_alone(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    initiator = Initiator(await rig.connected())
    await initiator.request()
    monkeypatch.setattr(
        "chargepin.charger.bluetooth.smp.crypto.r", None
    )  # no honest way leads to one
    refused = await initiator.wire.ask(initiator.public_key)
    assert refused == failed(ErrorCode.UNSPECIFIED_REASON)
    assert "pairing stumbled on link 1" in caplog.text
    monkeypatch.undo()
    await initiator.up_to_the_key()
    await initiator.encrypt()


PDUS = {
    "request": REQUEST,
    "random": b"\x04" + bytes(16),
    "check": b"\x0d" + bytes(16),
    "identity": b"\x08" + bytes(16),
    "security request": b"\x0b\x09",
}
WRONG_STEPS = [(step, name) for step in range(4) for name in PDUS if (step, name) != (1, "random")]


@pytest.mark.parametrize(("step", "name"), WRONG_STEPS)
async def test_a_pdu_out_of_its_step_ends_the_pairing(rig: Rig, step: int, name: str) -> None:
    initiator = Initiator(await rig.connected())
    await initiator.request()
    if step > 0:
        await initiator.exchange_keys()
    if step > 1:
        await initiator.exchange_randoms()
    if step > 2:
        await initiator.check()
    reason = ErrorCode.UNSPECIFIED_REASON
    if (step, name) == (2, "check"):
        reason = ErrorCode.DHKEY_CHECK_FAILED
    assert await initiator.wire.ask(PDUS[name]) == failed(reason)
    assert not await encrypted_with(initiator.connection, initiator.ltk or bytes(16))
    assert await initiator.wire.ask(b"\x0d" + bytes(16)) == failed(ErrorCode.UNSPECIFIED_REASON)


async def test_a_wrong_check_ends_the_session_and_the_right_one_comes_too_late(rig: Rig) -> None:
    initiator = Initiator(await rig.connected())
    await initiator.request()
    await initiator.exchange_keys()
    await initiator.exchange_randoms()
    wrong = b"\x0d" + bytes(16)
    assert await initiator.wire.ask(wrong) == failed(ErrorCode.DHKEY_CHECK_FAILED)
    right = b"\x0d" + initiator.ea
    assert await initiator.wire.ask(right) == failed(ErrorCode.UNSPECIFIED_REASON)


async def test_a_request_for_a_key_inside_an_unfinished_pairing_is_denied(rig: Rig) -> None:
    initiator = Initiator(await rig.connected())
    for go_on in (
        initiator.request,
        initiator.exchange_keys,
        initiator.exchange_randoms,
        initiator.check,
    ):
        assert not await encrypted_with(initiator.connection, bytes(16))
        await go_on()
    await initiator.encrypt()


async def test_a_key_of_legacy_pairing_is_denied(rig: Rig) -> None:
    connection = await rig.connected()
    key = secrets.token_bytes(16)
    rig.bonds.put(BluetoothBond(str(connection.self_address), key, None, False, bytes(16)))
    assert not await encrypted_with(connection, key, ediv=1)
    assert not await encrypted_with(connection, key, rand=b"\x01" + bytes(7))
    assert await encrypted_with(connection, key)


async def test_a_stranger_has_no_key(rig: Rig) -> None:
    assert not await encrypted_with(await rig.connected(), bytes(16))
    assert not await encrypted_with(await rig.connected(await rig.phone(private=True)), bytes(16))


async def test_a_pairing_that_does_not_go_on_ends_the_link_after_30_s(rig: Rig) -> None:
    initiator = Initiator(await rig.connected())
    await initiator.request()
    manual_loop().advance(20)
    await initiator.exchange_keys()
    manual_loop().advance(20)  # each step has its own 30 s
    await initiator.exchange_randoms()
    manual_loop().advance(31)
    (closed,) = await rig.told(LinkClosed)
    assert closed == LinkClosed(1, LinkEnd.DROPPED)
    connection = await rig.connected()
    await connection.pair()


async def test_a_phone_that_goes_away_leaves_room_for_the_next(rig: Rig) -> None:
    initiator = Initiator(await rig.connected())
    await initiator.up_to_the_key()
    await initiator.connection.disconnect()
    await rig.told(LinkClosed)
    connection = await rig.connected()
    await connection.pair()
    manual_loop().advance(31)
    await asyncio.sleep(0)
    assert rig.charger.links == (2,)


# ---- bonds and those who would have another's -------------------------------------------------


async def test_nobody_gets_a_bond_by_claiming_an_identity(rig: Rig) -> None:
    victim = await rig.connected(await rig.phone("F0:00:00:00:02:01"))
    await victim.pair()
    before = rig.bonds.get("F0:00:00:00:02:01")
    attacker = await rig.phone("F0:00:00:00:02:66")
    attacker.static_address = hci.Address("F0:00:00:00:02:01")  # what it will say it is
    connection = await rig.connected(attacker)
    await connection.pair()
    assert before is not None
    assert rig.bonds.get("F0:00:00:00:02:01") == before
    assert rig.bonds.get("F0:00:00:00:02:66") is not None


async def test_a_bond_that_a_person_confirmed_is_not_replaced_by_just_works(rig: Rig) -> None:
    connection = await rig.connected()
    bond = BluetoothBond(str(connection.self_address), bytes(16), None, True, bytes(16))
    rig.bonds.put(bond)
    assert await refusal_of(connection) == ErrorCode.AUTHENTICATION_REQUIREMENTS
    assert rig.bonds.all() == (bond,)


async def test_a_phone_that_lost_its_bond_may_pair_again(rig: Rig) -> None:
    connection = await rig.connected()
    await connection.pair()
    (before,) = rig.bonds.all()
    await connection.pair()
    (after,) = rig.bonds.all()
    assert after.identity == before.identity
    assert after.long_term_key != before.long_term_key


def fill(rig: Rig, *, authenticated: bool) -> None:
    for number in range(BLUETOOTH_CAPACITY):
        identity = f"F0:00:00:00:03:{number:02X}"
        rig.bonds.put(BluetoothBond(identity, bytes(16), None, authenticated, bytes(16)))


async def test_a_full_table_loses_its_oldest_unconfirmed_bond(rig: Rig) -> None:
    fill(rig, authenticated=False)
    first = rig.bonds.all()[0]
    rig.bonds.put(BluetoothBond(first.identity, bytes(16), None, True, bytes(16)))
    connection = await rig.connected()
    await connection.pair()
    identities = [bond.identity for bond in rig.bonds.all()]
    assert len(identities) == BLUETOOTH_CAPACITY
    assert first.identity in identities
    assert "F0:00:00:00:03:01" not in identities
    assert str(connection.self_address) in identities


async def test_confirmed_bonds_make_room_for_nobody(rig: Rig) -> None:
    fill(rig, authenticated=True)
    before = rig.bonds.all()
    initiator = Initiator(await rig.connected())
    await initiator.up_to_the_key()
    await initiator.encrypt()
    initiator.give_identity(bytes(16), "F0:00:00:00:01:99")
    assert await initiator.wire.hear() == failed(ErrorCode.UNSPECIFIED_REASON)
    assert rig.bonds.all() == before


class FullDisk(BondsInMemory):
    def put(self, bond: BluetoothBond) -> None:
        raise StoreFailed(f"no space left for {bond.identity}")


async def test_a_bond_that_cannot_be_stored_is_no_bond() -> None:
    async with charger_and_phones(FullDisk()) as rig:
        await rig.start()
        initiator = Initiator(await rig.connected())
        await initiator.up_to_the_key()
        await initiator.encrypt()
        initiator.give_identity(bytes(16), "F0:00:00:00:01:99")
        assert await initiator.wire.hear() == failed(ErrorCode.UNSPECIFIED_REASON)
        initiator = Initiator(await rig.connected())
        await initiator.up_to_the_key(REQUEST[:5] + bytes(2))  # it gives no identity
        await initiator.encrypt()
        assert await initiator.wire.hear() == failed(ErrorCode.UNSPECIFIED_REASON)
        assert not [each for each in rig.events if isinstance(each, BluetoothBonded)]


async def test_forgetting_ends_a_pairing_that_would_leave_a_bond(rig: Rig) -> None:
    connection = await rig.connected()
    await connection.pair()
    initiator = Initiator(await rig.connected())
    await initiator.up_to_the_key()
    await initiator.encrypt()
    rig.charger.forget_bonds()
    assert await initiator.wire.hear() == failed(ErrorCode.UNSPECIFIED_REASON)
    initiator.give_identity(bytes(16), "F0:00:00:00:01:99")
    assert await initiator.wire.hear() == failed(ErrorCode.UNSPECIFIED_REASON)
    assert rig.bonds.all() == ()


async def test_a_forgotten_phone_is_a_stranger(rig: Rig) -> None:
    phone = await rig.phone()
    connection = await rig.connected(phone)
    await connection.pair()
    await connection.disconnect()
    await rig.charger.stop()
    rig.charger.forget_bonds()  # off the air, too
    await rig.start()
    connection = await rig.connected(phone)
    with pytest.raises(hci.HCI_Error):
        await connection.encrypt()
    assert len(await rig.told(LinkOpened, 2)) == 2
