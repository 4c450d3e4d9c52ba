"""The noise of good tiles, and the tiles without it."""

import math

import cv2
import numpy as np
from scipy import fft

from refocal.core.values import Pixels

_BLOCK, _STRIDE, _CUT = 8, 3, 2.7


def noise_of(unit: Pixels, memory: float = 0.0) -> float:
    """Return the noise of a sharp image: what remains when planes and straight edges are subtracted.

    The median absolute response to [1 -2 1] x [1 -2 1], whose gain for white noise is 6 (Immerkaer 1996); the median
    passes over tissue that responds, too. Noise of the one-pole `memory` a along x responds less, 6 - 8a + 2a^2
    to 6.
    """
    kernel = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32)
    response = cv2.filter2D(np.asarray(unit, np.float32), -1, kernel)[1:-1, 1:-1]
    gain = 6 * float(np.sqrt((6 - 8 * memory + 2 * memory**2) / 6))
    return float(np.median(np.abs(response))) / 0.6745 / gain


def memory_of(unit: Pixels) -> float:
    """Return the one-pole memory a of the noise along the fast axis x, 0 to 0.8.

    Second differences of white noise have 6 times its variance, along x (6 - 8a + 2a^2) times; tissue adds about the
    same to both, and their medians pass over its edges.
    """
    pixels = np.asarray(unit, np.float32)
    along_x, along_y = pixels[:, 2:] - 2 * pixels[:, 1:-1] + pixels[:, :-2], pixels[2:] - 2 * pixels[1:-1] + pixels[:-2]
    x, y = (float(np.median(np.abs(d))) ** 2 for d in (along_x, along_y))
    return min(max(2 - math.sqrt(1 + 3 * x / y), 0.0), 0.8) if y > 0 else 0.0


def denoised(unit: Pixels, noise: float) -> Pixels:
    """Return an image without its white noise: small cosines of sliding 8 x 8 blocks are set to zero, and averaged."""
    height, width = unit.shape
    wide = np.pad(unit, _BLOCK, mode="symmetric").astype(np.float32)
    total, count = np.zeros_like(wide), np.zeros_like(wide)
    for top in range(0, _BLOCK, _STRIDE):
        for left in range(0, _BLOCK, _STRIDE):
            rows, columns = (((n - o) // _BLOCK) * _BLOCK for n, o in zip(wide.shape, (top, left), strict=True))
            part = (slice(top, top + rows), slice(left, left + columns))
            blocks = wide[part].reshape(rows // _BLOCK, _BLOCK, columns // _BLOCK, _BLOCK)
            cosines = fft.dctn(blocks, axes=(1, 3), norm="ortho")
            keep = np.abs(cosines) > _CUT * noise
            keep[:, 0, :, 0] = True
            # Blocks that need few cosines are trusted more: no edge rings into them.
            weight = 1 / keep.sum((1, 3), keepdims=True, dtype=np.float32)
            total[part] += (fft.idctn(cosines * keep, axes=(1, 3), norm="ortho") * weight).reshape(rows, columns)
            count[part] += np.broadcast_to(weight, blocks.shape).reshape(rows, columns)
    inner = (slice(_BLOCK, _BLOCK + height), slice(_BLOCK, _BLOCK + width))
    quiet: Pixels = (total[inner] / np.maximum(count[inner], 1e-12)).astype(np.float32)
    return quiet
