"""Slow hashes, off the event loop and never more than a few at once; passwords among them."""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, TypeVarTuple

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from chargepin.account.ports import Refused
from chargepin.core.messages import ProblemCode

# OWASP's first choice for Argon2id: 19 MiB, two passes, one lane; about 25 ms of one core.
_MEMORY_KIB = 19_456
_PASSES = 2
_LANES = 1
_SALT_BYTES = 16
_HASH_BYTES = 32

_T = TypeVar("_T")
_Arguments = TypeVarTuple("_Arguments")


class SlowWork:
    """A few threads for slow hashes.

    waiting: how many may be under way or queued before new ones are refused, so that a flood of
    sign-ins costs bounded memory and time.
    """

    def __init__(self, *, threads: int = 2, waiting: int = 64) -> None:
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="slow-work")
        self._room = waiting

    async def run(self, work: Callable[[*_Arguments], _T], *arguments: *_Arguments) -> _T:
        """Run work in a thread. Raises Refused when too much is waiting, or what work raises."""
        if not self._room:
            raise Refused(
                ProblemCode.BUSY,
                "The account service has too much to do; nothing was changed. Try again.",
                retry_after_s=5.0,
            )
        self._room -= 1
        future = asyncio.get_running_loop().run_in_executor(self._pool, work, *arguments)
        future.add_done_callback(self._done)
        return await future

    def close(self) -> None:
        """Wait for what is under way; drop what is queued."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _done(self, _: object) -> None:
        self._room += 1


class Passwords:
    """Makes and checks Argon2id hashes in PHC form."""

    def __init__(self, slow: SlowWork) -> None:
        self._slow = slow
        # What a password is compared with when there is no such person: same work, same time.
        self._nobody = _hashed(os.urandom(_SALT_BYTES))

    async def hashed(self, password: str) -> str:
        """The PHC string to store. Raises Refused."""
        return await self._slow.run(_hashed, password.encode())

    async def fits(self, password: str, stored: str | None) -> bool:
        """Whether it is the password; stored is None for nobody. Raises Refused."""
        fits = await self._slow.run(_fits, password.encode(), stored or self._nobody)
        return fits and stored is not None


def _hashed(password: bytes) -> str:
    hasher = Argon2id(
        salt=os.urandom(_SALT_BYTES),
        length=_HASH_BYTES,
        iterations=_PASSES,
        lanes=_LANES,
        memory_cost=_MEMORY_KIB,
    )
    return hasher.derive_phc_encoded(password)


def _fits(password: bytes, stored: str) -> bool:
    try:
        Argon2id.verify_phc_encoded(password, stored)
    except InvalidKey:
        return False
    return True
