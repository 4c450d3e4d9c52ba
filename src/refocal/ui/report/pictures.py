"""The pictures of one tile, encoded for a page: before, after, insets at full resolution, and what changed.

Whole tiles are scaled down and compressed as JPEG; insets are cut at full resolution and stored without loss (PNG).
Before, after and truth share one grey scale, that of the recorded tile, so that they can be compared.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from refocal.core import registry
from refocal.core.errors import RefocalError, UnreadableError
from refocal.core.values import Contrast, Counts, Pixels
from refocal.parts.formats import open_image
from refocal.ui.report.summary import Tile

OVERVIEW_PX = 720
INSET_PX = 160
"""Longest edge of a whole tile, and edge of an inset, in pixels."""
_JPEG_QUALITY = 86

Locate = Callable[[str], Path | None]
"""Finds a name of the log; None where there is no such file."""


@dataclass(frozen=True, slots=True)
class Locators:
    """How the files of a tile are found."""

    recorded: Locate
    output: Locate
    truth: Locate


@dataclass(frozen=True, slots=True)
class Inset:
    """A detail at full resolution; pictures are data URLs."""

    title: str
    box: tuple[float, float, float, float]
    """left, top, width, height, per cent of the tile."""
    views: tuple[tuple[str, str], ...]
    """Caption and picture."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """All that the page shows of one tile."""

    tile: Tile
    before: str | None = None
    after: str | None = None
    residual: str | None = None
    residual_counts: float | None = None
    """Change that is shown white (black where negative); mid grey is no change."""
    grey: tuple[float, float] | None = None
    """Counts that are shown black and white."""
    size: tuple[int, int] | None = None
    """Width and height in pixels."""
    insets: tuple[Inset, ...] = ()
    scores: tuple[tuple[str, float | None, float | None], ...] = ()
    """Metric, before, after; against the truth."""
    trouble: str | None = None
    """Why there are no pictures."""


def depict(tile: Tile, locators: Locators, contrast: Contrast | None = None) -> Pictures:
    """Read a tile, what was made of it and its truth, and draw all pictures; trouble is told, not raised.

    `contrast` holds for all but uint8 tiles; without it, the full range of the dtype.
    """
    try:
        restored = tile.decision == "restored" and tile.output is not None
        written = locators.output(tile.output) if tile.output else None
        before = _read(locators.recorded(tile.path) or (None if restored else written), tile.page, "the recorded tile")
        after = _read(written, tile.page, "the restored tile") if restored else None
        known = locators.truth(tile.path)
        exact = _read(known, tile.page, "the truth") if known else None
        for other in (after, exact):
            if other is not None and other.shape != before.shape:
                raise UnreadableError(f"sizes differ: {before.shape} and {other.shape}; the log belongs to other files")
        return _draw(tile, before, after, exact, contrast)
    except (RefocalError, OSError) as error:
        return Pictures(tile, trouble=str(error))


def _read(path: Path | None, page: int, what: str) -> Counts:
    if path is None:
        raise UnreadableError(f"{what} is no longer where the log says")
    with open_image(path) as image:
        return image.read(page if page < image.info.shape[0] else 0)


def _draw(
    tile: Tile, before: Counts, after: Counts | None, exact: Counts | None, contrast: Contrast | None
) -> Pictures:
    if contrast is None or before.dtype == np.uint8:
        contrast = Contrast.of(before.dtype)
    units = _units(before, contrast)
    low, high = (float(v) for v in np.nanpercentile(units[:: max(1, before.shape[0] // 512)], (0.3, 99.7)))
    grey = Contrast(low, high if high > low else low + 1 / 255)
    after_units = _units(after, contrast) if after is not None else None
    exact_units = None
    if exact is not None:
        exact_units = _units(exact, contrast if exact.dtype == before.dtype else Contrast.of(exact.dtype))
    span = contrast.high - contrast.low
    change = after_units - units if after_units is not None else None
    limit = max(float(np.nanpercentile(np.abs(change[::4, ::4]), 99.5)), 1e-6) if change is not None else 1.0
    views = [("recorded", units, grey), ("restored", after_units, grey)]
    views += [("restored − recorded", change, Contrast(-limit, limit)), ("truth", exact_units, grey)]
    present = [(caption, pixels, scale) for caption, pixels, scale in views if pixels is not None]
    return Pictures(
        tile,
        before=_overview(units, grey),
        after=_overview(after_units, grey) if after_units is not None else None,
        residual=_overview(change, Contrast(-limit, limit)) if change is not None else None,
        residual_counts=limit * span if change is not None else None,
        grey=(grey.low * span + contrast.low, grey.high * span + contrast.low),
        size=(before.shape[1], before.shape[0]),
        insets=tuple(_insets(change, before.shape, present)),
        scores=_scores(units, after_units, exact_units),
    )


def _units(counts: Counts, contrast: Contrast) -> Pixels:
    units = contrast.unit(counts)
    return np.nan_to_num(units, copy=False) if counts.dtype.kind == "f" else units


def _scores(
    before: Pixels, after: Pixels | None, exact: Pixels | None
) -> tuple[tuple[str, float | None, float | None], ...]:
    if exact is None:
        return ()
    rows = []
    for name, kind in (("PSNR, dB", "psnr"), ("SSIM", "ssim")):
        metric = registry.load("metrics", kind)
        rows.append((name, float(metric(before, exact)), float(metric(after, exact)) if after is not None else None))
    return tuple(rows)


def _insets(
    change: Pixels | None, shape: tuple[int, ...], views: Sequence[tuple[str, Pixels, Contrast]]
) -> list[Inset]:
    edge = min(INSET_PX, *shape)
    middle = ((shape[0] - edge) // 2, (shape[1] - edge) // 2)
    places = [("middle of the tile", middle)]
    if change is not None and min(shape) > edge:
        places.insert(0, ("largest change", _largest_change(change, edge)))
    return [
        Inset(
            title,
            (100 * x / shape[1], 100 * y / shape[0], 100 * edge / shape[1], 100 * edge / shape[0]),
            tuple((caption, _png(_bytes(p[y : y + edge, x : x + edge], scale))) for caption, p, scale in views),
        )
        for title, (y, x) in places
    ]


def _largest_change(change: Pixels, edge: int) -> tuple[int, int]:
    """Return the corner of the square whose structure, not its noise, changed most."""
    small = cv2.resize(cv2.GaussianBlur(change, (0, 0), 1.2), None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    window = max(1, edge // 4)
    power = cv2.boxFilter(np.square(small), -1, (window, window), borderType=cv2.BORDER_CONSTANT)
    half = window // 2
    inner = power[half : max(half + 1, power.shape[0] - half), half : max(half + 1, power.shape[1] - half)]
    y, x = np.unravel_index(int(np.argmax(inner)), inner.shape)
    return min(int(y) * 4, change.shape[0] - edge), min(int(x) * 4, change.shape[1] - edge)


def _overview(pixels: Pixels, grey: Contrast) -> str:
    scale = OVERVIEW_PX / max(pixels.shape)
    if scale < 1:
        size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return data_url("jpeg", ".jpg", _bytes(pixels, grey), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])


def _png(image: Counts) -> str:
    return data_url("png", ".png", image, [cv2.IMWRITE_PNG_COMPRESSION, 6])


def data_url(kind: str, extension: str, image: Counts, options: list[int]) -> str:
    """Return an encoded picture that a page can hold."""
    return f"data:image/{kind};base64,{base64.b64encode(cv2.imencode(extension, image, options)[1].tobytes()).decode()}"


def _bytes(pixels: Pixels, grey: Contrast) -> Counts:
    return Contrast(0, 255).counts(grey.unit(pixels), np.uint8)
