"""Does restoring help stitching? Tiles with known offsets, stitched by FEABAS when sharp, soft and restored.

    REFOCAL_FEABAS_PYTHON=feabas/bin/python python benchmarks/stitching.py sharp.png ... --sigma 2 3 4

Each image is cut into 3 x 2 tiles that overlap by 56 px and lie up to 8 px beside their nominal positions, which are
what the log says. Blur, then noise, are drawn for each tile by itself. The tiles are restored by `refocal`, handed off
by `refocal handoff`, matched and relaxed by FEABAS with its own settings. A pair is wrong when its shift is off by more
than 2 px; the error of the others is their mean distance from the truth.
"""

import argparse
import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Contrast, ImageInfo
from refocal.engine.job import LOG, Job, Part, run_job
from refocal.eventlog.current import latest
from refocal.eventlog.log import Log, read_log
from refocal.microscope.handoff import HandoffRequest, hand_off
from refocal.parts.formats import create_image, open_image

HEIGHT, WIDTH, OVERLAP, JITTER, PIXEL_NM = 400, 372, 56, 8, 4.0
RUNNER = Path(__file__).with_name("_feabas.py")
FAR_PX = 2.0


@dataclass(frozen=True)
class Cut:
    """One tile: where the log says it is, where it really is (x, y), and what was there."""

    name: str
    nominal: tuple[int, int]
    true: tuple[int, int]
    pixels: NDArray[np.uint8]


def cut(image: NDArray[np.uint8], section: int, rng: np.random.Generator) -> list[Cut]:
    """Cut an image into tiles, as a multi-beam microscope would name them: a beam per tile, one mFoV per column."""
    tiles = []
    for row in range((image.shape[0] - 2 * JITTER - OVERLAP) // (HEIGHT - OVERLAP)):
        for column in range((image.shape[1] - 2 * JITTER - OVERLAP) // (WIDTH - OVERLAP)):
            x, y = JITTER + column * (WIDTH - OVERLAP), JITTER + row * (HEIGHT - OVERLAP)
            dx, dy = (int(step) for step in rng.integers(-JITTER, JITTER + 1, 2))
            file = f"{section:03d}_{column + 1:06d}_{row + 1:03d}_2026-01-05T0800001234567.bmp"
            name = f"batch_20260105_08-00-00/{section:03d}_S{section}R1/{column + 1:06d}/{file}"
            pixels = image[y + dy : y + dy + HEIGHT, x + dx : x + dx + WIDTH]
            tiles.append(Cut(name, (x, y), (x + dx, y + dy), np.ascontiguousarray(pixels)))
    return tiles


def spoil(pixels: NDArray[np.uint8], sigma_px: float, noise: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Blur, then add noise."""
    from scipy.ndimage import gaussian_filter

    soft = gaussian_filter(pixels.astype(np.float64), sigma_px, mode="mirror") if sigma_px else pixels
    return np.clip(np.rint(soft + noise * rng.standard_normal(pixels.shape)), 0, 255).astype(np.uint8)


def write(folder: Path, tiles: Sequence[Cut], sigma_px: float, noise: float, seed: int) -> None:
    """Write the tiles of one section; the same seed gives the same noise at any blur."""
    rng = np.random.default_rng(seed)
    for tile in tiles:
        path = folder / tile.name
        path.parent.mkdir(parents=True, exist_ok=True)
        info = ImageInfo((1, HEIGHT, WIDTH), np.dtype(np.uint8), PIXEL_NM)
        create_image(path, [spoil(tile.pixels, sigma_px, noise, rng)], info)


def place(out: Path, tiles: Sequence[Cut]) -> None:
    """Add to the log of a run what a layout knows of the tiles."""
    known = {tile.name: tile for tile in tiles}
    events = latest(read_log(out / LOG))
    with Log(out / LOG) as log:
        for key, event in events.items():
            folder, mfov, file = key.split("/")[1:]
            x, y = known[key].nominal
            log.append({
                **event, "section": folder[4:], "field": int(mfov), "beam": int(file.split("_")[2]),
                "tile": f"m{mfov}_b{file.split('_')[2]}", "taken": file.split("_")[3],
                "stage_x_nm": x * PIXEL_NM, "stage_y_nm": y * PIXEL_NM, "pixel_nm": PIXEL_NM,
            })  # fmt: skip


def stitch(python: str, coordinates: Path, *, msem: bool = False) -> dict[str, Any]:
    """Run FEABAS on one section."""
    command = [python, str(RUNNER), str(coordinates), *(["msem"] if msem else [])]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "MKL_NUM_THREADS": "1"}
    )
    if done.returncode:
        raise RuntimeError(f"FEABAS failed: {done.stderr[-800:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def errors(found: dict[str, Any], tiles: Sequence[Cut]) -> list[float]:
    """Return the distance of each pair's shift from the truth, pixels."""
    true = {tile.name.split("/", 2)[2]: np.array(tile.true) for tile in tiles}
    return [
        float(np.hypot(*(np.array(pair["shift"]) - (true[pair["tiles"][1]] - true[pair["tiles"][0]]))))
        for pair in found["pairs"]
    ]


def measure(python: str, folder: Path, tiles: Sequence[Cut], job: Job) -> dict[str, float]:
    """Run a job over raw tiles, hand it off, stitch every section, and return the numbers over all of them."""
    out = folder.with_name(f"{folder.name}-{job.gate.kind}-{job.restorer.kind if job.restorer else job.model}")
    run_job([folder], out, job)
    place(out, tiles)
    handed = hand_off(out, HandoffRequest(feabas=out / "feabas"))
    if handed.problems:
        raise RuntimeError(handed.problems[0])
    found = [stitch(python, path, msem=True) for path in sorted((out / "feabas/stitch/stitch_coord").glob("*.txt"))]
    off = np.array([error for one in found for error in errors(one, tiles)])
    near = off[off <= FAR_PX]
    residues = [one["residue"] for one in found if one["residue"] is not None]
    return {
        "overlaps": sum(one["overlaps"] for one in found),
        "matched": len(off),
        "wrong": int((off > FAR_PX).sum()),
        "points": sum(pair["points"] for one in found for pair in one["pairs"]),
        "confidence": float(np.mean([pair["confidence"] for one in found for pair in one["pairs"]] or [np.nan])),
        "error_px": float(near.mean()) if near.size else float("nan"),
        "residue_px": float(np.mean(residues)) if residues else float("nan"),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", nargs="+", type=Path, help="sharp 8-bit images of at least 1024 x 768 pixels")
    parser.add_argument("--sigma", nargs="+", type=float, default=[2.0, 3.0, 4.0])
    parser.add_argument("--noise", type=float, default=8.0, help="counts")
    parser.add_argument("--model", default="gran-em")
    given = parser.parse_args()
    python = os.environ.get("REFOCAL_FEABAS_PYTHON")
    if not python:
        parser.error("set REFOCAL_FEABAS_PYTHON to a Python that can import feabas (pip install feabas)")
    raw, learned = (
        Job(restorer=Part(kind="identity"), gate=Part(kind="always")),
        Job(model=given.model, gate=Part(kind="always")),
    )
    with tempfile.TemporaryDirectory() as scratch:
        sections = []
        for number, path in enumerate(given.images, 1):
            with open_image(path) as image:
                sections.append(cut(Contrast.of(np.uint8).counts(image.read() / np.float32(255), np.uint8), number,
                                    np.random.default_rng(number)))  # fmt: skip
        tiles = [tile for section in sections for tile in section]
        print("| tiles | overlaps | matched | wrong | points | confidence | error, px | residue, px |")
        print("|---|---|---|---|---|---|---|---|")
        for sigma in (0.0, *given.sigma):
            folder = Path(scratch) / f"raw-{sigma:g}"
            for number, section in enumerate(sections, 1):
                write(folder, section, sigma, given.noise, number)
            for words, job in (("as recorded", raw), ("restored", learned)):
                if not (sigma == 0 and job is learned):
                    row = measure(python, folder, tiles, job)
                    name = "sharp" if sigma == 0 else f"blur {sigma:g} px, {words}"
                    print(table_row(name, row), flush=True)


def table_row(name: str, row: dict[str, float]) -> str:
    """Return one line of the table."""
    counts = " | ".join(f"{row[column]:.0f}" for column in ("overlaps", "matched", "wrong", "points"))
    means = " | ".join(f"{row[column]:.2f}" for column in ("confidence", "error_px", "residue_px"))
    return f"| {name} | {counts} | {means} |"


if __name__ == "__main__":
    main()
