"""A stream of frames as a source of bursts: each block is a reference frame with the frames that show the same place.

The frames come from any source of tiles: files and pages in their order, or the source of the microscope watch, which
never ends. They are read twice: once, in order, to follow the stage, and again, several bursts at a time, to be
registered to their reference. Only the last two frames are kept in memory, and a few numbers of the others.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import cv2
import numpy as np

from refocal.core.blocks import Block, Box
from refocal.core.errors import LaterError, TileError, UnsupportedError
from refocal.core.values import Contrast, Counts, Frames, Pixels
from refocal.engine.streams.frame_quality import Quality, measure
from refocal.engine.streams.track import Burst, Choice, Seen, Track
from refocal.engine.tiles.reading import read_tile
from refocal.engine.tiles.tiles import Tile
from refocal.imaging import shift_registration
from refocal.imaging.intensity_window import EIGHT_BIT, propose, windowed
from refocal.parts.formats import open_image

_NOTHING = Quality(0.0, 0.0, 0.0, 0.0, 0.0)
_SAMPLES, _LARGE_PX = 8, 512


class FrameSource(Protocol):
    """Frames, one by one, in the order in which they were taken."""

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks of the frames."""
        ...

    def read(self, block: Block, /) -> Frames:
        """Read one frame as (1, y, x) counts."""
        ...

    def tile(self, block: Block, /) -> Tile:
        """Return the file and page of a frame."""
        ...


@dataclass(frozen=True, slots=True)
class BurstRecord:
    """What became of one burst when it was read."""

    box: Box
    """The part of the reference that is restored."""
    shifts: tuple[tuple[float, float], ...]
    """(y, x) of the frames to the reference, px."""
    frames: tuple[str, ...]
    left_out: Mapping[str, str]


class BurstSource:
    """Bursts of a stream.

    Parameters
    ----------
    frames
        The stream.
    choice
        Which frames are restored, and from what.
    window
        Counts that become 0 and 255 of 8 bits; None proposes one from the first frame that has any content.
    motion
        How frames may differ: by a shift, or also by a rotation.
    known
        The `frame` events of an earlier run of the same job: these frames are not looked at again.
    tell
        Called with one `frame` event for each new frame, and with one `window` event if a window was proposed.
    done
        Called with the block of a frame when the stream has no more use of its source for it.
    """

    def __init__(
        self,
        frames: FrameSource,
        choice: Choice,
        window: Contrast | None = None,
        *,
        motion: shift_registration.Motion = "translation",
        known: Mapping[str, Mapping[str, Any]] | None = None,
        tell: Callable[[Mapping[str, Any]], object] = lambda event: None,
        done: Callable[[Block], object] = lambda block: None,
    ) -> None:
        self.bursts = 0
        """How many bursts were found so far."""
        self._window = window
        self._frames, self._track, self._motion = frames, Track(choice), motion
        self._known, self._tell, self._done = dict(known or {}), tell, done
        self._tiles: dict[str, Tile] = {}
        self._shape: tuple[int, int] | None = None
        self._fresh = True
        self._bursts: dict[str, Burst] = {}
        self._taken: dict[str, BurstRecord] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Count the bursts found so far."""
        return self.bursts

    def __iter__(self) -> Iterator[Block]:
        """Follow the stage and yield a block for each burst, named after its reference."""
        order, last = 0, None
        for block in self._frames:
            if block.key in self._tiles:
                continue  # a growing stack gives its first pages again
            event = self._known.get(block.key)
            try:
                seen = Seen.of(event, order) if event else self._look(block, order, last)
            except LaterError:
                continue
            self._tiles[block.key] = self._frames.tile(block)
            self._done(block)
            self._fresh = event is None
            last = seen if event and not seen.fault else None if event is None else last
            self._shape = self._shape or (None if seen.fault else seen.shape)
            order += 1
            for burst in self._track.add(seen):
                yield self._block(burst)
        for burst in self._track.finish():
            yield self._block(burst)

    def _look(self, block: Block, order: int, last: Seen | None) -> Seen:
        """Read a frame, judge it, find its place, and tell of it."""
        try:
            counts = self._frames.read(block).image
        except LaterError:
            raise
        except TileError as error:
            why = _reason(error, self._frames.tile(block))
            seen = Seen(block.key, order, self._shape or (0, 0), _NOTHING, fault=why)
        else:
            if last is not None and not self._fresh:
                self._track.resume(last, self._soft(self._page(last.key)))
            seen = self._placed(block.key, order, counts)
        self._tell(seen.event())
        return seen

    def _placed(self, key: str, order: int, counts: Counts) -> Seen:
        shape = (counts.shape[0], counts.shape[1])
        if self._shape and shape != self._shape:
            wrong = f"is {shape[0]} x {shape[1]} px; the stream is {self._shape[0]} x {self._shape[1]}"
            return Seen(key, order, shape, _NOTHING, fault=wrong)
        if self._window is None and counts.min() < counts.max():
            self._window = EIGHT_BIT if counts.dtype == np.uint8 else propose([counts])
            self._tell({"event": "window", "low": self._window.low, "high": self._window.high})
        quality = measure(counts, self.window)
        seen = Seen(key, order, shape, quality, fault=quality.fault)
        return seen if seen.fault else self._track.place(seen, self._soft(counts))

    def read(self, block: Block, /) -> Frames:
        """Read the frames of a burst, register them to the reference, and cut them to what all of them show.

        Returns
        -------
        Frames
            (frame, y, x) uint8, the reference first; no pixel is valid where it should not be restored.

        Raises
        ------
        UnreadableError, UnsupportedError
            If the reference cannot be read.
        """
        with self._lock:
            burst = self._bursts[block.key]
        reference = self._windowed(self._page(burst.reference.key))
        soft, left = shift_registration.softened(reference), dict(burst.left_out)
        found: list[tuple[Seen, Counts, shift_registration.Warp]] = []
        for seen in burst.frames[1:]:
            start = (burst.reference.at[0] - seen.at[0], burst.reference.at[1] - seen.at[1])
            try:
                frame = self._windowed(self._page(seen.key))
                found.append(
                    (
                        seen,
                        frame,
                        shift_registration.refine(soft, shift_registration.softened(frame), start, self._motion).warp,
                    )
                )
            except TileError as error:
                left[seen.key] = _reason(error, self._tiles[seen.key])
        box = shift_registration.intersection(burst.reference.shape, [warp for _, _, warp in found])
        planes = [reference[box.slices], *(shift_registration.resampled(frame, warp, box) for _, frame, warp in found)]
        shifts = ((0.0, 0.0), *((float(warp[1, 2]), float(warp[0, 2])) for _, _, warp in found))
        names = (burst.reference.key, *(seen.key for seen, _, _ in found))
        with self._lock:
            self._taken[block.key] = BurstRecord(box, shifts, names, left)
        counts = np.stack([np.clip(np.rint(plane), 0, 255).astype(np.uint8) for plane in planes])
        hopeless = np.zeros(counts.shape, bool) if burst.reference.fault else None
        return Frames(counts, 0, EIGHT_BIT, hopeless, self._pixel_nm(burst.reference.key))

    def facts(self, block: Block) -> dict[str, Any]:
        """Return what the event of a burst says beyond its grade: frames, crop, position, window, pixel size."""
        with self._lock:
            taken, burst = self._taken.pop(block.key), self._bursts.pop(block.key)
        (y, x), (top, left) = burst.reference.at, taken.box.start
        return {
            "frames": list(taken.frames),
            "left_out": dict(taken.left_out),
            "shifts_px": [[round(value, 3) for value in shift] for shift in taken.shifts],
            "crop_px": [*taken.box.start, *taken.box.stop],
            "segment": burst.reference.segment,
            "at_px": [round(y + top, 3), round(x + left, 3)],
            "window": [self.window.low, self.window.high],
            "pixel_nm": self._pixel_nm(burst.reference.key),
        }

    def _block(self, burst: Burst) -> Block:
        key = burst.reference.key
        with self._lock:
            self._bursts[key] = burst
        self.bursts += 1
        box = Box((0, 0), burst.reference.shape)
        return Block(key, box, box)

    def _page(self, key: str) -> Counts:
        tile = self._tiles[key]
        return read_tile(tile.path, tile.page, lambda *_: self.window, growing=True).image

    @property
    def window(self) -> Contrast:
        """Counts that become 0 and 255."""
        return self._window or EIGHT_BIT

    def _windowed(self, counts: Counts) -> Counts:
        return windowed(counts, self.window)

    def _soft(self, counts: Counts) -> Pixels:
        """Return a frame for following the stage; large ones at half size, which is fine enough for that."""
        eight = self._windowed(counts)
        if min(eight.shape) >= _LARGE_PX:
            eight = cv2.resize(eight, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
        return shift_registration.softened(eight)

    def _pixel_nm(self, key: str) -> float | None:
        tile = self._tiles[key]
        if tile.info:
            return tile.info.pixel_nm
        with open_image(tile.path) as image:
            return image.info.pixel_nm


def _reason(error: TileError, tile: Tile) -> str:
    """Return what is wrong with a frame, without its name, which stands beside it."""
    return str(error).removeprefix(f"{tile.path}: ")


def propose_window(tiles: list[Tile]) -> Contrast:
    """Propose a window from frames spread over a stream, all of one type; 8-bit frames keep theirs.

    Raises
    ------
    UnsupportedError
        If no frame can be read (with what the last one says), or none has more than one grey value.
    """
    samples: list[Counts] = []
    unread = None
    for index in np.linspace(0, len(tiles) - 1, min(_SAMPLES, len(tiles))) if tiles else ():
        tile = tiles[round(index)]
        try:
            samples.append(read_tile(tile.path, tile.page, lambda *_: EIGHT_BIT, growing=True).image)
        except TileError as error:
            unread = error
    if unread and not samples:
        raise UnsupportedError(f"no frame can be read: {unread}") from unread
    if samples and all(sample.dtype == np.uint8 for sample in samples):
        return EIGHT_BIT
    try:
        return propose(samples)
    except ValueError as error:
        raise UnsupportedError(f"no window can be proposed: {error}; give one with --window LOW,HIGH") from error
