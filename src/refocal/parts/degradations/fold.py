"""Fold: the support film is folded, which hides a band of the section and pulls the tissue on both sides together."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from refocal.core.values import Example, Pixels
from refocal.imaging import fold_geometry
from refocal.imaging.fold_geometry import Fold as Crease
from refocal.parts.degradations import _warp
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["Fold"]

_TRIES = 20


@dataclass(frozen=True, slots=True)
class Fold:
    """Fold the target frame along lines that cross it; the other frames stay flat.

    Half-widths and decay are those of Huang et al. 2020: `dark_px` of the black band, `lost_px` of what it hides
    (never less than one pixel more), `decay` of the displacement per pixel. `bend_px` bows the lines, `wave_px` frays
    the edges of the band, `grey` is its brightness in contrast units. Beside it the contrast falls to `contrast`, and
    recovers within `contrast_px`. Hints: `flow` (2, y, x), which unfolds the frame (order y, x; see `lines`), the
    masks `lost` and `dark`, and the `folds`.
    """

    folds: Range = 1
    dark_px: Range = (5.0, 30.0)
    lost_px: Range = (6.0, 80.0)
    decay: Range = (1e-4, 0.1)
    bend_px: Range = 0.0
    wave_px: Range = 0.0
    grey: Range = 0.0
    contrast: Range = 1.0
    contrast_px: Range = (50.0, 200.0)

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("folds", self.folds, 1, 8)
        check_range("dark_px", self.dark_px, 0, 1000)
        check_range("lost_px", self.lost_px, 0, 1000)
        check_range("decay", self.decay, 1e-5, 0.9)
        check_range("bend_px", self.bend_px, 0, 1000)
        check_range("wave_px", self.wave_px, 0, 100)
        check_range("grey", self.grey, 0, 1)
        check_range("contrast", self.contrast, 0, 1)
        check_range("contrast_px", self.contrast_px, 1, 1e5)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Fold the target frame."""
        pixels = example.frames.counts.copy()
        flat = pixels[example.frames.target]
        place = fold_geometry.pixels(flat.shape)
        creases = [self._crease(flat.shape, rng) for _ in range(round(draw(self.folds, rng)))]
        seen = _warp.sample(flat, fold_geometry.folding(creases, *place).astype(np.float32))
        seen = self._fade(seen, creases, place, rng)
        frayed = self._frayed(creases, place, rng)
        seen[frayed] = draw(self.grey, rng)
        pixels[example.frames.target] = seen
        flow = fold_geometry.unfolding(creases, *place).astype(np.float32)
        return with_pixels(
            example, pixels, flow=flow, lost=fold_geometry.lost(creases, *place), dark=frayed, folds=tuple(creases)
        )

    def _crease(self, shape: tuple[int, ...], rng: np.random.Generator) -> Crease:
        """Draw a line between two sides of the frame that passes through its middle two thirds."""
        height, width = shape
        for _ in range(_TRIES):
            start, end = (_on_side(int(side), shape, rng) for side in rng.permutation(4)[:2])
            t = np.linspace(0, 1, 33)[:, None]
            inner = np.abs((1 - t) * start + t * end - (width / 2, height / 2)) <= (width / 3, height / 3)
            if inner.all(1).any() and np.hypot(*(end - start)) >= 1:
                break
        else:
            start, end = np.array([-1.0, height / 2]), np.array([width + 1.0, height / 2])
        dark_px = draw(self.dark_px, rng)
        lost_px = max(draw(self.lost_px, rng), dark_px + 1)
        points = _bow(start, end, draw(self.bend_px, rng) * float(rng.choice([-1, 1])))
        return Crease(points, dark_px, lost_px, draw(self.decay, rng))

    def _frayed(
        self, creases: list[Crease], place: tuple[fold_geometry.Reals, fold_geometry.Reals], rng: np.random.Generator
    ) -> fold_geometry.Mask:
        """Return the dark band, its edges moved to and fro by up to `wave_px`."""
        wave = draw(self.wave_px, rng)
        if not wave:
            return fold_geometry.dark(creases, *place)
        noise = ndimage.gaussian_filter(rng.standard_normal(place[0].shape), 12, mode="reflect")
        noise *= wave / max(float(np.abs(noise).max()), 1e-9)
        band = np.zeros(noise.shape, np.bool_)
        for i, crease in enumerate(creases):
            # Only ever wider: what is not dark must be sampled from beside the band.
            ahead = np.stack(place) + fold_geometry.folding(creases[i + 1 :], *place)
            band |= np.abs(fold_geometry.distance(crease.points, *ahead)[0]) <= crease.dark_px + wave + noise
        return band

    def _fade(
        self,
        seen: Pixels,
        creases: list[Crease],
        place: tuple[fold_geometry.Reals, fold_geometry.Reals],
        rng: np.random.Generator,
    ) -> Pixels:
        contrast, reach = draw(self.contrast, rng), draw(self.contrast_px, rng)
        if contrast == 1:
            return seen
        mean = seen.mean()
        for crease in creases:
            beside = np.abs(fold_geometry.distance(crease.points, *place)[0]) - crease.dark_px
            kept = 1 - (1 - contrast) * np.exp(-np.maximum(beside, 0) / reach)
            seen = (mean + (seen - mean) * kept).astype(np.float32)
        return seen


def _on_side(side: int, shape: tuple[int, ...], rng: np.random.Generator) -> fold_geometry.Reals:
    """Return a random point (x, y) on the top, right, bottom or left side."""
    height, width = shape
    x, y = rng.uniform(0, max(width - 1, 1)), rng.uniform(0, max(height - 1, 1))
    return np.array(((x, 0), (max(width - 1, 1), y), (x, max(height - 1, 1)), (0, y))[side], np.float64)


def _bow(start: fold_geometry.Reals, end: fold_geometry.Reals, bend_px: float) -> tuple[fold_geometry.Point, ...]:
    """Return points of a parabola from start to end that leaves the chord by `bend_px` in its middle."""
    t = np.linspace(0, 1, 2 if bend_px == 0 else 9)[:, None]
    along = (end - start) / np.hypot(*(end - start))
    path = (1 - t) * start + t * end + 4 * t * (1 - t) * bend_px * np.array([-along[1], along[0]])
    return tuple((float(x), float(y)) for x, y in path)
