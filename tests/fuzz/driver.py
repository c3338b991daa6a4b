"""Throws bytes at a target and keeps those that reach new code, to change them further.

A small coverage-guided fuzzer of its own: the known ones have no builds for every computer that
this project is tested on.
"""

import ast
import asyncio
import logging
import random
import re
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    contextmanager,
    nullcontext,
)
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, TypeAlias

import chargepin
from manual_loop import ManualLoop

HERE: Final = Path(__file__).parent
SOURCES: Final = str(Path(chargepin.__file__).parent)

CPU_MAX_S: Final = 0.1
MEMORY_MAX_BYTES: Final = 64 << 20
_HANGS_S: Final = 5.0
_HURRY_S: Final = 0.05
_POOL_MAX: Final = 500
_MINIMISING_TIMES: Final = 400
_FINDINGS_MAX: Final = 10
_WATCHED: Final = 0.25
"""Of the inputs: watching costs more than most inputs do."""

Take: TypeAlias = Callable[[bytes], None]


class Broken(AssertionError):
    """An invariant of a target does not hold."""


class Slow(Exception):
    """One input took more computing time than any may."""


def hold(rule: str, *, held: bool) -> None:
    """Raise Broken unless it held."""
    if not held:
        raise Broken(rule)


@dataclass(frozen=True, slots=True)
class Target:
    """What meets foreign bytes. Whatever `take` raises is a finding.

    open: sets up, for many inputs, and clears up. words: bytes that mean something to it. longest:
    bytes of an input. guided: whether the code reached is watched; not where it is much, and
    nearly the same for each input. cpu_s: for one input, where our hashing is part of it.
    """

    name: str
    open: Callable[[], AbstractContextManager[Take]]
    words: Sequence[bytes] = ()
    longest: int = 2048
    guided: bool = True
    cpu_s: float = CPU_MAX_S

    @property
    def corpus(self) -> list[bytes]:
        """The inputs that are kept: one bytes literal a line, comments between them."""
        path = HERE / "corpus" / f"{self.name}.txt"
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return [ast.literal_eval(line) for line in lines if line and not line.startswith("#")]


def plain(name: str, take: Take, **more: Any) -> Target:
    """A target that needs nothing set up."""
    return Target(name, lambda: nullcontext(take), **more)


@dataclass(frozen=True, slots=True)
class Finding:
    """An input and what it did. place: where, to tell findings apart."""

    data: bytes
    error: BaseException
    place: tuple[str, ...]

    @property
    def text(self) -> str:
        return "".join(traceback.format_exception(self.error)[-12:])


# ---- one input -----------------------------------------------------------------------------------


class Watch:
    """Which steps between lines of ours were ever taken."""

    def __init__(self) -> None:
        self.edges: set[tuple[CodeType, int, int]] = set()
        self._last = 0

    @contextmanager
    def watching(self) -> Iterator[None]:
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(None)

    def _called(self, frame: FrameType, _event: str, _argument: object) -> Any:
        return self._line if frame.f_code.co_filename.startswith(SOURCES) else None

    def _line(self, frame: FrameType, _event: str, _argument: object) -> Any:
        line = frame.f_lineno
        self.edges.add((frame.f_code, self._last, line))
        self._last = line
        return self._line


def _hung(_signal: int, _frame: FrameType | None) -> None:
    raise Slow(f"one input computed for {_HANGS_S} s and had not ended")


@contextmanager
def _watchdog() -> Iterator[None]:
    before = signal.signal(signal.SIGPROF, _hung)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def _computed_s(take: Take, data: bytes) -> float:
    signal.setitimer(signal.ITIMER_PROF, _HANGS_S)
    begun_s = time.process_time()
    take(data)
    taken_s = time.process_time() - begun_s
    signal.setitimer(signal.ITIMER_PROF, 0)
    return taken_s


def tried(target: Target, take: Take, data: bytes, watch: Watch | None = None) -> Finding | None:
    """Give one input to a target, and judge what came of it."""
    try:
        with watch.watching() if watch else nullcontext():
            taken_s = _computed_s(take, data)
        if taken_s > target.cpu_s:  # again, unwatched: it may have been the collector of garbage
            taken_s = min(_computed_s(take, data) for _ in range(3))
        hold(f"{taken_s:.2f} s for {len(data)} bytes is too long", held=taken_s <= target.cpu_s)
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # noqa: BLE001 - whatever escapes is what is looked for
        frames = traceback.extract_tb(error.__traceback__)
        ours = [frame for frame in frames if frame.filename.startswith(SOURCES)]
        where = (ours or frames)[-1]
        place = (type(error).__name__, where.filename, str(where.lineno))
        rule = re.sub(r"[0-9.]+", "N", str(error)) if isinstance(error, Broken) else ""
        return Finding(data, error, (*place, rule))
    return None


def minimised(target: Target, take: Take, finding: Finding) -> Finding:
    """Cut away what is not needed for the same finding."""
    left = _MINIMISING_TIMES
    size = len(finding.data) // 2
    while size and left:
        at = 0
        while at < len(finding.data) and left:
            left -= 1
            shorter = finding.data[:at] + finding.data[at + size :]
            again = tried(target, take, shorter)
            if again is not None and again.place == finding.place:
                finding = again
            else:
                at += size
        size //= 2
    return finding


# ---- changing inputs -----------------------------------------------------------------------------

_EDGES: Final = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_NUMBERS: Final = (0, 1, 2**8, 2**15, 2**16, 2**31, 2**32 - 1, 2**32, 2**63, 2**64, -1)


class Mutator:
    """Makes new inputs from old ones."""

    def __init__(self, target: Target, chance: random.Random) -> None:
        self._chance = chance
        self._words = [*target.words, *(b"%d" % number for number in _NUMBERS), b""]
        self._longest = target.longest
        self._ways: list[Callable[[bytearray, list[bytes]], None]] = [
            self._flip,
            self._set,
            self._add,
            self._insert,
            self._remove,
            self._repeat,
            self._say,
            self._say,
            self._splice,
        ]

    def __call__(self, pool: list[bytes]) -> bytes:
        """Change one of a pool, in one way or a few."""
        data = bytearray(self._chance.choice(pool))
        for _ in range(self._chance.choice((1, 1, 1, 2, 3, 6))):
            self._chance.choice(self._ways)(data, pool)
        return bytes(data[: self._longest])

    def _at(self, data: bytearray) -> int:
        return self._chance.randrange(len(data) + 1)

    def _flip(self, data: bytearray, _: list[bytes]) -> None:
        if data:
            data[self._chance.randrange(len(data))] ^= 1 << self._chance.randrange(8)

    def _set(self, data: bytearray, _: list[bytes]) -> None:
        if data:
            value = self._chance.choice((*_EDGES, self._chance.randrange(256)))
            data[self._chance.randrange(len(data))] = value

    def _add(self, data: bytearray, _: list[bytes]) -> None:
        size = self._chance.choice((1, 2, 4))
        if len(data) >= size:
            at = self._chance.randrange(len(data) - size + 1)
            step = self._chance.choice((1, -1))  # the number is written either way round
            number = int.from_bytes(data[at : at + size][::step]) + self._chance.randint(-4, 4)
            data[at : at + size] = (number % (1 << 8 * size)).to_bytes(size)[::step]

    def _insert(self, data: bytearray, _: list[bytes]) -> None:
        at, length = self._at(data), self._chance.choice((1, 1, 2, 4, 16, 64))
        data[at:at] = self._chance.randbytes(length)

    def _remove(self, data: bytearray, _: list[bytes]) -> None:
        at, length = self._at(data), self._chance.choice((1, 1, 2, 4, 16, 64))
        del data[at : at + length]

    def _repeat(self, data: bytearray, _: list[bytes]) -> None:
        at, length = self._at(data), self._chance.choice((1, 4, 16, 64))
        data[at:at] = data[at : at + length] * self._chance.choice((1, 2, 16, 256))

    def _say(self, data: bytearray, _: list[bytes]) -> None:
        at, word = self._at(data), self._chance.choice(self._words)
        data[at : at + self._chance.choice((0, len(word)))] = word

    def _splice(self, data: bytearray, pool: list[bytes]) -> None:
        other = self._chance.choice(pool)
        at = self._chance.randrange(len(other) + 1)
        data[self._at(data) :] = other[at:]


# ---- many inputs ---------------------------------------------------------------------------------


@dataclass(slots=True)
class Result:
    """What a run came to. grown_bytes: of memory, since the corpus was replayed."""

    inputs: int = 0
    edges: int = 0
    grown_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def fuzzed(target: Target, seed: int, *, seconds: float = 0.0, inputs: int = 0) -> Result:
    """Run a target on its corpus, then on new inputs: so many, or for so long."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    watch = Watch() if target.guided and seconds else None
    result, places = Result(), set[tuple[str, ...]]()
    mutated, pool = Mutator(target, chance), [*target.corpus] or [b""]

    def one(data: bytes, watch: Watch | None = None) -> None:
        result.inputs += 1
        finding = tried(target, take, data, watch)
        if finding is not None and finding.place not in places:
            places.add(finding.place)
            result.findings.append(minimised(target, take, finding))

    with target.open() as take, _watchdog():
        for data in tuple(pool):
            one(data, watch)
        before, until_s = _peak_bytes(), time.monotonic() + seconds
        known, last = len(watch.edges) if watch else 0, result.inputs + inputs
        while len(result.findings) < _FINDINGS_MAX and (
            time.monotonic() < until_s or result.inputs < last
        ):
            data = mutated(pool)
            one(data, watch if chance.random() < _WATCHED else None)
            if watch and len(watch.edges) > known:
                known = len(watch.edges)
                pool.append(data)
                if len(pool) > _POOL_MAX:
                    del pool[chance.randrange(_POOL_MAX)]
        result.grown_bytes = _peak_bytes() - before
        result.edges = known
    return result


# ---- targets with a loop -------------------------------------------------------------------------

AsyncTake: TypeAlias = Callable[[bytes], Awaitable[None]]


def on_a_loop(
    opened: Callable[[], AbstractAsyncContextManager[AsyncTake]], *, hurrying: bool = False
) -> Callable[[], AbstractContextManager[Take]]:
    """Run an asynchronous target; what fails in a callback or task of its loop is a finding.

    hurrying: time flies, so that nobody waits for an answer that does not come. Not where answers
    come through sockets.
    """

    @contextmanager
    def opened_on_a_loop() -> Iterator[Take]:
        loop, stack = ManualLoop(), AsyncExitStack()
        failed: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _, context: failed.append(context))
        take_one = loop.run_until_complete(stack.enter_async_context(opened()))

        def take(data: bytes) -> None:
            try:
                loop.run_until_complete(_taken(take_one, data, loop if hurrying else None))
            finally:
                contexts = failed.copy()
                failed.clear()
            for context in contexts:
                raise context.get("exception") or Broken(str(context["message"]))

        try:
            yield take
        finally:
            loop.run_until_complete(stack.aclose())
            loop.run_until_complete(loop.shutdown_default_executor())
            loop.close()

    return opened_on_a_loop


async def _taken(take: AsyncTake, data: bytes, hurried: ManualLoop | None) -> None:
    hurry = asyncio.create_task(_hurry(hurried)) if hurried else None
    try:
        await take(data)
    finally:
        if hurry is not None:
            hurry.cancel()


async def _hurry(loop: ManualLoop) -> None:
    while True:
        await asyncio.sleep(0)
        loop.advance(_HURRY_S)


class _Refusing(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        raise error or Broken(record.getMessage())


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory for files, in memory where there is a place: a disk is slow to say it is done."""
    memory = "/dev/shm"  # noqa: S108 - a directory of one's own is made there
    with tempfile.TemporaryDirectory(dir=memory if Path(memory).is_dir() else None) as made:
        yield Path(made)


@contextmanager
def no_faults_logged(name: str) -> Iterator[None]:
    """Whatever a part of the program logs as an error is a finding."""
    logger, handler = logging.getLogger(name), _Refusing(logging.ERROR)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def pieces(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Read an input as steps: a byte that says what, two bytes of length, so many bytes."""
    at = 0
    while at + 2 < len(data):
        start = at + 3
        end = start + int.from_bytes(data[at + 1 : start])
        yield data[at], data[start:end]
        at = end


def piece(what: int, body: bytes = b"") -> bytes:
    """Write one step."""
    return bytes([what]) + len(body).to_bytes(2) + body
