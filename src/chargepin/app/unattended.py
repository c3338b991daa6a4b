"""Callbacks and tasks that nobody waits for: they stop nothing, and what went wrong is told."""

import asyncio
from collections.abc import Callable
from typing import Any


def call(callback: Callable[..., None], *arguments: object) -> None:
    """Call back. Whatever a callback does, the radio's events are still taken."""
    try:
        callback(*arguments)
    except Exception as error:  # noqa: BLE001 - reported where programs look for such things
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": "a link's callback failed", "exception": error})


def look_at(task: asyncio.Future[Any]) -> None:
    """Take note of an exception that nobody waits for any more."""
    if not task.cancelled():
        task.exception()
