"""The noise of good tiles, and the tiles without it."""

import cv2
import numpy as np
from scipy import fft

from refocal.values import Pixels

_BLOCK, _STRIDE, _CUT = 8, 3, 2.7
_SAMPLE_PX = 1024


def noise_of(unit: Pixels, memory: float = 0.0) -> float:
    """Return the noise of a sharp image: what is left of it where planes and straight edges are taken away.

    The median absolute response to [1 -2 1] x [1 -2 1], whose gain for white noise is 6 (Immerkaer 1996); the median
    passes over tissue that responds, too. Noise of the one-pole `memory` a along x responds less, 6 - 8a + 2a^2
    to 6.
    """
    kernel = np.outer([1, -2, 1], [1, -2, 1]).astype(np.float32)
    response = cv2.filter2D(np.asarray(unit, np.float32), -1, kernel)[1:-1, 1:-1]
    gain = 6 * float(np.sqrt((6 - 8 * memory + 2 * memory**2) / 6))
    return float(np.median(np.abs(response))) / 0.6745 / gain


def memory_of(unit: Pixels) -> float:
    """Return how much the noise is correlated along the fast axis x beyond that along y, 0 to 0.8.

    Correlations at a distance of one pixel of what denoising takes away.
    """
    part = unit[:_SAMPLE_PX, :_SAMPLE_PX]
    rest = part - denoised(part, noise_of(part))
    power = float((rest**2).mean())
    if power <= 0:
        return 0.0
    along_x, along_y = float((rest[:, 1:] * rest[:, :-1]).mean()), float((rest[1:] * rest[:-1]).mean())
    return min(max((along_x - along_y) / power, 0.0), 0.8)


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
