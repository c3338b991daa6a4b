"""The charger's front: what a finger on the button means, and a simulated front's socket.

One word a line: press, hold (ten seconds), plug, unplug, tamper (take the cover off), cover (put
it back); or one with a number: sun (W of solar power), house (A that the rest of the house draws).
Each is answered with a line, once it has been done.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from chargepin.charger.ports import NotPossible
from chargepin.machine.unix_socket import private_socket

HELD_S = 10.0
LONGEST_WORD_BYTES = 64


class Presses:
    """Tells a short press from a button that is held. tell: with held=True after ten seconds."""

    def __init__(self, tell: Callable[[bool], None]) -> None:
        self._tell = tell
        self._holding: asyncio.TimerHandle | None = None

    def moved(self, down: bool) -> None:  # noqa: FBT001 - the callback that the port names
        """The button went down, or came up."""
        holding, self._holding = self._holding, None
        if holding is not None:
            holding.cancel()
        if down:
            loop = asyncio.get_running_loop()
            self._holding = loop.call_later(HELD_S, self._held)
        elif holding is not None:
            self._tell(False)

    def _held(self) -> None:
        self._holding = None
        self._tell(True)


class Front:
    """The socket, as long as it is open.

    hands: what each word does; dials: what each word with a number does. They may raise ValueError
    and NotPossible. settled: waits until what a hand began is kept; may raise NotPossible.
    """

    def __init__(
        self,
        path: Path,
        hands: Mapping[str, Callable[[], None]],
        dials: Mapping[str, Callable[[int], None]] = MappingProxyType({}),
        settled: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._path = path
        self._hands = hands
        self._dials = dials
        self._settled = settled
        self._server: asyncio.Server | None = None

    async def open(self) -> None:
        """Listen, for this user only. Raises OSError."""
        self._path.unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._talk, sock=private_socket(self._path))

    async def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := (await reader.read(LONGEST_WORD_BYTES)).decode(errors="replace").strip():
                writer.write(f"{await self._do(*line.partition(' '))}\n".encode())
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def _do(self, word: str, _: str, number: str) -> str:
        hand, dial = self._hands.get(word), self._dials.get(word)
        try:
            if dial is not None:
                dial(int(number) if number.isdecimal() else _no_number(word))
            elif hand is not None and not number:
                hand()
            else:
                named = f"{word} {number}".rstrip()
                there = ", ".join([*self._hands, *(f"{each} NUMBER" for each in self._dials)])
                return f"there is no {named!r}; there are {there}"
            if self._settled is not None:
                await self._settled()
        except (ValueError, NotPossible) as error:
            return f"not done: {error}"
        return "done"


def _no_number(word: str) -> int:
    raise ValueError(f"{word} needs a number, such as {word} 20")
