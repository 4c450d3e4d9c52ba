"""Shot noise: counting of electrons, Poisson or super-Poisson."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["ShotNoise"]


@dataclass(frozen=True, slots=True)
class ShotNoise:
    """Count `electrons` per pixel at white (contrast 1), with a variance of `fano` times the mean.

    The secondary-electron cascade is super-Poisson (Fano factor 1 to 2). The noise at mid grey is
    255 sqrt(0.5 fano / electrons) grey levels: 30 to 2000 electrons make 33 to 4.
    """

    electrons: Range = (30.0, 2000.0)
    fano: Range = 1.0

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("electrons", self.electrons, 1, 1e9)
        check_range("fano", self.fano, 1, 100)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Count every pixel of every frame."""
        electrons, fano = draw(self.electrons, rng, log=True), draw(self.fano, rng)
        pixels = example.frames.counts
        # Poisson counts of n / fano packets of fano electrons: mean n, variance fano n.
        packets = rng.poisson(np.maximum(pixels, 0) * (electrons / fano))
        counted = packets.astype(np.float32) * np.float32(fano / electrons)
        noise = 255 * np.sqrt(max(float(pixels.mean()), 0.0) * fano / electrons)
        before = float(example.hints.get("noise", 0.0))
        return with_pixels(example, counted, noise=float(np.hypot(before, noise)))
