"""The coarser levels of a volume: means over 2 x 2 pixels, and over 2 sections once those are no thicker than wide."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np

from refocal.blocks import Block, Box
from refocal.values import Counts, Frames
from refocal.volumes.grid import Triple
from refocal.voxels import Volume, VolumeInfo

_SMALLEST_PX = 256
_MOST = 16


def levels(first: VolumeInfo, most: int | None = None) -> list[VolumeInfo]:
    """Return the finest level and the coarser ones, down to at most 256 px, or `most` of them."""
    found, smallest = [first], _SMALLEST_PX if most is None else 1
    while len(found) < (most or _MOST) and max(found[-1].shape[1:]) > smallest:
        found.append(_coarser(found[-1]))
    return [replace(info, levels=len(found)) for info in found]


def factors(finer: VolumeInfo, coarser: VolumeInfo) -> Triple:
    """Return how many voxels of the finer level make one of the coarser."""
    z, y, x = (2 if a > b else 1 for a, b in zip(finer.shape, coarser.shape, strict=True))
    return z, y, x


def _coarser(info: VolumeInfo) -> VolumeInfo:
    voxel = info.voxel_nm
    thin = voxel is not None and voxel[0] < 1.5 * voxel[1]
    by = [2 if wanted and n > 1 else 1 for wanted, n in zip((thin, True, True), info.shape, strict=True)]
    depth, height, width = (-(-n // f) for n, f in zip(info.shape, by, strict=True))
    edge = voxel or (1.0, 1.0, 1.0)
    z, y, x = (o + (f - 1) / 2 * v for o, f, v in zip(info.offset_nm, by, edge, strict=True))
    tall, high, wide = (v * f for v, f in zip(edge, by, strict=True))
    size = (tall, high, wide) if voxel else None
    return replace(info, shape=(depth, height, width), voxel_nm=size, offset_nm=(z, y, x))


class Halves:
    """The blocks of a coarser level, made from the finer one."""

    def __init__(self, finer: Volume, coarser: VolumeInfo, blocks: Iterable[Block]) -> None:
        self._finer, self._blocks = finer, blocks
        self._by = factors(finer.info, coarser)

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks."""
        return iter(self._blocks)

    def read(self, block: Block, /) -> Frames:
        """Return the (z, y, x) counts of a block of the coarser level."""
        counts = np.empty(block.write.shape, self._finer.info.dtype)
        for z in range(block.write.shape[0]):
            start = tuple(a * f for a, f in zip(_at(block.write.start, z), self._by, strict=True))
            ends = zip(_end(block.write, z), self._by, self._finer.info.shape, strict=True)
            counts[z] = _mean(self._finer.read(Box(start, tuple(min(b * f, n) for b, f, n in ends))), self._by)
        return Frames(counts)


def _at(start: tuple[int, ...], z: int) -> tuple[int, ...]:
    return (start[0] + z, *start[1:])


def _end(box: Box, z: int) -> tuple[int, ...]:
    return (box.start[0] + z + 1, *box.stop[1:])


def _mean(counts: Counts, by: Triple) -> Counts:
    """Return the (y, x) means over boxes of `by` voxels; at the far border the last voxels count twice."""
    whole = np.pad(counts, [(0, -n % f) for n, f in zip(counts.shape, by, strict=True)], mode="edge")
    (_, y, x), (_, down, along) = whole.shape, by
    mean = whole.reshape(-1, y // down, down, x // along, along).mean(axis=(0, 2, 4), dtype=np.float32)
    rounded: Counts = (np.rint(mean) if counts.dtype.kind in "ui" else mean).astype(counts.dtype)
    return rounded
