"""`refocal evaluate --segment`: restorers scored by the cells that are found in what they restore."""

import inspect
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from refocal.core import registry
from refocal.core.atomic import writing
from refocal.core.documents import DocumentError, read_yaml
from refocal.core.errors import BadOptionError
from refocal.core.values import Contrast, Degradation, Segmenter
from refocal.engine.job import Part
from refocal.learn.evaluate import cells
from refocal.learn.evaluate.cells import BLURRY, SHARP, Segmented
from refocal.learn.evaluate.scores import Make, table_csv
from refocal.learn.evaluate.split_merge_map import picture, png
from refocal.learn.examples.labelled import read_labelled
from refocal.ui.cli._show import print_rows

_FIRST, _SCORES = ("group", "restorer", "tiles"), ("arand", "voi_split", "voi_merge")
_INTERVALS = ("arand_gain", "arand_gap_closed")


def evaluate_segments(
    inputs: Sequence[str],
    labels: Sequence[str],
    segment: str,
    conventions: Sequence[str],
    degradation: Degradation,
    makers: Mapping[str, Make],
    metrics: Sequence[str],
    crop: int | None,
    limit: int | None,
    seed: int,
    out: Path | None,
    as_json: bool,
) -> None:
    """Score, print, and write `segments.csv` (every tile), `table.csv`, `table.md` and pictures into `out`."""
    if not labels:
        raise BadOptionError("--segment needs the truth: give the label image of each input with --labels")
    given = dict(_convention(text) for text in conventions)
    known = cells.check_conventions(given)
    part = Part.parse(segment)
    volume = bool(registry.load("segmenters", part.kind).volume)
    segmenter: Segmenter = part.make("segmenters")
    stacks = read_labelled(inputs, labels)
    tiles = list(cells.cut_tiles(stacks, volume, crop, limit))
    shown = _Pictures()
    rows = cells.score(
        tiles, degradation, makers, segmenter, metrics, conventions=given, seed=seed, show=shown if out else None
    )
    table = cells.summarise(rows, metrics)
    setting = _setting(part, volume, any(stack.mask for stack in stacks))
    if out is not None:
        (out / "segments.csv").write_text(table_csv(rows))
        (out / "table.csv").write_text(table_csv(table))
        (out / "table.md").write_text(cells.markdown(table, known, setting))
        shown.write(out / "pictures")
    if as_json:
        print_rows([{**row, "conventions": known, "segmenter": setting} for row in table], as_json)
        return
    print(setting, file=sys.stderr)
    for name, options in known.items():
        print(f"{name}: " + ", ".join(f"{k} {v}" for k, v in options.items()), file=sys.stderr)
    print_rows([_short(row, metrics) for row in table], as_json=False)


def _setting(part: Part, volume: bool, masks: bool) -> str:
    """Say what was done with every tile alike."""
    options = inspect.signature(registry.load("segmenters", part.kind)).parameters.values()
    frozen = {o.name: part.options.get(o.name, o.default) for o in options}
    words = ", ".join(f"{name} {value}" for name, value in frozen.items())
    truth = "cells of the volume" if volume else "connected parts of the cells of each section, 4 neighbours"
    return f"{part.kind} ({words}); truth: {truth}" + (" (labels are masks)" if masks else "")


def _short(row: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, Any]:
    line = {name: row[name] for name in (*_FIRST, *metrics, *_SCORES)}
    for name in _INTERVALS:
        low, high = row[name + "_low"], row[name + "_high"]
        bounds = "" if low is None else f" ({low:.3f} to {high:.3f})"
        own = row["restorer"] != BLURRY and row[name] is not None
        line[name] = f"{row[name]:.3f}{bounds}" if own else None
    return line


def _convention(text: str) -> tuple[str, Any]:
    name, sign, value = text.partition("=")
    if not sign:
        raise BadOptionError(f"a convention is written name=value, e.g. border_px=2; got {text!r}")
    try:
        return name, read_yaml(value)
    except DocumentError as error:
        raise BadOptionError(f"the convention {text!r} cannot be used ({error})") from error


class _Pictures:
    """Keeps, for each group, the tile on which blur did most harm; draws merges and splits of every method on it."""

    def __init__(self) -> None:
        self._now: list[Segmented] = []
        self._worst: dict[str, tuple[float, list[Segmented]]] = {}

    def __call__(self, found: Segmented) -> None:
        if self._now and self._now[0].tile is not found.tile:
            self._now = []
        self._now.append(found)
        of = {s.method: s.scores["arand"] for s in self._now}
        harm = of.get(BLURRY, 0.0) - of[SHARP]
        if found.method == BLURRY and harm > self._worst.get(found.tile.group, (-1.0, []))[0]:
            self._worst[found.tile.group] = (harm, self._now)

    def write(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for group, (_, methods) in self._worst.items():
            middle = methods[0].tile.counts.shape[0] // 2
            contrast = Contrast.of(methods[0].tile.counts.dtype)
            views = [
                (f"{s.method}  ARAND {s.scores['arand']:.3f}", contrast.unit(s.counts[middle]), s.cells[middle])
                for s in methods
            ]
            name = "".join(c if c.isalnum() or c in "-_." else "_" for c in group)
            with writing(folder / f"mistakes-{name}.png") as part:
                part.write_bytes(png(picture(views, methods[0].tile.cells[middle])))
