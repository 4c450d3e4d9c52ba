"""Scan fault: a block of rows is shifted, constant, or was never written."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["ScanFault"]


@dataclass(frozen=True, slots=True)
class ScanFault:
    """Damage a block of `rows` rows of the target frame.

    `shifted` rows lie `shift_px` to one side, `constant` rows repeat one grey level, `missing` rows are 0 at the
    start or the end of the frame; `mixed` draws one. The hint `lost` is the (y, x) mask of the rows.
    """

    fault: Literal["shifted", "constant", "missing", "mixed"] = "mixed"
    rows: Range = (1.0, 40.0)
    shift_px: Range = (5.0, 100.0)

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("rows", self.rows, 1, 1e6)
        check_range("shift_px", self.shift_px, 0, 1e5)
        if self.fault not in ("shifted", "constant", "missing", "mixed"):
            raise ValueError(f"fault must be shifted, constant, missing or mixed, got {self.fault!r}")

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Damage the target frame."""
        pixels = example.frames.counts.copy()
        image = pixels[example.frames.target]
        height, width = image.shape
        fault = self.fault if self.fault != "mixed" else str(rng.choice(["shifted", "constant", "missing"]))
        count = min(round(draw(self.rows, rng)), height)
        start = int(rng.integers(0, height - count + 1))
        if fault == "missing":
            start = 0 if rng.random() < 0.5 else height - count
        block = slice(start, start + count)
        if fault == "shifted":
            way = round(draw(self.shift_px, rng)) * int(rng.choice([-1, 1]))
            period = max(2 * (width - 1), 1)
            place = (np.arange(width) + way) % period  # mirrored beyond the border: real rows go on there
            image[block] = image[block, np.minimum(place, period - place)]
        else:
            image[block] = image[block].mean() if fault == "constant" else 0
        lost = np.zeros(image.shape, np.bool_)
        lost[block] = True
        return with_pixels(example, pixels, lost=lost)
