"""Cells in a volume: a 3-D net says which neighbours belong together, fragments of sections are merged into cells.

Funke et al. 2019, with the fragments of `funkelab/lsd` (Sheridan et al. 2022): a watershed of every section from the
maxima of the distance to its boundaries, then agglomeration by the affinities between fragments.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from refocal.core.values import Frames, Labels, Pixels
from refocal.parts.segmenters import _answers
from refocal.parts.segmenters._agglomerate import agglomerate, contacts

if TYPE_CHECKING:
    from torch import nn

__all__ = ["AffinityAgglomeration"]

_MEDIAN = "OneMinus<HistogramQuantileAffinity<RegionGraphType, 50, ScoreValue, 256>>"
_Z_HALO = 16
"""Sections on either side that can change an answer: two for each of the net's pairs of convolutions, and some more."""
_Z_CORE = 32


class AffinityAgglomeration:
    """Label the cells of all frames, taken as the sections of one volume.

    Parameters
    ----------
    model
        Path of a model file, or a net in memory; `affinity` with padding. Runs on PyTorch.
    threshold
        Two fragments are merged while the affinity between them is at least this.
    score
        What their affinity is: the `mean` over the contact, or its `median` (needs waterz).
    boundary
        A pixel is a boundary where the mean affinity along y and x is below this.
    smooth_px
        Distances are smoothed by a Gaussian of this width before their maxima are taken, or every bump is a seed.

    Raises
    ------
    UnknownPartError, BadModelError, MissingExtraError
        If there is no such model, it is another kind of net, or a package is missing.
    """

    nets: ClassVar[tuple[str, ...]] = ("affinity",)
    volume: ClassVar[bool] = True

    def __init__(
        self,
        model: "str | nn.Module",
        threshold: float = 0.5,
        score: Literal["mean", "median"] = "mean",
        boundary: float = 0.5,
        smooth_px: float = 1.0,
    ) -> None:
        if not 0 < threshold < 1 or not 0 < boundary < 1:
            raise ValueError(f"threshold and boundary lie between 0 and 1, got {threshold} and {boundary}")
        if score not in ("mean", "median"):
            raise ValueError(f"score is 'mean' or 'median', got {score!r}")
        if score == "median":
            import waterz  # noqa: F401  # missing packages are named before anything is computed
        self._graph = _answers.load(model, self.nets)
        self.threshold, self.score, self.boundary, self.smooth_px = threshold, score, boundary, smooth_px

    def __call__(self, frames: Frames, /) -> Labels:
        """Label the volume: (section, y, x), 0 is no cell."""
        affinities = self.affinities(frames.contrast.unit(frames.counts))
        return self.cells(affinities)

    def affinities(self, unit: Pixels) -> Pixels:
        """Return the affinities of (section, y, x) pixels: (3, section, y, x) in [0, 1]."""
        parts = []
        for start in range(0, len(unit), _Z_CORE):
            first, stop = max(0, start - _Z_HALO), min(len(unit), start + _Z_CORE)
            slab = unit[first : min(len(unit), stop + _Z_HALO)]
            found = _answers.by_tiles(slab, self._graph, tile_px=128)
            parts.append(found[:, start - first : stop - first])
        return _answers.probability(np.concatenate(parts, 1))

    def cells(self, affinities: Pixels) -> Labels:
        """Return the cells of (3, section, y, x) affinities, numbered from 1."""
        fragments = self.fragments(affinities)
        if self.score == "median":
            return _median(affinities, fragments, self.threshold)
        pairs, sums, sizes = contacts(affinities, fragments)
        cell = agglomerate(int(fragments.max()) + 1, pairs, sums, sizes, self.threshold)
        return _from_one(cell[fragments])

    def fragments(self, affinities: Pixels) -> NDArray[np.int32]:
        """Return the fragments of each section, numbers unique over all sections; every pixel belongs to one."""
        labels = np.zeros(affinities.shape[1:], np.int32)
        last = 0
        for section, into in zip((affinities[1] + affinities[2]) / 2, labels, strict=True):
            inside = section >= self.boundary
            # A section without boundaries is as far from one as it is wide.
            far = ndimage.distance_transform_edt(inside) if not inside.all() else np.ones(section.shape)
            depth = ndimage.gaussian_filter(far.astype(np.float32), self.smooth_px)
            peaks = (ndimage.maximum_filter(depth, 5) == depth) & (inside if inside.any() else True)
            seeds, count = ndimage.label(peaks, np.ones((3, 3)))
            into[:] = watershed(-depth, seeds) + last
            last += count
        return labels


def _median(affinities: Pixels, fragments: Labels, threshold: float) -> Labels:
    import waterz

    with _silent():
        (cells,) = (
            found.copy()
            for found in waterz.agglomerate(
                np.ascontiguousarray(affinities, np.float32), [1 - threshold],
                fragments=fragments.astype(np.uint64), scoring_function=_MEDIAN, discretize_queue=256,
            )
        )  # fmt: skip
    return _from_one(cells)


def _from_one(labels: Labels) -> NDArray[np.int32]:
    numbers: NDArray[np.int32] = np.unique(labels, return_inverse=True)[1].astype(np.int32)
    return numbers.reshape(labels.shape) + np.int32(1)


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Keep waterz, which prints from C++, off standard output, where data go."""
    sys.stdout.flush()
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
