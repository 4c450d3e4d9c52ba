"""From camera counts to 8 bits: one window for a whole data set, estimated from samples, recorded in the log.

Wieslander et al. 2021 set it by hand: white slightly above the brightest structures, black so that the bars of the
grid become 0 and dark tissue keeps its contrast. It does not matter how many bits were used or whether counts are
negative.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Contrast, Counts, Pixels
from refocal.imaging.binning import binned

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
    bar, valley = _bars(means) or (None, -np.inf)
    low = float(np.percentile(fine, 0.1)) if bar is None else _upper_edge(fine, bar, valley)
    white = float(np.percentile(means[means > valley], 99.9))
    high = max(white + 0.05 * (white - low), float(np.percentile(fine[fine > valley], 99)))
    return Contrast(low, high if high > low else low + 1.0)


def _upper_edge(fine: Pixels, bar: float, valley: float) -> float:
    """Return the largest count of the bars: as far above their mode as four of their spreads below it."""
    below = bar - fine[fine <= bar]
    spread = float(np.percentile(below, 68)) if below.size else 0.0
    return min(valley, bar + max(4 * spread, 0.1 * (valley - bar)))


def _means(frame: Pixels) -> Pixels:
    means: Pixels = binned(frame, _BIN).ravel()
    return means if means.size else frame.ravel()


def _bars(means: Pixels) -> tuple[float, float] | None:
    """Return the mode of the bars and the valley between them and the specimen, or None if there are no bars.

    Bars are a peak in the lowest fifth of the grey values, of more than a speck, with a deep valley above it.
    """
    low, high = np.percentile(means, (0.05, 99.95))
    if not high > low:
        return None
    counts, edges = np.histogram(means, _BINS, (low, high))
    smooth = np.convolve(counts, np.ones(5) / 5, "same")
    fifth = _BINS // 5
    bar, main = int(np.argmax(smooth[:fifth])), fifth + int(np.argmax(smooth[fifth:]))
    valley = bar + int(np.argmin(smooth[bar:main]))
    deep = smooth[valley] < 0.1 * min(smooth[bar], smooth[main])
    share = counts[: valley + 1].sum() / counts.sum()
    if not deep or not 0.005 <= share <= 0.9:
        return None
    flat = np.flatnonzero(smooth[valley:main] > 0.1 * smooth[main])
    end = valley + int(flat[0]) if flat.size else valley
    return float(edges[bar : bar + 2].mean()), float((edges[valley] + edges[min(end, valley + 10)]) / 2)
