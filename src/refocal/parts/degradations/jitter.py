"""Line jitter: each row of the scan starts a little early or late."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations import _rows, _warp
from refocal.parts.degradations._draw import Range, check_range, draw

__all__ = ["Jitter"]


@dataclass(frozen=True, slots=True)
class Jitter:
    """Shift each row along x by AR(1) noise of standard deviation `shift_px` and row-to-row `correlation`.

    The hint `displacement_px` holds what was done.
    """

    shift_px: Range = (0.0, 0.5)
    correlation: Range = (0.0, 0.8)

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("shift_px", self.shift_px, 0, 100)
        check_range("correlation", self.correlation, 0, 0.999)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Shift the rows of every frame."""
        count, height, width = example.frames.counts.shape
        shift, correlation = draw(self.shift_px, rng), draw(self.correlation, rng)
        rows = shift * _rows.noise((count, height), correlation, rng)
        fields = np.zeros((count, 2, height, width), np.float32)
        fields[:, 1] = rows[:, :, None]
        return _warp.displaced(example, fields)
