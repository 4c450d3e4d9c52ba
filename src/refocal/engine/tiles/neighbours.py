"""Sections in a row: each block is read with its neighbours, and where its pixels come from is written beside it.

The order is that of the tiles: pages of a stack, files of a folder in natural order. Sections of another size and
sections that cannot be read are neighbours that are missing, not errors; the section itself must be whole.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refocal.core.atomic import make_parents
from refocal.core.blocks import Block
from refocal.core.errors import TileError
from refocal.core.values import Counts, Frames, Grade, ImageInfo, Restored
from refocal.engine.tiles.tiles import TileSink, TileSource
from refocal.eventlog.log import split_key
from refocal.imaging.no_data import filled
from refocal.parts.formats import create_image

ORIGIN = "origin"
"""Folder of the images that tell where pixels come from: 0 as recorded, 127 moved, 255 invented."""
FLOW, FLOW_STEP = "flow", 4
"""Folder of the flows that unfold sections, two pages each (y, then x; px), and the spacing of what is kept of them."""
_BINNED, _COARSE = 96, 8
_SHOWN = np.array([0, 127, 255], np.uint8)


class Sections:
    """A `TileSource` whose frames are a section and up to `around` sections on each side of it."""

    def __init__(self, tiles: TileSource, around: int = 2) -> None:
        self.tiles, self.around = tiles, around
        self._blocks: list[Block] = []
        self._places: dict[str, int] = {}

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks of the tiles, in order."""
        self._blocks = list(self.tiles)
        self._places = {block.key: number for number, block in enumerate(self._blocks)}
        yield from self._blocks

    def read(self, block: Block, /) -> Frames:
        """Read a section with its neighbours; `valid` is False all over for those that are missing."""
        own = self.tiles.read(block)
        place = self._places[block.key]
        first, stop = max(0, place - self.around), min(len(self._blocks), place + self.around + 1)
        planes = [own.image if n == place else self._beside(n, own) for n in range(first, stop)]
        counts = np.stack([own.image * 0 if plane is None else plane for plane in planes])
        valid = np.zeros(counts.shape, np.bool_)
        valid[[n for n, plane in enumerate(planes) if plane is not None]] = True
        if own.valid is not None:
            valid[place - first] = own.valid[0]
        return Frames(counts, place - first, own.contrast, valid, own.pixel_nm, warnings=own.warnings)

    def _beside(self, number: int, own: Frames) -> Counts | None:
        try:
            frames = self.tiles.read(self._blocks[number])
        except TileError:
            return None
        image = frames.image if frames.valid is None else filled(frames.image, frames.valid[0])
        return image if image.shape == own.image.shape and image.dtype == own.image.dtype else None


def likeness(tiles: TileSource, pairs: int = 6) -> float | None:
    """Return how alike neighbouring sections are: the median correlation of what is finer than shading, -1 to 1.

    Looks at evenly spread pairs of one size. Measured: 0.2 to 0.9 for aligned sections of tissue up to 50 nm apart,
    0.03 at most for tiles that lie side by side. None where no two sections can be compared.
    """
    blocks = list(tiles)
    firsts = {round(n) for n in np.linspace(0, len(blocks) - 2, pairs)} if len(blocks) > 1 else set()
    found = []
    for n in sorted(firsts):
        try:
            a, b = (tiles.read(block).image for block in blocks[n : n + 2])
        except TileError:
            continue
        if a.shape == b.shape and min(a.shape) >= 2 * _COARSE:
            a, b = _detail(a), _detail(b)
            power = float(np.sqrt((a**2).sum() * (b**2).sum()))
            found += [float((a * b).sum()) / power] if power else []
    return float(np.median(found)) if found else None


def _detail(image: Counts) -> NDArray[np.float64]:
    """Bin an image to about 96 px, against noise, and take the mean off each 8 x 8 of these, against shading."""
    step = max(1, min(image.shape) // _BINNED)
    height, width = (n // (step * _COARSE) for n in image.shape)
    cut = image[: height * step * _COARSE, : width * step * _COARSE]
    fine = cut.reshape(height, _COARSE, step, width, _COARSE, step).mean((2, 5), dtype=np.float64)
    detail: NDArray[np.float64] = fine - fine.mean((1, 3), keepdims=True)
    return detail


class OriginSink:
    """A `TileSink` that also writes `origin/NAME.png` and `flow/NAME.tif` for each section that was restored."""

    def __init__(self, tiles: TileSink, out: Path) -> None:
        self._tiles, self._out = tiles, out

    def has(self, block: Block, /) -> bool:
        """Say whether the section is done."""
        return self._tiles.has(block)

    def write(self, block: Block, restored: Restored, /) -> Mapping[str, Any]:
        """Write a section and where its pixels come from; adds the shares `moved` and `invented` to the event."""
        facts = self._tiles.write(block, restored)
        if restored.origin is None:
            return facts
        _picture(self._out / ORIGIN / page_name(block.key), _SHOWN[restored.origin][None])
        if restored.flow is not None:
            path = self._out / FLOW / page_name(block.key, ".tif")
            _picture(path, np.ascontiguousarray(restored.flow[:, ::FLOW_STEP, ::FLOW_STEP], np.float32))
        moved, invented = (round(float((restored.origin == kind).mean()), 6) for kind in (1, 2))
        return {**facts, "moved": moved, "invented": invented}

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> Mapping[str, Any]:
        """Copy a section without a fold; only the section itself, not its neighbours."""
        return self._tiles.carry(block, frames, grade)


def page_name(key: str, suffix: str = ".png") -> str:
    """Return the name of the picture that belongs to a block: "a/stack.tif#3" gives "a/stack_0003.png"."""
    name, page = split_key(key)
    stem = Path(name).with_suffix("").as_posix()
    return f"{stem}_{page:04d}{suffix}" if key != name else f"{stem}{suffix}"


def _picture(path: Path, pages: Counts) -> None:
    make_parents(path)
    create_image(path, list(pages), like=ImageInfo(pages.shape, pages.dtype))
