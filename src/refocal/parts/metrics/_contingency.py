"""Which labels of a segmentation share pixels with which labels of the truth: the one table behind ARAND and VOI.

Labels are any integers (2**64 - 1 included): both images are renumbered first. Conventions decide which pixels count:

    ignore_truth   truth labels whose pixels do not count; (0,) for "unlabelled", () where 0 is a cell
    border_px      pixels this close to a label change of the truth (4 neighbours, same section) do not count. Pixels
                   on either side of a change are at distance 0; None counts every pixel. It dominates every score
    zero           what 0 in the segmentation means: `label`, one segment like any other, or `singletons`, every
                   such pixel a segment of its own
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from refocal.core.errors import BadOptionError
from refocal.core.values import Labels

Zero = Literal["label", "singletons"]
Sizes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Contingency:
    """Pixel counts, as float64: squares of the pixels of a large volume do not fit into integers."""

    both: Sizes
    """Size of every non-empty intersection of a segment and a cell."""
    cells: Sizes
    """Size of every truth label."""
    segments: Sizes
    """Size of every segment; singletons are in `both` and here, one entry each."""

    @property
    def total(self) -> float:
        """Number of pixels that count."""
        return float(self.cells.sum())


def contingency(
    got: Labels, truth: Labels, ignore_truth: Sequence[int], border_px: float | None, zero: Zero
) -> Contingency:
    """Count the pixels of two label images of one shape, (y, x) or (section, y, x).

    Raises
    ------
    BadOptionError
        If these are no label images of one shape, an option has no such value, or no pixel counts.
    """
    got, truth = np.asarray(got), np.asarray(truth)
    _check(got, truth, border_px, zero)
    held = np.iinfo(truth.dtype)
    ignored = [label for label in ignore_truth if held.min <= label <= held.max]
    counts = ~np.isin(truth, np.array(ignored, truth.dtype))
    if border_px is not None:
        counts &= away_from_borders(truth, border_px)
    if not counts.any():
        raise BadOptionError("no pixel of the truth counts: all are ignored labels or too close to a border")
    cell = np.unique(truth[counts], return_inverse=True)[1].ravel()
    names, segment = np.unique(got[counts], return_inverse=True)
    segment = segment.ravel()
    if zero == "singletons" and (alone := np.flatnonzero(got[counts] == 0)).size:
        segment[alone] = names.size + np.arange(alone.size)
        segment = np.unique(segment, return_inverse=True)[1].ravel()
    width = int(segment.max()) + 1
    both = np.unique(cell.astype(np.int64) * width + segment, return_counts=True)[1]
    return Contingency(
        both.astype(np.float64), np.bincount(cell).astype(np.float64), np.bincount(segment).astype(np.float64)
    )


def away_from_borders(truth: Labels, border_px: float) -> NDArray[np.bool_]:
    """Return where the nearest label change of the same section is further than `border_px` pixels away."""
    sections = truth if truth.ndim == 3 else truth[None]
    away = np.ones(sections.shape, bool)
    for section, far in zip(sections, away, strict=True):
        edge = np.zeros(section.shape, bool)
        for axis in (0, 1):
            a, b = ([slice(None), slice(None)] for _ in range(2))
            a[axis], b[axis] = slice(1, None), slice(None, -1)
            change = section[tuple(a)] != section[tuple(b)]
            edge[tuple(a)] |= change
            edge[tuple(b)] |= change
        if edge.any():
            far[:] = ndimage.distance_transform_edt(~edge) > border_px
    return away.reshape(truth.shape)


def _check(got: Labels, truth: Labels, border_px: float | None, zero: str) -> None:
    if got.shape != truth.shape or got.ndim not in (2, 3):
        raise BadOptionError(
            f"label images are (y, x) or (section, y, x) and of one shape, got {got.shape} and {truth.shape}"
        )
    if got.dtype.kind not in "iu" or truth.dtype.kind not in "iu":
        raise BadOptionError(f"labels are integers, got {got.dtype} and {truth.dtype}")
    if border_px is not None and not border_px >= 0:
        raise BadOptionError(f"border_px is None (off) or at least 0, got {border_px}")
    if zero not in ("label", "singletons"):
        raise BadOptionError(f"zero is 'label' or 'singletons', got {zero!r}")
