"""Whom the stock service serves and who may pair, by the rules alone."""

from types import MappingProxyType

import pytest

from chargepin.charger.air import AttError, Pairing, Secured
from chargepin.charger.dialog import PairingDialog
from chargepin.charger.rights import Rights
from chargepin.core.bonds import Role
from chargepin.core.durable import Durable
from chargepin.core.gatt import Layout
from chargepin.core.guard_state import Guard, Link, Phase
from chargepin.core.identity import Hint, State
from charger.rig import charger_and_phones
from core.guard_bench import APP, OPEN, PROTECTED, SEALED, SOFTWARE

OPENER = 1
NONCE = bytes(range(8))
NO_KEY = Secured(encrypted=False, authenticated=False)
KNOWN = Secured(encrypted=False, authenticated=False, known=True)
JUST_WORKS = Secured(encrypted=True, authenticated=False)
BY_CODE = Secured(encrypted=True, authenticated=True)

PAIR, ENCRYPT = AttError.INSUFFICIENT_AUTHENTICATION, AttError.INSUFFICIENT_ENCRYPTION
NOTHING = AttError.INSUFFICIENT_AUTHORIZATION

# For a link with no key, with a bond that is not used yet, by Just Works, by code; and who asks to
# pair.
ANSWERS = {
    ("open", "closed"): (ENCRYPT, ENCRYPT, None, None, Pairing.JUST_WORKS),
    ("open, never encrypted", "closed"): (None, None, None, None, Pairing.REFUSED),
    ("protected", "closed"): (NOTHING, ENCRYPT, NOTHING, None, Pairing.REFUSED),
    ("protected", "window"): (PAIR, PAIR, PAIR, None, Pairing.PASSKEY),
    ("sealed", "closed"): (NOTHING, ENCRYPT, NOTHING, NOTHING, Pairing.REFUSED),
}
STATES: dict[str, tuple[Durable, Layout]] = {
    "open": (OPEN, Layout.BGX),
    "open, never encrypted": (OPEN, Layout.ZENTRI),
    "protected": (PROTECTED, Layout.BGX),
    "sealed": (SEALED, Layout.BGX),
}


@pytest.mark.parametrize(("state", "window"), ANSWERS)
async def test_who_may_use_the_stock_service(state: str, window: str) -> None:
    durable, layout = STATES[state]
    opener = Link(opened_s=0.0, phase=Phase.GRANTED, role=Role.OWNER)
    guard = Guard(durable, 0.0, SOFTWARE, APP, MappingProxyType({OPENER: opener}))
    async with charger_and_phones() as rig:
        await rig.start()
        await rig.connected()
        dialog = PairingDialog(
            rig.charger,
            draw=lambda _below: 0,
            now_s=lambda: 0.0,
            guard=lambda: guard,
            say=lambda *_: None,
            log=lambda _: None,
        )
        if window == "window":
            dialog.open(OPENER, "")
        rights = Rights(lambda: guard, layout, dialog)
        asked = [rights.stock(2, secured) for secured in (NO_KEY, KNOWN, JUST_WORKS, BY_CODE)]
        assert (*asked, rights.pairing(2)) == ANSWERS[state, window]
        assert rights.bond_counts() is (durable is OPEN)
        shown = State.OPEN if durable is OPEN else State.PROTECTED
        assert rights.hint(NONCE) == Hint(shown, durable.generation, NONCE).encode()
