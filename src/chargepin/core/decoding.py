"""JSON that comes from outside, from the air, the network or a file: read, or one error."""

from typing import TypeVar

import msgspec

T = TypeVar("T")


class Undecodable(ValueError):
    """Not the JSON that was expected. Says nothing about it: there may be a secret in it."""


def decoded(raw: object, kind: type[T]) -> T:
    """Read bytes or text as JSON of this kind. Raises Undecodable, for anything else too.

    msgspec itself raises errors that are none of its own for text that is no Unicode and for
    thousands of brackets.
    """
    if not isinstance(raw, bytes | str):  # a database gives what was put into it
        raise Undecodable("no JSON")
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        raise Undecodable("not the JSON that was expected") from None
