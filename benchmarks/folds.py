"""Folds measured: geometry, detection, restoration, time.

    python benchmarks/folds.py geometry [--lines 1000]      fold then unfold on random lines
    python benchmarks/folds.py detect                       synthetic folds, clean sections, the real fold
    python benchmarks/folds.py restore [--models FOLDER] [--limit N] [--rows FILE]      the tables of methods and parts
    python benchmarks/folds.py real [--models FOLDER]       the real fold: likeness to its neighbour near and far
    python benchmarks/folds.py time [--models FOLDER]       2048x2048 with one fold: module by module, memory
    python benchmarks/folds.py prepare OUT                  training stacks: CREMI triplets, FlyEM planes

`--models` holds fold-interpolate, fold-unfold, fold-fuse and fold-inpaint .safetensors; for what is missing there its
classical stand-in is measured. Data are $REFOCAL_DATA or ../shared/data. Tables go to standard output as Markdown.
"""

import argparse
import resource
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from _fold_tables import DATA, EIGHT_BIT, folded, models_in, vnc, write_tables
from scipy import ndimage

from refocal.core import registry
from refocal.core.values import UNIT, Example, Frames
from refocal.imaging import fold_geometry
from refocal.imaging.fold_detection import Search
from refocal.imaging.fold_geometry import Fold


def geometry(count: int) -> None:
    """Compose fold and unfold fields on random lines of a 400x400 picture: generic, vertical and horizontal."""
    rng, side = np.random.default_rng(0), 400
    y, x = fold_geometry.pixels((side, side))
    flat = ndimage.gaussian_filter(rng.standard_normal((side, side)), 2.5)
    flat = (flat - flat.min()) / np.ptp(flat)
    residual, score = [], []
    for number in range(count):
        dark = rng.uniform(5, 30)
        points = _line(("vertical", "horizontal", "generic")[number % 3], side, rng)
        fold = [Fold(points, dark, rng.uniform(dark + 1, 80), rng.uniform(1e-4, 0.1))]
        out, kept = fold_geometry.unfolding(fold, y, x), ~fold_geometry.lost(fold, y, x)
        back = fold_geometry.folding(fold, y + out[0], x + out[1])
        residual.append(np.abs(out + back)[:, kept].max())
        there = np.stack((y, x)) + fold_geometry.folding(fold, y, x)
        seen = ndimage.map_coordinates(flat, there, order=1, mode="nearest")
        seen[fold_geometry.dark(fold, y, x)] = 0
        blind = fold_geometry.dark(fold, y, x) | (there < 0).any(0) | (there > side - 1).any(0)
        where = np.stack((y, x)) + out
        kept &= ndimage.map_coordinates(blind.astype(float), where, order=1, cval=1.0) == 0
        again = ndimage.map_coordinates(seen, where, order=1, mode="nearest")
        score.append(-10 * np.log10(np.square(again - flat)[kept].mean()))
    print("| lines | worst composition, px | PSNR bilinear, mean / min |\n|---|---|---|")
    print(f"| {count} | {max(residual):.1e} | {np.mean(score):.1f} / {np.min(score):.1f} dB |")


def _line(kind: str, side: int, rng: np.random.Generator) -> tuple[fold_geometry.Point, fold_geometry.Point]:
    a, b = (float(v) for v in rng.uniform(0, side - 1, 2))
    last = float(side - 1)
    if kind == "vertical":
        return (a, 0.0), (a, last)
    if kind == "horizontal":
        return (0.0, a), (last, a)
    return ((a, 0.0), (b, last)) if rng.random() < 0.5 else ((0.0, a), (last, b))


def detect() -> None:
    """Count what is found on the test stack with simulated folds, on clean sections, and on the real fold."""
    search, stack = Search(), vnc().planes
    covered, off, found = [], [], 0
    for number in range(120):
        flat = stack[number % len(stack)]
        rng = np.random.default_rng(number)
        options = {"wave_px": [0.0, 4.0], "grey": [0.0, 0.12], "dark_px": [5.0, 30.0]}
        seen = registry.make("degradations", "fold", **options)(Example(Frames(flat[None], contrast=UNIT), flat), rng)
        noisy = np.clip(seen.frames.image + rng.normal(0, 0.03, flat.shape), 0, 1).astype(np.float32)
        lines_found = search(noisy)
        if not lines_found:
            continue
        found += 1
        cover = np.any([line.cover(flat.shape) for line in lines_found], axis=0)
        covered.append((cover & seen.hints["dark"]).sum() / seen.hints["dark"].sum())
        (x0, y0), *_, (x1, y1) = seen.hints["folds"][0].points
        angle = abs(lines_found[0].angle_deg - np.degrees(np.arctan2(y1 - y0, x1 - x0)) % 180)
        off.append(min(angle, 180 - angle))
    clean = list(_clean())
    alarms = [name for name, image in clean if search(image)]
    print("| found | dark pixels covered, mean / min | angle error, mean / max | alarms on clean sections |")
    print("|---|---|---|---|")
    print(f"| {found}/120 | {np.mean(covered):.2%} / {np.min(covered):.2%} | {np.mean(off):.2f}° / {np.max(off):.2f}° "
          f"| {len(alarms)}/{len(clean)} {' '.join(alarms)} |")  # fmt: skip
    folded, mask = _real("1"), _real("m") > 0.5
    cover = np.any([line.cover(mask.shape) for line in search(folded)] or [np.zeros_like(mask)], axis=0)
    print(f"\nThe real fold: {(cover & mask).sum() / mask.sum():.1%} of its mask covered, "
          f"{(cover & ~mask).mean():.1%} of the rest; its flat neighbour has {len(search(_real('0')))}.")  # fmt: skip


def real(models: Path | None) -> None:
    """Say how much more like its neighbour the real folded section is, beside the fold and far from it."""
    pair = np.stack([_real("0"), _real("1")])
    restorer = registry.make("restorers", "fold", **models_in(models))
    frames = Frames(EIGHT_BIT.counts(pair, np.uint8), 1, EIGHT_BIT)
    (got,) = restorer([frames])
    image, (first, *_) = EIGHT_BIT.unit(got.counts), Search()(pair[1])
    d = np.abs(fold_geometry.distance(first.points, *fold_geometry.pixels(image.shape))[0])
    print("| region | correlation before | after | pixels changed |\n|---|---|---|---|")
    beside = (d > first.cover_px) & (d < first.cover_px + 60)
    for name, where in (("beside the fold, 60 px", beside), ("farther than 300 px", d > 300)):
        before, after = (np.corrcoef(_soft(a)[where], _soft(pair[0])[where])[0, 1] for a in (pair[1], image))
        print(f"| {name} | {before:.3f} | {after:.3f} | {(got.counts != frames.image)[where].mean():.1%} |")


def clock(models: Path | None) -> None:
    """Time one folded 2048x2048 section, module by module."""
    stack = np.stack([np.tile(page, (2, 2)) for page in vnc().planes[:3]])
    seen = folded(stack, 3)
    frames = Frames(EIGHT_BIT.counts(seen.frames.counts, np.uint8), 1, EIGHT_BIT)
    restorer = registry.make("restorers", "fold", **models_in(models))
    spent: dict[str, tuple[float, float]] = {}
    modules = {"find": "find", "interpolate": "_between", "unfold": "_flow", "fuse": "_fused"}
    for name, method in modules.items():
        setattr(restorer, method, _timed(getattr(restorer, method), name, spent))
    _timed(restorer, "all", spent)([frames])
    print("| module | seconds | CPU seconds | share of CPU |\n|---|---|---|---|")
    for name, (wall, cpu) in spent.items():
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {cpu / spent['all'][1]:.0%} |")
    print(f"\nPeak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB.")


def _timed(call: Callable[..., Any], name: str, spent: dict[str, tuple[float, float]]) -> Callable[..., Any]:
    def timed(*given: Any) -> Any:
        wall, cpu = time.perf_counter(), time.process_time()
        answer = call(*given)
        before = spent.get(name, (0.0, 0.0))
        spent[name] = before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu
        return answer

    return timed


def prepare(out: Path) -> None:
    """Write stacks to learn from: CREMI triplets, and every fourth plane of FlyEM, which imitates 40 nm sections."""
    out.mkdir(parents=True, exist_ok=True)
    for place in ("1_1", "1_2", "2_1", "2_2"):
        pages = [cv2.imread(str(DATA / f"train/tem/cremi_C{n}_{place}.png"), cv2.IMREAD_GRAYSCALE) for n in (1, 2, 3)]
        tifffile.imwrite(out / f"cremi_{place}.tif", np.stack(pages), compression="zlib")
    for path in sorted((DATA / "train/sem").glob("flyem_*.tif")):
        step = 1 if "every8th" in path.name else 4
        tifffile.imwrite(out / path.name, tifffile.imread(path)[::step], compression="zlib")


def _real(name: str) -> Any:
    return cv2.imread(str(DATA / f"real/folds/DOLW7_{name}.png"), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255


def _soft(image: Any) -> Any:
    return cv2.GaussianBlur(image, (0, 0), 3)


def _clean() -> Iterator[tuple[str, Any]]:
    yield from ((f"vnc_l3#{number}", page) for number, page in enumerate(vnc().planes))
    for folder in ("train/tem", "train/sem", "eval/tem", "eval/sem"):
        for path in sorted((DATA / folder).glob("*.png")):
            yield path.name, cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.float32) / 255


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("geometry", "detect", "restore", "real", "time", "prepare"))
    parser.add_argument("out", nargs="?", type=Path, help="for prepare")
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--models", type=Path)
    parser.add_argument("--limit", type=int, help="for restore: so many sections of each stack")
    parser.add_argument("--rows", type=Path, help="for restore: keep the scores here, and do not measure them again")
    given = parser.parse_args()
    if given.what == "prepare":
        prepare(given.out)
    elif given.what == "geometry":
        geometry(given.lines)
    else:
        jobs = {
            "restore": lambda: write_tables(given.models, given.limit, given.rows),
            "real": lambda: real(given.models),
        }
        jobs |= {"detect": detect, "real": lambda: real(given.models), "time": lambda: clock(given.models)}
        jobs[given.what]()
