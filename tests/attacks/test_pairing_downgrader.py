"""The downgrader at the phone's dialog: it pairs as a phone that can do less than it should.

It wants to be let off the code: by legacy pairing, by having no keyboard, by asking for no
protection, for a shorter key, for no bond that anybody could forget later.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path

from bumble import pairing
from bumble.core import ProtocolError
from bumble.device import Connection

from attacks.dialog import (
    STOCK_CHARGER,
    Display,
    Phones,
    let_in,
    of,
    phones,
    stock_charger,
    window,
)
from attacks.report import Row, Tell
from attacks.stage import victim
from charger.initiator import PASSKEY_REQUEST, REQUEST, Initiator
from ends import both_ends

CODE = 271_828
Delegate = pairing.PairingDelegate
Way = Callable[[Phones], Awaitable[Connection]]
"""Pairs as far as it gets; gives the link."""


def by_stack(
    capability: pairing.PairingDelegate.IoCapability, *, sc: bool = True, bonding: bool = True
) -> Way:
    """With a stock phone that can do no more than that."""

    async def paired(attacker: Phones) -> Connection:
        phone = await attacker.phone()
        phone.pairing_config_factory = lambda _: pairing.PairingConfig(
            sc=sc,
            mitm=False,
            bonding=bonding,
            delegate=Delegate(capability),
            identity_address_type=pairing.PairingConfig.AddressType.RANDOM,
        )
        link = await attacker.link(phone)
        try:
            await link.pair()
        except ProtocolError:
            assert not link.is_encrypted
        return link

    return paired


def by_hand(base: bytes = REQUEST, **fields: int) -> Way:
    """With a request that no stock phone makes; then on as in Just Works, whatever was agreed."""
    at = {"io": 1, "oob": 2, "auth": 3, "key": 4}
    pdu = bytearray(base)
    for name, value in fields.items():
        pdu[at[name]] = value

    async def paired(attacker: Phones) -> Connection:
        initiator = Initiator(await attacker.link())
        answered = await initiator.request(bytes(pdu))
        if answered[0] != 0x02 or pdu[at["oob"]]:  # of those other means it has none
            return initiator.connection
        initiator.their_key = await initiator.wire.ask(initiator.public_key)
        if initiator.their_key[0] != 0x0C:
            return initiator.connection
        if initiator.answered[1] == 0x00 and pdu[1] in {0x02, 0x04}:  # a code is expected
            assert (await initiator.wire.ask(b"\x04" + initiator.na))[0] == 0x05
            return initiator.connection
        initiator.confirm = await initiator.wire.hear()
        await initiator.exchange_randoms()
        await initiator.check()
        await initiator.encrypt()
        return initiator.connection

    return paired


WAYS: dict[str, Way] = {
    "neither keyboard nor display": by_stack(Delegate.NO_OUTPUT_NO_INPUT),
    "a display alone": by_stack(Delegate.DISPLAY_OUTPUT_ONLY),
    "a display and yes or no": by_stack(Delegate.DISPLAY_OUTPUT_AND_YES_NO_INPUT),
    "legacy, nothing to type": by_stack(Delegate.NO_OUTPUT_NO_INPUT, sc=False),
    "legacy, a display": by_stack(Delegate.DISPLAY_OUTPUT_ONLY, sc=False),
    "no bond to forget": by_stack(Delegate.NO_OUTPUT_NO_INPUT, bonding=False),
    "a key of 7 bytes": by_hand(key=7),
    "a key of 15 bytes": by_hand(key=15),
    "a key of 6 bytes": by_hand(key=6),
    "secrets by other means": by_hand(oob=1),
    "protection asked for, and no keyboard": by_hand(auth=0x0D),
    "a keyboard, then none": by_hand(PASSKEY_REQUEST, auth=0x09),
    "a keyboard, and no bond": by_hand(PASSKEY_REQUEST, auth=0x0C),
    "a keyboard, and 7 bytes": by_hand(PASSKEY_REQUEST, key=7),
}


async def test_downgrader_at_the_dialog(tmp_path: Path, tell: Tell) -> None:
    async with victim(tmp_path / "held", draw=lambda _: CODE) as on:
        owner = await on.owner_in()
        async with window(owner) as shown, phones(on.ends.room.address, of(on)) as attacker:
            for name, way in WAYS.items():
                link = await way(attacker)
                assert not link.is_encrypted, name
                assert not await let_in(link), name
                await link.disconnect()
            assert shown.spent == 0
            assert on.daemon._air.phones == []
        await owner.close()

    won = []
    async with (
        both_ends(tmp_path / "stock") as ends,
        stock_charger(ends.room.address, Display(CODE)),
        phones(ends.room.address, STOCK_CHARGER) as attacker,
    ):
        for name, way in WAYS.items():
            link = await way(attacker)
            if await let_in(link):
                won.append(name)
            await link.disconnect()
    assert {"neither keyboard nor display", "legacy, nothing to type", "a key of 7 bytes"} <= {*won}
    tell(
        Row(
            "12 downgrader at the phone's dialog",
            len(WAYS),
            "no key, no bond, no code spent",
            f"{len(won)} of {len(WAYS)} ways lead to the stock service of a stock Bumble charger"
            " that shows a code",
            "Secure Connections, 16 bytes, a keyboard and a bond, or no pairing at all",
        )
    )
