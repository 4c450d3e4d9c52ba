"""Small drawn images, and how to save them."""

from collections.abc import Sequence
from pathlib import Path

import cv2
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


def structure(seed: int | np.random.Generator, side: int = 192, slope: float = 1.2) -> NDArray[np.float64]:
    """Return structure on every scale, in 8-bit counts without rounding; a steeper spectrum is smoother tissue."""
    rng = np.random.default_rng(seed)
    ky, kx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / np.maximum(np.hypot(ky, kx), 1 / 24) ** slope
    image = np.fft.irfft2(spectrum, s=(side, side))
    return 128 + 30 * (image - image.mean()) / image.std()


def drawn(seed: int, side: int = 192, noise: float = 4.0) -> NDArray[np.uint8]:
    """Return a sharp, noisy 8-bit image with structure on every scale."""
    rng = np.random.default_rng(seed)
    return (structure(rng, side) + noise * rng.standard_normal((side, side))).round().clip(0, 255).astype(np.uint8)


def cells(seed: int, side: int = 256, sigma_px: float = 0.0, noise: float = 4.0) -> NDArray[np.uint8]:
    """Return dark and bright cells, at least as soft as a sharp image is, with noise."""
    rng = np.random.default_rng(seed)
    inside = gaussian_filter(rng.standard_normal((side, side)), 3) > 0
    soft = gaussian_filter(80.0 + 90 * inside, max(sigma_px, 0.6))
    return np.clip(np.rint(soft + noise * rng.standard_normal((side, side))), 0, 255).astype(np.uint8)


def sections(count: int, side: int, noise: float = 0.0) -> NDArray[np.float32]:
    """Return aligned sections of membranes that change slowly from one to the next, contrast units."""
    rng = np.random.default_rng(1)
    field = gaussian_filter(rng.standard_normal((count + 8, side, side)), (3, 5, 5))[4:-4]
    walls = np.exp(-((field / 0.006) ** 2))
    return np.clip(0.65 - 0.35 * walls + noise * rng.standard_normal(walls.shape), 0, 1).astype(np.float32)


def stripes(path: Path, value: int, size: tuple[int, int] = (700, 600), dtype: type = np.uint8) -> Path:
    """Write diagonal stripes of 50 grey values from `value` on, so that each place can be told by its pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), (np.indices(size).sum(0) % 50 + value).astype(dtype))
    return path


BLOCKS = 13
"""Tiles and pages in the fixture `raw`."""
