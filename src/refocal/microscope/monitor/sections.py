"""What goes wrong from section to section: trends, common astigmatism, blank and bad sections.

A section is judged once, when the log says that it is complete or four later ones have begun. Its median blur goes into
a window of the latest sections, whose rise is the Theil-Sen slope (median of all pairwise slopes) and is significant by
Mann-Kendall: without a trend, S = sum of sign(b[j] - b[i]) over i < j has the standard deviation
sqrt(n (n-1) (2n+5) / 18).
"""

import math
import statistics
from array import array
from collections import OrderedDict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refocal.microscope.monitor.hysteresis import Finding
from refocal.microscope.monitor.observation import Observation
from refocal.microscope.monitor.thresholds import Rules

_OPEN = 4
_REMEMBERED = 256
_LEAST_FOR_TREND = 8
_MOST_TILES = 200_000

Key = tuple[str, int | None, int | None]


@dataclass(slots=True)
class _Open:
    """What is gathered of a section that is being imaged."""

    tiles: int = 0
    retakes: int = 0
    blanks: int = 0
    taken: str = ""
    blur: "array[float]" = field(default_factory=lambda: array("f"))
    x: "array[float]" = field(default_factory=lambda: array("f"))
    y: "array[float]" = field(default_factory=lambda: array("f"))

    def add(self, tile: Observation) -> None:
        self.tiles += 1
        self.retakes += tile.retake
        self.blanks += tile.blank
        self.taken = max(self.taken, tile.taken)
        if tile.sigma_px is not None and len(self.blur) < _MOST_TILES:
            self.blur.append(tile.sigma_px)
        if tile.vector is not None and len(self.x) < _MOST_TILES:
            self.x.append(tile.vector[0])
            self.y.append(tile.vector[1])


@dataclass(frozen=True, slots=True)
class Row:
    """A section that was judged."""

    section: str
    grid: int | None
    tiles: int
    retake_share: float
    """Among the tiles that hold something."""
    blank_share: float
    blur_px: float | None
    """Median."""
    vector: tuple[float, float] | None
    """Median anisotropy, angle doubled."""


class Sections:
    """Statistics of the latest sections, for each grid."""

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._open: OrderedDict[Key, _Open] = OrderedDict()
        self._closed: OrderedDict[Key, str] = OrderedDict()
        self._history: OrderedDict[int | None, deque[Row]] = OrderedDict()
        self._bad: dict[int | None, int] = {}

    def add(self, tile: Observation) -> Iterator[Finding]:
        """Take one tile; yields findings when this begins a section and an earlier one is over by that."""
        if tile.section is None:
            return
        key = (tile.section, tile.region, tile.grid)
        if key not in self._open:
            if tile.taken <= self._closed.get(key, "") and key in self._closed:
                return  # a straggler; what is taken later is the section imaged again
            self._open[key] = _Open()
        self._open[key].add(tile)
        self._open.move_to_end(key)
        grids = sum(other[2] == tile.grid for other in self._open)
        if grids > _OPEN or len(self._open) > 64:
            oldest = next(other for other in self._open if other[2] == tile.grid or grids <= _OPEN)
            yield from self._close(oldest)

    def finish(self, event: dict[str, Any]) -> Iterator[Finding]:
        """Take a `section` event: what is complete or superseded is judged."""
        if event.get("state") in ("complete", "superseded"):
            for key in [key for key in self._open if key[0] == str(event.get("section"))]:
                yield from self._close(key)

    def table(self) -> list[Row]:
        """Return the latest sections that were judged."""
        return [row for rows in self._history.values() for row in rows]

    def _close(self, key: Key) -> Iterator[Finding]:
        gathered = self._open.pop(key)
        self._closed[key] = gathered.taken
        while len(self._closed) > _REMEMBERED:
            self._closed.popitem(last=False)
        row = _row(key, gathered)
        history = self._history.setdefault(row.grid, deque(maxlen=self._rules.sections))
        while len(self._history) > _REMEMBERED:
            self._history.popitem(last=False)
        if history and row.tiles < 0.1 * statistics.median(before.tiles for before in history):
            return  # stragglers, or an imaging that was stopped at once
        yield self._blank(row, history)
        yield self._bad_in_a_row(row)
        if row.vector is not None and len(gathered.x) >= _LEAST_FOR_TREND:
            yield from self._astigmatism(row, history)
        history.append(row)
        yield from self._trend(row, history)

    def _blank(self, row: Row, history: deque[Row]) -> Finding:
        usual = statistics.median(before.blank_share for before in history) if history else 0.0
        limit = max(self._rules.blank_share, usual + 0.3)
        bad = row.tiles >= 20 and row.blank_share > limit
        message = f"{row.blank_share:.0%} of the {row.tiles} tiles of section {row.section} are blank"
        good = row.blank_share < limit / 2
        return Finding("blank", _subject(row), row.blank_share, bad, good, message, section=row.section)

    def _bad_in_a_row(self, row: Row) -> Finding:
        bad = row.retake_share > self._rules.bad_share
        run = self._bad[row.grid] = self._bad.get(row.grid, 0) + 1 if bad else 0
        message = (
            f"{run} sections in a row have more than {self._rules.bad_share:.0%} of their tiles to be retaken "
            f"(the last one {row.retake_share:.0%})"
            if bad
            else f"section {row.section} has {row.retake_share:.1%} of its tiles to be retaken"
        )
        limit = self._rules.bad_sections
        return Finding("bad_sections", _subject(row), run, run >= limit, run == 0, message, "critical", row.section)

    def _astigmatism(self, row: Row, history: deque[Row]) -> Iterator[Finding]:
        """Compare a section's direction of blur with that of the sections before: a turn is the microscope's."""
        before = np.array([r.vector for r in history if r.vector is not None], np.float64).reshape(-1, 2)
        if len(before) < _LEAST_FOR_TREND or row.vector is None:
            return
        middle = np.median(before, axis=0)
        spread = 1.4826 * float(np.median(np.abs(before - middle)))
        turned = math.hypot(row.vector[0] - middle[0], row.vector[1] - middle[1])
        errors = turned / max(spread, 1e-3)
        rules = self._rules
        bad = turned > rules.astigmatism and errors > 1.5 * rules.astigmatism_errors
        good = turned < rules.astigmatism / 2 or errors < rules.astigmatism_errors / 2
        angle = math.degrees(math.atan2(row.vector[1] - middle[1], row.vector[0] - middle[0])) / 2 % 180
        message = (
            f"section {row.section}: blur has turned towards {angle:.0f} degrees by an anisotropy of {turned:.2f} "
            f"against the last {len(before)} sections"
        )
        yield Finding("astigmatism", _subject(row), turned, bad, good, message, section=row.section)

    def _trend(self, row: Row, history: deque[Row]) -> Iterator[Finding]:
        blur = np.array([r.blur_px for r in history if r.blur_px is not None], np.float64)
        if len(blur) < _LEAST_FOR_TREND:
            return
        slope, errors = rising(blur)
        rise = slope * (len(blur) - 1)
        rules = self._rules
        # The longest window that a test can be significant in grows with n; a short one must be all rises.
        bad = rise > rules.trend_px and errors > min(rules.trend_errors, _monotone(len(blur)))
        good = rise < rules.trend_px / 2 or errors < rules.trend_errors / 2
        message = f"blur has risen by {rise:.2f} px over the last {len(blur)} sections ({slope:.3f} px per section)"
        yield Finding("trend", _subject(row), rise, bad, good, message, section=row.section)


def rising(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the Theil-Sen slope per step and its Mann-Kendall significance in standard deviations.

    Sen (1968), J. Am. Stat. Assoc. 63:1379; Mann (1945), Econometrica 13:245; with the continuity correction of 1.
    """
    i, j = np.triu_indices(len(values), 1)
    rises = values[j] - values[i]
    count = len(values)
    s = float(np.sign(rises).sum())
    deviation = math.sqrt(count * (count - 1) * (2 * count + 5) / 18)
    return float(np.median(rises / (j - i))), math.copysign(max(abs(s) - 1, 0.0), s) / deviation


def _monotone(count: int) -> float:
    """Return a significance that `count` values reach when 19 of 20 pairs rise."""
    pairs = count * (count - 1) / 2
    return (0.9 * pairs - 1) / math.sqrt(count * (count - 1) * (2 * count + 5) / 18)


def _subject(row: Row) -> str:
    return "sections" if row.grid is None else f"grid {row.grid}"


def _row(key: Key, gathered: _Open) -> Row:
    content = gathered.tiles - gathered.blanks
    return Row(
        section=key[0],
        grid=key[2],
        tiles=gathered.tiles,
        retake_share=gathered.retakes / content if content else 0.0,
        blank_share=gathered.blanks / gathered.tiles,
        blur_px=float(np.median(gathered.blur)) if gathered.blur else None,
        vector=(float(np.median(gathered.x)), float(np.median(gathered.y))) if gathered.x else None,
    )
