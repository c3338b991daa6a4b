"""The phones that a charger knows, as it lists them."""

from collections.abc import Awaitable, Callable

import msgspec

from chargepin.app.errors import ProtocolError

MOST_PHONES = 1000
"""More than any charger knows: a list that goes on for ever is none."""


class Phone(msgspec.Struct, frozen=True):
    """One phone that the charger knows; created and seen are Unix seconds, 0 unknown.

    kind: "app" for a bond of ours, "bluetooth" for a phone that paired by its own dialog.
    """

    id: str
    name: str
    role: str
    created: int
    seen: int
    this: bool
    kind: str = "app"


class _Page(msgspec.Struct, frozen=True):
    """next: after which phone the rest comes, None if this is all."""

    bonds: list[Phone] = []
    next: int | None = None


async def read(call: Callable[[str, object], Awaitable[object]]) -> list[Phone]:
    """Read the list page by page. Raises ProtocolError for answers that make none."""
    phones: list[Phone] = []
    after: int | None = 0
    while after is not None:
        try:
            page = msgspec.convert(await call("bonds.list", {"after": after}), _Page)
        except msgspec.ValidationError as error:
            raise ProtocolError("What the charger says of its phones is no list.") from error
        phones += page.bonds
        endless = page.next is not None and page.next <= after
        if endless or len(phones) > MOST_PHONES:
            raise ProtocolError("The charger's list of phones does not come to an end.")
        after = page.next
    return phones
