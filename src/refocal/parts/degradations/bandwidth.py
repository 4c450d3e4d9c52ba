"""Bandwidth: the detector is slower than the scan and smears along the fast axis."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from refocal.core.values import Example
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["Bandwidth"]


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Filter along x with the one pole `memory` a = exp(-dwell / time constant): y[n] = a y[n-1] + (1 - a) x[n].

    After shot noise this correlates the noise too. The filter's mean delay of a / (1 - a) px is taken out again, as
    scan generators are set to do, unless `delayed`.
    """

    memory: Range = (0.0, 0.6)
    delayed: bool = False

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("memory", self.memory, 0, 0.95)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Filter every row of every frame."""
        a = draw(self.memory, rng)
        pixels = example.frames.counts
        # A row and its mirror image make a circle without a jump, on which the filter is exact.
        circle = np.concatenate([pixels, pixels[..., ::-1]], axis=2)
        n = circle.shape[2]
        omega = 2 * np.pi * fft.rfftfreq(n)
        response = (1 - a) / (1 - a * np.exp(-1j * omega))
        if not self.delayed:
            response *= np.exp(1j * omega * a / (1 - a))
        seen = fft.irfft(fft.rfft(circle) * response.astype(np.complex64), n)[..., : n // 2]
        noise = float(example.hints.get("noise", 0.0)) * float(np.sqrt((1 - a) / (1 + a)))
        return with_pixels(example, seen, noise=noise, memory=a)
