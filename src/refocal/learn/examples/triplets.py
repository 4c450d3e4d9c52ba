"""Sections with their neighbours for training: consecutive pages of stacks; the middle one is the truth."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refocal.core.errors import BadOptionError
from refocal.core.values import UNIT, Contrast, Counts, Example, Frames
from refocal.imaging.binning import binned
from refocal.learn.examples.tiles import hashes
from refocal.parts.formats import is_image_name, open_image

MARGIN = 76
"""A fold moves content by up to 75 px, which must come from real surroundings."""


class Triplets:
    """Random crops of `sections` consecutive pages of stacks, in either order.

    What the fold degradation tells is learned from, so the examples carry the hints `flow` (2, y, x), `lost` and
    `dark` (y, x): those of a flat section, which the degradation replaces.

    Parameters
    ----------
    paths
        Files and folders of stacks; files with fewer pages are passed over.
    scales
        Binning of y and x.
    patch
        Edge of the crops in pixels, without the margin.
    sections
        Pages of a crop; odd.

    Raises
    ------
    BadOptionError
        If `sections` is even or no stack is large enough.
    """

    def __init__(self, paths: Sequence[Path], scales: Sequence[int], patch: int, sections: int = 3) -> None:
        if sections % 2 == 0:
            raise BadOptionError(f"sections must be odd, so that there is a middle one, got {sections}")
        found = sorted(f for p in paths for f in ([p] if p.is_file() else p.rglob("*")) if is_image_name(f))
        self.patch, self.size, self.sections = patch, patch + 2 * MARGIN, sections
        self._stacks: list[tuple[Counts, int]] = []
        self.files: list[Path] = []
        for file in found:
            stack = _read(file, sections)
            fitting = [(stack, s) for s in scales if stack is not None and min(stack.shape[1:]) >= s * self.size]
            self._stacks += [(counts, s) for counts, s in fitting if counts is not None]
            self.files += [file] if fitting else []
        if not self._stacks:
            where = ", ".join(map(str, paths))
            raise BadOptionError(f"no stack of at least {sections} pages of {self.size}x{self.size} px under {where}")
        areas = np.array([counts.size / scale**2 for counts, scale in self._stacks]) ** 0.5
        self._weights = areas / areas.sum()

    def hashes(self) -> dict[str, str]:
        """Return {file name: SHA-256} of the stacks."""
        return hashes(self.files)

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a random crop, flipped along all axes and transposed at random."""
        stack, scale = self._stacks[int(rng.choice(len(self._stacks), p=self._weights))]
        extent = (self.sections, self.size * scale, self.size * scale)
        corner = [int(rng.integers(0, n - e + 1)) for n, e in zip(stack.shape, extent, strict=True)]
        crop = stack[tuple(slice(a, a + e) for a, e in zip(corner, extent, strict=True))]
        pixels = np.stack([binned(page, scale) for page in Contrast.of(stack.dtype).unit(crop)])
        flips = rng.integers(0, 2, 4)
        pixels = pixels[tuple(slice(None, None, 1 - 2 * int(flip)) for flip in flips[:3])]
        pixels = np.ascontiguousarray(pixels.swapaxes(1, 2) if flips[3] else pixels)
        shape, middle = pixels.shape[1:], self.sections // 2
        flat = {"flow": np.zeros((2, *shape), np.float32), "lost": np.zeros(shape, bool), "dark": np.zeros(shape, bool)}
        return Example(Frames(pixels, middle, UNIT), pixels[middle].copy(), flat)


def _read(path: Path, least: int) -> Counts | None:
    with open_image(path) as image:
        pages = image.info.shape[0]
        return np.stack([image.read(page) for page in range(pages)]) if pages >= least else None
