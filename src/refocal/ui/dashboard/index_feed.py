"""Keeps the index up to date in the background and tells what is new."""

import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from refocal.core.errors import UsageError
from refocal.eventlog.index import History, Progress, Readings

_POLL_SECONDS = 0.5
_PAUSE_SECONDS = 0.005


class Feed:
    """A thread that follows a log while the dashboard runs; a context manager.

    Parameters
    ----------
    log, index
        As for `History`.

    Raises
    ------
    UsageError
        If the index cannot be kept.
    """

    def __init__(self, log: Path, index: Path | None = None) -> None:
        self.history = History(log, index)
        self._stop, self._wake = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._follow, name="refocal-feed", daemon=True)
        self._news: dict[str, Any] = {}
        self._publish(Progress(0, 0, changed=False, more=log.exists()))

    @property
    def news(self) -> dict[str, Any]:
        """The summary of the index, how far it is, and what is wrong; a new object whenever anything changed."""
        return self._news

    def readings(self) -> Readings:
        """Return a reader of the index."""
        return self.history.readings()

    def wait_for(self, seen: Callable[[], bool], seconds: float = 3.0) -> bool:
        """Update now, and wait until something is seen in the index."""
        end = time.monotonic() + seconds
        while not (found := seen()) and time.monotonic() < end:
            self._wake.set()
            time.sleep(0.02)
        return found

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._wake.set()
        if self._thread.ident:
            self._thread.join()
        self.history.close()

    def _follow(self) -> None:
        published = 0.0
        while not self._stop.is_set():
            progress = Progress(0, 0, changed=False, more=False)
            now = time.monotonic()
            try:
                progress = self.history.update()
                if self._news["trouble"] or (
                    (progress.changed or self._news["progress"]["more"])
                    and (not progress.more or now - published >= _POLL_SECONDS)
                ):
                    published = now
                    self._publish(progress)
            except UsageError as error:
                if str(error) != self._news["trouble"]:
                    self._news = {**self._news, "progress": asdict(progress), "trouble": str(error)}
            self._wake.wait(_PAUSE_SECONDS if progress.more else _POLL_SECONDS)
            self._wake.clear()

    def _publish(self, progress: Progress) -> None:
        with self.readings() as read:
            self._news = {**read.summary(), "progress": asdict(progress), "trouble": None}
