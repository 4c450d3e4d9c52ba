"""Where a frame shows the specimen and where the grid: the mask of Wieslander et al. 2021, and its erosion.

After windowing, the bars of the grid are 0. A stray dark pixel inside the tissue is not a bar: dark components below an
area are filled before the mask is eroded, which is done by a distance transform (two erosions by a disc of radius r are
a distance above 2 r). Beyond the border of the image the specimen is assumed to continue.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Counts

Mask = NDArray[np.bool_]
SPECK_PX = 1024


def tissue(windowed: Counts, clear_px: float = 0.0, speck_px: int = SPECK_PX) -> Mask:
    """Return the (y, x) mask of pixels that are farther than `clear_px` from any grid bar.

    Parameters
    ----------
    windowed
        (y, x); 0 is the grid.
    clear_px
        0 is the mask itself; Wieslander et al. take 256 before they cut training crops of 128.
    speck_px
        Dark components of fewer pixels are tissue; so are bright ones of fewer pixels grid.
    """
    inside = ~_large(windowed == 0, speck_px)
    inside = _large(inside, speck_px)
    return inside if clear_px <= 0 else _distance(inside) > clear_px


def _large(mask: Mask, least_px: int) -> Mask:
    """Keep the connected components of at least `least_px` pixels."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    large = np.zeros(count, np.bool_)
    large[1:] = stats[1:, cv2.CC_STAT_AREA] >= least_px
    kept: Mask = large[labels]
    return kept


def _distance(inside: Mask) -> NDArray[np.float32]:
    if inside.all():
        return np.full(inside.shape, np.inf, np.float32)
    distance: NDArray[np.float32] = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return distance
