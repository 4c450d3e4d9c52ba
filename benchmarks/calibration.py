"""Measure calibrations: made on part of a specimen, tested on held-out tiles of it, on another specimen, and for real.

    python benchmarks/calibration.py [--data FOLDER] [--crop PX] [--each N] [--tiles N] [--only NAME] [--json]

The restorer is gran-em. The held-out tiles are degraded by the same series with another seed, so their blur, noise and
restored quality are known. `data` is $REFOCAL_DATA or ../shared/data. The sharpness order of the real focus series
is found by a calibration on pieces of its image in focus.
"""

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.stats import spearmanr

from refocal.core import registry
from refocal.core.values import Frames, Restorer
from refocal.engine.backends import learned
from refocal.microscope.calibrate import calibrate, write
from refocal.microscope.calibrate.blur_series import BlurSeries, Sample
from refocal.microscope.calibrate.reference_tiles import ReferenceTile, good_tiles
from refocal.models.calibration import Calibration

SPECIMENS = {
    "epfl": "eval/sem/epfl*.png",
    "mussel": "train/sem/mussel_*.png",
    "cremi": "train/tem/cremi_C*.png",
}
SERIES = "real/sem_focus_series/richard{}.png"


@dataclass(frozen=True)
class Result:
    """A calibration's figures on some samples."""

    figures: dict[str, Any]


def thinned(items: list[Any], most: int) -> list[Any]:
    """Return at most so many items, evenly spread."""
    return [items[i] for i in sorted({int(i) for i in np.linspace(0, len(items) - 1, min(most, len(items))).round()})]


def test(found: Calibration, samples: list[Sample]) -> dict[str, Any]:
    """Compare predictions with truths."""
    raw = np.array([s.features for s in samples])
    terms = [found.range.terms(row) for row in raw]
    blur, quality, relative = ([of(t) for t in terms] for of in (found.blur, found.quality, found.relative))
    sigma, psnr, loss = (np.array([getattr(s, k) for s in samples]) for k in ("sigma_px", "psnr", "relative"))
    verdicts = np.array([found.thresholds.verdict(b, r) for b, r in zip(blur, relative, strict=True)])
    bad = loss < -found.costs.bad_db
    fine = sigma <= 0.5
    order = np.argsort([-r.low for r in relative])
    risk = {f"{c:.0%}": float(bad[order[: max(1, int(c * len(order)))]].mean()) for c in (0.25, 0.5, 0.75, 0.9, 1.0)}
    return {
        "samples": len(samples),
        "blur MAE px": float(np.mean([abs(b.mean - s) for b, s in zip(blur, sigma, strict=True)])),
        "blur rank": float(spearmanr([b.mean for b in blur], sigma).statistic),
        "quality MAE dB": float(np.mean([abs(q.mean - p) for q, p in zip(quality, psnr, strict=True)])),
        "quality rank": float(spearmanr([q.mean for q in quality], psnr).statistic),
        "loss rank": float(spearmanr([r.mean for r in relative], loss).statistic),
        "coverage blur high": float(np.mean([b.high >= s for b, s in zip(blur, sigma, strict=True)])),
        "coverage blur low": float(np.mean([b.low <= s for b, s in zip(blur, sigma, strict=True)])),
        "coverage quality low": float(np.mean([q.low <= p for q, p in zip(quality, psnr, strict=True)])),
        "coverage loss low": float(np.mean([r.low <= v for r, v in zip(relative, loss, strict=True)])),
        "bound width blur px": float(np.mean([b.high - b.low for b in blur])),
        "bound width loss dB": float(np.mean([r.mean - r.low for r in relative])),
        "bad": float(bad.mean()),
        "kept but bad": int(((verdicts == "keep") & bad).sum()),
        "retaken but in focus": int(((verdicts == "retake") & fine).sum()),
        "restored and bad": float(bad[verdicts == "restore"].mean()) if (verdicts == "restore").any() else 0.0,
        "verdicts": {v: int((verdicts == v).sum()) for v in ("keep", "restore", "retake")},
        "risk of bad at coverage": risk,
        "outside the range": float(np.mean([found.range.distance(row) > found.range.farthest for row in raw])),
    }


def samples_of(goods: list[ReferenceTile], steps: BlurSeries, restorer: Restorer) -> list[Sample]:
    """Spoil and restore held-out tiles."""
    return [s for i, good in enumerate(goods) for s in steps.samples(i, good, restorer)]


def focus_series(data: Path, restorer: Restorer, steps: BlurSeries) -> dict[str, Any]:
    """Calibrate on pieces of the image in focus and grade the real focus series with it."""
    # The lowest rows hold the microscope's data bar.
    images = {n: cv2.imread(str(data / SERIES.format(n)), cv2.IMREAD_GRAYSCALE)[:672] for n in range(1, 6)}
    with tempfile.TemporaryDirectory() as folder:
        for i in range(6):
            top, left = 336 * (i // 3), 341 * (i % 3)
            cv2.imwrite(f"{folder}/{i}.png", images[3][top : top + 336, left : left + 341])
        goods = good_tiles([Path(folder)])
        made = calibrate(goods, restorer, name="gran-em", date="", series=steps).calibration
        write(made, Path(folder) / "calibration.json")
        gate = registry.make("gates", "calibrated", path=f"{folder}/calibration.json")
        plain = registry.make("gates", "sharpness")
        grades = {f"richard{n}": (gate(Frames(i[None])), plain(Frames(i[None]))) for n, i in images.items()}
    return {
        name: {"sigma_px": a.sigma_px, "verdict": a.verdict, "reason": a.reason, "sharpness": b.sigma_px}
        for name, (a, b) in grades.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("REFOCAL_DATA", Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--tiles", type=int, default=10)
    parser.add_argument("--only", choices=[*SPECIMENS, "series"])
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    restorer = learned("gran-em")
    steps, other = (BlurSeries(crop_px=given.crop, each=given.each, seed=seed) for seed in (0, 1))
    tables: dict[str, Any] = {}
    held: dict[str, list[Sample]] = {}
    made: dict[str, Calibration] = {}
    for name, pattern in SPECIMENS.items():
        if given.only in (None, name):
            files = sorted(given.data.glob(pattern))
            fit, rest = files[::2][: given.tiles], files[1::2][: max(5, given.tiles // 2)]
            held[name] = samples_of(good_tiles(rest), other, restorer)
            done = calibrate(good_tiles(fit), restorer, name="gran-em", date="", series=steps)
            made[name] = done.calibration
            print(name, "calibrated on", len(fit), "tested on", len(rest), done.scores, file=sys.stderr, flush=True)
    for name, found in made.items():
        print(name, found.thresholds, found.costs.rates, file=sys.stderr)
        for where, samples in held.items():
            tables[f"{name} -> {where}"] = test(found, samples)
    if given.only in (None, "series"):
        tables["real focus series"] = focus_series(given.data, restorer, steps)
    if given.json:
        print(json.dumps(tables))
        return
    for title, table in tables.items():
        print(title)
        for key, value in table.items():
            print(f"    {key:24s} {value:.3f}" if isinstance(value, float) else f"    {key:24s} {value}")


if __name__ == "__main__":
    main()
