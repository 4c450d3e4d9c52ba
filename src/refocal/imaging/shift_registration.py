"""Register a frame to a reference: phase correlation, then the enhanced correlation coefficient.

A warp W is 2x3 and maps coordinates (x, y, 1) of the reference to those of the frame: frame(W p) = reference(p).
Phase correlation finds shifts up to half a frame, and those beyond by their likeness; the enhanced correlation
coefficient (Evangelidis and Psarakis 2008) refines them to a few hundredths of a pixel. Inputs are never changed:
OpenCV gets copies of them.
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft

from refocal.core.blocks import Box
from refocal.core.errors import UnsupportedError
from refocal.core.values import Counts, Pixels

Motion = Literal["translation", "euclidean"]
Warp = NDArray[np.float32]
Shift = tuple[float, float]
"""(y, x) in px: what the reference shows at p, the frame shows at p + shift."""
Expected = tuple[float | None, float | None]

SOFT_PX = 1.5
_BROAD_PX = 16.0
_ITERATIONS, _EPSILON = 60, 1e-6
_STRAY_PX = 6.0
_LEAST, _SURE, _GRAIN_PX = 0.25, 4.0, 6.0
_ENOUGH_PX, _RIM_PX = 512, 12
_PEAKS, _APART, _RIVALS, _RIVAL, _UNEXPECTED = 24, 4, 6, 0.15, 0.3


@dataclass(frozen=True, slots=True)
class Registered:
    """Where a frame lies."""

    warp: Warp
    likeness: float
    """Correlation of what both show, softened, -1 to 1."""

    @property
    def shift(self) -> Shift:
        """The (y, x) part of the warp that is a shift."""
        return float(self.warp[1, 2]), float(self.warp[0, 2])


def softened(windowed: Counts) -> Pixels:
    """Return a (y, x) frame as float32 for registering: without its noise, and without what is large."""
    pixels = windowed.astype(np.float32)
    fine = cv2.GaussianBlur(pixels, (0, 0), SOFT_PX)
    # Bars of a grid are so much darker than the rest that nothing else would count.
    small = cv2.resize(pixels, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    broad = cv2.resize(cv2.GaussianBlur(small, (0, 0), _BROAD_PX / 4), pixels.shape[::-1])
    soft: Pixels = fine - broad
    return soft


def coarse(reference: Pixels, frame: Pixels, expected: Expected = (None, None)) -> tuple[Shift, float]:
    """Return the shift of a softened frame to about a pixel, and the likeness of what both show then.

    Parameters
    ----------
    reference, frame
        (y, x), of one size.
    expected
        (y, x) of the shift as far as it is expected: tells the periods of a periodic specimen apart.

    Raises
    ------
    UnsupportedError
        If no shift makes them alike: they show different places, or there is nothing to be seen.
    """
    one, two = (cv2.resize(image, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for image in (reference, frame))
    peaks = _peaks(one, two)
    scored = _scored(one, two, [*_halved(expected), *peaks])
    if not scored[0][0] > scored[0][1]:
        # A shift is known up to whole frames.
        height, width = one.shape
        tries = [(dy + j, dx + i) for dy, dx in peaks for j in (0, _wrap(dy, height)) for i in (0, _wrap(dx, width))]
        scored = _scored(one, two, tries)
    likeness, least, shift = scored[0]
    if not likeness > least:
        raise UnsupportedError(f"shows another place, or nothing: likeness {likeness:.2f}, {least:.2f} is needed")
    rivals = [other for alike, needed, other in scored[:_RIVALS] if alike > max(needed, likeness - _RIVAL)]
    if len(rivals) > 1:
        likeness, shift = _best(one, two, rivals, expected)
    return (2 * shift[0], 2 * shift[1]), likeness


def _scored(one: Pixels, two: Pixels, shifts: Sequence[Shift]) -> list[tuple[float, float, Shift]]:
    """Return (likeness, least needed, shift), the most convincing first."""
    scored = [(*_likeness(one, two, shift), shift) for shift in shifts]
    return sorted(scored, key=lambda entry: entry[1] - entry[0])


def _best(one: Pixels, two: Pixels, rivals: Sequence[Shift], expected: Expected) -> tuple[float, Shift]:
    """Return the best of several shifts, each refined: whole pixels are too coarse to tell a period from the next."""
    best = -np.inf, 0.0, rivals[0]
    for rival in rivals:
        with suppress(UnsupportedError):
            found = refine(one, two, rival)
            beside = [
                abs(s - e / 2) / n for s, e, n in zip(found.shift, expected, one.shape, strict=True) if e is not None
            ]
            best = max(best, (found.likeness - _UNEXPECTED * sum(beside), found.likeness, found.shift))
    return best[1], best[2]


def _halved(expected: Expected) -> list[Shift]:
    y, x = expected
    return [] if y is None or x is None else [(y / 2, x / 2)]


def refine(reference: Pixels, frame: Pixels, start: Shift, motion: Motion = "translation") -> Registered:
    """Return the warp to a few hundredths of a pixel, from a shift that is known to a few pixels.

    Raises
    ------
    UnsupportedError
        If the search does not converge, or strays from where it began.
    """
    kind = cv2.MOTION_TRANSLATION if motion == "translation" else cv2.MOTION_EUCLIDEAN
    box, other = _middles(reference.shape, frame.shape, start)
    corner, beside = (np.array(b.start[::-1], np.float64) for b in (box, other))
    warp = np.eye(2, 3, dtype=np.float32)
    warp[:, 2] = np.array(start[::-1]) + corner - beside
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, _ITERATIONS, _EPSILON)
    seen = reference[box.slices].copy(), frame[other.slices].copy()
    try:
        likeness, warp = cv2.findTransformECC(*seen, warp, kind, criteria, None, 1)
    except cv2.error as error:
        raise UnsupportedError(f"registration does not converge ({error.code})") from error
    middle = np.array(box.shape[::-1]) / 2
    strayed = float(np.hypot(*(warp[:, :2] @ middle + warp[:, 2] + beside - corner - middle - start[::-1])))
    if not strayed <= _STRAY_PX:
        raise UnsupportedError(f"registration strays by {strayed:.0f} px")
    warp[:, 2] += (beside - warp[:, :2] @ corner).astype(np.float32)
    return Registered(warp, float(likeness))


def _middles(shape: tuple[int, ...], other: tuple[int, ...], start: Shift) -> tuple[Box, Box]:
    """Return the middle of what both show, in the reference, and the same in the frame with a rim."""
    here, there = [], []
    for n, m, shift in zip(shape, other, start, strict=True):
        low, high = max(0, round(-shift)), min(n, m - round(shift))
        cut = max(0, high - low - _ENOUGH_PX) // 2
        low, high = low + cut, max(low + cut + 1, high - cut)
        here.append((low, high))
        there.append((max(0, low + round(shift) - _RIM_PX), min(m, high + round(shift) + _RIM_PX)))
    return Box(*zip(*here, strict=True)), Box(*zip(*there, strict=True))


def resampled(frame: Counts, warp: Warp, box: Box) -> Pixels:
    """Return the part of a frame that the reference shows in a (y, x) box, by cubic interpolation."""
    (top, left), (height, width) = box.start, box.shape
    moved = warp.copy()
    moved[:, 2] += warp[:, :2] @ np.array([left, top], np.float32)
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    seen: Pixels = cv2.warpAffine(
        frame.astype(np.float32), moved, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE
    )
    return seen


def intersection(shape: tuple[int, int], warps: Sequence[Warp]) -> Box:
    """Return the largest (y, x) box of the reference that all frames show; an empty one if there is none."""
    if all(np.array_equal(w[:, :2], np.eye(2)) for w in warps):
        shifts = np.array([(w[1, 2], w[0, 2]) for w in warps]).reshape(-1, 2)
        start = np.ceil(np.max(np.vstack([-shifts, [[0, 0]]]), axis=0)).astype(int)
        stop = np.floor(np.min(np.vstack([np.array(shape) - shifts, [shape]]), axis=0)).astype(int)
        return Box((int(start[0]), int(start[1])), (int(max(stop[0], start[0])), int(max(stop[1], start[1]))))
    ones = np.ones(shape, np.uint8)
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    seen = ones.copy()
    for warp in warps:
        seen &= cv2.warpAffine(ones, warp, shape[::-1], flags=flags)
    return largest_box(seen > 0)


def largest_box(mask: NDArray[np.bool_]) -> Box:
    """Return the largest axis-aligned (y, x) box within a mask: the largest rectangle under each row's histogram."""
    best, found = 0, Box((0, 0), (0, 0))
    heights = np.zeros(mask.shape[1] + 1, np.int64)
    for row in range(mask.shape[0]):
        heights[:-1] = np.where(mask[row], heights[:-1] + 1, 0)
        open_at: list[int] = []
        for column, height in enumerate(heights):
            while open_at and heights[open_at[-1]] >= height:
                tall = int(heights[open_at.pop()])
                left = open_at[-1] + 1 if open_at else 0
                if tall * (column - left) > best:
                    best, found = tall * (column - left), Box((row + 1 - tall, left), (row + 1, column))
            open_at.append(column)
    return found


def _wrap(shift: float, edge: int) -> float:
    return -edge if shift > 0 else edge


def _likeness(reference: Pixels, frame: Pixels, shift: Shift) -> tuple[float, float]:
    """Return the correlation of what both show, and how large it must be for that not to be chance."""
    dy, dx = round(shift[0]), round(shift[1])
    a = reference[max(0, -dy) : max(0, reference.shape[0] - dy), max(0, -dx) : max(0, reference.shape[1] - dx)]
    b = frame[max(0, dy) : max(0, frame.shape[0] + dy), max(0, dx) : max(0, frame.shape[1] + dx)]
    if min(a.shape) < 2 * _GRAIN_PX or a.shape != b.shape:
        return 0.0, 1.0
    least = max(_LEAST, _SURE * _GRAIN_PX / float(np.sqrt(a.size)))
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt(np.mean(a * a) * np.mean(b * b)))
    return (float(np.mean(a * b)) / spread if spread > 1e-6 else 0.0), least


def _peaks(reference: Pixels, frame: Pixels) -> list[Shift]:
    """Return the highest peaks of the phase correlation; a periodic specimen has many."""
    window = _hanning(*reference.shape)
    one, two = (fft.rfft2((image - image.mean()) * window) for image in (reference, frame))
    cross = np.conj(one) * two
    surface = fft.irfft2(cross / np.maximum(np.abs(cross), 1e-12), reference.shape)
    surface = cv2.GaussianBlur(surface, (0, 0), 1.0)
    found = []
    height, width = surface.shape
    for _ in range(_PEAKS):
        y, x = np.unravel_index(int(np.argmax(surface)), surface.shape)
        found.append((float(y - height * (y > height // 2)), float(x - width * (x > width // 2))))
        rows, columns = (np.arange(at - _APART, at + _APART + 1) % n for at, n in ((y, height), (x, width)))
        surface[np.ix_(rows, columns)] = -np.inf
    return found


@lru_cache(maxsize=4)
def _hanning(height: int, width: int) -> Pixels:
    window: Pixels = cv2.createHanningWindow((width, height), cv2.CV_32F)
    return window
