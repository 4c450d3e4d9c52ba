"""A series of blur and noise on the user's own tiles.

What is blurred is the good tile as it is. That smooths its noise too, so coloured noise is put back: white noise of
variance n^2 under a transfer function H is left with the power n^2 |H|^2, and noise of the power n^2 (1 - |H|^2) makes
it white again. Without blur the sample is the very tile. The truth that a restored sample is compared with is a
denoised copy, blurred by nothing.
"""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from refocal.core import registry
from refocal.core.values import UNIT, Degradation, Example, Frames, Pixels, Restorer
from refocal.imaging.focus_features import Vector, features
from refocal.imaging.noise import denoised
from refocal.imaging.screening import Measured, Screen
from refocal.microscope.calibrate.reference_tiles import ReferenceTile

_CROPS = 4


@dataclass(frozen=True, slots=True)
class Sample:
    """One rung: what was done to a crop of a tile, what the gate sees of it, and how well it was restored."""

    tile: int
    sigma_px: float
    noise: float
    """Contrast units."""
    native: bool
    """Whether noise and contrast are the tile's own."""
    features: Vector
    psnr: float
    ssim: float
    relative: float
    """PSNR above (below: negative) that of the same crop without added blur and noise, restored, dB."""


@dataclass(frozen=True, slots=True)
class BlurSeries:
    """How far the series goes and how dense it is."""

    softest_px: float = 4.0
    crop_px: int = 512
    each: int = 24
    """Samples of each tile."""
    noisiest: float = 2.0
    """Largest noise, in units of the tile's own."""
    seed: int = 0

    def samples(self, index: int, good: ReferenceTile, restorer: Restorer) -> Iterator[Sample]:
        """Yield the samples of one tile that have content; the same seed gives the same samples."""
        rng = np.random.default_rng([self.seed, zlib.crc32(good.sha256.encode())])
        crops = [(crop, denoised(crop, good.noise)) for crop in self._crops(good, rng)]
        still: list[Sample | None] = []
        for seen, truth in crops:
            example, noise = _degraded(seen, truth, 0.0, 1.0, good, rng)
            still.append(_measure(index, example, noise, None, 0.0, good, restorer))
        yield from (sample for sample in still if sample is not None)
        for step in range(self.each - len(crops)):
            at = step % len(crops)
            native = step // len(crops) % 2 == 0
            sigma = 1.1 * self.softest_px * ((step + rng.random()) / (self.each - len(crops))) ** 1.2
            factor, gain = (1.0, None) if native else (rng.uniform(1, self.noisiest), float(rng.uniform(0.7, 1.1)))
            example, noise = _degraded(*crops[at], sigma, factor, good, rng)
            best = still[at]
            sample = None if best is None else _measure(index, example, noise, gain, best.psnr, good, restorer)
            if sample is not None:
                yield sample

    def _crops(self, good: ReferenceTile, rng: np.random.Generator) -> list[Pixels]:
        """Return a few crops that lie at random places; blank ones are passed over where others are to be had."""
        size = [min(self.crop_px, n) for n in good.counts.shape]
        found: list[Pixels] = []
        blank: list[Pixels] = []
        for _ in range(4 * _CROPS):
            top, left = (int(rng.integers(0, n - s + 1)) for n, s in zip(good.counts.shape, size, strict=True))
            counts = np.ascontiguousarray(good.counts[top : top + size[0], left : left + size[1]])
            (found if isinstance(Screen()(counts), Measured) else blank).append(good.contrast.unit(counts))
            if len(found) == _CROPS or size == list(good.counts.shape):
                break
        return found or blank[:1]


def _degraded(
    crop: Pixels, truth: Pixels, sigma: float, factor: float, good: ReferenceTile, rng: np.random.Generator
) -> tuple[Example, float]:
    """Blur a crop and make its noise white again, `factor` times the tile's own."""
    example = Example(Frames(crop[None], contrast=UNIT, pixel_nm=good.pixel_nm), truth)
    native = good.noise
    response: Any = 1.0
    if sigma > 0:
        example = _probe(sigma, rng)(example, rng)
        kernel = np.asarray(example.hints["kernel"])
        response = np.abs(np.fft.rfft2(kernel, crop.shape))
    power = native**2 * np.maximum(factor**2 - np.minimum(response, 1.0) ** 2, 0.0)
    white = fft.rfft2(rng.standard_normal(crop.shape, np.float32))
    coloured = fft.irfft2(white * np.sqrt(power) * _along_x(good.memory, crop.shape), crop.shape)
    counts = (example.frames.counts + coloured).astype(np.float32)
    frames = Frames(counts, contrast=UNIT, pixel_nm=good.pixel_nm)
    return Example(frames, truth, {"sigma_px": sigma}), native * factor


def _probe(sigma: float, rng: np.random.Generator) -> Degradation:
    """Draw a probe of a width: Gaussian 40 %, disc 30 %, elliptical 30 %."""
    kind = rng.choice(3, p=[0.4, 0.3, 0.3])
    if kind < 2:
        made: Degradation = registry.make("degradations", "defocus", sigma_px=sigma, profile=("gaussian", "disc")[kind])
        return made
    turn = rng.uniform(0.1, 0.5)
    made = registry.make(
        "degradations", "astigmatism", defocus_px=sigma * np.cos(turn), astigmatism_px=sigma * np.sin(turn),
        angle_deg=float(rng.uniform(0, 180)),
    )  # fmt: skip
    return made


def _along_x(memory: float, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the amplitude of noise with one pole `memory` along x, of unit variance."""
    omega = 2 * np.pi * np.fft.rfftfreq(shape[1])
    gain: NDArray[np.float64] = np.sqrt(1 - memory**2) / np.abs(1 - memory * np.exp(-1j * omega))
    return gain[None, :]


def _measure(
    index: int, example: Example, noise: float, gain: float | None, best: float, good: ReferenceTile, restorer: Restorer
) -> Sample | None:
    """Round a sample to counts, look at it as the gate does, restore it, compare; None if it has no content.

    `best` is the PSNR that is reached without blur; 0 for the sample that says so itself.
    """
    scale = gain or 1.0
    middle = np.float32(example.truth.mean())
    unit, truth = ((x - middle) * np.float32(scale) + middle for x in (example.frames.image, example.truth))
    counts = good.contrast.counts(unit, good.counts.dtype)
    seen = Screen(saturated=1.0)(counts)
    if not isinstance(seen, Measured):
        return None
    frames = Frames(counts[None], contrast=good.contrast, pixel_nm=good.pixel_nm)
    got = good.contrast.unit(restorer([frames])[0].counts)
    psnr, ssim = (registry.load("metrics", name)(got, truth) for name in ("psnr", "ssim"))
    relative = psnr - (best - 20 * float(np.log10(scale))) if best else 0.0
    sigma, raw = float(example.hints["sigma_px"]), features(seen, good.contrast)
    return Sample(index, sigma, noise * scale, gain is None, raw, psnr, ssim, relative)
