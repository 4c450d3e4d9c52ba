"""Bursts for training: sharp tiles as many frames of one field, or recorded bursts with their stopped frame.

Sharp tiles are degraded, each frame in its own way. Recorded bursts are files of several pages, as
`refocal.learn.pairs.streams` writes them: first what the stopped microscope saw, then the frames, windowed to 8 bit.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from refocal.core.errors import BadOptionError
from refocal.core.values import UNIT, Contrast, Counts, Example, Frames
from refocal.imaging.grid_bars import tissue
from refocal.learn.examples.tiles import SharpTiles, hashes
from refocal.learn.pairs.streams import SUFFIX
from refocal.learn.recipe import Recipe
from refocal.parts.formats import is_image_name, open_image


class SharpBursts(SharpTiles):
    """Crops of `SharpTiles`, each seen `frames` times."""

    def __init__(
        self,
        paths: Sequence[Path],
        scales: Sequence[int],
        patch: int,
        frames: int,
        softest_px: float | None = None,
    ) -> None:
        super().__init__(paths, scales, patch, softest_px)
        self.frames = frames

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a random crop as an example of equal frames; the first is the target."""
        truth = self.crop(rng)
        return Example(Frames(np.broadcast_to(truth, (self.frames, *truth.shape)), contrast=UNIT), truth)


class RecordedBursts:
    """Random crops of recorded bursts that hold no grid: bars, holes and what lies outside are 0 in the truth.

    Parameters
    ----------
    paths
        Files and folders; files of fewer than two pages are passed over.
    patch
        Edge of the crops in pixels.
    frames
        Frames that every burst must have at least; more are chosen from.
    clear_px
        Crops are centred on pixels at least this far from the grid. None takes those whose crops hold none, by patch /
        sqrt(2); Wieslander et al. take 256 for crops of 128.

    Raises
    ------
    BadOptionError
        If there is no such burst, or none with room for a crop.
    """

    def __init__(self, paths: Sequence[Path], patch: int, frames: int, clear_px: float | None = None) -> None:
        self.patch, self.frames = patch, frames
        self.files: list[Path] = []
        self._bursts: list[Counts] = []
        self._places: list[NDArray[np.intp]] = []
        for file in found(paths):
            burst = _read(file, frames + 1)
            places = None if burst is None else _centres(burst[0], patch, clear_px)
            if burst is not None and places is not None and len(places):
                self.files.append(file)
                self._bursts.append(burst)
                self._places.append(places)
        if not self._bursts:
            where = ", ".join(map(str, paths))
            raise BadOptionError(f"no burst of {frames} frames with {patch}x{patch} px free of grid under {where}")

    def hashes(self) -> dict[str, str]:
        """Return {file name: SHA-256} of the bursts."""
        return hashes(self.files)

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a random crop, flipped and transposed at random."""
        index = int(rng.integers(len(self._bursts)))
        burst, places = self._bursts[index], self._places[index]
        y, x = places[int(rng.integers(len(places)))] - self.patch // 2
        crop = Contrast.of(burst.dtype).unit(burst[:, y : y + self.patch, x : x + self.patch])
        flips = rng.integers(0, 2, 3)
        crop = crop[:, :: 1 - 2 * int(flips[0]), :: 1 - 2 * int(flips[1])]
        crop = np.ascontiguousarray(crop.swapaxes(1, 2) if flips[2] else crop)
        return Example(Frames(crop[1:], contrast=UNIT), crop[0])


def found(paths: Sequence[Path]) -> list[Path]:
    """Return the image files among and below paths, sorted."""
    return sorted(f for p in paths for f in ([p] if p.is_file() else p.rglob("*")) if is_image_name(f))


def is_recorded(paths: Sequence[Path]) -> bool:
    """Say whether paths hold recorded bursts: the name of the first image ends in .burst.tif."""
    return any(f.name.endswith(SUFFIX) for f in found(paths)[:1])


def _read(path: Path, least: int) -> Counts | None:
    with open_image(path) as image:
        pages = image.info.shape[0]
        return np.stack([image.read(page) for page in range(pages)]) if pages >= least else None


def _centres(truth: Counts, patch: int, clear_px: float | None) -> NDArray[np.intp]:
    """Return the (y, x) of pixels that a crop may be centred on."""
    half = patch // 2
    height, width = truth.shape
    if min(height, width) < patch:
        return np.empty((0, 2), np.intp)
    clear = tissue(truth, patch / 2**0.5 if clear_px is None else clear_px)
    centres = np.argwhere(clear[half : height - patch + half + 1, half : width - patch + half + 1])
    return centres + half


def burst_tiles(recipe: Recipe, paths: Sequence[Path]) -> SharpBursts | RecordedBursts:
    """Return where the bursts of a recipe come from: recorded ones if that is what `paths` hold, else sharp tiles."""
    least, most = recipe.frames or (1, 1)
    if not 1 <= least <= most:
        raise BadOptionError(f"frames must be the least and the most, at least 1, got {least} and {most}")
    if is_recorded(paths):
        return RecordedBursts(paths, recipe.patch, most)
    return SharpBursts(paths, recipe.scales, recipe.patch, most, recipe.softest_px)
