"""Reading one page of an image file as frames, and refusing what cannot be restored."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refocal.core.errors import UnreadableError, UnsupportedError
from refocal.core.values import Contrast, Counts, Frames, ImageFile, ImageInfo
from refocal.imaging.no_data import left_out, no_data_values, valid
from refocal.parts.formats import open_image

DTYPES = frozenset({"uint8", "uint16", "int8", "int16", "float16", "float32"})
EIGHT_BIT = np.dtype(np.uint8)
SMALLEST_PX = 8

ContrastOf = Callable[[Path, Counts], Contrast | None]
"""Returns the contrast for the counts of a file that are not uint8, without those that mean no data."""


def read_tile(path: Path, page: int, contrast: ContrastOf, growing: bool = False) -> Frames:
    """Read one page of a file as (1, y, x) counts; `contrast` is asked where the pixels are not uint8.

    Raises
    ------
    UnreadableError, UnsupportedError
        See `refocal.engine.tiles.tiles.TileSource.read`.
    """
    with open_image(path) as image:
        return read_page(image, path, page, contrast, growing=growing)


def read_page(image: ImageFile, path: Path, page: int, contrast: ContrastOf, growing: bool = False) -> Frames:
    """Read one page of an open file; see `read_tile`. A file that may be `growing` need not hold all of its pages."""
    info = image.info
    _check(path, info.shape[1:], info.dtype)
    if info.missing and not growing:
        promised = info.shape[0] + info.missing
        raise UnreadableError(f"{path}: is truncated: {info.missing} of {promised} pages are not there")
    counts = image.read(page)
    codes = no_data_values(counts, info.no_data)
    there = _measured(counts, codes, info)
    measured = counts if there is None else counts[there]
    if counts.dtype.kind == "f" and not np.isfinite(measured).all():
        bad = measured.size - int(np.count_nonzero(np.isfinite(measured)))
        raise UnsupportedError(f"{path}: {bad} pixels are NaN or infinite; give them finite values first")
    scale = Contrast.of(info.dtype) if info.dtype == EIGHT_BIT or not measured.size else contrast(path, measured)
    if scale is None:
        raise UnsupportedError(
            f"{path}: is {info.dtype} and the run has no contrast for counts of {_span(measured)}; "
            "say which counts are black and white, or have them estimated in a run of its own"
        )
    return Frames(
        counts[np.newaxis],
        contrast=scale,
        valid=None if there is None else there[np.newaxis],
        pixel_nm=info.pixel_nm,
        warnings=(*info.warnings, *(left_out(code) for code in codes)),
    )


def _span(counts: Counts) -> str:
    return f"{float(counts.min()):g} to {float(counts.max()):g}"


def _measured(counts: Counts, codes: Sequence[float], info: ImageInfo) -> NDArray[np.bool_] | None:
    """Return where counts were measured, None where all were; the data bar of a microscope's program was not."""
    bar = info.metadata.get("databar_rows", 0)
    there = valid(counts, codes) if codes or 0 < bar < len(counts) else None
    if there is not None and 0 < bar < len(counts):
        there[-bar:] = False
    return there


def _check(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if dtype.name not in DTYPES:
        raise UnsupportedError(
            f"{path}: has {dtype} pixels; expected 8 or 16 bit integers or float32: convert it first"
        )
    if min(shape) < SMALLEST_PX:
        raise UnsupportedError(
            f"{path}: is {shape[0]} x {shape[1]} pixels; expected at least {SMALLEST_PX} x {SMALLEST_PX}"
        )
