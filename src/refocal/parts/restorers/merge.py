"""Merge: registered frames to one without learning, and what restores single images after it: the baselines of bursts.

The mean of n frames has 1 / sqrt(n) of their noise and the mean of their blurs. The median tolerates bad frames. The
best frame is the one with the most detail. Shift-and-add first corrects the residual shifts.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import cv2
import numpy as np

from refocal.core import registry
from refocal.core.values import UNIT, Frames, Pixels, Reach, Restored, Restorer
from refocal.parts.restorers._valid_frames import seen

__all__ = ["Merge"]

_WAYS = ("mean", "median", "best", "shift_and_add")
_FINE_PX, _COARSE_PX = 1.0, 3.0
_FARTHEST_PX, _SMALLEST_PX = 2.0, 32


class Merge:
    """Merge frames to one image, then restore that.

    Parameters
    ----------
    by
        `mean`, `median`, `best` (one frame, the one with the most detail of 1 to 3 px), or `shift_and_add` (the mean
        after moving frames by up to 2 px, to a fraction of a pixel, onto the target).
    then
        Kind of a restorer of single images that gets the merged one, e.g. `wiener`, and its `options`.
    """

    def __init__(
        self,
        by: Literal["mean", "median", "best", "shift_and_add"] = "mean",
        then: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        if by not in _WAYS:
            raise ValueError(f"by must be one of {', '.join(_WAYS)}, got {by!r}")
        self.by = by
        self._then: Restorer | None = None if then is None else registry.make("restorers", then, **(options or {}))
        self.reach = Reach() if self._then is None else self._then.reach

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Merge each of the bursts.

        Raises
        ------
        UnsupportedError
            If no frame of a burst is valid.
        """
        return [self._one(frames) for frames in batch]

    def _one(self, frames: Frames) -> Restored:
        merged = self._merged(seen(frames))
        if self._then is not None:
            merged = self._then([Frames(merged[None], 0, UNIT, pixel_nm=frames.pixel_nm)])[0].counts
        return Restored(frames.contrast.counts(merged, frames.counts.dtype), contrast=frames.contrast)

    def _merged(self, planes: Pixels) -> Pixels:
        if self.by == "median":
            middle: Pixels = np.median(planes, axis=0)
            return middle
        if self.by == "best":
            sharpest: Pixels = max(planes, key=_detail).copy()
            return sharpest
        if self.by == "shift_and_add":
            planes = np.stack([planes[0], *(_moved(plane, planes[0]) for plane in planes[1:])])
        mean: Pixels = planes.mean(0, dtype=np.float32)
        return mean


def _detail(plane: Pixels) -> float:
    fine, coarse = (cv2.GaussianBlur(plane, (0, 0), sigma) for sigma in (_FINE_PX, _COARSE_PX))
    return float(np.var(fine - coarse))


def _moved(plane: Pixels, target: Pixels) -> Pixels:
    """Move a frame onto the target; one that is too small, or seems to lie far away, stays."""
    if min(plane.shape) < _SMALLEST_PX:
        return plane
    window = cv2.createHanningWindow(plane.shape[::-1], cv2.CV_32F)
    # Copies: phaseCorrelate multiplies the window into what it is given.
    there, here = (cv2.GaussianBlur(image, (0, 0), 1.5) for image in (target, plane))
    (x, y), _ = cv2.phaseCorrelate(there, here, window)
    if not np.hypot(x, y) <= _FARTHEST_PX:
        return plane
    warp = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved: Pixels = cv2.warpAffine(
        plane, warp, plane.shape[::-1], flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return moved
