"""Stripes: each row has its own gain and offset."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations import _rows
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["Stripes"]


@dataclass(frozen=True, slots=True)
class Stripes:
    """Scale and shift the rows by AR(1) noise of row-to-row `correlation`.

    `offset` is the standard deviation of the shift in grey levels of 255, `gain` that of the factor. The hint
    `row_offset` is (frame, y) in contrast units, `row_gain` likewise.
    """

    offset: Range = (0.0, 3.0)
    gain: Range = (0.0, 0.01)
    correlation: Range = (0.0, 0.5)

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("offset", self.offset, 0, 255)
        check_range("gain", self.gain, 0, 0.5)
        check_range("correlation", self.correlation, 0, 0.999)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Change the rows of every frame."""
        offset, gain, correlation = (draw(v, rng) for v in (self.offset, self.gain, self.correlation))
        rows = example.frames.counts.shape[:2]
        offsets = (offset / 255 * _rows.noise(rows, correlation, rng)).astype(np.float32)
        gains = (1 + gain * _rows.noise(rows, correlation, rng)).astype(np.float32)
        pixels = example.frames.counts * gains[:, :, None] + offsets[:, :, None]
        return with_pixels(example, pixels, row_offset=offsets, row_gain=gains)
