"""Reading one page of an image file as frames, and refusing what cannot be restored."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core.errors import UnsupportedError
from refocal.core.values import Contrast, Frames, ImageFile
from refocal.parts.formats import open_image

DTYPES = frozenset({"uint8", "uint16", "int8", "int16", "float16", "float32"})
EIGHT_BIT = np.dtype(np.uint8)
_SMALLEST = 8


def read_tile(path: Path, page: int, contrast: Callable[[Path], Contrast | None]) -> Frames:
    """Read one page of a file as (1, y, x) counts; `contrast` is asked where the pixels are not uint8.

    Raises
    ------
    UnreadableError, UnsupportedError
        See `refocal.engine.tiles.tiles.TileSource.read`.
    """
    with open_image(path) as image:
        return read_page(image, path, page, contrast)


def read_page(image: ImageFile, path: Path, page: int, contrast: Callable[[Path], Contrast | None]) -> Frames:
    """Read one page of an open file; see `read_tile`."""
    info = image.info
    _check(path, info.shape[1:], info.dtype)
    scale = Contrast.of(info.dtype) if info.dtype == EIGHT_BIT else contrast(path)
    if scale is None:
        raise UnsupportedError(
            f"{path}: is {info.dtype} and the run has no contrast; "
            "say which counts are black and white, or have them estimated"
        )
    counts = image.read(page)
    if counts.dtype.kind == "f" and not np.isfinite(counts).all():
        bad = counts.size - int(np.count_nonzero(np.isfinite(counts)))
        raise UnsupportedError(f"{path}: {bad} pixels are NaN or infinite; give them finite values first")
    return Frames(counts[np.newaxis], contrast=scale, pixel_nm=info.pixel_nm)


def _check(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.name not in DTYPES:
        raise UnsupportedError(
            f"{path}: has {dtype} pixels; expected 8 or 16 bit integers or float32: convert it first"
        )
    if min(shape) < _SMALLEST:
        raise UnsupportedError(
            f"{path}: is {shape[0]} x {shape[1]} pixels; expected at least {_SMALLEST} x {_SMALLEST}"
        )
