"""Folds restored by every method, scored as in the tables of Huang et al. 2020: PSNR, SSIM, FID, VOI, ARAND.

The middle of every three sections is folded, restored, and compared with what it was. Cells are found by
`contour_watershed` with contour-em, the same for every method, and compared with true neuron ids where there are any,
else with the cells found in the flat section. Rows may be kept in a file, so that a run goes on where another ended.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import tifffile

from refocal.core import registry
from refocal.core.values import UNIT, Contrast, Example, Frames
from refocal.learn.examples.labelled import components

DATA = Path(os.environ.get("REFOCAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
EIGHT_BIT = Contrast.of(np.uint8)
PARTS = {"interpolation": "interpolate", "unfolding": "unfold", "fusion": "fuse", "inpaint": "inpaint"}
BEST = {"psnr": max, "ssim": max, "fid": min, "voi": min, "arand": min}
COMPARED = ("degraded", "substitution", "inpainting", "unfolded_inpainting", "interpolation", "ours")
ABLATED = ("interpolation", "not_unfolded", "no_interpolation_net", "fusion_net", "ours")
WITHOUT = {"fusion_net": (), "no_interpolation_net": ("fusion", "interpolation")}
"""Nets that a row leaves out; the others leave out fusion, which stitching beats."""
HELD_OUT = slice(130, 210, 4)
"""Sections of ts2 from 130 on were never seen by the net that finds cells; nor were any by the nets of the folds."""
EDGE = 640
"""Of the sections of vnc_l3 so many pixels squared are scored, the middle ones, to save hours."""
CONVENTIONS = """
FlyEM 500x500 px, vnc_l3 the middle 640x640. PSNR and SSIM of 8-bit sections. FID: `parts/metrics/fid.py`, 18 features
of the texture of 64 px tiles every 32 px, each section by itself; to be compared with itself only. VOI in
bits; VOI and ARAND count all pixels but true label 0, borders too. In bold the best of a column. Wins: sections with a
higher PSNR and with a higher SSIM than interpolation."""


@dataclass(frozen=True)
class Stack:
    """Aligned flat sections of pixels of about 5 nm."""

    name: str
    planes: Any
    """(section, y, x) in contrast units."""
    cells: Any = None
    """(section, y, x) true labels, or None."""


def vnc(edge: int = 1024) -> Stack:
    """Return 20 consecutive sections of an insect's nerve cord, ssTEM, 4.6 nm, 45 to 50 nm apart, or their middle."""
    planes = tifffile.imread(DATA / "eval/tem/vnc_l3_stack1_20x1024x1024.tif").astype(np.float32) / 255
    middle = slice((1024 - edge) // 2, (1024 + edge) // 2)
    return Stack("vnc_l3", planes[:, middle, middle])


def flyem() -> Stack:
    """Return every fourth plane of FlyEM ts2 with its neuron ids, as sections 40 nm apart, enlarged to 5 nm."""
    planes = tifffile.imread(DATA / "eval/instances/flyem_ts2_raw_250.tif")[HELD_OUT].astype(np.float32) / 255
    ids = tifffile.imread(DATA / "eval/instances/flyem_ts2_neuron_ids_250_uint16.tif")[HELD_OUT]
    large = [cv2.resize(plane, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC).clip(0, 1) for plane in planes]
    cells = [np.kron(components(page[None])[0], np.ones((2, 2), np.int64)) for page in ids]
    return Stack("FlyEM ts2", np.stack(large), np.stack(cells))


def folded(planes: Any, seed: int) -> Example:
    """Fold the middle one of three sections."""
    options = {"dark_px": [5.0, 20.0], "lost_px": [10.0, 60.0], "decay": [5e-3, 0.1]}
    fold = registry.make("degradations", "fold", **options)
    return fold(Example(Frames(planes, 1, UNIT), planes[1]), np.random.default_rng([7, seed]))


def models_in(folder: Path | None) -> dict[str, str]:
    """Return the options of the restorer for the models of a folder."""
    named = {} if folder is None else {role: folder / f"fold-{stem}.safetensors" for role, stem in PARTS.items()}
    return {role: str(path) for role, path in named.items() if path.is_file()}


def write_tables(models: Path | None, limit: int | None, kept: Path | None) -> None:
    """Print both tables for each stack."""
    known = [json.loads(line) for line in kept.read_text().splitlines()] if kept and kept.exists() else []
    print(f"Models: {', '.join(models_in(models)) or 'none, the classical stand-ins'}.\n{CONVENTIONS}")
    for stack in (flyem(), vnc(EDGE)):
        rows = []
        middles = np.arange(1, len(stack.planes) - 1)[:limit]
        for middle in middles:
            todo = [m for m in dict.fromkeys(COMPARED + ABLATED) if not _found(known, stack.name, middle, m)]
            for row in _scored(stack, int(middle), models, todo):
                known.append(row)
                if kept:
                    with kept.open("a") as file:
                        file.write(json.dumps(row) + "\n")
            rows += [r for r in known if r["stack"] == stack.name and r["middle"] == middle]
        _print(f"{stack.name}, {len(middles)} sections", rows, COMPARED)
        _print(f"{stack.name}, without one part", rows, ABLATED)


def _found(rows: Sequence[Any], stack: str, middle: int, method: str) -> bool:
    return any((r["stack"], r["middle"], r["method"]) == (stack, middle, method) for r in rows)


def _scored(stack: Stack, middle: int, models: Path | None, methods: Sequence[str]) -> Iterator[dict[str, Any]]:
    if not methods:
        return
    seen = folded(stack.planes[middle - 1 : middle + 2], middle)
    frames = Frames(EIGHT_BIT.counts(seen.frames.counts, np.uint8), 1, EIGHT_BIT)
    truth = EIGHT_BIT.counts(seen.truth, np.uint8)
    cells = _segmenter()(Frames(truth[None], contrast=EIGHT_BIT))[0] if stack.cells is None else stack.cells[middle]
    for method in methods:
        counts = frames.image if method == "degraded" else _restored(method, frames, models)
        pair = EIGHT_BIT.unit(counts), EIGHT_BIT.unit(truth)
        scores = {name: registry.load("metrics", name)(*pair) for name in ("psnr", "ssim", "fid")}
        got = _segmenter()(Frames(counts[None], contrast=EIGHT_BIT))[0]
        scores |= {name: registry.load("metrics", name)(got, cells) for name in ("voi", "arand")}
        yield {"stack": stack.name, "middle": middle, "method": method, **scores}


@cache
def _segmenter() -> Any:
    return registry.make("segmenters", "contour_watershed", model="contour-em", binning=2)


def _restored(method: str, frames: Frames, models: Path | None) -> Any:
    restorer = _restorer(models, WITHOUT.get(method, ("fusion",)))
    restorer.method = "full" if method == "ours" or method in WITHOUT else method
    return restorer([frames])[0].counts


@cache
def _restorer(models: Path | None, without: tuple[str, ...]) -> Any:
    parts = {role: path for role, path in models_in(models).items() if role not in without}
    restorer = registry.make("restorers", "fold", around_px=4096, **parts)
    # Methods share most of what they compute.
    restorer.find = _once(restorer.find)
    for role, net in restorer._nets.items():  # noqa: SLF001
        restorer._nets[role] = SimpleNamespace(whole=_once(net.whole), reach=net.reach)  # noqa: SLF001
    return restorer


def _once(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return a function of an array that does not compute again what it answered lately."""
    known: dict[bytes, Any] = {}

    def answer(image: Any) -> Any:
        key = hashlib.sha256(image.tobytes()).digest()
        if key not in known:
            while len(known) > 12:
                known.pop(next(iter(known)))
            known[key] = call(image)
        return known[key]

    return answer


def _print(title: str, rows: Sequence[Any], methods: Sequence[str]) -> None:
    by_method = {m: sorted((r for r in rows if r["method"] == m), key=lambda r: r["middle"]) for m in methods}
    table = {m: np.array([[r[name] for name in BEST] for r in found]) for m, found in by_method.items()}
    means = {m: scores.mean(0) for m, scores in table.items()}
    best = [choose(mean[i] for mean in means.values()) for i, choose in enumerate(BEST.values())]
    print(f"\n{title}, mean ± s.d.\n\n| method | PSNR, dB | SSIM | FID | VOI | ARAND | wins PSNR, SSIM |")
    print("|---|---|---|---|---|---|---|")
    for method, scores in table.items():
        digits = (2, 3, 2, 3, 3)
        cells = [f"{mean:.{d}f} ± {sd:.{d}f}" for mean, sd, d in zip(means[method], scores.std(0), digits, strict=True)]
        cells = [f"**{c}**" if m == b else c for c, m, b in zip(cells, means[method], best, strict=True)]
        wins = (scores[:, :2] > table["interpolation"][:, :2]).sum(0)
        print(f"| {method} | {' | '.join(cells)} | {wins[0]}/{len(scores)}, {wins[1]}/{len(scores)} |")
