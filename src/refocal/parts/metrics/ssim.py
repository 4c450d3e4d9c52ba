"""Structural similarity; higher is better."""

from refocal.core.values import Pixels
from refocal.parts.metrics._pair import WINDOW, pair, similarity

__all__ = ["ssim"]


def ssim(got: Pixels, truth: Pixels) -> float:
    """Return the mean structural similarity of two (y, x) images in contrast units, at most 1.

    Gaussian window of 1.5 px, population covariance, data range 1 (Wang et al. 2004). The mean is over the pixels whose
    11-px window lies inside the image, as in scikit-image: 5 px on every side count only as neighbours.
    Raises `BadOptionError` if the shapes differ or a side is below 11 px.
    """
    return similarity(*pair(got, truth, smallest=WINDOW))[0]
