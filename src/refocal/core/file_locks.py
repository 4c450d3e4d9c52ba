"""Locks of the operating system on open files; they end with the process, however it ends."""

try:
    import fcntl
except ModuleNotFoundError:  # Windows
    fcntl = None  # type: ignore[assignment]

POSSIBLE = fcntl is not None
"""Whether this system has such locks at all."""


def claim(descriptor: int, *, alone: bool = True) -> bool:
    """Lock an open file for its holder, or for all that share it; False where another one holds it.

    Where the file system has no locks everybody may have it.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True
