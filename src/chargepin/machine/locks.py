"""Locks on open files: one holder at a time, until its descriptor is closed or its program ends."""

import sys

if sys.platform == "win32":
    import errno
    import msvcrt
    import os
    import time

    _LOOKS_EVERY_S = 0.02
    _HELD = (errno.EACCES, errno.EDEADLK)

    def lock(descriptor: int) -> None:
        """Wait until nobody else holds the lock, then hold it. Raises OSError."""
        while True:
            try:
                lock_now(descriptor)
            except BlockingIOError:
                time.sleep(_LOOKS_EVERY_S)
            else:
                return

    def lock_now(descriptor: int) -> None:
        """Hold the lock. Raises BlockingIOError while somebody else holds it, OSError."""
        os.lseek(descriptor, 0, os.SEEK_SET)  # bytes are locked there, this is the first one
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            if error.errno in _HELD:
                raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from error
            raise

else:
    import fcntl

    def lock(descriptor: int) -> None:
        """Wait until nobody else holds the lock, then hold it. Raises OSError."""
        fcntl.flock(descriptor, fcntl.LOCK_EX)

    def lock_now(descriptor: int) -> None:
        """Hold the lock. Raises BlockingIOError while somebody else holds it, OSError."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
