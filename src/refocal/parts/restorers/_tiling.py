"""Images through nets: padding, contrast, and exact tiling in one or two passes. numpy only.

An image of at most `whole_px` pixels goes through the net as a whole. A larger one is cut into tiles that are read
with the net's full halo, so every kept pixel sees what it would see in the whole image; the net's zero padding meets
the true border only. A net with a global context takes two passes: the contexts that the tiles' cores gather, each node
weighed by its share of all nodes, add up to the context of the image; then every tile is finished under that context.

A net with a window mixes all that it sees, so it never sees anything but windows of its own size: on a grid from the
image's origin, the last ones pushed back inside, overlapping by at least twice the halo. There the results fade
linearly into each other. Neither the size of the image nor how it was cut changes which windows a pixel belongs to.

A piece of a larger field (`Frames.piece`) goes the same way, with two differences: only its core is restored, and the
context or the place of the windows is that of the field. So the pieces of a field, put together, are the whole of it.

Counts stay counts: a tile is scaled to float32 when its turn comes, so memory does not grow with the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from refocal.core.blocks import Block, Box, plan
from refocal.core.errors import BadModelError
from refocal.core.values import Contrast, Counts, Frames, Piece, Pixels, Reach, Restored
from refocal.models.runtimes import Graph

WHOLE_PX = 4 << 20
TILE_PX = 1536
_SMALLEST = 16


@dataclass(frozen=True, slots=True)
class Tiling:
    """When and how to cut images: above `whole_px` pixels, into tiles with cores of `tile_px` squared pixels."""

    whole_px: int = WHOLE_PX
    tile_px: int = TILE_PX

    def __post_init__(self) -> None:
        """Refuse empty tiles."""
        if self.whole_px < 1 or self.tile_px < 1:
            raise ValueError(f"whole_px and tile_px must be at least 1, got {self.whole_px} and {self.tile_px}")


def restore(batch: Sequence[Frames], graph: Graph, tiling: Tiling) -> list[Restored]:
    """Restore the target image of each of the frames with a net."""
    return [Restored(_image(f, graph, tiling), contrast=f.contrast) for f in batch]


def together(batch: Sequence[Frames], reach: Reach, tiling: Tiling) -> NDArray[np.uint8] | None:
    """Return 8-bit images of one size that go through as a whole, padded, (n, y, x); None for any others."""
    first = batch[0].image
    alike = all(f.piece is None and f.image.dtype == np.uint8 and f.image.shape == first.shape for f in batch)
    if not alike or reach.window is not None:
        return None
    padded = np.stack([_padded(f.image, reach) for f in batch])
    return padded if padded[0].size <= tiling.whole_px else None


def gather(frames: Frames, graph: Graph, tiling: Tiling) -> NDArray[np.float64]:
    """Return what the core of a piece adds to the context of its field; the sum over all pieces is the context.

    The core must start on multiples of `reach.multiple` in the field, and end there or at the field's border.
    """
    piece, reach = frames.piece, graph.reach
    if piece is None:
        raise ValueError("only a piece of a field has a context to gather")
    padded = _padded(frames.image, reach)
    field = [n + -n % reach.multiple for n in (max(n, _SMALLEST) for n in piece.field)]
    blocks = _blocks(padded.shape, reach, tiling, _grown(piece, frames.image.shape, padded.shape))
    return _context(padded, frames.contrast, graph, blocks, (reach.multiple, field[0] * field[1]))


def _image(frames: Frames, graph: Graph, tiling: Tiling) -> Counts:
    counts, contrast, piece, reach = frames.image, frames.contrast, frames.piece, graph.reach
    height, width = counts.shape
    if reach.window is not None:
        return contrast.counts(_windowed(counts, contrast, graph, reach.window, reach.halo, piece), counts.dtype)
    padded = _padded(counts, reach)
    if piece is None and padded.size <= tiling.whole_px:
        restored = _grey(graph.whole(_unit(padded, contrast, graph)), graph)
        return contrast.counts(restored[:height, :width], counts.dtype)
    blocks = _blocks(padded.shape, reach, tiling, _grown(piece, counts.shape, padded.shape) if piece else None)
    context = piece.context if piece else None
    if context is None and reach.context:
        context = _context(padded, contrast, graph, blocks, (reach.multiple, padded.size)).astype(np.float32)
    result = padded.copy() if piece else np.empty(padded.shape, counts.dtype)
    for block in blocks:
        tile = _unit(padded[block.read.slices], contrast, graph)
        restored = _grey(graph.whole(tile) if context is None else graph.finish(tile, context), graph)
        result[block.write.slices] = contrast.counts(restored[block.write.inside(block.read)], counts.dtype)
    return np.ascontiguousarray(result[:height, :width])


def _padded(counts: Counts, reach: Reach) -> Counts:
    padded = np.pad(counts, [(0, max(_SMALLEST - n, 0)) for n in counts.shape], mode="reflect")
    return np.pad(padded, [(0, -n % reach.multiple) for n in padded.shape], mode="reflect")


def _grown(piece: Piece, shape: tuple[int, ...], padded: tuple[int, ...]) -> Box:
    """Return the core of a piece; where it ends with the frames it takes their padding in."""
    stops = [p if b == n else b for b, n, p in zip(piece.core.stop, shape, padded, strict=True)]
    return Box(piece.core.start, tuple(stops))


def _context(
    padded: Counts, contrast: Contrast, graph: Graph, blocks: Sequence[Block], nodes: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the sum of the contexts that the cores gather, each node weighed by one over the number of nodes.

    `nodes` are the edge of a node and the pixels of all of them.
    """
    multiple, size = nodes
    total: NDArray[np.float64] | None = None
    for block in blocks:
        share = np.zeros([1, 1, *(n // multiple for n in block.read.shape)], np.float32)
        y, x = (slice(s.start // multiple, s.stop // multiple) for s in block.write.inside(block.read))
        share[0, 0, y, x] = multiple**2 / size
        part = graph.gather(_unit(padded[block.read.slices], contrast, graph), share)
        total = part.astype(np.float64) + (0 if total is None else total)
    if total is None:
        raise ValueError(f"an image of shape {padded.shape} has no pixels")
    return total


def _windowed(counts: Counts, contrast: Contrast, graph: Graph, window: int, halo: int, piece: Piece | None) -> Pixels:
    """Restore by overlapping windows that fade into each other; an image below the window is mirrored up to it."""
    padded = np.pad(counts, [(0, max(window - n, 0)) for n in counts.shape], mode="reflect")
    rows, columns = (
        [
            (start - origin, fade)
            for start, fade in fades(max(field, window), window, halo)
            if origin <= start <= origin + length - window
        ]
        for origin, field, length in zip(
            piece.origin if piece else (0, 0), piece.field if piece else counts.shape, padded.shape, strict=True
        )
    )
    result = np.zeros(padded.shape, np.float32)
    for y, down in rows:
        for x, across in columns:
            part = np.s_[y : y + window, x : x + window]
            result[part] += _grey(graph.whole(_unit(padded[part], contrast, graph)), graph) * np.outer(down, across)
    return result[: counts.shape[0], : counts.shape[1]]


def fades(length: int, window: int, halo: int) -> list[tuple[int, Pixels]]:
    """Return where windows start along an axis, and weights of their pixels that add up to 1 at every pixel."""
    step = window - 2 * halo
    starts = sorted({min(i, length - window) for i in range(0, length - window + step, step)} | {0})
    ramp = np.minimum(np.arange(1, window + 1), np.arange(window, 0, -1))
    tent = np.minimum(ramp / max(2 * halo, 1), 1.0)
    total = np.zeros(length)
    for start in starts:
        total[start : start + window] += tent
    return [(start, (tent / total[start : start + window]).astype(np.float32)) for start in starts]


def _blocks(shape: tuple[int, ...], reach: Reach, tiling: Tiling, core: Box | None = None) -> list[Block]:
    """Cut an image, or a core of it, so that cores and read boxes start on the net's grid."""
    size = max(1, tiling.tile_px // reach.multiple) * reach.multiple
    halo = -(-reach.halo // reach.multiple) * reach.multiple
    if core is None:
        return list(plan(shape, (size, size), (halo, halo)))
    cut = (_moved(block.write, core.start) for block in plan(core.shape, (size, size), (0, 0)))
    return [Block("", write, write.grow((halo, halo), shape)) for write in cut]


def _moved(box: Box, by: tuple[int, ...]) -> Box:
    start, stop = (tuple(a + b for a, b in zip(corner, by, strict=True)) for corner in (box.start, box.stop))
    return Box(start, stop)


def _unit(counts: Counts, contrast: Contrast, graph: Graph) -> Pixels:
    unit = contrast.unit(counts)[None, None]
    # A colour net is fed copies; the mean of its channels is what the folded grey net would say.
    return np.repeat(unit, graph.channels, axis=1) if graph.channels > 1 else unit


def _grey(image: Pixels, graph: Graph) -> Pixels:
    if image.shape[1] != graph.channels:
        raise BadModelError(
            f"this model answers a {graph.channels}-channel image with the shape {image.shape}; it does not restore"
        )
    grey: Pixels = image[0, 0] if image.shape[1] == 1 else image[0].mean(0, dtype=np.float32)
    return grey
