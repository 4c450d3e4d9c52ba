"""Which beam of a multi-beam microscope causes soft, astigmatic or blank tiles.

All beams of an mFoV look at one patch of one section at one focus, so a beam is compared with the median beam of the
same mFoV: what the section, the focus or the tissue does to all of them cancels. What remains of the latest mFoVs,
d[beam, mFoV] in pixels, is judged by its median over mFoVs and by the spread of single tiles,
s = 1.4826 median |d - median(d)|, pooled over the beams: the effect size median(d) / s and the standard error
1.2533 s / sqrt(n). Anisotropy is treated the same way, as a vector of doubled angle: tissue has a direction in one
tile, a beam has one in all of them.
"""

import math
import warnings
from collections import OrderedDict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from refocal.microscope.monitor.hysteresis import Alarms, Finding
from refocal.microscope.monitor.observation import Observation
from refocal.microscope.monitor.thresholds import Rules

_OPEN = 6
_LATELY = 16
_LEAST_BEAMS = 7
_MOST_BEAMS = 1024
_MOST_PER_FIELD = 1024
_MEDIAN_ERROR = math.sqrt(math.pi / 2)
_MAD = 1.4826

Floats = NDArray[np.float64]


class Beams:
    """Statistics of each beam over the latest mFoVs; memory is bounded by the number of beams."""

    def __init__(self, rules: Rules, alarms: Alarms) -> None:
        self._rules = rules
        self._alarms = alarms
        self._open: OrderedDict[tuple[str | None, int], dict[int, Observation]] = OrderedDict()
        self._rows: dict[int, int] = {}
        self._full = 0
        self._blur = self._empty()
        self._x = self._empty()
        self._y = self._empty()
        self._blank = self._empty()
        self._fault = self._empty()
        self._next = 0

    def add(self, tile: Observation) -> Iterator[Finding]:
        """Take one tile; yields findings when an mFoV is complete, or six later ones have begun."""
        if tile.beam is None or tile.field is None:
            return
        key = (tile.section, tile.field)
        tiles = self._open.setdefault(key, {})
        if len(tiles) < _MOST_PER_FIELD:
            tiles[tile.beam] = tile
        if len(tiles) >= max(self._full, _LEAST_BEAMS) and self._full:
            yield from self._close(self._open.pop(key))
        while len(self._open) > _OPEN:
            yield from self._close(self._open.popitem(last=False)[1])

    def table(self) -> list[dict[str, float | int | None]]:
        """Return a row per beam: `beam, tiles, softer_px, anisotropy, angle_deg, blank_share, faults`."""
        blur, (x, y) = _median(self._blur), (_mean(self._x), _mean(self._y))
        blank, fault = _mean(self._blank), np.nansum(self._fault, axis=1)
        count = np.isfinite(self._blur).sum(axis=1)
        return [
            {
                "beam": beam,
                "tiles": int(count[row]),
                "softer_px": _finite(blur[row]),
                "anisotropy": _finite(math.hypot(x[row], y[row])),
                "angle_deg": _finite(math.degrees(math.atan2(y[row], x[row])) / 2 % 180),
                "blank_share": _finite(blank[row]),
                "faults": int(fault[row]),
            }
            for beam, row in sorted(self._rows.items())
        ]

    def _empty(self, rows: int = 0) -> Floats:
        return np.full((rows, self._rules.fields), np.nan)

    def _row(self, beam: int) -> int | None:
        if beam not in self._rows:
            if len(self._rows) >= _MOST_BEAMS:
                return None
            self._rows[beam] = len(self._rows)
            for name in ("_blur", "_x", "_y", "_blank", "_fault"):
                setattr(self, name, np.vstack([getattr(self, name), self._empty(1)]))
        return self._rows[beam]

    def _close(self, tiles: dict[int, Observation]) -> Iterator[Finding]:
        """Add a complete mFoV to the windows and judge the beams that it shows."""
        self._full = max(self._full, len(tiles))
        measured = [tile.sigma_px for tile in tiles.values() if tile.sigma_px is not None]
        vectors = [tile.vector for tile in tiles.values() if tile.vector is not None]
        if len(tiles) < _LEAST_BEAMS:
            return
        rows = {row: tile for beam, tile in tiles.items() if (row := self._row(beam)) is not None}
        column = self._next % self._rules.fields
        for window in (self._blur, self._x, self._y, self._blank, self._fault):
            window[:, column] = np.nan
        self._next += 1
        blur = float(np.median(measured)) if len(measured) >= _LEAST_BEAMS else math.nan
        x, y = np.median(vectors, axis=0) if len(vectors) >= _LEAST_BEAMS else (math.nan, math.nan)
        tissue = sum(tile.blank for tile in tiles.values()) <= 0.3 * len(tiles)
        for row, tile in rows.items():
            self._blur[row, column] = math.nan if tile.sigma_px is None else tile.sigma_px - blur
            if tile.vector is not None:
                self._x[row, column], self._y[row, column] = tile.vector[0] - x, tile.vector[1] - y
            self._blank[row, column] = tile.blank if tissue else math.nan
            self._fault[row, column] = tile.fault
        section = next(iter(tiles.values())).section
        yield from self._softness(section)
        yield from self._directions(section)
        yield from self._counts(section)

    def _recent(self, window: Floats, fields: int) -> Floats:
        """Return the latest columns of a window."""
        columns = (self._next - 1 - np.arange(fields)) % self._rules.fields
        return np.asarray(window[:, columns])

    def _softness(self, section: str | None) -> Iterator[Finding]:
        """Judge by all mFoVs, which shows little, and by the latest ones alone, which shows soon."""
        rules = self._rules
        softer, spread, error = self._offsets(rules.fields, self._blur)
        if not spread > 0:
            return
        lately, _, late_error = self._offsets(min(_LATELY, rules.fields), self._blur)
        count = np.isfinite(self._blur).sum(axis=1)
        for beam, row in self._rows.items():
            subject = f"beam {beam}"
            found = [(softer[0, row], error[row]), (lately[0, row], late_error[row])]
            bad = [
                px
                for px, wrong in found
                if px > rules.beam_effect * spread
                and px > max(rules.beam_px, rules.healthy_px + rules.beam_errors * wrong)
            ]
            good = max(px for px, _ in found) < max(rules.beam_px, rules.beam_effect * spread) / 2
            if bad or (good and self._alarms.on("bad_beam", subject)):
                px = max(bad, default=softer[0, row])
                message = (
                    f"{subject} is {px:.2f} px softer than the median beam "
                    f"(effect size {px / spread:.1f}, {count[row]} mFoVs)"
                )
                yield Finding("bad_beam", subject, float(px), bool(bad), bool(good), message, section=section)

    def _directions(self, section: str | None) -> Iterator[Finding]:
        rules = self._rules
        vectors, spread, error = self._offsets(rules.fields, self._x, self._y)
        if not spread > 0:
            return
        lately, _, late_error = self._offsets(min(_LATELY, rules.fields), self._x, self._y)
        count = np.isfinite(self._x).sum(axis=1)
        for beam, row in self._rows.items():
            subject = f"beam {beam}"
            found = [(*vectors[:, row], error[row]), (*lately[:, row], late_error[row])]
            bad = [
                (x, y, wrong)
                for x, y, wrong in found
                if math.hypot(x, y)
                > max(rules.astigmatism, rules.healthy_anisotropy + rules.astigmatism_errors * wrong)
            ]
            good = max(math.hypot(x, y) for x, y, _ in found) < max(
                rules.astigmatism / 2, rules.healthy_anisotropy + error[row]
            )
            if bad or (good and self._alarms.on("astigmatism", subject)):
                x, y, wrong = (bad or found)[0]
                value, angle = math.hypot(x, y), math.degrees(math.atan2(y, x)) / 2 % 180
                message = (
                    f"{subject} is astigmatic: anisotropy {value:.2f} at {angle:.0f} "
                    f"degrees against the other beams ({value / wrong:.1f} standard errors, {count[row]} mFoVs)"
                )
                yield Finding("astigmatism", subject, value, bool(bad), bool(good), message, section=section)

    def _offsets(self, fields: int, *windows: Floats) -> tuple[Floats, float, Floats]:
        """Return medians (window, beam), the pooled spread of tiles, and the standard error (beam) of the medians.

        Medians of fewer tiles than `least_fields` are NaN, and compare as neither bad nor good.
        """
        recent = [self._recent(window, fields) for window in windows]
        count = np.isfinite(recent[0]).sum(axis=1)
        medians = np.array([np.where(count >= self._rules.least_fields, _median(window), np.nan) for window in recent])
        pooled = [window - _median(window)[:, None] for window in windows]
        spread = _spread(np.concatenate(pooled))
        return medians, spread, _MEDIAN_ERROR * spread / np.sqrt(np.maximum(count, 1))

    def _counts(self, section: str | None) -> Iterator[Finding]:
        """Judge blank tiles and scan faults of single beams."""
        rules = self._rules
        seen, blank = np.isfinite(self._blank).sum(axis=1), _mean(self._blank)
        faults = np.nansum(self._fault, axis=1)
        for beam, row in self._rows.items():
            subject = f"beam {beam}"
            dead = seen[row] >= rules.least_fields and blank[row] >= rules.dead_share
            alive = seen[row] >= rules.least_fields and blank[row] < rules.dead_share / 2
            if dead or (alive and self._alarms.on("blank", subject)):
                message = f"{subject} shows nothing in {blank[row]:.0%} of {seen[row]} mFoVs that hold tissue"
                yield Finding(
                    "blank", subject, float(blank[row]), bool(dead), bool(alive), message, "critical", section
                )
            if faults[row] or self._alarms.on("scan_fault", subject):
                message = f"{subject} has scan faults in {faults[row]:.0f} of its latest mFoVs"
                bad, good = faults[row] >= rules.faults, faults[row] == 0
                yield Finding(
                    "scan_fault", subject, float(faults[row]), bool(bad), bool(good), message, section=section
                )


def _median(window: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a beam without a measured tile is NaN
        return np.asarray(np.nanmedian(window, axis=1), np.float64)


def _mean(window: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return np.asarray(np.nanmean(window, axis=1), np.float64)


def _spread(residuals: Floats) -> float:
    """Return the pooled robust standard deviation; NaN where there is nothing."""
    found = np.abs(residuals[np.isfinite(residuals)])
    return _MAD * float(np.median(found)) if found.size else math.nan


def _finite(value: float) -> float | None:
    return round(float(value), 4) if math.isfinite(value) else None
