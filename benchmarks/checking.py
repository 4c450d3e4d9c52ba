"""Measure the check after restoring: how many honest restorations pass, how many false ones are caught.

    python benchmarks/checking.py [--data FOLDER] [--each N] [--json]

Crops of real tissue are blurred (Gaussian or disc, 0.8 to 3 px), given noise (2 to 10 counts) and restored by gran-em;
those that the gate would restore count. The false ones are made of the honest: another place of the same tile, shifted
by 3 px, sharpened three times, inverted, one eighth of it replaced. `data` is $REFOCAL_DATA or ../shared/data.
"""

import argparse
import json
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter

from refocal.core import registry
from refocal.core.values import UNIT, Contrast, Example, Frames, Restored
from refocal.engine.backends import learned
from refocal.engine.check import Checked, check

SPECIMENS = {
    "epfl": "eval/sem/epfl*.png",
    "mussel": "train/sem/mussel_*.png",
    "atum": "train/sem/atum*.png",
    "rat": "train/sem/sub-rat*.png",
    "cremi": "train/tem/cremi_C*.png",
    "temca": "eval/tem/temca_col*.png",
}
EDGE = 256


def crops(data: Path, pattern: str, each: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield pairs of crops of one tile that do not overlap."""
    files = sorted(data.glob(pattern))
    for number in range(each):
        image = cv2.imread(str(files[number % len(files)]), cv2.IMREAD_GRAYSCALE)
        top, left = (int(rng.integers(0, n - EDGE)) for n in image.shape)
        other_left = (left + EDGE) % (image.shape[1] - EDGE)
        if abs(other_left - left) < EDGE:
            top = min(top, image.shape[0] - EDGE)
        yield image[top : top + EDGE, left : left + EDGE], image[top : top + EDGE, other_left : other_left + EDGE]


def spoiled(crop: np.ndarray, rng: np.random.Generator) -> Frames:
    """Return a blurred and noisy crop."""
    contrast = Contrast.of(np.uint8)
    unit = contrast.unit(crop)
    profile = str(rng.choice(["gaussian", "disc"]))
    blur = registry.make("degradations", "defocus", sigma_px=float(rng.uniform(0.8, 3)), profile=profile)
    soft = blur(Example(Frames(unit[None], contrast=UNIT), unit), rng).frames.image
    noise = rng.uniform(2, 10) / 255 * rng.standard_normal(crop.shape, np.float32)
    return Frames(contrast.counts(soft + noise.astype(np.float32), np.uint8)[None], contrast=contrast)


def versions(result: np.ndarray, other: np.ndarray) -> dict[str, np.ndarray]:
    """Return the honest result and false ones."""
    exact = result.astype(np.float64)
    sharp = exact + 3 * (exact - gaussian_filter(exact, 1.5))
    patched = result.copy()
    patched[64:160, 64:160] = other[64:160, 64:160]
    return {
        "honest": result,
        "another place": other,
        "shifted 3 px along x": np.roll(result, 3, 1),
        "shifted (2, 2) px": np.roll(result, (2, 2), (0, 1)),
        "sharpened three times": np.clip(sharp.round(), 0, 255).astype(np.uint8),
        "inverted": 255 - result,
        "one eighth replaced": patched,
    }


def measure(data: Path, each: int) -> dict[str, list[Checked]]:
    """Check every version of every crop."""
    rng = np.random.default_rng(5)
    restorer, gate = learned("gran-em"), registry.make("gates", "sharpness")
    found: dict[str, list[Checked]] = {}
    for pattern in SPECIMENS.values():
        for crop, other in crops(data, pattern, each, rng):
            frames = spoiled(crop, rng)
            grade = gate(frames)
            if grade.verdict != "restore":
                continue
            result = restorer([frames])[0].counts
            quiet = restorer([Frames(other[None], contrast=frames.contrast)])[0].counts
            for name, version in versions(result, quiet).items():
                found.setdefault(name, []).append(check(frames, Restored(version), grade, gate=gate))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    default = os.environ.get("REFOCAL_DATA", Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(default))
    parser.add_argument("--each", type=int, default=40)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = measure(given.data, given.each)
    rates = {name: {"count": len(all_), "passed": sum(c.ok for c in all_) / len(all_)} for name, all_ in found.items()}
    if given.json:
        print(json.dumps(rates))
        return
    for name, all_ in found.items():
        print(f"{name:24s} {rates[name]['passed']:7.1%} of {len(all_)} pass")
        for key in ("unexplained", "unexplained_block", "growth", "residual"):
            values = np.array([np.nan if c.measured.get(key) is None else c.measured[key] for c in all_], float)
            print(f"    {key:18s}", np.round(np.nanpercentile(values, (0, 1, 5, 50, 95, 99, 100)), 3))
        if name == "honest":
            print("    failed:", [c.reason for c in all_ if not c.ok])


if __name__ == "__main__":
    main()
