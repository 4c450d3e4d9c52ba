"""Six numbers about a tile, and the cubic polynomial of them that a calibration fits.

The numbers: scaling exponents at the lags 1 (along the slow axis y alone), 2, 4 and 8, the logarithm of the noise
variance and that of the rise D(16) - D(1), both in contrast units squared. All terms up to the third power of six
numbers are 84.
"""

import math
from itertools import combinations_with_replacement

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Contrast
from refocal.imaging.screening import Measured
from refocal.imaging.structure_function import X, Y

Vector = NDArray[np.float64]

NAMES = ("exponent 1", "exponent 2", "exponent 4", "exponent 8", "ln noise²", "ln rise²")
TERMS = tuple(t for degree in range(4) for t in combinations_with_replacement(range(len(NAMES)), degree))
_SHARPEST, _SMOOTH = -1.5, 2.1
_SMALLEST = 1e-8  # a ten-thousandth of the contrast range, squared


def features(seen: Measured, contrast: Contrast) -> Vector:
    """Return the six numbers of a measured tile; every one is finite."""
    found, floor = seen.found, seen.floor
    one = found.exponent(1, Y, floor=floor)
    two = found.exponent(2, X, Y, floor=floor)
    four = found.exponent(4, X, Y, floor=floor)
    eight = found.exponent(8, Y, floor=floor)
    # Where a fine increment drowns in noise the next coarser exponent stands in; the same where a tile is too small.
    exponents = [_first(one, two, four, eight), _first(two, four, eight), _first(four, eight, two), _first(eight, four)]
    square = 1 / (contrast.high - contrast.low) ** 2
    rise = found.rise(Y, 1, 16)
    rise = rise if math.isfinite(rise) else found.rise(Y, 1, 8)
    logs = [math.log(max(value * square, _SMALLEST)) for value in (seen.noise**2, rise)]
    return np.array([*(min(max(p, _SHARPEST), _SMOOTH) for p in exponents), *logs])


def powers(standard: Vector) -> Vector:
    """Return the (..., 84) terms up to the third power of (..., 6) standardised numbers."""
    columns = [np.prod(standard[..., list(term)], axis=-1) for term in TERMS]
    return np.stack(columns, axis=-1)


def _first(*exponents: float) -> float:
    return next((p for p in exponents if not math.isnan(p)), _SMOOTH)
