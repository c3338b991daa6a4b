"""Files that only their owner may read, replaced in one step or not at all."""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

from chargepin.machine.locks import lock_now

_PRIVATE_DIRECTORY = 0o700


def private_directory(path: Path) -> Path:
    """Make a directory, and those above it that are missing, readable by its owner only.

    A directory that is there already keeps its mode: it may be somebody's own choice, and what
    is written into it is private file by file. Raises OSError.
    """
    missing = []
    above = path
    while not above.is_dir():
        missing.append(above)
        above = above.parent
    for directory in reversed(missing):
        with contextlib.suppress(FileExistsError):
            directory.mkdir(mode=_PRIVATE_DIRECTORY)
            directory.chmod(_PRIVATE_DIRECTORY)  # whatever the umask took or left
    if not path.is_dir():
        raise NotADirectoryError(f"{path} is not a directory")
    return path


def lock_directory(path: Path) -> int:
    """Keep other programs that ask for it out of a directory.

    Gives the descriptor that holds the lock until it is closed, or the program ends. Raises
    BlockingIOError while another one holds it, OSError.
    """
    if sys.platform == "win32":
        raise OSError(f"{path} cannot be locked: Windows locks files only")
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        lock_now(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def write_private(path: Path, data: bytes) -> None:
    """Replace a file's content, mode 0600, so that a power cut leaves the old or the new one.

    Raises OSError: nothing was changed, unless the very last step failed (the directory could
    not be synced), after which the new content is there but may not outlive a power cut. Windows
    has no such modes and syncs no directories: there, a directory of its user's is what is private.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            if sys.platform != "win32":
                os.fchmod(descriptor, 0o600)  # a strange umask may have taken the owner's rights
            file.write(data)
            file.flush()
            _sync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    _sync_directory(path.parent)


def read_private(path: Path) -> bytes:
    """Read a file. Raises FileNotFoundError when there is none."""
    return path.read_bytes()


def set_aside(path: Path, *belonging: str) -> Path:
    """Rename a file that cannot be used to NAME.corrupt-1, -2, …; returns its new path.

    belonging: endings of files that go along where they exist, after it: it is never left behind
    alone, as an older version of itself. Nothing is thrown away: somebody may still save what is
    in it. Raises OSError.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        number += 1
    path.rename(aside)
    _sync_directory(path.parent)
    for suffix in belonging:
        with contextlib.suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(aside.with_name(aside.name + suffix))
    _sync_directory(path.parent)
    return aside


def keep_aside(path: Path, data: bytes) -> Path:
    """Keep what was of no use at this path as NAME.corrupt-1, -2, …, mode 0600; returns its path.

    What is kept already is not kept twice, so that this can be done again after a power cut.
    Raises OSError.
    """
    number = 1
    while (aside := path.with_name(f"{path.name}.corrupt-{number}")).exists():
        if aside.read_bytes() == data:
            return aside
        number += 1
    write_private(aside, data)
    return aside


def _sync(descriptor: int) -> None:
    if sys.platform == "darwin":
        import fcntl  # noqa: PLC0415 - for macOS alone

        # fsync(2) there: the disk may keep data in its own memory, and write it in any order.
        with contextlib.suppress(OSError):  # not every file system knows it
            fcntl.fcntl(descriptor, fcntl.F_FULLFSYNC)
            return
    os.fsync(descriptor)


def _sync_directory(path: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _sync(descriptor)
    finally:
        os.close(descriptor)
