"""refocal for people with one image, or one stack."""

import importlib
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.core.errors import BadOptionError, UnreadableError, UnsupportedError
from refocal.core.values import Contrast, Counts, Frames, Gate, Grade, Restorer
from refocal.engine.backends import learned
from refocal.imaging.contrast import percentile_contrast
from refocal.imaging.no_data import filled_frames, no_data_values, valid
from refocal.parts.formats import open_image

if TYPE_CHECKING:
    from refocal.engine.loop import Check
    from refocal.engine.tiles.tiles import Carry
    from refocal.engine.watch import Settings, Watch
    from refocal.eventlog.log import Event


def load(model: str | Path = "gran-em", backend: str = "auto", **options: Any) -> Restorer:
    """Load a trained model as a restorer, a callable from frames to restored images.

    Parameters
    ----------
    model
        Name of a model that ships, or path of a model file.
    backend
        `auto`, `openvino`, `onnx` or `torch`.
    **options
        Options of the restorer, e.g. `precision="f32"`, `threads=1`.

    Raises
    ------
    UsageError
        If there is no such model or backend, or the file is damaged.
    """
    return learned(model, backend, **options)


def restore(
    image: Counts | str | Path | Sequence[Counts],
    model: str | Path | Restorer = "gran-em",
    *,
    contrast: tuple[float, float] | None = None,
    progress: bool | Callable[[int, int], None] | None = None,
) -> Counts:
    """Restore one image or stack, whatever its grade.

    Parameters
    ----------
    image
        (y, x) or (page, y, x) array, a list of (y, x) pages, or the path of an image file.
    model
        Name or path of a model, or a restorer.
    contrast
        Counts that mean black and white. Without it the range of 8-bit images, and the 0.1 and 99.9 percentiles of
        all others.
    progress
        None shows a bar for stacks if standard error is a terminal, True always, False never; the bar needs the
        package tqdm, and without it nothing is shown. Or what is called after each page with (done, total).

    Returns
    -------
    Counts
        An array of the same shape and dtype.

    Raises
    ------
    UnreadableError, UnsupportedError
        If the image cannot be read, is no grey (y, x) or (page, y, x) array, or holds values that are not finite.
    UsageError
        If there is no such model, or the contrast is no range.
    """
    counts, _ = _counts(image)
    restorer = load(model) if isinstance(model, str | Path) else model
    scale = _contrast(counts) if contrast is None else _given(contrast)
    # Pages that were read here are restored in place: a stack needs its memory once.
    out = counts if isinstance(image, str | Path) else np.empty(counts.shape, counts.dtype)
    pages = [(counts, out)] if counts.ndim == 2 else list(zip(counts, out, strict=True))
    with _shown(progress, len(pages)) as show:
        for done, (page, restored) in enumerate(pages, 1):
            frames = _frames(page, scale)
            there = True if frames.valid is None else frames.valid[0]
            restored[...] = np.where(there, restorer([frames])[0].counts, page)
            show(done, len(pages))
    return out


def grade(
    image: Counts | str | Path | Sequence[Counts],
    gate: str | Gate = "sharpness",
    *,
    pixel_nm: float | None = None,
    contrast: tuple[float, float] | None = None,
) -> Grade | list[Grade]:
    """Measure blur, noise and astigmatism of one image or stack, and say what a run would do with it.

    Parameters
    ----------
    image
        As for `restore`.
    gate
        Name of a gate, with its options as `NAME:OPTION=VALUE,...`, e.g. `sharpness:keep_px=0.9`, or a gate.
    pixel_nm
        Pixel edge, nm; without it what the file says. Only some gates ask for it.
    contrast
        As for `restore`.

    Returns
    -------
    Grade or list of Grade
        One for a (y, x) image, a list with one for each page of a stack.

    Raises
    ------
    UnreadableError, UnsupportedError
        As for `restore`; also if the gate was made for another pixel size.
    UsageError
        If there is no such gate, it does not take an option, or the contrast is no range.
    """
    from refocal.engine.job import Part

    judge: Gate = Part.parse(gate).make("gates") if isinstance(gate, str) else gate
    counts, recorded_nm = _counts(image)
    scale = _contrast(counts) if contrast is None else _given(contrast)
    edge = recorded_nm if pixel_nm is None else pixel_nm
    pages = counts if counts.ndim == 3 else counts[None]
    grades = [judge(_frames(page, scale, edge)) for page in pages]
    return grades if counts.ndim == 3 else grades[0]


def watch(
    folder: str | Path,
    out: str | Path,
    *,
    model: str = "gran-em",
    gate: str = "sharpness",
    restorer: str | Restorer | None = None,
    backend: str = "auto",
    contrast: tuple[float, float] | None = None,
    carry: "Carry | None" = None,
    check: "Check | bool" = True,
    settings: "Settings | None" = None,
    on_tile: "Callable[[Event], None] | None" = None,
    on_alert: "Callable[[Event], None] | None" = None,
) -> "Watch":
    """Watch the folder that a microscope writes to: grade what comes, restore what is soft, list what must be retaken.

    Returns at once. What comes back is a context manager that stops the watch; ask it `is_good(path, timeout=10)`.

    Parameters
    ----------
    folder
        Only ever read.
    out
        Receives the same relative names, `log.jsonl` and `retake.csv`. A watch that was stopped goes on from there.
    model, gate, restorer, backend, contrast, carry
        As for `refocal watch`; a warning says if links cannot be made.
    check
        Whether restored tiles are checked (`refocal.engine.check`), or what is called instead with (frames, restored,
        grade) of each and returns what it measured, or one line of text that says why the tile is no good.
    settings
        `refocal.engine.watch.Settings`: layout, poll, settle, order, restores ...
    on_tile, on_alert
        Called with each such event after it was logged, in a thread of the watch; an error there stops nothing.

    Raises
    ------
    UsageError
        For anything that is wrong with the request as a whole, before any tile is touched.
    """
    from refocal.engine.job import Job, Part
    from refocal.engine.watch import Settings, Watch, lightest
    from refocal.microscope.monitor import Monitor

    calls = {"tile": on_tile, "alert": on_alert}

    def tell(event: "Event") -> None:
        if call := calls.get(event["event"]):
            call(event)

    job = Job(
        model=model, backend=backend, gate=Part.parse(gate), contrast=contrast, check=check is True,
        carry=carry or lightest(Path(folder), Path(out), lambda line: warnings.warn(line, stacklevel=3)),
        restorer=Part.parse(restorer) if isinstance(restorer, str) else None,
    )  # fmt: skip
    return Watch(
        folder, out, job, settings or Settings(), restorer=None if isinstance(restorer, str) else restorer,
        check=None if isinstance(check, bool) else check, observers=[Monitor().add], on_event=tell,
    )  # fmt: skip


def _given(contrast: tuple[float, float]) -> Contrast:
    try:
        return Contrast(*contrast)
    except (TypeError, ValueError) as error:
        raise BadOptionError(f"contrast is (low, high) with low below high, got {contrast!r}") from error


def _contrast(counts: Counts) -> Contrast:
    if counts.dtype == np.uint8:
        return Contrast.of(counts.dtype)
    codes = no_data_values(counts)
    return percentile_contrast(counts[valid(counts, codes)] if codes else counts)


def _frames(page: Counts, contrast: Contrast, pixel_nm: float | None = None) -> Frames:
    """Return a page as a run shows it to gates and restorers: counts that mean no data look like those beside them."""
    codes = no_data_values(page)
    there = valid(page, codes)[None] if codes else None
    return filled_frames(Frames(page[None], contrast=contrast, valid=there, pixel_nm=pixel_nm))


def _counts(image: Counts | str | Path | Sequence[Counts]) -> tuple[Counts, float | None]:
    """Return (y, x) or (page, y, x) counts that can be worked on, and the pixel size that a file says."""
    counts, pixel_nm = _read(Path(image)) if isinstance(image, str | Path) else (np.asarray(image), None)
    if counts.ndim not in (2, 3) or counts.dtype.kind not in "uif" or 0 in counts.shape:
        raise UnsupportedError(
            f"expected a grey (y, x) or (page, y, x) array of numbers, got shape {counts.shape} of {counts.dtype}"
        )
    # A file says itself what its pages are, and so does a list.
    if counts.ndim == 3 and counts.shape[2] in (3, 4) and not isinstance(image, str | Path | list | tuple):
        raise UnsupportedError(
            f"expected a grey (y, x) or (page, y, x) array, got shape {counts.shape}, which looks like colours; give "
            "one channel, image[..., 0], or their mean, image[..., :3].mean(axis=-1).astype(image.dtype); "
            "for a stack of pages as narrow as this give list(image)"
        )
    if counts.dtype.kind == "f" and not np.isfinite(counts).all():
        raise UnsupportedError("the image has NaN or infinite pixels; give them finite values first")
    return counts, pixel_nm


def _read(path: Path) -> tuple[Counts, float | None]:
    with open_image(path) as image:
        if image.info.missing:
            raise UnreadableError(f"{path}: is truncated: {image.info.missing} of its pages are not there")
        for text in image.info.warnings:
            warnings.warn(f"{path}: {text}", stacklevel=4)
        pages = np.empty(image.info.shape, image.info.dtype)
        for number, page in enumerate(pages):
            page[...] = image.read(number)
        return pages if len(pages) > 1 else pages[0], image.info.pixel_nm


@contextmanager
def _shown(progress: bool | Callable[[int, int], None] | None, total: int) -> Iterator[Callable[[int, int], None]]:
    """Give what is called with (done, total) after each page."""
    if callable(progress):
        yield progress
        return
    wanted = total > 1 and sys.stderr is not None and sys.stderr.isatty() if progress is None else progress
    try:
        tqdm = importlib.import_module("tqdm.auto").tqdm if wanted else None
    except ImportError:
        tqdm = None
    if tqdm is None:
        yield lambda done, total: None
        return
    with tqdm(total=total, unit="page", desc="refocal") as bar:
        yield lambda done, total: bar.update()
