"""Restorers scored by the cells in their results: identical tiles, one fixed segmenter, comparison with the truth.

Every tile is segmented as recorded (sharp), as degraded, and as returned by each restorer. Any difference between the
scores comes from the pixels: nothing else is tuned, trained or chosen between them.

    gap closed = (blurry - restored) / (blurry - sharp)         of the means over tiles

Confidence intervals are paired: tiles are resampled with replacement, all methods together. Adjacent sections are
alike, so intervals over neighbouring sections of one stack are too narrow; use sections that are apart.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import Contrast, Counts, Degradation, Example, Frames, Labels, Segmenter
from refocal.learn.evaluate.scores import Make, Truth, degrade, restore_one
from refocal.learn.examples.labelled import Labelled, components, read_labelled
from refocal.parts import metrics

if TYPE_CHECKING:
    from torch import nn

SHARP, BLURRY = "sharp", "blurry"
LABEL_METRICS = ("arand", "voi", "voi_split", "voi_merge")
DRAWS = 2000
"""Resamples of the bootstrap."""


@dataclass(frozen=True, slots=True)
class Tile:
    """What is segmented and scored as one: a section, or a volume where the segmenter takes volumes."""

    group: str
    name: str
    counts: Counts
    """(section, y, x)."""
    cells: Labels
    """(section, y, x)."""
    pixel_nm: float | None = None


@dataclass(frozen=True, slots=True)
class Segmented:
    """One tile with one method: what was segmented, what came out, and its scores."""

    tile: Tile
    method: str
    counts: Counts
    cells: Labels
    scores: Mapping[str, float]


Show = Callable[[Segmented], None]
Table = list[dict[str, Any]]


def cut_tiles(
    stacks: Sequence[Labelled], volume: bool, crop: int | None = None, limit: int | None = None
) -> Iterator[Tile]:
    """Yield the tiles of labelled stacks: whole stacks for volumes, else sections, whose cells are connected parts.

    A neurite that a section cuts twice is two cells there: no 2-D segmenter could know better. `crop` takes the central
    square with that edge in pixels, `limit` at most that number of sections of each stack, evenly spread (the middle
    ones of a volume).
    """
    for stack in stacks:
        pages = len(stack.counts)
        keep = min(pages, limit or pages)
        y, x = (slice((n - min(n, crop or n)) // 2, (n + min(n, crop or n)) // 2) for n in stack.counts.shape[1:])
        if volume:
            first = (pages - keep) // 2
            z = slice(first, first + keep)
            yield Tile(stack.group, stack.path.name, stack.counts[z, y, x], stack.labels[z, y, x], stack.pixel_nm)
            continue
        for page in np.linspace(0, pages - 1, keep).round().astype(int):
            z = slice(page, page + 1)
            name = f"{stack.path.name}#{stack.first + page}"
            yield Tile(stack.group, name, stack.counts[z, y, x], components(stack.labels[z, y, x]), stack.pixel_nm)


def score(
    tiles: Sequence[Tile],
    degradation: Degradation,
    restorers: Mapping[str, Make],
    segmenter: Segmenter,
    pixel_metrics: Sequence[str] = ("psnr", "ssim"),
    *,
    conventions: Mapping[str, Any] | None = None,
    seed: int = 0,
    show: Show | None = None,
) -> Table:
    """Segment every tile sharp, blurry and restored, and return one row of scores for each tile and method."""
    measures = {name: registry.load("metrics", name) for name in pixel_metrics}
    rows = []
    for tile in tiles:
        for method, counts in _methods(tile, degradation, restorers, seed):
            contrast = Contrast.of(tile.counts.dtype)
            cells = segmenter(Frames(counts, contrast=contrast, pixel_nm=tile.pixel_nm))
            scores = compare(cells, tile.cells, conventions or {})
            for name, measure in measures.items():
                pairs = zip(contrast.unit(counts), contrast.unit(tile.counts), strict=True)
                scores[name] = float(np.mean([measure(got, truth) for got, truth in pairs]))
            rows.append({"group": tile.group, "tile": tile.name, "restorer": method, **scores})
            if show is not None:
                show(Segmented(tile, method, counts, cells, scores))
    return rows


def compare(got: Labels, truth: Labels, conventions: Mapping[str, Any]) -> dict[str, float]:
    """Return all scores of a segmentation; each metric takes the conventions that it has."""
    scores = {}
    for name in LABEL_METRICS:
        metric = registry.load("metrics", name)
        known = metrics.conventions(metric)
        scores[name] = float(metric(got, truth, **{k: v for k, v in conventions.items() if k in known}))
    return scores


def check_conventions(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the conventions of all scores, given or by default.

    Raises
    ------
    BadOptionError
        If no metric has one of that name.
    """
    known = {name: metrics.conventions(registry.load("metrics", name)) for name in LABEL_METRICS}
    every = {option for options in known.values() for option in options}
    for option in given:
        if option not in every:
            raise BadOptionError(f"no convention named {option!r}; there are {', '.join(sorted(every))}")
    return {name: {**options, **{k: v for k, v in given.items() if k in options}} for name, options in known.items()}


def summarise(rows: Table, pixel_metrics: Sequence[str] = ("psnr", "ssim"), seed: int = 0) -> Table:
    """Return one row for each group and method: means, and for ARAND and VOI what was gained, with 95 % intervals.

    `NAME_gain` is blurry minus restored, `NAME_gap_closed` its share of blurry minus sharp (null where the interval of
    that gap holds zero); `_low` and `_high` are paired bootstrap intervals over tiles (null for a single tile).
    """
    groups = list(dict.fromkeys(row["group"] for row in rows))
    table: Table = []
    for group in [*groups, *(["all"] if len(groups) > 1 else [])]:
        chosen = [row for row in rows if group in (row["group"], "all")]
        methods = list(dict.fromkeys(row["restorer"] for row in chosen))
        values = {m: [row for row in chosen if row["restorer"] == m] for m in methods}
        for method in methods:
            line: dict[str, Any] = {"group": group, "restorer": method, "tiles": len(values[method])}
            for name in (*LABEL_METRICS, *pixel_metrics):
                line[name] = float(np.mean([row[name] for row in values[method]]))
            for name in ("arand", "voi"):
                of = {m: np.array([row[name] for row in values[m]]) for m in (BLURRY, method, SHARP)}
                line |= _gain(name, of[BLURRY], of[method], of[SHARP], seed)
            table.append(line)
    return table


def markdown(table: Table, conventions: Mapping[str, Any], setting: str) -> str:
    """Return the table with its conventions above it."""
    lines = [f"- {name}: " + ", ".join(f"{k} {v}" for k, v in options.items()) for name, options in conventions.items()]
    lines = [setting, "", *lines, "", "Gains and shares of the gap with paired 95 % intervals over tiles.", ""]
    for group in dict.fromkeys(row["group"] for row in table):
        pixel = [k for k in table[0] if k in ("psnr", "ssim", "ms_ssim", "frc", "seam", "fid")]
        heads = ["", "tiles", *pixel, "ARAND", "VOI split", "VOI merge", "ARAND gain", "ARAND gap closed"]
        lines += [f"### {group}", "", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
        for row in (row for row in table if row["group"] == group):
            cells = [row["restorer"], str(row["tiles"]), *(f"{row[k]:.4g}" for k in pixel)]
            cells += [f"{row[k]:.4f}" for k in ("arand", "voi_split", "voi_merge")]
            cells += [_interval(row, "arand_gain", 1, ".4f"), _interval(row, "arand_gap_closed", 100, ".0f", " %")]
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def held_out(net: str, images: Sequence[str], labels: Sequence[str]) -> "Callable[[nn.Module], Mapping[str, float]]":
    """Return a validation for training: 1 - ARAND and VOI of sharp held-out sections, at most 8 of each stack.

    Raises
    ------
    BadOptionError
        If no segmenter understands such a net.
    """
    kinds = [kind for kind in registry.names("segmenters") if net in registry.load("segmenters", kind).nets]
    if not kinds:
        raise BadOptionError(f"no segmenter understands the net {net!r}: leave --valid out")
    volume = bool(registry.load("segmenters", kinds[0]).volume)
    tiles = list(cut_tiles(read_labelled(images, labels), volume, crop=256, limit=8))

    def validate(trained: "nn.Module") -> Mapping[str, float]:
        segmenter: Segmenter = registry.make("segmenters", kinds[0], model=trained)
        found = [compare(segmenter(Frames(t.counts, contrast=Contrast.of(t.counts.dtype))), t.cells, {}) for t in tiles]
        mean = {name: float(np.mean([scores[name] for scores in found])) for name in LABEL_METRICS}
        return {"rand": 1 - mean["arand"], **mean}

    return validate


def _methods(
    tile: Tile, degradation: Degradation, restorers: Mapping[str, Make], seed: int
) -> Iterator[tuple[str, Counts]]:
    yield SHARP, tile.counts
    seen: list[Example] = [
        degrade(Truth(tile.group, f"{tile.name}/{z}", page, tile.pixel_nm), degradation, seed)
        for z, page in enumerate(tile.counts)
    ]
    yield BLURRY, np.stack([example.frames.image for example in seen])
    for name, make in restorers.items():
        pages = [restore_one(tile.name, example.frames, make(example)).counts for example in seen]
        yield name, np.stack(pages)


def _gain(
    name: str, blurry: NDArray[np.float64], got: NDArray[np.float64], sharp: NDArray[np.float64], seed: int
) -> dict[str, float | None]:
    draws = np.random.default_rng(seed).integers(0, len(got), (DRAWS, len(got)))
    gains, gaps = ((blurry - other)[draws].mean(1) for other in (got, sharp))
    gain, gap = float((blurry - got).mean()), float((blurry - sharp).mean())
    line: dict[str, float | None] = {f"{name}_gain": gain}
    line |= dict(zip((f"{name}_gain_low", f"{name}_gain_high"), _bounds(gains), strict=True))
    # A share of a gap that may be none is a large number that means nothing.
    clear = gap > 0 and float(np.percentile(gaps, 2.5)) > 0
    line[f"{name}_gap_closed"] = gain / gap if clear else None
    shares = gains / gaps if clear and (gaps > 0).all() else np.full(1, np.nan)
    return line | dict(zip((f"{name}_gap_closed_low", f"{name}_gap_closed_high"), _bounds(shares), strict=True))


def _bounds(draws: NDArray[np.float64]) -> tuple[float | None, float | None]:
    if not np.isfinite(draws).all() or np.ptp(draws) == 0:
        return None, None
    low, high = np.percentile(draws, (2.5, 97.5))
    return float(low), float(high)


def _interval(row: Mapping[str, Any], name: str, scale: float, form: str, unit: str = "") -> str:
    if row[name] is None or row["restorer"] == BLURRY:
        return "-"
    text = f"{scale * row[name]:{form}}{unit}"
    low, high = row[name + "_low"], row[name + "_high"]
    return text if low is None else f"{text} ({scale * low:{form}} to {scale * high:{form}})"
