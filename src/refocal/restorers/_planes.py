"""Several aligned planes through a net of one or more answers, tile by tile, only where they are wanted."""

from typing import Any

import numpy as np

from refocal.blocks import plan
from refocal.lines import Mask
from refocal.restorers._whole import fades
from refocal.values import Pixels, Reach

CORE_PX = 768


def through(net: Any, reach: Reach, planes: Pixels, wanted: Mask, outputs: int, core_px: int = CORE_PX) -> Pixels:
    """Return (output, y, x) of a net for (plane, y, x) pixels; zeros in tiles without a wanted pixel.

    `net` is a `_whole.Graph`. Tiles with cores of `core_px` squared pixels are read with the net's halo, mirrored up to
    its multiple at the far sides.
    """
    shape = planes.shape[1:]
    size = -(-core_px // reach.multiple) * reach.multiple
    halo = -(-reach.halo // reach.multiple) * reach.multiple
    answer = np.zeros((outputs, *shape), np.float32)
    for block in plan(shape, (size, size), (halo, halo)):
        if not wanted[block.write.slices].any():
            continue
        tile = planes[(slice(None), *block.read.slices)]
        pad = [(0, -n % reach.multiple) for n in tile.shape[1:]]
        tile = np.pad(tile, [(0, 0), *pad], mode="reflect" if min(tile.shape[1:]) > max(p for _, p in pad) else "edge")
        got = net.whole(np.ascontiguousarray(tile[None], np.float32))[0]
        answer[(slice(None), *block.write.slices)] = got[(slice(None), *block.write.inside(block.read))]
    return answer


def windowed(net: Any, reach: Reach, planes: Pixels) -> Pixels:
    """Return (y, x) of a net with a window for (plane, y, x) pixels, from windows that fade into each other."""
    edge = reach.window or 0
    height, width = planes.shape[1:]
    padded = np.pad(planes, [(0, 0), *[(0, max(edge - n, 0)) for n in (height, width)]], mode="reflect")
    rows, columns = (fades(n, edge, reach.halo) for n in padded.shape[1:])
    result = np.zeros(padded.shape[1:], np.float32)
    for y, down in rows:
        for x, across in columns:
            part = np.s_[y : y + edge, x : x + edge]
            window = np.ascontiguousarray(padded[(None, slice(None), *part)], np.float32)
            result[part] += net.whole(window)[0, 0] * np.outer(down, across)
    return result[:height, :width]
