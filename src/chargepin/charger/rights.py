"""Who may do what on the air, asked in the middle of a GATT or SMP procedure."""

from collections.abc import Callable

from chargepin.charger.air import AttError, Pairing, Secured
from chargepin.charger.dialog import PairingDialog
from chargepin.core.durable import Mode
from chargepin.core.gatt import Layout
from chargepin.core.guard_state import Guard
from chargepin.core.identity import Hint, State


class Rights:
    """The port `Rules`, read off the guard's state. refused: pairings refused since last asked."""

    def __init__(self, guard: Callable[[], Guard], layout: Layout, dialog: PairingDialog) -> None:
        self._guard = guard
        self._layout = layout
        self._dialog = dialog
        self._refused = 0

    def stock(self, link: int, secured: Secured) -> AttError | None:
        """May this link use the stock service now? On a protected charger: with a bond by code.

        0x05 makes phones raise their pairing dialog, 0x0F makes those that are bonded use their
        key, 0x08 says that there is nothing to try.
        """
        _ = link
        mode = self._guard().durable.mode
        if mode is Mode.OPEN:
            needed = self._layout.stock.needs_encryption
            return AttError.INSUFFICIENT_ENCRYPTION if needed and not secured.encrypted else None
        if mode is Mode.PROTECTED and secured.authenticated:
            return None
        if self._dialog.is_open:
            return AttError.INSUFFICIENT_AUTHENTICATION
        if secured.known:
            return AttError.INSUFFICIENT_ENCRYPTION
        return AttError.INSUFFICIENT_AUTHORIZATION

    def hint(self, nonce: bytes) -> bytes:
        """The passcode service's readable characteristic."""
        guard = self._guard()
        shown = State.OPEN if guard.durable.mode is Mode.OPEN else State.PROTECTED
        return Hint(shown, guard.durable.generation, nonce).encode()

    def pairing(self, link: int) -> Pairing:
        """Just Works while open, where the radio module pairs at all; then by code in a window."""
        _ = link
        if self._guard().durable.mode is Mode.OPEN:
            pairs = self._layout.stock.needs_encryption
            return Pairing.JUST_WORKS if pairs else Pairing.REFUSED
        if self._dialog.is_open:
            return Pairing.PASSKEY
        self._refused += 1
        return Pairing.REFUSED

    def code(self, link: int) -> int | None:
        """Use up the code that is shown."""
        return self._dialog.use(link)

    def phone_name(self) -> str:
        """What the phone that pairs now shall be called; empty if nobody said."""
        return self._dialog.phone_name

    def bond_counts(self) -> bool:
        """Just Works bonds are of the open time."""
        return self._guard().durable.mode is Mode.OPEN

    def take_refused(self) -> int:
        """How many pairings were refused since this was last asked."""
        refused, self._refused = self._refused, 0
        return refused
