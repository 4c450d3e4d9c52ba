"""Visible tile borders; 1 where there are none, lower is better."""

import numpy as np

from refocal.core.errors import BadOptionError
from refocal.core.values import Pixels
from refocal.parts.metrics._pair import Field, pair

__all__ = ["seam"]


def seam(got: Pixels, truth: Pixels, spacing: int = 256) -> float:
    """Return how much larger the steps of the error `got - truth` are across tile borders than elsewhere.

    Root-mean-square step from pixel to pixel across the lines y, x = spacing, 2 spacing, ... over that everywhere else;
    1 where the borders are like any other place, for equal images, and for images without a border. Raises
    `BadOptionError` if the shapes differ or the spacing is below 2 px.
    """
    a, b = pair(got, truth)
    if spacing < 2:
        raise BadOptionError(f"seam needs a spacing of at least 2 px, got {spacing}")
    error = a - b
    down, along = _split(error, spacing), _split(error.T, spacing)
    across, elsewhere = (np.concatenate(parts) for parts in zip(down, along, strict=True))
    if not across.size or not elsewhere.size:
        return 1.0
    # Errors below 1e-6 are rounding: without this floor, equal images would compare noise with noise.
    return float(np.sqrt((across.mean() + 1e-12) / (elsewhere.mean() + 1e-12)))


def _split(error: Field, spacing: int) -> tuple[Field, Field]:
    """Return the squared steps down the first axis, at borders and elsewhere."""
    steps = np.diff(error, axis=0) ** 2
    at_border = (np.arange(1, error.shape[0]) % spacing) == 0
    return steps[at_border].ravel(), steps[~at_border].ravel()
