"""Small drawn images, and how to save them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from refocal.core.values import ImageInfo
from refocal.parts.formats import create_image

SHARP, SOFT, HOPELESS = 0.3, 1.6, 6.0


def texture(sigma_px: float, seed: int = 0, size: tuple[int, int] = (96, 112), noise: float = 2.0) -> NDArray[np.uint8]:
    """Return blurred, noisy cells: SHARP ones are kept, SOFT ones restored, HOPELESS ones to be taken again."""
    rng = np.random.default_rng(seed)
    areas, cells = (gaussian_filter(rng.standard_normal(size), width) > 0 for width in (5, 3))
    pixels = gaussian_filter(90.0 + 70 * areas + 50 * cells, sigma_px) + noise * rng.standard_normal(size)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def blank(seed: int = 0) -> NDArray[np.uint8]:
    """Return resin: noise only."""
    return np.rint(128 + 3 * np.random.default_rng(seed).standard_normal((96, 112))).astype(np.uint8)


def save(path: Path, pages: Sequence[NDArray[np.generic]], pixel_nm: float | None = 8.0) -> Path:
    """Write an image in the format of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    create_image(path, pages, ImageInfo((len(pages), *pages[0].shape), pages[0].dtype, pixel_nm))
    return path


def drawn(seed: int, side: int = 192, noise: float = 4.0) -> np.ndarray:
    """A sharp 8-bit image with structure on every scale."""
    rng = np.random.default_rng(seed)
    ky, kx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / np.maximum(np.hypot(ky, kx), 1 / 24) ** 1.2
    image = np.fft.irfft2(spectrum, s=(side, side))
    image = 128 + 30 * (image - image.mean()) / image.std() + noise * rng.standard_normal((side, side))
    return image.round().clip(0, 255).astype(np.uint8)


BLOCKS = 13
"""Tiles and pages in the fixture `raw`."""
