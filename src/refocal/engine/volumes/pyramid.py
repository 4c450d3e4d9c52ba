"""The coarser levels of a volume: means over 2 x 2 pixels, and over 2 sections once those are no thicker than wide."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from refocal.core.blocks import Block, Box, plan
from refocal.core.values import Contrast, Counts, Frames
from refocal.core.volume import Volume, VolumeInfo
from refocal.engine.volumes.block_grid import Triple

_SMALLEST_PX = 256
_MOST = 16


def levels(first: VolumeInfo, most: int | None = None) -> list[VolumeInfo]:
    """Return the finest level and the coarser ones, down to at most 256 px, or `most` of them."""
    known = first.voxel_nm is not None
    found, smallest = (
        [first if known else replace(first, voxel_nm=(1.0, 1.0, 1.0))],
        _SMALLEST_PX if most is None else 1,
    )
    while len(found) < (most or _MOST) and max(found[-1].shape[1:]) > smallest:
        found.append(_coarser(found[-1], known))
    return [replace(info, levels=len(found), voxel_nm=info.voxel_nm if known else None) for info in found]


def factors(finer: VolumeInfo, coarser: VolumeInfo) -> Triple:
    """Return how many voxels of the finer level make one of the coarser."""
    z, y, x = (2 if a > b else 1 for a, b in zip(finer.shape, coarser.shape, strict=True))
    return z, y, x


def _coarser(info: VolumeInfo, known: bool) -> VolumeInfo:
    """Return the next level; sections are only put together where it is known how thick they are."""
    assert info.voxel_nm is not None
    thin = known and info.voxel_nm[0] < 1.5 * info.voxel_nm[1]
    by = [2 if wanted and n > 1 else 1 for wanted, n in zip((thin, True, True), info.shape, strict=True)]
    depth, height, width = (-(-n // f) for n, f in zip(info.shape, by, strict=True))
    z, y, x = (o + (f - 1) / 2 * v for o, f, v in zip(info.offset_nm, by, info.voxel_nm, strict=True))
    tall, high, wide = (v * f for v, f in zip(info.voxel_nm, by, strict=True))
    return replace(info, shape=(depth, height, width), voxel_nm=(tall, high, wide), offset_nm=(z, y, x))


class Downsampled:
    """The blocks of a coarser level, made from the finer one."""

    def __init__(self, finer: Volume, coarser: VolumeInfo, blocks: Iterable[Block]) -> None:
        self._finer, self._blocks = finer, blocks
        self._by, self._chunk = factors(finer.info, coarser), coarser.chunk

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks."""
        return iter(self._blocks)

    def read(self, block: Block, /) -> Frames:
        """Return the (z, y, x) counts of a block of the coarser level, read so that no chunk is decoded twice."""
        counts = np.empty(block.write.shape, self._finer.info.dtype)
        for part in plan(block.write.shape, self._chunk, (0, 0, 0)):
            at = [b + o for b, o in zip(part.write.start, block.write.start, strict=True)]
            to = [b + o for b, o in zip(part.write.stop, block.write.start, strict=True)]
            start = tuple(a * f for a, f in zip(at, self._by, strict=True))
            stop = tuple(min(b * f, n) for b, f, n in zip(to, self._by, self._finer.info.shape, strict=True))
            counts[part.write.slices] = _mean(self._finer.read(Box(start, stop)), self._by)
        return Frames(counts, contrast=Contrast.of(counts.dtype))


def _mean(counts: Counts, by: Triple) -> Counts:
    """Return the (z, y, x) means over boxes of `by` voxels; at the far border the last voxels count twice."""
    whole = np.pad(counts, [(0, -n % f) for n, f in zip(counts.shape, by, strict=True)], mode="edge")
    (z, y, x), (deep, down, along) = whole.shape, by
    cut = whole.reshape(z // deep, deep, y // down, down, x // along, along)
    mean = cut.mean(axis=(1, 3, 5), dtype=np.float32)
    rounded: Counts = (np.rint(mean) if counts.dtype.kind in "ui" else mean).astype(counts.dtype)
    return rounded
