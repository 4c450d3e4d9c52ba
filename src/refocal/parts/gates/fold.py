"""Fold: sections with folds of the support film are worth restoring, all others stay as they are."""

from dataclasses import dataclass

import numpy as np

from refocal.core.errors import BadOptionError
from refocal.core.values import Frames, Grade
from refocal.imaging.fold_detection import Search

__all__ = ["Fold"]

_SMALLEST_PX = 32


@dataclass(frozen=True, slots=True)
class Fold:
    """Look for dark lines that cross a section, as folds of the support film do.

    Parameters
    ----------
    darkness
        Dark is below this share of the section's median, contrast units.
    half_px
        Narrowest half-width of a fold.
    length
        Least length, as a share of the shorter edge.
    confidence
        Surest fold below this: no fold.
    """

    darkness: float = 0.42
    half_px: float = 3.0
    length: float = 0.3
    confidence: float = 0.4

    def __post_init__(self) -> None:
        """Refuse impossible thresholds."""
        for name, high in (("darkness", 1.0), ("half_px", 1e4), ("length", 2.0), ("confidence", 1.0)):
            if not 0 < getattr(self, name) <= high:
                raise BadOptionError(f"{name} must lie above 0 and at most at {high:g}, got {getattr(self, name)}")

    def __call__(self, frames: Frames, /) -> Grade:
        """Grade the target frame: `restore` if it has folds, else `keep`."""
        image = frames.image
        height, width = image.shape
        if min(height, width) < _SMALLEST_PX:
            return Grade("keep", f"{width}x{height} px is too small to look for folds (needs {_SMALLEST_PX})")
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            return Grade("unreadable", "has counts that are NaN or infinite")
        if image.min() == image.max():
            if len(frames.counts) > 1:
                return Grade("restore", "blank: a missing section, to be made from its neighbours")
            return Grade("no_content", "constant: nothing to see")
        found = Search(self.darkness, self.half_px, self.length)(frames.contrast.unit(image))
        found = [line for line in found if line.confidence >= self.confidence]
        if not found:
            return Grade("keep", "no fold")
        told = ", ".join(
            f"{f.angle_deg:.1f}° half-width {f.half_px:.0f} px (confidence {f.confidence:.2f})" for f in found
        )
        return Grade("restore", f"{len(found)} fold{'s' if len(found) > 1 else ''}: {told}")
