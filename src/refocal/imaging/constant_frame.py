"""Frames of one value around an image, as alignment leaves them: they are no part of the specimen and are not graded.

An edge as steep as that of a frame looks like the sharpest of specimens, even where it is two pixels wide.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Counts
from refocal.imaging.no_data import filled

_RUN = 16
"""Pixels of one value in a row at the border, from which on they may belong to a frame."""
_MOST = 0.75
"""Where more of the image than this would be left out, the image itself is of one value."""


def trimmed(image: Counts) -> Counts:
    """Return a (y, x) image without the rows and columns of one value at its edges; one of one value as it is."""
    top, bottom, left, right = 0, image.shape[0], 0, image.shape[1]
    before = None
    while before != (top, bottom, left, right):
        before = (top, bottom, left, right)
        while top < bottom and _constant(image[top, left:right]):
            top += 1
        while top < bottom and _constant(image[bottom - 1, left:right]):
            bottom -= 1
        while left < right and top < bottom and _constant(image[top:bottom, left]):
            left += 1
        while left < right and top < bottom and _constant(image[top:bottom, right - 1]):
            right -= 1
    inside = image[top:bottom, left:right]
    return inside if inside.size > (1 - _MOST) * image.size else image


def without_frame(image: Counts) -> Counts:
    """Return a (y, x) image without its frame: straight edges cut off, oblique ones filled from beside them."""
    image = trimmed(image)
    values = {value for line in _borders(image) for value in _runs(line)}
    if not values:
        return image
    mask = np.zeros(image.shape, bool)
    for value in values:
        mask |= _touching(image == value)
    return image if mask.mean() > _MOST else filled(image, ~mask)


def _constant(line: Counts) -> bool:
    return bool((line == line[0]).all())


def _borders(image: Counts) -> tuple[Counts, ...]:
    return image[0], image[-1], image[:, 0], image[:, -1]


def _runs(line: Counts) -> list[float]:
    """Return the values that a line holds in runs of at least 16 pixels."""
    changes = np.flatnonzero(np.diff(line)) + 1
    starts, stops = np.r_[0, changes], np.r_[changes, len(line)]
    return [float(value) for value in np.unique(line[starts[stops - starts >= _RUN]])]


def _touching(same: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the areas that touch the border along at least 16 pixels."""
    _, labels = cv2.connectedComponents(same.astype(np.uint8), connectivity=4)
    at_border = np.bincount(np.concatenate(_borders(labels)), minlength=1)
    at_border[0] = 0
    wide = np.flatnonzero(at_border >= _RUN)
    return np.isin(labels, wide) if wide.size else np.zeros(same.shape, bool)
