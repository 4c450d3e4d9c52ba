"""Bandwidth: the detector is slower than the scan and smears along the fast axis."""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from refocal.degradations._draw import Range, check_range, draw, with_pixels
from refocal.values import Example

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
        width = pixels.shape[2]
        # What lies this far back counts less than a thousandth; beyond the border the row is mirrored.
        pad = int(np.ceil(np.log(1e-3) / np.log(a))) + 1 if a > 0 else 0
        padded = np.pad(pixels, [(0, 0), (0, 0), (pad, pad)], mode="symmetric")
        n = fft.next_fast_len(padded.shape[2], real=True)
        omega = 2 * np.pi * fft.rfftfreq(n)
        response = (1 - a) / (1 - a * np.exp(-1j * omega))
        if not self.delayed:
            response *= np.exp(1j * omega * a / (1 - a))
        seen = fft.irfft(fft.rfft(padded, n) * response.astype(np.complex64), n)[..., pad : pad + width]
        noise = float(example.hints.get("noise", 0.0)) * float(np.sqrt((1 - a) / (1 + a)))
        return with_pixels(example, seen, noise=noise, memory=a)
