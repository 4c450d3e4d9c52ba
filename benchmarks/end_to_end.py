"""TIFF in, TIFF out against the bare net: what reading, grading, logging and writing cost.

    python benchmarks/end_to_end.py [--models gran-em student-em] [--tiles 8] [--size 1344x1560] [--rounds 3]

The bare net restores the same counts in memory, tile after tile. Both take turns; medians. Goal: at least 0.90.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from refocal.core.values import Contrast, Frames, ImageInfo
from refocal.engine.backends import learned
from refocal.engine.job import Job, Part, run_job
from refocal.imaging.phantom import draw_section
from refocal.parts.formats import create_image

GREY = Contrast(0, 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["gran-em", "student-em"])
    parser.add_argument("--tiles", type=int, default=8)
    parser.add_argument("--size", default="1344x1560")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    height, width = (int(n) for n in given.size.split("x"))
    drawn = GREY.counts(draw_section((512, 512), 0), np.uint8)
    tile = np.tile(drawn, (-(-height // 512), -(-width // 512)))[:height, :width]
    mpx = given.tiles * tile.size / 1e6
    print("| model | gate | Mpx/s bare | Mpx/s TIFF to TIFF | share |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "tiles"
        folder.mkdir()
        for number in range(given.tiles):
            create_image(folder / f"tile_{number:03d}.tif", [tile], ImageInfo((1, *tile.shape), tile.dtype, 4.0))
        for model in given.models:
            restorer = learned(model)
            restorer([Frames(tile[None], contrast=GREY)])  # compiles, allocates
            for gate in ("always", "sharpness:keep_px=0,retake_px=99"):
                bare, whole = [], []
                for turn in range(given.rounds):
                    start = time.perf_counter()
                    for _ in range(given.tiles):
                        restorer([Frames(tile[None], contrast=GREY)])
                    middle = time.perf_counter()
                    job = Job(model=model, gate=Part.parse(gate))
                    out = Path(name) / f"{Path(model).stem}-{gate[:6]}-{turn}"
                    summary = run_job([folder], out, job, restorer=restorer)
                    assert summary.counts["restored"] == given.tiles, summary.counts
                    bare.append(middle - start)
                    whole.append(time.perf_counter() - middle)
                rates = [mpx / statistics.median(seconds) for seconds in (bare, whole)]
                print(
                    f"| {Path(model).stem} | {gate.partition(':')[0]} | {rates[0]:.2f} | {rates[1]:.2f} "
                    f"| {rates[1] / rates[0]:.3f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
