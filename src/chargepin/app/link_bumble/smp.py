"""Bumble's side of a pairing, without what gives a typed code away to a false charger.

Passkey entry costs a phone one or two bits of its code with each attempt (Core Vol 3, Part H,
2.3.5.6.3). Bumble 0.0.236 gives all of it in one: to whoever returns its own public key to it, to
whoever goes on after an attempt has failed, and in legacy pairing to everybody.
"""

from collections.abc import Callable

from bumble.smp import (
    SMP_DEBUG_KEY_PUBLIC_X,
    ErrorCode,
    Session,
    SMP_Command,
    SMP_Pairing_Public_Key_Command,
)


class CarefulSession(Session):
    """One attempt, in place of Bumble's own."""

    def on_smp_command(self, command: SMP_Command) -> None:
        """Take nothing more once the attempt is over."""
        if not self.completed:
            super().on_smp_command(command)

    def display_or_input_passkey(self, next_steps: Callable[[], None] | None = None) -> None:
        """Ask for a code only where each attempt gives no more of it than it must."""
        if self.sc:
            super().display_or_input_passkey(next_steps)
        else:
            self.send_pairing_failed(ErrorCode.AUTHENTICATION_REQUIREMENTS)

    def on_smp_pairing_public_key_command(self, command: SMP_Pairing_Public_Key_Command) -> None:
        """Refuse the own key come back, and the one that everybody knows (2.3.5.6.1)."""
        if command.public_key_x in {self.ecc_key.x[::-1], SMP_DEBUG_KEY_PUBLIC_X[::-1]}:
            self.send_pairing_failed(ErrorCode.INVALID_PARAMETERS)
        else:
            super().on_smp_pairing_public_key_command(command)
