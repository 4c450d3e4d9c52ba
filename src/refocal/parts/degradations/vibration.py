"""Vibration: the beam and the specimen oscillate relative to each other during the scan."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Example
from refocal.parts.degradations import _warp
from refocal.parts.degradations._draw import Range, check_range, draw

__all__ = ["Vibration"]


@dataclass(frozen=True, slots=True)
class Vibration:
    """Displace each pixel by a sum of oscillations, sampled at the time at which the pixel is exposed.

    There is one swing at the mains frequency (0 for none) and `tones` at frequencies drawn log-uniformly; together
    they stay within `amplitude_px`. Row and pixel times follow from `dwell_ns` and `line_px`, the pixels that a line
    of the whole scan takes with its flyback (Cizmar, Vladar and Postek, arXiv:1006.0171). The hint
    `displacement_px` holds what was done.
    """

    amplitude_px: Range = (0.0, 2.0)
    frequency_hz: Range = (5.0, 300.0)
    tones: int = 3
    mains_hz: float = 50.0
    dwell_ns: float = 200.0
    line_px: int = 3128

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("amplitude_px", self.amplitude_px, 0, 100)
        check_range("frequency_hz", self.frequency_hz, 0.01, 1e6)
        check_range("tones", self.tones, 0, 100)
        check_range("mains_hz", self.mains_hz, 0, 1000)
        check_range("dwell_ns", self.dwell_ns, 1, 1e9)
        check_range("line_px", self.line_px, 1, 1e6)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Shake every frame, each in its own way."""
        count, height, width = example.frames.counts.shape
        amplitude = draw(self.amplitude_px, rng)
        y, x = np.mgrid[:height, :width]
        seconds = (y * max(self.line_px, width) + x) * self.dwell_ns * 1e-9
        fields = [self._swings(amplitude, seconds, rng) for _ in range(count)]
        return _warp.displaced(example, np.stack(fields))

    def _swings(self, amplitude: float, seconds: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.floating]:
        frequencies = [draw(self.frequency_hz, rng, log=True) for _ in range(self.tones)]
        frequencies += [self.mains_hz] if self.mains_hz else []
        field: NDArray[np.floating] = np.zeros((2, *seconds.shape))
        if frequencies:
            shares = amplitude * rng.dirichlet(np.ones(len(frequencies)))
            for frequency, share in zip(frequencies, shares, strict=True):
                angle, phase = draw((0.0, 180.0), rng), draw((0.0, 2 * np.pi), rng)
                field += _warp.along(angle, share * np.sin(2 * np.pi * frequency * seconds + phase))
        return field
