"""Mean absolute difference, contrast units; lower is better."""

import numpy as np

from refocal.core.errors import BadOptionError
from refocal.core.values import Pixels


def mae(got: Pixels, truth: Pixels) -> float:
    """Return the mean absolute difference of two (y, x) images of one shape."""
    if got.shape != truth.shape:
        raise BadOptionError(f"images have one shape, got {got.shape} and {truth.shape}")
    return float(np.mean(np.abs(got - truth)))
