"""Statistics of beams, mFoVs and sections over time, and the alerts that follow from them.

`Monitor` observes the events of a log, one after the other, alongside a running watch or over an old log. It holds the
last mFoVs of each beam, the last sections and the tiles of four open sections, so its memory does not grow with time.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, Self

from refocal.eventlog.log import Event
from refocal.microscope.monitor.beams import Beams
from refocal.microscope.monitor.hysteresis import Alarms, Finding
from refocal.microscope.monitor.observation import Observation
from refocal.microscope.monitor.rates import Rates, Supply
from refocal.microscope.monitor.sections import Row, Sections
from refocal.microscope.monitor.thresholds import Rules

__all__ = ["Monitor", "Row", "Rules"]

_MOST_QUEUED = 200_000


class Monitor:
    """Watches the events of a log and says what should be alerted.

    Parameters
    ----------
    rules
        Thresholds.
    now
        Tells the time of events that have none yet.
    """

    def __init__(self, rules: Rules | None = None, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self.rules = rules or Rules()
        self._now = now
        self._alarms = Alarms()
        self._beams = Beams(self.rules, self._alarms)
        self._sections = Sections(self.rules)
        self._rates = Rates(self.rules, self._alarms)
        self._supply = Supply(self.rules)
        self._queued: OrderedDict[int, None] = OrderedDict()

    @classmethod
    def resume(cls, events: Iterable[Event], rules: Rules | None = None) -> Self:
        """Return an observer that has seen the events of an earlier run and knows which alerts are on."""
        monitor = cls(rules)
        for event in events:
            monitor.add(event)
        return monitor

    def add(self, event: Event) -> list[Event]:
        """Take one event and return the alert events to be logged; never fails on what an event holds.

        Alert events of the log are taken over as they are, so a replayed log leaves the alerts that are on.
        """
        if event.get("event") == "alert":
            self._alarms.remember(event)
            return []
        return self._alarms.judge(self._find(event))

    def beams(self) -> list[dict[str, Any]]:
        """Return a row per beam: `beam, tiles, softer_px, anisotropy, angle_deg, blank_share, faults`."""
        return self._beams.table()

    def sections(self) -> list[Row]:
        """Return the latest sections that were judged."""
        return self._sections.table()

    def _find(self, event: Event) -> Iterator[Finding]:
        match event.get("event"):
            case "tile":
                yield from self._tile(event)
            case "section":
                yield from self._sections.finish(dict(event))
            case "beat":
                time = event.get("time") or self._now().isoformat()
                yield from self._supply.add({**event, "time": time})

    def _tile(self, event: Event) -> Iterator[Finding]:
        tile = Observation.of(event)
        if self._was_queued(event):
            # It was graded before it was queued; what came of the restoring only counts for the retake rate.
            if tile.retake:
                yield from self._rates.add(tile)
            return
        if tile.decision in ("failed", "skipped"):
            return
        yield from self._rates.add(tile)
        yield from self._beams.add(tile)
        yield from self._sections.add(tile)

    def _was_queued(self, event: Event) -> bool:
        """Say whether a tile was queued for restoring before."""
        key = hash(str(event.get("key")))
        if event.get("decision") == "queued":
            again = key in self._queued
            self._queued[key] = None
            if len(self._queued) > _MOST_QUEUED:
                self._queued.popitem(last=False)
            return again
        if key in self._queued:
            del self._queued[key]
            return True
        return False
