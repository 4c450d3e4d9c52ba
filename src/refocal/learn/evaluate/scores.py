"""Scores: sharp tiles are degraded, restored by the same `run` that restores files, and compared with the truth.

Every restorer sees the same degraded pixels. Metrics are computed on the raw grey range, borders included. The table
has mean, standard deviation and count for each group (specimen), degradation and restorer; doing nothing is a row too.
"""

import csv
import fnmatch
import functools
import io
import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core import registry
from refocal.core.errors import BadOptionError, TileError
from refocal.core.values import UNIT, Contrast, Counts, Degradation, Example, Frames, Pixels, Restored, Restorer
from refocal.engine.loop import run
from refocal.engine.memory import ArraySink, ArraySource
from refocal.parts.formats import is_image_name, open_image

Make = Callable[[Example], Restorer]
"""A restorer for one degraded example; only oracles look at it."""
Show = Callable[["Scored"], None]


@dataclass(frozen=True, slots=True)
class Truth:
    """A sharp tile to be degraded."""

    group: str
    name: str
    counts: Counts
    pixel_nm: float | None = None
    seen: Counts | None = None
    """What the microscope really saw of it: taken in place of a degraded one."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One restored tile with its scores; the pictures are in contrast units."""

    group: str
    name: str
    restorer: str
    scores: Mapping[str, float]
    seen: Pixels
    got: Pixels
    truth: Pixels


def restore_one(name: str, frames: Frames, restorer: Restorer) -> Restored:
    """Restore one tile in memory through `run`.

    Raises
    ------
    TileError
        If the restorer failed.
    """
    sink, errors = ArraySink(), []
    run(ArraySource({name: frames}), restorer, sink, progress=lambda event: errors.append(event["error"]))
    if name not in sink.restored:
        raise TileError(f"{name}: {errors[0]}")
    return sink.restored[name]


def read_truths(inputs: Sequence[str], crop: int | None = None, limit: int | None = None) -> Iterator[Truth]:
    """Yield sharp tiles of `[group=]path` inputs: files, folders, or patterns like folder/epfl*.png.

    Parameters
    ----------
    inputs
        The group is the name of the file's folder unless it is given.
    crop
        Take the centre of this many pixels squared; None takes whole tiles.
    limit
        At most this many tiles of each input, evenly spread.

    Raises
    ------
    BadOptionError
        If an input matches no image.
    """
    for text in inputs:
        group, sign, where = text.rpartition("=")
        pages = list(_pages(Path(where if sign else text)))
        if not pages:
            raise BadOptionError(f"no image matches {where!r}; give a file, a folder or a pattern like folder/*.png")
        if limit is not None and len(pages) > limit:
            pages = [pages[i] for i in np.linspace(0, len(pages) - 1, limit).round().astype(int)]
        for path, page in pages:
            with open_image(path) as image:
                counts = centre(image.read(page), crop)
                name = path.name + (f"#{page}" if image.info.shape[0] > 1 else "")
                yield Truth(group or path.parent.name, name, counts, image.info.pixel_nm)


def degrade(truth: Truth, degradation: Degradation, seed: int, frames: int = 1) -> Example:
    """Degrade a tile, seen `frames` times; the same seed and name give the same pixels, in counts of its own dtype."""
    contrast = Contrast.of(truth.counts.dtype)
    unit = contrast.unit(truth.counts)
    if truth.seen is not None:
        return Example(Frames(truth.seen[None], contrast=contrast, pixel_nm=truth.pixel_nm), unit)
    rng = np.random.default_rng([seed, zlib.crc32(f"{truth.group}/{truth.name}".encode())])
    sharp = np.repeat(unit[None], frames, axis=0)
    seen = degradation(Example(Frames(sharp, contrast=UNIT, pixel_nm=truth.pixel_nm), unit), rng)
    counts = contrast.counts(seen.frames.counts, truth.counts.dtype)
    return Example(Frames(counts, contrast=contrast, pixel_nm=truth.pixel_nm), unit, seen.hints)


def evaluate(
    truths: Iterable[Truth],
    degradation: Degradation,
    restorers: Mapping[str, Make],
    metrics: Sequence[str] = ("psnr", "ssim"),
    *,
    seed: int = 0,
    show: Show | None = None,
    frames: int = 1,
) -> list[dict[str, Any]]:
    """Score restorers on degraded tiles and return one row per group and restorer.

    Each row holds `group`, `restorer`, `count` and, for each metric, its mean, its standard deviation (`NAME_sd`) and
    the mean gain over the degraded tile (`NAME_gain`). With `frames` each tile is seen that number of times, as a burst
    whose first frame is the degraded tile.
    """
    measures = {name: registry.load("metrics", name) for name in metrics}
    scores: dict[tuple[str, str], list[dict[str, float]]] = {}
    for truth in truths:
        example = degrade(truth, degradation, seed, frames)
        seen = example.frames.contrast.unit(example.frames.image)
        nothing = {name: measure(seen, example.truth) for name, measure in measures.items()}
        for name, make in restorers.items():
            restored = restore_one(truth.name, example.frames, make(example))
            got = example.frames.contrast.unit(restored.counts)
            values = {metric: float(measure(got, example.truth)) for metric, measure in measures.items()}
            gains = {f"{metric}_gain": value - nothing[metric] for metric, value in values.items()}
            scores.setdefault((truth.group, name), []).append({**values, **gains})
            if show is not None:
                show(Scored(truth.group, truth.name, name, values, seen, got, example.truth))
    return [_row(group, name, rows, metrics) for (group, name), rows in scores.items()]


def oracle_wiener(example: Example, rings: bool = True) -> Restorer:
    """Return the Wiener filter that knows the true kernel, noise and power spectrum (see `rings` of the restorer)."""
    noise = max(float(example.hints.get("noise", 2.0)), 0.3) / 255
    made: Restorer = registry.make(
        "restorers", "wiener", kernel=_kernel(example), noise=noise, truth=example.truth, rings=rings
    )
    return made


def oracle_richardson_lucy(example: Example) -> Restorer:
    """Return Richardson-Lucy with the true kernel and the number of iterations that scores best on this very tile."""
    psnr = registry.load("metrics", "psnr")
    tried: list[tuple[float, Restorer]] = []
    for iterations in (3, 10, 30):
        restorer: Restorer = registry.make(
            "restorers", "richardson_lucy", kernel=_kernel(example), iterations=iterations
        )
        got = example.frames.contrast.unit(restorer([example.frames])[0].counts)
        tried.append((psnr(got, example.truth), restorer))
    return max(tried, key=lambda pair: pair[0])[1]


def _kernel(example: Example) -> list[list[float]]:
    if "kernel" not in example.hints:
        raise BadOptionError("an oracle needs a degradation that says its kernel, e.g. gran_protocol or defocus")
    kernel: list[list[float]] = np.asarray(example.hints["kernel"]).tolist()
    return kernel


ORACLES: Mapping[str, Make] = {
    "oracle_wiener": oracle_wiener,
    "oracle_wiener_periodogram": functools.partial(oracle_wiener, rings=False),
    "oracle_richardson_lucy": oracle_richardson_lucy,
}


def table_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows as CSV."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def table_markdown(rows: Sequence[Mapping[str, Any]], metric: str = "psnr", digits: int = 2) -> str:
    """Return one metric as a Markdown table: a line per restorer, a column per group, mean ± s.d. (count)."""
    groups = list(dict.fromkeys(row["group"] for row in rows))
    lines = [f"| {metric} | " + " | ".join(groups) + " | mean |", "|---" * (len(groups) + 2) + "|"]
    for name in dict.fromkeys(row["restorer"] for row in rows):
        found = {row["group"]: row for row in rows if row["restorer"] == name}
        cells = [
            f"{r[metric]:.{digits}f} ± {r[metric + '_sd']:.{digits}f} ({r['count']})" if (r := found.get(g)) else "-"
            for g in groups
        ]
        mean = np.mean([row[metric] for row in found.values()])
        lines.append(f"| {name} | " + " | ".join(cells) + f" | {mean:.{digits}f} |")
    return "\n".join(lines) + "\n"


def _row(group: str, restorer: str, scores: Sequence[Mapping[str, float]], metrics: Sequence[str]) -> dict[str, Any]:
    row: dict[str, Any] = {"group": group, "restorer": restorer, "count": len(scores)}
    for metric in metrics:
        values = np.array([score[metric] for score in scores])
        row[metric] = float(values.mean())
        row[metric + "_sd"] = float(values.std(ddof=1)) if len(values) > 1 else math.nan
        row[metric + "_gain"] = float(np.mean([score[metric + "_gain"] for score in scores]))
    return row


def _pages(where: Path) -> Iterator[tuple[Path, int]]:
    if where.is_dir():
        files = sorted(f for f in where.rglob("*") if is_image_name(f))
    elif where.is_file():
        files = [where]
    elif where.parent.is_dir():
        files = sorted(f for f in where.parent.iterdir() if fnmatch.fnmatch(f.name, where.name) and is_image_name(f))
    else:
        files = []
    for file in files:
        with open_image(file) as image:
            for page in range(image.info.shape[0]):
                yield file, page


def centre(counts: Counts, crop: int | None) -> Counts:
    """Return the centre of `crop` pixels squared of a (y, x) image; all of it for None."""
    if crop is None:
        return counts
    top, left = ((n - min(n, crop)) // 2 for n in counts.shape)
    return counts[top : top + crop, left : left + crop]
