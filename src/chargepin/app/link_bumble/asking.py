"""What a charger may ask this app while pairing: a number that a person knows."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from bumble.pairing import PairingConfig, PairingDelegate

from chargepin.app.errors import Cancelled, ChargerRefused, PasscodeWrong

AskCode: TypeAlias = Callable[[str], Coroutine[Any, Any, int]]
"""Gives the number that the charger of this name wants typed; raises Cancelled."""

_TELLING = ("user input:", "TK from passkey")


def _says_no_code(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith(_TELLING)


logging.getLogger("bumble.smp").addFilter(_says_no_code)  # its debug log has what was typed


class Asking(PairingDelegate):
    """One link's answers. asked: a number was given. declined: why none was."""

    def __init__(self, name: str, ask_code: AskCode | None) -> None:
        key = PairingDelegate.KeyDistribution.DISTRIBUTE_ENCRYPTION_KEY
        # The key itself is agreed on; nothing else about this app needs to be known.
        super().__init__(
            self.NO_OUTPUT_NO_INPUT if ask_code is None else self.KEYBOARD_INPUT_ONLY, key, key
        )
        self._name = name
        self._ask_code = ask_code
        self.asked = False
        self.declined: Cancelled | None = None

    def check(self) -> None:
        """Raise ChargerRefused if nobody has a number."""
        if self._ask_code is None:
            raise ChargerRefused(
                f"{self._name} wants another pairing, and nobody has a code for one.",
                refusal="pairing_refused",
            )

    def failed(self, why: str) -> Exception:
        """What a pairing that failed means. why: SMP's word for it."""
        if self.declined is not None:
            return self.declined
        if self.asked:
            return PasscodeWrong(
                f"{self._name} did not take that code. Nothing was changed. Try the one that the"
                " maker's app shows now.",
                tries_left=None,
            )
        return ChargerRefused(
            f"{self._name} does not pair now ({why}). Nothing was changed.",
            refusal=f"pairing_{why.lower()}",
        )

    @property
    def config(self) -> PairingConfig:
        """LE Secure Connections; a number only where the charger wants one."""
        return PairingConfig(
            sc=True,
            mitm=False,
            bonding=True,
            delegate=self,
            # A charger finds the bond by the address that it sees.
            identity_address_type=PairingConfig.AddressType.RANDOM,
        )

    async def get_number(self) -> int | None:
        """Bumble needs the number now; None refuses."""
        if self._ask_code is None:
            return None
        try:
            number = await self._ask_code(self._name)
        except Cancelled as declined:
            self.declined = declined
            return None
        self.asked = True
        return number
