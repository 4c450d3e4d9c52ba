"""Training examples: crops of sharp tiles, degraded on the fly.

The tiles stay in memory as they are on disk (8 bit), and every example is a pure function of (seed, step, index), so
that a run that resumes draws what the uninterrupted run would have drawn.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from refocal.core import registry
from refocal.core.errors import BadOptionError, UnsupportedError
from refocal.core.values import UNIT, Contrast, Counts, Degradation, Example, Frames, Pixels
from refocal.imaging.binning import binned
from refocal.parts.formats import is_image_name, open_image

MARGIN = 20  # px of real surroundings on every side, so that a crop's border is not made of mirrored tissue


class Tiles(Protocol):
    """Where sharp examples come from."""

    patch: int

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a sharp example of (patch + 2 margin) px: frames, truth, and targets of their size as hints."""
        ...

    def hashes(self) -> dict[str, str]:
        """Return {file name: SHA-256} of the files."""
        ...


class SharpTiles:
    """Every page of every image under `paths`, as unit-contrast crops at one of several binnings.

    With `softest_px`, pages that the default gate measures to be softer than that after binning are left out.

    Raises
    ------
    BadOptionError
        If there is no image, or none as large as a crop.
    """

    def __init__(
        self, paths: Sequence[Path], scales: Sequence[int], patch: int, softest_px: float | None = None
    ) -> None:
        self.files = sorted(f for p in paths for f in ([p] if p.is_file() else p.rglob("*")) if is_image_name(f))
        self.patch = patch
        self.size = patch + 2 * MARGIN
        self._pages: list[tuple[Counts, int]] = []
        weights: list[float] = []
        for file in self.files:
            fitting = [(page, s) for page in _read(file) for s in scales if self._fits(page, s, softest_px)]
            # The square root of a file's area keeps one huge file, or a stack of a thousand pages, from being all.
            area = sum(page.size / s**2 for page, s in fitting)
            weights += [page.size / s**2 / area**0.5 for page, s in fitting]
            self._pages += fitting
        if not self._pages:
            where = ", ".join(map(str, paths))
            limit = "" if softest_px is None else f" with a blur of at most {softest_px:g} px"
            raise BadOptionError(f"no image of at least {self.size}x{self.size} px{limit} under {where}")
        self._weights = np.array(weights) / sum(weights)

    def _fits(self, page: Counts, scale: int, softest_px: float | None) -> bool:
        if min(page.shape) < scale * self.size:
            return False
        if softest_px is None:
            return True
        # A soft target would teach a net to leave blur behind.
        contrast = Contrast.of(page.dtype)
        small = contrast.counts(binned(contrast.unit(page), scale), page.dtype)
        sigma_px = registry.make("gates", "sharpness")(Frames(small[None], contrast=contrast)).sigma_px
        return sigma_px is not None and sigma_px <= softest_px

    def hashes(self) -> dict[str, str]:
        """Return {file name: SHA-256} of the files."""
        return hashes(self.files)

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a random crop as an example of one frame."""
        truth = self.crop(rng)
        return Example(Frames(truth[None], contrast=UNIT), truth)

    def crop(self, rng: np.random.Generator) -> Pixels:
        """Return a random crop of (patch + 2 margin) px, flipped and transposed at random."""
        page, scale = self._pages[int(rng.choice(len(self._pages), p=self._weights))]
        edge = self.size * scale
        y, x = (int(rng.integers(0, n - edge + 1)) for n in page.shape)
        pixels = Contrast.of(page.dtype).unit(page[y : y + edge, x : x + edge])
        pixels = binned(pixels, scale)
        flips = rng.integers(0, 2, 3)
        pixels = pixels[:: 1 - 2 * int(flips[0]), :: 1 - 2 * int(flips[1])]
        return np.ascontiguousarray(pixels.T if flips[2] else pixels)


def hashes(files: Sequence[Path]) -> dict[str, str]:
    """Return {file name: SHA-256} of files."""
    return {f.name: hashlib.sha256(f.read_bytes()).hexdigest() for f in files}


def _read(path: Path) -> list[Counts]:
    with open_image(path) as image:
        return [image.read(page) for page in range(image.info.shape[0])]


def draw_examples(
    tiles: Tiles,
    degradation: Degradation,
    count: int,
    seed: Sequence[int],
    contrast_jitter: float = 0.0,
    invert: float = 0.0,
    frames: tuple[int, int] | None = None,
    told: Sequence[str] = (),
) -> list[Example]:
    """Draw `count` examples of tiles.patch px; the same seed gives the same examples.

    With `frames` (least, most) all of them keep one number of their frames, drawn within that range: the target, and
    others at random. What the degradation did goes into the hint `told`, one value for each name in `told`, with the
    error that the gate makes when it measures it.

    Raises
    ------
    UnsupportedError
        If the degradation returns pixels that are not finite.
    """
    kept = int(np.random.default_rng(seed).integers(frames[0], frames[1] + 1)) if frames else None
    rngs = [np.random.default_rng([*seed, i]) for i in range(count)]
    return [
        _example(_fewer(tiles.draw(rng), kept, rng), degradation, rng, contrast_jitter, invert, tiles.patch, told)
        for rng in rngs
    ]


def _measured(hints: Mapping[str, Any], name: str, rng: np.random.Generator) -> float:
    """Return what the gate might measure: its error on tiles of 472 px that were blurred by up to 6 px."""
    true = float(hints.get(name, 0.0))
    if name == "noise":
        return true / 255 * float(np.exp(0.05 * rng.standard_normal()))
    return abs(true * float(np.exp(0.05 + 0.15 * rng.standard_normal())) + 0.2 * float(rng.standard_normal()))


def _fewer(drawn: Example, count: int | None, rng: np.random.Generator) -> Example:
    """Keep the target and other frames at random, `count` in all; the target comes first."""
    if count is None:
        return drawn
    frames = drawn.frames
    others = rng.permutation(np.delete(np.arange(len(frames.counts)), frames.target))
    kept = [frames.target, *others[: count - 1]]
    return replace(drawn, frames=Frames(frames.counts[kept], 0, frames.contrast))


def _example(
    drawn: Example,
    degradation: Degradation,
    rng: np.random.Generator,
    contrast_jitter: float,
    invert: float,
    patch: int,
    told: Sequence[str],
) -> Example:
    sharp, truth = drawn.frames.counts, drawn.truth
    if rng.random() < invert:
        sharp, truth = 1 - sharp, 1 - truth
    if contrast_jitter:
        gain = np.float32(1 - contrast_jitter * rng.random())
        lift = np.float32((1 - gain) * rng.random())
        sharp, truth = sharp * gain + lift, truth * gain + lift
    seen = degradation(Example(Frames(sharp, drawn.frames.target, UNIT), truth, drawn.hints), rng)
    if not np.isfinite(seen.frames.counts).all():
        raise UnsupportedError(f"the degradation made pixels that are not finite; hints: {sorted(seen.hints)}")
    margin = (truth.shape[0] - patch) // 2
    inner = slice(margin, margin + patch)
    # Targets of their own, which the degradation may have changed: where a fold moved what.
    targets = {name: seen.hints[name][..., inner, inner] for name in drawn.hints}
    if told:
        targets["told"] = np.array([_measured(seen.hints, name, rng) for name in told], np.float32)
    frames = Frames(seen.frames.counts[:, inner, inner], drawn.frames.target, UNIT)
    return Example(frames, truth[inner, inner], targets)
