"""Training examples: crops of sharp tiles, degraded on the fly.

The tiles stay in memory as they are on disk (8 bit), and every example is a pure function of (seed, step, index), so
that a run that resumes draws what the uninterrupted run would have drawn.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from refocal.errors import BadOptionError, UnsupportedError
from refocal.formats import is_image_name, open_image
from refocal.values import UNIT, Contrast, Counts, Degradation, Example, Frames, Pixels

MARGIN = 20  # px of real surroundings on every side, so that a crop's border is not made of mirrored tissue


class SharpTiles:
    """Every page of every image under `paths`, as unit-contrast crops at one of several binnings.

    Raises
    ------
    BadOptionError
        If there is no image, or none as large as a crop.
    """

    def __init__(self, paths: Sequence[Path], scales: Sequence[int], patch: int) -> None:
        self.files = sorted(f for p in paths for f in ([p] if p.is_file() else p.rglob("*")) if is_image_name(f))
        self.patch = patch
        self.size = patch + 2 * MARGIN
        self._pages: list[tuple[Counts, int]] = []
        weights: list[float] = []
        for file in self.files:
            fitting = [(page, s) for page in _read(file) for s in scales if min(page.shape) >= s * self.size]
            # The square root of a file's area keeps one huge file, or a stack of a thousand pages, from being all.
            area = sum(page.size / s**2 for page, s in fitting)
            weights += [page.size / s**2 / area**0.5 for page, s in fitting]
            self._pages += fitting
        if not self._pages:
            where = ", ".join(map(str, paths))
            raise BadOptionError(f"no image of at least {self.size}x{self.size} px under {where}; give sharp tiles")
        self._weights = np.array(weights) / sum(weights)

    def hashes(self) -> dict[str, str]:
        """Return {file name: SHA-256} of the files."""
        return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in self.files}

    def crop(self, rng: np.random.Generator) -> Pixels:
        """Return a random crop of (patch + 2 margin) px, flipped and transposed at random."""
        page, scale = self._pages[int(rng.choice(len(self._pages), p=self._weights))]
        edge = self.size * scale
        y, x = (int(rng.integers(0, n - edge + 1)) for n in page.shape)
        pixels = Contrast.of(page.dtype).unit(page[y : y + edge, x : x + edge])
        if scale > 1:
            pixels = pixels.reshape(self.size, scale, self.size, scale).mean((1, 3))
        flips = rng.integers(0, 2, 3)
        pixels = pixels[:: 1 - 2 * int(flips[0]), :: 1 - 2 * int(flips[1])]
        return np.ascontiguousarray(pixels.T if flips[2] else pixels)


def _read(path: Path) -> list[Counts]:
    with open_image(path) as image:
        return [image.read(page) for page in range(image.info.shape[0])]


def draw_examples(
    tiles: SharpTiles,
    degradation: Degradation,
    count: int,
    seed: Sequence[int],
    contrast_jitter: float = 0.0,
    invert: float = 0.0,
) -> list[Example]:
    """Draw `count` examples of tiles.patch px; the same seed gives the same examples.

    Raises
    ------
    UnsupportedError
        If the degradation returns pixels that are not finite.
    """
    return [
        _example(tiles, degradation, np.random.default_rng([*seed, i]), contrast_jitter, invert) for i in range(count)
    ]


def _example(
    tiles: SharpTiles, degradation: Degradation, rng: np.random.Generator, contrast_jitter: float, invert: float
) -> Example:
    truth = tiles.crop(rng)
    if rng.random() < invert:
        truth = 1 - truth
    if contrast_jitter:
        gain = np.float32(1 - contrast_jitter * rng.random())
        truth = truth * gain + np.float32((1 - gain) * rng.random())
    seen = degradation(Example(Frames(truth[None], contrast=UNIT), truth), rng)
    if not np.isfinite(seen.frames.counts).all():
        raise UnsupportedError(f"the degradation made pixels that are not finite; hints: {sorted(seen.hints)}")
    inner = slice(MARGIN, -MARGIN)
    return Example(Frames(seen.frames.counts[:, inner, inner]), truth[inner, inner])
