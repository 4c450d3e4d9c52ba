"""Faults of the scan that a single tile shows: rows that are constant or missing, and rows that are shifted.

Rows without any contrast are never written by a detector that has noise. Shifted rows break the continuity of the
image: the row before them continues a few pixels to the left or right.
"""

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Counts

_STRIP, _WIDE = 512, 1024
"""Columns in the middle that are looked at for breaks, and for shifts."""
_BAND = 4
"""Rows that are averaged on either side of a break, against noise."""
_OUTLIER = 1.6
_BREAKS, _TYPICAL = 4, 8
_LEAST_PX, _MOST_PX = 3, 128
_LEAST_ROWS, _BLANK = 2, 0.25


def faults(image: Counts) -> str:
    """Return what is wrong with the rows of a (y, x) image in a few words, or an empty string.

    A quarter of constant rows and more is a margin, not a fault. Shifts are found from 3 to 128 px.
    """
    constant = _constant(image)
    if _LEAST_ROWS <= len(constant) <= _BLANK * len(image):
        return f"{len(constant)} rows are constant or missing, from row {constant[0]}"
    if len(constant) >= _LEAST_ROWS or len(image) < 4 * _BAND:
        return ""
    breaks = _breaks(image)
    usual = _usual(image) if breaks else 0.0
    for row in breaks:
        if shift := _shift(image, row, usual):
            return f"rows are shifted by {abs(shift)} px from row {row}"
    return ""


def _strip(image: Counts) -> NDArray[np.float32]:
    left = max(0, (image.shape[1] - _STRIP) // 2)
    strip: NDArray[np.float32] = image[:, left : left + _STRIP].astype(np.float32)
    return strip


def _constant(image: Counts) -> NDArray[np.intp]:
    left = max(0, (image.shape[1] - _STRIP) // 2)
    strip = image[:, left : left + _STRIP]
    flat = np.flatnonzero((strip == strip[:, :1]).all(1))
    whole: NDArray[np.intp] = flat[(image[flat] == image[flat, :1]).all(1)]
    return whole


def _breaks(image: Counts) -> list[int]:
    """Return the rows that differ most from the row before, if they stand out; the strongest first."""
    strip = _strip(image)
    strip -= strip.mean(1, keepdims=True)
    steps = np.abs(np.diff(strip, axis=0)).mean(1)
    usual = np.median(steps)
    strongest = np.argsort(steps)[::-1][:_BREAKS]
    return [int(i) + 1 for i in strongest if steps[i] > _OUTLIER * usual and _BAND <= i < len(image) - _BAND - 1]


def _usual(image: Counts) -> float:
    """Return the likeness of neighbouring bands where nothing is wrong."""
    rows = np.linspace(_BAND, len(image) - _BAND - 1, _TYPICAL).astype(int)
    likeness = [_likeness(image, int(row)) for row in rows]
    return float(np.median([found[len(found) // 2] for found in likeness]))


def _shift(image: Counts, row: int, usual: float) -> int:
    """Return by how many pixels the rows from `row` on are shifted, 0 if they are not."""
    likeness = _likeness(image, row)
    middle = len(likeness) // 2
    lags = np.arange(len(likeness)) - middle
    far = np.where(np.abs(lags) >= _LEAST_PX, likeness, -1)
    best = int(np.argmax(far))
    if far[best] > 0.75 * usual and far[best] > likeness[middle] + 0.3 * usual and usual > 0.3:
        return int(lags[best])
    return 0


def _likeness(image: Counts, row: int) -> NDArray[np.float64]:
    """Return the correlation of the bands above and below a row for all lags."""
    left = max(0, (image.shape[1] - _WIDE) // 2)
    bands = image[row - _BAND : row + _BAND, left : left + _WIDE].astype(np.float64)
    above, below = _detail(bands[:_BAND].mean(0)), _detail(bands[_BAND:].mean(0))
    width = len(above)
    size = 1 << (2 * width - 1).bit_length()
    product = np.fft.irfft(np.conj(np.fft.rfft(above, size)) * np.fft.rfft(below, size), size)
    most = min(_MOST_PX, width // 4)
    lags = np.arange(-most, most + 1)
    power = np.sqrt((above**2).mean() * (below**2).mean()) * (width - np.abs(lags))
    likeness: NDArray[np.float64] = product[lags] / np.maximum(power, 1e-12)
    return likeness


def _detail(line: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take shading off a line: what is slower than 64 px says nothing about a shift of a few."""
    sums = np.cumsum(np.pad(line, (33, 32), mode="edge"))
    smooth = (sums[65:] - sums[:-65]) / 65
    detail: NDArray[np.float64] = line - smooth
    return detail
