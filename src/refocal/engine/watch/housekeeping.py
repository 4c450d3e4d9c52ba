"""What must be done beside the loops, now and then: announce, beat, hear the operator, write the retake list."""

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
    """Runs in a thread of its own until the stop is given, or there was nothing to do for long enough."""

    def __init__(
        self,
        shared: Shared,
        scanner: Scanner,
        overrides: Overrides,
        ballast: ReserveFile,
        settings: Settings,
        stop: threading.Event,
        observers: Sequence[Observer],
        on_event: Callable[[Event], None],
    ) -> None:
        self._shared, self._scanner, self._overrides, self._ballast = shared, scanner, overrides, ballast
        self._settings, self._stop, self._observers, self._on_event = settings, stop, tuple(observers), on_event
        self.pulse = Heartbeat(scanner, shared.source, shared.backlog, shared.room)
        self._complaints: set[str] = set()

    def keep(self) -> None:
        """Do everything in its time."""
        beat = tail = retakes = busy = time.monotonic()
        while not self._stop.wait(_TICK):
            self.announce()
            now = time.monotonic()
            if now - beat >= self._settings.beat_seconds:
                beat = now
                if self._shared.room.enough():
                    self._ballast.load()
                self._shared.journal.say(self.pulse.beat())
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
        """Tell everybody what was logged since the last time, alerts that follow from it included."""
        while events := self._shared.journal.said():
            for event in events:
                if event["event"] == "tile":
                    self.pulse.hear(event)
                self._careful(self._on_event, event)
                for observer in self._observers:
                    self._careful(partial(self._observe, observer), event)

    def write_retakes(self, out: Path) -> None:
        """Write the retake list if it has changed; a full disk only delays it."""
        text = self._shared.ledger.retakes()
        if text is not None:
            try:
                with writing(out / RETAKES) as part:
                    part.write_text(text, encoding="utf-8", errors="surrogateescape")
            except WriteError:
                self._shared.ledger.remind()

    def _observe(self, observer: Observer, event: Event) -> None:
        for alert in observer(event):
            self._shared.journal.say(alert)

    def _careful(self, call: Callable[[Event], None], event: Event) -> None:
        """Call what is not ours; an error of it is an alert, once, and stops nothing."""
        try:
            call(event)
        except Exception as error:
            line = f"a callback failed: {type(error).__name__}: {' '.join(str(error).split())}"
            if line not in self._complaints:
                self._complaints.add(line)
                self._shared.journal.say(alert("callback", "callback", line, severity="warning"))

    def _is_busy(self) -> bool:
        waiting = len(self._shared.backlog) if self._settings.restores else 0
        scanner = self._scanner
        return bool(self._shared.source.lag()[0] or scanner.pending or not scanner.swept or scanner.gone or waiting)


def alert(kind: str, subject: str, message: str, *, severity: str = "critical", active: bool = True) -> Event:
    """Return an alert event."""
    return {
        "event": "alert", "kind": kind, "subject": subject, "section": None, "message": message,
        "severity": severity, "value": None, "active": active,
    }  # fmt: skip
