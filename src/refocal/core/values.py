"""Every value and protocol that crosses a seam.

Pixels are float32 in contrast units (0 and 1 are the counts `low` and `high` of a `Contrast`); counts are what the
microscope wrote. Axis order is (frame, y, x). Lengths are pixels (`_px`) or nanometres (`_nm`), never bare.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from refocal.core.blocks import Block, Box
from refocal.core.errors import UnsupportedError

Pixels = NDArray[np.float32]
Counts = NDArray[Any]
Labels = NDArray[np.integer[Any]]
"""(y, x) or (section, y, x); each cell has a number, 0 is no cell."""
Verdict = Literal["keep", "restore", "retake", "no_content", "unreadable"]


@dataclass(frozen=True, slots=True)
class Contrast:
    """The counts that mean 0 and 1; one for a whole run, because a contrast per tile shows as seams."""

    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        """Refuse an empty range."""
        if not self.high > self.low:
            raise ValueError(f"contrast needs low < high, got {self.low} and {self.high}")

    @classmethod
    def of(cls, dtype: Any) -> "Contrast":
        """Return the full range of an integer dtype, and [0, 1] for a floating one."""
        dtype = np.dtype(dtype)
        if dtype.kind in "ui":
            info = np.iinfo(dtype)
            return cls(float(info.min), float(info.max))
        return cls()

    def unit(self, counts: Counts) -> Pixels:
        """Scale counts of any shape to contrast units."""
        scale = np.float32(1.0 / (self.high - self.low))
        pixels: Pixels = np.multiply(counts, scale, dtype=np.float32)
        if self.low:
            pixels -= np.float32(self.low) * scale
        return pixels

    def counts(self, unit: Pixels, dtype: Any) -> Counts:
        """Scale contrast units back to `dtype`, clipped to its finite range, and rounded to nearest for integers."""
        dtype = np.dtype(dtype)
        scaled = unit * np.float32(self.high - self.low) + np.float32(self.low)
        total = float(scaled.sum(dtype=np.float64))
        if math.isnan(total) or (math.isinf(total) and dtype.kind in "ui"):
            raise UnsupportedError("there is no count for pixels that are not finite, and the result has such pixels")
        if dtype.kind not in "ui":
            limit = np.float32(min(np.finfo(dtype).max, np.finfo(np.float32).max))
            return np.clip(scaled, -limit, limit, out=scaled).astype(dtype)
        info = np.iinfo(dtype)
        np.rint(scaled, out=scaled)
        return np.clip(scaled.astype(np.float64) if dtype.itemsize > 2 else scaled, info.min, info.max).astype(dtype)


UNIT = Contrast()

RECORDED, MOVED, INVENTED = 0, 1, 2
"""Where a restored pixel comes from: as recorded, sampled from elsewhere in the section, made from neighbours."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Where frames lie in a larger field, of which only a core is to be restored; the rest is what the net sees."""

    core: Box
    """(y, x) in the frames."""
    origin: tuple[int, int]
    """(y, x) of the frames in the field."""
    field: tuple[int, int]
    """Height and width of the field."""
    context: Pixels | None = None
    """What a net with a global context has gathered over the whole field."""


@dataclass(frozen=True, slots=True)
class Frames:
    """K views of one field; `target` is the one to restore.

    A tile has K = 1, a folded section with its neighbours K = 3, a burst K = n.
    """

    counts: Counts
    """(frame, y, x), as the microscope wrote them."""
    target: int = 0
    contrast: Contrast = None  # type: ignore[assignment]  # never None after __post_init__
    """Without it the range of the dtype, for integers. Counts of other dtypes have no range and need one."""
    valid: NDArray[np.bool_] | None = None
    """(frame, y, x): False where a pixel means that nothing was measured; None where every pixel counts."""
    pixel_nm: float | None = None
    piece: Piece | None = None
    """Set where these are a piece of a larger field; pixels outside of its core may come back as they were."""
    warnings: tuple[str, ...] = ()
    """What a person should know of where they come from; goes into the log."""

    def __post_init__(self) -> None:
        """Refuse anything but (frame, y, x), and take the contrast of integers from their dtype.

        Raises
        ------
        ValueError
            If the axes or the target are wrong, or counts that are no integers come without a contrast.
        """
        if self.counts.ndim != 3:
            raise ValueError(f"frames need the axes (frame, y, x), got shape {self.counts.shape}")
        if not 0 <= self.target < self.counts.shape[0]:
            raise ValueError(f"target frame {self.target} is not among {self.counts.shape[0]} frames")
        if self.contrast is None:
            object.__setattr__(self, "contrast", _range_of(self.counts.dtype))

    @property
    def image(self) -> Counts:
        """The (y, x) counts of the target frame."""
        view: Counts = self.counts[self.target]
        return view


def _range_of(dtype: np.dtype[Any]) -> Contrast:
    if dtype.kind not in "ui":
        raise ValueError(
            f"frames of {dtype} need a contrast, the counts that mean black and white, e.g. contrast=Contrast(0, 255)"
        )
    return Contrast.of(dtype)


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restorer returns for one `Frames`."""

    counts: Counts
    """(y, x), in the dtype of the frames."""
    trust: Pixels | None = None
    """(y, x) in [0, 1], only where something really estimates it."""
    contrast: Contrast = UNIT
    origin: NDArray[np.uint8] | None = None
    """(y, x): `RECORDED`, `MOVED` or `INVENTED` for each pixel, where the restorer can tell."""
    flow: Pixels | None = None
    """(2, y, x), order y, x: pixel p was recorded at p + flow(p), px, where the restorer moved something."""


@dataclass(frozen=True, slots=True)
class Example:
    """For training and testing: what was seen, what is true, what the degradation knows.

    Degradations map examples to examples. `frames` carries float32 counts in contrast units here.
    """

    frames: Frames
    truth: Pixels
    """(y, x) in contrast units."""
    hints: Mapping[str, Any] = field(default_factory=dict)
    """What the degradations did: blur width, noise, flow, mask ..."""


@dataclass(frozen=True, slots=True)
class Reach:
    """What a net needs around a pixel; declared by the net and proven by a gradient test."""

    halo: int = 0
    """Pixels on every side that can change an output pixel."""
    multiple: int = 1
    """Height and width must be multiples of this."""
    window: int | None = None
    """Set by nets that mix the whole field and are run on windows of this size."""
    context: bool = False
    """True for nets with a global context that is gathered over all parts first (`gather`, `finish`)."""


@dataclass(frozen=True, slots=True)
class Grade:
    """What a gate found in one `Frames`. None means not measurable."""

    verdict: Verdict
    reason: str
    sigma_px: float | None = None
    """Standard deviation of the equivalent blur, pixels."""
    noise: float | None = None
    """Standard deviation of the white noise, counts."""
    anisotropy: float | None = None
    """0 for isotropic sharpness, towards 1 for directional blur (or directional tissue)."""
    angle_deg: float | None = None
    """Direction of the strongest blur, degrees from x towards y, 0 to 180."""
    expected: float | None = None
    """Expected PSNR after restoring, dB, where a calibration knows it."""
    structure: object = field(default=None, compare=False, repr=False)
    """The structure function that this was read from, for whoever looks at the same pixels next; not logged."""


@dataclass(frozen=True, slots=True)
class ImageInfo:
    """What is known of an image file without its pixels."""

    shape: tuple[int, int, int]
    """(page, y, x)."""
    dtype: np.dtype[Any]
    pixel_nm: float | None = None
    """Pixel edge in nanometres, None where the file does not say; the width where pixels are not square."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Stage position (`stage_x_nm`, `stage_y_nm`), working distance, dwell time ... as far as the file says."""
    warnings: tuple[str, ...] = ()
    """What a person should know, e.g. content and extension disagree."""
    kind: str = field(default="", compare=False)
    """Format that the content of the file shows; empty for an image that is no file yet."""
    pixel_y_nm: float | None = None
    """Height of a pixel where it differs from the width; None for square pixels."""
    section_nm: float | None = None
    """Distance of the pages where the file says that they are sections, None where it does not."""
    origin_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """(page, y, x) of the centre of the first pixel."""
    missing: int = 0
    """Pages that the file promises and does not hold: it is still growing, or was cut off."""
    no_data: tuple[float, ...] = ()
    """Counts that the file declares to mean "nothing was measured here"."""


class ImageFile(Protocol):
    """An image file opened read-only; a context manager."""

    info: ImageInfo

    def read(self, page: int = 0, box: Box | None = None) -> Counts:
        """Read a page, or a (y, x) box of it, as (y, x) counts."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...

    def __enter__(self) -> "ImageFile":
        """Return itself."""
        ...

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        ...


class Format(Protocol):
    """One file format; a part of the family `formats`."""

    extensions: tuple[str, ...]

    def matches(self, head: bytes) -> bool:
        """Say from the first bytes of a file whether it is of this format."""
        ...

    def open(self, path: Path, file: BufferedReader | None = None) -> ImageFile:
        """Open a file read-only, or go on with one that was opened already; the image closes it."""
        ...

    def create(self, path: Path, pages: Iterable[Counts], like: ImageInfo, source: Path | None = None) -> None:
        """Write an image with the pixel size and metadata of `like`, and the tags of the file `source`."""
        ...


class Restorer(Protocol):
    """Turns frames into restored pixels."""

    reach: Reach

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore each of the frames; never changes them."""
        ...


@runtime_checkable
class LearnedRestorer(Restorer, Protocol):
    """A restorer that runs one trained model."""

    model_sha256: str | None
    """SHA-256 of the model's tensors; None for a net in memory."""

    def gather(self, frames: Frames, /) -> NDArray[np.float64]:
        """Return what the core of a piece adds to the context of its field; only for nets with a global context."""
        ...


@runtime_checkable
class Net(Protocol):
    """What a net of the family `nets` declares of itself; images are (batch, channel, y, x)."""

    inputs: int
    """Channels of what it is given; those of one frame if it takes any number of frames."""
    outputs: int
    """Channels of its answer."""
    frames: int
    """Frames of a burst that it looks at; 0 for any number of them."""
    reach: Reach
    # A net may also have `told`, the names of maps that follow the channels of an image, with what was measured of the
    # degradation: "sigma_px", and "noise" in contrast units.


class Source(Protocol):
    """A finite or endless iterable of blocks that can be read."""

    def __iter__(self) -> Iterator[Block]:
        """Yield blocks, blocking while an endless source has nothing new."""
        ...

    def read(self, block: Block, /) -> Frames:
        """Read one block's read box; called from several threads at once."""
        ...


class Sink(Protocol):
    """Knows which blocks it has and writes the rest.

    What `write` and `carry` return goes into the block's event in the log (`output`, `output_sha256` ...); None adds
    nothing.
    """

    def has(self, block: Block, /) -> bool:
        """Say whether the block is already there, whole; called from several threads at once."""
        ...

    def write(self, block: Block, restored: Restored, /) -> Mapping[str, Any] | None:
        """Write one block, whole or not at all."""
        ...

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> Mapping[str, Any] | None:
        """Take over a block that is not restored (kept, to be retaken, or empty), unchanged."""
        ...


class Gate(Protocol):
    """Says whether a block is good as it is, worth restoring, or beyond help."""

    def __call__(self, frames: Frames, /) -> Grade:
        """Grade frames without changing them."""
        ...


@runtime_checkable
class CalibratedGate(Gate, Protocol):
    """A gate that was calibrated to one microscope and one specimen."""

    sha256: str
    """SHA-256 of its calibration."""

    def same_pixel(self, pixel_nm: float | None, /) -> None:
        """Raise `UnsupportedError` if images have another pixel size than the calibration."""
        ...


class Degradation(Protocol):
    """What goes wrong: a frozen set of parameters applied to an example."""

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Return a degraded example; the truth and the input stay as they are."""
        ...


class Metric(Protocol):
    """How good: higher or lower is better as the metric says."""

    def __call__(self, got: Pixels, truth: Pixels, /) -> float:
        """Compare two images of one shape in contrast units."""
        ...


class Segmenter(Protocol):
    """What restoration is for: sections to cells."""

    nets: tuple[str, ...]
    """Kinds of nets whose answer it understands; it takes such a net in memory as its option `model`."""
    volume: bool
    """True where the frames are labelled together, as sections of one volume; else each by itself."""

    def __call__(self, frames: Frames, /) -> Labels:
        """Label every frame, taken as sections of one volume: (section, y, x), 0 is no cell; never changes them."""
        ...
