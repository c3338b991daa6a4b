"""Where a tour takes place: a radio, an account service, a charger, people who type commands."""

import asyncio
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeAlias

from chargepin.machine.files import private_directory

SERIAL: Final = "123456"
NAME: Final = f"WB{SERIAL}"
MODEL: Final = "pulsar-plus"
FACTORY_SOFTWARE: Final = "6.7.10"

TYPED_WITHIN_S: Final = 60.0

Listener: TypeAlias = Callable[[str], None]
"""Takes each line of a command's standard error as it comes."""


class Outcome(NamedTuple):
    """How a command ended: its exit code and what it printed."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Typed:
    """What came of a command that somebody typed. command: as a person types it."""

    command: str
    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, Any]:
        """What --json printed; empty when that is no document."""
        try:
            found = json.loads(self.out)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


class World(ABC):
    """One stage for one tour. Everything it keeps is below its directory.

    radio: "tcp:HOST:PORT". account: the service's URL. history: who typed what, and what came.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = private_directory(directory.absolute())
        self.charger_files = self.directory / "charger"
        self.account_files = private_directory(self.directory / "account")
        self.capture = self.directory / "radio.btsnoop"
        self.radio = ""
        self.account = ""
        self.history: list[tuple[str, Typed]] = []
        self._begun = 0
        self._notes = private_directory(self.directory / "typed")

    def home(self, who: str) -> Path:
        """Where one person's app keeps what it knows. Two homes are two people, or two phones."""
        return self.directory / "homes" / who

    async def type(
        self,
        who: str,
        *arguments: str,
        keys: str = "",
        secret: str = "",
        listener: Listener | None = None,
    ) -> Typed:
        """Have somebody type a command, and then keys and a secret, which is not written down.

        Nobody answers beyond that: the input ends. Raises OSError when it does not end in time.
        """
        self._begun += 1
        number = self._begun
        command = " ".join(["chargepin", *arguments])
        given = [*arguments, "--home", str(self.home(who)), "--radio", self.radio]
        try:
            async with asyncio.timeout(TYPED_WITHIN_S):
                outcome = await self._run(given, keys + secret, listener)
        except TimeoutError:
            raise OSError(f"`{command}` did not end within {TYPED_WITHIN_S:.0f} s") from None
        asked = keys.split() + ["(a secret)"] * bool(secret)
        note = [
            f"{who} $ {command}",
            *(f"answers: {answer}" for answer in asked),
            "",
            outcome.out,
            *(["on standard error:", outcome.err] if outcome.err else []),
            f"exit code {outcome.code}",
            "",
        ]
        words = "-".join(arguments[: 2 if arguments[0] in _GROUPS else 1])
        path = self._notes / f"{number:02}-{who}-{words}.txt"
        path.write_text("\n".join(note), encoding="utf-8")
        path.chmod(0o600)
        typed = Typed(command, *outcome)
        self.history.append((who, typed))
        return typed

    @abstractmethod
    def check(self) -> None:
        """Raise OSError if a part has ended by itself: nothing can be tried any more."""

    @abstractmethod
    async def cut_power(self) -> None:
        """Take the charger's power away without warning, and give it back. Raises OSError."""

    @abstractmethod
    async def _run(
        self, arguments: Sequence[str], stdin: str, listener: Listener | None
    ) -> Outcome: ...


_GROUPS = ("passcode", "phones", "pairing")
