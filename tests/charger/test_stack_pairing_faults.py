"""Why the charger pairs by itself: what a stock Bumble charger does in the same place.

See test_stack_faults.py.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
from bumble import hci, pairing
from bumble.keys import MemoryKeyStore
from bumble.smp import SMP_CID, ErrorCode, SMP_Command

from chargepin.core import gatt
from charger.all_stock import Display, Keyboard, Stock, all_stock, configured, explored
from charger.initiator import REQUEST, ROUNDS, Initiator, Typing
from charger.rig import CHARGER, PATIENCE_S, Wire, found
from manual_loop import manual_loop


@pytest.fixture
async def stock() -> AsyncIterator[Stock]:
    async with all_stock() as stock:
        yield stock


async def test_just_works_counts_as_authenticated(stock: Stock) -> None:
    connection = await stock.connected()
    await connection.pair()
    notify = found(await explored(connection), gatt.PASSCODE_NOTIFY.uuid)
    assert await notify.read_value() == b"protected"


async def test_legacy_pairing_is_accepted(stock: Stock) -> None:
    stock.phone.pairing_config_factory = lambda _: pairing.PairingConfig(sc=False, mitm=False)
    connection = await stock.connected()
    await connection.pair()
    assert connection.is_encrypted


async def test_a_short_key_is_agreed_to(stock: Stock) -> None:
    wire = Wire(await stock.connected(), SMP_CID)
    assert (await wire.ask(REQUEST[:4] + b"\x07" + REQUEST[5:]))[0] == 0x02


async def test_its_own_public_key_is_taken_and_stays_the_same(stock: Stock) -> None:
    shown = []
    for _ in range(2):
        connection = await stock.connected()
        wire = Wire(connection, SMP_CID)
        assert (await wire.ask(REQUEST))[0] == 0x02
        own = stock.charger.smp_manager.ecc_key
        shown.append(await wire.ask(b"\x0c" + own.x[::-1] + own.y[::-1]))
        await connection.disconnect()
        await stock.advertise()
    assert shown[0][0] == 0x0C
    assert shown[0] == shown[1]


async def test_a_failed_pairing_goes_on(stock: Stock) -> None:
    wire = Wire(await stock.connected(), SMP_CID)
    assert (await wire.ask(REQUEST))[0] == 0x02
    assert await wire.ask(b"\x0c" + bytes(64)) == bytes([0x05, ErrorCode.UNSPECIFIED_REASON])
    own = stock.charger.smp_manager.ecc_key
    assert (await wire.ask(b"\x0c" + own.x[::-1] + own.y[::-1]))[0] == 0x0C


@pytest.mark.parametrize("pdu", [b"", b"\x01"])
def test_a_short_pairing_pdu_raises(pdu: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011 - which one is Bumble's affair
        SMP_Command.from_bytes(pdu)


async def test_an_unknown_pairing_pdu_raises(stock: Stock) -> None:
    wire = Wire(await stock.connected(), SMP_CID)
    stumbled: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: stumbled.set_result(context.get("exception"))
    )
    wire.send(b"\x7f\x00")
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await stumbled, AttributeError)


async def test_a_step_may_be_taken_twice(stock: Stock) -> None:
    initiator = Initiator(await stock.connected())
    await initiator.request()
    for _ in range(2):
        assert (await initiator.exchange_keys())[0] == 0x0C


async def test_a_pairing_waits_for_ever(stock: Stock) -> None:
    initiator = Initiator(await stock.connected())
    await initiator.request()
    manual_loop().advance(3600)
    assert (await initiator.exchange_keys())[0] == 0x0C


async def test_a_request_for_a_key_inside_an_unfinished_pairing_is_never_answered(
    stock: Stock,
) -> None:
    stumbled: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: stumbled.set_result(context.get("exception"))
    )
    initiator = Initiator(await stock.connected())
    await initiator.request()
    await initiator.connection.device.host.send_async_command(
        hci.HCI_LE_Enable_Encryption_Command(
            connection_handle=initiator.connection.handle,
            random_number=bytes(8),
            encrypted_diversifier=0,
            long_term_key=bytes(16),
        )
    )
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await stumbled, AttributeError)
    assert not initiator.connection.is_encrypted


async def test_who_pairs_while_the_other_leaves_is_cancelled(stock: Stock) -> None:
    connection = await stock.connected()
    (theirs,) = stock.charger.connections.values()
    told: list[object] = []
    connection.on("pairing_failure", told.append)
    theirs.on("pairing_failure", told.append)
    theirs.on("pairing_start", lambda: asyncio.ensure_future(theirs.disconnect()))
    with pytest.raises(asyncio.CancelledError):
        await connection.pair()
    assert told == []


# ---- bonds ------------------------------------------------------------------------------------


async def test_a_phone_that_claims_anothers_identity_replaces_its_bond(stock: Stock) -> None:
    kept = stock.charger.keystore = MemoryKeyStore()
    await (await stock.connected()).pair()
    ((victim, before),) = await kept.get_all()
    thief = await stock.another()
    thief.static_address = hci.Address(victim)  # what it will say it is
    await stock.advertise()
    await (await thief.connect(hci.Address(CHARGER))).pair()
    ((same, after),) = await kept.get_all()
    assert same == victim
    assert before.ltk is not None
    assert after.ltk is not None
    assert after.ltk.value != before.ltk.value


async def test_a_phone_that_gives_another_identity_than_its_address_is_not_known_again(
    stock: Stock,
) -> None:
    stock.charger.keystore = MemoryKeyStore()
    stock.phone.pairing_config_factory = lambda _: pairing.PairingConfig(
        mitm=False, identity_address_type=pairing.PairingConfig.AddressType.PUBLIC
    )
    connection = await stock.connected()
    await connection.pair()
    await connection.disconnect()
    await stock.advertise()
    connection = await stock.connected()
    with pytest.raises(hci.HCI_Error):
        await connection.encrypt()


# ---- a code that is typed ---------------------------------------------------------------------


async def test_a_phone_without_a_keyboard_is_let_off_the_code(stock: Stock) -> None:
    configured(stock.charger, Display(271828))
    configured(stock.phone, None)
    connection = await stock.connected()
    await connection.pair()
    notify = found(await explored(connection), gatt.PASSCODE_NOTIFY.uuid)
    assert await notify.read_value() == b"protected"


async def test_the_code_000000_never_pairs(stock: Stock) -> None:
    stumbled: asyncio.Future[object] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: stumbled.set_result(context.get("exception"))
    )
    configured(stock.charger, Display(0))
    phone = Typing(await stock.connected())
    await phone.begin()
    phone.wire.send(b"\x03" + bytes(16))
    async with asyncio.timeout(PATIENCE_S):
        assert isinstance(await stumbled, AssertionError)
    assert phone.wire.silent


async def test_a_constant_code_is_guessed_in_one_session(stock: Stock) -> None:
    configured(stock.charger, Display(271828))
    phone = Typing(await stock.connected())
    await phone.begin()
    guessed = 0
    for step in range(ROUNDS):
        await phone.commit(1)
        bit = 1
        if (await phone.reveal())[0] == 0x05:  # then it is the other one, and the session goes on
            bit = 0
            await phone.commit(bit)
            assert (await phone.reveal())[0] == 0x04
        guessed |= bit << step
    assert guessed == 271828


async def test_just_works_replaces_a_bond_by_code(stock: Stock) -> None:
    kept = stock.charger.keystore = MemoryKeyStore()
    for display, keyboard, authenticated in (
        (Display(271828), Keyboard(271828), True),
        (None, None, False),
    ):
        configured(stock.charger, display)
        configured(stock.phone, keyboard)
        connection = await stock.connected()
        await connection.pair()
        await connection.disconnect()
        ((_, keys),) = await kept.get_all()
        assert keys.ltk is not None
        assert keys.ltk.authenticated is authenticated
        await stock.advertise()
