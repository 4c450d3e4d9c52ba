"""From what the camera counts to 8 bits: one window for a whole data set, proposed from samples, recorded in the log.

Wieslander et al. 2021 set it by hand: white slightly above the brightest structures, black so that the bars of the
grid become 0 and dark tissue keeps its contrast. It does not matter how many bits were used or whether counts are
negative.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refocal.values import Contrast, Counts, Pixels

EIGHT_BIT = Contrast.of(np.uint8)
_BIN = 4
_BINS = 256


def windowed(counts: Counts, window: Contrast) -> NDArray[np.uint8]:
    """Return round(255 clip((counts - low) / (high - low), 0, 1))."""
    unit = np.clip(window.unit(counts), 0, 1)
    eight: NDArray[np.uint8] = EIGHT_BIT.counts(unit, np.uint8)
    return eight


def propose(samples: Sequence[Counts]) -> Contrast:
    """Propose a window from some (y, x) frames of one data set.

    High is 5 % above the 99.9th percentile of the tissue, of means of 4x4 pixels, and leaves at most 1 % of the pixels
    white. Low is the upper edge of the dark mode that the bars of a grid make, or, without bars, the 0.1th percentile.
    Frames of one grey value, black and white ones, say nothing.

    Raises
    ------
    ValueError
        If there is no frame that says anything.
    """
    telling = [s.astype(np.float32) for s in samples if s.size and s.min() < s.max()]
    if not telling:
        raise ValueError("no frame has more than one grey value")
    fine = np.concatenate([s.ravel()[:: max(1, s.size // 200_000)] for s in telling])
    means = np.concatenate([_means(s) for s in telling])
    bar = _valley(means)
    tissue = means if bar is None else means[means > bar]
    if bar is None:
        low = float(np.percentile(fine, 0.1))
    else:
        dark = fine[fine < bar]
        low = float(np.percentile(dark, 99)) if dark.size else bar
    bright = fine if bar is None else fine[fine > bar]
    white = float(np.percentile(tissue, 99.9))
    high = max(white + 0.05 * (white - low), float(np.percentile(bright, 99)))
    return Contrast(low, high if high > low else low + 1.0)


def _means(frame: Pixels) -> Pixels:
    height, width = (n // _BIN * _BIN for n in frame.shape)
    if not height or not width:
        return frame.ravel()
    cut = frame[:height, :width].reshape(height // _BIN, _BIN, width // _BIN, _BIN)
    means: Pixels = cut.mean((1, 3)).ravel()
    return means


def _valley(means: Pixels) -> float | None:
    """Return the grey value between the bars and the specimen, or None if there are no bars.

    Otsu's threshold; its dark class is bars if it is small in spread, far below the rest, and neither a speck nor all.
    """
    low, high = np.percentile(means, (0.05, 99.95))
    if not high > low:
        return None
    counts, edges = np.histogram(means, _BINS, (low, high))
    middle = (edges[1:] + edges[:-1]) / 2
    weight = np.cumsum(counts) / counts.sum()
    mean = np.cumsum(counts * middle) / counts.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean[-1] * weight - mean) ** 2 / (weight * (1 - weight))
    threshold = float(edges[1 + int(np.nanargmax(np.where(np.isfinite(between), between, -1)))])
    dark, bright = means[means <= threshold], means[means > threshold]
    if not 0.005 * means.size <= dark.size <= 0.9 * means.size or not bright.size:
        return None
    gap = float(np.median(bright) - np.median(dark))
    spread = float(np.percentile(dark, 75) - np.percentile(dark, 25))
    between_both = float(np.median(dark)) + 0.35 * gap
    emptied = np.mean(np.abs(means - between_both) < 0.1 * gap)
    return between_both if spread < 0.12 * gap and emptied < 0.03 else None
