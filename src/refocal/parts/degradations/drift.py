"""Drift: the specimen creeps while the beam scans, and settles at the start."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations import _warp
from refocal.parts.degradations._draw import Range, check_range, draw

__all__ = ["Drift"]


@dataclass(frozen=True, slots=True)
class Drift:
    """Shear and stretch each frame by `drift_px`, the path of the specimen during the frame.

    A pixel is exposed for nanoseconds, so drift distorts and does not blur. The middle of the frame stays in place.
    The stage's settling adds `settle_px exp(-row / settle_rows)` in a direction of its own. The hint
    `displacement_px` holds what was done.
    """

    drift_px: Range = (0.0, 10.0)
    settle_px: Range = (0.0, 30.0)
    settle_rows: Range = (20.0, 300.0)
    angle_deg: Range = (0.0, 360.0)

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("drift_px", self.drift_px, 0, 1000)
        check_range("settle_px", self.settle_px, 0, 1000)
        check_range("settle_rows", self.settle_rows, 1, 1e6)
        check_range("angle_deg", self.angle_deg, -360, 360)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Distort every frame, each in its own way."""
        count, height, width = example.frames.counts.shape
        y, x = np.mgrid[:height, :width]
        time = (y + x / width) / height
        fields = []
        for _ in range(count):
            field = _warp.along(draw(self.angle_deg, rng), draw(self.drift_px, rng) * (time - time.mean()))
            settle, rows = draw(self.settle_px, rng), draw(self.settle_rows, rng)
            field += _warp.along(draw(self.angle_deg, rng), settle * np.exp(-y / rows))
            fields.append(field)
        return _warp.displaced(example, np.stack(fields))
