"""Events to apps, as they happen: one stream per app, fed from the stored events.

A stream is woken, then reads what is new from the store; nothing is handed over in memory. So an
app that comes back after a gap gets what it missed from the same place, in the same order.
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import msgspec

from chargepin.account.ports import Clock, Refused, Session, StorageFailed, Store
from chargepin.core.messages import Event, EventKind, ProblemCode

HEARTBEAT_S: Final = 15.0
"""A silent stream says so this often, so that a lost one is noticed by either side."""

_HEARTBEAT = b": still here\n\n"
_AT_ONCE = 100
_STREAMS_EACH = 20


class Push:
    """Wakes streams. One per service."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._waiting: dict[str, set[asyncio.Event]] = {}
        self._closed = False

    def wake(self, account_ids: frozenset[str]) -> None:
        """Tell the streams of these accounts that there may be something new."""
        for account_id in account_ids:
            for woken in self._waiting.get(account_id, ()):
                woken.set()

    def close(self) -> None:
        """End every stream."""
        self._closed = True
        self.wake(frozenset(self._waiting))

    def admit(self, session: Session) -> None:
        """Raise Refused when the person has too many streams already."""
        if len(self._waiting.get(session.account_id, ())) >= _STREAMS_EACH:
            raise Refused(
                ProblemCode.TOO_MANY,
                f"You have {_STREAMS_EACH} event streams open already. Close one first.",
            )

    async def stream(self, session: Session, after: int | None) -> AsyncGenerator[bytes, None]:
        """Server-sent events after an id, or from now on; until the session or service ends."""
        woken = asyncio.Event()
        waiting = self._waiting.setdefault(session.account_id, set())
        waiting.add(woken)
        try:
            async for event in self._events(session, after, woken):
                yield _HEARTBEAT if event is None else _frame(event)
        except StorageFailed:
            return  # the app comes back, and is told then
        finally:
            waiting.discard(woken)
            if not waiting:
                self._waiting.pop(session.account_id, None)

    async def _events(
        self, session: Session, after: int | None, woken: asyncio.Event
    ) -> AsyncGenerator[Event | None, None]:
        """The events, and None when there was nothing for a while."""
        account_id = session.account_id
        newest = await self._store.newest_event(account_id)
        position = newest if after is None else min(after, newest)
        yield Event(position, EventKind.READY)
        if after is not None and after > newest:  # an older state of the service was restored
            yield Event(position, EventKind.MISSED)
        while not self._closed and await self._signed_in(session):
            woken.clear()
            events = await self._store.events(account_id, position, _AT_ONCE)
            if events and events[0].id > position + 1:
                yield Event(events[0].id - 1, EventKind.MISSED)
            for event in events:
                yield event
                position = event.id
            if events:
                continue
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await woken.wait()
            except TimeoutError:
                yield None

    async def _signed_in(self, session: Session) -> bool:
        current = await self._store.session(session.token_hash)
        return current is not None and current.expires_unix_s > self._clock.unix_s()


def _frame(event: Event) -> bytes:
    data = msgspec.json.encode(event)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.kind.encode(), data)
