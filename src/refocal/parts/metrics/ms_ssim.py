"""Structural similarity over five scales; higher is better."""

import numpy as np

from refocal.core.values import Pixels
from refocal.imaging.binning import binned
from refocal.parts.metrics._pair import WINDOW, pair, similarity

__all__ = ["ms_ssim"]

_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])


def ms_ssim(got: Pixels, truth: Pixels) -> float:
    """Return the multi-scale structural similarity of two (y, x) images in contrast units, 0 to 1.

    Contrast and structure at each scale (binned by two from one to the next), luminance at the coarsest, as weighted
    geometric mean (Wang et al. 2003). Images below 176 px have room for fewer scales, whose weights are scaled to a
    sum of 1. Raises `BadOptionError` if the shapes differ or a side is below 11 px.
    """
    a, b = pair(got, truth, smallest=WINDOW)
    factors = []
    for scale in range(len(_WEIGHTS)):
        if scale:
            a, b = binned(a, 2), binned(b, 2)
        whole, structure = similarity(a, b)
        factors.append(structure)
        if min(a.shape) // 2 < WINDOW:
            break
    factors[-1] = whole
    weights = _WEIGHTS[: len(factors)]
    return float(np.prod(np.maximum(factors, 0) ** (weights / weights.sum())))
