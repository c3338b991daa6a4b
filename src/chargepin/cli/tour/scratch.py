"""A directory for one world, removed at the world's end; or by the next one, if that was cut off.

Whoever runs in a directory holds a lock on a file in it, which ends with the program however that
ends. In a place for everybody's temporary files, names tell nothing: only a directory of this very
user, private, with such a file that nobody holds, is a leftover.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

_RUNNING: Final = ".running"
_PRIVATE: Final = 0o700


@contextmanager
def scratch(prefix: str) -> Iterator[Path]:
    """Make such a directory, and remove those that killed programs have left. Raises OSError."""
    for left in Path(tempfile.gettempdir()).glob(f"{prefix}*"):
        with suppress(OSError):
            _remove_if_left(left)
    with ExitStack() as after_removal, tempfile.TemporaryDirectory(prefix=prefix) as made:
        directory = Path(made)
        locking = directory / ".locking"
        descriptor = os.open(locking, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        after_removal.callback(os.close, descriptor)
        with suppress(OSError):  # where nothing can be locked, nothing is taken for a leftover
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            locking.rename(directory / _RUNNING)  # which is never there without its lock
        yield directory


def _remove_if_left(directory: Path) -> None:
    """Remove a directory that its program has left. Raises OSError if it is in use, or another's.

    Links are not followed, here or while removing.
    """
    seen = directory.lstat()
    if not stat.S_ISDIR(seen.st_mode) or stat.S_IMODE(seen.st_mode) != _PRIVATE:
        return
    if seen.st_uid != os.geteuid():
        return
    descriptor = os.open(directory / _RUNNING, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory, ignore_errors=True)
    finally:
        os.close(descriptor)
