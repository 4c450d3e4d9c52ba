"""Amplifier noise: additive, white, independent of the signal."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["GaussianNoise"]


@dataclass(frozen=True, slots=True)
class GaussianNoise:
    """Add N(0, sigma^2) with `sigma` in grey levels of 255 (a number or a range, drawn log-uniformly)."""

    sigma: Range = 2.0

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("sigma", self.sigma, 0, 255)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Add noise to every frame."""
        low = self.sigma if isinstance(self.sigma, int | float) else self.sigma[0]
        sigma = draw(self.sigma, rng, log=low > 0)
        pixels = example.frames.counts
        noise = rng.standard_normal(pixels.shape, np.float32) * np.float32(sigma / 255)
        before = float(example.hints.get("noise", 0.0))
        return with_pixels(example, pixels + noise, noise=float(np.hypot(before, sigma)))
