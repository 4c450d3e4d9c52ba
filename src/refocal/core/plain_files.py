"""Opening files of others: plain files only. A named pipe, a device or a socket would block, or never end."""

import errno
import os
import stat
from io import BufferedReader
from pathlib import Path


def open_plain(path: str | Path) -> BufferedReader:
    """Open a plain file read-only; never blocks on what is none.

    Raises
    ------
    OSError
        If it cannot be opened, or is a named pipe, a device, a socket or a folder.
    """
    file = open(path, "rb", opener=_without_waiting)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is no plain file but a pipe, a device or a folder", str(path))
    return file


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_plain(path: str | Path) -> bytes:
    """Return the content of a plain file; errors as of `open_plain`."""
    with open_plain(path) as file:
        return file.read()
