"""A stream paired with stopped frames of the same places: blurred and noisy frames with the truth.

As Wieslander et al. 2021 made their data, but automatically: for each stopped frame, the frame of the stream that
matches it best, and its neighbours in time, are registered to it; all are cropped to what they share, and windowed to 8
bits. Stopped frames with finer pixels are averaged to those of the stream, and their grey values are fitted to it.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.blocks import Box
from refocal.core.errors import TileError, UnsupportedError
from refocal.core.values import Contrast, Counts, ImageInfo, Pixels
from refocal.engine.tiles.reading import read_tile
from refocal.engine.tiles.tiles import Tile
from refocal.imaging import shift_registration
from refocal.imaging.binning import binned
from refocal.imaging.contrast import percentile_contrast
from refocal.imaging.intensity_window import EIGHT_BIT, windowed
from refocal.parts.formats import create_image, open_image

SUFFIX = ".burst.tif"
"""End of the names of recorded bursts: page 0 is the stopped frame, the others are the frames of the stream."""
_SMOOTH_PX = 4.0
_CANDIDATES, _STRAY = 8, 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A stopped frame and the frames of the stream that show it."""

    truth: NDArray[np.uint8]
    """(y, x) at the pixel size of the stream."""
    frames: NDArray[np.uint8]
    """(frame, y, x); the best match first."""
    names: tuple[str, ...]
    """Of the stopped frame and the frames."""
    box: Box
    """The part of the stopped frame (averaged) that all show."""
    height: int
    """Of the stopped frame (averaged), before it was cut."""
    place: float
    """Position along the strip in px of the stream, from that of the stream's first frame: (y) of the box."""
    gain: float
    offset: float
    """Counts of the stream are gain x counts of the stopped frame + offset."""
    likeness: float
    left_out: dict[str, str]
    pixel_nm: float | None = None


class Coupler:
    """Finds the frames of a stream that show a stopped frame.

    Parameters
    ----------
    stream
        Frames in the order of time, all of one size.
    window
        Counts of the stream that become 0 and 255.
    frames
        How many go with a stopped frame.
    motion
        How frames may differ.
    """

    def __init__(
        self,
        stream: Sequence[Tile],
        window: Contrast,
        frames: int = 5,
        motion: shift_registration.Motion = "translation",
    ) -> None:
        self.window, self.frames, self._motion, self._stream = window, frames, motion, list(stream)
        self._soft = [shift_registration.softened(windowed(self._counts(tile), window)) for tile in self._stream]
        self._way: dict[int, shift_registration.Shift] = {}
        self._known: shift_registration.Expected | None = None

    def couple(self, stopped: Tile, along: float | None = None) -> Pair:
        """Return a stopped frame with its frames.

        Parameters
        ----------
        stopped
            The stopped frame.
        along
            Where in the stream its frames are to be expected, 0 to 1; tells places of a periodic specimen apart.

        Raises
        ------
        UnsupportedError
            If no frame shows its place, or its size is no whole multiple of that of the frames.
        """
        fine = self._counts(stopped)
        factor = max(1, round(fine.shape[0] / self._soft[0].shape[0]))
        counts = fine if factor == 1 else binned(fine.astype(np.float32), factor)
        if counts.shape != self._soft[0].shape:
            (height, width), (rows, columns) = fine.shape, self._soft[0].shape
            raise UnsupportedError(
                f"{_name(stopped)}: is {height} x {width} px; "
                f"expected a whole multiple of the stream's {rows} x {columns}"
            )
        own = shift_registration.softened(EIGHT_BIT.counts(_stretched(counts), np.uint8))
        best, shift = self._match(own, stopped, along)
        warps: list[tuple[int, shift_registration.Warp]] = []
        left: dict[str, str] = {}
        likeness = 0.0
        for index in self._around(best):
            try:
                found = shift_registration.refine(
                    own, self._soft[index], self._expected(best, shift, index), self._motion
                )
            except UnsupportedError as error:
                left[_name(self._stream[index])] = str(error)
                continue
            warps.append((index, found.warp))
            likeness = max(likeness, found.likeness)
        if not warps:
            raise UnsupportedError(f"{_name(stopped)}: no frame can be registered to it: {'; '.join(left.values())}")
        box = shift_registration.intersection((own.shape[0], own.shape[1]), [warp for _, warp in warps])
        if min(box.shape) < 16:
            raise UnsupportedError(f"{_name(stopped)}: its frames share only {box.shape[0]} x {box.shape[1]} px")
        planes = [shift_registration.resampled(self._counts(self._stream[i]), warp, box) for i, warp in warps]
        gain, offset = _fit(counts[box.slices], np.mean(planes, axis=0))
        truth = windowed(counts[box.slices] * np.float32(gain) + np.float32(offset), self.window)
        names = (_name(stopped), *(_name(self._stream[i]) for i, _ in warps))
        place = self._place(best) + shift[0] + box.start[0]
        seen = np.stack([windowed(plane, self.window) for plane in planes])
        return Pair(truth, seen, names, box, own.shape[0], place, gain, offset, likeness, left, self._pixel_nm())

    def _match(self, own: Pixels, stopped: Tile, along: float | None) -> tuple[int, shift_registration.Shift]:
        found: list[tuple[float, int, shift_registration.Shift]] = []
        for index, soft in enumerate(self._soft):
            try:
                shift, likeness = shift_registration.coarse(own, soft, (None, 0.0))
            except (UnsupportedError, cv2.error):
                continue
            found.append((likeness * _share(own, shift) - self._unlikely(index, along), index, shift))
        if not found:
            raise UnsupportedError(f"{_name(stopped)}: no frame of the stream shows its place")
        # Where the specimen is periodic, places look alike until they are registered finely.
        best = -np.inf, found[0][1], found[0][2]
        for _, index, shift in sorted(found, reverse=True)[:_CANDIDATES]:
            with suppress(UnsupportedError):
                fine = shift_registration.refine(own, self._soft[index], shift)
                score = fine.likeness * _share(own, fine.shift) - self._unlikely(index, along)
                best = max(best, (score, index, fine.shift))
        return best[1], best[2]

    def _unlikely(self, index: int, along: float | None) -> float:
        return 0.0 if along is None else _STRAY * abs(index / max(1, len(self._soft) - 1) - along)

    def _around(self, best: int) -> list[int]:
        near = sorted(range(len(self._stream)), key=lambda index: (abs(index - best), index))
        return near[: self.frames]

    def _expected(self, best: int, shift: shift_registration.Shift, index: int) -> shift_registration.Shift:
        """Return the shift of a frame to the stopped one, by way of the best."""
        step = 1 if index > best else -1
        y, x = shift
        for one in range(best, index, step):
            dy, dx = self._step(one, one + step)
            y, x = y + dy, x + dx
        return y, x

    def _step(self, one: int, two: int) -> shift_registration.Shift:
        low = min(one, two)
        if low not in self._way:
            a, b = self._soft[low], self._soft[low + 1]
            self._way[low] = shift_registration.refine(a, b, shift_registration.coarse(a, b, self._usual())[0]).shift
        dy, dx = self._way[low]
        return (dy, dx) if one < two else (-dy, -dx)

    def _usual(self) -> shift_registration.Expected:
        """Return the usual step of the stage, from some that are known without it."""
        if self._known is None:
            steps = []
            for low in range(0, len(self._soft) - 1, max(1, len(self._soft) // 12)):
                with suppress(UnsupportedError):
                    steps.append(shift_registration.coarse(self._soft[low], self._soft[low + 1], (None, 0.0))[0])
            middle = np.median(steps, axis=0) if steps else None
            self._known = (None, 0.0) if middle is None else (float(middle[0]), float(middle[1]))
        return self._known

    def _place(self, index: int) -> float:
        try:
            return -sum(self._step(i, i + 1)[0] for i in range(index))
        except UnsupportedError:
            return float("nan")

    def _counts(self, tile: Tile) -> Counts:
        return read_tile(tile.path, tile.page, lambda *_: self.window, growing=True).image

    def _pixel_nm(self) -> float | None:
        with open_image(self._stream[0].path) as image:
            return image.info.pixel_nm


def couple_all(coupler: Coupler, stopped: Sequence[Tile]) -> Iterator[Pair | str]:
    """Yield the pair of each stopped frame, or one line that says why there is none.

    Stopped frames and stream are taken to go the same way.
    """
    for index, tile in enumerate(stopped):
        try:
            yield coupler.couple(tile, index / (len(stopped) - 1) if len(stopped) > 1 else None)
        except TileError as error:
            yield str(error)


def write_pair(pair: Pair, path: Path) -> None:
    """Write a pair as one file: the stopped frame, then the frames; its name should end in `SUFFIX`."""
    pages = [pair.truth, *pair.frames]
    metadata = {"gain": round(pair.gain, 6), "offset": round(pair.offset, 3), "names": " ".join(pair.names)}
    create_image(
        path, pages, like=ImageInfo((len(pages), *pair.truth.shape), np.dtype(np.uint8), pair.pixel_nm, metadata)
    )


def _stretched(counts: Counts) -> Pixels:
    return np.clip(percentile_contrast(counts, 1e-3).unit(counts), 0, 1)


def _fit(stopped: Counts, seen: NDArray[np.floating]) -> tuple[float, float]:
    """Fit gain and offset of smoothed grey values, by least squares."""
    smooth = [cv2.GaussianBlur(plane.astype(np.float32), (0, 0), _SMOOTH_PX) for plane in (stopped, seen)]
    a, b = (plane.ravel().astype(np.float64) for plane in smooth)
    spread = float(a.var())
    gain = float(np.mean((a - a.mean()) * (b - b.mean()))) / spread if spread > 0 else 1.0
    return gain, float(b.mean() - gain * a.mean())


def _share(image: Pixels, shift: shift_registration.Shift) -> float:
    return float(np.prod([max(0.0, 1 - abs(s) / n) for s, n in zip(shift, image.shape, strict=True)]))


def _name(tile: Tile) -> str:
    return f"{tile.name}#{tile.page}" if tile.stacked else tile.name
