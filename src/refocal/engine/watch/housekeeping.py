"""The periodic work of a watch: announce events, log its state, follow overrides, write the retake list."""

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

from refocal.core.atomic import writing
from refocal.core.errors import WriteError
from refocal.engine.job import RETAKES
from refocal.engine.watch.event_writer import ReserveFile
from refocal.engine.watch.heartbeat import Heartbeat
from refocal.engine.watch.loops import Shared
from refocal.engine.watch.overrides import Overrides
from refocal.engine.watch.scanner import Scanner
from refocal.engine.watch.settings import Settings
from refocal.eventlog.log import Event

Observer = Callable[[Event], Iterable[Event]]
"""Is shown every event after it was logged, and returns alert events."""

_TICK, _TAIL_SECONDS, _RETAKE_SECONDS = 0.1, 1.0, 5.0


class Housekeeping:
    """Runs in a thread of its own until the watch is stopped, or has had nothing to do for long enough."""

    def __init__(
        self,
        shared: Shared,
        scanner: Scanner,
        overrides: Overrides,
        reserve: ReserveFile,
        settings: Settings,
        stop: threading.Event,
        observers: Sequence[Observer],
        on_event: Callable[[Event], None],
    ) -> None:
        self._shared, self._scanner, self._overrides, self._reserve = shared, scanner, overrides, reserve
        self._settings, self._stop, self._observers, self._on_event = settings, stop, tuple(observers), on_event
        self._heartbeat = Heartbeat(scanner, shared.source, shared.queue, shared.space)
        self._reported: set[str] = set()

    def run(self) -> None:
        """Do each task at its interval until the watch ends."""
        beat = tail = retakes = busy = time.monotonic()
        while not self._stop.wait(_TICK):
            self.announce()
            now = time.monotonic()
            if now - beat >= self._settings.beat_seconds:
                beat = now
                if self._shared.space.enough():
                    self._reserve.load()
                self._shared.writer.write(self._heartbeat.beat())
            if now - tail >= _TAIL_SECONDS:
                tail = now
                self._overrides.follow()
            if now - retakes >= _RETAKE_SECONDS:
                retakes = now
                self.write_retakes(self._shared.out)
            if self._is_busy():
                busy = now
            elif self._settings.idle_seconds is not None and now - busy >= self._settings.idle_seconds:
                return

    def announce(self) -> None:
        """Show the observers what was logged since the last time, and log the alerts that follow from it."""
        while events := self._shared.writer.take_written():
            for event in events:
                if event["event"] == "tile":
                    self._heartbeat.count(event)
                self._call(self._on_event, event)
                for observer in self._observers:
                    self._call(partial(self._observe, observer), event)

    def write_retakes(self, out: Path) -> None:
        """Write the retake list if it has changed; a full disk only delays it."""
        text = self._shared.state.retakes()
        if text is not None:
            try:
                with writing(out / RETAKES) as part:
                    part.write_text(text, encoding="utf-8", errors="surrogateescape")
            except WriteError:
                self._shared.state.retry_retakes()

    def _observe(self, observer: Observer, event: Event) -> None:
        for alert in observer(event):
            self._shared.writer.write(alert)

    def _call(self, call: Callable[[Event], None], event: Event) -> None:
        """Call code of the user; its error becomes an alert, once, and stops nothing."""
        try:
            call(event)
        except Exception as error:
            line = f"a callback failed: {type(error).__name__}: {' '.join(str(error).split())}"
            if line not in self._reported:
                self._reported.add(line)
                self._shared.writer.write(alert("callback", "callback", line, severity="warning"))

    def _is_busy(self) -> bool:
        waiting = len(self._shared.queue) if self._settings.restores else 0
        scanner = self._scanner
        return bool(self._shared.source.lag()[0] or scanner.pending or not scanner.swept or scanner.gone or waiting)


def alert(kind: str, subject: str, message: str, *, severity: str = "critical", active: bool = True) -> Event:
    """Return an alert event."""
    return {
        "event": "alert", "kind": kind, "subject": subject, "section": None, "message": message,
        "severity": severity, "value": None, "active": active,
    }  # fmt: skip
