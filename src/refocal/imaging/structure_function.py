"""Structure functions of an image: how much two pixels differ as a function of their distance.

``D_d(l) = <(I(r) - I(r + l d))^2> / 2`` for a lag `l` along the direction `d`. White noise of variance n^2 adds n^2 to
every D at l >= 1, so increments D(2l) - D(l) are free of noise; their ratio is free of contrast and of polarity; blank
areas add the same to all D and drop out. What is left is the scaling exponent

    ``p_l = log2[(D(4l) - D(2l)) / (D(2l) - D(l))]``,

which is 2 where the image is smooth on the scale l (blurred) and below 1 where it is sharp tissue.

It is measured in blocks. A plane of brightness g.r adds (l g.d)^2 / 2, which is taken off each block, and blocks that
are more of a step than of anything else (the edge of a filled or missing area) are left out.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np

from refocal.core.values import Counts

# (x, y) steps; the angle of a direction is measured from x towards y.
X, Y, DOWN, UP = (1, 0), (0, 1), (1, 1), (1, -1)
Key = tuple[tuple[int, int], int]

_LAGS = {Y: (1, 2, 4, 8, 16, 32), X: (2, 4, 8, 16), DOWN: (2, 4, 8), UP: (2, 4, 8)}
KEYS: tuple[Key, ...] = tuple((direction, lag) for direction, lags in _LAGS.items() for lag in lags)
"""Lag 1 is measured along y alone: in a scanning microscope noise is correlated along the fast axis x."""

_NATIVE = (np.uint8, np.uint16, np.int16, np.float32)


@dataclass(frozen=True, slots=True)
class Structure:
    """Structure function of one image, counts^2; absent where the image is not more than twice the lag wide."""

    values: dict[Key, float]
    shading: float = math.nan
    """Exponent at lag 8 along y before planes are taken off; 2 for shading, with or without noise.

    NaN where most of the structure is finer than 8 px: what is left to measure at lag 8 is chance then.
    """

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
    """Measure the structure function of a (y, x) image in four directions, block by block, planes taken off."""
    image = _plain(image)
    blocks = _blocks(image)
    keys = [key for key in KEYS if _fits(key, min(b.shape[0] for b in blocks), min(b.shape[1] for b in blocks))]
    slopes = np.array([[_slope(block.T), _slope(block)] for block in blocks])
    raw = np.array([[_half_square(block, key) for key in keys] for block in blocks])
    steps = np.array([[key[1] * step for step in key[0]] for key in keys])
    values = raw - (slopes @ steps.T) ** 2 / 2
    values[values < 1e-6 * raw] = 0.0  # rounding of a plane
    # A step across a block rises by 4 to 6 times the root of D(8), tissue by 1 to 3 times.
    eight = values[:, [i for i, key in enumerate(keys) if key in ((X, 8), (Y, 8))]].max(1)
    rise = np.abs(slopes * [blocks[0].shape[1], blocks[0].shape[0]]).max(1)
    smooth = rise <= 3 * np.sqrt(np.maximum(eight, 0))
    telling = eight > 0.1 * eight.max()
    # Where that would take most of what there is to measure, it is no edge but the image itself.
    used = (
        smooth
        if smooth.any() and 2 * np.count_nonzero(telling & smooth) >= np.count_nonzero(telling)
        else np.ones_like(smooth)
    )
    means, shaded = (dict(zip(keys, v[used].mean(0).tolist(), strict=True)) for v in (values, raw))
    rough = Structure(shaded)
    return Structure(means, rough.exponent(8, Y) if rough.rise(Y, 8, 16) > rough.rise(Y, 1, 8) else math.nan)


def clipped(image: Counts) -> float:
    """Return the share of pixels at the lower or upper limit of an integer dtype, whichever is larger.

    Blocks that lie wholly at a limit are filling around an image, and do not count.
    """
    if image.dtype.kind not in "ui":
        return 0.0
    shares = []
    for limit in (np.iinfo(image.dtype).min, np.iinfo(image.dtype).max):
        at_limit = [(int(np.count_nonzero(block == limit)), block.size) for block in _blocks(image)]
        image_part = [(count, size) for count, size in at_limit if count < size] or [(0, 1)]
        shares.append(sum(count for count, _ in image_part) / sum(size for _, size in image_part))
    return max(shares)


def _plain(image: Counts) -> Counts:
    """Return the image in a dtype and memory order that OpenCV reads in place."""
    dtype = image.dtype.newbyteorder("=")
    plain = image.astype(dtype if dtype in _NATIVE else np.float32, copy=False)
    return plain if plain.strides[1] == plain.itemsize and plain.strides[0] > 0 else np.ascontiguousarray(plain)


def _blocks(image: Counts) -> list[Counts]:
    rows, columns = (_cuts(side) for side in image.shape)
    return [image[top:bottom, left:right] for top, bottom in pairwise(rows) for left, right in pairwise(columns)]


def _cuts(side: int) -> list[int]:
    """Return where a side is cut: into 1, 2, 4 or 8 equal parts of at least 128 px."""
    parts = max(n for n in (1, 2, 4, 8) if n == 1 or side >= 128 * n)
    return [side * i // parts for i in range(parts + 1)]


def _fits(key: Key, height: int, width: int) -> bool:
    (dx, dy), lag = key
    return height > 2 * lag * abs(dy) and width > 2 * lag * abs(dx)


def _half_square(block: Counts, key: Key) -> float:
    """Return half the mean squared difference of pixels one step apart, counts^2."""
    x, y = (key[1] * step for step in key[0])
    height, width = block.shape
    here = block[max(0, -y) : height - max(0, y), : width - x]
    there = block[max(0, y) : height - max(0, -y), x:]
    return float(cv2.norm(here, there, cv2.NORM_L2SQR)) / (2 * here.size)


def _slope(image: Counts) -> float:
    """Return the mean brightness slope along the first axis, counts per pixel."""
    band = max(1, min(16, image.shape[0] // 4))
    rise = float(image[-band:].mean(dtype=np.float64)) - float(image[:band].mean(dtype=np.float64))
    return float(rise / max(1, image.shape[0] - band))
