"""Alerts from the flow of tiles and from the disks: retake rate, scan faults, silence, lag, low disk space."""

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from refocal.eventlog import fields
from refocal.microscope.monitor.hysteresis import Alarms, Finding
from refocal.microscope.monitor.observation import Observation
from refocal.microscope.monitor.thresholds import Rules

_Z = 3.0
_LEAST = 50
_SMOOTH = 0.05  # of a beat: a disk's rate is that of the last few minutes


class Rates:
    """Shares among the latest tiles."""

    def __init__(self, rules: Rules, alarms: Alarms) -> None:
        self._rules = rules
        self._alarms = alarms
        self._retakes: deque[bool] = deque(maxlen=rules.tiles)
        self._faults: deque[bool] = deque(maxlen=rules.tiles)
        self._retake_count = 0
        self._fault_count = 0

    def add(self, tile: Observation) -> Iterator[Finding]:
        """Take one tile."""
        if not tile.blank:
            self._retake_count += _push(self._retakes, tile.retake)
            yield from self._retake_rate(tile)
        self._fault_count += _push(self._faults, tile.fault)
        faults, limit = self._fault_count, self._rules.faults
        if faults >= limit or self._alarms.on("scan_fault", "tiles"):
            message = f"{faults} of the last {len(self._faults)} tiles have scan faults"
            yield Finding("scan_fault", "tiles", faults, faults >= limit, faults == 0, message, section=tile.section)

    def _retake_rate(self, tile: Observation) -> Iterator[Finding]:
        count, retakes = len(self._retakes), self._retake_count
        share, line = retakes / count, self._rules.retake_share
        on = self._alarms.on("retake_rate", "tiles")
        if count >= _LEAST and (share > line or on):
            against = "exceeds" if share > line else "is within"
            message = f"{share:.1%} of the last {count} tiles must be retaken, which {against} the {line:.0%} limit"
            bad = _surely(retakes, count) > line
            good = share < 0.75 * line
            yield Finding("retake_rate", "tiles", share, bad, good, message, section=tile.section)


class Supply:
    """Alerts from the `beat` events of a watch, judged by their own times, so that old logs can be replayed."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._seen: Any = None
        self._since: float | None = None
        self._disks: dict[str, tuple[float, float, float]] = {}

    def add(self, event: Mapping[str, Any]) -> Iterator[Finding]:
        """Take one `beat` event."""
        now = fields.seconds(event.get("time"))
        if now is not None:
            yield from self._silence(event.get("seen"), now)
        lag = fields.number(event.get("lag_seconds"))
        if lag is not None:
            limit = self._rules.lag_seconds
            tiles = event.get("lag_tiles")
            message = f"grading is {lag:.0f} s and {tiles if tiles is not None else '?'} tiles behind the microscope"
            yield Finding("lag", "grading", lag, lag > limit, lag < limit / 2, message)
        if now is not None:
            yield from self._space("output_full", "output disk", fields.number(event.get("free_bytes")), now)
            yield from self._space("share_full", "share", fields.number(event.get("share_free_bytes")), now)

    def _silence(self, seen: Any, now: float) -> Iterator[Finding]:
        if self._since is None or seen != self._seen or now < self._since:  # the clock may be set back
            self._seen, self._since = seen, now
        quiet, limit = now - self._since, self._rules.silence_seconds
        message = f"nothing new for {quiet / 60:.0f} min" if quiet else "tiles are coming again"
        yield Finding("silence", "microscope", quiet, quiet >= limit, quiet == 0, message)

    def _space(self, kind: str, disk: str, free: float | None, now: float) -> Iterator[Finding]:
        """Foresee when a disk is full, from how fast its free space shrinks, whoever writes."""
        if free is None:
            return
        then, before, rate = self._disks.get(kind, (now, free, 0.0))
        if now > then:
            rate += _SMOOTH * (max(before - free, 0.0) / (now - then) - rate)
        self._disks[kind] = (now, free, rate)
        rules = self._rules
        left = free / rate if rate > 0 else math.inf
        critical = free < rules.full_bytes or left < rules.full_seconds / 6
        bad = critical or left < rules.full_seconds
        good = free > 2 * rules.full_bytes and left > 2 * rules.full_seconds
        soon = f", enough for {left / 60:.0f} min" if left < 86400 else ""
        message = f"{free / 1e9:.1f} GB are left on the {disk}{soon}"
        yield Finding(kind, disk, free, bad, good, message, "critical" if critical else "warning")


def _push(window: deque[bool], value: bool) -> int:
    """Append to a full or growing window and return by how much its sum changes."""
    gone = window[0] if len(window) == window.maxlen else False
    window.append(value)
    return value - gone


def _surely(hits: int, count: int) -> float:
    """Return the Wilson lower bound of a share, three standard errors."""
    share, z2 = hits / count, _Z * _Z
    middle = share + z2 / (2 * count)
    half = _Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return (middle - half) / (1 + z2 / count)
