"""Sampling frames at displaced positions: what a beam that is not where it should be records.

A displacement is (2, y, x) in px, in the order (y, x): the pixel p records the specimen at p + displacement(p). The
hint `displacement_px` is the sum of all of them so far, (frame, 2, y, x), so that seen(p) = truth(p + displacement).
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from refocal.core.values import Example, Pixels
from refocal.parts.degradations._draw import with_pixels

Displacement = NDArray[np.float32]


def displaced(example: Example, displacements: NDArray[np.floating]) -> Example:
    """Return the example with every frame sampled at (frame, 2, y, x) displacements, by cubic splines."""
    fields: Displacement = displacements.astype(np.float32)
    frames = example.frames.counts
    seen = np.stack([sample(image, field) for image, field in zip(frames, fields, strict=True)])
    before = example.hints.get("displacement_px")
    if before is not None:
        moved = [[sample(axis, f, 1) for axis in b] for b, f in zip(before, fields, strict=True)]
        fields = fields + np.asarray(moved, np.float32)
    return with_pixels(example, seen, displacement_px=fields)


def sample(image: Pixels, displacement: Displacement, order: Literal[1, 3] = 3) -> Pixels:
    """Return (y, x) pixels at p + displacement(p); beyond the border the image is mirrored."""
    if not displacement.any():
        return image.copy()
    height, width = image.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    seen: Pixels = np.empty_like(image)
    where = np.stack([y + displacement[0], x + displacement[1]])
    ndimage.map_coordinates(image, where, output=seen, order=order, mode="mirror")
    return seen


def along(angle_deg: float, length: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return (2, y, x) displacements of (y, x) lengths in one direction, degrees from x towards y."""
    turn = np.deg2rad(angle_deg)
    return np.stack([np.sin(turn) * length, np.cos(turn) * length])
