"""Callbacks and tasks that nobody waits for: they stop nothing, and what went wrong is told."""

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any, ParamSpec

P = ParamSpec("P")


def call(callback: Callable[..., None], *arguments: object) -> None:
    """Call back. Whatever a callback does, the radio's events are still taken."""
    try:
        callback(*arguments)
    except Exception as error:  # noqa: BLE001 - reported where programs look for such things
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "a link's callback failed", "exception": error})


def as_given(callback: Callable[P, None]) -> Callable[P, None]:
    """To be called in the context in which it was given.

    On macOS and Windows threads of the system tell what happens, in no context of the program's.
    """
    context = contextvars.copy_context()

    def called(*arguments: P.args, **named: P.kwargs) -> None:
        context.copy().run(callback, *arguments, **named)

    return called


def look_at(task: asyncio.Future[Any]) -> None:
    """Take note of an exception that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
