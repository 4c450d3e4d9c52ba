"""Measure the gate: AUC per specimen and pooled, what noise and blank paste do to it, its error, its speed.

    python benchmarks/gate.py [--json] [--data FOLDER]     the table
    python benchmarks/gate.py --fit                        the tables in refocal/imaging/blur_scale.py, anew
    python benchmarks/gate.py --real                       the order found in real focus series

Sharp means an added Gaussian blur of at most 0.5 px, soft at least 1.5 px. Base `binned` (the one to quote): the image
is binned by two first, which halves its native noise and blur, then blurred, then given white noise, then rounded to 8
bit. Base `native`: the image as it is; there images that were soft already count as sharp, and their native noise is
blurred with them. `data` is $REFOCAL_DATA or ../shared/data.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import tifffile
from scipy.optimize import lsq_linear, nnls
from scipy.stats import rankdata

from refocal.core import registry
from refocal.core.values import Contrast, Frames
from refocal.imaging.structure_function import X, Y, structure

SIGMAS = (0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0)
NOISES = (0.0, 3.0, 6.0, 10.0)
SHARP, SOFT = 0.5, 1.5
CROP = 512
MOST = 8
"""Images per specimen."""

TRAINING = {
    "mussel": "train/sem/mussel_*.png",
    "cremi": "train/tem/cremi_*.png",
    "flyem": "train/sem/flyem_medulla_val_*.tif",
    "rat": "train/sem/sub-rat*.png",
    "atum": "train/sem/atum_*.png",
    "liver": "train/sem/openorganelle_*.png",
    "microns": "train/tem/microns_*.png",
}
HELD_OUT = {
    "epfl": "eval/sem/epfl_*.png",
    "isbi": "eval/tem/isbi2012_*.tif",
    "vnc": "eval/tem/vnc_*.tif",
    "temca": "eval/tem/temca_test_*.png",
    "temca half": "eval/tem/temca_col*.png",
    "mouse brain": "real/sem_noise_pairs/GT_*.png",
}


def images(data: Path, pattern: str) -> Iterator[np.ndarray]:
    """Yield at most `MOST` grey (y, x) images, evenly over what there is."""
    pages: list[np.ndarray] = []
    for path in sorted(data.glob(pattern)):
        if path.suffix == ".tif":
            pages += list(np.atleast_3d(tifffile.imread(path)))
        else:
            pages.append(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))
    yield from pages[:: max(1, -(-len(pages) // MOST))]


def base(image: np.ndarray, binned: bool) -> np.ndarray:
    """Return a float32 crop from the middle, binned by two if asked."""
    image = image.astype(np.float32)
    if binned:
        height, width = (side // 2 * 2 for side in image.shape)
        image = image[:height, :width].reshape(height // 2, 2, width // 2, 2).mean((1, 3))
    top, left = (max(0, (side - CROP) // 2) for side in image.shape)
    return np.ascontiguousarray(image[top : top + CROP, left : left + CROP])


def degrade(image: np.ndarray, sigma: float, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Blur, then add noise, then round to 8 bit."""
    soft = cv2.GaussianBlur(image, (0, 0), sigma) if sigma else image
    return np.clip(np.rint(soft + noise * rng.standard_normal(soft.shape)), 0, 255).astype(np.uint8)


def auc(sharp: np.ndarray, soft: np.ndarray) -> float:
    """Return the chance that a soft tile reads softer than a sharp one."""
    ranks = rankdata(np.r_[sharp, soft])[len(sharp) :]
    return float((ranks.sum() - len(soft) * (len(soft) + 1) / 2) / (len(sharp) * len(soft)))


def readings(gate: Any, data: Path, binned: bool) -> list[dict[str, Any]]:
    """Grade every specimen at every blur and noise; one row an image."""
    rng = np.random.default_rng(1)
    rows = []
    for name, pattern in (TRAINING | HELD_OUT).items():
        for number, image in enumerate(images(data, pattern)):
            clean = base(image, binned)
            for sigma in SIGMAS:
                for noise in NOISES:
                    grade = gate(Frames(degrade(clean, sigma, noise, rng)[None]))
                    found = np.nan if grade.sigma_px is None else grade.sigma_px
                    rows.append(
                        {"specimen": name, "image": number, "sigma": sigma, "noise": noise}
                        | {"found": found, "verdict": grade.verdict, "found_noise": grade.noise}
                    )
    return rows


def auc_table(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return AUC per specimen, their mean, pooled, pooled over the held-out ones, and pooled per noise."""

    def of(chosen: list[dict[str, Any]]) -> float:
        sharp = np.array([r["found"] for r in chosen if r["sigma"] <= SHARP])
        soft = np.array([r["found"] for r in chosen if r["sigma"] >= SOFT])
        return auc(np.nan_to_num(sharp, nan=99.0), np.nan_to_num(soft, nan=0.0))  # not measurable counts as wrong

    each = {name: of([r for r in rows if r["specimen"] == name]) for name in dict.fromkeys(r["specimen"] for r in rows)}
    return {
        "specimens": each,
        "images": len({(r["specimen"], r["image"]) for r in rows}),
        "readings": len(rows),
        "unmeasurable": sum(bool(np.isnan(r["found"])) for r in rows),
        "mean": float(np.mean(list(each.values()))),
        "pooled": of(rows),
        "pooled held out": of([r for r in rows if r["specimen"] in HELD_OUT]),
        "pooled by noise": {n: of([r for r in rows if r["noise"] == n]) for n in NOISES},
    }


def error_table(rows: list[dict[str, Any]]) -> dict[float, dict[str, float]]:
    """Return bias and s.d. of the blur at each added blur, native blur (read at no blur and noise) in quadrature."""
    native = {(r["specimen"], r["image"]): r["found"] for r in rows if not r["sigma"] and not r["noise"]}
    table = {}
    for sigma in SIGMAS[1:]:
        chosen = [r for r in rows if r["sigma"] == sigma]
        error = np.array([r["found"] - np.hypot(sigma, native[r["specimen"], r["image"]]) for r in chosen])
        table[sigma] = {"bias": float(np.nanmean(error)), "sd": float(np.nanstd(error))}
    return table


def noise_shift(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the mean shift of the blur, px, by noise 10, and the largest mean of one specimen, at 1 to 2.5 px."""
    quiet = {(r["specimen"], r["image"], r["sigma"]): r["found"] for r in rows if not r["noise"]}
    shifts: dict[str, list[float]] = {}
    for r in rows:
        if r["noise"] == NOISES[-1] and 1 <= r["sigma"] <= 2.5:
            shift = r["found"] - quiet[r["specimen"], r["image"], r["sigma"]]
            shifts.setdefault(r["specimen"], []).append(shift)
    everything = np.concatenate(list(shifts.values()))
    return {
        "mean": float(np.nanmean(everything)),
        "sd": float(np.nanstd(everything)),
        "largest of a specimen": max((float(np.nanmean(v)) for v in shifts.values()), key=abs),
    }


def paste_shift(gate: Any, data: Path) -> dict[str, float]:
    """Return the mean shift of the blur, px, when half of the tile is pasted over with blank resin (noise 8)."""
    rng = np.random.default_rng(2)
    shifts = []
    for pattern in (TRAINING | HELD_OUT).values():
        for image in images(data, pattern):
            clean = base(image, binned=True)
            rows = clean.shape[0] // 2
            for sigma in (1.0, 1.5, 2.0, 2.5):
                whole = degrade(clean, sigma, 8.0, rng)
                # The half that stays is compared with itself: another half would be another specimen.
                kept = gate(Frames(whole[None, :rows])).sigma_px
                blank = np.full(clean.shape, np.median(clean), np.float32)
                pasted = degrade(blank, 0.0, 8.0, rng)
                pasted[:rows] = whole[:rows]
                found = gate(Frames(pasted[None])).sigma_px
                if kept is not None and found is not None:
                    shifts.append(found - kept)
    return {"mean": float(np.mean(shifts)), "sd": float(np.std(shifts)), "readings": len(shifts)}


def speed(gate: Any, data: Path, dtype: Any) -> float:
    """Return Mpx/s of grading a 3128x2724 tile on one thread, median of 30."""
    image = next(images(data, TRAINING["mussel"]))
    tile = np.tile(image, (2, 2))[:2724, :3128].astype(dtype)
    frames = Frames(tile[None], contrast=Contrast.of(dtype))
    seconds = []
    for _ in range(30):
        start = time.perf_counter()
        gate(frames)
        seconds.append(time.perf_counter() - start)
    return tile.size / float(np.median(seconds)) / 1e6


def real_series(gate: Any, data: Path) -> dict[str, Any]:
    """Grade the real focus series; nothing was tuned on them."""
    found = {}
    for pattern in ("real/sem_focus_series/*.png", "real/optical_focus_stack/*.png"):
        for path in sorted(data.glob(pattern)):
            image = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
            # The lowest rows of the SEM images hold the microscope's data bar.
            grade = gate(Frames(image[None, : int(image.shape[0] * 0.88)]))
            found[path.stem] = {
                key: None if value is None else round(value, 3)
                for key, value in (
                    ("sigma_px", grade.sigma_px),
                    ("noise", grade.noise),
                    ("anisotropy", grade.anisotropy),
                    ("angle_deg", grade.angle_deg),
                )
            } | {"verdict": grade.verdict}
    return found


def fit(data: Path) -> dict[str, Any]:
    """Fit the tables from exponent to blur on the training images.

    1. One image blurred by a and by b: h(p_b) - h(p_a) = b^2 - a^2, where h is the square of the table of lag 1 up to
       a constant: nonnegative least squares on its steps.
    2. The constant c: a binned image has a quarter of the variance of the image and of its two-pixel box (1/4).
    3. The tables of lags 2 and 4: least squares to the blur so found, nondecreasing.
    """
    names, sigma, one, two, four, native = [], [], [], [], [], {}
    for name, pattern in TRAINING.items():
        for number, image in enumerate(images(data, pattern)):
            key = f"{name} {number}"
            native[key] = structure(degrade(base(image, False), 0, 0, np.random.default_rng(0))).exponent(1, Y)
            clean = base(image, True)
            for s in (*SIGMAS, 6.0):
                found = structure(degrade(clean, s, 0, np.random.default_rng(0)))
                names.append(key)
                sigma.append(s)
                one.append(found.exponent(1, Y))
                two.append(found.exponent(2, X, Y))
                four.append(found.exponent(4, X, Y))
    names_, sigma_, one_, two_, four_ = map(np.array, (names, sigma, one, two, four))
    weight = np.array([1 / np.sqrt(sum(n.split()[0] == k.split()[0] for n in native)) for k in names])
    knots = np.array([-1.2, -0.6, -0.2, 0.2, 0.5, 0.8, 1, 1.2, 1.35, 1.5, 1.6, 1.7, 1.75, 1.8, 1.85, 1.9, 1.93])
    pairs = [(i, i + 1) for i in range(len(names) - 1) if names[i] == names[i + 1] and sigma[i + 1] <= 3.5]
    low, high = np.array(pairs).T
    scale = weight[low] / (sigma_[high] + 0.3)
    steps = (_ramps(one_[high], knots) - _ramps(one_[low], knots)) * scale[:, None]
    square = np.r_[0, np.cumsum(nnls(steps, (sigma_[high] ** 2 - sigma_[low] ** 2) * scale)[0])]
    unblurred = {n: float(np.interp(one_[(names_ == n) & (sigma_ == 0)][0], knots, square)) for n in native}
    by_specimen: dict[str, list[float]] = {}
    for n, exponent in native.items():
        constant = (float(np.interp(exponent, knots, square)) + 0.25 - 4 * unblurred[n]) / 3
        by_specimen.setdefault(n.split()[0], []).append(constant)
    constant = float(np.median([np.median(v) for v in by_specimen.values()]))
    total = np.sqrt(sigma_**2 + np.array([max(0.0, unblurred[n] + constant) for n in names]))
    lag2 = np.array([-0.3, 0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4, 1.5, 1.6, 1.7, 1.8])
    lag4 = np.array([-0.2, 0.2, 0.5, 0.8, 1, 1.2, 1.4])
    return {
        "constant by specimen": {k: round(float(np.median(v)), 3) for k, v in by_specimen.items()},
        "lag 1": _rounded(knots, np.sqrt(np.clip(square + constant, 0, None))),
        "lag 2": _rounded(lag2, _table(two_, total, weight, lag2, 0.7, 5)),
        "lag 4": _rounded(lag4, _table(four_, total, weight, lag4, 1.8, 7)),
    }


def _ramps(p: np.ndarray, knots: np.ndarray) -> np.ndarray:
    return np.clip((p[:, None] - knots[:-1]) / np.diff(knots), 0, 1)


def _table(p: np.ndarray, total: np.ndarray, weight: np.ndarray, knots: np.ndarray, low: float, high: float) -> Any:
    use = np.isfinite(p) & (total >= low) & (total <= high)
    rows = np.c_[np.ones(use.sum()), _ramps(p[use], knots)]
    scale = weight[use] / total[use]
    return np.cumsum(lsq_linear(rows * scale[:, None], total[use] * scale, bounds=(0, np.inf)).x)


def _rounded(knots: np.ndarray, values: np.ndarray) -> list[tuple[float, float]]:
    return [(float(k), round(float(v), 2)) for k, v in zip(knots, values, strict=True)]


def measure(gate: Any, data: Path) -> dict[str, Any]:
    """Return every figure."""
    binned = readings(gate, data, binned=True)
    return {
        "auc binned": auc_table(binned),
        "auc native": auc_table(readings(gate, data, binned=False)),
        "error px": error_table(binned),
        "shift by noise 10, px": noise_shift(binned),
        "shift by 50 % blank, px": paste_shift(gate, data),
        "mpx_per_s": {np.dtype(d).name: speed(gate, data, d) for d in (np.uint8, np.uint16, np.float32)},
    }


def show(figures: dict[str, Any]) -> None:
    """Print the figures for a person."""
    print("AUC, sharp (added blur <= 0.5 px) against soft (>= 1.5 px), noise 0 to 10")
    a, b = figures["auc binned"], figures["auc native"]
    print(f"{'specimen':22s} {'binned':>8s} {'native':>8s}")
    for name in a["specimens"]:
        kind = "" if name in HELD_OUT else " (fit)"
        print(f"{name + kind:22s} {a['specimens'][name]:8.4f} {b['specimens'][name]:8.4f}")
    for name in ("mean", "pooled held out", "pooled"):
        print(f"{name:22s} {a[name]:8.4f} {b[name]:8.4f}")
    print("pooled by noise       ", {k: round(v, 4) for k, v in a["pooled by noise"].items()})
    print(f"{a['images']} images, {a['readings']} readings, {a['unmeasurable']} not measurable\n")
    print("error of the blur, px:", {k: f"{v['bias']:+.2f} ± {v['sd']:.2f}" for k, v in figures["error px"].items()})
    for key in ("shift by noise 10, px", "shift by 50 % blank, px"):
        print(f"{key}:", {k: round(v, 3) for k, v in figures[key].items()})
    print("one thread, 3128x2724, Mpx/s (bar 225):", {k: round(v) for k, v in figures["mpx_per_s"].items()})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("REFOCAL_DATA", Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--real", action="store_true")
    args = parser.parse_args()
    cv2.setNumThreads(1)
    gate = registry.make("gates", "sharpness", retake_px=1e9)
    if args.fit or args.real:
        for key, value in (fit(args.data) if args.fit else real_series(gate, args.data)).items():
            print(f"{key:12s} {json.dumps(value)}")
        return
    figures = measure(gate, args.data)
    if args.json:
        print(json.dumps(figures))
    else:
        show(figures)


if __name__ == "__main__":
    main()
