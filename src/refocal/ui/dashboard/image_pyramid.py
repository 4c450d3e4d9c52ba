"""Pictures of images for a viewer: squares of 512 pixels at full size, half size, a quarter ..., as 8-bit PNG.

Level n shows every pixel as the mean of 2^n x 2^n. Images that fit are decoded once and kept, as many as the memory
allows; larger ones are read box by box, in bands, so that memory does not grow with the image.
"""

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import UsageError
from refocal.core.values import Contrast, Counts, ImageFile, Pixels
from refocal.parts.formats import open_image

EDGE = 512
_BAND_BYTES = 32 << 20
_SAMPLES = 1024
_PERCENTILES = (0.3, 99.7)


@dataclass(frozen=True, slots=True)
class About:
    """What a viewer must know of an image."""

    width: int
    height: int
    levels: int
    dtype: str
    low: float
    high: float
    """Counts to be shown black and white."""


class Gallery:
    """Draws pictures; safe to use from several threads.

    Parameters
    ----------
    most_bytes
        Of decoded images that are kept. One image of more than a quarter of it is read in parts.
    """

    def __init__(self, most_bytes: int = 256 << 20) -> None:
        self._most = most_bytes
        self._kept: OrderedDict[tuple[Any, ...], Counts] = OrderedDict()
        self._lock = threading.Lock()
        self._working = threading.Semaphore(2)

    def about(self, path: Path, page: int = 0) -> About:
        """Describe an image; its grey range is that of a sample of its pixels.

        Raises
        ------
        TileError
            If it cannot be read.
        """
        with self._working, open_image(path) as image:
            _, height, width = image.info.shape
            counts = self._page(path, page, image)
            step = max(1, math.isqrt(height * width) // _SAMPLES)
            if counts is not None:
                sample = counts[::step, ::step]
            else:
                rows = np.linspace(0, height - 1, 32).astype(int)
                sample = np.stack([image.read(page, Box((int(r), 0), (int(r) + 1, width)))[0, ::step] for r in rows])
            finite = sample[np.isfinite(sample)]
            low, high = (float(v) for v in np.percentile(finite, _PERCENTILES)) if finite.size else (0.0, 1.0)
            levels = max(0, math.ceil(math.log2(max(height, width) / EDGE))) + 1
            return About(width, height, levels, str(image.info.dtype), low, high if high > low else low + 1)

    def square(self, path: Path, page: int, level: int, column: int, row: int, grey: Contrast) -> bytes:
        """Draw one square as PNG.

        Raises
        ------
        UsageError
            If there is no such square.
        TileError
            If the image cannot be read.
        """
        with self._working, open_image(path) as image:
            _, height, width = image.info.shape
            size = EDGE << level
            start = (row * size, column * size)
            if not 0 <= level < 24 or min(start) < 0 or start[0] >= height or start[1] >= width:
                raise UsageError(f"there is no square {column}, {row} of level {level}")
            box = Box(start, (min(start[0] + size, height), min(start[1] + size, width)))
            counts = self._page(path, page, image)
            pixels = _reduced(image, page, box, level, counts)
        shown = np.clip(grey.unit(pixels) * 255 + 0.5, 0, 255)
        return cv2.imencode(".png", np.nan_to_num(shown).astype(np.uint8), [cv2.IMWRITE_PNG_COMPRESSION, 1])[
            1
        ].tobytes()

    def _page(self, path: Path, page: int, image: ImageFile) -> Counts | None:
        """Return a whole page from what is kept, or decode it; None if it is too large."""
        pages, height, width = image.info.shape
        if not 0 <= page < pages:
            raise UsageError(f"there is no page {page}")
        if height * width * image.info.dtype.itemsize > self._most // 4:
            return None
        state = path.stat()
        key = (path, page, state.st_mtime_ns, state.st_size)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        counts = image.read(page)
        with self._lock:
            self._kept[key] = counts
            while sum(kept.nbytes for kept in self._kept.values()) > self._most:
                self._kept.popitem(last=False)
        return counts


def _reduced(image: ImageFile, page: int, box: Box, level: int, counts: Counts | None) -> Pixels:
    """Return the means of 2^level squares of a box, as float32 counts."""
    (top, left), (bottom, right), factor = box.start, box.stop, 1 << level
    row_bytes = (right - left) * 4
    band = max(factor, _BAND_BYTES // row_bytes // factor * factor)
    parts = []
    for y in range(top, bottom, band):
        end = min(y + band, bottom)
        part = counts[y:end, left:right] if counts is not None else image.read(page, Box((y, left), (end, right)))
        size = (math.ceil((right - left) / factor), math.ceil((end - y) / factor))
        pixels = part.astype(np.float32)
        parts.append(pixels if level == 0 else cv2.resize(pixels, size, interpolation=cv2.INTER_AREA))
    return np.concatenate([part.reshape(-1, parts[0].shape[1]) for part in parts]).astype(np.float32, copy=False)
