"""Measure the path of tiles that are kept: read, grade, log; through the engine, with a sink that takes over nothing.

    python benchmarks/host_path.py [--tiles 24] [--json]

Tiles of 3128x2724 8-bit counts in BMP, raw TIFF and PNG, in the page cache (what a network drive or a disk adds is not
refocal's). MB are counts, not compressed bytes. Bar: 225 MB/s on 2 cores for BMP and raw TIFF.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from refocal.core import registry
from refocal.core.blocks import Block
from refocal.core.values import Frames, Grade, ImageInfo, Restored
from refocal.engine.loop import run
from refocal.engine.tiles.tiles import TileSource
from refocal.eventlog.log import Log
from refocal.parts.formats import create_image

HEIGHT, WIDTH = 2724, 3128


class Nowhere:
    """A sink that has nothing and takes over nothing."""

    def has(self, block: Block, /) -> bool:
        return False

    def write(self, block: Block, restored: Restored, /) -> None: ...

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> None: ...


def tile(rng: np.random.Generator) -> np.ndarray:
    """Draw structure on scales of 2 px and more, and noise."""
    drawn = np.zeros((HEIGHT, WIDTH), np.float32)
    for sigma in (1.5, 3, 6, 12):
        field = cv2.GaussianBlur(rng.standard_normal((HEIGHT, WIDTH), np.float32), (0, 0), sigma)
        drawn += field / field.std()
    return (128 + 15 * drawn + 5 * rng.standard_normal(drawn.shape, np.float32)).clip(0, 255).astype(np.uint8)


def measure(extension: str, counts: np.ndarray, tiles: int, repeats: int) -> dict[str, Any]:
    """Return the best and median rate of `repeats` runs over a folder of copies of one tile."""
    info = ImageInfo((1, HEIGHT, WIDTH), counts.dtype, pixel_nm=4.0)
    gate = registry.make("gates", "sharpness", keep_px=1e6, retake_px=1e9)
    rates = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "tiles"
        folder.mkdir()
        for number in range(tiles):
            create_image(folder / f"tile_{number:03d}{extension}", [counts], info)
        for repeat in range(repeats + 1):
            with Log(Path(name) / f"log{repeat}.jsonl") as log:
                start = time.perf_counter()
                done = run(TileSource([folder]), registry.make("restorers", "identity"), Nowhere(), gate=gate, log=log)
                seconds = time.perf_counter() - start
            if done.counts["kept"] != tiles:
                raise SystemExit(f"{extension}: expected {tiles} kept tiles, got {done.counts}")
            rates.append(tiles * counts.nbytes / seconds / 1e6)
    warm = rates[1:]
    return {"format": extension[1:], "mb_per_s": float(np.median(warm)), "best": max(warm), "tiles": tiles}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    cv2.setNumThreads(1)
    counts = tile(np.random.default_rng(0))
    for extension in (".bmp", ".tif", ".png"):
        row = measure(extension, counts, args.tiles, args.repeats)
        if args.json:
            print(json.dumps(row), flush=True)
        else:
            print(f"{row['format']:4s} {row['mb_per_s']:7.0f} MB/s median, {row['best']:.0f} best", flush=True)


if __name__ == "__main__":
    main()
