"""Volumes as sources: sections of blocks, to be graded and restored, or whole blocks, to be looked at."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

import numpy as np

from refocal.core.blocks import Block
from refocal.core.errors import UnsupportedError
from refocal.core.values import Contrast, Counts, Frames, Gate, Grade, Piece, Pixels
from refocal.core.volume import Volume
from refocal.engine.volumes.block_grid import Page, pages
from refocal.engine.volumes.section_contrast import SectionContrast
from refocal.imaging.no_data import left_out, valid

_SLABS = 3


class Slabs:
    """What blocks read, the last few of them: a chunk holds many sections and is decoded once."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._slabs: dict[str, Counts] = {}

    def of(self, block: Block) -> Counts:
        """Return the (z, y, x) counts of a block's read box; threads that ask for the same one wait."""
        with self._lock:
            lock = self._locks.setdefault(block.key, threading.Lock())
        with lock:
            with self._lock:
                known = self._slabs.get(block.key)
            if known is not None:
                return known
            counts = self._volume.read(block.read)
            with self._lock:
                self._slabs[block.key] = counts
                for key in list(self._slabs)[:-_SLABS]:
                    del self._slabs[key]
                    self._locks.pop(key, None)
            return counts


class Pieces:
    """The sections of some blocks, one after the other.

    Parameters
    ----------
    volume, blocks
        What is read; the read boxes of the blocks hold the net's halo.
    contrast
        Of each section.
    context
        Returns what a net has gathered over section `z`; None for nets without a global context.
    """

    def __init__(
        self,
        volume: Volume,
        blocks: Iterable[Block],
        contrast: SectionContrast,
        context: Callable[[int], Pixels] | None = None,
    ) -> None:
        self.volume, self.contrast = volume, contrast
        self._blocks, self._context = blocks, context
        self._slabs = Slabs(volume)

    def __iter__(self) -> Iterator[Page]:
        """Yield the sections of all blocks."""
        for block in self._blocks:
            yield from pages(block)

    def read(self, block: Block, /) -> Frames:
        """Read a section of a block, with what the net sees around it.

        Raises
        ------
        UnsupportedError
            If values are not finite.
        UnreadableError
            If a chunk is damaged.
        """
        assert isinstance(block, Page)
        z = block.write.start[0]
        counts = self._slabs.of(block.home)[z - block.home.read.start[0]]
        context = self._context(z) if self._context else None
        return frames_of(counts, block, self.volume, self.contrast, context)


def frames_of(
    counts: Counts, page: Page, volume: Volume, contrast: SectionContrast, context: Pixels | None = None
) -> Frames:
    """Return one section of a block as frames that know their place."""
    if counts.dtype.kind == "f" and not np.isfinite(counts).all():
        bad = counts.size - int(np.count_nonzero(np.isfinite(counts)))
        raise UnsupportedError(f"{page.key}: {bad} voxels are NaN or infinite; give them finite values first")
    (_, y, x), (_, height, width) = page.read.start, volume.info.shape
    core = replace(
        page.write,
        start=(page.write.start[1] - y, page.write.start[2] - x),
        stop=(page.write.stop[1] - y, page.write.stop[2] - x),
    )
    piece = Piece(core, (y, x), (height, width), context)
    voxel, z = volume.info.voxel_nm, page.write.start[0]
    codes = contrast.no_data(z)
    there = valid(counts, codes)[np.newaxis] if codes else None
    return Frames(
        counts[np.newaxis], contrast=contrast.of(z), valid=there, pixel_nm=voxel and voxel[2], piece=piece,
        warnings=tuple(map(left_out, codes)),
    )  # fmt: skip


class Whole:
    """Blocks as they are: (z, y, x) counts of their write boxes, for sinks that look at all sections at once."""

    def __init__(self, volume: Volume, blocks: Iterable[Block], *, halo: bool = False) -> None:
        self._volume, self._blocks, self._halo = volume, blocks, halo

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks."""
        return iter(self._blocks)

    def read(self, block: Block, /) -> Frames:
        """Read a block; its sections are the frames."""
        counts = self._volume.read(block.read if self._halo else block.write)
        return Frames(counts, contrast=Contrast.of(counts.dtype))


class SkipConstant:
    """A gate before another one: what is all of one value, as chunks that are not there are, is no content."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def __call__(self, frames: Frames, /) -> Grade:
        """Grade frames, only if there is something in them, or in what the net sees around them."""
        image = frames.image
        if image.min() == image.max():
            return Grade("no_content", f"all voxels are {image.flat[0]}")
        return self._gate(frames)


def keep_all(_: Frames, /) -> Grade:
    """Grade nothing: for sinks that only look, or that carry over."""
    return Grade("keep", "")
