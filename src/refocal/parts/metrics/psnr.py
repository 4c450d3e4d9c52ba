"""Peak signal-to-noise ratio, dB; higher is better."""

import math

import numpy as np

from refocal.core.values import Pixels
from refocal.parts.metrics._pair import pair

__all__ = ["psnr"]


def psnr(got: Pixels, truth: Pixels) -> float:
    """Return -10 log10 of the mean squared error of two (y, x) images in contrast units, borders included.

    Infinite for equal images. Raises `BadOptionError` if the shapes differ.
    """
    a, b = pair(got, truth)
    error = float(np.mean((a - b) ** 2))
    return -10 * math.log10(error) if error > 0 else math.inf
