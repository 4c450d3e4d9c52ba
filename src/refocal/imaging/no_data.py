"""Counts that mean "nothing was measured here", such as -9999, and images without them."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Counts, Frames
from refocal.imaging.contrast import PERCENTILES

_STRIP = 512
_LEAST = 16
"""Pixels of exactly one value from which on it may be a code; single outliers are hot pixels."""


def no_data_values(counts: Counts, declared: Iterable[float] = ()) -> tuple[float, ...]:
    """Return the counts of an image of any shape that stand for no data.

    Those are the declared ones that occur, and the lowest or highest count if at least 16 pixels have exactly that
    count and it lies farther from all others than their contrast is wide (0.1 to 99.9 percentile). 8-bit images have
    no room for such codes, and only the declared ones count.
    """
    found = [value for value in declared if bool(_is(counts, value).any())]
    rest = counts[valid(counts, found)] if found else counts.ravel()
    rest = rest[np.isfinite(rest)] if rest.dtype.kind == "f" else rest
    if counts.dtype.itemsize == 1:
        return tuple(found)
    for end in (np.min, np.max, np.min):
        if rest.size < 2 * _LEAST:
            break
        value = float(end(rest))
        other = rest != rest.dtype.type(value)
        if not 0 < np.count_nonzero(other) <= rest.size - _LEAST:
            continue  # before anything is copied: this is asked of every tile that is not 8 bit
        others = rest[other]
        if _stands_apart(value, others):
            found.append(value)
            rest = others
    return tuple(found)


def valid(counts: Counts, no_data: Iterable[float]) -> NDArray[np.bool_]:
    """Return where an image of any shape has counts that were measured."""
    mask = np.ones(counts.shape, bool)
    for value in no_data:
        mask &= ~_is(counts, value)
    return mask


def filled(image: Counts, mask: NDArray[np.bool_]) -> Counts:
    """Return a (y, x) image whose pixels outside of `mask` have the counts of the nearest ones inside it.

    They are looked for along the column, and along the row where a column has none.
    """
    if mask.all() or not mask.any():
        return image
    result = image.copy()
    columns: NDArray[np.bool_] = np.asarray(mask.any(0))
    for left in range(0, image.shape[1], _STRIP):
        some = np.flatnonzero(columns[left : left + _STRIP] & ~mask[:, left : left + _STRIP].all(0)) + left
        result[:, some] = np.take_along_axis(image[:, some], _nearest(mask[:, some]), axis=0)
    if not columns.all():
        result = np.take(result, _nearest(columns[:, None])[:, 0], axis=1)
    return result


def _nearest(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the row of the nearest True in each column, for every pixel; each column has one."""
    rows = np.arange(len(mask))[:, None]
    above = np.maximum.accumulate(np.where(mask, rows, -len(mask)), axis=0)
    below = np.minimum.accumulate(np.where(mask, rows, 2 * len(mask))[::-1], axis=0)[::-1]
    nearest: NDArray[np.intp] = np.where(rows - above <= below - rows, above, below)
    return nearest


def filled_frames(frames: Frames) -> Frames:
    """Return frames whose target is `filled` where it is not valid; the others stay as they are."""
    mask = None if frames.valid is None else frames.valid[frames.target]
    if mask is None or mask.all() or not mask.any():
        return frames
    counts = frames.counts.copy()
    counts[frames.target] = filled(frames.image, mask)
    return replace(frames, counts=counts)


def left_out(value: float) -> str:
    """Return the warning about counts that mean no data."""
    return f"pixels of {value:g} mean no data: they are left out of contrast, grade and restoring, and kept as they are"


def _stands_apart(value: float, others: Counts) -> bool:
    low, high = (float(q) for q in np.percentile(others[:: 1 + (others.size >> 20)], PERCENTILES))
    gap = float(np.min(others)) - value if value < low else value - float(np.max(others))
    return bool(gap > max(high - low, float(np.finfo(np.float32).tiny)))


def _is(counts: Counts, value: float) -> NDArray[np.bool_]:
    if np.isnan(value):
        return np.isnan(counts) if counts.dtype.kind == "f" else np.zeros(counts.shape, bool)
    if counts.dtype.kind in "ui":
        limits = np.iinfo(counts.dtype)
        if value != round(value) or not limits.min <= value <= limits.max:
            return np.zeros(counts.shape, bool)
    with np.errstate(over="ignore"):
        same: NDArray[np.bool_] = counts == counts.dtype.type(value)
    return same
