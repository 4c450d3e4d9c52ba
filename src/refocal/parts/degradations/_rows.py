"""Noise that goes with the rows of a scan."""

import numpy as np
from numpy.typing import NDArray
from scipy import signal


def noise(shape: tuple[int, int], correlation: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return (frame, row) stationary AR(1) noise of unit variance along the rows."""
    white = rng.standard_normal(shape)
    white[:, 1:] *= np.sqrt(1 - correlation**2)
    rows: NDArray[np.float64] = signal.lfilter([1.0], [1.0, -correlation], white, axis=1)
    return rows
