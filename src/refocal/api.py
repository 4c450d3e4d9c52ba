"""refocal for people with one image."""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.core.errors import BadOptionError, UnsupportedError
from refocal.core.values import Contrast, Counts, Frames, Restorer
from refocal.engine.backends import learned
from refocal.imaging.contrast import percentile_contrast
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
) -> Counts:
    """Restore one image, whatever its grade.

    Parameters
    ----------
    image
        (y, x) or (page, y, x) array, or the path of an image file.
    model
        Name or path of a model, or a restorer.
    contrast
        Counts that mean black and white. Without it the range of 8-bit images, and the 0.1 and 99.9 percentiles of
        all others.

    Returns
    -------
    Counts
        An array of the same shape and dtype.

    Raises
    ------
    UnreadableError, UnsupportedError
        If the image cannot be read, is no (y, x) or (page, y, x) array, or holds values that are not finite.
    UsageError
        If there is no such model, or the contrast is no range.
    """
    counts = _read(Path(image)) if isinstance(image, str | Path) else np.asarray(image)
    if counts.ndim not in (2, 3) or counts.dtype.kind not in "uif" or 0 in counts.shape:
        raise UnsupportedError(
            f"expected a grey (y, x) or (page, y, x) array of numbers, got shape {counts.shape} of {counts.dtype}"
        )
    if counts.dtype.kind == "f" and not np.isfinite(counts).all():
        raise UnsupportedError("the image has NaN or infinite pixels; give them finite values first")
    restorer = load(model) if isinstance(model, str | Path) else model
    scale = _contrast(counts) if contrast is None else _given(contrast)
    pages = counts if counts.ndim == 3 else counts[None]
    restored = np.stack([restorer([Frames(page[None], contrast=scale)])[0].counts for page in pages])
    return restored.reshape(counts.shape)


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
    return percentile_contrast(counts)


def _read(path: Path) -> Counts:
    with open_image(path) as image:
        pages = [image.read(page) for page in range(image.info.shape[0])]
    return np.stack(pages) if len(pages) > 1 else pages[0]
