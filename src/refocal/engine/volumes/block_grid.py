"""How a volume is cut: blocks are whole chunks (whole shards), because two writers in one chunk lose each other's work.

A net with a global context counts nodes of `reach.multiple` pixels, each in one block: then blocks are whole nodes too.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from refocal.core.blocks import Block, Box, plan
from refocal.core.errors import UsageError
from refocal.core.values import Reach
from refocal.core.volume import VolumeInfo

Triple = tuple[int, int, int]

_EDGE_PX = 2048
_SMALLEST_PX = 16  # nets get no smaller images: these are mirrored, which only the true border may be
_MOST_VOXELS = 1 << 27


@dataclass(frozen=True, slots=True)
class Page(Block):
    """One section of a block: what is graded and restored; blocks are what is stored."""

    home: Block


def pages(block: Block) -> Iterator[Page]:
    """Yield the sections of a (z, y, x) block; only the write box is cut, sections need no neighbours."""
    for z in range(block.write.start[0], block.write.stop[0]):
        write, read = (Box((z, *box.start[1:]), (z + 1, *box.stop[1:])) for box in (block.write, block.read))
        yield Page(f"{block.key}#{z - block.write.start[0]}", write, read, block)


def blocks(info: VolumeInfo, size: Triple, reach: Reach, level: int = 0, section: int | None = None) -> Iterator[Block]:
    """Yield the blocks of one level, or of those that hold one section, in C order.

    Read boxes start and end on the net's grid, or at the border.
    """
    m = reach.multiple
    needed = reach.window or max(reach.halo, _SMALLEST_PX if reach.halo else 0)
    halo = -(-needed // m) * m
    depth, *field = info.shape
    first = 0 if section is None else section // size[0] * size[0]
    for z in range(first, depth if section is None else first + 1, size[0]):
        end = min(z + size[0], depth)
        for flat in plan(tuple(field), size[1:], (halo, halo)):
            start = tuple(a // m * m for a in flat.read.start)
            stop = tuple(min(-(-b // m) * m, n) for b, n in zip(flat.read.stop, field, strict=True))
            y, x = flat.write.start
            write = Box((z, y, x), (end, *flat.write.stop))
            yield Block(f"{level}@{z},{y},{x}", write, Box((z, *start), (end, *stop)))


def count(shape: Triple, size: Triple) -> int:
    """Count the blocks."""
    return math.prod(-(-n // s) for n, s in zip(shape, size, strict=True))


def steps(info: VolumeInfo, reach: Reach) -> Triple:
    """Return what the edges of a block must be multiples of."""
    multiple = reach.multiple if reach.context else 1
    z, y, x = info.unit
    return z, math.lcm(y, multiple), math.lcm(x, multiple)


def block_size(info: VolumeInfo, reach: Reach, wanted: Triple | None = None) -> Triple:
    """Return the wanted size if it is whole units, or one that suits most machines.

    Raises
    ------
    UsageError
        If the wanted size is not whole units; says which numbers fit.
    """
    step = steps(info, reach)
    if wanted is not None:
        return _checked(wanted, step, info)
    z, y, x = (min(s, -(-n // s) * s) for n, s in zip(info.shape, step, strict=True))
    while z * (y + step[1]) * x <= _MOST_VOXELS and y + step[1] <= max(_EDGE_PX, step[1]) and y < info.shape[1]:
        y += step[1]
    while z * y * (x + step[2]) <= _MOST_VOXELS and x + step[2] <= max(_EDGE_PX, step[2]) and x < info.shape[2]:
        x += step[2]
    return z, y, x


def _checked(wanted: Triple, step: Triple, info: VolumeInfo) -> Triple:
    for name, size, unit, length in zip("zyx", wanted, step, info.shape, strict=True):
        if size < 1 or (size % unit and size < length):
            low, high = size // unit * unit, (size // unit + 1) * unit
            fit = f"{low} or {high}" if low else str(high)
            what = "chunks" if info.unit == info.chunk else "shards"
            raise UsageError(
                f"blocks of {wanted} (z, y, x) are not whole {what} of {info.unit} along {name}; there {fit} fit, "
                f"or {length}, the whole axis"
            )
    return wanted
