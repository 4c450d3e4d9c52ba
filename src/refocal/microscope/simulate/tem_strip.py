"""Plays a transmission microscope whose stage moves: streams, and stopped frames of the same places.

The experiment of Wieslander et al. 2021. A strip of specimen is imaged by stopped frames with half overlap and half the
pixel size; then the stage moves along it while a fast camera takes frames, each exposed for a part of the time between
two. A specimen is a function (height, width, rng) -> (y, x) transmission in 0..1 at the pixel size of the stopped
frames; `tissue` and `calibration_grid` make some. Everything follows from a seed.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from refocal.core.atomic import whole
from refocal.core.values import Counts, ImageInfo, Pixels
from refocal.imaging import exposure
from refocal.imaging.phantom import draw_section
from refocal.learn.examples.tiles import binned
from refocal.parts.formats import create_image

Specimen = Callable[[int, int, np.random.Generator], Pixels]


@dataclass(frozen=True, slots=True)
class Microscope:
    """How it is recorded. Pixels are those of the stream unless a name says otherwise."""

    edge_px: int = 1024
    """Of a frame of the stream; a stopped frame has twice as many, of half the size."""
    pixel_nm: float = 31.25
    step_px: float = 60.0
    """Way of the stage from frame to frame, along -y of the image's content, with a spread of `uneven`."""
    uneven: float = 0.2
    exposure: float = 0.1
    """Share of the time between two frames for which the camera is exposed."""
    sway_px: float = 1.5
    """Standard deviation of the step across the way."""
    walk_px: float = 1.0
    """Random walk within an exposure; see the degradation `stream`."""
    drift_px: float = 0.0
    """Drift of the specimen across the way, over the whole sequence."""
    electrons: float = 60.0
    """Per pixel of a frame where nothing absorbs."""
    stopped_electrons: float = 1000.0
    """Per pixel of a stopped frame."""
    nyquist: float = 0.25
    read: float = 1.0
    gain: float = 40.0
    """Counts per electron of the stream; the stopped frames are scaled to the same white."""
    offset: float = 100.0
    bits: int = 16

    def steps(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Return (frame, 2) positions y, x of the frames, the first at the origin, y falling."""
        along = -self.step_px * np.maximum(1 + self.uneven * rng.standard_normal(count - 1), 0.1)
        across = self.sway_px * rng.standard_normal(count - 1) + self.drift_px / max(count - 1, 1)
        way: NDArray[np.float64] = np.vstack([[0.0, 0.0], np.cumsum(np.stack([along, across], 1), 0)])
        return way


@dataclass(frozen=True, slots=True)
class Strip:
    """One strip: what was recorded, and what is true."""

    microscope: Microscope
    world: Pixels
    """(y, x) of the whole strip at the pixel size of the stopped frames."""
    at_px: NDArray[np.float64]
    """(frame, 2) true positions y, x of the frames of the stream in the world, in their own pixels."""
    stopped_px: NDArray[np.int64]
    """(frame, 2) positions y, x of the stopped frames in the world, in their own pixels."""
    seed: tuple[int, ...]

    def stream(self) -> Iterator[Counts]:
        """Yield the (y, x) uint16 frames of the stream."""
        scope = self.microscope
        coarse = binned(self.world, 2)
        length = scope.step_px * scope.exposure
        for index, at in enumerate(self.at_px):
            rng = np.random.default_rng([*self.seed, 1, index])
            way = exposure.path(length, 90.0, 0.0, scope.walk_px, rng)
            yield self._counts(self._exposed(coarse, at, way, rng), scope.gain)

    def stopped(self) -> Iterator[Counts]:
        """Yield the (y, x) uint16 stopped frames."""
        scope = self.microscope
        edge = 2 * scope.edge_px
        for index, (y, x) in enumerate(self.stopped_px):
            rng = np.random.default_rng([*self.seed, 2, index])
            crop = self.world[y : y + edge, x : x + edge]
            counted = exposure.counted(crop, scope.stopped_electrons, scope.nyquist, scope.read, rng)
            yield self._counts(counted, scope.gain)

    def _exposed(self, coarse: Pixels, at: NDArray[np.float64], way: exposure.Path, rng: np.random.Generator) -> Pixels:
        scope = self.microscope
        rest = at - np.floor(at)
        # The content moves against the frame: what lies at +rest in the world is seen at 0.
        kernel = exposure.kernels([way - rest[::-1, None]])[0]
        r = kernel.shape[0] // 2
        y, x = (int(n) for n in np.floor(at))
        edge = scope.edge_px
        padded = np.pad(coarse, r + 1, mode="reflect")[y + 1 : y + 1 + edge + 2 * r, x + 1 : x + 1 + edge + 2 * r]
        blurred = _convolved(padded, kernel)[r : r + edge, r : r + edge]
        return exposure.counted(blurred, scope.electrons, scope.nyquist, scope.read, rng)

    def _counts(self, transmission: Pixels, gain: float) -> Counts:
        scope = self.microscope
        counts = np.rint(scope.offset + transmission * (scope.electrons * gain))
        top = 2**scope.bits - 1
        written: Counts = np.clip(counts, 0, top).astype(np.uint16)
        return written


def record(
    specimen: Specimen,
    microscope: Microscope,
    stopped: int,
    seed: Sequence[int],
) -> Strip:
    """Lay a strip out for so many stopped frames, and the path of the stream over it."""
    rng = np.random.default_rng([*seed, 0])
    edge = microscope.edge_px
    length = edge * (stopped + 1) // 2
    count = 1 + int(np.ceil((length - edge) / microscope.step_px)) if stopped > 1 else 5
    way = microscope.steps(count, rng)
    way[:, 0] *= min(1.0, (length - edge) / max(-way[-1, 0], 1e-9)) if stopped > 1 else 1.0
    slack = int(np.ceil(max(8.0, np.abs(way[:, 1]).max() + 4)))
    way += (slack - way[:, 0].min(), slack)
    height = int(np.ceil(max(length, way[:, 0].max() - slack + edge))) + 2 * slack
    world = specimen(2 * height, 2 * (edge + 2 * slack), rng)
    # From the end where the stream begins; each stopped frame half a frame on.
    tops = [2 * (height - slack - edge) - i * edge for i in range(stopped)]
    return Strip(microscope, world, way, np.array([(y, 2 * slack) for y in tops]), tuple(seed))


def tissue(images: Sequence[Pixels] = (), cells: float = 0.0) -> Specimen:
    """Return a specimen of tissue: sharp images in 0..1, each strip a mirrored cut of one, or drawn neuropil.

    Parameters
    ----------
    images
        (y, x) at the pixel size of the stopped frames; one of them is drawn for each strip. Empty draws neuropil.
    cells
        Height of the cells of the supporting grid in pixels of the stopped frames; 0 is no grid.
    """

    def draw(height: int, width: int, rng: np.random.Generator) -> Pixels:
        if images:
            image = images[int(rng.integers(len(images)))]
            y, x = (int(rng.integers(0, max(1, n - m + 1))) for n, m in zip(image.shape, (height, width), strict=True))
            cut = image[y : y + height, x : x + width]
            world = np.pad(cut, [(0, height - cut.shape[0]), (0, width - cut.shape[1])], mode="symmetric")
        else:
            world = draw_section((height, width), int(rng.integers(1 << 31)), 8.0)
        return barred(world.astype(np.float32), cells, rng)

    return draw


def calibration_grid(period_px: float = 36.0, line_px: float = 9.0, cells: float = 0.0) -> Specimen:
    """Return a specimen of a cross-line replica: bright squares, darker lines, worn edges and dirt.

    Lengths are pixels of the stopped frames.
    """

    def draw(height: int, width: int, rng: np.random.Generator) -> Pixels:
        angle = np.deg2rad(rng.uniform(-8, 8))
        y, x = np.mgrid[:height, :width].astype(np.float32)
        wobble = [ndimage.zoom(rng.normal(0, 0.8, (height // 64 + 3, width // 64 + 3)), 64, order=1) for _ in "yx"]
        u = np.cos(angle) * x + np.sin(angle) * y + wobble[0][:height, :width]
        v = np.cos(angle) * y - np.sin(angle) * x + wobble[1][:height, :width]
        lines = [np.abs((w + period_px / 2) % period_px - period_px / 2) for w in (u, v)]
        bright = 0.55 + 0.3 / (1 + np.exp(-(np.minimum(*lines) - line_px / 2) / 0.8))
        shade = ndimage.zoom(rng.normal(0, 0.04, (height // 96 + 3, width // 96 + 3)), 96, order=1)[:height, :width]
        grain = ndimage.gaussian_filter(rng.standard_normal((height, width)), 1.5) * 0.08
        world = bright + shade + grain
        for _ in range(max(2, height * width // 30_000)):
            _dirt(world, rng)
        return barred(np.clip(world, 0, 1).astype(np.float32), cells, rng)

    return draw


def barred(world: Pixels, cells: float, rng: np.random.Generator, share: float = 0.12) -> Pixels:
    """Return a strip with the bars of a supporting grid across it, one for each `cells` px, black."""
    if not cells:
        return world
    y = np.arange(world.shape[0], dtype=np.float32) + rng.uniform(0, cells)
    beside = np.abs(y % cells - cells / 2) - cells * share / 2
    passes = 1 / (1 + np.exp(-np.clip(beside / 2, -30, 30)))
    barred: Pixels = world * np.clip(passes, 0.0, 1.0).astype(np.float32)[:, None]
    return barred


def write(sequence: Strip, folder: Path) -> None:
    """Write `stream.tif`, `stopped_NN.tif` and `truth.json` (true positions, settings) into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    scope = sequence.microscope
    info = ImageInfo((len(sequence.at_px), scope.edge_px, scope.edge_px), np.dtype(np.uint16), scope.pixel_nm)
    create_image(folder / "stream.tif", sequence.stream(), like=info)
    fine = ImageInfo((1, 2 * scope.edge_px, 2 * scope.edge_px), info.dtype, scope.pixel_nm / 2)
    for index, page in enumerate(sequence.stopped()):
        create_image(folder / f"stopped_{index:02d}.tif", [page], like=fine)
    truth = {"at_px": sequence.at_px.tolist(), "stopped_px": sequence.stopped_px.tolist(), **asdict(scope)}
    with whole(folder / "truth.json") as part:
        part.write_text(json.dumps(truth))


def _dirt(world: NDArray[np.floating], rng: np.random.Generator) -> None:
    """Darken a blurred spot in place."""
    radius = float(rng.uniform(3, 14))
    r = int(3 * radius)
    y, x = int(rng.integers(world.shape[0])), int(rng.integers(world.shape[1]))
    box = tuple(slice(max(0, at - r), min(n, at + r)) for at, n in zip((y, x), world.shape, strict=True))
    rows, columns = np.ogrid[box]
    world[box] -= rng.uniform(0.1, 0.4) * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * (radius / 2) ** 2))


def _convolved(image: Pixels, kernel: NDArray[np.float64]) -> Pixels:
    """Convolve on a circle; the outer half kernel is wrong and is cut by the caller."""
    shape = image.shape
    big = np.zeros(shape)
    n = kernel.shape[0]
    big[:n, :n] = kernel
    big = np.roll(big, (-(n // 2), -(n // 2)), (0, 1))
    seen: Pixels = fft.irfft2(fft.rfft2(image) * fft.rfft2(big), shape).astype(np.float32)
    return seen
