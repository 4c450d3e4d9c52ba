"""The output of a watch: written by two loops at once, replaced when a tile is imaged again, and sometimes full."""

import errno
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from refocal.core.blocks import Block
from refocal.core.errors import LaterError, TileError
from refocal.core.values import Frames, Grade, Restored, Sink
from refocal.engine.tiles.tiles import Tiles
from refocal.engine.watch.state import file_of

_FULL = {errno.ENOSPC, errno.EDQUOT}


class DiskSpace:
    """Watches the free space of the output's disk.

    Parameters
    ----------
    out
        The output folder.
    reserve
        Bytes that are left to the log; nothing else is written when less is free.
    stop
        Ends waiting.
    notice
        Told once when the disk is full, and once when it is no more.
    """

    def __init__(
        self, out: Path, reserve: int, stop: threading.Event, notice: Callable[[str, str, bool], None]
    ) -> None:
        self._out, self._reserve, self._stop, self._notice = out, reserve, stop, notice
        self._lock = threading.Lock()
        self.full = False

    def free(self) -> int:
        """Return the free bytes; none where the disk cannot be reached."""
        try:
            return shutil.disk_usage(self._out).free
        except OSError:
            return 0

    def enough(self) -> bool:
        """Say whether there is room, and tell when that changes."""
        free = self.free()
        self._tell(free < self._reserve, free)
        return not self.full

    def run_out(self) -> None:
        """Take note that a write failed for want of space, whatever the file system says of itself."""
        self._tell(True, self.free())

    def wait(self) -> None:
        """Wait until there is room.

        Raises
        ------
        LaterError
            If the watch is stopped before.
        """
        while self._stop.wait(1.0) is False:
            if self.enough():
                return
        raise LaterError(f"{self._out}: is full")

    def _tell(self, full: bool, free: int) -> None:
        with self._lock:
            changed, self.full = full != self.full, full
        if changed:
            what = "is full: restoring waits, grading goes on" if full else "has room again"
            self._notice("output_full", f"{self._out} {what} ({free / 1e9:.2f} GB free)", full)


class LiveSink:
    """Passes blocks to a sink, one at a time for each file, and only where they are still wanted.

    Parameters
    ----------
    sink
        Writes.
    tiles
        Knows the files of the blocks, which may be away by now.
    room
        Knows whether there is space.
    locks
        Shared by all that write to the same output.
    wanted
        Says whether the version of a tile in progress is the newest one.
    patient
        Wait for space; otherwise what cannot be written is put off (`LaterError`).
    light
        Carrying takes no space to speak of.
    """

    def __init__(
        self,
        sink: Sink,
        tiles: Tiles,
        room: DiskSpace,
        locks: list[threading.Lock],
        wanted: Callable[[str], bool],
        *,
        patient: bool,
        light: bool,
    ) -> None:
        self._sink, self._tiles, self._room, self._locks, self._wanted = sink, tiles, room, locks, wanted
        self._patient, self._light = patient, light

    def has(self, block: Block, /) -> bool:
        """Say no: whoever gives the blocks knows which are done."""
        return False

    def write(self, block: Block, restored: Restored, /) -> Mapping[str, Any]:
        """Write a restored block when there is room."""
        return self._do(block, lambda: self._sink.write(block, restored), light=False)

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> Mapping[str, Any]:
        """Carry a block over when there is room."""
        return self._do(block, lambda: self._sink.carry(block, frames, grade), light=self._light)

    def _do(self, block: Block, work: Callable[[], Mapping[str, Any] | None], *, light: bool) -> Mapping[str, Any]:
        key = block.key
        short = not light and not self._room.enough()
        while True:
            if short and not self._patient:
                raise LaterError(f"{key}: there is no room for it yet")
            if short:
                self._room.wait()
            with self._locks[hash(file_of(key)) % len(self._locks)]:
                if not self._wanted(key):
                    raise LaterError(f"{key}: was imaged again in the meantime")
                try:
                    return work() or {}
                except TileError as error:
                    if not self._tiles.tile(block).path.exists():
                        raise LaterError(f"{key}: went away while its output was written") from error
                    if getattr(error.__cause__, "errno", None) not in _FULL:
                        raise
            self._room.run_out()
            short = True
