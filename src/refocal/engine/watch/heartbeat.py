"""The `beat` of a watch: how far it is, how far behind, and what it uses."""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

from refocal.engine.watch.restore_queue import RestoreQueue
from refocal.engine.watch.scanner import Scanner
from refocal.engine.watch.sink import DiskSpace
from refocal.engine.watch.source import LiveSource
from refocal.eventlog.log import Event


class Heartbeat:
    """Takes the state of a watch, and the rates since it was last taken."""

    def __init__(
        self,
        scanner: Scanner,
        source: LiveSource,
        queue: RestoreQueue,
        space: DiskSpace,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scanner, self._source, self._queue, self._space = scanner, source, queue, space
        self._clock = clock
        self._last = clock()
        self._graded, self._bytes = 0, 0
        self._restored = 0

    def count(self, event: Event) -> None:
        """Count a tile event."""
        self._restored += event["decision"] == "restored"

    def beat(self) -> Event:
        """Return the state as an event."""
        now = self._clock()
        seconds = max(now - self._last, 1e-9)
        lag_tiles, lag_seconds = self._source.lag()
        graded, size = self._source.graded, self._source.bytes
        event = {
            "event": "beat",
            "seen": self._source.seen,
            "pending": self._scanner.pending,
            "graded": graded,
            "queued": len(self._queue),
            "restored": self._restored,
            "lag_tiles": lag_tiles,
            "lag_seconds": round(lag_seconds, 3),
            "tiles_per_s": round((graded - self._graded) / seconds, 3),
            "bytes_per_s": round((size - self._bytes) / seconds),
            "free_bytes": self._space.free(),
            "share_free_bytes": _free(self._scanner.root),
            "rss_bytes": resident_bytes(),
        }
        self._last, self._graded, self._bytes = now, graded, size
        return event


def _free(folder: Path) -> int | None:
    try:
        return shutil.disk_usage(folder).free
    except OSError:
        return None


def resident_bytes() -> int | None:
    """Return the memory of this process, None where the system does not tell."""
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return None
