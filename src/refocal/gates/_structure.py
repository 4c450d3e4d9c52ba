"""Structure functions of an image: how unlike two pixels are as a function of their distance.

``D_d(l) = <(I(r) - I(r + l d))^2> / 2`` for a lag `l` along the direction `d`. White noise of variance n^2 adds n^2 to
every D at l >= 1, so increments D(2l) - D(l) are free of noise; their ratio is free of contrast and of polarity; blank
areas add the same to all D and drop out. What is left is the scaling exponent

    ``p_l = log2[(D(4l) - D(2l)) / (D(2l) - D(l))]``,

which is 2 where the image is smooth on the scale l (blurred) and below 1 where it is sharp tissue.

A plane of brightness g.r adds (l g.d)^2 / 2, which is taken off.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from refocal.values import Counts

# (x, y) steps; the angle of a direction is measured from x towards y.
X, Y, DOWN, UP = (1, 0), (0, 1), (1, 1), (1, -1)
Key = tuple[tuple[int, int], int]

LAGS = {Y: (1, 2, 4, 8, 16, 32), X: (2, 4, 8, 16), DOWN: (2, 4, 8), UP: (2, 4, 8)}
"""Lag 1 is measured along y alone: in a scanning microscope noise is correlated along the fast axis x."""

_NATIVE = (np.uint8, np.uint16, np.int16, np.float32)


@dataclass(frozen=True, slots=True)
class Structure:
    """Structure function of one image, counts^2; absent where the image is not more than twice the lag wide."""

    values: dict[Key, float]

    def rise(self, direction: tuple[int, int], near: int, far: int) -> float:
        """Return D(far) - D(near) along a direction, NaN where one of them is absent."""
        return self.values.get((direction, far), np.nan) - self.values.get((direction, near), np.nan)

    def exponent(self, lag: int, *directions: tuple[int, int], floor: float = 0.0) -> float:
        """Return p at a lag over the mean of directions.

        NaN where the nearer increment is not above `floor` counts^2 (too smooth or too noisy to say); minus infinity
        where only the farther one is not (no structure of that size: very sharp).
        """
        near = float(np.mean([self.rise(d, lag, 2 * lag) for d in directions]))
        far = float(np.mean([self.rise(d, 2 * lag, 4 * lag) for d in directions]))
        if not near > floor or math.isnan(far):
            return math.nan
        return math.log2(far / near) if far > floor else -math.inf

    @property
    def finite(self) -> bool:
        """Whether every value is a number."""
        return bool(np.isfinite(list(self.values.values())).all())


def structure(image: Counts) -> Structure:
    """Measure the structure function of a (y, x) image in four directions, after taking off a plane."""
    image = _plain(image)
    height, width = image.shape
    slope = {X: _slope(image.T), Y: _slope(image)}
    slope |= {DOWN: slope[X] + slope[Y], UP: slope[X] - slope[Y]}
    values = {}
    for (dx, dy), lags in LAGS.items():
        for lag in lags:
            x, y = lag * dx, lag * dy
            if height <= 2 * abs(y) or width <= 2 * abs(x):
                continue
            here = image[max(0, -y) : height - max(0, y), : width - x]
            there = image[max(0, y) : height - max(0, -y), x:]
            square = cv2.norm(here, there, cv2.NORM_L2SQR) / here.size
            values[(dx, dy), lag] = (square - (lag * slope[dx, dy]) ** 2) / 2
    return Structure(values)


def clipped(image: Counts) -> float:
    """Return the share of pixels at the lower or upper limit of an integer dtype, whichever is larger."""
    if image.dtype.kind not in "ui":
        return 0.0
    limits = np.iinfo(image.dtype)
    return max(np.count_nonzero(image == limit) for limit in (limits.min, limits.max)) / image.size


def _plain(image: Counts) -> Counts:
    """Return the image in a dtype and memory order that OpenCV reads in place."""
    dtype = image.dtype.newbyteorder("=")
    plain = image.astype(dtype if dtype in _NATIVE else np.float32, copy=False)
    return plain if plain.strides[1] == plain.itemsize and plain.strides[0] > 0 else np.ascontiguousarray(plain)


def _slope(image: Counts) -> float:
    """Return the mean brightness slope along the first axis, counts per pixel."""
    band = max(1, min(16, image.shape[0] // 4))
    rise = float(image[-band:].mean(dtype=np.float64)) - float(image[:band].mean(dtype=np.float64))
    return float(rise / max(1, image.shape[0] - band))
