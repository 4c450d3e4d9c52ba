"""Fourier ring correlation: up to which frequency two images agree; higher is better."""

import numpy as np

from refocal.core.values import Pixels
from refocal.parts.metrics._pair import pair

__all__ = ["frc"]

_THRESHOLD = 1 / 7


def frc(got: Pixels, truth: Pixels) -> float:
    """Return the spatial frequency, cycles/px, at which the ring correlation of two (y, x) images falls below 1/7.

    0.5 (Nyquist) where it never does, 0 where it is below from the start. Both images are centred and tapered by a Hann
    window; rings are one frequency step of the shorter side wide. 1/7 is the usual threshold of electron microscopy
    (Rosenthal & Henderson 2003: 0.143). Raises `BadOptionError` if the shapes differ or a side is below 16 px.
    """
    a, b = pair(got, truth, smallest=16)
    height, width = a.shape
    taper = np.outer(np.hanning(height), np.hanning(width))
    f, g = (np.fft.rfft2((image - image.mean()) * taper) for image in (a, b))
    side = min(height, width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None, :])
    ring = np.minimum(np.rint(radius * side).astype(int), side // 2 + 1).ravel()

    def total(values: np.ndarray) -> np.ndarray:
        return np.bincount(ring, values.ravel())[1 : side // 2 + 1]

    power = np.sqrt(total(np.abs(f) ** 2) * total(np.abs(g) ** 2))
    cross = total((f * g.conj()).real)
    agreement = np.divide(cross, power, out=np.ones_like(cross), where=power > 0)
    below = np.flatnonzero(agreement < _THRESHOLD)
    return float(below[0]) / side if below.size else 0.5
