"""Checks before grading: whether the tile is large enough, has finite pixels, has content, and is not clipped.

The order is part of the contract: a tile without content never raises an alarm.
"""

import math
from dataclasses import dataclass

from refocal.core.errors import BadOptionError
from refocal.core.values import Counts, Grade
from refocal.imaging.constant_frame import without_frame
from refocal.imaging.scan_faults import faults
from refocal.imaging.structure_function import Structure, Y, clipped, structure

SMALLEST_PX = 32


@dataclass(frozen=True, slots=True)
class Measured:
    """The structure of a tile that has content."""

    found: Structure
    noise: float
    """Standard deviation of the white noise, counts."""
    floor: float
    """Least increment of the structure function, counts^2, that white noise does not make."""
    faults: str
    """Faults of the scan, to be added to the reason; empty where there are none."""


@dataclass(frozen=True, slots=True)
class Screen:
    """Sort out what cannot be graded by its blur; the thresholds are those of the gate `sharpness`."""

    content: float = 0.02
    significance: float = 5.0
    saturated: float = 0.5

    def __post_init__(self) -> None:
        """Refuse thresholds below zero."""
        for name in ("content", "significance", "saturated"):
            if not getattr(self, name) >= 0:
                raise BadOptionError(f"{name} must not be negative, got {getattr(self, name)}")

    def __call__(self, image: Counts) -> Measured | Grade:
        """Measure a (y, x) image inside its constant frame, or say why there is no blur to be measured."""
        whole, image = image, without_frame(image)
        height, width = image.shape
        if min(height, width) < SMALLEST_PX:
            return Grade("keep", f"{width}x{height} px is too small to grade (needs {SMALLEST_PX}); left as it is")
        found = structure(image)
        if not found.finite:
            return Grade("unreadable", "has counts that are NaN or infinite")
        noise = white_noise(found)
        floor = self._floor(found, noise, image.size)
        blank = self._blank(found, noise, floor, integer=image.dtype.kind in "ui")
        if blank:
            return Grade("no_content", blank, noise=noise, structure=found)
        share = clipped(image)
        if share > self.saturated:
            return Grade(
                "retake",
                f"{share:.0%} of the pixels are clipped, over {self.saturated:.0%}",
                noise=noise,
                structure=found,
            )
        # Rows of one value without such columns are rows that were never written.
        wrong = faults(whole if image.shape[1] == whole.shape[1] else image)
        return Measured(found, noise, floor, f"; scan fault: {wrong}" if wrong else "")

    def _floor(self, found: Structure, noise: float, pixels: int) -> float:
        """Return the least increment, counts^2, that white noise does not make: Var[D(k) - D(l)] = 2 noise^4 / N.

        N is a quarter of the pixels, for noise that is correlated along the fast axis.
        """
        rounding = 1e-9 * abs(found.values[Y, 1])
        return max(self.significance * noise**2 * math.sqrt(8 / pixels), rounding)

    def _blank(self, found: Structure, noise: float, floor: float, *, integer: bool) -> str:
        """Return why there is nothing to grade, or an empty string."""
        rise = found.rise(Y, 1, 8)
        if not any(found.values.values()):
            return "constant, or a plain gradient"
        if not rise > max(floor, self.content * noise**2):
            return f"no content: {max(0.0, rise):.3g} counts² of structure under noise {noise:.3g}"
        if integer and rise < 1:
            return f"no content: {rise:.3g} counts² of structure, less than one count"
        # Tissue blurred by 25 px has an exponent of 1.9 at lag 8; above that it is shading, not blur.
        if found.shading > 1.9:
            return "no content: nothing but smooth shading"
        return ""


def white_noise(found: Structure) -> float:
    """Return the standard deviation of white noise, counts; exact from 1 px of blur on, below it an upper bound.

    A smooth image has D(l) = noise^2 + c l^2, so D(0) = D(1) - [D(2) - D(1)] / 3.
    """
    first = found.values[Y, 1]
    return math.sqrt(max(0.0, first - max(0.0, found.rise(Y, 1, 2)) / 3))
