"""Holding a charger's connection: made again when it breaks, kept alive, lent to another phone.

Many chargers serve one phone at a time, so that whoever holds the connection for long must be
able to give it away for a while.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from chargepin.app.charger import Charger
from chargepin.app.errors import (
    Busy,
    ChargepinError,
    LinkLost,
    NoRadio,
    NotFound,
    WeakSignal,
)

KEEP_ALIVE_AFTER_S: Final = 30.0
FIRST_WAIT_S: Final = 2.0
LONGEST_WAIT_S: Final = 30.0
_PASSES: Final = (Busy, LinkLost, NoRadio, NotFound, WeakSignal)


@dataclass(frozen=True, slots=True)
class Connected:
    """It is there, again."""


@dataclass(frozen=True, slots=True)
class Broken:
    """It is not, for this reason; tried again in so many seconds."""

    reason: ChargepinError
    again_s: float


@dataclass(frozen=True, slots=True)
class Lent:
    """Given away for so many seconds."""

    away_s: float


@dataclass(frozen=True, slots=True)
class GivenUp:
    """The last notice: trying again will not help against this."""

    reason: ChargepinError


Notice: TypeAlias = Connected | Broken | Lent | GivenUp


class Holder:
    """One charger's connection for as long as `run` runs.

    reach: gets in anew, without asking anybody. first: a connection that is there already.
    """

    def __init__(
        self,
        reach: Callable[[], Awaitable[Charger]],
        first: Charger | None = None,
        on_notice: Callable[[Notice], None] = lambda _: None,
    ) -> None:
        self._reach = reach
        self._charger = first
        self._on_notice = on_notice
        self._lent_until_s = 0.0
        self._turn = asyncio.Event()  # something is to be done before the wait is over
        self._changed = asyncio.Condition()
        self._reaching: asyncio.Future[Charger] | None = None
        self._ended: BaseException | None = None

    @property
    def charger(self) -> Charger | None:
        """The connection, None while there is none."""
        return self._charger

    @property
    def lent_s(self) -> float:
        """For how many seconds it is still lent, 0 if it is not."""
        return max(0.0, self._lent_until_s - _now_s())

    async def connected(self) -> Charger:
        """Wait for the connection. Raises the error for which it was given up."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._charger or self._ended)
        if self._charger is None:
            assert self._ended is not None  # noqa: S101 - else it would still be waited for
            raise self._ended
        return self._charger

    async def call(self, method: str, par: object = None) -> object:
        """Wait for the connection and call a method; a dead one is made again, the call is not."""
        charger = await self.connected()
        try:
            return await charger.call(method, par)
        except LinkLost:
            await charger.close()
            raise

    async def lend(self, away_s: float) -> None:
        """Hang up and stay away; with 0, come back. Returns once the link is free."""
        self._lent_until_s = _now_s() + away_s
        self._turn.set()
        async with self._changed:
            await self._changed.wait_for(
                lambda: not (self._charger or self._reaching) or not self.lent_s or self._ended
            )

    async def run(self) -> None:
        """Hold it until cancelled. Raises the error that trying again will not help against."""
        try:
            await self._hold()
        except BaseException as ending:
            self._ended = ending
            if isinstance(ending, ChargepinError):
                self._on_notice(GivenUp(ending))
            raise
        finally:
            charger, self._charger = self._charger, None
            await self._tell_waiting()
            if charger is not None:
                await charger.close()

    async def _hold(self) -> None:
        wait_s = FIRST_WAIT_S
        while True:
            while self.lent_s:
                await self._wait(self.lent_s)
            try:
                charger = self._charger or await self._reached()
                if charger is None:
                    continue  # it was lent meanwhile
                since_s = _now_s()
                reason = await self._watch(charger)
                if _now_s() - since_s >= KEEP_ALIVE_AFTER_S:
                    wait_s = FIRST_WAIT_S  # a link that breaks off again and again is given time
            except _PASSES as error:
                reason = error
            if self.lent_s:
                self._on_notice(Lent(self.lent_s))
                continue
            self._on_notice(Broken(reason, wait_s))
            await self._wait(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)

    async def _reached(self) -> Charger | None:
        """Get in; None if the connection was lent before that."""
        self._turn.clear()
        self._reaching = asyncio.ensure_future(self._reach())
        turn = asyncio.ensure_future(self._turn.wait())
        try:
            await asyncio.wait({self._reaching, turn}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            turn.cancel()
            await self._broken_off()
        if self._charger is not None:
            await self._tell_waiting()
            self._on_notice(Connected())
        return self._charger

    async def _broken_off(self) -> None:
        """Take what getting in has come to; what is not done yet is given up."""
        work, self._reaching = self._reaching, None
        assert work is not None  # noqa: S101 - it was just begun
        if not work.done():
            work.cancel()
            await asyncio.wait([work])
        try:
            if not work.cancelled():
                self._charger = work.result()
        finally:
            await self._tell_waiting()

    async def _watch(self, charger: Charger) -> ChargepinError:
        """Keep it alive until it breaks or is lent; gives the reason."""
        charger.on_close(self._turn.set)
        reason = LinkLost(f"The connection to {charger.name} broke off.", retry_after_s=0.0)
        try:
            while not (charger.closed or self.lent_s):
                idle_s = _now_s() - charger.asked_s
                if idle_s >= KEEP_ALIVE_AFTER_S:
                    await charger.keep_alive()
                else:
                    await self._wait(KEEP_ALIVE_AFTER_S - idle_s)
        except LinkLost as lost:
            reason = lost
        finally:
            await charger.close()
            self._charger = None
            await self._tell_waiting()
        return reason

    async def _wait(self, seconds: float) -> None:
        """Wait, or until something is to be done."""
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await self._turn.wait()
        except TimeoutError:
            return
        self._turn.clear()

    async def _tell_waiting(self) -> None:
        async with self._changed:
            self._changed.notify_all()


def _now_s() -> float:
    return asyncio.get_running_loop().time()
