"""Two images that are to be compared, and the statistics of their Gaussian neighbourhoods."""

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.errors import BadOptionError
from refocal.core.values import Pixels

Field = NDArray[np.float64]

WINDOW = 11
"""Side of the Gaussian window of 1.5 px, cut at 3.5 standard deviations, as in Wang et al. 2004."""
_C1, _C2 = 0.01**2, 0.03**2


def pair(got: Pixels, truth: Pixels, smallest: int = 1) -> tuple[Field, Field]:
    """Return both images in float64.

    Raises
    ------
    BadOptionError
        If they are not (y, x) images of one shape with at least `smallest` pixels a side.
    """
    if got.shape != truth.shape:
        raise BadOptionError(f"metrics compare images of one shape, got {got.shape} and {truth.shape}")
    if got.ndim != 2 or min(got.shape) < smallest:
        raise BadOptionError(f"this metric needs (y, x) images of at least {smallest} px a side, got {got.shape}")
    return np.asarray(got, np.float64), np.asarray(truth, np.float64)


def similarity(got: Field, truth: Field) -> tuple[float, float]:
    """Return mean SSIM and its mean contrast-structure factor, over the pixels whose window lies inside the image."""

    def local(field: Field) -> Field:
        edge = WINDOW // 2
        blurred: Field = cv2.GaussianBlur(field, (WINDOW, WINDOW), 1.5)[edge:-edge, edge:-edge]
        return blurred

    mean_got, mean_truth = local(got), local(truth)
    covariance = local(got * truth) - mean_got * mean_truth
    variances = local(got * got) - mean_got**2 + local(truth * truth) - mean_truth**2
    structure = (2 * covariance + _C2) / (variances + _C2)
    luminance = (2 * mean_got * mean_truth + _C1) / (mean_got**2 + mean_truth**2 + _C1)
    return float(np.mean(luminance * structure)), float(np.mean(structure))
