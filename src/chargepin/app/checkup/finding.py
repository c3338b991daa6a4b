"""One thing that was looked at, and what to do about it."""

import msgspec


class Finding(msgspec.Struct, frozen=True):
    """what: a short name. fine: whether nothing need be done. advice: what to do; "" only if fine.

    Never a secret in it: people paste such lists where everybody reads them.
    """

    what: str
    fine: bool
    text: str
    advice: str = ""
