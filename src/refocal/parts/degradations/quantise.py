"""The analogue-to-digital converter: gain, offset, clipping and rounding."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["Quantise"]


@dataclass(frozen=True, slots=True)
class Quantise:
    """Scale by `gain`, shift by `offset` (grey levels of 255), clip to the range and round to `bits`.

    Gain and offset are faults of the detector; the truth keeps its contrast, so keep them at 1 and 0 in training.
    """

    bits: int = 8
    gain: Range = 1.0
    offset: Range = 0.0

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        if not 1 <= self.bits <= 16:
            raise ValueError(f"bits must be within 1..16, got {self.bits}")
        check_range("gain", self.gain, 0.01, 100)
        check_range("offset", self.offset, -255, 255)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Digitise every frame."""
        levels = np.float32(2**self.bits - 1)
        gain, offset = np.float32(draw(self.gain, rng)), np.float32(draw(self.offset, rng) / 255)
        scaled = np.rint((example.frames.counts * gain + offset) * levels)
        return with_pixels(example, np.clip(scaled, 0, levels) / levels)
