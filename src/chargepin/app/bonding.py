"""Bonds: what the charger knows this app by, once it has proved the passcode."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated

import msgspec

from chargepin.app.errors import ChargepinError
from chargepin.app.ports import KeptBond, Prompt, Vault
from chargepin.app.session import Session


class _Drawn(msgspec.Struct, frozen=True):
    id: str
    secret: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    role: str


@dataclass(frozen=True, slots=True)
class Bonding:
    """Draws bonds on one charger's sessions and keeps them in the vault. name: for its lists."""

    serial: str
    vault: Vault
    name: str
    prompt: Prompt | None

    async def draw(
        self, session: Session, generation: int, *, token: bytes | None = None, role: str = "user"
    ) -> str | None:
        """Get a bond, so that nobody is asked again; gives its role, None if it was refused.

        token: whoever set the passcode proves it by this, and becomes an owner.
        """
        wish = {
            "name": self.name,
            "owner_token": token.hex() if token else None,
            "role": role,
        }
        try:
            drawn = msgspec.convert(await session.request("bond.create", wish), _Drawn)
        except (ChargepinError, msgspec.ValidationError) as error:
            if self.prompt is not None:
                self.prompt.tell(f"The charger could not remember this app: {error}")
            return None
        bond = KeptBond(drawn.id, bytes.fromhex(drawn.secret), drawn.role, generation)
        self.vault.update(self.serial, lambda known: msgspec.structs.replace(known, bond=bond))
        return drawn.role

    async def raise_to(self, role: str, session: Session, generation: int) -> None:
        """Have a bond that keeps the role a session was raised to; the one before is given up."""
        known = self.vault.get(self.serial)
        before = known.bond if known else None
        if await self.draw(session, generation, role=role) is None or before is None:
            return
        with suppress(ChargepinError):  # then it stays in the charger's list, of use to nobody
            await session.request("bonds.forget", {"id": before.bond_id})
