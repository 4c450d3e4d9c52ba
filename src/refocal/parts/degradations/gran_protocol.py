"""The degradation of the GRAN paper, exactly as printed, for comparison."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations import _psf
from refocal.parts.degradations._draw import with_pixels

__all__ = ["GranProtocol"]


@dataclass(frozen=True, slots=True)
class GranProtocol:
    """A 25x25 Gaussian of sigma 1.6 that sums to one, then N(0, 2^2) on the 0-255 scale (GRAN, section 4.1).

    Physically this is the wrong order for an image that already carries noise: it teaches a network that input
    noise is smooth. `round_to_8_bit` (on) also rounds and clips, as a file on disk would be.
    """

    round_to_8_bit: bool = True

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Blur every frame, then add noise."""
        kernel = _psf.gaussian(np.eye(2) * 1.6**2, radius=12)
        pixels = _psf.convolve(example.frames.counts, kernel)
        pixels += rng.standard_normal(pixels.shape, np.float32) * np.float32(2 / 255)
        if self.round_to_8_bit:
            pixels = np.clip(np.rint(pixels * 255), 0, 255).astype(np.float32) / np.float32(255)
        return with_pixels(example, pixels, sigma_px=1.6, noise=2.0, kernel=kernel)
