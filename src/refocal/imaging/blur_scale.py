"""Blur and its direction from scaling exponents, for any specimen.

Blur is the standard deviation of the Gaussian with the same effect on the exponents. It includes the probe, the pixel
and the defocus. Exponents at lags 1, 2 and 4 are mapped to it by the tables below, and blended. The tables were fitted
to the training images, binned by two and blurred by known amounts (`benchmarks/gate.py --fit` prints them): variances
of blurs add, so differences between blurs of one image fix the tables up to a constant, and that a binned image must be
half as blurred fixes the constant. One default for all specimens; their spread is 0.1 to 0.25 px below 3 px.
"""

import math

import numpy as np
from numpy.typing import NDArray

from refocal.imaging.structure_function import DOWN, UP, Structure, X, Y

# Exponents (first row) and the blur that they mean, px.
_LAG1 = np.array(
    [
        [-0.2, 0.2, 0.5, 0.8, 1.0, 1.2, 1.35, 1.5, 1.6, 1.7, 1.75, 1.8, 1.85, 1.9, 1.93, 1.98],
        [0.0, 0.26, 0.54, 0.74, 0.88, 1.05, 1.23, 1.47, 1.7, 2.02, 2.26, 2.53, 2.95, 3.55, 4.03, 6.0],
    ]
)
_LAG2 = np.array(
    [
        [-1.0, -0.3, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 1.97],
        [0.5, 0.78, 0.96, 1.08, 1.22, 1.44, 1.72, 2.0, 2.4, 2.94, 3.28, 3.69, 4.2, 5.0, 6.5, 10.0],
    ]
)
_LAG4 = np.array(
    [
        [-1.0, -0.2, 0.2, 0.5, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 1.95],
        [2.0, 2.2, 2.5, 3.0, 3.69, 4.29, 5.05, 6.0, 7.5, 10.0, 16.0],
    ]
)


def blur(found: Structure, floor: float) -> float:
    """Return the blur in pixels: lag 1 up to 1.2 px, half lag 2 from 2 px, lag 4 from 4 px; NaN if there is none."""
    one = _read(_LAG1, found.exponent(1, Y, floor=floor))
    two = _read(_LAG2, found.exponent(2, X, Y, floor=floor))
    four = _read(_LAG4, found.exponent(4, X, Y, floor=floor))
    # Where the finest increments drown in noise the coarser exponents stand in.
    if math.isnan(one):
        one = two
    if math.isnan(two):
        return one if not math.isnan(one) else four
    fine = one + 0.5 * _step(one, 1.2, 2.0) * (two - one)
    fine += _step(two, 2.6, 3.4) * (two - fine)
    return fine if math.isnan(four) else fine + _step(fine, 3.0, 4.5) * (four - fine)


def _read(table: NDArray[np.float64], exponent: float) -> float:
    return float(np.interp(exponent, *table))


def _step(value: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, smoothly in between."""
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3 - 2 * t)


def direction(found: Structure, floor: float) -> tuple[float | None, float | None]:
    """Return how directional the blur is, and the direction of the strongest, degrees from x towards y.

    The variance of an elliptic blur along an angle t is m + a cos 2t + b sin 2t; four directions give all three.
    Oriented tissue looks the same: compare with the neighbours before blaming the stigmator.
    """
    along = [_read(_LAG2, found.exponent(2, d, floor=floor)) for d in (X, DOWN, Y, UP)]
    if any(math.isnan(sigma) for sigma in along):
        return None, None
    x, down, y, up = (s**2 * scale for s, scale in zip(along, (1, 2, 1, 2), strict=True))
    a, b = (x - y) / 2, (down - up) / 2
    mean = (x + down + y + up) / 4
    return min(1.0, math.hypot(a, b) / mean), math.degrees(math.atan2(b, a)) / 2 % 180
