"""Images that are ready before the clock starts: some sharp ones, and the same soft, noisy, hopeless and blank."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core import registry
from refocal.core.errors import UsageError
from refocal.core.values import UNIT, Contrast, Example, Frames, Pixels
from refocal.engine.tiles.listing import find_images
from refocal.imaging.binning import binned
from refocal.imaging.contrast import percentile_contrast
from refocal.microscope.simulate.encode import Encoded, Grey
from refocal.microscope.simulate.plan import Plan
from refocal.parts.formats import open_image

_GREY = Contrast(0, 255)
_RESIN = 0.84
_DRAWN_PX = 1024
_THUMBNAIL = 16


@dataclass(frozen=True, slots=True)
class Variant:
    """One image of a known quality, ready to be written."""

    quality: str
    """sharp, soft, noisy, hopeless or blank."""
    sigma_px: float
    """Blur that was added, pixels."""
    noise: float | None
    """Standard deviation of the Gaussian noise that was added, counts; None for shot noise."""
    file: Encoded
    thumbnail: Encoded


class Pool:
    """Variants by quality, and the drawing of lots among them.

    Parameters
    ----------
    plan
        Sizes, shares and seed.
    encode
        Makes a file of a (y, x) uint8 image.
    """

    def __init__(self, plan: Plan, encode: Callable[[Grey], Encoded]) -> None:
        shares = plan.shares
        self._share = {"soft": shares.soft, "noisy": shares.noisy, "hopeless": shares.hopeless, "blank": shares.blank}
        self._variants: dict[str, list[Variant]] = {}
        sharp = _sharp(plan)
        for quality in ("sharp", *(name for name, share in self._share.items() if share)):
            self._variants[quality] = [
                _variant(quality, sharp[i % len(sharp)], np.random.default_rng((plan.seed, i)), plan, encode)
                for i in range(plan.variants)
            ]

    def draw(self, rng: np.random.Generator, *, only_sharp: bool = False) -> Variant:
        """Draw a variant; each quality comes with its share."""
        lot, pick = rng.random(), int(rng.integers(1 << 30))
        quality = "sharp"
        for name, share in self._share.items():
            if lot < share and not only_sharp:
                quality = name
                break
            lot -= share
        variants = self._variants[quality]
        return variants[pick % len(variants)]


def _variant(
    quality: str, sharp: Pixels, rng: np.random.Generator, plan: Plan, encode: Callable[[Grey], Encoded]
) -> Variant:
    sigma = 0.0
    noise: float | None = 3.0
    if quality == "soft":
        sigma = float(rng.uniform(1.2, 2.4))
    elif quality == "hopeless":
        sigma, noise = 6.0, 16.0
    elif quality == "noisy":
        noise = None
    elif quality == "blank":
        sharp = np.full_like(sharp, _RESIN)
    steps: list[dict[str, Any]] = [{"kind": "defocus", "sigma_px": sigma}] if sigma else []
    steps.append({"kind": "gaussian_noise", "sigma": noise} if noise else {"kind": "shot_noise", "electrons": 60.0})
    degrade = registry.make("degradations", "chain", steps=steps)
    seen = degrade(Example(Frames(sharp[None], contrast=UNIT, pixel_nm=plan.pixel_nm), sharp), rng).frames.image
    image = _GREY.counts(seen, np.uint8)
    small = binned(image, _THUMBNAIL).astype(np.uint8)
    return Variant(quality, sigma, noise, encode(image), encode(small))


def _sharp(plan: Plan) -> list[Pixels]:
    """Return sharp images of the size of a tile, in contrast units."""
    shape = plan.height, plan.width
    if plan.images:
        return [_fitted(_read(path), shape) for path in list(find_images(plan.images).values())[: plan.variants]]
    from refocal.imaging.phantom import draw_section  # brings SciPy, which the other commands can do without

    # Drawn twice as fine, and every second pixel taken: sharper than the drawing is. Of limited size, and mirrored:
    # drawing eight megapixels takes half a minute.
    fine = 2 * min(shape[0], _DRAWN_PX), 2 * min(shape[1], _DRAWN_PX)
    whole = _fitted(draw_section(fine, plan.seed, plan.pixel_nm / 2)[::2, ::2], shape)
    turned = [whole, whole[::-1], whole[:, ::-1], whole[::-1, ::-1]]
    return [np.ascontiguousarray(view) for view in turned[: plan.variants]]


def _read(path: Path) -> Pixels:
    with open_image(path) as image:
        counts = image.read()
    if min(counts.shape) < 16:
        raise UsageError(f"{path}: is {counts.shape[1]} x {counts.shape[0]} px, too small to make tiles of")
    contrast = Contrast.of(counts.dtype)
    if counts.dtype != np.uint8:  # 16-bit and float tiles use part of their range
        contrast = percentile_contrast(counts, 1e-6)
    unit: Pixels = np.clip(contrast.unit(counts), 0, 1)
    return unit


def _fitted(image: Pixels, shape: tuple[int, int]) -> Pixels:
    """Crop an image, and mirror it where it is too small."""
    lacking = [(0, max(want - have, 0)) for want, have in zip(shape, image.shape, strict=True)]
    fitted: Pixels = np.pad(image, lacking, mode="symmetric")[: shape[0], : shape[1]]
    return np.ascontiguousarray(fitted)
