"""One watch for one output: a lock of the operating system, which is released when the process is killed."""

import errno
import os
import sys
from pathlib import Path
from typing import IO

from refocal.core.errors import UsageError

_HELD = {errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK, errno.EDEADLK}
"""What systems answer where another process holds a lock."""


class WatchLock:
    """Holds a lock file until it is closed.

    Raises
    ------
    UsageError
        If another process holds it, or it cannot be made.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file: IO[str] = path.open("a+", encoding="ascii", errors="replace")
        except OSError as error:
            raise UsageError(f"cannot write {path}: {error.strerror}; choose another output") from error
        try:
            _lock(self._file)
        except OSError as error:
            if error.errno not in _HELD:
                self._file.close()
                raise UsageError(
                    f"cannot lock {path}: {error.strerror}; choose an output on a disk that supports file locks"
                ) from error
            self._file.seek(0)
            holder = self._file.read(20).strip()
            self._file.close()
            raise UsageError(
                f"another watch{f' (process {holder})' if holder else ''} writes to {path.parent.parent}; "
                "stop it first, or choose another output"
            ) from error
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()

    def close(self) -> None:
        """Release the lock."""
        self._file.close()


def _lock(file: IO[str]) -> None:
    if sys.platform == "win32":
        import msvcrt

        file.seek(1 << 20)  # beyond the text, which others read
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
