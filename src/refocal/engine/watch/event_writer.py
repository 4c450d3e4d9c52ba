"""Where the loops of a watch write: to the log first, then to the state and the queue, then to all observers."""

import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from refocal.core.errors import WriteError
from refocal.engine.watch.restore_queue import RestoreQueue
from refocal.engine.watch.state import WatchState, is_live
from refocal.eventlog.log import Event, Log

_RESERVE_BYTES = 8 << 20  # 10,000 lines
_AGAIN = 1.0


class ReserveFile:
    """A file that is deleted when the disk is full, so that the log can go on for a while."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> None:
        """Take the space, if it is there; nothing is written over."""
        try:
            with self._path.open("xb") as file:
                for _ in range(_RESERVE_BYTES >> 20):
                    file.write(b"\0" * (1 << 20))
        except FileExistsError:
            pass
        except OSError:
            self.drop()

    def drop(self) -> bool:
        """Free the space; say whether there was any."""
        try:
            os.unlink(self._path)
        except OSError:
            return False
        return True


class EventWriter:
    """Appends events to the log; safe for several threads.

    Parameters
    ----------
    log
        The log.
    state, queue
        Learn of each tile event before any other thread can write.
    reserve
        Frees space for the log on a full disk.
    stop
        Ends waiting for space.
    """

    def __init__(
        self, log: Log, state: WatchState, queue: RestoreQueue, reserve: ReserveFile, stop: threading.Event
    ) -> None:
        self._log, self._state, self._queue, self._reserve, self._stop = log, state, queue, reserve, stop
        self._lock = threading.RLock()
        self._written: SimpleQueue[Event] = SimpleQueue()

    def write(self, event: Event, wanted: Callable[[], bool] = lambda: True) -> None:
        """Write an event, add it to the state, and have it announced; nothing happens if it is not wanted any more."""
        with self._lock:
            if not wanted():
                return
            stamped = self._append(event)
            if stamped is None:
                return
            follow = self._state.add(stamped) if is_live(stamped) else []
            self._queue.learn(stamped)
            self._written.put(stamped)
            for more in follow:
                self.write(more)

    def take_written(self) -> list[Event]:
        """Return what was written since the last call, in the order of the log."""
        events: list[Event] = []
        try:
            while True:
                events.append(self._written.get_nowait())
        except Empty:
            return events

    def _append(self, event: Event) -> Event | None:
        """Write a line, waiting for space; None if the watch ends before there is any."""
        while True:
            try:
                return self._log.append(event)
            except (WriteError, OSError):
                if not self._reserve.drop() and self._stop.wait(_AGAIN):
                    return None


class Entries:
    """The log as one loop sees it: adds what is known of a tile to its event.

    Parameters
    ----------
    writer
        Where to write.
    facts
        Returns what is known of a tile in progress, and ends the work on it.
    wanted
        Says whether a version of a tile, by key and event, is still the newest one.
    """

    def __init__(
        self,
        writer: EventWriter,
        facts: Callable[[str], Mapping[str, Any]],
        wanted: Callable[[Event], bool] = lambda event: True,
    ) -> None:
        self._writer, self._facts, self._wanted = writer, facts, wanted

    def append(self, event: Event, /) -> None:
        """Write one event of the loop."""
        full = {**event, **self._facts(event["key"])}
        self._writer.write(full, lambda: self._wanted(full))
