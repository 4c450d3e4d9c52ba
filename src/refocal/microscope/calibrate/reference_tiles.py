"""The known-good tiles that a calibration is made from: named by the user, or the sharpest of each section."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refocal.core import registry
from refocal.core.errors import TileError, UsageError
from refocal.core.values import Contrast, Counts, Frames, Grade
from refocal.engine.tiles.tiles import TileSource, estimate_contrast
from refocal.imaging.noise import memory_of, noise_of

FEWEST, MOST = 5, 50
_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class ReferenceTile:
    """A tile that a person, or its section, says is good."""

    name: str
    section: str
    counts: Counts
    contrast: Contrast
    pixel_nm: float | None
    sha256: str
    """Of the counts."""
    sigma_px: float | None
    """Its own blur as the gate `sharpness` measures it."""
    noise: float
    """Contrast units."""
    memory: float
    """Of the noise along x."""


Look = Callable[[int, int], None]
"""Called with the tiles looked at and their number."""


def good_tiles(
    inputs: Iterable[Path],
    *,
    sharpest: float | None = None,
    contrast: Contrast | None = None,
    look: Look | None = None,
) -> list[ReferenceTile]:
    """Read the good tiles.

    Parameters
    ----------
    inputs
        Files and folders; opened read-only.
    sharpest
        Take this share of each section (folder) that is sharpest, outliers in noise or blur left out; None takes all.
    contrast
        For tiles that are not uint8; None estimates one.

    Raises
    ------
    UsageError
        If fewer than five tiles with content are there, more than fifty were named, or pixel sizes or number formats
        differ.
    """
    source = TileSource(inputs, contrast=contrast)
    if source.contrast is None:
        source.contrast = estimate_contrast(source)
    blocks = list(source)
    if sharpest is None and len(blocks) > MOST:
        raise UsageError(
            f"{len(blocks)} tiles are more than the {MOST} that a calibration needs: give fewer that are known to be "
            "good, or take the sharpest of each section with --sharpest 0.1"
        )
    grader = registry.make("gates", "sharpness")
    graded: list[tuple[str, str, Grade]] = []
    for i, block in enumerate(blocks):
        try:
            found = grader(source.read(block))
        except TileError:
            found = Grade("unreadable", "cannot be read")
        if found.sigma_px is not None:
            graded.append((block.key, str(Path(block.key).parent), found))
        if look:
            look(i + 1, len(blocks))
    chosen = graded if sharpest is None else _sharpest(graded, sharpest)
    if len(chosen) < FEWEST:
        raise UsageError(
            f"only {len(chosen)} of {len(blocks)} tiles can be used (readable, with content); "
            f"a calibration needs {FEWEST} to {MOST} that are known to be good"
        )
    by_key = {block.key: block for block in blocks}
    goods = [_good(key, section, source.read(by_key[key]), grade) for key, section, grade in chosen]
    _alike(goods)
    return goods


def _sharpest(graded: Sequence[tuple[str, str, Grade]], share: float) -> list[tuple[str, str, Grade]]:
    """Return the sharpest share of each section without outliers, at most fifty, taken in turn from the sections."""
    sections: dict[str, list[tuple[str, str, Grade]]] = {}
    for item in graded:
        sections.setdefault(item[1], []).append(item)
    picked = []
    for items in sections.values():
        items.sort(key=lambda item: (item[2].sigma_px or 0.0, item[0]))
        best = items[: max(1, round(share * len(items)))]
        picked.append(_usual(_usual(best, "noise"), "sigma_px"))
    rounds = max((len(items) for items in picked), default=0)
    return [items[i] for i in range(rounds) for items in picked if i < len(items)][:MOST]


def _usual(items: Sequence[tuple[str, str, Grade]], what: str) -> list[tuple[str, str, Grade]]:
    """Return the items whose value is within four robust standard deviations, and a tenth, of the median."""
    values = np.array([float(getattr(item[2], what) or 0.0) for item in items])
    if len(values) < 4:
        return list(items)
    middle = float(np.median(values))
    spread = max(4 * 1.4826 * float(np.median(np.abs(values - middle))), 0.1 * abs(middle))
    return [item for item, value in zip(items, values, strict=True) if abs(value - middle) <= spread]


def _good(key: str, section: str, frames: Frames, grade: Grade) -> ReferenceTile:
    image, contrast = frames.image, frames.contrast
    unit = contrast.unit(image)
    sha256 = hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()
    memory = memory_of(unit)
    noise = min(noise_of(unit, memory), (grade.noise or 0.0) / (contrast.high - contrast.low))
    return ReferenceTile(key, section, image, contrast, frames.pixel_nm, sha256, grade.sigma_px, noise, memory)


def _alike(goods: Sequence[ReferenceTile]) -> None:
    """Refuse tiles that cannot be one microscope with one setting."""
    dtypes = sorted({str(good.counts.dtype) for good in goods})
    if len(dtypes) > 1:
        raise UsageError(f"the tiles are {' and '.join(dtypes)}: calibrate with tiles of one number format")
    sizes = sorted({good.pixel_nm for good in goods if good.pixel_nm is not None})
    if sizes and sizes[-1] > sizes[0] * (1 + _TOLERANCE):
        raise UsageError(
            f"the tiles have pixels of {sizes[0]:g} and of {sizes[-1]:g} nm: calibrate each pixel size by itself"
        )
