"""Measured pairs: the same field recorded soft and sharp, as `refocal pair` leaves them.

A folder of pairs holds `sharp` and `blurry` with images of the same relative names, shapes and numbers of pages.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refocal.core.errors import BadOptionError
from refocal.core.values import UNIT, Contrast, Counts, Example, Frames
from refocal.engine.tiles.listing import find_images
from refocal.imaging.binning import binned
from refocal.learn.evaluate.scores import Truth, centre
from refocal.learn.examples.tiles import MARGIN, hashes
from refocal.learn.recipe import Recipe
from refocal.parts.formats import open_image

SHARP, BLURRY = "sharp", "blurry"
TRAIN, TEST = "train", "test"


@dataclass(frozen=True, slots=True)
class Pair:
    """Two files of one field."""

    name: str
    sharp: Path
    blurry: Path


def find_pairs(folder: Path) -> list[Pair]:
    """Return the pairs of a folder, in natural order of their names.

    Raises
    ------
    BadOptionError
        If there is no such folder, or an image in it has no partner.
    """
    sides = [folder / SHARP, folder / BLURRY]
    if not all(side.is_dir() for side in sides):
        raise BadOptionError(f"{folder} holds no pairs; expected the folders {SHARP} and {BLURRY} in it")
    sharp, blurry = (find_images([side]) for side in sides)
    if alone := sorted(sharp.keys() ^ blurry.keys()):
        raise BadOptionError(f"{folder}: {len(alone)} images have no partner of the same name, e.g. {alone[0]}")
    return [Pair(name, path, blurry[name]) for name, path in sharp.items()]


def read_pairs(inputs: Sequence[str], crop: int | None = None, limit: int | None = None) -> Iterator[Truth]:
    """Yield the pairs of `[group=]folder` inputs for `evaluate`: sharp tiles with what was really seen of them.

    Parameters
    ----------
    inputs
        The group is the name of the folder unless it is given.
    crop
        Take the centre of this many pixels squared; None takes whole tiles.
    limit
        At most this many pairs of each input, evenly spread.

    Raises
    ------
    BadOptionError
        If an input holds no pairs, or the shapes of a pair differ.
    """
    for text in inputs:
        group, _, where = text.rpartition("=")
        pairs = find_pairs(Path(where))
        if limit is not None and len(pairs) > limit:
            pairs = [pairs[i] for i in np.linspace(0, len(pairs) - 1, limit).round().astype(int)]
        for pair in pairs:
            for page, (sharp, blurry, pixel_nm) in enumerate(_read(pair)):
                name = pair.name + (f"#{page}" if page else "")
                yield Truth(group or Path(where).name, name, centre(sharp, crop), pixel_nm, centre(blurry, crop))


class MeasuredPairs:
    """Random crops of measured pairs: the examples are already degraded, so the recipe's degradation does nothing.

    Parameters
    ----------
    pairs
        Of `find_pairs`.
    scales
        Binning of both images.
    patch
        Edge of the crops in pixels, without the margin.

    Raises
    ------
    BadOptionError
        If no pair is large enough, or the shapes of a pair differ.
    """

    def __init__(self, pairs: Sequence[Pair], scales: Sequence[int], patch: int) -> None:
        self.pairs, self.patch, self.size = list(pairs), patch, patch + 2 * MARGIN
        pages = [(sharp, blurry, s) for pair in pairs for sharp, blurry, _ in _read(pair) for s in scales]
        self._pages = [(a, b, s) for a, b, s in pages if min(a.shape) >= s * self.size]
        if not self._pages:
            raise BadOptionError(f"no pair of at least {self.size}x{self.size} px among {len(self.pairs)}")
        areas = np.array([sharp.size / scale**2 for sharp, _, scale in self._pages])
        self._weights = areas / areas.sum()

    def hashes(self) -> dict[str, str]:
        """Return {side/name: SHA-256} of the files."""
        sides = ((SHARP, [p.sharp for p in self.pairs]), (BLURRY, [p.blurry for p in self.pairs]))
        return {f"{side}/{p.name}": hashes([f])[f.name] for side, files in sides
                for p, f in zip(self.pairs, files, strict=True)}  # fmt: skip

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a random crop of both, flipped and transposed alike."""
        sharp, blurry, scale = self._pages[int(rng.choice(len(self._pages), p=self._weights))]
        edge = self.size * scale
        y, x = (int(rng.integers(0, n - edge + 1)) for n in sharp.shape)
        box = (slice(y, y + edge), slice(x, x + edge))
        flips = rng.integers(0, 2, 3)
        turn = tuple(slice(None, None, 1 - 2 * int(flip)) for flip in flips[:2])
        truth, seen = (binned(Contrast.of(i.dtype).unit(i[box]), scale)[turn] for i in (sharp, blurry))
        if flips[2]:
            truth, seen = truth.T, seen.T
        return Example(Frames(np.ascontiguousarray(seen)[None], contrast=UNIT), np.ascontiguousarray(truth))


def check_recipe(recipe: Recipe) -> None:
    """Refuse a recipe that does not go with measured pairs.

    Raises
    ------
    BadOptionError
        If it would degrade what is degraded already, or wants what pairs do not have.
    """
    if recipe.degradation != "chain" or recipe.degradation_options.get("steps"):
        raise BadOptionError(
            f"measured pairs are blurry as they are, and this recipe would add {recipe.degradation!r}; "
            "take tile/measured, or one with degradation: chain and no steps"
        )
    if recipe.sections > 1 or recipe.frames or recipe.softest_px is not None:
        raise BadOptionError(
            "pairs are single sections and all taken; remove `sections`, `frames` and `softest_px` from the recipe"
        )


def _read(pair: Pair) -> list[tuple[Counts, Counts, float | None]]:
    with open_image(pair.sharp) as sharp, open_image(pair.blurry) as blurry:
        if sharp.info.shape != blurry.info.shape or sharp.info.dtype != blurry.info.dtype:
            raise BadOptionError(
                f"{pair.name}: the sharp image is {sharp.info.shape} {sharp.info.dtype}, the blurry one "
                f"{blurry.info.shape} {blurry.info.dtype}; pairs have one shape and type"
            )
        pages = range(sharp.info.shape[0])
        return [(sharp.read(page), blurry.read(page), sharp.info.pixel_nm) for page in pages]
