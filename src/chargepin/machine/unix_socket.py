"""Sockets in the file system, for this user only."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_LONGEST_ADDRESS_BYTES: Final = 107  # unix(7): 108 with the zero at the end


def private_socket(path: Path) -> socket.socket:
    """Bind a socket that nobody else may connect to, not even for a moment. Raises OSError."""
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
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
    """A name for a socket that is short enough, however deep its directory is."""
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS_BYTES:
        yield str(path)
        return
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{directory}/{path.name}"
    finally:
        os.close(directory)
