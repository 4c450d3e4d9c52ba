"""Opening files of others: plain files only. A named pipe, a device or a socket would block, or never end."""

import errno
import os
import stat
from io import BufferedReader, FileIO
from pathlib import Path


def open_plain(path: str | Path) -> BufferedReader:
    """Open a plain file read-only; never blocks on what is none.

    Raises
    ------
    OSError
        If it cannot be opened, or is a named pipe, a device, a socket or a folder.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    try:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "is no plain file but a pipe, a device or a folder", str(path))
        file = FileIO(number, "rb")
    except BaseException:
        os.close(number)
        raise
    file.name = os.fspath(path)  # libraries ask for it
    return BufferedReader(file)


def read_plain(path: str | Path) -> bytes:
    """Return the content of a plain file; errors as of `open_plain`."""
    with open_plain(path) as file:
        return file.read()
