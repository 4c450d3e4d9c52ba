"""Cells section by section: a net draws cells and contours, a watershed fills the cells."""

from typing import TYPE_CHECKING, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.segmentation import watershed

from refocal.core.values import Frames, Labels, Pixels
from refocal.parts.segmenters import _answers

if TYPE_CHECKING:
    from torch import nn

__all__ = ["ContourWatershed"]


class ContourWatershed:
    """Label the cells of each section by itself.

    With foreground p and contour c of the net, m = p (1 - c). Seeds are the connected parts (8 neighbours) of m above
    `seed_level`; the watershed of -m grows them, and what stays smaller than `smallest_px` is given to its neighbours.
    The numbers were chosen on sharp images and stay the same whatever is segmented.

    Parameters
    ----------
    model
        Name of a shipped model, path of a model file, or a net in memory; `contour` or `dcan`.
    binning
        The net sees the image binned by this; its answer is enlarged again. A net knows cells of the pixel size of its
        training: 10 nm for contour-em.
    seed_level
        m inside a seed.
    seed_px
        Smallest seed, pixels.
    mask_level
        Pixels whose foreground is at most this belong to no cell; 0 gives every pixel to a cell, as in dense tissue.
    smallest_px
        Smallest cell, pixels.

    Raises
    ------
    UnknownPartError, BadModelError
        If there is no such model, or it is another kind of net.
    """

    nets: ClassVar[tuple[str, ...]] = ("contour", "dcan")
    volume: ClassVar[bool] = False

    def __init__(
        self,
        model: "str | nn.Module" = "contour-em",
        binning: int = 1,
        seed_level: float = 0.8,
        seed_px: int = 8,
        mask_level: float = 0.0,
        smallest_px: int = 32,
    ) -> None:
        if not 0 < seed_level < 1 or not 0 <= mask_level < 1:
            raise ValueError(f"levels lie between 0 and 1, got {seed_level} and {mask_level}")
        if min(seed_px, smallest_px) < 0 or binning < 1:
            raise ValueError(
                f"sizes must not be below 0 and binning not below 1, got {seed_px}, {smallest_px}, {binning}"
            )
        self.binning = binning
        self._graph = _answers.load(model, self.nets)
        self.seed_level, self.seed_px, self.mask_level, self.smallest_px = seed_level, seed_px, mask_level, smallest_px

    def __call__(self, frames: Frames, /) -> Labels:
        """Label every frame: (section, y, x) int32, numbers unique over all sections, 0 is no cell."""
        labels = np.zeros(frames.counts.shape, np.int32)
        last = 0
        for counts, into in zip(frames.counts, labels, strict=True):
            cells = self.cells(self.draw(frames.contrast.unit(counts)))
            into[:] = np.where(cells > 0, cells + last, 0)
            last += int(cells.max())
        return labels

    def draw(self, image: Pixels) -> Pixels:
        """Return foreground and contour of a (y, x) image in contrast units: (2, y, x), probabilities."""
        height, width = image.shape
        small = image
        if self.binning > 1:
            small = cv2.resize(image, None, fx=1 / self.binning, fy=1 / self.binning, interpolation=cv2.INTER_AREA)
        drawn = _answers.probability(_answers.by_tiles(small[None], self._graph))
        if self.binning == 1:
            return drawn
        return np.stack([cv2.resize(page, (width, height), interpolation=cv2.INTER_LINEAR) for page in drawn])

    def cells(self, drawn: Pixels) -> NDArray[np.int32]:
        """Return the cells of a (2, y, x) drawing: foreground and contour, probabilities."""
        inside = drawn[0] * (1 - drawn[1])
        seeds = _without_small(ndimage.label(inside > self.seed_level, np.ones((3, 3)))[0], self.seed_px)
        mask = drawn[0] > self.mask_level if self.mask_level else None
        cells = watershed(-inside, seeds, mask=mask)
        kept = _without_small(cells, self.smallest_px)
        if kept.max() > 0 and (kept == 0).any() and (cells > 0).any():
            small = np.setdiff1d(cells, kept)
            seeds[np.isin(seeds, small)] = 0
            cells = watershed(-inside, seeds, mask=mask)
        else:
            cells = kept
        found: NDArray[np.int32] = np.unique(np.append(cells.ravel(), 0), return_inverse=True)[1][:-1].astype(np.int32)
        return found.reshape(cells.shape)


def _without_small(labels: Labels, smallest_px: int) -> Labels:
    sizes = np.bincount(labels.ravel())
    small = sizes < smallest_px
    small[0] = False
    return np.where(small[labels], 0, labels)
