"""Whether a frame is good enough to be in a burst: blank, saturated, drowned in noise, or blurred beyond the others.

Blank and saturated are properties of one frame. How sharp a frame can be depends on the specimen, so blur is judged
against the frames of the same place. Everything is measured on the frame in its window, in contrast units.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from refocal.core.values import Contrast, Counts, Frames, Grade, Pixels
from refocal.imaging.binning import binned

_SATURATED = 0.02
_BLANK, _DROWNED = 0.012, 0.15
_BLURRED = 0.4
_COARSE = 4
_BIN = 8
_GRID = 0.02  # darker means are bars


@dataclass(frozen=True, slots=True)
class Quality:
    """What was measured on one frame."""

    level: float
    """Mean."""
    structure: float
    """Standard deviation of what is larger than 8 px, without the noise."""
    noise: float
    """Standard deviation of the noise of a pixel."""
    detail: float
    """Differences between neighbouring means of 4 px in the direction in which they are smaller, relative to
    `structure`; falls with motion."""
    saturated: float
    """Share of pixels at the largest count, where these are more than chance."""

    @property
    def fault(self) -> str:
        """Why the frame is hopeless by itself, or nothing."""
        if self.saturated > _SATURATED:
            return f"saturated: {self.saturated:.0%} of the pixels are at the largest count"
        if self.structure < _BLANK and self.structure < _DROWNED * max(self.noise, _BLANK):
            return f"blank: structures differ by {self.structure:.3f} of the window"
        if self.structure < _DROWNED * self.noise:
            return f"noise: {self.noise:.2f} of the window, structures {self.structure:.3f}"
        return ""


def measure(counts: Counts, window: Contrast) -> Quality:
    """Measure one (y, x) frame."""
    unit = np.clip(window.unit(counts), 0, 1)
    top = counts.max() if counts.size else 0
    at_top = float(np.mean(counts == top)) if counts.size and counts.min() < top else 1.0 * bool(top)
    means = binned(unit, _BIN)
    means = means[means > _GRID]
    noise = _noise(unit)
    # What is left of the noise in a mean of n pixels; a camera that smears it leaves up to twice as much.
    left = (2 * noise / _BIN) ** 2
    structure = float(np.sqrt(max(float(means.var()) - left, 0.0))) if means.size > 1 else 0.0
    return Quality(float(unit.mean()), structure, noise, _detail(unit, noise, structure), at_top)


def blurred(own: Quality, others: Sequence[Quality]) -> str:
    """Say why a frame is too blurred beside others of the same place, or nothing."""
    best = max((other.detail for other in others), default=0.0)
    return f"blurred: {own.detail / best:.0%} of the detail of its neighbours" if own.detail < _BLURRED * best else ""


def grade(frames: Frames) -> Grade:
    """Grade a burst by its target: a gate that gives up hopeless frames and has all others restored.

    Saturated are only frames of which no pixel is valid: in others white is what the window clipped, not the camera.
    """
    found = measure(frames.image, frames.contrast)
    if frames.valid is None or frames.valid.any():
        found = replace(found, saturated=0.0)
    noise = found.noise * (frames.contrast.high - frames.contrast.low)
    if found.fault.startswith("blank"):
        return Grade("no_content", found.fault, noise=noise)
    if found.fault:
        return Grade("retake", found.fault, noise=noise)
    return Grade("restore", f"burst of {len(frames.counts)}", noise=noise)


def _noise(unit: Pixels) -> float:
    """Estimate white noise from second differences along both axes (Immerkaer 1996), as a median of blocks."""
    laplace = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    rough = np.abs(cv2.filter2D(unit, -1, laplace, borderType=cv2.BORDER_REFLECT))
    blocks = binned(rough, 16) if min(unit.shape) >= 32 else rough
    return float(np.median(blocks) * np.sqrt(np.pi / 2) / 6)


def _detail(unit: Pixels, noise: float, structure: float) -> float:
    means = binned(unit, _COARSE)
    # Neighbours that are both beside the grid: the edge of a bar is no detail.
    inside = cv2.erode((means > _GRID).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0 if means.size else means > 0
    if np.count_nonzero(inside) < 9 or min(means.shape) < 3 or structure <= 0:
        return 0.0
    left = 2 * (1.5 * noise / _COARSE) ** 2
    steps = (np.diff(means, axis=0)[inside[1:]], np.diff(means, axis=1)[inside[:, 1:]])
    energies = [float(np.mean(step**2)) - left if step.size else 0.0 for step in steps]
    return float(np.sqrt(max(min(energies), 0.0))) / structure
