"""The contrast of images that do not use the whole range of their numbers."""

import numpy as np

from refocal.core.values import Contrast, Counts

PERCENTILES = (0.1, 99.9)


def percentile_contrast(counts: Counts, narrowest: float = 1.0) -> Contrast:
    """Return the 0.1 and 99.9 percentiles of finite counts of any shape.

    Parameters
    ----------
    counts
        At least one.
    narrowest
        Width of the contrast where both percentiles are the same.
    """
    low, high = (float(value) for value in np.percentile(counts, PERCENTILES))
    return Contrast(low, high if high > low else low + narrowest)
