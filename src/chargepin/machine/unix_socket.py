"""Sockets in the file system, for this user only."""

import errno
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# unix(7): 108 with the zero at the end; unix(4) of macOS: 104.
_LONGEST_ADDRESS_BYTES: Final = 103 if sys.platform == "darwin" else 107


def private_socket(path: Path) -> socket.socket:
    """Bind a socket that nobody else may connect to, not even for a moment. Raises OSError.

    Nobody at all may before it listens, which is left to the caller.
    """
    if sys.platform == "win32":
        raise OSError(f"{path} cannot be made: Python has no such sockets on Windows")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if sys.platform != "darwin":  # which refuses it
            os.fchmod(bound.fileno(), 0o600)  # before it has a name: Linux gives it this mode
        with address_of(path) as address:
            bound.bind(address)
        path.chmod(0o600)  # where the line above did nothing
    except BaseException:
        bound.close()
        raise
    return bound


@contextmanager
def address_of(path: Path) -> Iterator[str]:
    """A name for a socket that is short enough, on Linux however deep its directory is.

    Raises OSError.
    """
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS_BYTES:
        yield str(path)
        return
    if sys.platform != "linux":
        text = f"{path} is too long for a socket; name a shorter directory"
        raise OSError(errno.ENAMETOOLONG, text)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
