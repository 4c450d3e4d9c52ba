"""What the widgets run, without Qt: a part of a layer as the source, an array in memory as the sink, the one loop.

A part is a (z, y, x) box of the layer. Restoring takes each of its sections as one image, read with the net's halo;
grading cuts sections into tiles.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from refocal.core.blocks import Block, Box, plan
from refocal.core.errors import UsageError
from refocal.core.values import Counts, Frames, Gate, Restorer, Sink
from refocal.core.volume import VolumeInfo
from refocal.engine.loop import run
from refocal.engine.memory import ArraySink
from refocal.engine.volumes.block_grid import Page
from refocal.engine.volumes.section_contrast import SectionContrast
from refocal.engine.volumes.source import frames_of
from refocal.eventlog.log import Event

Progress = Callable[[int, int], None]
"""Called with how many blocks are done, and of how many."""

_MOST_BYTES = 8 << 30


class LayerVolume:
    """The data of a layer, (y, x) or (z, y, x), as a volume that is only read."""

    def __init__(self, data: Any, voxel_nm: tuple[float, float, float] | None = None) -> None:
        self._data = data if data.ndim == 3 else data[None]
        shape = tuple(int(n) for n in self._data.shape)
        if len(shape) != 3 or 0 in shape or np.dtype(data.dtype).kind not in "uif":
            raise UsageError(f"expected a grey (y, x) or (z, y, x) layer of numbers, got {data.shape} of {data.dtype}")
        z, y, x = shape
        chunk = (1, min(y, 512), min(x, 512))
        self.info = VolumeInfo((z, y, x), np.dtype(data.dtype), chunk, chunk, voxel_nm)

    def read(self, box: Box, /) -> Counts:
        """Read a (z, y, x) box."""
        return np.asarray(self._data[box.slices])

    def write(self, box: Box, counts: Counts, /) -> None:
        """Refuse: layers that were recorded are not changed."""
        raise UsageError("recorded layers are not changed")

    def missing(self, box: Box, /) -> int:
        """Nothing is missing in a layer."""
        return 0

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True, slots=True)
class Graded:
    """What the gate said of one (z, y, x) box."""

    box: Box
    event: Event


@dataclass(frozen=True, slots=True)
class Done:
    """What came out."""

    graded: tuple[Graded, ...]
    counts: Counts | None = None
    """(z, y, x) of the part; None after grading, and where it was cancelled."""
    cancelled: bool = False

    def summary(self) -> str:
        """Return one line for people."""
        tally: dict[str, int] = {}
        for graded in self.graded:
            name = str(graded.event["decision" if self.counts is not None else "verdict"] or "failed")
            tally[name] = tally.get(name, 0) + 1
        errors = [str(g.event["error"]) for g in self.graded if g.event["error"]]
        words = ", ".join(f"{n} {name}" for name, n in tally.items()) or "nothing done"
        return ("cancelled: " if self.cancelled else "") + words + (f"; first error: {errors[0]}" if errors else "")


def grade(
    volume: LayerVolume, part: Box, gate: Gate, tile_px: int, stop: threading.Event, progress: Progress | None = None
) -> Done:
    """Grade the tiles of a part; what was graded before `stop` was set is returned.

    Parameters
    ----------
    volume, part
        What is graded, and its (z, y, x) box.
    gate
        Who grades.
    tile_px
        Edge of the tiles; the last ones of an axis reach back into the part, so that all are of one size.
    """
    blocks = [_block(z, box, (0, 0), volume) for z in _sections(part) for box in _tiles(part, tile_px)]
    events = _run(volume, blocks, None, ArraySink(keep=False), gate, stop, progress)
    return Done(_graded(blocks, events), cancelled=stop.is_set())


def restore(
    volume: LayerVolume,
    part: Box,
    restorer: Restorer,
    gate: Gate | None,
    stop: threading.Event,
    progress: Progress | None = None,
) -> Done:
    """Restore each section of a part; sections that the gate does not give to the restorer stay as they are.

    Raises
    ------
    UsageError
        If the result would not fit into memory.
    """
    size = int(np.prod(part.shape, dtype=np.int64)) * volume.info.dtype.itemsize
    if size > _MOST_BYTES:
        raise UsageError(f"the result has {size / 2**30:.0f} GiB; restore volumes of this size with `refocal restore`")
    reach = restorer.reach
    halo = max(reach.halo, reach.window or 0)
    blocks = [_block(z, Box(part.start[1:], part.stop[1:]), (halo, halo), volume) for z in _sections(part)]
    counts: Counts = np.zeros(part.shape, volume.info.dtype)
    sink = ArraySink(counts, box=part, keep=False)
    events = _run(volume, blocks, restorer, sink, gate, stop, progress)
    if stop.is_set():
        return Done(_graded(blocks, events), cancelled=True)
    for block in blocks:
        if events[block.key]["decision"] in ("failed", "unreadable"):
            counts[block.write.inside(part)] = volume.read(block.write)
    return Done(_graded(blocks, events), counts)


def _sections(part: Box) -> range:
    return range(part.start[0], part.stop[0])


def _tiles(part: Box, tile_px: int) -> Iterator[Box]:
    shape = part.shape[1:]
    for block in plan(shape, (tile_px, tile_px), (0, 0)):
        start = [max(0, min(a, n - tile_px)) for a, n in zip(block.write.start, shape, strict=True)]
        yield Box(
            tuple(o + a for o, a in zip(part.start[1:], start, strict=True)),
            tuple(o + min(a + tile_px, n) for o, a, n in zip(part.start[1:], start, shape, strict=True)),
        )


def _block(z: int, box: Box, halo: tuple[int, int], volume: LayerVolume) -> Block:
    seen = box.grow(halo, volume.info.shape[1:])
    write, read = (Box((z, *b.start), (z + 1, *b.stop)) for b in (box, seen))
    return Block(f"{z}@{box.start[0]},{box.start[1]}", write, read)


class _Sections:
    """Source: one section of a block at a time, until it is told to stop."""

    def __init__(self, volume: LayerVolume, blocks: Iterable[Block], stop: threading.Event) -> None:
        self._volume, self._blocks, self._stop = volume, blocks, stop
        self._contrast = SectionContrast(volume)

    def __iter__(self) -> Iterator[Block]:
        for block in self._blocks:
            if self._stop.is_set():
                return
            yield block

    def read(self, block: Block, /) -> Frames:
        page = Page(block.key, block.write, block.read, block)
        frames = frames_of(self._volume.read(block.read)[0], page, self._volume, self._contrast)
        # What is looked at is an image of its own: a net with a global context takes it from what is read here.
        return replace(frames, piece=None)


def _run(
    volume: LayerVolume,
    blocks: list[Block],
    restorer: Restorer | None,
    sink: Sink,
    gate: Gate | None,
    stop: threading.Event,
    progress: Progress | None,
) -> Mapping[str, Event]:
    events: dict[str, Event] = {}

    def show(event: Event) -> None:
        events[str(event["key"])] = event
        if progress:
            progress(len(events), len(blocks))

    source = _Sections(volume, blocks, stop)
    run(source, restorer, sink, gate=gate, batch=1, ahead=1, progress=show)
    return events


def _graded(blocks: Iterable[Block], events: Mapping[str, Event]) -> tuple[Graded, ...]:
    return tuple(Graded(block.write, events[block.key]) for block in blocks if block.key in events)
