"""Folds found in a section: dark bands that run across it with tissue on both sides.

Threshold, Hough transform, then least squares: a Hough peak of a thick band is its longest diagonal, up to 5 degrees
off, so the line is fitted to the dark pixels around it, and followed where it bends. Work is done on an image of at
most 1024 px, so a section of any size takes the same time.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Pixels
from refocal.imaging.fold_geometry import Mask, Point, Reals, distance, pixels

_WORK_PX = 1024
_HOUGH_PX = 512
_CANDIDATES = 24
_KNOTS = 9
# Edges and middle of a fold go on smoothly: over 8 px they change by 1 to 8 % of the half-width (real and simulated
# folds), while rows of organelles that a line can be laid through change by 12 % and more. Folds measured at most 2.1
# times as wide at their widest as in the median, rows of organelles 2.4 times and more.
_RAGGED = 0.1
_SWELLING = 2.3


@dataclass(frozen=True, slots=True)
class DarkLine:
    """One dark band; lengths are pixels."""

    points: tuple[Point, ...]
    """Where its middle runs, (x, y), from one end to the other; two points if it is straight."""
    half_px: float
    """Half of its width, where it is widest."""
    confidence: float
    """0 to 1: share of the line that is dark, times how much darker it is than its surroundings."""

    @property
    def angle_deg(self) -> float:
        """Direction from end to end, degrees from x towards y, 0 to 180."""
        (x0, y0), (x1, y1) = self.points[0], self.points[-1]
        return float(np.degrees(np.arctan2(y1 - y0, x1 - x0))) % 180

    @property
    def cover_px(self) -> float:
        """Half-width that covers the band and its ragged edges."""
        return 1.1 * self.half_px + 3

    def cover(self, shape: tuple[int, ...]) -> Mask:
        """Return the pixels within `cover_px` of the line; where it ends inside the image also those beyond its end."""
        y, x = pixels(shape)
        s, _ = distance(self.points, y, x)
        (x0, y0), (x1, y1) = self.points[0], self.points[-1]
        length = np.hypot(x1 - x0, y1 - y0)
        t = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length
        # At the border an oblique band extends beyond the end of its middle.
        ends = self.points[0], self.points[-1]
        before, after = (np.inf if self._leaves(end, shape) else self.cover_px for end in ends)
        inside: Mask = (np.abs(s) <= self.cover_px) & (t > -before) & (t < length + after)
        return inside

    def _leaves(self, end: Point, shape: tuple[int, ...]) -> bool:
        return any(not self.cover_px < at < size - 1 - self.cover_px for at, size in zip(end, shape[::-1], strict=True))


@dataclass(frozen=True, slots=True)
class Search:
    """What counts as a fold.

    Parameters
    ----------
    darkness
        Dark is below this share of the median of the section, contrast units.
    half_px
        Narrowest half-width.
    length
        Least length, as a share of the shorter edge of the section.
    filled
        Least share of the line that is dark.
    most
        Look for at most this many.
    """

    darkness: float = 0.42
    half_px: float = 3.0
    length: float = 0.3
    filled: float = 0.75
    most: int = 6

    def __call__(self, image: Pixels) -> list[DarkLine]:
        """Return the dark lines of (y, x) pixels in contrast units, the surest first."""
        scale = max(1, -(-max(image.shape) // _WORK_PX))
        small = image if scale == 1 else _shrunk(image, scale)
        level = self.darkness * float(np.median(small)) if small.size else 0.0
        if min(small.shape, default=0) < 32 or not np.isfinite(level) or level <= 1e-4:
            return []
        found: list[_Band] = []
        eight_bit = np.clip(small * 255, 0, 255).astype(np.uint8)
        # Fine first; then coarse, for wide folds through which the doubled tissue shows. Medians keep the edges.
        for width in (5, 21):
            smooth = cv2.medianBlur(eight_bit, width).astype(np.float32) / 255
            found += self._bands(smooth, _opened(smooth < level), level, scale, found)
        lines = [band.line(scale) for band in found]
        return sorted(lines, key=lambda line: -line.confidence)[: self.most]

    def _bands(self, smooth: Pixels, mask: Mask, level: float, scale: int, known: list["_Band"]) -> list["_Band"]:
        free = mask.copy()
        found: list[_Band] = []
        for earlier in known:
            free &= ~earlier.around(mask.shape)
        for _ in range(self.most - len(known)):
            band = self._best(smooth, free, mask & ~free, level, scale)
            if band is None:
                break
            found.append(band)
            free &= ~band.around(mask.shape)
        return found

    def _best(self, smooth: Pixels, mask: Mask, taken: Mask, level: float, scale: int) -> "_Band | None":
        least = self.length * min(mask.shape)
        ranked = sorted(((_score(mask, c, least), c) for c in _candidates(mask, least)), key=lambda pair: -pair[0])
        for score, (start, end) in ranked[:6]:
            if score <= 0:
                break
            fitted = _fitted(mask, start, end)
            run = None if fitted is None else _run(mask, taken, *fitted, least)
            band = None if run is None else _followed(smooth, mask, *run, level)
            if band is not None and self._accepts(band, least, scale, min(mask.shape)):
                return band
        return None

    def _accepts(self, band: "_Band", least: float, scale: int, edge: int) -> bool:
        return (
            band.filled >= self.filled
            and band.flanked >= 0.6
            and band.ragged <= _RAGGED
            and band.swelling <= _SWELLING
            and self.half_px / scale <= band.half_px <= 0.2 * edge
            and band.length >= max(least, 5 * band.half_px)
        )


@dataclass(frozen=True, slots=True)
class _Band:
    """A dark line at working scale."""

    points: Reals
    """(point, (x, y))."""
    half_px: float
    filled: float
    flanked: float
    step: float
    ragged: float
    swelling: float

    @property
    def length(self) -> float:
        return float(np.hypot(*(self.points[-1] - self.points[0])))

    def line(self, scale: int) -> DarkLine:
        points = (self.points + 0.5) * scale - 0.5
        named = tuple((float(x), float(y)) for x, y in points)
        return DarkLine(named, self.half_px * scale, float(np.clip(self.filled * self.step, 0, 1)))

    def around(self, shape: tuple[int, ...]) -> Mask:
        wide = DarkLine(tuple((float(x), float(y)) for x, y in self.points), self.half_px * 1.2 + 2, 1.0)
        return wide.cover(shape)


def _shrunk(image: Pixels, scale: int) -> Pixels:
    height, width = (n // scale for n in image.shape)
    small: Pixels = cv2.resize(image[: height * scale, : width * scale], (width, height), interpolation=cv2.INTER_AREA)
    return small


def _opened(mask: Mask) -> Mask:
    opened: Mask = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)) > 0
    return opened


def _candidates(mask: Mask, least: float) -> list[tuple[Reals, Reals]]:
    """Return the chords (x, y) of the strongest Hough lines."""
    scale = max(1, -(-max(mask.shape) // _HOUGH_PX))
    image = _shrunk(mask.astype(np.float32), scale) > 0.5
    votes = max(8, int(0.6 * least / scale))
    peaks = cv2.HoughLines(image.astype(np.uint8), 1, np.pi / 360, votes)
    chords = []
    for rho, theta in [] if peaks is None else peaks.reshape(-1, peaks.shape[-1])[:_CANDIDATES, :2]:
        normal = np.array([np.cos(theta), np.sin(theta)])
        foot = (normal * rho + 0.5) * scale - 0.5
        chord = _chord(foot, np.array([-normal[1], normal[0]]), mask.shape)
        if chord is not None:
            chords.append(chord)
    return chords


def _chord(point: Reals, along: Reals, shape: tuple[int, ...]) -> tuple[Reals, Reals] | None:
    """Return the ends of the part of a line that lies in the image, or None."""
    low, high = -np.inf, np.inf
    for at, step, size in zip(point, along, (shape[1] - 1, shape[0] - 1), strict=True):
        if abs(step) < 1e-12:
            if not 0 <= at <= size:
                return None
            continue
        one, other = sorted(((0 - at) / step, (size - at) / step))
        low, high = max(low, one), min(high, other)
    return (point + low * along, point + high * along) if high - low > 1 else None


def _on_line(mask: Mask, start: Reals, end: Reals) -> Mask:
    """Say for each pixel of length whether the line is dark there, or an adjacent pixel."""
    length = float(np.hypot(*(end - start)))
    t = np.linspace(0, 1, max(2, int(length) + 1))[:, None]
    x, y = np.rint((1 - t) * start + t * end).astype(int).T
    wide = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8))
    on: Mask = wide[np.clip(y, 0, mask.shape[0] - 1), np.clip(x, 0, mask.shape[1] - 1)] > 0
    return on


def _longest(on: Mask, gap: int) -> tuple[int, int]:
    """Return the longest run of a row, gaps of at most `gap` closed: start and stop."""
    places = np.flatnonzero(on)
    if not len(places):
        return 0, 0
    cuts = np.flatnonzero(np.diff(places) > gap + 1)
    starts, stops = np.r_[places[0], places[cuts + 1]], np.r_[places[cuts], places[-1]] + 1
    best = int(np.argmax(stops - starts))
    return int(starts[best]), int(stops[best])


def _score(mask: Mask, chord: tuple[Reals, Reals], least: float) -> float:
    on = _on_line(mask, *chord)
    start, stop = _longest(on, 6 + len(on) // 40)
    return 0.0 if stop - start < least / 2 else float(on[start:stop].mean()) * (stop - start)


def _run(mask: Mask, taken: Mask, start: Reals, end: Reals, least: float) -> tuple[Reals, Reals] | None:
    """Return the ends of the dark part of a chord; it may cross bands that are taken, but not run along them."""
    on = _on_line(mask, start, end)
    first, stop = _longest(on | _on_line(taken, start, end), 6 + len(on) // 20)
    places = np.flatnonzero(on[first:stop])
    if len(places) < 0.6 * least:
        return None
    first, stop = first + int(places[0]), first + int(places[-1]) + 1
    if stop - first < least or on[first:stop].mean() < 0.6:
        return None
    span = max(1, len(on) - 1)
    return start + (end - start) * first / span, start + (end - start) * (stop - 1) / span


def _fitted(mask: Mask, start: Reals, end: Reals, rounds: int = 6) -> tuple[Reals, Reals] | None:
    """Return the chord of the line that fits the dark pixels around a first guess, by total least squares."""
    y, x = (a.astype(np.float64) for a in np.nonzero(mask))
    for _ in range(rounds):
        points = ((start[0], start[1]), (end[0], end[1]))
        s, _ = distance(points, y, x)
        near = np.abs(s) <= _half_width(s) + 3
        if near.sum() < 16:
            return None
        cloud = np.stack((x[near], y[near]), 1)
        centre = cloud.mean(0)
        _, _, axes = np.linalg.svd(np.cov((cloud - centre).T))
        chord = _chord(centre, axes[0], mask.shape)
        if chord is None:
            return None
        start, end = chord
    return start, end


def _half_width(s: Reals) -> float:
    """Return how far the parallels of a line are more than half as dark as the darkest."""
    counts = np.bincount(np.minimum(np.rint(np.abs(s)), 400).astype(int), minlength=4).astype(float)
    counts[0] *= 2  # one parallel, the others two
    dense = counts > 0.5 * counts[:3].mean()
    return float(np.argmin(dense)) if not dense.all() else float(len(dense))


def _followed(smooth: Pixels, mask: Mask, start: Reals, end: Reals, level: float) -> _Band | None:
    """Follow a band from end to end: where its middle is, how wide it is, what lies next to it."""
    length = float(np.hypot(*(end - start)))
    along = (end - start) / length
    normal = np.array([-along[1], along[0]])
    y, x = (a.astype(np.float64) for a in np.nonzero(mask))
    guess = _half_width(distance(((start[0], start[1]), (end[0], end[1])), y, x)[0])
    radius = int(3 * guess + 16)
    offsets = np.arange(-radius, radius + 1)
    t = np.arange(0, length, 2.0)
    where = start + t[:, None, None] * along + offsets[None, :, None] * normal
    profile = cv2.remap(
        smooth, where[..., 0].astype(np.float32), where[..., 1].astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT, borderValue=float("nan"),
    )  # fmt: skip
    first, last = _edges(profile < level, radius)
    there = first <= last
    filled = float(there.mean())
    if there.sum() < 8:
        return None
    seen, there = there, _clear(profile, first, last, there)
    middle = (first + last) / 2.0 - radius
    bent = _hats(t, length)[there]
    weight, *_ = np.linalg.lstsq(
        np.vstack((bent, 0.05 * np.diff(np.eye(_KNOTS), 2, axis=0) * np.sqrt(there.sum()))),
        np.r_[middle[there], np.zeros(_KNOTS - 2)],
    )
    knots = start + np.linspace(0, length, _KNOTS)[:, None] * along + weight[:, None] * normal
    fit = _hats(t, length) @ weight
    half = np.maximum(last - radius - fit, fit - (first - radius))[there] + 0.5
    slope, rise = _robust(t[there], middle[there])
    off = np.abs(middle - rise - slope * t)[there]
    if np.percentile(off, 75) < 1 + 0.1 * np.median(half):
        knots = start + np.array([[0.0], [length]]) * along + (rise + slope * np.array([[0.0], [length]])) * normal
        half = np.maximum(last - radius - rise - slope * t, rise + slope * t - (first - radius))[there] + 0.5
    flanked, step = _beside(profile, first, last, level)
    widest = float(np.percentile(half, 90))  # above it lie crossings and forks
    width = (last - first + 1)[seen] / 2
    usual = float(np.median(width))
    ragged = max(float(np.median(np.abs(a[4:] - a[:-4]))) for a in (width, middle[seen])) / usual
    return _Band(knots, widest, filled, flanked, step, ragged, widest / usual)


def _hats(t: Reals, length: float) -> Reals:
    """Return the values of linear splines at t: (len(t), knots)."""
    hats: Reals = np.maximum(0, 1 - np.abs(t[:, None] / length * (_KNOTS - 1) - np.arange(_KNOTS)))
    return hats


def _edges(low: Mask, radius: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the first and last index of the dark run nearest to the middle of each profile; first > last if none."""
    first, last = np.ones(len(low), np.int64), np.zeros(len(low), np.int64)
    for i, row in enumerate(low):
        places = np.flatnonzero(row)
        if not len(places):
            continue
        seed = places[np.argmin(np.abs(places - radius))]
        if abs(seed - radius) > 0.7 * radius:
            continue
        stops = np.flatnonzero(~row)
        before, after = stops[stops < seed], stops[stops > seed]
        first[i] = before[-1] + 1 if len(before) else 0
        last[i] = after[0] - 1 if len(after) else len(row) - 1
    return first, last


def _robust(t: Reals, middle: Reals, rounds: int = 5) -> tuple[float, float]:
    """Return slope and rise of the line through most of some points; what dark tissue adds at places does not count."""
    near = np.ones(len(t), np.bool_)
    for _ in range(rounds):
        slope, rise = np.polyfit(t[near], middle[near], 1)
        off = np.abs(middle - rise - slope * t)
        near = off <= max(1.0, 2 * float(np.median(off)))
    return float(slope), float(rise)


def _clear(profile: Pixels, first: NDArray[np.int64], last: NDArray[np.int64], there: Mask) -> Mask:
    """Keep profiles of which both edges lie in the image, if there are enough; the others would bend the ends."""
    seen = np.pad(np.isfinite(profile), ((0, 0), (1, 1)))
    rows = np.arange(len(profile))
    clear: Mask = there & seen[rows, first] & seen[rows, last + 2]
    return clear if clear.sum() >= max(8, 0.5 * there.sum()) else there


def _beside(profile: Pixels, first: NDArray[np.int64], last: NDArray[np.int64], level: float) -> tuple[float, float]:
    """Return the share of profiles with tissue on both sides, and how much darker the band is than that, 0 to 1."""
    both, beside, within = [], [], []
    for row, a, b in zip(profile, first, last, strict=True):
        if a > b:
            continue
        sides = row[max(0, a - 10) : max(0, a - 3)], row[b + 4 : b + 11]
        means = [float(np.nanmean(side)) if np.isfinite(side).sum() > 2 else 0.0 for side in sides]
        both.append(min(means) > level)
        beside.append(max(means))
        within.append(float(np.nanmean(row[a : b + 1])))
    outside = float(np.median(beside))
    return float(np.mean(both)), 1 - float(np.median(within)) / outside if outside > 0 else 0.0
