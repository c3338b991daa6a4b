"""Asking for a passcode, and the numbers that chargers of the maker's own software want typed.

A passcode that this project assigned is never such a number: it is kept with a generation, these
are not.
"""

from typing import Final

import msgspec

from chargepin.app.errors import Cancelled
from chargepin.app.ports import Candidate, Known, Prompt, Vault
from chargepin.core.catalogue import serial_of
from chargepin.core.passcode import Passcode, PasscodeFormatError, entered

NO_GENERATION = 0
"""Of a passcode that the maker's app has set; no charger of this project ever names it."""
MISTYPED_MAX: Final = 10


async def asked(prompt: Prompt, question: str, *, held: Passcode | None = None) -> Passcode:
    """Ask until it can be a passcode, and say what is wrong with what can't. Raises Cancelled.

    MISTYPED_MAX times at most: a program that answers by itself answers the same for ever.
    """
    for _ in range(MISTYPED_MAX):
        try:
            return entered(await prompt.passcode(question, held=held))
        except PasscodeFormatError as error:
            prompt.tell(str(error))
    raise Cancelled(f"Not done: {MISTYPED_MAX} answers were no passcode.")


class GivenPasscode:
    """The Prompt of a program that was given the passcode beforehand, such as in a form.

    Gives it once, so that a wrong one costs one try. text: as a person types it; raises
    PasscodeFormatError, which is a ValueError that says what is wrong and does not repeat it.
    """

    def __init__(self, text: str) -> None:
        self._passcode: Passcode | None = entered(text)

    async def confirm(self, _question: str, *, default: bool) -> bool:
        """Nobody is there to say otherwise."""
        return default

    async def passcode(self, _question: str, *, held: Passcode | None = None) -> str:
        """Give it. Raises Cancelled the second time."""
        _ = held
        given, self._passcode = self._passcode, None
        if given is None:
            raise Cancelled("The passcode that was given has been tried already.")
        return given.digits

    def tell(self, text: str) -> None:
        """Nobody is there to hear it; errors say what matters."""

    def progress(self, text: str, percent: int) -> None:
        """Nobody looks."""


class Codes:
    """Gives them from the vault, once, then asks the person; keeps what has let this app in."""

    def __init__(self, vault: Vault, prompt: Prompt | None) -> None:
        self._vault = vault
        self._prompt = prompt
        self._given: dict[str, str] = {}
        self._tried: set[str] = set()

    @property
    def any(self) -> bool:
        """Whether there is somebody to ask, or a passcode at hand."""
        if self._prompt is not None:
            return True
        return any(self._held(serial) for serial in self._vault.serials())

    def tell(self, text: str) -> None:
        """Say something about pairing to the person, if there is one."""
        if self._prompt is not None:
            self._prompt.tell(text)

    async def ask(self, name: str) -> int:
        """The number for this charger. Raises Cancelled."""
        serial = serial_of(name)
        digits = self._held(serial)
        if digits is None or serial in self._tried:
            digits = await self._asked(name)
        self._tried.add(serial)
        self._given[serial] = digits
        return int(digits)

    def proved(self, serial: str) -> None:
        """It let this app in: keep it, for the day when the charger has forgotten this app."""
        digits = self._given.pop(serial, None)
        if digits is not None and digits != self._held(serial):
            kept = (Candidate(NO_GENERATION, b"", digits),)
            self._keep(serial, kept)

    def refused(self, serial: str) -> None:
        """It did not: the passcode was changed, or mistyped."""
        if self._given.pop(serial, None) == self._held(serial) is not None:
            self._keep(serial, ())

    def _held(self, serial: str) -> str | None:
        known = self._vault.get(serial)
        if known is None or known.identity is not None:
            return None  # a charger of this project: nothing of its is for a pairing
        kept = (each.passcode for each in known.candidates if each.generation == NO_GENERATION)
        return next(kept, None)

    def _keep(self, serial: str, kept: tuple[Candidate, ...]) -> None:
        def with_it(known: Known) -> Known:
            others = tuple(each for each in known.candidates if each.generation != NO_GENERATION)
            return msgspec.structs.replace(known, candidates=(*kept, *others))

        self._vault.update(serial, with_it)

    async def _asked(self, name: str) -> str:
        if self._prompt is None:
            raise Cancelled("Nobody is there to ask.")
        question = (
            f"{name} wants a Bluetooth code typed within 30 seconds (6 digits; the maker's app or"
            " the charger's owner has it; never a passcode that chargepin assigned): "
        )
        return (await asked(self._prompt, question)).digits
