"""Wiener deconvolution with a known point-spread function.

    restored = conj(H) S / (|H|^2 S + N) blurred

for each spatial frequency: transfer function H, power S of the sharp image and N of the noise. It is the best linear
restorer if all three are right; the oracle, with the true kernel and the true spectrum, bounds what filters can do.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Frames, Pixels, Reach, Restored
from refocal.parts.restorers import _classical

__all__ = ["Wiener"]


class Wiener:
    """Divide by the transfer function where signal beats noise.

    Parameters
    ----------
    sigma_px
        Standard deviation of the Gaussian blur, pixels; not used with a kernel.
    noise
        Standard deviation of the white noise, contrast units.
    kernel
        The true (y, x) kernel, if it is known.
    truth
        The sharp (y, x) image in contrast units, for the oracle: its power spectrum is used, nothing else. Without it
        the power is taken to fall with the square of the frequency and to add up to the variance of the image.
    rings
        Average the true power over rings of equal frequency: the spectrum of such tissue, which is what the theory
        asks for. Without it the power of each single frequency of this very image is used, which no other image has.
    """

    def __init__(
        self,
        sigma_px: float = 1.5,
        noise: float = 0.02,
        kernel: Sequence[Sequence[float]] | None = None,
        truth: Sequence[Sequence[float]] | Pixels | None = None,
        rings: bool = True,
    ) -> None:
        if not 0 < noise < 10:
            raise ValueError(f"noise must lie between 0 and 10 contrast units, got {noise}")
        self.noise = noise
        self._kernel = _classical.kernel_of(kernel, sigma_px)
        self._truth = None if truth is None else np.asarray(truth, np.float32)
        self._rings = rings
        self._margin = 2 * max(self._kernel.shape)
        self.reach = Reach(halo=self._margin)

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Deconvolve the target image of each of the frames."""
        return _classical.each(batch, self._restore)

    def _restore(self, image: Pixels) -> NDArray[np.floating]:
        mean = image.mean(dtype=np.float64)
        padded = _classical.mirror((image - mean).astype(np.float32), self._margin)
        signal = self._power(padded)
        h = _classical.transfer(self._kernel, (padded.shape[0], padded.shape[1]))
        gain = np.conj(h) * signal / (np.abs(h) ** 2 * signal + self.noise**2)
        restored = np.fft.irfft2(gain * np.fft.rfft2(padded), padded.shape)
        return _classical.crop(restored + mean, self._margin, image.shape)

    def _power(self, padded: Pixels) -> NDArray[np.float64]:
        """Return the expected power per frequency in the half plane, in units in which white noise has its variance."""
        if self._truth is not None:
            truth = _classical.mirror(self._truth - self._truth.mean(), self._margin)
            if truth.shape != padded.shape:
                raise ValueError(f"the truth has shape {self._truth.shape}, which is not that of the image")
            measured: NDArray[np.float64] = np.abs(np.fft.rfft2(truth)) ** 2 / truth.size
            return _over_rings(measured, truth.shape) if self._rings else measured
        height, width = padded.shape
        fy, fx = np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None]
        square = fy**2 + fx**2
        square[0, 0] = 1 / max(height, width) ** 2
        fall = 1 / square
        variance = max(float(padded.var(dtype=np.float64)) - self.noise**2, 1e-8)
        expected: NDArray[np.float64] = (fall * (variance / fall.mean()))[:, : width // 2 + 1]
        return expected


def _over_rings(power: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Average the power in a half plane over rings one step of the coarser frequency axis wide."""
    fy, fx = np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None]
    ring = (np.hypot(fy, fx) * min(shape)).round().astype(int)
    sums = np.bincount(ring.ravel(), power.ravel())
    mean: NDArray[np.float64] = sums / np.maximum(np.bincount(ring.ravel()), 1)
    spread: NDArray[np.float64] = mean[ring]
    return spread
