"""Richardson-Lucy deconvolution with a known point-spread function (Richardson 1972, Lucy 1974).

    estimate <- estimate * K' (image / K estimate)

with the kernel K and its mirror K'. It maximises the Poisson likelihood and keeps the result positive; too many
iterations fit the noise.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Frames, Pixels, Reach, Restored
from refocal.parts.restorers import _classical

__all__ = ["RichardsonLucy"]


class RichardsonLucy:
    """Deconvolve by a number of multiplicative corrections.

    Parameters
    ----------
    sigma_px
        Standard deviation of the Gaussian blur, pixels; not used with a kernel.
    iterations
        How many corrections, 1 to 1000.
    kernel
        The true (y, x) kernel, if it is known.
    """

    def __init__(
        self, sigma_px: float = 1.5, iterations: int = 20, kernel: Sequence[Sequence[float]] | None = None
    ) -> None:
        if not 1 <= iterations <= 1000:
            raise ValueError(f"iterations must lie between 1 and 1000, got {iterations}")
        self.iterations = iterations
        self._kernel = _classical.kernel_of(kernel, sigma_px)
        self._margin = 2 * max(self._kernel.shape)
        # Strictly it reaches two kernels an iteration; further than this it is rounding.
        self.reach = Reach(halo=self._margin)

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Deconvolve the target image of each of the frames."""
        return _classical.each(batch, self._restore)

    def _restore(self, image: Pixels) -> NDArray[np.floating]:
        # Counts are light on a dark ground; what a contrast puts below zero is lifted for the while.
        lift = min(0.0, float(image.min()))
        padded = _classical.mirror(image - np.float32(lift), self._margin).astype(np.float64)
        h = _classical.transfer(self._kernel, (padded.shape[0], padded.shape[1]))
        estimate = np.full_like(padded, max(padded.mean(), 1e-9))  # any flat start leads to the same first estimate
        for _ in range(self.iterations):
            blurred = _filter(estimate, h)
            ratio = np.divide(padded, blurred, out=np.ones_like(padded), where=blurred > 1e-9)
            estimate *= np.maximum(_filter(ratio, np.conj(h)), 0)
        return _classical.crop(estimate, self._margin, image.shape) + lift


def _filter(image: NDArray[np.float64], h: NDArray[np.complex128]) -> NDArray[np.float64]:
    filtered: NDArray[np.float64] = np.fft.irfft2(np.fft.rfft2(image) * h, image.shape)
    return filtered
