"""Several aligned planes through a net of one or more answers, tile by tile, only where they are wanted."""

import numpy as np

from refocal.core.blocks import Box, plan
from refocal.core.values import Pixels
from refocal.imaging.fold_geometry import Mask
from refocal.models.runtimes import Graph
from refocal.parts.restorers._tiling import fades

CORE_PX = 768


def through(graph: Graph, planes: Pixels, wanted: Mask, outputs: int, core_px: int = CORE_PX) -> Pixels:
    """Return (output, y, x) of a graph for (plane, y, x) pixels; zeros in tiles without a wanted pixel.

    Tiles with cores of at most `core_px` squared pixels, no larger than what is wanted in
    them, are read with the net's halo, mirrored up to its multiple at the far sides. A section that is no larger than
    such a tile with its halo is one tile.
    """
    shape, reach = planes.shape[1:], graph.reach
    size = -(-core_px // reach.multiple) * reach.multiple
    halo = -(-reach.halo // reach.multiple) * reach.multiple
    if shape[0] * shape[1] <= (size + 2 * halo) ** 2:
        size = -(-max(shape) // reach.multiple) * reach.multiple
    answer = np.zeros((outputs, *shape), np.float32)
    for block in plan(shape, (size, size), (halo, halo)):
        write = _around(wanted, block.write, reach.multiple)
        if write is None:
            continue
        read = write.grow((halo, halo), shape)
        tile = planes[(slice(None), *read.slices)]
        pad = [(0, -n % reach.multiple) for n in tile.shape[1:]]
        tile = np.pad(tile, [(0, 0), *pad], mode="reflect" if min(tile.shape[1:]) > max(p for _, p in pad) else "edge")
        got = graph.whole(np.ascontiguousarray(tile[None], np.float32))[0]
        answer[(slice(None), *write.slices)] = got[(slice(None), *write.inside(read))]
    return answer


def _around(wanted: Mask, box: Box, multiple: int) -> Box | None:
    """Return the part of a box, from and to whole multiples, that holds what is wanted in it; None if nothing is."""
    places = np.nonzero(wanted[box.slices])
    if not places[0].size:
        return None
    start = tuple(first + int(p.min()) // multiple * multiple for first, p in zip(box.start, places, strict=True))
    stop = tuple(
        min(last, first - (-(int(p.max()) + 1) // multiple) * multiple)
        for first, last, p in zip(box.start, box.stop, places, strict=True)
    )
    return Box(start, stop)


def windowed(graph: Graph, planes: Pixels) -> Pixels:
    """Return (y, x) of a graph with a window for (plane, y, x) pixels, from windows that fade into each other."""
    edge = graph.reach.window or 0
    height, width = planes.shape[1:]
    padded = np.pad(planes, [(0, 0), *[(0, max(edge - n, 0)) for n in (height, width)]], mode="reflect")
    rows, columns = (fades(n, edge, graph.reach.halo) for n in padded.shape[1:])
    result = np.zeros(padded.shape[1:], np.float32)
    for y, down in rows:
        for x, across in columns:
            part = np.s_[y : y + edge, x : x + edge]
            window = np.ascontiguousarray(padded[(None, slice(None), *part)], np.float32)
            result[part] += graph.whole(window)[0, 0] * np.outer(down, across)
    return result[:height, :width]
